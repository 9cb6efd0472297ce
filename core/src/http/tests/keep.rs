//! Streams that were not sampled and are exported all the same, because of how they ended.

use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::harness::*;
use crate::counter::{Counter, Series};
use crate::grpc::GrpcStatus;
use crate::http::{RequestHead, ResponseFlags, StreamEnd, TrafficDirection};
use crate::sampling::SamplerKind;
use crate::shared_data::Alone;

const UF: u64 = 1 << 5;

fn setup(role: &str, keep: &str) -> Setup {
    Setup::new(role).sampler(r#"{"always_off": {}}"#).meshspan(&format!(r#""keep": {keep}"#))
}

fn took(ms: u64, code: u64) -> StreamEnd<'static> {
    StreamEnd { duration: Some(ms * MS), now: START + ms * MS, ..ended(code) }
}

#[test]
fn what_failed_or_was_slow_is_exported() {
    let keep = r#"{"errors": true, "slower_than": 500}"#;
    let flagged = StreamEnd { response_flags: ResponseFlags(UF), ..ended(None) };
    let grpc = |code| StreamEnd { grpc_status: GrpcStatus::from_code(code), ..ended(200) };
    let call = with(&get(), &[("content-type", Some("application/grpc"))]);
    let tunnel = StreamEnd { duration: Some(3_600_000 * MS), ..ended(101) };
    let upgrade = with(&get(), &[("upgrade", Some("websocket"))]);
    let table: &[(&str, &Lines<'_>, StreamEnd<'_>, Option<&str>, &str)] = &[
        ("server", &get(), took(10, 200), None, "neither"),
        ("server", &get(), took(10, 503), Some("errors"), "an error of the server"),
        ("server", &get(), took(10, 404), None, "a client's error is none of a server span"),
        ("client", &get(), took(10, 404), Some("errors"), "but of a client span"),
        ("gateway", &get(), took(10, 404), None, "a gateway is a server first"),
        ("server", &get(), flagged, Some("errors"), "no response"),
        ("server", &get(), ended(None), Some("errors"), "no response, and nobody says why"),
        ("server", &call, grpc(13), Some("errors"), "gRPC: internal"),
        ("server", &call, grpc(5), None, "gRPC: not found is the client's doing"),
        ("client", &call, grpc(5), Some("errors"), "gRPC: a client span fails with any status but OK"),
        ("client", &call, grpc(0), None, "gRPC: OK"),
        ("server", &get(), grpc(13), None, "a header that means nothing outside gRPC"),
        ("server", &get(), took(501, 200), Some("slower_than"), "slow"),
        ("server", &get(), took(500, 200), None, "not slower"),
        ("server", &get(), took(501, 500), Some("errors"), "both: the error is told"),
        ("server", &upgrade, tunnel.clone(), None, "a tunnel is not slow"),
        ("server", &get(), tunnel, Some("slower_than"), "no tunnel was asked for"),
    ];
    for (role, lines, end, reason, why) in table {
        let mut traced = trace(&setup(role, keep), lines, end);
        let spans = if reason.is_none() {
            0
        } else if *role == "gateway" {
            2
        } else {
            1
        };
        assert_eq!(traced.spans.len(), spans, "{role}: {why}");
        assert_eq!(traced.counters.pending(Counter::SpansNotSampled), u64::from(reason.is_none()), "{why}");
        for span in &traced.spans {
            let expected = json!({"meshspan.sampling.sampler": "keep", "meshspan.sampling.rule": reason,
                "meshspan.sampling.adjusted_count": 1});
            assert_eq!(attributes_under(span, &["meshspan."]), expected, "{why}");
        }
        let kept = traced.counters.take().any(|counted| counted == (Series::Decision(SamplerKind::Keep, true), 1));
        assert_eq!(kept, reason.is_some(), "{why}");
    }
}

#[test]
fn a_kept_span_is_what_it_would_have_been() {
    let lines = with(
        &request("POST", "/orders/7?sig=secret"),
        &[
            ("traceparent", Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03")),
            ("tracestate", Some("a=1,ot=th:8")),
            ("baggage", Some("tier=gold")),
            ("user-agent", Some("probe/1")),
            ("x-tenant", Some("blue")),
        ],
    );
    let on = trace(&gateway(r#"{"always_on": {}}"#), &lines, &ended(503));
    let kept = trace(&gateway(r#"{"always_off": {}}"#), &lines, &ended(503));
    assert!(kept.traceparent().2.ends_with('2'), "the flag that went upstream stays: not sampled");
    assert_eq!((on.spans.len(), kept.spans.len()), (2, 2));
    for (on, kept) in on.spans.iter().zip(&kept.spans) {
        let without_reason = |span: &Span| {
            let mut read = attributes(span);
            read.as_object_mut().unwrap().retain(|key, _| !key.starts_with("meshspan."));
            read
        };
        assert_eq!(without_reason(kept), without_reason(on));
        assert_eq!((&kept.name, kept.kind, &kept.status), (&on.name, on.kind, &on.status));
        assert_eq!((&kept.trace_id, &kept.parent_span_id), (&on.trace_id, &on.parent_span_id));
        assert_eq!(
            (kept.start_time_unix_nano, kept.end_time_unix_nano),
            (on.start_time_unix_nano, on.end_time_unix_nano)
        );
        assert_eq!((on.flags & 0xff, kept.flags & 0xff), (3, 2), "the context was not sampled, and says so");
        assert_eq!(kept.trace_state, "a=1", "no threshold: sums of adjusted counts leave it out");
        assert_eq!(hex(&kept.span_id), hex(&on.span_id), "the ids are those that went upstream");
    }
}

fn gateway(sampler: &str) -> Setup {
    Setup::new("gateway")
        .sampler(sampler)
        .general(r#""http": {"server": {"request_captured_headers": ["x-tenant"]}}"#)
        .meshspan(r#""routes": ["/orders/{id}"]"#)
        .meshspan(r#""baggage_attributes": ["tier"]"#)
        .meshspan(r#""keep": {"errors": true}"#)
}

#[test]
fn ten_thousand_mixed_streams_with_the_head_at_nothing() {
    let keep = r#"{"errors": true, "slower_than": 200, "spans_per_second": 1000000}"#;
    let mut plugin = setup("server", keep).plugin();
    let lines = get();
    let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let (mut expected, mut kept) = (0, 0);
    for stream in 0..10_000_u64 {
        let (ms, code) = (stream * 7 % 250, if stream % 9 == 0 { 500 } else { 200 });
        let matters = ms > 200 || code == 500;
        let head = RequestHead::collect(lines.iter().copied(), false);
        let (exchange, _) = plugin.handle_request_headers(&head, TrafficDirection::Inbound, None).unwrap();
        let exchange = ended_exchange(&mut plugin, exchange, &lines, &took(ms, code));
        assert_eq!(exchange.is_recorded(), matters, "stream {stream}");
        expected += u64::from(matters);
        kept += u64::from(exchange.is_recorded());
    }
    assert_eq!((kept, plugin.counters.pending(Counter::SpansNotSampled)), (expected, 10_000 - expected));
}

#[test]
fn what_was_sampled_needs_no_keeping() {
    let setup = Setup::new("server").meshspan(r#""keep": {"errors": true}"#);
    let traced = trace(&setup, &get(), &ended(500));
    assert_eq!(attributes(traced.span())["meshspan.sampling.sampler"], "always_on");
}

#[test]
fn the_budget_holds_and_the_count_tells_what_it_cost() {
    let mut plugin = setup("server", r#"{"errors": true, "spans_per_second": 1, "burst": 2}"#).plugin();
    let lines = get();
    let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let mut counts = Vec::new();
    // Five at once, and one more two seconds later.
    for ms in [0, 0, 0, 0, 0, 2_000] {
        let end = StreamEnd { start: Some(START + ms * MS), ..ended(500) };
        let traced = trace_with(&mut plugin, TrafficDirection::Inbound, &lines, &end);
        let count = |span: &Span| attributes(span)["meshspan.sampling.adjusted_count"].as_u64().unwrap();
        counts.push(traced.spans.first().map(count));
    }
    assert_eq!(counts, [Some(1), Some(1), None, None, None, Some(4)]);
    assert_eq!(plugin.counters.pending(Counter::SpansNotSampled), 3);
    let over = plugin.counters.take().find(|(series, _)| *series == Series::Decision(SamplerKind::Keep, false));
    assert_eq!(over.map(|(_, count)| count), Some(3));
}

#[test]
fn held_headers_are_bounded_and_given_back() {
    let mut plugin = setup("server", r#"{"errors": true, "max_pending_bytes": 65536}"#).plugin();
    let begin = |plugin: &mut crate::plugin::Plugin, bytes: usize| {
        let head = RequestHead::collect(core::iter::empty(), false);
        let (exchange, _) = plugin.handle_request_headers(&head, TrafficDirection::Inbound, None).unwrap();
        let mut exchange = exchange;
        // A count of lines, and whatever: it is not read unless the stream is kept.
        plugin.hold(&mut exchange, vec![0; bytes]);
        exchange
    };
    let first = begin(&mut plugin, 60_000);
    assert!(first.is_pending());
    let second = begin(&mut plugin, 60_000);
    assert_eq!(plugin.counters.pending(Counter::KeepNoRoom), 1, "no room");
    let second = plugin.handle_outcome(second, &ended(500), &mut Alone);
    assert!(!second.is_recorded() && !second.is_pending(), "without its head it cannot be kept");
    plugin.handle_lost(&first);
    let third = begin(&mut plugin, 60_000);
    assert_eq!(plugin.counters.pending(Counter::KeepNoRoom), 1, "the first is gone");
    let third = plugin.handle_outcome(third, &ended(200), &mut Alone);
    assert!(!third.is_recorded() && !third.is_pending());
    let fourth = begin(&mut plugin, 60_000);
    plugin.handle_end(fourth, &ended(200));
    let fifth = begin(&mut plugin, 60_000);
    assert_eq!(plugin.counters.pending(Counter::KeepNoRoom), 1, "each gave its room back");
    let fifth = plugin.handle_outcome(fifth, &ended(500), &mut Alone);
    assert!(fifth.is_recorded());
    assert_eq!(plugin.counters.pending(Counter::SpansNotSampled), 4);
}
