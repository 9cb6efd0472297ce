//! Requests that ask to be recorded.

use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::harness::*;
use crate::counter::Series;
use crate::http::{RequestHead, TrafficDirection};
use crate::sampling::SamplerKind;

const FORCE: &str = r#""force": {"trusted": {"internal": true, "identities": ["spiffe://mesh/ns/ops/*"]}}"#;

#[test]
#[expect(clippy::type_complexity, reason = "a table")]
fn the_trusted_are_recorded_whatever_the_sampler_says() {
    let b3 = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-d";
    let uber = "4bf92f3577b34da6a3ce929d0e0e4736:00f067aa0ba902b7:0:3";
    let internal = ("x-envoy-internal", Some("true"));
    let table: &[(&[(&str, Option<&str>)], Option<&str>, Option<bool>, &str)] = &[
        (&[("x-envoy-force-trace", Some("true")), internal], Some("x-envoy-force-trace"), Some(true), "Envoy's header"),
        (&[("x-envoy-force-trace", Some("true"))], None, Some(false), "from somebody"),
        (&[("x-envoy-force-trace", Some("1")), ("x-envoy-internal", Some("false"))], None, Some(false), "not internal"),
        (&[("jaeger-debug-id", Some("x")), internal], Some("jaeger-debug-id"), Some(true), "Jaeger's header"),
        (&[("b3", Some(b3)), internal], Some("debug"), Some(true), "B3 in one header"),
        (&[("b3", Some("d")), internal], Some("debug"), Some(true), "B3 without ids"),
        (&[("x-b3-flags", Some("1")), internal], Some("debug"), Some(true), "B3 in several"),
        (&[("uber-trace-id", Some(uber)), internal], Some("debug"), Some(true), "Jaeger's format"),
        (&[("b3", Some(b3))], None, Some(false), "debug from somebody"),
        (&[("x-b3-flags", Some("0")), internal], None, None, "nothing is asked for"),
        (&[internal], None, None, "nothing is asked for"),
    ];
    for (headers, rule, counted, why) in table {
        let setup =
            Setup::new("gateway").propagators("tracecontext,b3,b3multi,jaeger").sampler(r#"{"always_off": {}}"#);
        let mut traced = trace(&setup.meshspan(FORCE), &with(&get(), headers), &ended(200));
        assert_eq!(traced.spans.len(), if rule.is_some() { 2 } else { 0 }, "{why}");
        for span in &traced.spans {
            let expected = json!({"meshspan.sampling.sampler": "force", "meshspan.sampling.rule": rule});
            assert_eq!(attributes_under(span, &["meshspan."]), expected, "{why}");
            assert_eq!(span.flags & 1, 1, "{why}");
        }
        assert_eq!(traced.traceparent().2.ends_with(['1', '3']), rule.is_some(), "the flag goes on: {why}");
        let outcome = |sampled| Series::Decision(SamplerKind::Force, sampled);
        let found = traced.counters.take().find(|(series, _)| [outcome(true), outcome(false)].contains(series));
        assert_eq!(found, counted.map(|sampled| (outcome(sampled), 1)), "{why}");
    }
}

#[test]
fn what_has_to_be_found_out_is_found_out_for_those_alone() {
    let plugin = Setup::new("server").meshspan(FORCE).plugin();
    let http = plugin.http().unwrap();
    assert!(http.needs_identity() && !http.needs_request_time());
    for (name, value, expected) in [
        ("x-envoy-force-trace", "true", true),
        ("jaeger-debug-id", "1", true),
        ("b3", "d", true),
        ("b3", "0", false),
        ("x-request-id", "d", false),
    ] {
        let head = RequestHead::collect([(name.as_bytes(), value.as_bytes())].into_iter(), false);
        assert_eq!(http.may_be_forced(&head), expected, "{name}: {value}");
    }
    let head = RequestHead::collect([(&b"x-envoy-force-trace"[..], &b"1"[..])].into_iter(), false);
    assert!(!Setup::new("server").plugin().http().unwrap().may_be_forced(&head), "nobody asked for that");
}

#[test]
fn an_identity_is_enough_and_the_rate_holds() {
    let mut plugin = Setup::new("server").sampler(r#"{"always_off": {}}"#).meshspan(FORCE).plugin();
    let mut recorded = |identity: &[u8]| {
        let head = RequestHead::collect([(&b"x-envoy-force-trace"[..], &b"1"[..])].into_iter(), false);
        let head = head.with_identity(identity);
        let (exchange, _) = plugin.handle_request_headers(&head, TrafficDirection::Inbound, Some(START)).unwrap();
        exchange.is_recorded()
    };
    assert!(!recorded(b"spiffe://mesh/ns/shop/sa/cart"));
    let granted = (0..100).filter(|_| recorded(b"spiffe://mesh/ns/ops/sa/cli")).count();
    assert_eq!(granted, 10, "the burst");
}
