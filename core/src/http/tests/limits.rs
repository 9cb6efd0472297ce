//! Span limits: how many attributes, how long, and how many bytes of them together.

use prost::Message;
use serde_json::{Value as Json, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::harness::*;
use crate::counter::Counter;
use crate::http::StreamEnd;

fn limits(role: &str, limits: &str) -> Setup {
    Setup::new(role).provider(&format!(r#""limits": {{{limits}}}"#))
}

/// What a span's attributes take in OTLP.
fn attribute_bytes(span: &Span) -> usize {
    Span { attributes: span.attributes.clone(), ..Span::default() }.encoded_len()
}

#[test]
fn attributes_above_the_count_are_dropped_and_counted() {
    // url.path, url.scheme, http.request.method, server.address, http.response.status_code, meshspan.sampling.sampler,
    // meshspan.sampling.rule
    let table = [(128, 7, 0), (7, 7, 0), (6, 6, 1), (1, 1, 6), (0, 0, 7)];
    for (limit, kept, dropped) in table {
        let setup = limits("server", &format!(r#""attribute_count_limit": {limit}"#));
        let traced = trace(&setup, &get(), &ended(200));
        let span = traced.span();
        assert_eq!((span.attributes.len(), span.dropped_attributes_count), (kept, dropped), "limit {limit}");
        assert_eq!(traced.counters.pending(Counter::AttributesDropped), u64::from(dropped), "limit {limit}");
        assert_eq!(traced.counters.pending(Counter::AttributesTruncated), 0, "limit {limit}");
    }
}

#[test]
fn what_comes_last_is_dropped_first() {
    let setup = limits("server", r#""attribute_count_limit": 1"#);
    let traced = trace(&setup, &get(), &ended(500));
    assert_eq!(attributes(traced.span()), json!({"http.request.method": "GET"}));
    assert_eq!(traced.span().status.as_ref().unwrap().code, 2, "a status is no attribute");
}

#[test]
fn each_of_a_gateways_spans_has_its_own_limit() {
    let traced = trace(&limits("gateway", r#""attribute_count_limit": 3"#), &get(), &ended(200));
    for span in &traced.spans {
        assert_eq!((span.attributes.len(), span.dropped_attributes_count), (3, 4));
    }
    assert_eq!(traced.counters.pending(Counter::AttributesDropped), 8);
}

#[test]
fn long_texts_are_cut_between_characters() {
    let setup = limits("server", r#""attribute_value_length_limit": 4"#)
        .general(r#""http": {"server": {"request_captured_headers": ["x-tenant"]}}"#);
    let lines = with(
        &request("GET", "/ab\u{e9}\u{1f600}z?q=\u{1f600}\u{1f600}\u{1f600}"),
        &[("x-tenant", Some("\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}")), ("user-agent", Some("abcd"))],
    );
    let traced = trace(&setup, &lines, &ended(200));
    assert_eq!(
        attributes(traced.span()),
        json!({
            "http.request.method": "GET",
            "http.request.header.x-tenant": ["\u{1f600}\u{1f600}\u{1f600}\u{1f600}"],
            "http.response.status_code": 200,
            "meshspan.sampling.sampler": "alwa",
            "meshspan.sampling.rule": "root",
            "server.address": "shop",
            "url.path": "/ab\u{e9}",
            "url.query": "q=\u{1f600}\u{1f600}",
            "url.scheme": "http",
            "user_agent.original": "abcd",
        }),
        "four characters, of however many bytes; each item of a list; numbers are not texts"
    );
    assert_eq!(traced.span().name, "GET", "a name is no attribute");
    assert_eq!(traced.counters.pending(Counter::AttributesDropped), 0, "cut is not dropped");
}

#[test]
fn limits_fall_back_to_attribute_limits() {
    let general = r#""attribute_limits": {"attribute_value_length_limit": 4, "attribute_count_limit": 2}"#;
    let traced = trace(&Setup::new("server").section(general), &request("PATCHES", "/long"), &ended(200));
    assert_eq!(
        attributes(traced.span()),
        json!({"http.request.method": "_OTH", "http.request.method_original": "PATC"})
    );
    let own = limits("server", r#""attribute_value_length_limit": 3"#).section(general);
    let traced = trace(&own, &request("PATCHES", "/long"), &ended(200));
    assert_eq!(
        attributes(traced.span()),
        json!({"http.request.method": "_OT", "http.request.method_original": "PAT"}),
        "each limit by itself"
    );
}

#[test]
fn a_zero_length_leaves_keys() {
    let traced = trace(&limits("server", r#""attribute_value_length_limit": 0"#), &get(), &ended(200));
    let read = attributes(traced.span());
    assert_eq!((&read["url.path"], &read["http.response.status_code"]), (&json!(""), &json!(200)));
}

#[test]
fn all_attributes_together_have_a_cap_in_bytes() {
    let setup = |role| Setup::new(role).meshspan(r#""limits": {"max_attribute_bytes": 1024}"#);
    let path = format!("/{}", "a".repeat(60_000));
    let traced = trace(&setup("server"), &request("GET", &path), &ended(200));
    let span = traced.span();
    let read = attributes(span);
    let Json::String(kept) = &read["url.path"] else { panic!("{read}") };
    assert!(path.starts_with(kept) && kept.len() > 800, "the path is cut to what fits: {}", kept.len());
    assert!(attribute_bytes(span) <= 1_024, "{}", attribute_bytes(span));
    assert_eq!(traced.counters.pending(Counter::AttributesTruncated), 1);
    assert_eq!(read.get("http.response.status_code"), None, "what then has no room is dropped");
    assert_eq!(traced.counters.pending(Counter::AttributesDropped), u64::from(span.dropped_attributes_count));
    assert!(span.dropped_attributes_count > 0);

    let short = trace(&setup("server"), &get(), &ended(200));
    assert_eq!(short.counters.pending(Counter::AttributesTruncated), 0);
    assert_eq!(short.counters.pending(Counter::AttributesDropped), 0);

    let gateway = trace(&setup("gateway"), &request("GET", &path), &ended(200));
    assert_eq!(gateway.counters.pending(Counter::AttributesTruncated), 2, "each span has its own");
}

#[test]
fn a_cut_at_the_cap_stays_text() {
    for pad in 0..8 {
        let path = format!("/{}{}", "a".repeat(pad), "\u{1f600}".repeat(15_000));
        let setup = Setup::new("server").meshspan(r#""limits": {"max_attribute_bytes": 1024}"#);
        let traced = trace(&setup, &request("GET", &path), &ended(200));
        let read = attributes(traced.span());
        let Json::String(kept) = &read["url.path"] else { panic!("{read}") };
        assert!(path.starts_with(kept.as_str()), "{kept}");
        assert!(attribute_bytes(traced.span()) <= 1_024);
    }
}

#[test]
fn a_long_name_of_a_route_takes_from_the_same_cap() {
    let name = format!("/{}", "r".repeat(5_000));
    let end = StreamEnd { route_name: name.as_bytes(), ..ended(200) };
    let setup = Setup::new("server").meshspan(r#""limits": {"max_attribute_bytes": 1024}"#);
    let traced = trace(&setup, &get(), &end);
    assert!(attribute_bytes(traced.span()) <= 1_024);
}
