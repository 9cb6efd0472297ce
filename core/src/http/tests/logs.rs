//! Log records of streams: which are written, what they say, and that they join their spans.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use serde_json::{Value as Json, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::harness::*;
use crate::config::{Config, LogLevel};
use crate::counter::Counter;
use crate::grpc::GrpcStatus;
use crate::header::{HeaderLine, pairs};
use crate::http::{RequestHead, ResponseFlags, StreamEnd, TrafficDirection};
use crate::log::StreamLine;
use crate::plugin::Plugin;
use crate::resource::NodeFacts;
use crate::shared_data::Alone;

const OFF: &str = r#"{"always_off": {}}"#;
const PROVIDER: &str = r#""logger_provider": {"processors": [{"batch": {"exporter": {"otlp_http": {"endpoint": "http://collector:4318/v1/logs"}}}}]}"#;
const TRACEPARENT: (&str, &str) = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
const UF: u64 = 1 << 5;
const RFCF: u64 = 1 << 20;

/// What became of one stream.
struct Logged {
    spans: Vec<Span>,
    records: Vec<LogRecord>,
    line: Option<StreamLine>,
    edits: usize,
}

fn setup(role: &str, logs: &str) -> Setup {
    Setup::new(role).section(PROVIDER).meshspan(&format!(r#""logs": {logs}"#))
}

fn log(plugin: &mut Plugin, lines: &[(&str, &str)], end: &StreamEnd<'_>) -> Logged {
    let lines: Vec<HeaderLine<'_>> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let head = RequestHead::collect(lines.iter().copied(), true);
    let (mut exchange, edits) =
        plugin.handle_request_headers(&head, TrafficDirection::Inbound, Some(SEEN)).expect("a tracer");
    plugin.hold(&mut exchange, pairs::serialize(lines.iter().copied()).expect("short lines"));
    if plugin.outcome_needs(&exchange).is_some() {
        exchange = plugin.handle_outcome(exchange, end, &mut Alone);
        plugin.handle_end(exchange, end);
    }
    let line = plugin.take_line();
    plugin.flush();
    let (mut spans, mut records) = (Vec::new(), Vec::new());
    while let Some((_, request)) = plugin.poll(end.now) {
        if request.headers.iter().any(|(name, value)| name == ":path" && value == "/v1/logs") {
            let request = ExportLogsServiceRequest::decode(request.body.as_slice()).expect("log records");
            let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
            records.extend(scopes.flat_map(|scope| scope.log_records));
        } else {
            spans.extend(spans_of(&request.body));
        }
    }
    Logged { spans, records, line, edits: edits.len() }
}

fn body(record: &LogRecord) -> &str {
    match record.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn took(ms: u64, code: u64) -> StreamEnd<'static> {
    StreamEnd { duration: Some(ms * MS), now: START + ms * MS, ..ended(code) }
}

#[test]
fn rules_pick_streams() {
    let errors = r#"{"when": "errors"}"#;
    let slow = r#"{"when": ["slow"], "slower_than": 100}"#;
    let keep = r#""keep": {"errors": true}"#;
    let on = r#"{"always_on": {}}"#;
    // Rule, sampler, role, end, is logged, is exported, why.
    let table: &[(&str, &str, &str, StreamEnd<'_>, bool, bool, &str)] = &[
        ("{}", on, "server", took(1, 200), true, true, "all is the default"),
        ("{}", OFF, "server", took(1, 200), true, false, "not sampled, and logged"),
        (errors, on, "server", took(1, 200), false, true, "well"),
        (errors, on, "server", took(1, 503), true, true, "failed"),
        (errors, OFF, "server", took(1, 503), true, true, "failed, and kept"),
        (errors, OFF, "server", took(1, 404), false, false, "a client's error is none of a server span"),
        (errors, OFF, "client", took(1, 404), true, true, "but of a client span"),
        (slow, OFF, "server", took(101, 200), true, false, "slow"),
        (slow, OFF, "server", took(100, 503), false, true, "kept, and not slow"),
        (r#"{"when": "sampled"}"#, on, "server", took(1, 200), true, true, "sampled"),
        (r#"{"when": "sampled"}"#, OFF, "server", took(1, 200), false, false, "not sampled"),
        (r#"{"when": "sampled"}"#, OFF, "server", took(1, 503), true, true, "kept: its span is exported"),
    ];
    for (rule, sampler, role, end, is_logged, is_exported, why) in table {
        let mut plugin = setup(role, rule).sampler(sampler).meshspan(keep).plugin();
        let logged = log(&mut plugin, &get(), end);
        assert_eq!(
            (logged.records.len(), logged.spans.len()),
            (usize::from(*is_logged), usize::from(*is_exported)),
            "{rule}, {sampler}: {why}"
        );
        if let (Some(record), Some(span)) = (logged.records.first(), logged.spans.first()) {
            assert_eq!((&record.trace_id, &record.span_id), (&span.trace_id, &span.span_id), "{why}");
            assert_eq!(record.attributes, span.attributes, "{why}: the same words");
            assert_eq!(record.flags, span.flags & 0xff, "{why}");
        }
        let pushed: u64 = plugin.exporter_stats().map(crate::export::ExporterStats::started).sum();
        assert_eq!(pushed, u64::from(*is_logged) + u64::from(*is_exported), "{why}: each in its own books");
        assert_eq!(plugin.counters.pending(Counter::SpansNotSampled), u64::from(!is_exported), "{why}: once");
    }
}

#[test]
fn a_record_says_what_its_span_would() {
    let lines = with(
        &request("POST", "/orders/13812345678?sig=secret"),
        &[("baggage", Some("tier=gold")), ("user-agent", Some("probe/1")), ("x-tenant", Some("blue"))],
    );
    let end = StreamEnd { route_name: b"/orders/{id}", attempt_count: Some(1), ..took(10, 500) };
    let general = r#""http": {"server": {"request_captured_headers": ["x-tenant"]}}"#;
    let logged = |sampler| {
        let setup =
            setup("server", "{}").sampler(sampler).general(general).meshspan(r#""baggage_attributes": ["tier"]"#);
        log(&mut setup.plugin(), &lines, &end)
    };
    let (on, off) = (logged(r#"{"always_on": {}}"#), logged(OFF));
    let words = |record: &LogRecord| {
        let span = Span { attributes: record.attributes.clone(), ..Span::default() };
        let Json::Object(mut words) = attributes(&span) else { panic!("attributes") };
        words.retain(|key, _| !key.starts_with("meshspan.sampling."));
        words
    };
    let (sampled, unsampled) = (words(&on.records[0]), words(&off.records[0]));
    assert_eq!(sampled, unsampled, "sampled or not");
    assert!(off.spans.is_empty());
    assert_eq!(unsampled["url.path"], "/orders/138****5678", "masked");
    assert_eq!(unsampled["url.query"], "sig=REDACTED");
    assert_eq!(
        (&unsampled["baggage.tier"], &unsampled["http.request.header.x-tenant"]),
        (&json!("gold"), &json!(["blue"]))
    );
    for record in [&on.records[0], &off.records[0]] {
        assert_eq!(body(record), "POST /orders/{id} 500");
        assert_eq!((record.severity_number, record.severity_text.as_str()), (17, "ERROR"));
        assert_eq!(record.time_unix_nano, START + 10 * MS, "when the stream ended");
        assert_eq!(record.observed_time_unix_nano, record.time_unix_nano);
        assert_eq!(record.event_name, "", "the conventions name no event");
    }
    assert_eq!((on.records[0].flags & 1, off.records[0].flags & 1), (1, 0), "W3C flags");
}

#[test]
fn severity_and_body_tell_the_outcome() {
    let grpc = with(&request("POST", "/shop.Cart/Add"), &[("content-type", Some("application/grpc"))]);
    let plain = get();
    let flagged = |code| StreamEnd { response_flags: ResponseFlags(UF), ..ended(code) };
    let status = |code| StreamEnd { grpc_status: GrpcStatus::from_code(code), ..ended(200) };
    let table: &[(&str, &Lines<'_>, StreamEnd<'_>, i32, &str, &str)] = &[
        ("server", &plain, ended(200), 9, "200", "well"),
        ("server", &plain, ended(302), 9, "302", "well"),
        ("server", &plain, ended(404), 13, "404", "the caller's doing"),
        ("client", &plain, ended(404), 13, "404", "an error of the span, a warning here"),
        ("server", &plain, ended(503), 17, "503", "failed"),
        ("server", &plain, flagged(None), 17, "UpstreamConnectionFailure", "no answer"),
        ("server", &plain, flagged(Some(200)), 17, "200", "an answer that broke off"),
        ("server", &plain, ended(None), 17, "_OTHER", "no answer, and nobody says why"),
        ("server", &grpc, status(0), 9, "OK", "gRPC: well"),
        ("server", &grpc, status(5), 13, "NOT_FOUND", "gRPC: the caller's doing"),
        ("client", &grpc, status(5), 17, "NOT_FOUND", "gRPC: an error to a client"),
        ("server", &grpc, status(13), 17, "INTERNAL", "gRPC: failed"),
    ];
    for (role, lines, end, severity, outcome, why) in table {
        let logged = log(&mut setup(role, "{}").plugin(), lines, end);
        let [record] = logged.records.as_slice() else { panic!("{why}: {:?}", logged.records) };
        assert_eq!(record.severity_number, *severity, "{role}: {why}");
        assert!(body(record).ends_with(&format!(" {outcome}")), "{}: {why}", body(record));
        assert!(!body(record).contains("/orders/7"), "{}: low in cardinality", body(record));
    }
}

#[test]
fn a_gateway_writes_one_record_its_server_spans() {
    let logged = log(&mut setup("gateway", "{}").plugin(), &get(), &StreamEnd { attempt_count: Some(1), ..ended(200) });
    let server = logged.spans.iter().find(|span| span.kind == SERVER).unwrap();
    assert_eq!(logged.spans.len(), 2);
    assert_eq!(logged.records.len(), 1);
    assert_eq!(logged.records[0].span_id, server.span_id);
    let off = log(&mut setup("gateway", "{}").sampler(OFF).plugin(), &get(), &ended(200));
    assert_eq!((off.records.len(), off.spans.len()), (1, 0));
}

#[test]
fn lines_of_json_are_written_on_request_and_not_too_many() {
    let setup = Setup::new("server")
        .sampler(OFF)
        .meshspan(r#""logs": {"when": ["errors", "slow"], "slower_than": 100, "json": {"lines_per_second": 2}}"#);
    let mut plugin = setup.plugin();
    let mut lines = request("GET", "/orders/13812345678");
    lines.push(TRACEPARENT);
    assert!(log(&mut plugin, &lines, &took(1, 200)).line.is_none());
    let StreamLine { level, json } = log(&mut plugin, &lines, &took(1, 503)).line.unwrap();
    let read: Json = serde_json::from_str(&json).unwrap();
    assert_eq!(level, LogLevel::Error);
    assert_eq!(read["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!((&read["level"], &read["msg"]), (&json!("error"), &json!("GET 503")));
    assert_eq!(read["url.path"], "/orders/138****5678", "masked");
    assert_eq!(log(&mut plugin, &lines, &took(101, 200)).line.map(|line| line.level), Some(LogLevel::Info));
    assert!(log(&mut plugin, &lines, &took(1, 503)).line.is_none(), "the third in a second");
    assert_eq!(plugin.counters.pending(Counter::LogLinesDropped), 1);
    let later = StreamEnd { start: Some(START + 2_000 * MS), ..took(1, 503) };
    assert!(log(&mut plugin, &lines, &later).line.is_some());
}

#[test]
fn without_a_tracer_the_callers_context_is_read_and_nothing_is_written() {
    let text = format!(
        r#"{{"file_format": "1.1", "propagator": {{"composite_list": "tracecontext"}}, {PROVIDER},
            "distribution": {{"meshspan": {{"role": "gateway", "logs": {{"filter_state": true}}, "keep": {{"errors": true}},
            "response": {{"traceresponse": true}}}}}}}}"#
    );
    let config = Config::from_json(text.as_bytes()).unwrap();
    let mut plugin = Plugin::new(&config, &NodeFacts::default(), [7; 32]);
    let mut lines = get();
    let alone = log(&mut plugin, &lines, &ended(500));
    assert_eq!((alone.spans.len(), alone.records.len(), alone.edits), (0, 1, 0));
    assert!(alone.records[0].trace_id.is_empty() && alone.records[0].span_id.is_empty(), "no trace, no ids");
    lines.push(TRACEPARENT);
    let called = log(&mut plugin, &lines, &ended(500));
    assert_eq!((called.spans.len(), called.records.len(), called.edits), (0, 1, 0));
    let record = &called.records[0];
    assert_eq!(hex(&record.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hex(&record.span_id), "00f067aa0ba902b7", "the caller's span");
    assert_eq!(record.flags & 1, 1);
}

#[test]
fn what_there_is_no_room_for_is_counted_and_not_logged() {
    let setup = setup("server", r#"{"max_pending_bytes": 65536}"#).sampler(OFF);
    let mut plugin = setup.plugin();
    let value = "x".repeat(70_000);
    let mut lines = get();
    lines.push(("x-long", &value));
    assert_eq!(log(&mut plugin, &lines, &ended(503)).records.len(), 0);
    assert_eq!(plugin.counters.pending(Counter::LogsNoRoom), 1);
    for _ in 0..3 {
        let value = "x".repeat(50_000);
        let mut lines = get();
        lines.push(("x-long", &value));
        assert_eq!(log(&mut plugin, &lines, &ended(503)).records.len(), 1, "room is given back");
    }
}

#[test]
fn a_response_from_the_cache_is_marked() {
    let end = StreamEnd { response_flags: ResponseFlags(RFCF), ..ended(200) };
    let logged = log(&mut setup("server", "{}").plugin(), &get(), &end);
    assert_eq!(attributes(&logged.spans[0])["envoy.cache.hit"], true);
    assert_eq!(logged.records[0].attributes, logged.spans[0].attributes);
    let missed = log(&mut setup("server", "{}").plugin(), &get(), &ended(200));
    assert!(attributes(&missed.spans[0]).get("envoy.cache.hit").is_none());
}

#[test]
fn filter_state_names_the_trace_of_every_stream() {
    let plugin = |sampler, logs: &str| Setup::new("gateway").sampler(sampler).meshspan(logs).plugin();
    let head = |plugin: &mut Plugin| {
        let lines = get();
        let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let head = RequestHead::collect(lines.iter().copied(), true);
        plugin.handle_request_headers(&head, TrafficDirection::Inbound, Some(SEEN)).expect("a tracer").0
    };
    for (sampler, sampled) in [(r#"{"always_on": {}}"#, "true"), (OFF, "false")] {
        let mut plugin = plugin(sampler, r#""logs": {"filter_state": true}"#);
        let exchange = head(&mut plugin);
        let ids = *exchange.ids();
        let expected = [
            ("meshspan.trace_id", ids.trace_id.to_hex().as_str().to_owned()),
            ("meshspan.span_id", ids.span_id.to_hex().as_str().to_owned()),
            ("meshspan.sampled", sampled.to_owned()),
        ];
        assert_eq!(plugin.filter_state(&exchange), expected);
    }
    let mut silent = plugin(OFF, r#""logs": {"json": true}"#);
    let exchange = head(&mut silent);
    assert_eq!(silent.filter_state(&exchange), [], "only on request: it costs host calls");
}
