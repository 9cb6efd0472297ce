//! Secrets in every place that traffic reaches: none of them leaves in a span, and the request keeps them all.

use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::harness::*;
use crate::header::HeaderLine;
use crate::http::{StreamEnd, TrafficDirection};
use crate::masking::Detector;

/// A number in all spellings that a header or a path may hold.
const SPELLINGS: &[&str] =
    &["13812345678", "138-1234-5678", "%31%3381234%35678", "%2531381234%2535678", "+8613812345678"];

fn everything() -> Setup {
    let headers = r#"["x-note", "authorization", "cookie", "tracestate"]"#;
    Setup::new("gateway").meshspan(r#""baggage_attributes": ["tel"]"#).section(
        r#""instrumentation/development": {"general": {"http": {
            "server": {"request_captured_headers": HEADERS, "response_captured_headers": ["x-note", "set-cookie"]},
            "client": {"request_captured_headers": HEADERS, "response_captured_headers": ["x-note"]},
            "semconv": {"version": 1, "dual_emit": true}}}}"#
            .replace("HEADERS", headers)
            .as_str(),
    )
}

/// Everything that spans say, as a reader sees it.
fn said(traced: &Traced) -> String {
    format!("{:#?}", traced.spans)
}

#[test]
fn no_place_lets_a_secret_through() {
    for secret in SPELLINGS {
        let text = format!("a {secret} b");
        let path = format!("/u/{secret}/x?tel={secret}&y=%7B%22t%22%3A%22{secret}%22%7D");
        let authority = format!("{secret}.shop.example:80");
        let credentials = format!("u:{secret}@shop.example");
        let baggage = format!("tel={secret}");
        let state = format!("vendor={secret},other=1");
        let route = format!("/u/{secret}/{{id}}");
        for authority in [&authority, &credentials] {
            let lines = [
                (":method", text.as_str()),
                (":scheme", secret),
                (":authority", authority),
                (":path", &path),
                ("user-agent", &text),
                ("x-note", &text),
                ("authorization", &text),
                ("cookie", &text),
                ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
                ("tracestate", &state),
                ("baggage", &baggage),
            ];
            let response = [("x-note", text.as_str()), ("set-cookie", &text)];
            let response: Vec<HeaderLine<'_>> =
                response.map(|(name, value)| (name.as_bytes(), value.as_bytes())).into();
            let end = StreamEnd {
                protocol: text.as_bytes(),
                response_code_details: text.as_bytes(),
                source_address: text.as_bytes(),
                upstream_address: text.as_bytes(),
                cluster: text.as_bytes(),
                route_name: route.as_bytes(),
                response_headers: &response,
                ..ended(500)
            };
            let traced = trace(&everything(), &lines, &end);
            assert_eq!(traced.spans.len(), 2);
            let open = everything().meshspan(r#""masking": {"detectors": {"cn_mobile_number": false}}"#);
            let unmasked = said(&trace(&open, &lines, &end)).matches(*secret).count();
            assert!(unmasked > 20, "the places are reached: {unmasked} times");
            let said = said(&traced);
            for part in [*secret, "13812345678", "12345678", "1234-5678"] {
                assert!(!said.contains(part), "{part} of {secret} is in {said}");
            }
            assert_eq!(traced.header("tracestate"), None, "the request keeps its own");
        }
    }
}

#[test]
fn what_was_masked_can_still_be_read() {
    let lines = with(
        &request("GET", "/users/13812345678?mail=alice%40example.com&sig=1"),
        &[
            ("tracestate", Some("vendor=13812345678")),
            ("traceparent", Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")),
        ],
    );
    let end = StreamEnd { route_name: b"/u/13812345678", ..ended(200) };
    let traced = trace(&Setup::new("server"), &lines, &end);
    let span = traced.span();
    assert_eq!(
        attributes_under(span, &["url.", "http.route"]),
        json!({"url.scheme": "http", "url.path": "/users/138****5678", "http.route": "/u/138****5678",
               "url.query": "mail=a***%40example.com&sig=REDACTED"})
    );
    assert_eq!((span.name.as_str(), span.trace_state.as_str()), ("GET /u/138****5678", "vendor=138****5678"));
}

#[test]
fn a_text_is_masked_before_it_is_cut() {
    // Cut first, nobody could tell that these were the first digits of a card, or the name of a mail address.
    let setup = Setup::new("server").provider(r#""limits": {"attribute_value_length_limit": 14}"#);
    for (path, expected) in [("/4111111111111111", "/************1"), ("/alice.smith@example.com", "/a***@example.")] {
        let traced = trace(&setup, &request("GET", path), &ended(200));
        assert_eq!(attributes_under(traced.span(), &["url.path"]), json!({"url.path": expected}));
    }
}

#[test]
fn segments_of_a_template_and_attributes_are_fields() {
    let setup = Setup::new("gateway").meshspan(r#""routes": ["/users/{name}/orders"]"#).meshspan(
        r#""masking": {"fields": [{"path_parameters": ["name"], "action": "redact"},
                                  {"attributes": ["url.query"], "action": "drop"}]}"#,
    );
    let traced = trace(&setup, &request("GET", "/users/alice/orders?a=b"), &ended(200));
    let (server, client) = (traced.of_kind(SERVER), traced.of_kind(CLIENT));
    assert_eq!(
        attributes_under(server, &["url."]),
        json!({"url.scheme": "http", "url.path": "/users/REDACTED/orders"})
    );
    assert_eq!(
        attributes_under(client, &["url."]),
        json!({"url.full": "http://shop.example/users/REDACTED/orders?a=b"})
    );
}

#[test]
fn what_was_masked_can_be_counted() {
    let mut plugin = Setup::new("server").plugin();
    let lines = request("GET", "/users/13812345678?a=13812345678");
    let lines: Vec<HeaderLine<'_>> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    trace_with(&mut plugin, TrafficDirection::Inbound, &lines, &ended(200));
    let counts: Vec<_> = plugin.masker().counts().take().collect();
    assert_eq!(counts, [(Detector::CnMobileNumber.into(), "".into(), 2)]);
}
