//! The batching span processor with its exporter, as a state machine: push, poll, handle.

use std::rc::Rc;

use super::queue::{Caps, Queue};
use super::request::{ExportRequest, RequestTemplate};
use super::response::{ExportOutcome, ExportResponse};
use crate::config::{LimitsConfig, LogLevel, ProcessorConfig};
use crate::counter::{Counter, Counters};
use crate::log_line::LogLine;
use crate::otlp::TraceEnvelope;

/// When a processor wants to be polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeup {
    /// At the next regular tick.
    Tick,
    /// As soon as can be: a batch is full.
    Soon,
}

/// Why the host could not send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DispatchError {
    /// The cluster does not exist on this proxy.
    NoCluster,
    /// Anything else, with the host's status.
    Host(i32),
}

/// A batching processor (OpenTelemetry specification, Trace SDK, "Batching processor") and its OTLP exporter.
///
/// One request is in flight at a time. A batch whose request fails is dropped and counted: this version does not
/// retry.
#[derive(Clone, Debug)]
pub struct BatchProcessor {
    queue: Queue,
    template: RequestTemplate,
    delay_ns: u64,
    /// When a batch that is not full leaves; set by the first poll.
    due: Option<u64>,
    in_flight: Option<InFlight>,
    /// Polls take what there is, due or not.
    flushing: bool,
    /// How the last request went: the log tells of changes only.
    health: Health,
}

/// A request that has not been answered.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    spans: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Up,
    Down,
}

impl BatchProcessor {
    /// From checked configuration. `envelope` is what stands around the spans of each request.
    pub fn new(config: &ProcessorConfig, limits: LimitsConfig, envelope: Rc<TraceEnvelope>) -> Self {
        let caps = Caps {
            spans: config.batch.max_queue_size,
            bytes: usize::try_from(limits.max_queue_bytes).unwrap_or(usize::MAX),
            batch: config.batch.max_export_batch_size,
        };
        Self {
            queue: Queue::new(caps),
            template: RequestTemplate::new(&config.exporter, config.batch.export_timeout_ms, envelope),
            delay_ns: u64::from(config.batch.schedule_delay_ms).saturating_mul(1_000_000),
            due: None,
            in_flight: None,
            flushing: false,
            health: Health::Up,
        }
    }

    /// Takes an encoded span (a `ScopeSpans.spans` field). A full queue drops it and counts.
    pub fn push(&mut self, span: &[u8], counters: &mut Counters) -> Wakeup {
        if !self.queue.push(span) {
            counters.increment(Counter::SpansDroppedQueueFull);
        }
        if self.in_flight.is_none() && self.queue.has_full_batch() { Wakeup::Soon } else { Wakeup::Tick }
    }

    /// The next request, if one should leave at `now` (ns of any steady clock). The caller sends it and tells the
    /// result: [`handle_dispatch_error`](Self::handle_dispatch_error) at once, or
    /// [`handle_response`](Self::handle_response) later.
    pub fn poll(&mut self, now: u64, counters: &mut Counters) -> Option<ExportRequest> {
        let due = *self.due.get_or_insert(now.saturating_add(self.delay_ns));
        if self.in_flight.is_some() || !(self.flushing || now >= due || self.queue.has_full_batch()) {
            return None;
        }
        self.due = Some(now.saturating_add(self.delay_ns));
        let batch = self.queue.pop()?;
        let Some(request) = self.template.request(&batch.bytes) else {
            counters.add(Counter::SpansDroppedRequestFailed, u64::from(batch.spans));
            return None;
        };
        counters.increment(Counter::ExportRequests);
        self.in_flight = Some(InFlight { spans: batch.spans });
        Some(request)
    }

    /// The request that [`poll`](Self::poll) gave could not be sent.
    pub fn handle_dispatch_error(&mut self, error: DispatchError, counters: &mut Counters) -> Option<LogLine> {
        let spans = self.take_in_flight();
        counters.increment(Counter::ExportRequestsFailed);
        let cluster = self.template.cluster();
        let text = match error {
            DispatchError::NoCluster => {
                counters.add(Counter::SpansDroppedNoCluster, spans);
                format!(
                    "cannot export spans: this proxy has no cluster \"{cluster}\"; add it, or map the endpoint to \
                     another one under distribution.meshspan.clusters"
                )
            }
            DispatchError::Host(status) => {
                counters.add(Counter::SpansDroppedRequestFailed, spans);
                format!("cannot export spans: the host refused a request to cluster \"{cluster}\" (status {status})")
            }
        };
        self.now_down(text)
    }

    /// The answer to the request in flight.
    pub fn handle_response(&mut self, response: &ExportResponse<'_>, counters: &mut Counters) -> Option<LogLine> {
        let spans = self.take_in_flight();
        match response.read(self.template.protocol()) {
            ExportOutcome::Accepted { rejected, message, malformed } => {
                let rejected = rejected.min(spans);
                counters.add(Counter::SpansExported, spans.saturating_sub(rejected));
                counters.add(Counter::SpansRejected, rejected);
                if malformed {
                    counters.increment(Counter::ExportResponsesMalformed);
                }
                let recovered = core::mem::replace(&mut self.health, Health::Up) == Health::Down;
                let cluster = self.template.cluster();
                if rejected > 0 {
                    let text = format!("the backend at cluster \"{cluster}\" rejected {rejected} spans: {message}");
                    return Some(LogLine { level: LogLevel::Warn, text });
                }
                recovered.then(|| LogLine {
                    level: LogLevel::Info,
                    text: format!("exporting spans to cluster \"{cluster}\" works again"),
                })
            }
            ExportOutcome::Failed { reason } => {
                counters.increment(Counter::ExportRequestsFailed);
                counters.add(Counter::SpansDroppedRequestFailed, spans);
                let cluster = self.template.cluster();
                let text = format!("export of {spans} spans to cluster \"{cluster}\" failed: {reason}");
                self.now_down(text)
            }
        }
    }

    /// From now on a poll takes whatever is queued.
    pub fn flush(&mut self) {
        self.flushing = true;
    }

    /// Nothing queued and nothing in flight.
    pub fn is_idle(&self) -> bool {
        self.queue.len() == 0 && self.in_flight.is_none()
    }

    /// Gives up what is left and counts it.
    pub fn abandon(&mut self, counters: &mut Counters) {
        let mut spans = self.take_in_flight();
        while let Some(batch) = self.queue.pop() {
            spans = spans.saturating_add(u64::from(batch.spans));
        }
        counters.add(Counter::SpansDroppedShutdown, spans);
    }

    fn take_in_flight(&mut self) -> u64 {
        self.in_flight.take().map_or(0, |request| u64::from(request.spans))
    }

    /// The line for a failure, when the last request had gone well.
    fn now_down(&mut self, text: String) -> Option<LogLine> {
        let was_up = core::mem::replace(&mut self.health, Health::Down) == Health::Up;
        was_up.then_some(LogLine { level: LogLevel::Warn, text })
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::attribute::{Attribute, AttributeValue};
    use crate::config::{BatchConfig, Compression, Endpoint, ExporterConfig, OtlpProtocol, SpanLimits};
    use crate::masking::Masked;
    use crate::span::{Span, SpanAttributes, SpanKind, SpanStatus};
    use crate::trace::{SpanId, TraceId};

    const MS: u64 = 1_000_000;

    fn span(id: u64) -> Vec<u8> {
        let limits = SpanLimits { attribute_value_length: None, attribute_count: 128 };
        let mut buffer = Vec::new();
        Span {
            trace_id: TraceId::new(1).unwrap(),
            span_id: SpanId::new(id).unwrap(),
            parent: None,
            trace_state: "",
            trace_flags: 1,
            name: &Masked::literal("GET"),
            kind: SpanKind::Server,
            start: 0,
            end: 1,
            attributes: &SpanAttributes::new(limits, Vec::new()),
            status: SpanStatus::Unset,
        }
        .put(&mut buffer);
        buffer
    }

    fn processor(protocol: OtlpProtocol, max_queue_size: u32, max_export_batch_size: u32) -> BatchProcessor {
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
                compression: Compression::None,
                timeout_ms: 10_000,
            },
        };
        let resource = [Attribute { name: "service.name".into(), value: AttributeValue::String("shop".into()) }];
        BatchProcessor::new(
            &config,
            LimitsConfig::default(),
            Rc::new(TraceEnvelope::new(&resource, None, "https://schema.test/1")),
        )
    }

    fn accepted() -> ExportResponse<'static> {
        ExportResponse { headers: &[(b":status", b"200")], body: b"\0\0\0\0\0", trailers: &[(b"grpc-status", b"0")] }
    }

    const FAILED: ExportResponse<'_> = ExportResponse { headers: &[], body: b"", trailers: &[] };

    fn spans_of(body: &[u8]) -> Vec<u64> {
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
        let mut counters = Counters::default();
        let mut processor = processor(OtlpProtocol::Grpc, 10, 5);
        assert_eq!(processor.poll(0, &mut counters), None, "nothing to send");
        assert_eq!(processor.push(&span(7), &mut counters), Wakeup::Tick);
        assert_eq!(processor.poll(999 * MS, &mut counters), None, "not due");
        let request = processor.poll(1_000 * MS, &mut counters).unwrap();
        assert_eq!(&*request.cluster, "collector");
        assert_eq!(request.timeout_ms, 10_000);
        assert_eq!(spans_of(&request.body[5..]), [7]);
        for expected in [(":path", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"), ("x-tenant", "blue")]
        {
            assert!(request.headers.iter().any(|(name, value)| (name.as_str(), value.as_str()) == expected));
        }
        assert!(!processor.is_idle(), "in flight");
        assert_eq!(processor.handle_response(&accepted(), &mut counters), None);
        assert!(processor.is_idle());
        assert_eq!(counters.pending(Counter::SpansExported), 1);
    }

    #[test]
    fn a_full_batch_does_not_wait_and_only_one_is_in_flight() {
        let mut counters = Counters::default();
        let mut processor = processor(OtlpProtocol::HttpProtobuf, 10, 2);
        processor.poll(0, &mut counters);
        assert_eq!(processor.push(&span(1), &mut counters), Wakeup::Tick);
        assert_eq!(processor.push(&span(2), &mut counters), Wakeup::Soon);
        let request = processor.poll(1, &mut counters).unwrap();
        assert_eq!(spans_of(&request.body), [1, 2]);
        assert_eq!(processor.push(&span(3), &mut counters), Wakeup::Tick);
        assert_eq!(processor.push(&span(4), &mut counters), Wakeup::Tick, "the answer will poll");
        assert_eq!(processor.poll(2, &mut counters), None, "one is in flight");
        processor.handle_response(&accepted(), &mut counters);
        assert_eq!(spans_of(&processor.poll(3, &mut counters).unwrap().body), [3, 4]);
    }

    #[test]
    fn a_full_queue_drops_the_newest_and_counts() {
        let mut counters = Counters::default();
        let mut processor = processor(OtlpProtocol::HttpProtobuf, 3, 3);
        for id in 1..=5 {
            processor.push(&span(id), &mut counters);
        }
        assert_eq!(counters.pending(Counter::SpansDroppedQueueFull), 2);
        assert_eq!(spans_of(&processor.poll(0, &mut counters).unwrap().body), [1, 2, 3]);
    }

    #[test]
    fn every_span_is_counted_once_whatever_happens() {
        let mut counters = Counters::default();
        let mut processor = processor(OtlpProtocol::Grpc, 100, 2);
        for id in 1..=8 {
            processor.push(&span(id), &mut counters);
        }
        processor.poll(0, &mut counters).unwrap();
        let line = processor.handle_dispatch_error(DispatchError::NoCluster, &mut counters).unwrap();
        assert!(line.text.contains("no cluster \"collector\""), "{}", line.text);
        processor.poll(0, &mut counters).unwrap();
        assert_eq!(processor.handle_response(&FAILED, &mut counters), None, "down already: said once");
        processor.poll(0, &mut counters).unwrap();
        let line = processor.handle_response(&accepted(), &mut counters).unwrap();
        assert!(line.text.contains("works again"), "{}", line.text);
        processor.poll(0, &mut counters).unwrap();
        processor.abandon(&mut counters);
        let counted = [
            Counter::SpansDroppedNoCluster,
            Counter::SpansDroppedRequestFailed,
            Counter::SpansExported,
            Counter::SpansDroppedShutdown,
        ]
        .map(|counter| counters.pending(counter));
        assert_eq!(counted, [2, 2, 2, 2]);
        assert!(processor.is_idle());
    }

    #[test]
    fn json_is_the_same_request() {
        let mut counters = Counters::default();
        let mut processor = processor(OtlpProtocol::HttpJson, 10, 1);
        processor.push(&span(0x0a), &mut counters);
        let request = processor.poll(0, &mut counters).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let span = &json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["spanId"], "000000000000000a", "ids are hex in OTLP/JSON, not base64");
        assert_eq!(span["endTimeUnixNano"], "1", "64-bit integers are strings");
        assert_eq!(span["kind"], 2, "enums are numbers");
    }

    #[test]
    fn flushing_does_not_wait() {
        let mut counters = Counters::default();
        let mut processor = processor(OtlpProtocol::Grpc, 10, 5);
        processor.poll(0, &mut counters);
        processor.push(&span(1), &mut counters);
        assert_eq!(processor.poll(1, &mut counters), None);
        processor.flush();
        assert!(processor.poll(1, &mut counters).is_some());
    }
}
