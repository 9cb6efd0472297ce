//! A plugin as its host drives it.

mod levels;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::export::DropReason;
use crate::header::HeaderLine;
use crate::http::tests::harness::{START, Setup, attributes_under, ended, get, request, spans_of, trace_with};
use crate::stats::{StatChange, StatKind};

const MS: u64 = 1_000_000;
const EXPORTER: &str = r#""exporter": {"otlp_http": {"endpoint": "http://collector:4318/v1/traces"}}"#;

fn batch(settings: &str) -> String {
    format!(r#"{{"batch": {{{settings}{EXPORTER}}}}}"#)
}

fn simple() -> String {
    format!(r#"{{"simple": {{{EXPORTER}}}}}"#)
}

/// Processors that try once.
fn processors(processors: &[String]) -> Setup {
    let mut setup = Setup::new("server").meshspan(r#""limits": {"max_retry_age": 0}"#);
    setup.processors = processors.to_vec();
    setup
}

fn begin(plugin: &mut Plugin, lines: &[(&str, &str)]) -> (Exchange, Vec<HeaderEdit>) {
    let head = RequestHead::collect(lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())), false);
    plugin.handle_request_headers(&head, TrafficDirection::Inbound, None).unwrap()
}

/// One whole request.
fn serve(plugin: &mut Plugin) -> Wakeup {
    let (exchange, _) = begin(plugin, &get());
    plugin.handle_end(exchange, &ended(200))
}

fn accepted() -> ExportResponse<'static> {
    ExportResponse { headers: &[(b":status", b"200")], body: b"", trailers: &[] }
}

const UNANSWERED: ExportResponse<'_> = ExportResponse { headers: &[], body: b"", trailers: &[] };

/// What the first exporter counted: started, exported, dropped, requests.
fn export_books(plugin: &Plugin) -> (u64, u64, u64, u64) {
    let stats = plugin.exporter_stats().next().unwrap();
    (stats.started(), stats.exported(), stats.all_dropped(), stats.requests())
}

/// Every counter that is not zero.
fn books(plugin: &Plugin) -> Vec<(Counter, u64)> {
    let all = Counter::ALL.iter().map(|counter| (*counter, plugin.counters.pending(*counter)));
    all.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn a_plugin_without_a_tracer_touches_nothing() {
    let whole = Setup::new("gateway").section(r#""disabled": true"#).config();
    let without = Config::from_json(br#"{"file_format": "1.1", "propagator": {"composite_list": "tracecontext"}}"#);
    for (config, why) in [(whole, "disabled"), (without.unwrap(), "no tracer provider")] {
        let mut plugin = Plugin::new(&config, &NodeFacts::default(), [7; 32]);
        assert!(plugin.http().is_none(), "{why}");
        let head = RequestHead::collect([(&b"traceparent"[..], &b"junk"[..])].into_iter(), true);
        assert!(plugin.handle_request_headers(&head, TrafficDirection::Inbound, None).is_none(), "{why}");
        assert_eq!(plugin.poll(u64::MAX), None, "{why}");
        plugin.flush();
        assert_eq!(plugin.poll(u64::MAX), None, "{why}");
        plugin.abandon();
        assert!(plugin.is_idle(), "{why}");
        assert_eq!(books(&plugin), [], "{why}");
        assert_eq!(plugin.tick_period_ms(), 1_000, "{why}");
    }
}

#[test]
fn an_exchange_of_another_configuration_ends_quietly() {
    let (exchange, _) = begin(&mut Setup::new("server").plugin(), &get());
    let mut disabled = Setup::new("server").section(r#""disabled": true"#).plugin();
    assert_eq!(disabled.handle_end(exchange, &ended(200)), Wakeup::Tick);
    assert_eq!(books(&disabled), []);
}

#[test]
fn the_tick_is_as_often_as_the_shortest_delay_needs() {
    let delay = |ms: u32| batch(&format!(r#""schedule_delay": {ms}, "#));
    let table: &[(&[String], u32, &str)] = &[
        (&[batch("")], 1_000, "the default delay of 5 s: counters want a second"),
        (&[delay(1_000)], 1_000, "the delay itself"),
        (&[delay(200)], 200, "the delay itself"),
        (&[delay(49)], 50, "not more often than 20 times a second"),
        (&[delay(0)], 50, "not more often than 20 times a second"),
        (&[simple()], 50, "simple has no delay"),
        (&[batch(""), delay(300), delay(400)], 300, "the shortest of several"),
    ];
    for (list, expected, why) in table {
        assert_eq!(processors(list).plugin().tick_period_ms(), *expected, "{why}");
    }
}

#[test]
fn a_full_batch_wakes_the_host() {
    let mut plugin = processors(&[batch(r#""max_export_batch_size": 3, "#)]).plugin();
    assert_eq!(plugin.poll(0), None);
    assert_eq!([serve(&mut plugin), serve(&mut plugin)], [Wakeup::Tick, Wakeup::Tick]);
    assert_eq!(plugin.poll(1), None, "neither full nor due");
    assert_eq!(serve(&mut plugin), Wakeup::Soon);
    let (_, request) = plugin.poll(1).unwrap();
    assert_eq!(spans_of(&request.body).len(), 3);

    let mut plugin = processors(&[batch(""), simple()]).plugin();
    assert_eq!(serve(&mut plugin), Wakeup::Soon, "one of several is enough");
}

#[test]
fn what_is_not_recorded_wakes_nobody() {
    let mut setup = Setup::new("gateway").sampler(r#"{"always_off": {}}"#);
    setup.processors = vec![simple()];
    let mut plugin = setup.plugin();
    let (exchange, edits) = begin(&mut plugin, &get());
    assert!(!exchange.is_recorded() && !exchange.is_pending());
    assert_eq!(edits.len(), 1, "context goes on all the same");
    assert_eq!(plugin.handle_end(exchange.clone(), &ended(200)), Wakeup::Tick);
    plugin.handle_lost(&exchange);
    assert_eq!(plugin.poll(u64::MAX), None);
    assert_eq!(books(&plugin), [(Counter::Streams, 1), (Counter::SpansNotSampled, 1)]);
}

#[test]
fn each_processor_gets_each_span() {
    let mut plugin = processors(&[batch(""), simple(), batch("")]).plugin();
    serve(&mut plugin);
    plugin.flush();
    let mut bodies = Vec::new();
    while let Some((id, request)) = plugin.poll(0) {
        bodies.push(request.body);
        plugin.handle_response(id, &accepted(), 0);
    }
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| *body == bodies[0]), "the same span, the same resource");
    assert!(plugin.is_idle());
    assert_eq!(books(&plugin), [(Counter::Streams, 1), (Counter::SpansStarted, 1)]);
    let exported: Vec<_> = plugin.exporter_stats().map(|stats| (stats.started(), stats.exported())).collect();
    assert_eq!(exported, [(1, 1); 3]);
}

#[test]
fn an_answer_reaches_the_processor_that_asked() {
    let mut plugin = processors(&[simple(), simple()]).plugin();
    serve(&mut plugin);
    let (first, _) = plugin.poll(0).unwrap();
    let (second, _) = plugin.poll(0).unwrap();
    assert_ne!(first, second);
    assert_eq!(plugin.poll(0), None);
    plugin.handle_response(second, &UNANSWERED, 0);
    assert!(!plugin.is_idle(), "the first still waits");
    plugin.handle_response(first, &accepted(), 0);
    assert!(plugin.is_idle());
    assert_eq!(plugin.handle_response(first, &accepted(), 0), None, "answered already");
    let counted: Vec<_> = plugin.exporter_stats().map(|stats| (stats.exported(), stats.all_dropped())).collect();
    assert_eq!(counted, [(1, 0), (0, 1)]);
}

#[test]
fn what_a_backend_repeats_of_a_span_is_masked_in_the_log() {
    let repeated = "span \"GET\": url.query tel=%2B8613812345678, user alice@example.com";
    let masked = "span \"GET\": url.query tel=%2B86138****5678, user a***@example.com";
    let partial = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess { rejected_spans: 1, error_message: repeated.into() }),
    };
    let body = partial.encode_to_vec();
    let rejected = ExportResponse { body: &body, ..accepted() };
    let status: [HeaderLine<'_>; 1] = [(b":status", b"13812345678")];
    let strange = ExportResponse { headers: &status, ..accepted() };
    for (response, expected) in [
        (rejected, format!("the backend at cluster \"collector\" rejected 1 spans: {masked}")),
        (strange, "export of 1 spans to cluster \"collector\" failed: HTTP status 138****5678".to_owned()),
    ] {
        let mut plugin = processors(&[simple()]).plugin();
        serve(&mut plugin);
        let (id, _) = plugin.poll(START).unwrap();
        assert_eq!(plugin.handle_response(id, &response, START).unwrap().text.as_str(), expected);
    }
}

#[test]
fn every_way_to_lose_a_span_is_counted() {
    let mut plugin = processors(&[batch(r#""max_queue_size": 2, "max_export_batch_size": 1, "#)]).plugin();
    for _ in 0..3 {
        serve(&mut plugin);
    }
    let (id, _) = plugin.poll(0).unwrap();
    plugin.handle_dispatch_error(id, DispatchError::NoCluster, 0);
    let (id, _) = plugin.poll(0).unwrap();
    plugin.handle_dispatch_error(id, DispatchError::Host(2), 0);
    serve(&mut plugin);
    let (id, _) = plugin.poll(0).unwrap();
    let partial = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess { rejected_spans: 1, error_message: "too old".into() }),
    };
    let body = partial.encode_to_vec();
    let line = plugin.handle_response(id, &ExportResponse { body: &body, ..accepted() }, 0).unwrap();
    assert!(line.text.as_str().contains("rejected 1 spans: too old"), "{:?}", line.text);
    serve(&mut plugin);
    let (exchange, _) = begin(&mut plugin, &get());
    plugin.handle_lost(&exchange);
    plugin.abandon();
    let expected = [(Counter::Streams, 6), (Counter::SpansStarted, 6), (Counter::SpansDroppedNoLog, 1)];
    assert_eq!(books(&plugin), expected);
    assert_eq!(export_books(&plugin), (5, 0, 5, 3));
    let stats = plugin.exporter_stats().next().unwrap();
    for (reason, count) in
        [(DropReason::QueueFull, 1), (DropReason::Expired, 2), (DropReason::Rejected, 1), (DropReason::Shutdown, 1)]
    {
        assert_eq!(stats.dropped(reason), count, "{reason:?}");
    }
}

#[test]
fn exporters_have_names_of_their_own() {
    #[derive(Default)]
    struct Host(Vec<String>);
    impl StatsHost for Host {
        fn define(&mut self, _: StatKind, name: &str) -> Option<u32> {
            self.0.push(name.to_owned());
            Some(0)
        }
        fn tell(&mut self, _: u32, _: StatChange) -> bool {
            true
        }
    }
    let mut plugin = processors(&[simple(), batch(""), simple()]).plugin();
    let mut host = Host::default();
    assert_eq!(plugin.flush_stats(&mut host), 0);
    let started: Vec<_> = host.0.iter().filter(|name| name.ends_with("export_started_total")).collect();
    let expected = ["collector:4318", "collector:4318#2", "collector:4318#3"]
        .map(|exporter| format!("meshspan_signal=.=traces;.;exporter=.={exporter};.;export_started_total"));
    assert_eq!(started, expected.iter().collect::<Vec<_>>());
    let mut names = host.0.clone();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), host.0.len(), "no series is defined twice");
}

#[test]
fn a_lost_gateway_loses_two_spans() {
    for (role, spans) in [("server", 1), ("client", 1), ("gateway", 2)] {
        let mut plugin = Setup::new(role).plugin();
        let (exchange, _) = begin(&mut plugin, &get());
        plugin.handle_lost(&exchange);
        let expected = [(Counter::Streams, 1), (Counter::SpansStarted, spans), (Counter::SpansDroppedNoLog, spans)];
        assert_eq!(books(&plugin), expected, "{role}");
        assert!(plugin.is_idle());
    }
}

#[test]
fn a_clock_that_steps_back_stalls_no_batch() {
    let hour = 3_600_000 * MS;
    let mut plugin = processors(&[batch("")]).plugin();
    assert_eq!(plugin.poll(2 * hour), None);
    serve(&mut plugin);
    assert_eq!(plugin.poll(hour), None, "not due");
    assert!(plugin.poll(hour + 5_000 * MS).is_some(), "one delay later");
}

#[test]
fn grpc_is_framed() {
    let exporter = r#"{"simple": {"exporter": {"otlp_grpc": {"endpoint": "http://collector:4317"}}}}"#;
    let mut plugin = processors(&[exporter.to_owned()]).plugin();
    serve(&mut plugin);
    let (id, request) = plugin.poll(0).unwrap();
    let (head, message) = request.body.split_at(5);
    assert_eq!(head[0], 0, "not compressed");
    assert_eq!(u32::from_be_bytes(head[1..].try_into().unwrap()) as usize, message.len());
    assert_eq!(spans_of(message).len(), 1);
    plugin.handle_response(
        id,
        &ExportResponse { headers: &[(b":status", b"200")], body: b"\0\0\0\0\0", trailers: &[(b"grpc-status", b"0")] },
        0,
    );
    assert_eq!(export_books(&plugin), (1, 1, 0, 1));
}

#[test]
fn json_is_the_same_span() {
    let exporter =
        r#"{"simple": {"exporter": {"otlp_http": {"endpoint": "http://c:4318/v1/traces", "encoding": "json"}}}}"#;
    let mut plugin = processors(&[exporter.to_owned(), simple()]).plugin();
    serve(&mut plugin);
    let (_, json) = plugin.poll(0).unwrap();
    let (_, protobuf) = plugin.poll(0).unwrap();
    let json: ExportTraceServiceRequest = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(json, ExportTraceServiceRequest::decode(protobuf.body.as_slice()).unwrap());
}

#[test]
fn requests_say_whose_spans_they_are() {
    let setup = Setup::new("server").section(
        r#""resource": {"attributes": [{"name": "service.name", "value": "checkout"}], "schema_url": "https://a/1"}"#,
    );
    let mut plugin = setup.plugin();
    serve(&mut plugin);
    plugin.flush();
    let (_, request) = plugin.poll(0).unwrap();
    let read = ExportTraceServiceRequest::decode(request.body.as_slice()).unwrap();
    let [resource_spans] = read.resource_spans.as_slice() else { panic!("{read:?}") };
    assert_eq!(resource_spans.schema_url, "https://a/1");
    let names = resource_spans.resource.as_ref().unwrap().attributes.iter();
    let service = names.filter(|attribute| attribute.key == "service.name").collect::<Vec<_>>();
    assert!(format!("{service:?}").contains("checkout") && service.len() == 1);
    let [scope_spans] = resource_spans.scope_spans.as_slice() else { panic!("{read:?}") };
    assert_eq!(scope_spans.schema_url, semconv::SCHEMA_URL);
    let scope = scope_spans.scope.as_ref().unwrap();
    assert_eq!((scope.name.as_str(), scope.version.as_str()), ("meshspan", crate::VERSION));
}

#[test]
fn filter_state_needs_no_removal_that_routes_again() {
    let lines = [
        get(),
        vec![
            ("x-b3-traceid", "4bf92f3577b34da6a3ce929d0e0e4736"),
            ("x-b3-spanid", "00f067aa0ba902b7"),
            ("x-b3-parentspanid", "05e3ac9a4f6e3b90"),
            ("x-b3-sampled", "1"),
        ],
    ]
    .concat();
    let removed = |inject: &str| {
        let setup = Setup::new("server").propagators("b3multi").meshspan(&format!(r#""inject": "{inject}""#));
        let (_, edits) = begin(&mut setup.plugin(), &lines);
        assert!(edits.iter().any(|edit| matches!(edit, HeaderEdit::Set { name, .. } if name == "x-b3-spanid")));
        edits.contains(&HeaderEdit::Remove { name: "x-b3-parentspanid".into() })
    };
    assert!(removed("headers"), "a stale parent's parent goes");
    assert!(!removed("filter_state"), "Envoy would route again for it");
}

#[test]
fn log_lines_below_the_level_are_not_given() {
    let outcome = |level: &str| {
        let mut plugin = processors(&[simple()]).section(&format!(r#""log_level": "{level}""#)).plugin();
        let mut lines = Vec::new();
        for response in [UNANSWERED, accepted()] {
            serve(&mut plugin);
            let (id, _) = plugin.poll(0).unwrap();
            lines.push(plugin.handle_response(id, &response, 0).map(|line| line.level));
        }
        lines
    };
    assert_eq!(outcome("info"), [Some(LogLevel::Warn), Some(LogLevel::Info)], "it fails, and works again");
    assert_eq!(outcome("warn"), [Some(LogLevel::Warn), None]);
    assert_eq!(outcome("error"), [None, None]);
}

#[test]
fn the_seed_decides_the_ids() {
    let ids = |seed: u8| {
        let mut plugin = Plugin::new(&Setup::new("server").config(), &NodeFacts::default(), [seed; 32]);
        begin(&mut plugin, &request("GET", "/")).1
    };
    assert_eq!(ids(1), ids(1));
    assert_ne!(ids(1), ids(2), "workers have seeds of their own");
}

const REMOTE: &str = r#"{"jaeger_remote/development": {"endpoint": "http://jaeger:5778",
    "initial_sampler": {"always_off": {}}}}"#;

#[test]
fn a_remote_sampler_is_told_and_tells() {
    let mut plugin = Setup::new("server").sampler(REMOTE).plugin();
    let all = br#"{"strategyType":"PROBABILISTIC","probabilisticSampling":{"samplingRate":1}}"#;
    let lines = get();
    let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let reason = |plugin: &mut Plugin| {
        let traced = trace_with(plugin, TrafficDirection::Inbound, &lines, &ended(200));
        traced.spans.first().map(|span| attributes_under(span, &["meshspan.sampling."]))
    };
    assert_eq!(reason(&mut plugin), None, "initial_sampler");
    let (id, request) = plugin.poll_sampling(START, &mut Alone).expect("a question");
    assert_eq!(request.cluster, "jaeger");
    assert!(request.headers.iter().any(|(_, value)| value == "/sampling?service=unknown_service%3Aenvoy"));
    assert_eq!(plugin.poll_sampling(START, &mut Alone), None, "one at a time");
    let text = |line: Option<LogLine>| line.map(|line| line.text.as_str().to_owned());
    assert_eq!(
        text(plugin.handle_sampling_response(id, None, START, &mut Alone)).as_deref(),
        Some("http://jaeger:5778 does not tell how to sample; initial_sampler decides")
    );
    assert_eq!(text(plugin.handle_sampling_response(id, Some((200, b"<")), START, &mut Alone)), None, "told once");
    assert_eq!(
        text(plugin.handle_sampling_response(id, Some((200, all)), START, &mut Alone)).as_deref(),
        Some("http://jaeger:5778 tells how to sample again")
    );
    assert_eq!(reason(&mut plugin), Some(serde_json::json!({"meshspan.sampling.sampler": "jaeger_remote"})));
    assert_eq!(
        text(plugin.handle_sampling_response(id, Some((200, b"{}")), START, &mut Alone)).as_deref(),
        Some("the answer of http://jaeger:5778 cannot be used: it holds no strategy; the last answer counts on")
    );
    assert!(reason(&mut plugin).is_some(), "and it does");
    assert_eq!(plugin.counters.pending(Counter::SamplingRemoteFailed), 1);
    assert_eq!(plugin.counters.pending(Counter::SamplingRemoteMalformed), 2);
}

/// Decisions that a caller's trace id may not bear: counted each time, and told once.
#[test]
fn what_is_to_be_doubted_is_counted_and_told_once() {
    const PROBABILITY: &str = r#"{"probability/development": {"ratio": 0.5}}"#;
    const FOLLOWING: &str = r#"{"parent_based": {"root": {"probability/development": {"ratio": 0.5}}}}"#;
    const RATIO: &str = r#"{"trace_id_ratio_based": {"ratio": 0.5}}"#;
    const RATIO_AT_ROOT: &str = r#"{"parent_based": {"root": {"trace_id_ratio_based": {"ratio": 0.5}}}}"#;
    const W3C: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const RANDOM: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03";
    const B3: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
    /// Role, sampler, headers, decisions by presumed randomness and by a ratio below a parent, and what it is about.
    type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], (u64, u64), &'static str);
    let table: &[Case] = &[
        ("server", PROBABILITY, &[("traceparent", W3C)], (1, 0), "nobody says that the id is random"),
        ("server", PROBABILITY, &[("traceparent", RANDOM)], (0, 0), "the flag says so"),
        (
            "server",
            PROBABILITY,
            &[("traceparent", W3C), ("tracestate", "ot=rv:6e6d1a75832a2f")],
            (0, 0),
            "explicit randomness",
        ),
        ("server", PROBABILITY, &[("traceparent", W3C), ("tracestate", "ot=rv:12")], (1, 0), "that cannot be read"),
        ("server", PROBABILITY, &[], (0, 0), "an id that is made here"),
        ("gateway", PROBABILITY, &[("traceparent", W3C)], (2, 0), "two decisions"),
        ("server", FOLLOWING, &[("traceparent", W3C)], (0, 0), "followed"),
        ("server", FOLLOWING, &[("b3", B3)], (1, 0), "a caller that left it open, with ids that nobody calls random"),
        ("server", RATIO, &[("traceparent", RANDOM)], (0, 1), "a ratio below a caller"),
        ("server", RATIO, &[], (0, 0), "a ratio at the root"),
        ("server", RATIO_AT_ROOT, &[("traceparent", W3C)], (0, 0), "followed"),
    ];
    for (role, sampler, lines, (presumed, ratio), why) in table {
        let mut plugin = Setup::new(role).propagators("tracecontext,b3").sampler(sampler).plugin();
        let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        for round in 1..=2 {
            let counters = trace_with(&mut plugin, TrafficDirection::Inbound, &lines, &ended(200)).counters;
            let counted = |counter| counters.pending(counter);
            assert_eq!(
                (counted(Counter::SamplingPresumedRandom), counted(Counter::SamplingRatioBelowParent)),
                (round * presumed, round * ratio),
                "{role}, {sampler}: {why}"
            );
            let told: Vec<_> = core::iter::from_fn(|| plugin.next_doubt(&mut Alone)).collect();
            assert_eq!(told.len(), usize::from(presumed + ratio > 0 && round == 1), "{why}: {told:?}");
            assert!(told.iter().all(|line| line.level == LogLevel::Warn), "{told:?}");
        }
    }
}

#[test]
fn operations_beyond_the_limit_are_counted() {
    let mut plugin = Setup::new("server").sampler(REMOTE).plugin();
    let strategy = br#"{"operationSampling":{"defaultSamplingProbability":0,"defaultLowerBoundTracesPerSecond":1,
        "perOperationStrategies":[]}}"#;
    let (id, _) = plugin.poll_sampling(START, &mut Alone).expect("a question");
    assert_eq!(plugin.handle_sampling_response(id, Some((200, strategy)), START, &mut Alone), None);
    let mut recorded = 0;
    for number in 0..2_010 {
        let path = format!("/shop.Cart/{number}");
        let lines = [(":method", "POST"), (":path", &path), ("content-type", "application/grpc")];
        let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let head = RequestHead::collect(lines.iter().copied(), false);
        let (exchange, _) = plugin.handle_request_headers(&head, TrafficDirection::Inbound, Some(START)).unwrap();
        recorded += u64::from(exchange.is_recorded());
    }
    assert_eq!(recorded, 2_000, "each of the first ones has a trace a second of its own");
    assert_eq!(plugin.counters.pending(Counter::SamplingRemoteOperationsOverLimit), 10);
}

mod metrics {
    use std::collections::BTreeMap;

    use opentelemetry_proto::tonic::collector::metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
    };
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point};

    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::metrics::{AttributeSet, Instrument};

    const S: u64 = 1_000 * MS;

    fn plugin(seed: u8, exporter: &str) -> Plugin {
        let text = format!(
            r#"{{"file_format": "1.1",
                "resource": {{"attributes": [{{"name": "service.instance.id", "value": "pod-1"}}]}},
                "meter_provider": {{"readers": [{{"periodic": {{"interval": 10000, "exporter": {{
                    "otlp_http": {{"endpoint": "http://collector:4318/v1/metrics" {exporter}}}}}}}}}]}}}}"#
        );
        Plugin::new(&Config::from_json(text.as_bytes()).unwrap(), &NodeFacts::default(), [seed; 32])
    }

    fn retries(plugin: &mut Plugin, by: i64) {
        plugin.metric_store().unwrap().add(Instrument::UpstreamRetries, &AttributeSet::new(), by, None);
    }

    /// The instance and its sum, as a backend reads a request.
    fn read(request: &ExportRequest) -> (String, i64) {
        let request = ExportMetricsServiceRequest::decode(request.body.as_slice()).unwrap();
        let resource = request.resource_metrics[0].resource.clone().unwrap();
        let ids: Vec<_> = resource.attributes.iter().filter(|one| one.key == "service.instance.id").collect();
        assert_eq!(ids.len(), 1, "one id");
        let Some(Value::StringValue(id)) = ids[0].value.clone().unwrap().value else { panic!("a text") };
        let Some(Data::Sum(sum)) = &request.resource_metrics[0].scope_metrics[0].metrics[0].data else { panic!("sum") };
        let Some(number_data_point::Value::AsInt(value)) = sum.data_points[0].value else { panic!("an integer") };
        (id, value)
    }

    #[test]
    fn workers_streams_add_up_to_the_total() {
        for (exporter, is_delta) in [("", false), (r#", "temporality_preference": "delta""#, true)] {
            let mut workers: Vec<Plugin> = (1..=3).map(|seed| plugin(seed, exporter)).collect();
            // A backend knows a stream by its resource and attributes: it adds differences, and takes the last sum.
            let mut backend: BTreeMap<String, i64> = BTreeMap::new();
            let mut total = 0;
            for round in 0..5_u32 {
                for (worker, by) in workers.iter_mut().zip([1, 10, 100]) {
                    let now = u64::from(round) * 10 * S;
                    while let Some((id, request)) = worker.poll(now) {
                        let (instance, value) = read(&request);
                        assert!(instance.starts_with("pod-1/") && instance.len() == 6 + 16, "{instance}");
                        let known = backend.entry(instance).or_default();
                        *known = if is_delta { *known + value } else { value };
                        assert_eq!(worker.handle_response(id, &accepted(), now), None);
                    }
                    if round < 4 {
                        retries(worker, by);
                        total += by;
                    }
                }
            }
            assert_eq!(backend.len(), 3, "three streams");
            assert_eq!(backend.values().sum::<i64>(), total, "{exporter}");
        }
    }

    #[test]
    fn the_books_are_kept_by_data_points() {
        let mut plugin = plugin(1, "");
        assert_eq!(plugin.poll(0), None);
        for status in 0..5 {
            let mut set = AttributeSet::new();
            set.put_int("http.response.status_code", status);
            plugin.metric_store().unwrap().record(Instrument::HttpServerRequestDuration, &set, 1.0, None);
        }
        let (id, request) = plugin.poll(10 * S).unwrap();
        assert_eq!(&*request.cluster, "collector");
        let books = |plugin: &Plugin| {
            let stats = plugin.exporter_stats().next().unwrap();
            (stats.signal(), stats.exporter().to_owned(), stats.started(), stats.exported(), stats.all_dropped())
        };
        let name = || "collector:4318".to_owned();
        assert_eq!(books(&plugin), (Signal::Metrics, name(), 5, 0, 0));
        let partial = ExportMetricsPartialSuccess { rejected_data_points: 2, error_message: "too old".into() };
        let body = ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let answer = ExportResponse { headers: &[(b":status", b"200")], body: &body, trailers: &[] };
        let line = plugin.handle_response(id, &answer, 10 * S).unwrap();
        assert!(line.text.as_str().contains("rejected 2 data points"), "{}", line.text.as_str());
        assert_eq!(books(&plugin), (Signal::Metrics, name(), 5, 3, 2));
    }

    #[test]
    fn the_end_tells_what_was_not_told() {
        let mut plugin = plugin(1, "");
        assert_eq!(plugin.poll(0), None);
        retries(&mut plugin, 7);
        assert!(plugin.is_idle());
        plugin.flush();
        assert!(!plugin.is_idle());
        let (id, request) = plugin.poll(S).unwrap();
        assert_eq!(read(&request).1, 7);
        plugin.handle_response(id, &accepted(), S);
        assert!(plugin.is_idle());
    }

    #[test]
    fn what_overflows_is_counted() {
        let mut plugin = plugin(1, "");
        for number in 0..2_100 {
            let mut set = AttributeSet::new();
            set.put_int("http.route", number);
            plugin.metric_store().unwrap().add(Instrument::UpstreamRetries, &set, 1, None);
        }
        plugin.flush_stats(&mut Host);
        assert_eq!(plugin.counters.pending(Counter::MetricsOtlpOverflowed), 101);
    }

    struct Host;

    impl StatsHost for Host {
        fn define(&mut self, _: StatKind, _: &str) -> Option<u32> {
            Some(1)
        }

        fn tell(&mut self, _: u32, _: StatChange) -> bool {
            true
        }
    }

    #[test]
    fn each_exporter_gets_its_own_signal() {
        let reader = r#"{"periodic": {"interval": 10000, "exporter": {"otlp_http": {}}}}"#;
        let meter = format!(r#""meter_provider": {{"readers": [{reader}]}}"#);
        let mut plugin = Setup::new("server").section(&meter).plugin();
        assert_eq!(plugin.poll(0), None);
        serve(&mut plugin);
        let started: Vec<_> = plugin.exporter_stats().map(|stats| (stats.signal(), stats.started())).collect();
        assert_eq!(started, [(Signal::Traces, 1), (Signal::Metrics, 0)], "a span is no metric");
    }

    #[test]
    fn a_disabled_plugin_measures_nothing() {
        let config = Config::from_json(
            br#"{"file_format": "1.1", "disabled": true,
                "meter_provider": {"readers": [{"periodic": {"exporter": {"otlp_grpc": {}}}}]}}"#,
        );
        let mut plugin = Plugin::new(&config.unwrap(), &NodeFacts::default(), [7; 32]);
        assert!(plugin.metric_store().is_none());
        assert_eq!(plugin.poll(u64::MAX), None);
    }
}
