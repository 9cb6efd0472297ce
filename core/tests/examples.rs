//! The configurations that users copy: each is one, and samples as the documentation says.
#![cfg(not(target_arch = "wasm32"))]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use meshspan_core::config::Config;
use meshspan_core::header::pairs;
use meshspan_core::http::{RequestHead, StreamEnd, TrafficDirection};
use meshspan_core::plugin::Plugin;
use meshspan_core::resource::NodeFacts;
use meshspan_core::shared_data::Alone;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/sampling")
}

fn plugin(name: &str) -> Plugin {
    let path = folder().join(format!("{name}.json"));
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let config = Config::from_json(&text).unwrap_or_else(|errors| panic!("{}: {errors}", path.display()));
    Plugin::new(&config, &NodeFacts::default(), [7; 32])
}

/// How many of `count` requests with these headers are recorded, at one moment.
fn recorded(plugin: &mut Plugin, lines: &[(&str, &str)], count: u32) -> u32 {
    let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let requests = (0..count).filter(|_| {
        let keep_lines = plugin.http().unwrap().captures_request_headers();
        let head = RequestHead::collect(lines.iter().copied(), keep_lines);
        let handled = plugin.handle_request_headers(&head, TrafficDirection::Inbound, Some(1 << 60));
        handled.is_some_and(|(exchange, _)| exchange.is_recorded())
    });
    u32::try_from(requests.count()).unwrap()
}

const NOT_SAMPLED: (&str, &str) = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02");
const SAMPLED: (&str, &str) = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03");

#[test]
#[expect(clippy::type_complexity, reason = "a table")]
fn examples_do_as_they_say() {
    let get = (":method", "GET");
    // example, request, how many of 1000 are recorded
    let table: &[(&str, &[(&str, &str)], std::ops::RangeInclusive<u32>, &str)] = &[
        ("everything", &[get, (":path", "/")], 1000..=1000, "everything"),
        ("everything", &[get, (":path", "/"), NOT_SAMPLED], 0..=0, "as the caller did"),
        ("share", &[get, (":path", "/")], 40..=160, "a tenth"),
        ("share", &[get, (":path", "/"), SAMPLED], 1000..=1000, "as the caller did"),
        ("consistent-share", &[get, (":path", "/")], 40..=160, "a tenth"),
        ("consistent-share", &[get, (":path", "/"), NOT_SAMPLED], 0..=0, "as the caller did"),
        ("independent-share", &[get, (":path", "/")], 400..=600, "half"),
        ("independent-share", &[get, (":path", "/"), NOT_SAMPLED], 1000..=1000, "by the trace's own randomness"),
        ("no-health-checks", &[get, (":path", "/healthz?verbose")], 0..=0, "a health check"),
        ("no-health-checks", &[get, (":path", "/orders")], 1000..=1000, "no health check"),
        ("no-health-checks", &[get, (":path", "/healthz"), SAMPLED], 1000..=1000, "part of a trace that is recorded"),
        ("rules", &[get, (":path", "/"), ("user-agent", "kube-probe/1.30")], 0..=0, "a probe"),
        ("rules", &[get, (":path", "/"), SAMPLED], 1000..=1000, "as the caller did"),
        ("rules", &[get, (":path", "/"), ("x-tenant", "gold")], 1000..=1000, "a tenant"),
        (
            "rules",
            &[(":method", "POST"), (":path", "/shop.Cart/Checkout"), ("content-type", "application/grpc")],
            1000..=1000,
            "a gRPC method",
        ),
        ("rules", &[get, (":path", "/api/users")], 40..=160, "the API"),
        ("rules", &[get, (":path", "/api/a.css")], 0..=60, "everything else"),
        ("rate-limit", &[get, (":path", "/")], 200..=200, "the burst"),
        ("rate-limit", &[get, (":path", "/"), SAMPLED], 1000..=1000, "as the caller did"),
        ("rules-with-a-rate-limit", &[get, (":path", "/checkout/pay")], 20..=20, "a second's worth"),
        ("rules-with-a-rate-limit", &[get, (":path", "/orders/7")], 0..=60, "everything else"),
        ("adaptive", &[get, (":path", "/")], 200..=200, "its hard cap, before anything is known"),
        ("adaptive", &[get, (":path", "/"), NOT_SAMPLED], 0..=0, "as the caller did"),
        ("jaeger-remote", &[get, (":path", "/")], 0..=60, "until it has been told"),
        (
            "force",
            &[get, (":path", "/"), ("x-envoy-force-trace", "true"), ("x-envoy-internal", "true")],
            10..=30,
            "a burst",
        ),
        ("force", &[get, (":path", "/"), ("x-envoy-force-trace", "true")], 0..=20, "from somebody"),
        ("keep", &[get, (":path", "/orders/7")], 0..=0, "nothing, at its head"),
        ("traceresponse", &[get, (":path", "/orders/7")], 0..=60, "a hundredth, at its head"),
    ];
    for (example, request, expected, why) in table {
        let recorded = recorded(&mut plugin(example), request, 1000);
        assert!(expected.contains(&recorded), "{example} {request:?}: {recorded} of 1000: {why}");
    }
    let tried: BTreeSet<_> = table.iter().map(|(example, ..)| format!("{example}.json")).collect();
    let entries = std::fs::read_dir(folder()).unwrap();
    let files: BTreeSet<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, tried, "every example is tried");
}

#[test]
fn the_example_keeps_what_failed_or_was_slow() {
    let mut plugin = plugin("keep");
    for (code, ms, kept) in [(200, 10, false), (503, 10, true), (200, 1_001, true), (404, 1_000, false)] {
        let lines: [(&[u8], &[u8]); 2] = [(b":method", b"GET"), (b":path", b"/orders/7")];
        let head = RequestHead::collect(lines.into_iter(), false);
        let (mut exchange, _) = plugin.handle_request_headers(&head, TrafficDirection::Inbound, None).unwrap();
        plugin.hold(&mut exchange, pairs::serialize(lines.into_iter()).unwrap());
        let (start, duration) = (Some(1 << 60), Some(ms * 1_000_000));
        let end = StreamEnd { start, duration, response_code: Some(code), ..StreamEnd::default() };
        let exchange = plugin.handle_outcome(exchange, &end, &mut Alone);
        assert_eq!(exchange.is_recorded(), kept, "{code} after {ms} ms");
    }
}

#[test]
fn the_example_asks_jaeger() {
    let mut plugin = plugin("jaeger-remote");
    let (id, request) = plugin.poll_sampling(1 << 60, &mut Alone).unwrap();
    assert_eq!(request.cluster, "jaeger");
    assert!(request.headers.contains(&(":path".to_owned(), "/sampling?service=checkout".to_owned())));
    let all = br#"{"strategyType":"PROBABILISTIC","probabilisticSampling":{"samplingRate":1}}"#;
    assert_eq!(plugin.handle_sampling_response(id, Some((200, all)), 1 << 60, &mut Alone), None);
    assert_eq!(recorded(&mut plugin, &[(":method", "GET"), (":path", "/")], 1000), 1000);
}
