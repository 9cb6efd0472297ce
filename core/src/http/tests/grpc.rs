//! Spans of gRPC calls: their names, attributes and status, by the RPC conventions, the newer ones and the older.

use serde_json::{Value as Json, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::harness::*;
use crate::grpc::GrpcStatus;
use crate::header::HeaderLine;
use crate::http::{RequestHead, ResponseFlags, StreamEnd, TrafficDirection};
use crate::plugin::Plugin;
use crate::shared_data::Alone;

/// `DownstreamRemoteReset`
const DR: u64 = 1 << 28;

fn call<'a>(path: &'a str, content_type: &'a str) -> Lines<'a> {
    let mut lines = request("POST", path);
    lines.push(("content-type", content_type));
    lines
}

fn status(code: u8) -> StreamEnd<'static> {
    StreamEnd { grpc_status: GrpcStatus::from_code(code), ..ended(200) }
}

/// The one span of a call through `plugin`, whose trailers say this where there are any.
fn traced(plugin: &mut Plugin, lines: &Lines<'_>, trailer: Option<&str>, end: &StreamEnd<'_>) -> Span {
    let lines: Vec<HeaderLine<'_>> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let head = RequestHead::collect(lines.iter().copied(), false);
    let (mut exchange, _) = plugin.handle_request_headers(&head, TrafficDirection::Inbound, None).expect("a tracer");
    if let Some(trailer) = trailer.filter(|_| exchange.needs_trailer_status()) {
        exchange.set_trailer_status(trailer.as_bytes());
    }
    let exchange = plugin.handle_outcome(exchange, end, &mut Alone);
    plugin.handle_end(exchange, end);
    plugin.flush();
    let mut spans = Vec::new();
    while let Some((id, request)) = plugin.poll(end.now) {
        spans.extend(spans_of(&request.body));
        let accepted = crate::export::ExportResponse { headers: &[(b":status", b"200")], body: b"", trailers: &[] };
        plugin.handle_response(id, &accepted, end.now);
    }
    assert_eq!(spans.len(), 1);
    spans.remove(0)
}

fn outcome(span: &Span) -> (String, bool, Json) {
    let failed = span.status.as_ref().is_some_and(|status| status.code == 2);
    (span.name.clone(), failed, attributes_under(span, &["rpc.", "error.type"]))
}

#[test]
#[expect(clippy::type_complexity, reason = "a table")]
fn a_span_is_named_and_judged_as_a_call() {
    let known = |status: &str| {
        json!({"rpc.system.name": "grpc", "rpc.method": "shop.Cart/Get", "rpc.service": "shop.Cart",
               "rpc.response.status_code": status})
    };
    let with_error = |mut attributes: Json, error: &str| {
        attributes["error.type"] = error.into();
        attributes
    };
    let other = |original: &str| {
        json!({"rpc.system.name": "grpc", "rpc.method": "_OTHER", "rpc.method_original": original,
               "rpc.response.status_code": "UNIMPLEMENTED", "error.type": "UNIMPLEMENTED"})
    };
    let left = StreamEnd { response_flags: ResponseFlags(DR), ..ended(200) };
    // role, path, trailer, end, name, failed, attributes
    let table: &[(&str, &str, Option<&str>, StreamEnd<'_>, &str, bool, Json, &str)] = &[
        ("server", "/shop.Cart/Get", Some("0"), ended(200), "shop.Cart/Get", false, known("OK"), "well"),
        ("server", "/shop.Cart/Get?a=b", Some("0"), ended(200), "shop.Cart/Get", false, known("OK"), "a query"),
        ("server", "/shop.Cart/Get", None, status(5), "shop.Cart/Get", false, known("NOT_FOUND"), "the caller's doing"),
        (
            "client",
            "/shop.Cart/Get",
            None,
            status(5),
            "shop.Cart/Get",
            true,
            with_error(known("NOT_FOUND"), "NOT_FOUND"),
            "which its caller sees as a failure",
        ),
        (
            "server",
            "/shop.Cart/Get",
            Some("13"),
            status(0),
            "shop.Cart/Get",
            true,
            with_error(known("INTERNAL"), "INTERNAL"),
            "trailers go before headers",
        ),
        ("server", "/shop.Cart/Get", None, left.clone(), "shop.Cart/Get", false, known("CANCELLED"), "the caller left"),
        ("server", "/shop.Cart/Nope", None, status(12), "grpc", true, other("shop.Cart/Nope"), "no such method"),
        ("server", "/Nope", None, status(12), "grpc", true, other("Nope"), "no method's name"),
    ];
    for (role, path, trailer, end, name, failed, attributes, why) in table {
        let span = traced(&mut Setup::new(role).plugin(), &call(path, "application/grpc"), *trailer, end);
        assert_eq!(outcome(&span), ((*name).to_owned(), *failed, attributes.clone()), "{role}: {why}");
    }
    let plain = traced(&mut Setup::new("server").plugin(), &request("POST", "/shop.Cart/Get"), Some("13"), &status(13));
    assert_eq!(outcome(&plain), ("POST".to_owned(), false, json!({})), "not gRPC's content type");
    let routed = Setup::new("server").meshspan(r#""routes": ["/shop.Cart/{method}"]"#);
    let span = traced(&mut routed.plugin(), &call("/shop.Cart/Get", "application/grpc"), Some("0"), &ended(200));
    assert_eq!(span.name, "shop.Cart/Get", "a call has its own name, whatever templates there are");
}

#[test]
fn a_status_that_is_in_the_body_is_not_made_up() {
    let mut plugin = Setup::new("server").plugin();
    let web = call("/shop.Cart/Get", "application/grpc-web+proto");
    let span = traced(&mut plugin, &web, None, &ended(200));
    let expected = json!({"rpc.system.name": "grpc", "rpc.method": "shop.Cart/Get", "rpc.service": "shop.Cart"});
    assert_eq!(outcome(&span), ("shop.Cart/Get".to_owned(), false, expected));
    let span = traced(&mut plugin, &web, Some("0"), &ended(200));
    assert_eq!(attributes(&span)["rpc.response.status_code"], "OK", "where the trailers are seen, it is known");
}

#[test]
fn the_older_names_come_on_request() {
    let lines = call("/shop.Cart/Get", "application/grpc");
    let rpc = |setup: Setup| {
        let span =
            traced(&mut setup.plugin(), &lines, Some("5"), &StreamEnd { source_address: b"10.0.0.1:5", ..ended(200) });
        attributes_under(&span, &["rpc.", "net."])
    };
    let newer = json!({"rpc.system.name": "grpc", "rpc.method": "shop.Cart/Get", "rpc.service": "shop.Cart",
        "rpc.response.status_code": "NOT_FOUND"});
    let older = json!({"rpc.system": "grpc", "rpc.service": "shop.Cart", "rpc.grpc.status_code": 5});
    let merged = |base: &Json, more: Json| {
        let mut all = base.as_object().expect("an object").clone();
        all.extend(more.as_object().expect("an object").clone());
        Json::Object(all)
    };
    let dup = r#""stability_opt_in_list": "rpc/dup""#;
    let version_0 = r#""rpc": {"semconv": {"version": 0}}"#;
    for (role, peer) in [("server", "10.0.0.1"), ("client", "shop.example")] {
        let peer = json!({"net.peer.name": peer});
        assert_eq!(rpc(Setup::new(role)), newer, "{role}: the default");
        let both = merged(&merged(&newer, older.clone()), peer.clone());
        assert_eq!(rpc(Setup::new(role).general(dup)), both, "{role}: both");
        let alone = merged(&merged(&older, json!({"rpc.method": "Get"})), peer.clone());
        assert_eq!(rpc(Setup::new(role).general(version_0)), alone, "{role}: the older ones alone");
    }
    let http = traced(&mut Setup::new("client").general(dup).plugin(), &get(), None, &ended(200));
    assert_eq!(attributes_under(&http, &["rpc.", "net."]), json!({}), "a request that is no call has none of them");
}

#[test]
fn a_plugin_learns_its_methods() {
    let mut plugin = Setup::new("server").plugin();
    let mut name = |method: &str, trailer| {
        let path = format!("/shop.Cart/{method}");
        traced(&mut plugin, &call(&path, "application/grpc"), Some(trailer), &ended(200)).name
    };
    assert_eq!(name("Get", "12"), "grpc", "not known");
    assert_eq!(name("Get", "0"), "shop.Cart/Get", "handled");
    assert_eq!(name("Get", "12"), "shop.Cart/Get", "known from before");
    let listed = Setup::new("server").meshspan(r#""rpc": {"known_methods": ["shop.Cart/Get"]}"#);
    let mut plugin = listed.plugin();
    let mut name = |method: &str, trailer| {
        let path = format!("/shop.Cart/{method}");
        traced(&mut plugin, &call(&path, "application/grpc"), Some(trailer), &ended(200)).name
    };
    assert_eq!(name("Get", "12"), "shop.Cart/Get", "listed");
    assert_eq!(name("Put", "0"), "grpc", "not listed");
}

#[test]
fn a_name_is_masked_wherever_it_stands() {
    let span = traced(
        &mut Setup::new("server").plugin(),
        &call("/shop.Cart/4111111111111111", "application/grpc"),
        Some("0"),
        &ended(200),
    );
    let all = format!("{} {}", span.name, attributes_under(&span, &["rpc."]));
    assert!(span.name.starts_with("shop.Cart/") && !all.contains("4111111111111111"), "{all}");
}
