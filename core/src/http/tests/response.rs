//! What a caller is told about the trace, and what a callee tells.

use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::harness::*;
use crate::counter::Counter;
use crate::header::{HeaderEdit, HeaderLine};
use crate::http::{RequestHead, ResponseFlags, ResponseHead, ResponseNeeds, StreamEnd, TrafficDirection};
use crate::plugin::Plugin;
use crate::shared_data::Alone;

const OFF: &str = r#"{"always_off": {}}"#;
const BOTH: &str = r#""response": {"traceresponse": true, "server_timing": true}"#;
const TRACEPARENT: (&str, &str) = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02");
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// One request that is answered with `head`, and ends as `end` says.
fn answer(
    plugin: &mut Plugin,
    lines: &[(&str, &str)],
    head: &ResponseHead<'_>,
    end: &StreamEnd<'_>,
) -> (Option<ResponseNeeds>, Vec<HeaderEdit>, Traced) {
    let lines: Vec<HeaderLine<'_>> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let request = RequestHead::collect(lines.iter().copied(), true);
    let (mut exchange, edits) =
        plugin.handle_request_headers(&request, TrafficDirection::Inbound, Some(SEEN)).expect("a tracer");
    plugin.hold(&mut exchange, crate::header::pairs::serialize(lines.iter().copied()).expect("short lines"));
    let needs = plugin.response_needs(&exchange);
    let response = plugin.handle_response_headers(&mut exchange, head, &mut Alone);
    let exchange = plugin.handle_outcome(exchange, end, &mut Alone);
    plugin.handle_end(exchange, end);
    plugin.flush();
    let mut spans = Vec::new();
    while let Some((_, request)) = plugin.poll(end.now) {
        spans.extend(spans_of(&request.body));
    }
    (needs, response, Traced { edits, spans, counters: plugin.counters.clone() })
}

fn status(status: u64) -> ResponseHead<'static> {
    ResponseHead { status: Some(status), trace_response: None, now: START }
}

fn told(value: &str) -> ResponseHead<'_> {
    ResponseHead { status: Some(200), trace_response: Some(value.as_bytes()), now: START }
}

#[test]
fn nothing_is_written_that_was_not_asked_for() {
    for keep in ["", r#""keep": {"errors": true}"#] {
        let mut setup = Setup::new("server").sampler(OFF);
        if !keep.is_empty() {
            setup = setup.meshspan(keep);
        }
        let (needs, edits, _) = answer(&mut setup.plugin(), &get(), &status(503), &ended(503));
        assert_eq!((needs, edits), (None, vec![]), "no host call is spent on the response");
    }
}

#[test]
fn the_caller_is_told_the_span_that_is_its_child() {
    for role in ["server", "client", "gateway"] {
        let setup = Setup::new(role).meshspan(BOTH);
        let mut lines = get();
        lines.push(TRACEPARENT);
        let setup = setup.sampler(r#"{"always_on": {}}"#);
        let (needs, edits, traced) = answer(&mut setup.plugin(), &lines, &status(200), &ended(200));
        assert_eq!(needs, Some(ResponseNeeds::default()), "{role}: what is sampled asks for nothing");
        let outer = traced.spans.iter().find(|span| hex(&span.parent_span_id) == "00f067aa0ba902b7").unwrap();
        let value = format!("00-{TRACE}-{}-03", hex(&outer.span_id));
        let expected = [
            HeaderEdit::Set { name: "traceresponse".into(), value: value.clone() },
            HeaderEdit::Add { name: "server-timing".into(), value: format!("traceparent;desc=\"{value}\"") },
        ];
        assert_eq!(edits, expected, "{role}");
    }
}

#[test]
fn the_flag_says_whether_the_stream_is_recorded() {
    let keep = r#""keep": {"errors": true, "slower_than": 100, "spans_per_second": 1, "burst": 2}"#;
    let setup = Setup::new("server").sampler(OFF).meshspan(r#""response": {"traceresponse": true}"#).meshspan(keep);
    let mut plugin = setup.plugin();
    let slow = StreamEnd { duration: Some(200 * MS), ..ended(200) };
    let cut = StreamEnd { response_flags: ResponseFlags(1 << 4), ..ended(200) };
    let table = [
        (status(200), ended(200), '2', 0, "not recorded"),
        (status(503), ended(503), '3', 1, "failed, as its head says"),
        (ResponseHead::default(), ended(200), '2', 0, "no status: no failure yet"),
        (status(200), cut, '2', 1, "failed, which only the end tells: the caller does not learn it"),
        (status(503), ended(503), '2', 0, "failed, over the budget: and so it stays"),
        (status(200), slow, '2', 0, "slow, over the budget"),
    ];
    for (head, end, flags, spans, why) in table {
        let (_, edits, traced) = answer(&mut plugin, &get(), &head, &end);
        let [HeaderEdit::Set { value, .. }] = edits.as_slice() else { panic!("{edits:?}") };
        assert!(value.ends_with(flags), "{value}: {why}");
        assert_eq!(traced.spans.len(), spans, "{why}");
    }
    let (_, _, traced) =
        answer(&mut plugin, &get(), &status(500), &StreamEnd { start: Some(START + 5_000 * MS), ..ended(500) });
    assert_eq!(traced.spans.len(), 0, "the decision falls with the head, by its time");
    let later = ResponseHead { now: START + 5_000 * MS, ..status(500) };
    let (_, _, traced) = answer(&mut plugin, &get(), &later, &ended(500));
    assert_eq!(attributes(traced.span())["meshspan.sampling.adjusted_count"], 4, "itself and three over the budget");
}

#[test]
fn what_the_callee_recorded_its_caller_keeps() {
    let keep = r#""keep": {"traceresponse": true}"#;
    let setup = Setup::new("client").sampler(OFF).meshspan(keep);
    let other = "00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-01";
    let (sampled, not) = (format!("00-{TRACE}-1234567890123456-01"), format!("00-{TRACE}-1234567890123456-02"));
    let table = [
        (sampled.as_str(), 1, 0, "recorded"),
        (&not, 0, 0, "not recorded"),
        (other, 0, 0, "another trace: it did not go on with ours"),
        ("junk", 0, 1, "unreadable"),
        ("", 0, 1, "empty"),
    ];
    for (value, spans, malformed, why) in table {
        let mut lines = get();
        lines.push(TRACEPARENT);
        let (needs, edits, traced) = answer(&mut setup.plugin(), &lines, &told(value), &ended(200));
        assert_eq!(needs, Some(ResponseNeeds { trace_response: true, status: false }), "{why}");
        assert_eq!(edits, [], "{why}: nothing was asked to be written");
        assert_eq!(traced.spans.len(), spans, "{why}");
        assert_eq!(traced.counters.pending(Counter::TraceResponseMalformed), malformed, "{why}");
        for span in &traced.spans {
            let expected = json!({"meshspan.sampling.sampler": "keep", "meshspan.sampling.rule": "traceresponse",
                "meshspan.sampling.adjusted_count": 1});
            assert_eq!(attributes_under(span, &["meshspan."]), expected, "{why}");
        }
    }
    let on = Setup::new("client").meshspan(keep);
    let (needs, ..) = answer(&mut on.plugin(), &get(), &ResponseHead::default(), &ended(200));
    assert_eq!(needs, None, "what is sampled need not ask");
}

#[test]
fn the_word_of_a_callee_goes_on_to_the_next_caller() {
    let setup = Setup::new("server")
        .sampler(OFF)
        .meshspan(r#""keep": {"traceresponse": true}"#)
        .meshspan(r#""response": {"traceresponse": true}"#);
    let mut lines = get();
    lines.push(TRACEPARENT);
    let sampled = format!("00-{TRACE}-1234567890123456-01");
    let (_, edits, traced) = answer(&mut setup.plugin(), &lines, &told(&sampled), &ended(200));
    let value = format!("00-{TRACE}-{}-03", hex(&traced.span().span_id));
    assert_eq!(edits, [HeaderEdit::Set { name: "traceresponse".into(), value }]);
}

#[test]
fn a_stream_without_room_promises_nothing() {
    let setup = Setup::new("server")
        .sampler(OFF)
        .meshspan(r#""keep": {"errors": true, "traceresponse": true, "max_pending_bytes": 65536}"#)
        .meshspan(r#""response": {"traceresponse": true}"#);
    let mut plugin = setup.plugin();
    let value = "x".repeat(70_000);
    let mut lines = get();
    lines.push(("x-long", &value));
    let (needs, edits, traced) = answer(&mut plugin, &lines, &status(503), &ended(503));
    assert_eq!(needs, Some(ResponseNeeds::default()));
    assert_eq!((edits.len(), traced.spans.len()), (1, 0));
    assert_eq!(traced.counters.pending(Counter::KeepNoRoom), 1);
}
