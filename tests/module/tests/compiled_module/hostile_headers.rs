//! Requests that Envoy lets through and no honest client sends. The request goes on, and the headers that the module
//! does not own reach the upstream as they came.

use meshspan_module_tests::{Action, Headers};

use crate::world::{REQUEST, RESPONSE, SAMPLED, assert_works, configuration, configured_with, exported, flush, lines};

/// Headers that the module writes.
const OWN: &[&str] = &["traceparent", "tracestate", "baggage", "b3", "uber-trace-id"];

fn cases() -> Vec<(&'static str, Headers)> {
    let line = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
    let long = vec![b'a'; 60 * 1024];
    let mut cases: Vec<(&'static str, Headers)> = vec![
        ("nothing at all", Vec::new()),
        ("no pseudo-headers", lines(&[("accept", "*/*")])),
        ("an empty name and value", vec![line("", b"")]),
        ("a thousand lines", (0..1000).map(|number| line(&format!("x-{number}"), b"v")).collect()),
        ("a method that is no UTF-8", vec![line(":method", b"\xff\xfe"), line(":path", b"/")]),
        ("a path that is no UTF-8", vec![line(":method", b"GET"), line(":path", b"/\xc3\x28?\xff=\x80")]),
        ("an authority that is no UTF-8", vec![line(":method", b"GET"), line(":authority", b"\xf0\x9f\x92:80")]),
        ("an empty path", vec![line(":method", b"GET"), line(":path", b"")]),
        ("a path of 60 KB", vec![line(":method", b"GET"), line(":path", &long)]),
        ("an authority of colons", vec![line(":method", b"GET"), line(":authority", b":::::")]),
        ("an open bracket for an authority", vec![line(":method", b"GET"), line(":authority", b"[::1")]),
        ("a port beyond all ports", vec![line(":method", b"GET"), line(":authority", b"a:99999999999999999999")]),
        ("CONNECT without a path", lines(&[(":method", "CONNECT"), (":authority", "a:443")])),
        ("pseudo-headers twice", lines(&[(":path", "/a"), (":path", "/b"), (":method", "GET"), (":method", "PUT")])),
        ("the same traceparent twice", lines(&[("traceparent", SAMPLED), ("traceparent", SAMPLED)])),
        (
            "a thousand tracestate lines",
            (0..1000).map(|number| line("tracestate", format!("k{number}=v").as_bytes())).collect(),
        ),
        (
            "five hundred baggage lines",
            (0..500).map(|number| line("baggage", format!("k{number}=v").as_bytes())).collect(),
        ),
        ("forwarded by many", vec![line("x-forwarded-for", &b"1.2.3.4,".repeat(2000))]),
    ];
    let traced = [
        "traceparent",
        "tracestate",
        "baggage",
        "b3",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-sampled",
        "x-b3-flags",
        "uber-trace-id",
        "user-agent",
        "x-forwarded-for",
        "x-captured",
    ];
    for name in traced {
        for (what, value) in [
            ("empty", &b""[..]),
            ("no UTF-8", b"\xff\x80\xc3\x28"),
            ("of 60 KB", &long),
            ("of 60 KB of commas", &b",".repeat(60 * 1024)),
            ("of 60 KB of equals signs", &b"=".repeat(60 * 1024)),
            ("of 60 KB of percent signs", &b"%".repeat(60 * 1024)),
            ("of dashes", b"---------------------------------------------------------"),
            ("a traceparent cut in a character", b"00-0af7651916cd43dd8448eb211c8031\xc3\xa9-b7ad6b7169203331-01"),
            ("blank", b" \t "),
        ] {
            cases.push((
                what,
                vec![line(":method", b"GET"), line("traceparent", SAMPLED.as_bytes()), line(name, value)],
            ));
            cases.push((what, vec![line(":method", b"GET"), line(name, value), line(name, value)]));
        }
    }
    cases
}

#[test]
fn the_request_goes_on_as_it_came() {
    let mut configuration = configuration();
    configuration["propagator"] = serde_json::json!({"composite": [
        {"tracecontext": {}}, {"baggage": {}}, {"b3": {}}, {"b3multi": {}}, {"jaeger": {}}]});
    configuration["instrumentation/development"] = serde_json::json!({"general": {"http": {"server": {
        "request_captured_headers": ["x-captured", "user-agent", "x-forwarded-for"],
        "response_captured_headers": ["x-captured"]}}}});
    let vm = configured_with(&configuration.to_string());
    let foreign = |lines: &Headers| -> Headers {
        let own = |name: &[u8]| OWN.iter().any(|own| own.as_bytes() == name) || name.starts_with(b"x-b3-");
        lines.iter().filter(|(name, _)| !own(name)).cloned().collect()
    };
    for (number, (what, headers)) in cases().into_iter().enumerate() {
        let what = format!(
            "case {number}: {what}, after {:?}",
            headers.last().map(|(name, _)| String::from_utf8_lossy(name).into_owned())
        );
        let stream = vm.stream().unwrap();
        let action = stream.request_headers(&headers).unwrap_or_else(|trap| panic!("{what}: {trap}"));
        assert_eq!(action, Action::Continue, "{what}");
        assert_eq!(foreign(&stream.upstream_headers()), foreign(&headers), "{what}");
        assert_eq!(stream.upstream_header("traceparent").len(), 1, "{what}: one traceparent goes upstream");
        // The response is as bad as the request.
        let action = stream.response_headers(&headers).unwrap_or_else(|trap| panic!("{what}: {trap}"));
        assert_eq!(action, Action::Continue, "{what}");
        stream.finish().unwrap_or_else(|trap| panic!("{what}: {trap}"));
        if number % 50 == 49 {
            let calls = flush(&vm).unwrap();
            exported(&calls);
            crate::world::accept(&vm, &calls).unwrap();
        }
    }
    assert_works(&vm, "hostile headers");
}

#[test]
fn properties_that_are_no_text() {
    let vm = configured_with(&configuration().to_string());
    for path in [
        &["request", "protocol"][..],
        &["response", "code_details"],
        &["upstream", "address"],
        &["source", "address"],
        &["destination", "address"],
        &["xds", "cluster_name"],
        &["xds", "route_name"],
    ] {
        for value in
            [&b"\xff\xfe\x00"[..], b"", &b"/".repeat(100_000), b"[::1", b":", b"{id}/{", b"1.2.3.4:99999999999"]
        {
            let stream = vm.stream().unwrap().property(path, value);
            assert_eq!(stream.request_headers(REQUEST).unwrap(), Action::Continue);
            assert_eq!(stream.response_headers(RESPONSE).unwrap(), Action::Continue);
            stream.finish().unwrap_or_else(|trap| panic!("{path:?}: {trap}"));
        }
    }
    let calls = flush(&vm).unwrap();
    assert_eq!(exported(&calls).len(), 7 * 7, "all are spans that a protobuf reader takes");
}
