//! What holds for every configuration and all traffic: each span is accounted for, decodes, and has a name that no
//! client chose.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value as Json;

use super::harness::*;
use crate::counter::Counter;
use crate::export::{DispatchError, DropReason, ExportResponse, ExporterStats};
use crate::grpc::{GrpcMethod, GrpcStatus};
use crate::header::HeaderLine;
use crate::http::{Peer, RequestHead, ResponseFlags, StreamEnd, TrafficDirection};
use crate::plugin::Plugin;

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "HTTP"];
const ROUTES: &[&str] = &["/orders/{id}", "/files/**", "/"];
const ROUTE_NAMES: &[&str] = &["", "default", "/users/{id}", "/users?x", "/a b"];
const NAMES: &[&str] = &[
    ":method",
    ":path",
    ":authority",
    ":scheme",
    "x-forwarded-proto",
    "user-agent",
    "upgrade",
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-sampled",
    "x-b3-flags",
    "uber-trace-id",
    "x-captured",
    "authorization",
    "content-type",
    "grpc-timeout",
    "x-envoy-force-trace",
    "x-envoy-internal",
];

fn some_setup() -> impl Strategy<Value = Setup> {
    let processor = (1..6_u32, 1..4_u32, any::<bool>()).prop_map(|(queue, batch, simple)| {
        let exporter = r#""exporter": {"otlp_http": {"endpoint": "http://collector:4318/v1/traces"}}"#;
        let batch = batch.min(queue);
        if simple {
            format!(r#"{{"simple": {{{exporter}}}}}"#)
        } else {
            format!(r#"{{"batch": {{"max_queue_size": {queue}, "max_export_batch_size": {batch}, {exporter}}}}}"#)
        }
    });
    let sampler = select(vec![
        r#"{"always_on": {}}"#,
        r#"{"always_off": {}}"#,
        r#"{"trace_id_ratio_based": {"ratio": 0.5}}"#,
        r#"{"parent_based": {"root": {"always_on": {}}}}"#,
        r#"{"parent_based": {"root": {"always_off": {}}, "local_parent_not_sampled": {"always_on": {}}}}"#,
        r#"{"parent_based": {"root": {"always_on": {}}, "local_parent_sampled": {"always_off": {}}}}"#,
        r#"{"probability/development": {"ratio": 0.5}}"#,
        r#"{"adaptive": {"traces_per_second": 1, "per_route": true}}"#,
        r#"{"jaeger_remote/development": {"endpoint": "http://jaeger:5778", "initial_sampler": {"rate_limiting": {"spans_per_second": 1}}}}"#,
        r#"{"composite/development": {"rule_based": {"rules": [
            {"attribute_patterns": {"key": "url.path", "included": ["/o*"]}, "sampler": {"always_on": {}}},
            {"span_kinds": ["client"], "sampler": {"rate_limiting": {"spans_per_second": 1}}}]}}}"#,
    ]);
    let limits = select(vec![
        "",
        r#""attribute_count_limit": 0"#,
        r#""attribute_count_limit": 7"#,
        r#""attribute_value_length_limit": 3"#,
    ]);
    let role = select(vec!["server", "client", "gateway", "auto"]);
    let list = select(vec!["tracecontext,baggage", "b3,jaeger,baggage", "b3multi,tracecontext", "none"]);
    let keep = select(vec![
        "null",
        r#"{"errors": true}"#,
        r#"{"slower_than": 1, "slower_than_route_p95": true, "spans_per_second": 1}"#,
    ]);
    let parts = (role, vec(processor, 1..4), sampler, limits, list, any::<bool>(), any::<bool>(), keep);
    parts.prop_map(|(role, processors, sampler, limits, list, dup, tight, keep)| {
        let opt_in = if dup { "http/dup" } else { "http" };
        let mut setup = Setup::new(role)
            .propagators(list)
            .sampler(sampler)
            .provider(&format!(r#""limits": {{{limits}}}"#))
            .meshspan(&format!(r#""routes": {ROUTES:?}"#))
            .meshspan(r#""baggage_attributes": ["k"]"#)
            .meshspan(&format!(r#""keep": {keep}"#))
            .meshspan(r#""force": {"trusted": {"internal": true}}"#)
            .general(&format!(
                r#""stability_opt_in_list": "{opt_in}",
                   "http": {{"server": {{"request_captured_headers": ["x-captured", "authorization"],
                                         "response_captured_headers": ["x-captured"]}},
                             "client": {{"request_captured_headers": ["x-captured"]}}}}"#
            ));
        if tight {
            setup = setup.meshspan(r#""limits": {"max_attribute_bytes": 1024}"#);
        }
        setup.processors = processors;
        setup
    })
}

/// A header's value: often one that means something, else any bytes that Envoy lets through.
fn some_value() -> impl Strategy<Value = Vec<u8>> {
    let known = select(vec![
        "GET",
        "CONNECT",
        "/orders/7?q=1&sig=x",
        "/files/x",
        "/secret/path",
        "*",
        "http",
        "https",
        "shop.example:8080",
        "u:p@[::1]:1",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
        "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-d",
        "4bf92f3577b34da6a3ce929d0e0e4736:f067aa0ba902b7:0:1",
        "0",
        "1",
        "d",
        "k=%C3%A9%FF",
        "a=1,b=2",
        "ot=th:8;rv:ffffffffffffff,a=1",
        "application/grpc",
        "application/grpc-web-text",
        "/shop.Cart/Get",
        "10m",
        "true",
    ]);
    prop_oneof![
        3 => known.prop_map(|text| text.as_bytes().to_vec()),
        2 => vec(1..=u8::MAX, 0..60),
        1 => (1..=u8::MAX, 0..3_000_usize).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

type OwnedLines = Vec<(String, Vec<u8>)>;

fn some_lines() -> impl Strategy<Value = OwnedLines> {
    vec((select(NAMES).prop_map(String::from), some_value()), 0..16)
}

fn borrow(lines: &OwnedLines) -> Vec<HeaderLine<'_>> {
    lines.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect()
}

/// What the host says at the end, owned.
#[derive(Clone, Debug)]
struct End {
    numbers: [Option<u64>; 8],
    now: u64,
    flags: u64,
    texts: [Vec<u8>; 5],
    route_name: &'static str,
    response: OwnedLines,
}

fn some_end() -> impl Strategy<Value = End> {
    let number = || {
        prop_oneof![
            Just(None),
            Just(Some(0)),
            Just(Some(1)),
            (0..700_u64).prop_map(Some),
            (START..START + 1_000_000).prop_map(Some),
            any::<u64>().prop_map(Some),
        ]
    };
    let numbers = [number(), number(), number(), number(), number(), number(), number(), number()];
    let text = || {
        let known = select(vec!["", "HTTP/1.1", "HTTP/2", "192.0.2.7:40000", "192.0.2.7:0", "envoy://x/", "[::1]:80"]);
        prop_oneof![known.prop_map(|text| text.as_bytes().to_vec()), vec(any::<u8>(), 0..40)]
    };
    let texts = [text(), text(), text(), text(), text()];
    let flags = prop_oneof![Just(0), any::<u64>()];
    let now = prop_oneof![Just(START), any::<u64>()];
    let parts = (numbers, now, flags, texts, select(ROUTE_NAMES), some_lines());
    parts.prop_map(|(numbers, now, flags, texts, route_name, response)| End {
        numbers,
        now,
        flags,
        texts,
        route_name,
        response,
    })
}

impl End {
    fn with<R>(&self, use_end: impl FnOnce(&StreamEnd<'_>) -> R) -> R {
        let [start, duration, code, request, response, first_byte_ms, upstream_duration, attempt_count] = self.numbers;
        let [protocol, details, source, upstream, cluster] = &self.texts;
        let lines = borrow(&self.response);
        use_end(&StreamEnd {
            caller: Peer::default(),
            callee: Peer::default(),
            now: self.now,
            start,
            duration,
            protocol,
            request_size: request,
            response_size: response,
            response_code: code,
            response_code_details: details,
            grpc_status: attempt_count.and_then(|count| GrpcStatus::from_code(u8::try_from(count).ok()?)),
            response_flags: ResponseFlags(self.flags),
            first_byte_ms,
            upstream_duration,
            attempt_count,
            source_address: source,
            upstream_address: upstream,
            cluster,
            route_name: self.route_name.as_bytes(),
            response_headers: &lines,
        })
    }
}

/// What happens to a request, and what then happens to export requests.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Ends,
    /// Its end is never seen.
    Lost,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Accepted,
    Failed,
    NoCluster,
    Refused,
    /// None comes.
    Silence,
}

fn answer(plugin: &mut Plugin, id: crate::plugin::ExportId, answer: Answer) {
    let accepted = ExportResponse { headers: &[(b":status", b"200")], body: b"", trailers: &[] };
    let failed = ExportResponse { headers: &[], body: b"", trailers: &[] };
    match answer {
        Answer::Accepted => plugin.handle_response(id, &accepted, START),
        Answer::Failed => plugin.handle_response(id, &failed, START),
        Answer::NoCluster => plugin.handle_dispatch_error(id, DispatchError::NoCluster, START),
        Answer::Refused => plugin.handle_dispatch_error(id, DispatchError::Host(10), START),
        Answer::Silence => None,
    };
}

fn check_span(span: &Span, setup_role_kinds: &[i32]) {
    assert!(setup_role_kinds.contains(&span.kind), "{span:?}");
    let (method, route) = span.name.split_once(' ').map_or((&*span.name, None), |(method, rest)| (method, Some(rest)));
    let is_call = span.name == "grpc" || GrpcMethod::parse(span.name.as_bytes()).is_some();
    assert!(METHODS.contains(&method) || is_call, "{:?}", span.name);
    let templates = || ROUTES.iter().chain(&["/users/{id}"]);
    assert!(route.is_none_or(|route| templates().any(|template| *template == route)), "{:?}", span.name);
    let read = attributes(span);
    let failed = span.status.as_ref().is_some_and(|status| status.code == 2);
    assert!(span.status.as_ref().is_none_or(|status| matches!(status.code, 0 | 2)), "{span:?}");
    if span.dropped_attributes_count == 0 {
        assert_eq!(failed, read.get("error.type").is_some(), "{span:?}");
    }
    for key in ["http.request.header.authorization", "http.response.header.authorization"] {
        if let Some(Json::Array(values)) = read.get(key) {
            assert!(values.iter().all(|value| "REDACTED".starts_with(value.as_str().unwrap())), "{values:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn every_span_is_accounted_for(
        setup in some_setup(),
        direction in select(vec![TrafficDirection::Unspecified, TrafficDirection::Inbound, TrafficDirection::Outbound]),
        requests in vec((some_lines(), some_end(), prop_oneof![4 => Just(Fate::Ends), 1 => Just(Fate::Lost)]), 1..10),
        answers in vec(select(vec![
            Answer::Accepted, Answer::Failed, Answer::NoCluster, Answer::Refused, Answer::Silence
        ]), 1..6),
        seen in prop_oneof![Just(None), any::<u64>().prop_map(Some)],
        flushes in any::<bool>(),
    ) {
        let mut plugin = setup.plugin();
        let mut answers = answers.into_iter().cycle();
        let mut decoded = 0;
        let mut export = |plugin: &mut Plugin, now: u64| {
            // A processor that refuses is polled again: not for ever.
            for _ in 0..10_000 {
                let Some((id, request)) = plugin.poll(now) else { return };
                let spans = spans_of(&request.body);
                decoded += spans.len() as u64;
                for span in &spans {
                    check_span(span, &[SERVER, CLIENT]);
                }
                answer(plugin, id, answers.next().unwrap());
            }
            panic!("a poll without end");
        };
        let (mut streams, mut unrecorded) = (0, 0);
        for (lines, end, fate) in &requests {
            let lines = borrow(lines);
            let captures = plugin.http().unwrap().captures_request_headers();
            let head = RequestHead::collect(lines.iter().copied(), captures);
            let (exchange, _) = plugin.handle_request_headers(&head, direction, seen).unwrap();
            streams += 1;
            let started = plugin.counters.pending(Counter::SpansStarted);
            match fate {
                Fate::Ends => {
                    end.with(|end| {
                        let exchange = ended_exchange(&mut plugin, exchange, &lines, end);
                        plugin.handle_end(exchange, end)
                    });
                }
                Fate::Lost => plugin.handle_lost(&exchange),
            }
            // A stream has a span, or counts as not sampled.
            unrecorded += u64::from(plugin.counters.pending(Counter::SpansStarted) == started);
            export(&mut plugin, START);
        }
        if flushes {
            plugin.flush();
            export(&mut plugin, START);
        }
        plugin.abandon();
        prop_assert!(plugin.is_idle());
        let count = |counter: Counter| plugin.counters.pending(counter);
        prop_assert_eq!(count(Counter::Streams), streams);
        prop_assert_eq!(count(Counter::SpansNotSampled), unrecorded);
        // Each processor gets each span that ended.
        let pushed = (count(Counter::SpansStarted) - count(Counter::SpansDroppedNoLog)) * setup.processors.len() as u64;
        let sum = |count: fn(&ExporterStats) -> u64| plugin.exporter_stats().map(count).sum::<u64>();
        prop_assert_eq!(pushed, sum(ExporterStats::started));
        prop_assert_eq!(pushed, sum(ExporterStats::exported) + sum(ExporterStats::all_dropped));
        if flushes {
// Some of it twice, where it failed at first.
            let sent = decoded + sum(|stats| stats.dropped(DropReason::QueueFull));
            prop_assert!(pushed <= sent, "{pushed} pushed, {sent} sent");
        }
    }

    #[test]
    fn roles_keep_their_kinds_and_parents(lines in some_lines(), end in some_end(), role in 0..3_usize) {
        let (role, kinds) = [("server", &[SERVER][..]), ("client", &[CLIENT]), ("gateway", &[SERVER, CLIENT])][role];
        let setup = Setup::new(role).sampler(r#"{"always_on": {}}"#);
        let mut plugin = setup.plugin();
        let traced = end.with(|end| trace_with(&mut plugin, TrafficDirection::Inbound, &borrow(&lines), end));
        let called = end.numbers[7] != Some(0);
        let expected = if called || role != "gateway" { kinds } else { &[SERVER] };
        prop_assert_eq!(traced.spans.iter().map(|span| span.kind).collect::<Vec<_>>(), expected);
        for span in &traced.spans {
            check_span(span, kinds);
        }
        if let [server, client] = traced.spans.as_slice() {
            prop_assert_eq!(&client.parent_span_id, &server.span_id);
            prop_assert!(client.start_time_unix_nano >= server.start_time_unix_nano);
        }
        if called {
            let inner = traced.spans.last().unwrap();
            prop_assert_eq!(traced.traceparent().1, hex(&inner.span_id));
        }
    }

    #[test]
    fn any_bytes_in_a_value_are_text_on_a_span(value in vec(any::<u8>(), 0..200)) {
        // Some of it would look like something to mask.
        let setup = Setup::new("server")
            .general(r#""http": {"server": {"request_captured_headers": ["x-captured"]}}"#)
            .meshspan(r#""masking": {"mode": "report"}"#);
        let lines: [HeaderLine<'_>; 2] = [(b"x-captured", &value), (b"user-agent", &value)];
        let traced = trace_with(&mut setup.plugin(), TrafficDirection::Inbound, &lines, &ended(200));
        let text = String::from_utf8_lossy(&value);
        let read = attributes(traced.span());
        prop_assert_eq!(&read["user_agent.original"], &*text);
        prop_assert_eq!(&read["http.request.header.x-captured"][0], &*text);
    }
}
