//! Which attributes spans have, by kind, and where they come from.

use serde_json::{Value as Json, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::harness::*;
use crate::http::{ResponseFlags, StreamEnd, TrafficDirection};

const UF: u64 = 1 << 5;
const URX: u64 = 1 << 15;

#[test]
fn a_minimal_request_has_what_is_required_and_no_more() {
    let traced = trace(&Setup::new("gateway"), &get(), &ended(200));
    let server = json!({
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "shop.example",
        "url.path": "/orders/7",
        "url.scheme": "http",
        "meshspan.sampling.sampler": "always_on",
        "meshspan.sampling.rule": "root",
    });
    let client = json!({
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "shop.example",
        "server.port": 80,
        "url.full": "http://shop.example/orders/7",
        "meshspan.sampling.sampler": "always_on",
        "meshspan.sampling.rule": "root",
    });
    let mut below = client.clone();
    below["meshspan.sampling.rule"] = json!("local_parent_sampled");
    assert_eq!(attributes(traced.of_kind(SERVER)), server);
    assert_eq!(attributes(traced.of_kind(CLIENT)), below);
    for (role, expected) in [("server", server), ("client", client)] {
        assert_eq!(attributes(trace(&Setup::new(role), &get(), &ended(200)).span()), expected, "alone it is the same");
    }
}

#[test]
fn a_stream_of_which_nothing_is_known() {
    for role in ["server", "client"] {
        let traced = trace(&Setup::new(role), &[], &StreamEnd::default());
        assert_eq!(
            attributes(traced.span()),
            json!({"http.request.method": "_OTHER", "error.type": "_OTHER", "meshspan.sampling.sampler": "always_on",
                "meshspan.sampling.rule": "root"}),
            "{role}: a head that Envoy could not read, and no response"
        );
    }
}

const CAPTURED: &str = r#"
    "http": {
      "server": {"request_captured_headers": ["X-Tenant", "x-absent"], "response_captured_headers": ["server-timing"]},
      "client": {"request_captured_headers": ["x-cell"]}
    }"#;

fn full_request() -> Lines<'static> {
    vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "shop.example:8443"),
        (":path", "/orders/7?q=otel&sig=secret"),
        ("x-forwarded-proto", "https"),
        ("user-agent", "probe/1"),
        ("x-tenant", "blue"),
        ("x-tenant", "green"),
        ("x-cell", "3"),
        ("baggage", "tier=gold,other=1"),
    ]
}

fn full_end() -> StreamEnd<'static> {
    StreamEnd {
        protocol: b"HTTP/2",
        request_size: Some(12),
        response_size: Some(345),
        response_code_details: b"via_upstream",
        response_flags: ResponseFlags(UF | URX),
        first_byte_ms: Some(1_500),
        upstream_duration: Some(2_250_000_000),
        attempt_count: Some(3),
        source_address: b"192.0.2.7:40000",
        upstream_address: b"[2001:db8::9]:8080",
        cluster: b"orders",
        route_name: b"/orders/{id}",
        response_headers: &[(b"server-timing", b"db;dur=53"), (b"x-other", b"1")],
        ..ended(503)
    }
}

fn full_server() -> Json {
    json!({
        "baggage.tier": "gold",
        "client.address": "192.0.2.7",
        "client.port": 40000,
        "envoy.response_code_details": "via_upstream",
        "envoy.response_flags": ["UF", "URX"],
        "envoy.route.name": "/orders/{id}",
        "envoy.upstream.attempt_count": 3,
        "envoy.upstream.cluster": "orders",
        "envoy.upstream.duration": 2.25,
        "envoy.upstream.first_byte.duration": 1.5,
        "envoy.upstream.host": "[2001:db8::9]:8080",
        "error.type": "503",
        "http.request.body.size": 12,
        "http.request.header.x-tenant": ["blue", "green"],
        "http.request.method": "POST",
        "http.response.body.size": 345,
        "http.response.header.server-timing": ["db;dur=53"],
        "http.response.status_code": 503,
        "http.route": "/orders/{id}",
        "meshspan.sampling.sampler": "always_on",
        "meshspan.sampling.rule": "root",
        "network.peer.address": "192.0.2.7",
        "network.peer.port": 40000,
        "network.protocol.version": "2",
        "server.address": "shop.example",
        "server.port": 8443,
        "url.path": "/orders/7",
        "url.query": "q=otel&sig=REDACTED",
        "url.scheme": "https",
        "user_agent.original": "probe/1",
    })
}

fn full_client() -> Json {
    json!({
        "baggage.tier": "gold",
        "envoy.response_code_details": "via_upstream",
        "envoy.response_flags": ["UF", "URX"],
        "envoy.route.name": "/orders/{id}",
        "envoy.upstream.attempt_count": 3,
        "envoy.upstream.cluster": "orders",
        "envoy.upstream.duration": 2.25,
        "envoy.upstream.first_byte.duration": 1.5,
        "envoy.upstream.host": "[2001:db8::9]:8080",
        "error.type": "503",
        "http.request.body.size": 12,
        "http.request.header.x-cell": ["3"],
        "http.request.method": "POST",
        "http.request.resend_count": 2,
        "http.response.body.size": 345,
        "http.response.status_code": 503,
        "meshspan.sampling.sampler": "always_on",
        "meshspan.sampling.rule": "root",
        "network.peer.address": "2001:db8::9",
        "network.peer.port": 8080,
        "network.protocol.version": "2",
        "server.address": "shop.example",
        "server.port": 8443,
        "url.full": "https://shop.example:8443/orders/7?q=otel&sig=REDACTED",
        "user_agent.original": "probe/1",
    })
}

#[test]
fn a_full_request_has_all_of_it() {
    let setup = |role| Setup::new(role).general(CAPTURED).meshspan(r#""baggage_attributes": ["tier", "absent"]"#);
    assert_eq!(attributes(trace(&setup("server"), &full_request(), &full_end()).span()), full_server());
    assert_eq!(attributes(trace(&setup("client"), &full_request(), &full_end()).span()), full_client());

    let traced = trace(&setup("gateway"), &full_request(), &full_end());
    assert_eq!(attributes(traced.of_kind(SERVER)), full_server());
    let mut client = full_client();
    client["meshspan.sampling.rule"] = json!("local_parent_sampled");
    client.as_object_mut().unwrap().remove("network.protocol.version");
    assert_eq!(attributes(traced.of_kind(CLIENT)), client, "the protocol is the downstream connection's");
}

#[test]
fn methods() {
    let table = [
        ("GET", json!({"http.request.method": "GET"}), "known"),
        ("BREW", json!({"http.request.method": "_OTHER", "http.request.method_original": "BREW"}), "unknown"),
        ("Get", json!({"http.request.method": "_OTHER", "http.request.method_original": "Get"}), "case-sensitive"),
        ("", json!({"http.request.method": "_OTHER"}), "none: there is no original"),
    ];
    for (method, expected, why) in table {
        let traced = trace(&Setup::new("gateway"), &request(method, "/"), &ended(200));
        for span in &traced.spans {
            assert_eq!(attributes_under(span, &["http.request."]), expected, "{why}");
        }
    }
}

#[test]
fn urls() {
    // :path; the server's url.path and url.query; the client's url.full
    let table: &[(Option<&str>, Json, Json, &str)] = &[
        (
            Some("/a/b"),
            json!({"url.scheme": "http", "url.path": "/a/b"}),
            json!({"url.full": "http://shop.example/a/b"}),
            "no query",
        ),
        (
            Some("/a?x=1&y=2"),
            json!({"url.scheme": "http", "url.path": "/a", "url.query": "x=1&y=2"}),
            json!({"url.full": "http://shop.example/a?x=1&y=2"}),
            "a query, without its question mark",
        ),
        (
            Some("/a?"),
            json!({"url.scheme": "http", "url.path": "/a"}),
            json!({"url.full": "http://shop.example/a?"}),
            "an empty query is no query, but the URL is as it came",
        ),
        (
            Some("/a?x=1?y"),
            json!({"url.scheme": "http", "url.path": "/a", "url.query": "x=1?y"}),
            json!({"url.full": "http://shop.example/a?x=1?y"}),
            "a question mark within a query (RFC 3986 section 3.4)",
        ),
        (
            Some("/a?sig=x&AWSAccessKeyId=x&Signature=x&X-Goog-Signature=x"),
            json!({
                "url.scheme": "http",
                "url.path": "/a",
                "url.query": "sig=REDACTED&AWSAccessKeyId=REDACTED&Signature=REDACTED&X-Goog-Signature=REDACTED",
            }),
            json!({
                "url.full": "http://shop.example/a?sig=REDACTED&AWSAccessKeyId=REDACTED&Signature=REDACTED\
                             &X-Goog-Signature=REDACTED",
            }),
            "the conventions' sensitive parameters",
        ),
        (
            Some("/a?x=1#token=secret"),
            json!({"url.scheme": "http", "url.path": "/a", "url.query": "x=1"}),
            json!({"url.full": "http://shop.example/a?x=1"}),
            "a fragment is not the server's business",
        ),
        (
            Some("/"),
            json!({"url.scheme": "http", "url.path": "/"}),
            json!({"url.full": "http://shop.example/"}),
            "the root",
        ),
        (
            Some("*"),
            json!({"url.scheme": "http", "url.path": "*"}),
            json!({"url.full": "http://shop.example"}),
            "OPTIONS * (RFC 9110 section 7.1): the URL has no path",
        ),
        (Some(""), json!({}), json!({}), "an empty path is none"),
        (None, json!({}), json!({}), "CONNECT has an authority alone"),
    ];
    for (path, server, client, why) in table {
        let method = if path.is_none() { "CONNECT" } else { "GET" };
        let lines = with(&request(method, ""), &[(":path", *path)]);
        let traced = trace(&Setup::new("gateway"), &lines, &ended(200));
        assert_eq!(attributes_under(traced.of_kind(SERVER), &["url."]), *server, "{why}");
        assert_eq!(attributes_under(traced.of_kind(CLIENT), &["url."]), *client, "{why}");
    }
}

#[test]
fn sensitive_query_parameters_are_the_configurations() {
    let setup = Setup::new("server").general(r#""sanitization": {"url": {"sensitive_query_parameters": ["token"]}}"#);
    let traced = trace(&setup, &request("GET", "/a?token=x&sig=y"), &ended(200));
    assert_eq!(attributes_under(traced.span(), &["url.query"]), json!({"url.query": "token=REDACTED&sig=y"}));
}

#[test]
#[expect(clippy::type_complexity, reason = "a table")]
fn the_scheme_is_the_clients() {
    // :scheme, x-forwarded-proto; url.scheme; url.full and the client's server.port
    let table: &[(Option<&str>, Option<&str>, Json, (&str, Option<u16>), &str)] = &[
        (Some("http"), None, json!("http"), ("http://shop.example/", Some(80)), "of the connection"),
        (Some("https"), None, json!("https"), ("https://shop.example/", Some(443)), "of the connection"),
        (Some("http"), Some("https"), json!("https"), ("https://shop.example/", Some(443)), "TLS ended in front"),
        (Some("https"), Some("http"), json!("http"), ("http://shop.example/", Some(80)), "Envoy wrote it"),
        (Some("http"), Some("gopher"), json!("http"), ("http://shop.example/", Some(80)), "neither http nor https"),
        (Some("http"), Some("https,http"), json!("http"), ("http://shop.example/", Some(80)), "a list is no scheme"),
        (Some("http"), Some(""), json!("http"), ("http://shop.example/", Some(80)), "empty"),
        (None, Some("https"), json!("https"), ("https://shop.example/", Some(443)), "no :scheme"),
        (None, None, Json::Null, ("http://shop.example/", None), "nothing: a URL needs one, an attribute does not"),
        (Some("ws"), None, json!("ws"), ("ws://shop.example/", None), "a scheme without a known port"),
    ];
    for (scheme, forwarded, expected, (url, port), why) in table {
        let lines = with(&request("GET", "/"), &[(":scheme", *scheme), ("x-forwarded-proto", *forwarded)]);
        let traced = trace(&Setup::new("gateway"), &lines, &ended(200));
        let (server, client) = (attributes(traced.of_kind(SERVER)), attributes(traced.of_kind(CLIENT)));
        assert_eq!(server["url.scheme"], *expected, "{why}");
        assert_eq!(client["url.full"], *url, "{why}");
        assert_eq!(client["server.port"], json!(port), "{why}");
        assert_eq!(server["server.port"], Json::Null, "{why}");
    }
}

#[test]
fn the_server_is_the_authoritys() {
    // :authority; server.* of a server span and of a client span
    let table: &[(Option<&str>, Json, Json, &str)] = &[
        (
            Some("shop.example"),
            json!({"server.address": "shop.example"}),
            json!({"server.address": "shop.example", "server.port": 80}),
            "a client span says its port even when it is implied",
        ),
        (
            Some("shop.example:80"),
            json!({"server.address": "shop.example", "server.port": 80}),
            json!({"server.address": "shop.example", "server.port": 80}),
            "a port that was written",
        ),
        (
            Some("[2001:db8::1]:8080"),
            json!({"server.address": "2001:db8::1", "server.port": 8080}),
            json!({"server.address": "2001:db8::1", "server.port": 8080}),
            "IPv6 without its brackets",
        ),
        (
            Some("user:secret@shop.example"),
            json!({"server.address": "shop.example"}),
            json!({"server.address": "shop.example", "server.port": 80}),
            "user and password are no host",
        ),
        (
            Some("shop.example:99999"),
            json!({"server.address": "shop.example"}),
            json!({"server.address": "shop.example", "server.port": 80}),
            "what is no port is left out",
        ),
        (Some(":80"), json!({}), json!({}), "a port alone"),
        (Some(""), json!({}), json!({}), "empty"),
        (None, json!({}), json!({}), "none"),
    ];
    for (authority, server, client, why) in table {
        let traced = trace(&Setup::new("gateway"), &with(&get(), &[(":authority", *authority)]), &ended(200));
        assert_eq!(attributes_under(traced.of_kind(SERVER), &["server."]), *server, "{why}");
        assert_eq!(attributes_under(traced.of_kind(CLIENT), &["server."]), *client, "{why}");
    }
}

#[test]
fn passwords_in_an_authority_never_leave() {
    let lines = with(&get(), &[(":authority", Some("user:secret@shop.example:81"))]);
    let setup = Setup::new("gateway").general(r#""stability_opt_in_list": "http/dup""#);
    let traced = trace(&setup, &lines, &ended(200));
    assert!(!format!("{:?}", traced.spans).contains("secret"), "{:#?}", traced.spans);
    let url = "http://REDACTED:REDACTED@shop.example:81/orders/7";
    assert_eq!(attributes(traced.of_kind(CLIENT))["url.full"], url);
}

#[test]
fn the_client_is_who_envoy_takes_for_it() {
    let known = |port: u16| {
        json!({
            "client.address": "192.0.2.7",
            "client.port": port,
            "network.peer.address": "192.0.2.7",
            "network.peer.port": port,
        })
    };
    let table: &[(&str, Json, &str)] = &[
        ("192.0.2.7:40000", known(40_000), "the peer"),
        (
            "192.0.2.7:0",
            json!({"client.address": "192.0.2.7"}),
            "from x-forwarded-for: the peer is another, and unknown",
        ),
        (
            "[2001:db8::7]:40000",
            json!({
                "client.address": "2001:db8::7",
                "client.port": 40000,
                "network.peer.address": "2001:db8::7",
                "network.peer.port": 40000,
            }),
            "IPv6",
        ),
        ("[2001:db8::7]:0", json!({"client.address": "2001:db8::7"}), "IPv6 from x-forwarded-for"),
        ("envoy://internal_client_address/", json!({}), "an internal listener: nobody to name"),
        ("@meshspan", json!({}), "an abstract socket"),
        ("/run/app.sock", json!({}), "a pipe"),
        ("", json!({}), "not known"),
    ];
    for (address, expected, why) in table {
        let end = StreamEnd { source_address: address.as_bytes(), ..ended(200) };
        let prefixes = &["client.", "network.peer."];
        let server = trace(&Setup::new("server"), &get(), &end);
        assert_eq!(attributes_under(server.span(), prefixes), *expected, "{why}");
        let client = trace(&Setup::new("client"), &get(), &end);
        assert_eq!(attributes_under(client.span(), prefixes), json!({}), "a client span's peer is upstream: {why}");
    }
}

#[test]
fn a_client_spans_peer_is_the_upstream_host() {
    let table: &[(&str, Json, &str)] = &[
        ("10.0.0.9:8080", json!({"network.peer.address": "10.0.0.9", "network.peer.port": 8080}), "a host"),
        ("[2001:db8::9]:80", json!({"network.peer.address": "2001:db8::9", "network.peer.port": 80}), "IPv6"),
        ("envoy://connect_originate/10.0.0.1:8080", json!({}), "an internal listener has no socket"),
        ("/run/app.sock", json!({}), "a pipe"),
        ("", json!({}), "nobody was called"),
    ];
    for (address, expected, why) in table {
        let end = StreamEnd { upstream_address: address.as_bytes(), ..ended(200) };
        let client = trace(&Setup::new("client"), &get(), &end);
        assert_eq!(attributes_under(client.span(), &["network.peer."]), *expected, "{why}");
        let host = if address.is_empty() { json!({}) } else { json!({"envoy.upstream.host": address}) };
        let server = trace(&Setup::new("server"), &get(), &end);
        assert_eq!(attributes_under(server.span(), &["network.peer."]), json!({}), "{why}");
        for span in [client.span(), server.span()] {
            assert_eq!(attributes_under(span, &["envoy."]), host, "as Envoy has it: {why}");
        }
    }
}

#[test]
fn captured_headers_are_lists_and_hide_credentials() {
    let setup = Setup::new("server").general(
        r#""http": {"server": {
             "request_captured_headers": ["X-Tenant", "Authorization", "cookie", "x-api-key", "x-empty", "x-bytes",
                                          "user-agent", "traceparent"],
             "response_captured_headers": ["Set-Cookie", "etag", "x-absent"]}}"#,
    );
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut lines: Vec<(&[u8], &[u8])> = vec![
        (b"x-tenant", b"blue"),
        (b"x-other", b"never asked for"),
        (b"authorization", b"Bearer secret"),
        (b"x-tenant", b"green, red"),
        (b"cookie", b"session=secret"),
        (b"cookie", b"id=secret"),
        (b"x-api-key", b"secret"),
        (b"x-empty", b""),
        (b"x-bytes", b"a\xffb"),
        (b"user-agent", b"probe/1"),
        (b"traceparent", traceparent.as_bytes()),
    ];
    let head = get();
    lines.extend(head.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let end = StreamEnd {
        response_headers: &[(b":status", b"200"), (b"set-cookie", b"session=secret"), (b"etag", b"\"1\"")],
        ..ended(200)
    };
    let traced = trace_with(&mut setup.plugin(), TrafficDirection::Inbound, &lines, &end);
    assert_eq!(
        attributes_under(traced.span(), &["http.request.header.", "http.response.header."]),
        json!({
            "http.request.header.x-tenant": ["blue", "green, red"],
            "http.request.header.authorization": ["REDACTED"],
            "http.request.header.cookie": ["REDACTED", "REDACTED"],
            "http.request.header.x-api-key": ["REDACTED"],
            "http.request.header.x-empty": [""],
            "http.request.header.x-bytes": ["a\u{fffd}b"],
            "http.request.header.user-agent": ["probe/1"],
            "http.request.header.traceparent": [traceparent],
            "http.response.header.set-cookie": ["REDACTED"],
            "http.response.header.etag": ["\"1\""],
        }),
        "one item a line, absent ones left out"
    );
    assert!(!format!("{:?}", traced.spans).contains("secret"));
}

#[test]
fn each_side_captures_its_own() {
    let http = |side: &str, what: &str| format!(r#""http": {{"{side}": {{"{what}_captured_headers": ["x"]}}}}"#);
    for (side, what, request, response) in [
        ("server", "request", true, false),
        ("client", "request", true, false),
        ("server", "response", false, true),
        ("client", "response", false, true),
    ] {
        let plugin = Setup::new("auto").general(&http(side, what)).plugin();
        let tracer = plugin.http().unwrap();
        assert_eq!(
            (tracer.captures_request_headers(), tracer.captures_response_headers()),
            (request, response),
            "{side} {what}"
        );
    }
}

#[test]
fn legacy_names_stand_beside_the_stable_ones() {
    let setup = |role| Setup::new(role).general(r#""stability_opt_in_list": "http/dup""#);
    let lines = with(&request("BREW", "/a?sig=x"), &[(":authority", Some("shop.example:81"))]);
    let end = StreamEnd { protocol: b"HTTP/1.1", source_address: b"192.0.2.7:0", ..ended(404) };
    let legacy = ["http.method", "http.url", "http.status_code", "http.flavor", "net.peer.name"];
    let only_legacy = |span: &Span| {
        let Json::Object(map) = attributes(span) else { panic!("an object") };
        map.into_iter().filter(|(key, _)| legacy.contains(&key.as_str())).collect::<Json>()
    };
    let server = trace(&setup("server"), &lines, &end);
    assert_eq!(
        only_legacy(server.span()),
        json!({
            "http.method": "BREW",
            "http.url": "http://shop.example:81/a?sig=REDACTED",
            "http.status_code": 404,
            "http.flavor": "1.1",
            "net.peer.name": "192.0.2.7",
        })
    );
    let client = trace(&setup("client"), &lines, &end);
    assert_eq!(
        only_legacy(client.span()),
        json!({
            "http.method": "BREW",
            "http.url": "http://shop.example:81/a?sig=REDACTED",
            "http.status_code": 404,
            "http.flavor": "1.1",
            "net.peer.name": "shop.example",
        })
    );
    for (role, dup) in [("server", server), ("client", client)] {
        let Json::Object(mut map) = attributes(dup.span()) else { panic!("an object") };
        map.retain(|key, _| !legacy.contains(&key.as_str()));
        let stable = trace(&Setup::new(role), &lines, &end);
        assert_eq!(Json::Object(map), attributes(stable.span()), "{role}: the stable ones are all there");
    }
}

#[test]
fn protocols() {
    let table = [
        ("HTTP/1.0", Some("1.0"), Some("1.0"), "an old client"),
        ("HTTP/1.1", Some("1.1"), Some("1.1"), ""),
        ("HTTP/2", Some("2"), Some("2.0"), "the legacy name had a fraction"),
        ("HTTP/3", Some("3"), Some("3.0"), "the legacy name had a fraction"),
        ("", None, None, "no connection to speak of"),
        ("SPDY", None, None, "no HTTP version"),
    ];
    for (protocol, version, flavor, why) in table {
        let end = StreamEnd { protocol: protocol.as_bytes(), ..ended(200) };
        let setup = Setup::new("server").general(r#""stability_opt_in_list": "http/dup""#);
        let read = attributes(trace(&setup, &get(), &end).span());
        assert_eq!(read["network.protocol.version"], json!(version), "{why}");
        assert_eq!(read["http.flavor"], json!(flavor), "{why}");
    }
}

#[test]
fn attempts_are_counted_where_there_were_any() {
    let table: &[(Option<u64>, Json, Json, &str)] = &[
        (None, json!({}), json!({}), "not known"),
        (Some(0), json!({}), json!({}), "nothing was tried"),
        (Some(1), json!({"envoy.upstream.attempt_count": 1}), json!({}), "no retry"),
        (Some(2), json!({"envoy.upstream.attempt_count": 2}), json!({"http.request.resend_count": 1}), "a retry"),
    ];
    for (attempt_count, envoy, resent, why) in table {
        let end = StreamEnd { attempt_count: *attempt_count, ..ended(200) };
        let client = trace(&Setup::new("client"), &get(), &end);
        assert_eq!(attributes_under(client.span(), &["envoy."]), *envoy, "{why}");
        assert_eq!(attributes_under(client.span(), &["http.request.resend"]), *resent, "{why}");
        let server = trace(&Setup::new("server"), &get(), &end);
        assert_eq!(attributes_under(server.span(), &["envoy."]), *envoy, "{why}");
        assert_eq!(attributes_under(server.span(), &["http.request.resend"]), json!({}), "a client's: {why}");
    }
}

#[test]
fn numbers_beyond_int64_stay_at_its_end() {
    let end = StreamEnd { request_size: Some(u64::MAX), upstream_duration: Some(u64::MAX), ..ended(u64::MAX) };
    let read = attributes(trace(&Setup::new("server"), &get(), &end).span());
    assert_eq!(read["http.request.body.size"], json!(i64::MAX));
    assert_eq!(read["http.response.status_code"], json!(i64::MAX));
}

#[test]
fn chosen_baggage_becomes_attributes() {
    let setup = |list: &str| {
        Setup::new("server").propagators(list).meshspan(r#""baggage_attributes": ["tier", "Tier", "user", "none"]"#)
    };
    let lines = with(&get(), &[("baggage", Some("tier=a, other=1,user=DF%2028%FF;p=1,tier=last"))]);
    let traced = trace(&setup("tracecontext,baggage"), &lines, &ended(200));
    assert_eq!(
        attributes_under(traced.span(), &["baggage."]),
        json!({"baggage.tier": "last", "baggage.user": "DF 28\u{fffd}"}),
        "decoded, the last of several, keys case-sensitive, nothing that was not asked for"
    );
    let unlisted = trace(&setup("tracecontext"), &lines, &ended(200));
    assert_eq!(attributes_under(unlisted.span(), &["baggage."]), json!({}), "a propagator that is not listed");
}
