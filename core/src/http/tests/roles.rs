//! Which spans a request becomes, whose children they are, and which id goes upstream.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::harness::*;
use crate::counter::Counter;
use crate::http::TrafficDirection::{self, Inbound, Outbound, Unspecified};
use crate::http::{RequestHead, StreamEnd};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// `SpanFlags`: it is known whether the parent is remote, and it is.
const REMOTE_PARENT: u32 = 0x300;
const NO_REMOTE_PARENT: u32 = 0x100;

fn trace_towards(role: &str, direction: TrafficDirection, lines: &[(&str, &str)]) -> Traced {
    let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    trace_with(&mut Setup::new(role).plugin(), direction, &lines, &ended(200))
}

const ROLES: &[(&str, TrafficDirection, &[i32], &str)] = &[
    ("server", Inbound, &[SERVER], "a server"),
    ("server", Outbound, &[SERVER], "a role that is set does not look at the direction"),
    ("client", Outbound, &[CLIENT], "a client"),
    ("client", Inbound, &[CLIENT], "a role that is set does not look at the direction"),
    ("gateway", Unspecified, &[SERVER, CLIENT], "a gateway"),
    ("gateway", Inbound, &[SERVER, CLIENT], "a role that is set does not look at the direction"),
    ("gateway", Outbound, &[SERVER, CLIENT], "a role that is set does not look at the direction"),
    ("auto", Inbound, &[SERVER], "inbound"),
    ("auto", Unspecified, &[SERVER], "a listener without a direction serves"),
    ("auto", Outbound, &[CLIENT], "outbound"),
];

#[test]
fn a_role_decides_which_spans_a_trace_begins_with() {
    for (role, direction, kinds, why) in ROLES {
        let traced = trace_towards(role, *direction, &get());
        let why = format!("{role}, {direction:?}: {why}");
        assert_eq!(traced.spans.iter().map(|span| span.kind).collect::<Vec<_>>(), *kinds, "{why}");
        let (trace, span, flags) = traced.traceparent();
        let (outer, inner) = (&traced.spans[0], traced.spans.last().unwrap());
        assert_eq!((trace, span), (&*hex(&inner.trace_id), &*hex(&inner.span_id)), "the innermost goes up: {why}");
        assert_eq!(flags, "03", "sampled, and the trace id is random: {why}");
        assert!(outer.parent_span_id.is_empty(), "a root: {why}");
        assert_eq!(outer.flags & !0xff, NO_REMOTE_PARENT, "{why}");
    }
}

#[test]
fn the_caller_is_the_outermost_spans_parent() {
    for (role, direction, kinds, why) in ROLES {
        let traced = trace_towards(role, *direction, &with(&get(), &[("traceparent", Some(TRACEPARENT))]));
        let why = format!("{role}, {direction:?}: {why}");
        assert_eq!(traced.spans.iter().map(|span| span.kind).collect::<Vec<_>>(), *kinds, "{why}");
        let inner = traced.spans.last().unwrap();
        assert_eq!(traced.traceparent(), (TRACE, &*hex(&inner.span_id), "01"), "{why}");
        assert_eq!(hex(&traced.spans[0].parent_span_id), PARENT, "{why}");
        assert_eq!(traced.spans[0].flags, REMOTE_PARENT | 1, "{why}");
        for span in &traced.spans {
            assert_eq!(hex(&span.trace_id), TRACE, "{why}");
            assert_ne!(hex(&span.span_id), PARENT, "{why}");
        }
    }
}

#[test]
fn a_gateways_client_span_is_its_server_spans_child() {
    for caller in [None, Some(TRACEPARENT)] {
        let traced = trace(&Setup::new("gateway"), &with(&get(), &[("traceparent", caller)]), &ended(200));
        let (server, client) = (traced.of_kind(SERVER), traced.of_kind(CLIENT));
        assert_eq!(client.parent_span_id, server.span_id);
        assert_ne!(client.span_id, server.span_id);
        assert_eq!(client.flags & !0xff, NO_REMOTE_PARENT, "a parent of the same process");
        assert_eq!(client.trace_id, server.trace_id);
        assert_eq!(traced.counters.pending(Counter::SpansStarted), 2);
        assert_eq!(traced.counters.pending(Counter::Streams), 1);
    }
}

#[test]
fn a_gateway_that_called_nobody_was_no_client() {
    let table: &[(Option<u64>, &[i32], &str)] = &[
        (Some(0), &[SERVER], "it answered by itself"),
        (Some(1), &[SERVER, CLIENT], "one try"),
        (Some(4), &[SERVER, CLIENT], "retries are the one client span's"),
        (None, &[SERVER, CLIENT], "the host does not count"),
    ];
    for (attempt_count, kinds, why) in table {
        let end = StreamEnd { attempt_count: *attempt_count, ..ended(404) };
        let traced = trace(&Setup::new("gateway"), &get(), &end);
        assert_eq!(traced.spans.iter().map(|span| span.kind).collect::<Vec<_>>(), *kinds, "{why}");
        assert_eq!(traced.counters.pending(Counter::SpansStarted), kinds.len() as u64, "{why}");
        let alone = trace(&Setup::new("client"), &get(), &end);
        assert_eq!(alone.span().kind, CLIENT, "a client's only span says that nobody was reached: {why}");
    }
}

#[test]
fn a_gateways_spans_are_sampled_apart() {
    let both = trace(&Setup::new("gateway"), &get(), &ended(200));
    let (server, client) = (both.of_kind(SERVER), both.of_kind(CLIENT));

    let sampler = r#"{"parent_based": {"root": {"always_off": {}},
        "local_parent_sampled": {"always_off": {}}, "local_parent_not_sampled": {"always_on": {}}}}"#;
    let client_only = trace(&Setup::new("gateway").sampler(sampler), &get(), &ended(200));
    let span = client_only.span();
    assert_eq!((span.kind, &span.span_id), (CLIENT, &client.span_id), "the same seed draws the same ids");
    assert_eq!(span.parent_span_id, server.span_id, "the child of a server span that nobody recorded");
    assert_eq!(client_only.traceparent(), (&*hex(&span.trace_id), &*hex(&span.span_id), "03"));
    assert_eq!(client_only.counters.pending(Counter::SpansStarted), 1);
    assert_eq!(client_only.counters.pending(Counter::SpansNotSampled), 0, "one span of the request is recorded");

    let sampler = r#"{"parent_based": {"root": {"always_on": {}},
        "local_parent_sampled": {"always_off": {}}, "local_parent_not_sampled": {"always_on": {}}}}"#;
    let server_only = trace(&Setup::new("gateway").sampler(sampler), &get(), &ended(200));
    let span = server_only.span();
    assert_eq!((span.kind, &span.span_id), (SERVER, &server.span_id));
    let expected = (&*hex(&span.trace_id), &*hex(&client.span_id), "02");
    assert_eq!(server_only.traceparent(), expected, "the client span goes upstream, and was not sampled");

    let sampler = r#"{"parent_based": {"root": {"always_off": {}}, "local_parent_not_sampled": {"always_on": {}}}}"#;
    let default = Setup::new("gateway").sampler(r#"{"parent_based": {"root": {"always_off": {}}}}"#);
    assert_eq!(trace(&default, &get(), &ended(200)).spans, [], "by default a client span follows its server span");

    let nobody_called = StreamEnd { attempt_count: Some(0), ..ended(404) };
    let none = trace(&Setup::new("gateway").sampler(sampler), &get(), &nobody_called);
    assert_eq!(none.spans, [], "its only span would have been a client's that called nobody");
    assert_eq!(none.counters.pending(Counter::SpansStarted), 0);
    assert_eq!(none.counters.pending(Counter::SpansNotSampled), 1, "no stream is in no counter");
}

#[test]
fn what_a_tracer_needs_goes_by_its_role() {
    let table = [("server", false, false), ("client", false, false), ("gateway", false, true), ("auto", true, false)];
    for (role, direction, request_time) in table {
        let plugin = Setup::new(role).plugin();
        let http = plugin.http().unwrap();
        assert_eq!((http.needs_direction(), http.needs_request_time()), (direction, request_time), "{role}");
        assert!(!http.captures_request_headers() && !http.captures_response_headers(), "{role}");
    }
}

#[test]
fn a_request_without_any_header_is_traced() {
    for (role, direction, kinds, _) in ROLES {
        let mut plugin = Setup::new(role).plugin();
        let (exchange, edits) =
            plugin.handle_request_headers(&RequestHead::collect([].into_iter(), true), *direction, None).unwrap();
        assert_eq!(edits.len(), 1, "a traceparent");
        plugin.handle_end(exchange, &StreamEnd::default());
        plugin.flush();
        let spans = spans_of(&plugin.poll(0).unwrap().1.body);
        assert_eq!(spans.iter().map(|span| span.kind).collect::<Vec<_>>(), *kinds, "{role}");
        assert!(spans.iter().all(|span| span.name == "HTTP"), "{role}");
    }
}
