use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::Importance::{ErrorOrSlow, OwnTrace};
use super::*;
use crate::attribute::{Attribute, AttributeValue};
use crate::config::{BatchConfig, Compression, Endpoint, ExporterConfig, OtlpProtocol, SpanLimits};
use crate::grpc::GrpcStatus;
use crate::header::HeaderLine;
use crate::masking::Masked;
use crate::span::{Span, SpanAttributes, SpanKind, SpanStatus};
use crate::trace::{SpanId, TraceId};

pub(super) fn span(id: u64) -> Vec<u8> {
    let mut buffer = Vec::new();
    Span {
        trace_id: TraceId::new(1).unwrap(),
        span_id: SpanId::new(id).unwrap(),
        parent: None,
        trace_state: &Masked::literal(""),
        trace_flags: 1,
        name: &Masked::literal("GET"),
        kind: SpanKind::Server,
        start: 0,
        end: 1,
        attributes: &SpanAttributes::new(SpanLimits::default()),
        status: SpanStatus::Unset,
    }
    .put(&mut buffer);
    buffer
}

fn processor(protocol: OtlpProtocol, max_queue_size: u32, max_export_batch_size: u32) -> BatchProcessor {
    compressing(protocol, Compression::None, max_queue_size, max_export_batch_size)
}

/// That never tries again.
fn compressing(
    protocol: OtlpProtocol,
    compression: Compression,
    max_queue_size: u32,
    max_export_batch_size: u32,
) -> BatchProcessor {
    built(protocol, compression, max_queue_size, max_export_batch_size, 0)
}

/// That tries again for a minute.
fn retrying(max_queue_size: u32, max_export_batch_size: u32) -> BatchProcessor {
    built(OtlpProtocol::HttpProtobuf, Compression::None, max_queue_size, max_export_batch_size, 60_000)
}

fn built(
    protocol: OtlpProtocol,
    compression: Compression,
    max_queue_size: u32,
    max_export_batch_size: u32,
    max_retry_age_ms: u32,
) -> BatchProcessor {
    let limits = LimitsConfig { max_retry_age_ms, ..LimitsConfig::default() };
    configured(protocol, compression, max_queue_size, max_export_batch_size, limits)
}

pub(super) fn configured(
    protocol: OtlpProtocol,
    compression: Compression,
    max_queue_size: u32,
    max_export_batch_size: u32,
    limits: LimitsConfig,
) -> BatchProcessor {
    let config = ProcessorConfig {
        batch: BatchConfig {
            schedule_delay_ms: 1_000,
            export_timeout_ms: 30_000,
            max_queue_size,
            max_export_batch_size,
        },
        exporter: ExporterConfig {
            protocol,
            endpoint: Endpoint {
                url: "http://collector:4317".into(),
                cluster: "collector".into(),
                authority: "collector:4317".into(),
                scheme: "http",
                path: if protocol == OtlpProtocol::Grpc { String::new() } else { "/v1/traces".into() },
            },
            headers: vec![("x-tenant".into(), "blue".into())],
            compression,
            timeout_ms: 10_000,
        },
    };
    let resource = [Attribute { name: "service.name".into(), value: AttributeValue::String("shop".into()) }];
    let envelope = Rc::new(Envelope::new(&resource, None, "https://schema.test/1"));
    BatchProcessor::new(Signal::Traces, &config, limits, envelope, "collector:4317", 7)
}

fn accepted() -> ExportResponse<'static> {
    ExportResponse { headers: &[(b":status", b"200")], body: b"\0\0\0\0\0", trailers: &[(b"grpc-status", b"0")] }
}

const FAILED: ExportResponse<'_> = ExportResponse { headers: &[], body: b"", trailers: &[] };

pub(super) fn spans_of(body: &[u8]) -> Vec<u64> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(resource.attributes[0].key, "service.name");
    let scope_spans = &request.resource_spans[0].scope_spans[0];
    assert_eq!(scope_spans.schema_url, "https://schema.test/1");
    let id = |span: &opentelemetry_proto::tonic::trace::v1::Span| {
        u64::from_be_bytes(span.span_id.as_slice().try_into().unwrap())
    };
    scope_spans.spans.iter().map(id).collect()
}

#[test]
fn a_batch_leaves_when_its_delay_is_over() {
    let mut processor = processor(OtlpProtocol::Grpc, 10, 5);
    assert_eq!(processor.poll(0), None, "nothing to send");
    assert_eq!(processor.push(&span(7), OwnTrace), Wakeup::Tick);
    assert_eq!(processor.poll(999 * MS), None, "not due");
    let (id, request) = processor.poll(1_000 * MS).unwrap();
    assert_eq!(&*request.cluster, "collector");
    assert_eq!(request.timeout_ms, 10_000);
    assert_eq!(spans_of(&request.body[5..]), [7]);
    for expected in [(":path", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"), ("x-tenant", "blue")] {
        assert!(request.headers.iter().any(|(name, value)| (name.as_str(), value.as_str()) == expected));
    }
    assert!(!processor.is_idle(), "in flight");
    assert_eq!(processor.handle_response(id, &accepted(), 0), None);
    assert!(processor.is_idle());
    assert_eq!(processor.stats().exported(), 1);
}

#[test]
fn a_full_batch_does_not_wait_and_only_one_is_in_flight() {
    let mut processor = processor(OtlpProtocol::HttpProtobuf, 10, 2);
    processor.poll(0);
    assert_eq!(processor.push(&span(1), OwnTrace), Wakeup::Tick);
    assert_eq!(processor.push(&span(2), OwnTrace), Wakeup::Soon);
    let (id, request) = processor.poll(1).unwrap();
    assert_eq!(spans_of(&request.body), [1, 2]);
    assert_eq!(processor.push(&span(3), OwnTrace), Wakeup::Tick);
    assert_eq!(processor.push(&span(4), OwnTrace), Wakeup::Tick, "the answer will poll");
    assert_eq!(processor.poll(2), None, "one is in flight");
    processor.handle_response(id, &accepted(), 0);
    assert_eq!(spans_of(&processor.poll(3).unwrap().1.body), [3, 4]);
}

#[test]
fn a_full_queue_drops_the_newest_and_counts() {
    let mut processor = processor(OtlpProtocol::HttpProtobuf, 3, 3);
    for id in 1..=5 {
        processor.push(&span(id), OwnTrace);
    }
    assert_eq!(processor.stats().dropped(DropReason::QueueFull), 2);
    assert_eq!(spans_of(&processor.poll(0).unwrap().1.body), [1, 2, 3]);
}

#[test]
fn every_span_is_counted_once_whatever_happens() {
    let mut processor = processor(OtlpProtocol::Grpc, 100, 2);
    for id in 1..=8 {
        processor.push(&span(id), OwnTrace);
    }
    let (id, _) = processor.poll(0).unwrap();
    let line = processor.handle_dispatch_error(id, DispatchError::NoCluster, 0).unwrap();
    assert!(line.words.contains("no cluster \"collector\""), "{}", line.words);
    let (id, _) = processor.poll(0).unwrap();
    let line = processor.handle_response(id, &FAILED, 0).unwrap();
    assert!(line.words.contains("no answer"), "another kind of failure: {}", line.words);
    assert_eq!(processor.handle_response(id, &FAILED, 0), None, "answered already");
    let (id, _) = processor.poll(0).unwrap();
    let line = processor.handle_response(id, &accepted(), 0).unwrap();
    assert!(line.words.contains("works again"), "{}", line.words);
    processor.poll(0).unwrap();
    processor.abandon();
    let stats = processor.stats();
    let counted = [stats.dropped(DropReason::Expired), stats.exported(), stats.dropped(DropReason::Shutdown)];
    assert_eq!(counted, [4, 2, 2]);
    assert_eq!(
        [Code::NoCluster, Code::NoAnswer, Code::Grpc(GrpcStatus::OK)].map(|code| stats.requests_with(code)),
        [1, 1, 1]
    );
    assert_eq!((stats.started(), processor.held()), (8, (0, 0)));
    assert!(processor.is_idle());
}

#[test]
fn json_is_the_same_request() {
    let mut processor = processor(OtlpProtocol::HttpJson, 10, 1);
    processor.push(&span(0x0a), OwnTrace);
    let (_, request) = processor.poll(0).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    let span = &json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(span["spanId"], "000000000000000a", "ids are hex in OTLP/JSON, not base64");
    assert_eq!(span["endTimeUnixNano"], "1", "64-bit integers are strings");
    assert_eq!(span["kind"], 2, "enums are numbers");
}

#[test]
fn the_same_failure_is_told_once() {
    let mut processor = processor(OtlpProtocol::Grpc, 100, 1);
    let lines = (0..10).filter_map(|id| {
        processor.push(&span(id + 1), OwnTrace);
        let (id, _) = processor.poll(0)?;
        processor.handle_response(id, &FAILED, 0)
    });
    assert_eq!(lines.count(), 1);
}

#[test]
fn a_clock_that_is_set_back_stalls_nothing() {
    let mut processor = processor(OtlpProtocol::Grpc, 10, 5);
    let hour = 3_600_000 * MS;
    processor.poll(2 * hour);
    processor.push(&span(1), OwnTrace);
    assert_eq!(processor.poll(hour), None);
    assert!(processor.poll(hour + 1_000 * MS).is_some(), "one delay later, not an hour");
}

#[test]
fn an_answer_that_never_comes_is_given_up() {
    let mut processor = processor(OtlpProtocol::Grpc, 10, 1);
    processor.push(&span(1), OwnTrace);
    let (lost, _) = processor.poll(0).unwrap();
    processor.push(&span(2), OwnTrace);
    assert_eq!(processor.poll(14_999 * MS), None, "the timeout of 10 s and a grace of 5");
    assert!(processor.expects(lost));
    let (next, request) = processor.poll(15_000 * MS).unwrap();
    assert!(!processor.expects(lost) && processor.expects(next));
    assert_eq!(spans_of(&request.body[5..]), [2]);
    assert_eq!(processor.stats().dropped(DropReason::Expired), 1);
    processor.handle_response(lost, &accepted(), 0);
    assert_eq!(processor.stats().exported(), 0, "too late, and not the other's");
    processor.handle_response(next, &accepted(), 0);
    assert_eq!(processor.stats().exported(), 1);
}

fn status(status: &'static [u8]) -> [HeaderLine<'static>; 1] {
    [(b":status", status)]
}

fn answer<'a>(headers: &'a [HeaderLine<'a>]) -> ExportResponse<'a> {
    ExportResponse { headers, body: b"", trailers: &[] }
}

#[test]
fn a_failed_batch_is_tried_again_and_nothing_else_meanwhile() {
    let mut processor = retrying(10, 2);
    for id in 1..=4 {
        processor.push(&span(id), OwnTrace);
    }
    let (id, request) = processor.poll(0).unwrap();
    assert_eq!(spans_of(&request.body), [1, 2]);
    assert!(processor.handle_response(id, &answer(&status(b"503")), 0).is_some());
    assert_eq!(processor.poll(499 * MS), None, "half of the first wait is certain");
    assert!(!processor.is_idle());
    let (id, request) = processor.poll(1_000 * MS).unwrap();
    assert_eq!(spans_of(&request.body), [1, 2], "the same batch, not the next one");
    let line = processor.handle_response(id, &answer(&status(b"200")), 0);
    assert!(line.unwrap().words.contains("works again"));
    assert_eq!(spans_of(&processor.poll(1_000 * MS).unwrap().1.body), [3, 4]);
    let stats = processor.stats();
    assert_eq!([stats.requests(), stats.requests_with(Code::Http(503)), stats.retried()], [2, 1, 1]);
    assert_eq!(processor.stats().exported(), 2);
    assert_eq!(processor.stats().dropped(DropReason::Expired), 0);
}

#[test]
fn a_dead_backend_costs_one_request_a_wait_and_no_memory() {
    let mut processor = retrying(10, 2);
    let mut requests = 0_u64;
    // Ten minutes of a hundred spans a second, polled at each.
    for now in (0..600_000).step_by(10).map(|ms| ms * MS) {
        processor.push(&span(1 + now), OwnTrace);
        if let Some((id, _)) = processor.poll(now) {
            requests += 1;
            processor.handle_response(id, &FAILED, now);
        }
    }
    assert!((20..50).contains(&requests), "{requests}: waits grow to half a minute, whichever batch it is");
    processor.abandon();
    let dropped = [DropReason::QueueFull, DropReason::Expired, DropReason::Shutdown]
        .map(|reason| processor.stats().dropped(reason));
    assert_eq!(dropped.iter().sum::<u64>(), 60_000);
    assert!(dropped[2] <= 12, "at most a queue and a batch were kept");
}

#[test]
fn the_backend_says_when() {
    let mut processor = retrying(10, 1);
    processor.push(&span(1), OwnTrace);
    let (id, _) = processor.poll(0).unwrap();
    let headers: [HeaderLine<'_>; 2] = [(b":status", b"429"), (b"retry-after", b"20")];
    processor.handle_response(id, &answer(&headers), 0);
    assert_eq!(processor.poll(19_999 * MS), None);
    let (id, _) = processor.poll(20_000 * MS).unwrap();
    let headers: [HeaderLine<'_>; 2] = [(b":status", b"429"), (b"retry-after", b"41")];
    processor.handle_response(id, &answer(&headers), 20_000 * MS);
    assert_eq!(processor.stats().dropped(DropReason::Expired), 1, "that would be after its minute");
    assert!(processor.is_idle());
}

#[test]
fn a_backend_that_says_at_once_is_not_asked_in_a_loop() {
    let mut processor = retrying(10, 1);
    processor.push(&span(1), OwnTrace);
    let (id, _) = processor.poll(0).unwrap();
    let headers: [HeaderLine<'_>; 2] = [(b":status", b"503"), (b"retry-after", b"0")];
    processor.handle_response(id, &answer(&headers), 0);
    assert_eq!(processor.poll(499 * MS), None);
    assert!(processor.poll(500 * MS).is_some());
}

#[test]
fn a_clock_that_is_set_back_does_not_hold_a_retry_up() {
    let mut processor = retrying(10, 1);
    let hour = 3_600_000 * MS;
    processor.push(&span(1), OwnTrace);
    let (id, _) = processor.poll(2 * hour).unwrap();
    processor.handle_response(id, &FAILED, 2 * hour);
    assert!(processor.poll(hour).is_some());
}

#[test]
fn what_would_fail_again_is_dropped_at_once() {
    let mut processor = retrying(10, 1);
    processor.push(&span(1), OwnTrace);
    let (id, _) = processor.poll(0).unwrap();
    processor.handle_response(id, &answer(&status(b"400")), 0);
    assert_eq!(processor.stats().dropped(DropReason::Refused), 1);
    assert!(processor.is_idle());
}

#[test]
fn a_batch_that_is_too_large_goes_in_halves() {
    let mut processor = retrying(10, 4);
    for id in 1..=4 {
        processor.push(&span(id), OwnTrace);
    }
    // The backend takes one span at a time, and never span 3.
    let mut taken = Vec::new();
    for _ in 0..20 {
        let Some((id, request)) = processor.poll(0) else { break };
        let spans = spans_of(&request.body);
        let fits = spans.len() == 1 && spans != [3];
        let status = status(if fits { b"200" } else { b"413" });
        if fits {
            taken.extend(spans);
        }
        processor.handle_response(id, &answer(&status), 0);
    }
    taken.sort_unstable();
    assert_eq!(taken, [1, 2, 4]);
    assert_eq!(processor.stats().exported(), 3);
    assert_eq!(processor.stats().dropped(DropReason::TooLarge), 1);
    assert!(processor.is_idle());
}

#[test]
fn a_cluster_may_come_later() {
    let mut processor = retrying(10, 1);
    processor.push(&span(1), OwnTrace);
    let (id, _) = processor.poll(0).unwrap();
    assert!(processor.handle_dispatch_error(id, DispatchError::NoCluster, 0).is_some());
    let (id, request) = processor.poll(1_000 * MS).unwrap();
    assert_eq!(spans_of(&request.body), [1]);
    processor.handle_response(id, &answer(&status(b"200")), 0);
    assert_eq!(processor.stats().exported(), 1);
    assert_eq!(processor.stats().all_dropped(), 0);
}

#[test]
fn a_queue_that_is_nearly_full_does_not_wait() {
    let mut processor = retrying(10, 10);
    processor.poll(0);
    let wakeups: Vec<_> = (1..=8).map(|id| processor.push(&span(id), OwnTrace)).collect();
    assert_eq!(wakeups.iter().position(|wakeup| *wakeup == Wakeup::Soon), Some(7), "at eight of ten");
    assert!(processor.poll(1).is_some());
}

#[test]
fn gzip_holds_the_same_request() {
    use std::io::Read;

    for protocol in [OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf, OtlpProtocol::HttpJson] {
        let request_of = |compression, spans| {
            let mut processor = compressing(protocol, compression, 100, spans);
            for _ in 0..spans {
                processor.push(&span(1), OwnTrace);
            }
            let request = processor.poll(0).unwrap().1;
            (request, processor.stats().bytes())
        };
        let ((plain, plain_bytes), (packed, packed_bytes)) =
            (request_of(Compression::None, 50), request_of(Compression::Gzip, 50));
        assert_eq!(plain_bytes, (plain.body.len() as u64, plain.body.len() as u64));
        assert_eq!(packed_bytes, (plain.body.len() as u64, packed.body.len() as u64));
        assert!(packed.body.len() < plain.body.len() / 4);
        let is_grpc = protocol == OtlpProtocol::Grpc;
        let head = if is_grpc { 5 } else { 0 };
        if is_grpc {
            let length = u32::try_from(packed.body.len() - 5).unwrap().to_be_bytes();
            assert_eq!((packed.body[0], &packed.body[1..5]), (1, &length[..]), "flagged, and its length");
        }
        let name = if is_grpc { "grpc-encoding" } else { "content-encoding" };
        assert!(packed.headers.contains(&(name.to_owned(), "gzip".to_owned())));
        assert!(!plain.headers.iter().any(|(_, value)| value == "gzip"));
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed.body[head..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain.body[head..], "{protocol:?}");
        // What is small goes as it is, and says so.
        assert_eq!(request_of(Compression::Gzip, 1), request_of(Compression::None, 1));
    }
}

#[test]
fn flushing_does_not_wait() {
    let mut processor = processor(OtlpProtocol::Grpc, 10, 5);
    processor.poll(0);
    processor.push(&span(1), OwnTrace);
    assert_eq!(processor.poll(1), None);
    processor.flush();
    assert!(processor.poll(1).is_some());
    processor.push(&span(2), OwnTrace);
    assert!(processor.poll(1).is_some(), "not even for the answer to another");
}

#[test]
fn errors_outlive_a_full_queue() {
    let mut processor = processor(OtlpProtocol::HttpProtobuf, 3, 3);
    for id in 1..=3 {
        processor.push(&span(id), OwnTrace);
    }
    processor.push(&span(4), ErrorOrSlow);
    assert_eq!(spans_of(&processor.poll(0).unwrap().1.body), [4, 1, 2]);
    assert_eq!((processor.stats().started(), processor.stats().dropped(DropReason::QueueFull)), (4, 1));
}

#[test]
fn several_requests_may_be_under_way() {
    let mut processor = retrying(100, 1);
    processor.most_in_flight = 2;
    for id in 1..=6 {
        processor.push(&span(id), OwnTrace);
    }
    let (one, _) = processor.poll(0).unwrap();
    let (other, _) = processor.poll(0).unwrap();
    assert_eq!(processor.poll(0), None);
    assert_eq!(processor.held(), (4, 2));
    processor.handle_response(one, &FAILED, 0);
    assert_eq!(processor.poll(10_000 * MS), None, "while a backend is away, the next waits for the last answer");
    processor.handle_response(other, &FAILED, 0);
    assert_eq!(processor.poll(499 * MS), None);
    let (probe, request) = processor.poll(1_000 * MS).unwrap();
    assert_eq!(spans_of(&request.body), [1], "the oldest first");
    assert_eq!(processor.poll(1_000 * MS), None, "one probe");
    processor.handle_response(probe, &answer(&status(b"200")), 1_000 * MS);
    assert_eq!([2, 3].map(|id| spans_of(&processor.poll(1_000 * MS).unwrap().1.body) == [id]), [true, true]);
    assert_eq!(processor.poll(1_000 * MS), None);
}

#[test]
fn a_backend_cannot_silence_an_exporter_for_long() {
    let mut processor = retrying(10, 1);
    processor.push(&span(1), OwnTrace);
    processor.push(&span(2), OwnTrace);
    let (id, _) = processor.poll(0).unwrap();
    let headers: [HeaderLine<'_>; 2] = [(b":status", b"429"), (b"retry-after", b"31536000")];
    processor.handle_response(id, &answer(&headers), 0);
    assert_eq!(processor.stats().dropped(DropReason::Expired), 1);
    assert_eq!(processor.poll(299_999 * MS), None, "it was asked for");
    assert_eq!(spans_of(&processor.poll(300_000 * MS).unwrap().1.body), [2], "five minutes are enough");
}
