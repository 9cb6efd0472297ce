//! What leaves for the collector, and what comes of its answers.

use std::time::Duration;

use meshspan_module_tests::{HttpResponse, Vm};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::json;

use crate::world::{
    REQUEST, SAMPLED, UNSAMPLED, accept, configuration_with_exporter, configured, configured_with, exchange,
    exchange_and_forget, exported, flush, grpc_request, grpc_response, lines, request_with, spans, start,
};

/// Span kinds of OTLP.
const SERVER: i32 = 2;

#[test]
fn one_sampled_request_is_one_span_with_the_ids_that_went_upstream() {
    let vm = configured();
    let stream = exchange(&vm, REQUEST).unwrap();
    let upstream = stream.upstream_header("traceparent");
    stream.delete().unwrap();
    assert!(vm.take_http_calls().is_empty(), "streams send nothing themselves");
    let calls = flush(&vm).unwrap();
    assert_eq!(calls.len(), 1);
    let call = &calls[0];
    assert_eq!((call.cluster.as_str(), call.context), ("collector", 1), "the root context sends");
    assert_eq!(call.header(":method"), Some("POST"));
    assert_eq!(call.header(":path"), Some("/opentelemetry.proto.collector.trace.v1.TraceService/Export"));
    assert_eq!(call.header(":authority"), Some("collector:4317"));
    assert_eq!(call.header("te"), Some("trailers"));
    assert!(call.header("content-type").is_some_and(|value| value.starts_with("application/grpc")));
    assert!(call.timeout > 0);

    let request = grpc_request(call);
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    assert!(resource.attributes.iter().any(|attribute| attribute.key == "service.name"));
    let spans = spans(&request);
    assert_eq!(spans.len(), 1);
    let span = spans[0];
    let ids = format!("00-{}-{}-", hex(&span.trace_id), hex(&span.span_id));
    assert_eq!(upstream.len(), 1);
    assert!(upstream[0].starts_with(&ids), "{upstream:?} carries {ids}");
    assert_eq!(&upstream[0][53..], "03", "sampled, and the id is random");
    assert_eq!((span.parent_span_id.len(), span.kind, span.name.as_str()), (0, SERVER, "GET"));
    assert_eq!(span.start_time_unix_nano, 1_767_225_600_000_000_000, "the stream's own start");
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 12_500_000, "the stream's own duration");
}

#[test]
fn a_sampled_parent_is_continued() {
    let vm = configured();
    let stream = exchange(&vm, &request_with(&[("traceparent", SAMPLED), ("tracestate", "a=1")])).unwrap();
    let upstream = stream.upstream_header("traceparent").remove(0);
    assert_eq!(stream.upstream_header("tracestate"), ["a=1"]);
    stream.delete().unwrap();
    let span = exported(&flush(&vm).unwrap()).remove(0);
    assert_eq!(hex(&span.trace_id), &SAMPLED[3..35]);
    assert_eq!(hex(&span.parent_span_id), &SAMPLED[36..52]);
    assert_eq!(upstream, format!("00-{}-{}-01", &SAMPLED[3..35], hex(&span.span_id)));
    assert_eq!(span.trace_state, "a=1");
}

#[test]
fn an_unsampled_parent_is_passed_on_and_not_exported() {
    let vm = configured();
    let stream = exchange(&vm, &request_with(&[("traceparent", UNSAMPLED)])).unwrap();
    let upstream = stream.upstream_header("traceparent").remove(0);
    assert_eq!((&upstream[3..35], &upstream[53..]), (&UNSAMPLED[3..35], "00"));
    stream.delete().unwrap();
    assert!(flush(&vm).unwrap().is_empty());
}

#[test]
fn a_batch_holds_what_came_together_and_no_more_than_it_may() {
    let vm = configured();
    for _ in 0..600 {
        exchange_and_forget(&vm, REQUEST).unwrap();
    }
    let mut sizes = Vec::new();
    for _ in 0..4 {
        let calls = flush(&vm).unwrap();
        accept(&vm, &calls).unwrap();
        sizes.extend(calls.iter().map(|call| spans(&grpc_request(call)).len()));
        let calls = vm.take_http_calls();
        accept(&vm, &calls).unwrap();
        sizes.extend(calls.iter().map(|call| spans(&grpc_request(call)).len()));
    }
    assert_eq!(sizes.iter().sum::<usize>(), 600);
    assert!(sizes.iter().all(|&size| size <= 512), "{sizes:?}");
}

#[test]
fn nothing_is_sent_before_the_delay_has_passed() {
    let vm = configured();
    assert!(flush(&vm).unwrap().is_empty());
    exchange_and_forget(&vm, REQUEST).unwrap();
    vm.advance(Duration::from_millis(1));
    vm.tick().unwrap();
    assert!(vm.take_http_calls().is_empty());
    assert_eq!(exported(&flush(&vm).unwrap()).len(), 1);
}

#[test]
fn otlp_over_http_in_protobuf_and_json() {
    for (encoding, content_type) in [("protobuf", "application/x-protobuf"), ("json", "application/json")] {
        let exporter = json!({"otlp_http": {"endpoint": "http://collector:4318/v1/traces", "encoding": encoding}});
        let vm = configured_with(&configuration_with_exporter(&exporter));
        exchange_and_forget(&vm, &request_with(&[("traceparent", SAMPLED)])).unwrap();
        let calls = flush(&vm).unwrap();
        assert_eq!(calls.len(), 1, "{encoding}");
        let call = &calls[0];
        assert_eq!(call.header(":path"), Some("/v1/traces"), "{encoding}");
        assert_eq!(call.header("content-type"), Some(content_type));
        let request = match encoding {
            "json" => serde_json::from_slice(&call.body).expect("the body is OTLP's JSON"),
            _ => ExportTraceServiceRequest::decode(&call.body[..]).expect("the body is OTLP"),
        };
        let spans = spans(&request);
        assert_eq!((spans.len(), hex(&spans[0].trace_id).as_str()), (1, &SAMPLED[3..35]), "{encoding}");
        let headers = lines(&[(":status", "200"), ("content-type", content_type)]);
        vm.respond(call.token, HttpResponse { headers, ..HttpResponse::default() }).unwrap();
        assert!(flush(&vm).unwrap().is_empty());
    }
}

#[test]
fn configured_headers_go_along() {
    let exporter = json!({"otlp_grpc": {"endpoint": "http://collector:4317",
        "headers": [{"name": "authorization", "value": "Bearer abc"}]}});
    let vm = configured_with(&configuration_with_exporter(&exporter));
    exchange_and_forget(&vm, REQUEST).unwrap();
    assert_eq!(flush(&vm).unwrap()[0].header("authorization"), Some("Bearer abc"));
}

#[test]
fn a_cluster_that_is_not_there_harms_nothing_and_is_told_once() {
    let exporter = json!({"otlp_grpc": {"endpoint": "http://elsewhere:4317"}});
    let vm = configured_with(&configuration_with_exporter(&exporter));
    for _ in 0..5 {
        exchange_and_forget(&vm, REQUEST).unwrap();
        assert!(flush(&vm).unwrap().is_empty());
    }
    let told = vm.logs().iter().filter(|log| log.text.contains("elsewhere")).count();
    assert_eq!(told, 1, "{:#?}", vm.logs());
    assert!(vm.metrics().iter().any(|metric| metric.value >= 5), "what was dropped is counted: {:#?}", vm.metrics());
}

/// Answers that a collector, a proxy before it or an attacker in its place can give. Each is a body and what is
/// around it.
fn odd_answers() -> Vec<HttpResponse> {
    let partial = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess { rejected_spans: i64::MAX, error_message: "no".into() }),
    }
    .encode_to_vec();
    let frame = |flag: u8, length: u32, message: &[u8]| [&[flag][..], &length.to_be_bytes(), message].concat();
    let ok = lines(&[(":status", "200"), ("content-type", "application/grpc")]);
    let status = |value: &str| lines(&[("grpc-status", value)]);
    let size = u32::try_from(partial.len()).unwrap();
    let mut answers = vec![
        HttpResponse::default(),
        HttpResponse { headers: vec![(b":status".to_vec(), b"\xff".to_vec())], ..HttpResponse::default() },
        HttpResponse { headers: lines(&[(":status", "99999999999999999999")]), ..HttpResponse::default() },
        HttpResponse {
            headers: lines(&[(":status", "503"), ("retry-after", "99999999999999999999")]),
            ..HttpResponse::default()
        },
        HttpResponse { headers: lines(&[(":status", "429"), ("retry-after", "-1")]), ..HttpResponse::default() },
        HttpResponse { headers: ok.clone(), body: Vec::new(), trailers: Vec::new() },
        HttpResponse { headers: ok.clone(), body: vec![0xff; 1000], trailers: status("0") },
        HttpResponse { headers: ok.clone(), body: frame(0, u32::MAX, &partial), trailers: status("0") },
        HttpResponse { headers: ok.clone(), body: frame(1, size, &partial), trailers: status("0") },
        HttpResponse { headers: ok.clone(), body: frame(0, size, &partial), trailers: status("0") },
        HttpResponse { headers: ok.clone(), body: partial, trailers: status("4294967296") },
        HttpResponse {
            headers: ok.clone(),
            body: Vec::new(),
            trailers: vec![
                (b"grpc-status".to_vec(), b"8".to_vec()),
                (b"grpc-status-details-bin".to_vec(), vec![0xff; 500]),
            ],
        },
    ];
    for code in 0..20 {
        answers.push(HttpResponse { headers: ok.clone(), body: Vec::new(), trailers: status(&code.to_string()) });
    }
    answers
}

#[test]
fn odd_answers_harm_nothing() {
    let exporters = [
        json!({"otlp_grpc": {"endpoint": "http://collector:4317"}}),
        json!({"otlp_http": {"endpoint": "http://collector:4318/v1/traces"}}),
        json!({"otlp_http": {"endpoint": "http://collector:4318/v1/traces", "encoding": "json"}}),
    ];
    for exporter in exporters {
        let vm = configured_with(&configuration_with_exporter(&exporter));
        for (number, answer) in odd_answers().into_iter().enumerate() {
            exchange_and_forget(&vm, REQUEST).unwrap();
            let calls = flush_until_sent(&vm);
            assert!(!calls.is_empty(), "answer {number} to {exporter}: nothing is sent any more");
            for call in calls {
                vm.respond(call.token, answer.clone()).unwrap_or_else(|trap| panic!("answer {number}: {trap}"));
            }
        }
    }
}

/// Ticks until something is sent, for at most ten minutes of the host's time.
fn flush_until_sent(vm: &Vm) -> Vec<meshspan_module_tests::HttpCall> {
    for _ in 0..300 {
        let calls = flush(vm).unwrap();
        if !calls.is_empty() {
            return calls;
        }
    }
    Vec::new()
}

#[test]
fn a_partial_success_is_counted_and_not_sent_again() {
    let vm = configured();
    exchange_and_forget(&vm, REQUEST).unwrap();
    let calls = flush(&vm).unwrap();
    let before: u64 = vm.metrics().iter().map(|metric| metric.value).sum();
    let message = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess { rejected_spans: 1, error_message: "too old".into() }),
    }
    .encode_to_vec();
    let mut answer = grpc_response(0, "");
    answer.body = [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat();
    vm.respond(calls[0].token, answer).unwrap();
    assert!(flush(&vm).unwrap().is_empty());
    let after: u64 = vm.metrics().iter().map(|metric| metric.value).sum();
    assert!(after > before, "the rejected span is counted: {:#?}", vm.metrics());
}

#[test]
fn a_disabled_filter_writes_and_sends_nothing() {
    let vm = start();
    assert!(vm.configure(r#"{"file_format": "1.1", "disabled": true}"#).unwrap());
    let stream = exchange(&vm, REQUEST).unwrap();
    assert_eq!(stream.upstream_headers(), lines(REQUEST));
    stream.delete().unwrap();
    assert!(flush(&vm).unwrap().is_empty());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
