//! The batching span processor with its exporter, as a state machine: push, poll, handle.

use std::rc::Rc;

use super::queue::{Batch, Caps, Queue};
use super::request::{ExportRequest, RequestTemplate};
use super::response::{ExportOutcome, ExportResponse};
use super::retry::{Backoff, Retry, SHORTEST_WAIT_MS};
use crate::config::{LimitsConfig, LogLevel, ProcessorConfig};
use crate::counter::{Counter, Counters};
use crate::log_line::LogLine;
use crate::otlp::TraceEnvelope;

/// When a processor wants to be polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeup {
    /// At the next regular tick.
    Tick,
    /// As soon as can be: a batch is full, or the queue nearly is.
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
/// One request is in flight at a time, but for a flush. A batch whose request failed is tried again where OTLP allows
/// it, and until then no other is sent: a backend that is away costs one request for each wait. A batch that is too old
/// is dropped and counted.
#[derive(Clone, Debug)]
pub struct BatchProcessor {
    queue: Queue,
    template: RequestTemplate,
    delay_ns: u64,
    /// When a batch that is not full leaves; set by the first poll.
    due: Option<u64>,
    in_flight: Vec<InFlight>,
    /// Batches that are sent again later. One, but for halves and for a flush.
    waiting: Vec<Waiting>,
    backoff: Backoff,
    /// Requests that failed in a row, whichever batch they carried: the wait grows with them.
    failures: u32,
    /// How long after its first try a batch is tried again, ns.
    max_retry_age: u64,
    next_sequence: u64,
    /// Polls take what there is, due or not.
    flushing: bool,
    /// What the log was last told: it tells of changes only.
    told: Told,
    /// Whether the log was told of a failure and not yet of its end.
    down: bool,
}

/// A request of one processor. Never the same twice, so a late answer is not taken for another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(u64);

/// A request that has not been answered.
#[derive(Clone, Debug)]
struct InFlight {
    id: RequestId,
    attempt: Attempt,
    /// From then on an answer is no longer waited for. The host times requests out itself; this is for an answer that
    /// it never delivers.
    lost_at: u64,
}

/// A batch on its way, and how that has gone so far.
#[derive(Clone, Debug)]
struct Attempt {
    batch: Batch,
    /// When it was sent for the first time, ns.
    first: u64,
    is_retry: bool,
}

/// A batch that is sent again.
#[derive(Clone, Debug)]
struct Waiting {
    attempt: Attempt,
    /// Not before, ns.
    at: u64,
}

/// What there was to tell of the last request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Rejected,
    NoCluster,
    Failed,
}

/// Nanoseconds of a millisecond.
const MS: u64 = 1_000_000;

/// How long after its own timeout a request is taken for lost, ns.
const LOST_GRACE: u64 = 5_000_000_000;

/// The same for a request that has no timeout, ns.
const LOST_WITHOUT_TIMEOUT: u64 = 600_000_000_000;

impl BatchProcessor {
    /// From checked configuration. `envelope` is what stands around the spans of each request.
    /// `seed` is random, so that the waits of two workers differ.
    pub fn new(config: &ProcessorConfig, limits: LimitsConfig, envelope: Rc<TraceEnvelope>, seed: u64) -> Self {
        let caps = Caps {
            spans: config.batch.max_queue_size,
            bytes: usize::try_from(limits.max_queue_bytes).unwrap_or(usize::MAX),
            batch_spans: config.batch.max_export_batch_size,
            batch_bytes: usize::try_from(limits.max_batch_bytes).unwrap_or(usize::MAX),
        };
        Self {
            queue: Queue::new(caps),
            template: RequestTemplate::new(&config.exporter, config.batch.export_timeout_ms, envelope),
            delay_ns: u64::from(config.batch.schedule_delay_ms).saturating_mul(MS),
            due: None,
            in_flight: Vec::new(),
            waiting: Vec::new(),
            backoff: Backoff::new(seed),
            failures: 0,
            max_retry_age: u64::from(limits.max_retry_age_ms).saturating_mul(MS),
            next_sequence: 0,
            flushing: false,
            told: Told::Nothing,
            down: false,
        }
    }

    /// Takes an encoded span (a `ScopeSpans.spans` field). A full queue drops it and counts.
    pub fn push(&mut self, span: &[u8], counters: &mut Counters) -> Wakeup {
        if !self.queue.push(span) {
            counters.increment(Counter::SpansDroppedQueueFull);
        }
        let is_urgent = self.queue.has_full_batch() || self.queue.is_nearly_full();
        if is_urgent && self.in_flight.is_empty() && self.waiting.is_empty() { Wakeup::Soon } else { Wakeup::Tick }
    }

    /// The next request, if one should leave at `now` (ns since the Unix epoch; a clock that is set back delays a batch
    /// by one schedule delay at most). The caller sends it and tells the result:
    /// [`handle_dispatch_error`](Self::handle_dispatch_error) at once, or
    /// [`handle_response`](Self::handle_response) later.
    pub fn poll(&mut self, now: u64, counters: &mut Counters) -> Option<(RequestId, ExportRequest)> {
        self.give_up_lost(now, counters);
        let attempt = self.next_attempt(now)?;
        let Some(request) = self.template.request(&attempt.batch.bytes) else {
            counters.add(Counter::SpansDroppedRequestFailed, u64::from(attempt.batch.spans));
            return None;
        };
        if attempt.is_retry {
            counters.increment(Counter::ExportRequestsRetried);
        }
        counters.increment(Counter::ExportRequests);
        let id = RequestId(self.next_sequence);
        self.next_sequence = self.next_sequence.wrapping_add(1);
        let patience = match request.timeout_ms {
            0 => LOST_WITHOUT_TIMEOUT,
            timeout => u64::from(timeout).saturating_mul(MS).saturating_add(LOST_GRACE),
        };
        self.in_flight.push(InFlight { id, attempt, lost_at: now.saturating_add(patience) });
        Some((id, request))
    }

    /// The batch that should leave at `now`.
    fn next_attempt(&mut self, now: u64) -> Option<Attempt> {
        if !self.flushing && !self.in_flight.is_empty() {
            return None;
        }
        // No wait is longer than a batch may grow old: one that seems so was set before the clock was set back.
        let latest = now.saturating_add(self.max_retry_age);
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.at <= now || waiting.at > latest) {
            return Some(self.waiting.swap_remove(at).attempt);
        }
        let next = now.saturating_add(self.delay_ns);
        let due = self.due.unwrap_or(next).min(next);
        self.due = Some(due);
        let is_time = now >= due || self.queue.has_full_batch() || self.queue.is_nearly_full();
        if !self.flushing && (!self.waiting.is_empty() || !is_time) {
            return None;
        }
        self.due = Some(next);
        Some(Attempt { batch: self.queue.pop()?, first: now, is_retry: false })
    }

    /// A request that [`poll`](Self::poll) gave could not be sent.
    pub fn handle_dispatch_error(
        &mut self,
        id: RequestId,
        error: DispatchError,
        now: u64,
        counters: &mut Counters,
    ) -> Option<LogLine> {
        let attempt = self.take_in_flight(id)?;
        counters.increment(Counter::ExportRequestsFailed);
        let cluster = self.template.cluster();
        match error {
            DispatchError::NoCluster => {
                let text = format!(
                    "cannot export spans: this proxy has no cluster \"{cluster}\"; add it, or map the endpoint to \
                     another one under distribution.meshspan.clusters"
                );
                // The cluster may yet come through CDS.
                self.fail(attempt, Retry::Backoff, Counter::SpansDroppedNoCluster, now, counters);
                self.tell(Told::NoCluster, text)
            }
            DispatchError::Host(status) => {
                let text = format!(
                    "cannot export spans: the host refused a request to cluster \"{cluster}\" (status {status}); has \
                     the cluster a healthy host?"
                );
                self.fail(attempt, Retry::Backoff, Counter::SpansDroppedRequestFailed, now, counters);
                self.tell(Told::Failed, text)
            }
        }
    }

    /// The answer to a request in flight. One that is no longer waited for changes nothing.
    pub fn handle_response(
        &mut self,
        id: RequestId,
        response: &ExportResponse<'_>,
        now: u64,
        counters: &mut Counters,
    ) -> Option<LogLine> {
        let attempt = self.take_in_flight(id)?;
        let spans = u64::from(attempt.batch.spans);
        match response.read(self.template.protocol(), now) {
            ExportOutcome::Accepted { rejected, message, malformed } => {
                self.failures = 0;
                let rejected = rejected.min(spans);
                counters.add(Counter::SpansExported, spans.saturating_sub(rejected));
                counters.add(Counter::SpansRejected, rejected);
                if malformed {
                    counters.increment(Counter::ExportResponsesMalformed);
                }
                let cluster = self.template.cluster();
                if rejected > 0 || !message.is_empty() {
                    let text = format!("the backend at cluster \"{cluster}\" rejected {rejected} spans: {message}");
                    return self.tell(Told::Rejected, text);
                }
                self.told = Told::Nothing;
                let recovered = core::mem::replace(&mut self.down, false);
                recovered.then(|| LogLine {
                    level: LogLevel::Info,
                    text: format!("exporting spans to cluster \"{cluster}\" works again"),
                })
            }
            ExportOutcome::Failed { reason, retry } => {
                counters.increment(Counter::ExportRequestsFailed);
                let cluster = self.template.cluster();
                let text = format!("export of {spans} spans to cluster \"{cluster}\" failed: {reason}");
                self.fail(attempt, retry, Counter::SpansDroppedRequestFailed, now, counters);
                self.tell(Told::Failed, text)
            }
        }
    }

    /// Keeps a batch that failed for another try, or drops it and counts it as `dropped`.
    fn fail(&mut self, attempt: Attempt, retry: Retry, dropped: Counter, now: u64, counters: &mut Counters) {
        self.down = true;
        self.failures = self.failures.saturating_add(1);
        let Attempt { batch, first, .. } = attempt;
        let spans = u64::from(batch.spans);
        let wait_ms = match retry {
            Retry::Never => return counters.add(dropped, spans),
            Retry::InHalves => {
                let Some(halves) = batch.halves() else { return counters.add(Counter::SpansDroppedTooLarge, spans) };
                // Not one after the other's failure: they are other requests.
                self.waiting
                    .extend(halves.map(|batch| Waiting { attempt: Attempt { batch, first, is_retry: true }, at: now }));
                return;
            }
            Retry::Backoff => self.backoff.wait_ms(self.failures),
            // A backend that says "at once" each time is not asked more often than one that says nothing.
            Retry::After(ms) => ms.max(SHORTEST_WAIT_MS),
        };
        let at = now.saturating_add(wait_ms.saturating_mul(MS));
        if at.saturating_sub(first) > self.max_retry_age {
            return counters.add(dropped, spans);
        }
        self.waiting.push(Waiting { attempt: Attempt { batch, first, is_retry: true }, at });
    }

    /// From now on a poll takes whatever is queued.
    pub fn flush(&mut self) {
        self.flushing = true;
    }

    /// Nothing queued and nothing in flight.
    pub fn is_idle(&self) -> bool {
        self.queue.len() == 0 && self.in_flight.is_empty() && self.waiting.is_empty()
    }

    /// Gives up what is left and counts it.
    pub fn abandon(&mut self, counters: &mut Counters) {
        let mut spans: u64 = 0;
        let waiting = self.waiting.drain(..).map(|waiting| waiting.attempt);
        for attempt in self.in_flight.drain(..).map(|request| request.attempt).chain(waiting) {
            spans = spans.saturating_add(u64::from(attempt.batch.spans));
        }
        while let Some(batch) = self.queue.pop() {
            spans = spans.saturating_add(u64::from(batch.spans));
        }
        counters.add(Counter::SpansDroppedShutdown, spans);
    }

    /// The batch of a request that has been answered.
    fn take_in_flight(&mut self, id: RequestId) -> Option<Attempt> {
        let at = self.in_flight.iter().position(|request| request.id == id)?;
        Some(self.in_flight.swap_remove(at).attempt)
    }

    /// Fails the requests whose answers are no longer waited for.
    fn give_up_lost(&mut self, now: u64, counters: &mut Counters) {
        while let Some(at) = self.in_flight.iter().position(|request| now >= request.lost_at) {
            let attempt = self.in_flight.swap_remove(at).attempt;
            counters.increment(Counter::ExportRequestsFailed);
            self.fail(attempt, Retry::Backoff, Counter::SpansDroppedRequestFailed, now, counters);
        }
    }

    /// A warning, unless the last one was of the same kind.
    fn tell(&mut self, what: Told, text: String) -> Option<LogLine> {
        let told = core::mem::replace(&mut self.told, what);
        (told != what).then_some(LogLine { level: LogLevel::Warn, text })
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
    use crate::header::HeaderLine;
    use crate::masking::Masked;
    use crate::span::{Span, SpanAttributes, SpanKind, SpanStatus};
    use crate::trace::{SpanId, TraceId};

    fn span(id: u64) -> Vec<u8> {
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
        let limits = LimitsConfig { max_retry_age_ms, ..LimitsConfig::default() };
        BatchProcessor::new(&config, limits, Rc::new(TraceEnvelope::new(&resource, None, "https://schema.test/1")), 7)
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
        let (id, request) = processor.poll(1_000 * MS, &mut counters).unwrap();
        assert_eq!(&*request.cluster, "collector");
        assert_eq!(request.timeout_ms, 10_000);
        assert_eq!(spans_of(&request.body[5..]), [7]);
        for expected in [(":path", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"), ("x-tenant", "blue")]
        {
            assert!(request.headers.iter().any(|(name, value)| (name.as_str(), value.as_str()) == expected));
        }
        assert!(!processor.is_idle(), "in flight");
        assert_eq!(processor.handle_response(id, &accepted(), 0, &mut counters), None);
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
        let (id, request) = processor.poll(1, &mut counters).unwrap();
        assert_eq!(spans_of(&request.body), [1, 2]);
        assert_eq!(processor.push(&span(3), &mut counters), Wakeup::Tick);
        assert_eq!(processor.push(&span(4), &mut counters), Wakeup::Tick, "the answer will poll");
        assert_eq!(processor.poll(2, &mut counters), None, "one is in flight");
        processor.handle_response(id, &accepted(), 0, &mut counters);
        assert_eq!(spans_of(&processor.poll(3, &mut counters).unwrap().1.body), [3, 4]);
    }

    #[test]
    fn a_full_queue_drops_the_newest_and_counts() {
        let mut counters = Counters::default();
        let mut processor = processor(OtlpProtocol::HttpProtobuf, 3, 3);
        for id in 1..=5 {
            processor.push(&span(id), &mut counters);
        }
        assert_eq!(counters.pending(Counter::SpansDroppedQueueFull), 2);
        assert_eq!(spans_of(&processor.poll(0, &mut counters).unwrap().1.body), [1, 2, 3]);
    }

    #[test]
    fn every_span_is_counted_once_whatever_happens() {
        let mut counters = Counters::default();
        let mut processor = processor(OtlpProtocol::Grpc, 100, 2);
        for id in 1..=8 {
            processor.push(&span(id), &mut counters);
        }
        let (id, _) = processor.poll(0, &mut counters).unwrap();
        let line = processor.handle_dispatch_error(id, DispatchError::NoCluster, 0, &mut counters).unwrap();
        assert!(line.text.contains("no cluster \"collector\""), "{}", line.text);
        let (id, _) = processor.poll(0, &mut counters).unwrap();
        let line = processor.handle_response(id, &FAILED, 0, &mut counters).unwrap();
        assert!(line.text.contains("no answer"), "another kind of failure: {}", line.text);
        assert_eq!(processor.handle_response(id, &FAILED, 0, &mut counters), None, "answered already");
        let (id, _) = processor.poll(0, &mut counters).unwrap();
        let line = processor.handle_response(id, &accepted(), 0, &mut counters).unwrap();
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
        let (_, request) = processor.poll(0, &mut counters).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let span = &json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["spanId"], "000000000000000a", "ids are hex in OTLP/JSON, not base64");
        assert_eq!(span["endTimeUnixNano"], "1", "64-bit integers are strings");
        assert_eq!(span["kind"], 2, "enums are numbers");
    }

    #[test]
    fn the_same_failure_is_told_once() {
        let mut counters = Counters::default();
        let mut processor = processor(OtlpProtocol::Grpc, 100, 1);
        let lines = (0..10).filter_map(|id| {
            processor.push(&span(id + 1), &mut counters);
            let (id, _) = processor.poll(0, &mut counters)?;
            processor.handle_response(id, &FAILED, 0, &mut counters)
        });
        assert_eq!(lines.count(), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_stalls_nothing() {
        let mut counters = Counters::default();
        let mut processor = processor(OtlpProtocol::Grpc, 10, 5);
        let hour = 3_600_000 * MS;
        processor.poll(2 * hour, &mut counters);
        processor.push(&span(1), &mut counters);
        assert_eq!(processor.poll(hour, &mut counters), None);
        assert!(processor.poll(hour + 1_000 * MS, &mut counters).is_some(), "one delay later, not an hour");
    }

    #[test]
    fn an_answer_that_never_comes_is_given_up() {
        let mut counters = Counters::default();
        let mut processor = processor(OtlpProtocol::Grpc, 10, 1);
        processor.push(&span(1), &mut counters);
        let (lost, _) = processor.poll(0, &mut counters).unwrap();
        processor.push(&span(2), &mut counters);
        assert_eq!(processor.poll(14_999 * MS, &mut counters), None, "the timeout of 10 s and a grace of 5");
        let (next, request) = processor.poll(15_000 * MS, &mut counters).unwrap();
        assert_eq!(spans_of(&request.body[5..]), [2]);
        assert_eq!(counters.pending(Counter::SpansDroppedRequestFailed), 1);
        processor.handle_response(lost, &accepted(), 0, &mut counters);
        assert_eq!(counters.pending(Counter::SpansExported), 0, "too late, and not the other's");
        processor.handle_response(next, &accepted(), 0, &mut counters);
        assert_eq!(counters.pending(Counter::SpansExported), 1);
    }

    fn status(status: &'static [u8]) -> [HeaderLine<'static>; 1] {
        [(b":status", status)]
    }

    fn answer<'a>(headers: &'a [HeaderLine<'a>]) -> ExportResponse<'a> {
        ExportResponse { headers, body: b"", trailers: &[] }
    }

    #[test]
    fn a_failed_batch_is_tried_again_and_nothing_else_meanwhile() {
        let mut counters = Counters::default();
        let mut processor = retrying(10, 2);
        for id in 1..=4 {
            processor.push(&span(id), &mut counters);
        }
        let (id, request) = processor.poll(0, &mut counters).unwrap();
        assert_eq!(spans_of(&request.body), [1, 2]);
        assert!(processor.handle_response(id, &answer(&status(b"503")), 0, &mut counters).is_some());
        assert_eq!(processor.poll(499 * MS, &mut counters), None, "half of the first wait is certain");
        assert!(!processor.is_idle());
        let (id, request) = processor.poll(1_000 * MS, &mut counters).unwrap();
        assert_eq!(spans_of(&request.body), [1, 2], "the same batch, not the next one");
        let line = processor.handle_response(id, &answer(&status(b"200")), 0, &mut counters);
        assert!(line.unwrap().text.contains("works again"));
        assert_eq!(spans_of(&processor.poll(1_000 * MS, &mut counters).unwrap().1.body), [3, 4]);
        let counted = [Counter::ExportRequests, Counter::ExportRequestsRetried, Counter::ExportRequestsFailed]
            .map(|counter| counters.pending(counter));
        assert_eq!(counted, [3, 1, 1]);
        assert_eq!(counters.pending(Counter::SpansExported), 2);
        assert_eq!(counters.pending(Counter::SpansDroppedRequestFailed), 0);
    }

    #[test]
    fn a_dead_backend_costs_one_request_a_wait_and_no_memory() {
        let mut counters = Counters::default();
        let mut processor = retrying(10, 2);
        let mut requests = 0_u64;
        // Ten minutes of a hundred spans a second, polled at each.
        for now in (0..600_000).step_by(10).map(|ms| ms * MS) {
            processor.push(&span(1 + now), &mut counters);
            if let Some((id, _)) = processor.poll(now, &mut counters) {
                requests += 1;
                processor.handle_response(id, &FAILED, now, &mut counters);
            }
        }
        assert!((20..50).contains(&requests), "{requests}: waits grow to half a minute, whichever batch it is");
        processor.abandon(&mut counters);
        let dropped =
            [Counter::SpansDroppedQueueFull, Counter::SpansDroppedRequestFailed, Counter::SpansDroppedShutdown]
                .map(|counter| counters.pending(counter));
        assert_eq!(dropped.iter().sum::<u64>(), 60_000);
        assert!(dropped[2] <= 12, "at most a queue and a batch were kept");
    }

    #[test]
    fn the_backend_says_when() {
        let mut counters = Counters::default();
        let mut processor = retrying(10, 1);
        processor.push(&span(1), &mut counters);
        let (id, _) = processor.poll(0, &mut counters).unwrap();
        let headers: [HeaderLine<'_>; 2] = [(b":status", b"429"), (b"retry-after", b"20")];
        processor.handle_response(id, &answer(&headers), 0, &mut counters);
        assert_eq!(processor.poll(19_999 * MS, &mut counters), None);
        let (id, _) = processor.poll(20_000 * MS, &mut counters).unwrap();
        let headers: [HeaderLine<'_>; 2] = [(b":status", b"429"), (b"retry-after", b"41")];
        processor.handle_response(id, &answer(&headers), 20_000 * MS, &mut counters);
        assert_eq!(counters.pending(Counter::SpansDroppedRequestFailed), 1, "that would be after its minute");
        assert!(processor.is_idle());
    }

    #[test]
    fn a_backend_that_says_at_once_is_not_asked_in_a_loop() {
        let mut counters = Counters::default();
        let mut processor = retrying(10, 1);
        processor.push(&span(1), &mut counters);
        let (id, _) = processor.poll(0, &mut counters).unwrap();
        let headers: [HeaderLine<'_>; 2] = [(b":status", b"503"), (b"retry-after", b"0")];
        processor.handle_response(id, &answer(&headers), 0, &mut counters);
        assert_eq!(processor.poll(499 * MS, &mut counters), None);
        assert!(processor.poll(500 * MS, &mut counters).is_some());
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_hold_a_retry_up() {
        let mut counters = Counters::default();
        let mut processor = retrying(10, 1);
        let hour = 3_600_000 * MS;
        processor.push(&span(1), &mut counters);
        let (id, _) = processor.poll(2 * hour, &mut counters).unwrap();
        processor.handle_response(id, &FAILED, 2 * hour, &mut counters);
        assert!(processor.poll(hour, &mut counters).is_some());
    }

    #[test]
    fn what_would_fail_again_is_dropped_at_once() {
        let mut counters = Counters::default();
        let mut processor = retrying(10, 1);
        processor.push(&span(1), &mut counters);
        let (id, _) = processor.poll(0, &mut counters).unwrap();
        processor.handle_response(id, &answer(&status(b"400")), 0, &mut counters);
        assert_eq!(counters.pending(Counter::SpansDroppedRequestFailed), 1);
        assert!(processor.is_idle());
    }

    #[test]
    fn a_batch_that_is_too_large_goes_in_halves() {
        let mut counters = Counters::default();
        let mut processor = retrying(10, 4);
        for id in 1..=4 {
            processor.push(&span(id), &mut counters);
        }
        // The backend takes one span at a time, and never span 3.
        let mut taken = Vec::new();
        for _ in 0..20 {
            let Some((id, request)) = processor.poll(0, &mut counters) else { break };
            let spans = spans_of(&request.body);
            let fits = spans.len() == 1 && spans != [3];
            let status = status(if fits { b"200" } else { b"413" });
            if fits {
                taken.extend(spans);
            }
            processor.handle_response(id, &answer(&status), 0, &mut counters);
        }
        taken.sort_unstable();
        assert_eq!(taken, [1, 2, 4]);
        assert_eq!(counters.pending(Counter::SpansExported), 3);
        assert_eq!(counters.pending(Counter::SpansDroppedTooLarge), 1);
        assert!(processor.is_idle());
    }

    #[test]
    fn a_cluster_may_come_later() {
        let mut counters = Counters::default();
        let mut processor = retrying(10, 1);
        processor.push(&span(1), &mut counters);
        let (id, _) = processor.poll(0, &mut counters).unwrap();
        assert!(processor.handle_dispatch_error(id, DispatchError::NoCluster, 0, &mut counters).is_some());
        let (id, request) = processor.poll(1_000 * MS, &mut counters).unwrap();
        assert_eq!(spans_of(&request.body), [1]);
        processor.handle_response(id, &answer(&status(b"200")), 0, &mut counters);
        assert_eq!(counters.pending(Counter::SpansExported), 1);
        assert_eq!(counters.pending(Counter::SpansDroppedNoCluster), 0);
    }

    #[test]
    fn a_queue_that_is_nearly_full_does_not_wait() {
        let mut counters = Counters::default();
        let mut processor = retrying(10, 10);
        processor.poll(0, &mut counters);
        let wakeups: Vec<_> = (1..=8).map(|id| processor.push(&span(id), &mut counters)).collect();
        assert_eq!(wakeups.iter().position(|wakeup| *wakeup == Wakeup::Soon), Some(7), "at eight of ten");
        assert!(processor.poll(1, &mut counters).is_some());
    }

    #[test]
    fn gzip_holds_the_same_request() {
        use std::io::Read;

        for protocol in [OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf, OtlpProtocol::HttpJson] {
            let body_of = |compression| {
                let mut counters = Counters::default();
                let mut processor = compressing(protocol, compression, 10, 1);
                processor.push(&span(1), &mut counters);
                processor.poll(0, &mut counters).unwrap().1
            };
            let (plain, packed) = (body_of(Compression::None), body_of(Compression::Gzip));
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
        }
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
        processor.push(&span(2), &mut counters);
        assert!(processor.poll(1, &mut counters).is_some(), "not even for the answer to another");
    }
}
