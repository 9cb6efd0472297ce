//! The receiver, asked by an independent gRPC client and byte by byte over HTTP.

use std::io::Write;
use std::time::Duration;

use meshspan_kit::client::{Connection, Request};
use meshspan_kit::receiver::{Behaviour, Protocol, Receiver};
use meshspan_kit::runtime;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;

const SOON: Duration = Duration::from_secs(10);

fn export(name: &str) -> ExportTraceServiceRequest {
    let span = Span { name: name.to_owned(), trace_id: vec![1; 16], span_id: vec![2; 8], ..Span::default() };
    let of_scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans: vec![of_scope], ..ResourceSpans::default() }],
    }
}

fn logs(body: &str) -> ExportLogsServiceRequest {
    let body = Some(AnyValue { value: Some(any_value::Value::StringValue(body.to_owned())) });
    let record = LogRecord { body, trace_id: vec![1; 16], ..LogRecord::default() };
    let of_scope = ScopeLogs { log_records: vec![record], ..ScopeLogs::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs: vec![of_scope], ..ResourceLogs::default() }],
    }
}

fn metrics(name: &str) -> ExportMetricsServiceRequest {
    let metric = Metric { name: name.to_owned(), ..Metric::default() };
    let of_scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { scope_metrics: vec![of_scope], ..ResourceMetrics::default() }],
    }
}

#[test]
fn logs_and_metrics_arrive_whichever_way_they_are_sent() {
    let receiver = Receiver::start().unwrap();
    let channel = || {
        let uri = format!("http://{}", receiver.address());
        runtime::block_on(Channel::from_shared(uri).unwrap().connect()).unwrap()
    };
    runtime::block_on(LogsServiceClient::new(channel()).export(logs("grpc"))).unwrap();
    runtime::block_on(MetricsServiceClient::new(channel()).export(metrics("grpc"))).unwrap();
    let sent = [
        ("/v1/logs", "application/x-protobuf", logs("protobuf").encode_to_vec()),
        ("/v1/logs", "application/json", serde_json::to_vec(&logs("json")).unwrap()),
        ("/v1/metrics", "application/x-protobuf", metrics("protobuf").encode_to_vec()),
        ("/v1/metrics", "application/json", serde_json::to_vec(&metrics("json")).unwrap()),
    ];
    for (path, content_type, body) in sent {
        let request = Request::new("POST", path).header("content-type", content_type).body(body);
        assert_eq!(request.send(receiver.address()).unwrap().status, 200, "{path} {content_type}");
    }
    let bodies: Vec<_> = receiver.logs().iter().map(|log| (log.body().to_owned(), log.trace_id())).collect();
    assert_eq!(bodies, ["grpc", "protobuf", "json"].map(|body| (body.to_owned(), "01".repeat(16))));
    let of =
        |request: &ExportMetricsServiceRequest| request.resource_metrics[0].scope_metrics[0].metrics[0].name.clone();
    let names: Vec<_> = receiver.metrics().iter().map(of).collect();
    assert_eq!(names, ["grpc", "protobuf", "json"]);
    assert_eq!((receiver.log_count(), receiver.span_count()), (3, 0));

    receiver
        .script([Behaviour::PartialSuccess { rejected: 2, message: "old".into() }, Behaviour::grpc_status(14, "no")]);
    let answer = runtime::block_on(LogsServiceClient::new(channel()).export(logs("partly"))).unwrap().into_inner();
    assert_eq!(answer.partial_success.map(|partial| partial.rejected_log_records), Some(2));
    let refused = runtime::block_on(MetricsServiceClient::new(channel()).export(metrics("refused"))).unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    assert_eq!((receiver.logs().len(), receiver.metrics().len()), (4, 3), "what is refused is not accepted");
}

fn post(content_type: &str, body: Vec<u8>) -> Request {
    Request::new("POST", "/v1/traces").header("content-type", content_type).body(body)
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn grpc_client(receiver: &Receiver) -> TraceServiceClient<Channel> {
    let uri = format!("http://{}", receiver.address());
    TraceServiceClient::new(runtime::block_on(Channel::from_shared(uri).unwrap().connect()).unwrap())
}

#[test]
fn spans_arrive_whichever_way_they_are_sent() {
    let receiver = Receiver::start().unwrap();
    let mut plain = grpc_client(&receiver);
    let mut zipped = grpc_client(&receiver).send_compressed(CompressionEncoding::Gzip);
    runtime::block_on(plain.export(export("grpc"))).unwrap();
    runtime::block_on(zipped.export(export("grpc, gzip"))).unwrap();

    let protobuf = export("protobuf").encode_to_vec();
    let json = serde_json::to_vec(&export("json")).unwrap();
    let requests = [
        post("application/x-protobuf", protobuf.clone()),
        post("application/x-protobuf", gzip(&protobuf)).header("content-encoding", "gzip"),
        post("application/json", json.clone()),
        post("application/json", gzip(&json)).header("content-encoding", "gzip"),
    ];
    // All on one connection: a keep-alive that breaks would be seen here.
    let mut connection = Connection::open(receiver.address()).unwrap();
    for request in requests {
        assert_eq!(connection.request(&request).unwrap().status, 200);
    }

    let spans = receiver.wait_for_spans(6, SOON).unwrap();
    let seen: Vec<_> = spans.iter().map(|span| (span.name(), span.protocol)).collect();
    let expected = [
        ("grpc", Protocol::Grpc),
        ("grpc, gzip", Protocol::Grpc),
        ("protobuf", Protocol::HttpProtobuf),
        ("protobuf", Protocol::HttpProtobuf),
        ("json", Protocol::HttpJson),
        ("json", Protocol::HttpJson),
    ];
    assert_eq!(seen, expected);
    assert_eq!(spans[4].trace_id(), "01".repeat(16));
    assert_eq!(spans[4].span_id(), "02".repeat(8));
    let requests = receiver.requests();
    assert_eq!(requests[1].header("grpc-encoding"), Some("gzip"));
    assert_eq!(requests[2].connection, requests[5].connection);
}

#[test]
fn the_script_is_followed_request_by_request_over_grpc() {
    let receiver = Receiver::start().unwrap();
    receiver.script([
        Behaviour::PartialSuccess { rejected: 3, message: "too old".to_owned() },
        Behaviour::GrpcStatus { code: 14, message: "later".to_owned(), details: vec![8, 14] },
        Behaviour::http_status(503),
        Behaviour::Delay(Duration::from_millis(1), Box::new(Behaviour::grpc_status(8, "full"))),
        Behaviour::Reset,
    ]);
    let send = |name: &str| runtime::block_on(grpc_client(&receiver).export(export(name)));
    let partial = send("partial").unwrap().into_inner().partial_success.unwrap();
    assert_eq!((partial.rejected_spans, partial.error_message.as_str()), (3, "too old"));
    let unavailable = send("unavailable").unwrap_err();
    assert_eq!((unavailable.code(), unavailable.message()), (tonic::Code::Unavailable, "later"));
    assert_eq!(unavailable.details(), [8, 14]);
    assert_eq!(send("http").unwrap_err().code(), tonic::Code::Unavailable);
    assert_eq!(send("delayed").unwrap_err().code(), tonic::Code::ResourceExhausted);
    send("reset").unwrap_err();
    send("after the script").unwrap();

    let names: Vec<_> = receiver.spans().iter().map(|span| span.name().to_owned()).collect();
    assert_eq!(names, ["partial", "after the script"], "what was refused does not count as received");
    assert_eq!(receiver.requests().len(), 6, "every request is kept");
    assert_eq!(receiver.span_count(), 2);
}

#[test]
fn the_script_is_followed_request_by_request_over_http() {
    let receiver = Receiver::start().unwrap();
    let request = post("application/x-protobuf", export("x").encode_to_vec());
    receiver.script([
        Behaviour::PartialSuccess { rejected: 1, message: String::new() },
        Behaviour::HttpStatus { code: 429, headers: vec![("retry-after".into(), "7".into())], body: b"slow".to_vec() },
        Behaviour::RawBody { content_type: "text/html".into(), body: b"<html>".to_vec() },
        Behaviour::Reset,
    ]);
    let partial = request.send(receiver.address()).unwrap();
    let partial = ExportTraceServiceResponse::decode(partial.body.as_slice()).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 1);
    let limited = request.send(receiver.address()).unwrap();
    assert_eq!((limited.status, limited.header("retry-after").as_deref()), (429, Some("7")));
    assert_eq!(limited.body, b"slow");
    let raw = request.send(receiver.address()).unwrap();
    assert_eq!((raw.status, raw.text().as_str()), (200, "<html>"));
    request.send(receiver.address()).unwrap_err();

    let hanging = Behaviour::Hang;
    receiver.set_default(hanging.clone());
    let mut connection = Connection::open(receiver.address()).unwrap();
    connection.write(&request.bytes()).unwrap();
    let answered = receiver.wait_for_requests(SOON, |requests| requests.get(4).map(|r| r.answered.clone())).unwrap();
    assert_eq!(answered, hanging);
}

#[test]
fn an_answer_that_is_reset_midway_has_begun_and_does_not_count() {
    let receiver = Receiver::start().unwrap();
    receiver.set_default(Behaviour::ResetMidResponse);
    let request = post("application/x-protobuf", export("x").encode_to_vec());
    let begun = request.send(receiver.address()).unwrap();
    assert_eq!((begun.status, begun.truncated, begun.body.is_empty()), (200, true, false));
    runtime::block_on(grpc_client(&receiver).export(export("grpc"))).unwrap_err();
    assert_eq!((receiver.span_count(), receiver.requests().len()), (0, 2));
}

#[test]
fn what_is_above_a_limit_of_size_is_refused() {
    let receiver = Receiver::start().unwrap();
    let bytes = export("x").encode_to_vec();
    let frame = bytes.len() + 5;
    for (limit, fits) in [(frame, true), (frame - 1, false)] {
        receiver.set_default(Behaviour::SizeLimit(limit));
        let answer = runtime::block_on(grpc_client(&receiver).export(export("x")));
        let refused = answer.err().map(|status| (status.code(), status.message().contains("larger than max")));
        assert_eq!(refused, (!fits).then_some((tonic::Code::ResourceExhausted, true)), "{limit}");
    }
    for (limit, status) in [(bytes.len(), 200), (bytes.len() - 1, 413)] {
        receiver.set_default(Behaviour::SizeLimit(limit));
        let answer = post("application/x-protobuf", bytes.clone()).send(receiver.address()).unwrap();
        assert_eq!(answer.status, status, "{limit}");
    }
    assert_eq!(receiver.span_count(), 2, "what was refused does not count as received");
}

#[test]
fn what_is_no_otlp_is_refused_and_kept() {
    let receiver = Receiver::start().unwrap();
    let cases = [
        ("not protobuf", post("application/x-protobuf", b"\xff\xff".to_vec()), 400),
        ("not JSON", post("application/json", b"{".to_vec()), 400),
        ("not gzip", post("application/json", b"{}".to_vec()).header("content-encoding", "gzip"), 400),
        ("an unknown coding", post("application/json", b"{}".to_vec()).header("content-encoding", "br"), 400),
        ("another path", Request::new("POST", "/v1/trace").body(Vec::new()), 404),
    ];
    for (why, request, status) in cases {
        assert_eq!(request.send(receiver.address()).unwrap().status, status, "{why}");
    }
    assert!(receiver.requests().iter().all(|request| request.error.is_some()));
    assert!(receiver.spans().is_empty());
}

#[test]
fn a_deadline_passes_with_what_was_there_instead() {
    let receiver = Receiver::start().unwrap();
    post("application/x-protobuf", export("other").encode_to_vec()).send(receiver.address()).unwrap();
    let error = receiver.wait_for_spans(2, Duration::from_millis(10)).unwrap_err().to_string();
    assert!(error.contains("\\\"other\\\""), "{error}");
}

#[test]
fn a_receiver_comes_back_where_it_was() {
    let receiver = Receiver::start().unwrap();
    let address = receiver.address();
    let request = post("application/x-protobuf", export("x").encode_to_vec());
    request.send(address).unwrap();
    let counter = receiver.span_counter();
    drop(receiver);
    assert_eq!(counter.count(), 1);
    // The port is free once the accepting task has ended.
    let again = meshspan_kit::wait::until(SOON, "the port", || Receiver::start_at(address).ok()).unwrap();
    request.send(address).unwrap();
    assert_eq!(again.spans().len(), 1);
}
