//! An OTLP receiver for traces, logs and metrics in this process: OTLP/gRPC and OTLP/HTTP (protobuf and JSON) on one port, gzip
//! accepted on all. It keeps every request, and answers as a test scripts it.
//!
//! OTLP 1.x: <https://opentelemetry.io/docs/specs/otlp/>.

mod behaviour;
mod log;
mod protocol;
mod span;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use crate::server::Server;

pub use behaviour::Behaviour;
pub use log::ReceivedLog;
pub use span::ReceivedSpan;

/// The way a request took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP in binary protobuf.
    HttpProtobuf,
    /// OTLP/HTTP in JSON.
    HttpJson,
}

/// What a request said.
#[derive(Clone, Debug, PartialEq)]
pub enum Export {
    /// Of traces.
    Traces(ExportTraceServiceRequest),
    /// Of logs.
    Logs(ExportLogsServiceRequest),
    /// Of metrics.
    Metrics(ExportMetricsServiceRequest),
}

impl Export {
    /// In binary protobuf.
    pub fn encode_to_vec(&self) -> Vec<u8> {
        match self {
            Self::Traces(request) => request.encode_to_vec(),
            Self::Logs(request) => request.encode_to_vec(),
            Self::Metrics(request) => request.encode_to_vec(),
        }
    }
}

/// One export request as it came, whatever it was answered.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// gRPC or HTTP, and the encoding.
    pub protocol: Protocol,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub http_version: String,
    /// The path, with the query if any.
    pub path: String,
    /// Header lines (gRPC: metadata) in order; names in lower case, values as they came with bytes that are no
    /// UTF-8 replaced. `:authority` stands as it was sent or as `host`.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body as they came: compressed, and for gRPC with the frame's five bytes.
    pub wire_size: usize,
    /// What it said; `None` when it could not be decoded.
    pub export: Option<Export>,
    /// Why it could not be decoded.
    pub error: Option<String>,
    /// A number of the TCP connection, to tell whether connections are reused.
    pub connection: u64,
    /// When the whole request had been read.
    pub received: Instant,
    /// What it was answered.
    pub answered: Behaviour,
}

impl ReceivedRequest {
    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The spans in it, in order.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        match &self.export {
            Some(Export::Traces(export)) => ReceivedSpan::all_of(export, self.protocol),
            _ => Vec::new(),
        }
    }

    /// The log records in it, in order.
    pub fn logs(&self) -> Vec<ReceivedLog> {
        match &self.export {
            Some(Export::Logs(export)) => ReceivedLog::all_of(export, self.protocol),
            _ => Vec::new(),
        }
    }

    /// How many spans and how many log records are in it.
    fn counts(&self) -> (usize, usize) {
        match &self.export {
            Some(Export::Traces(export)) => {
                let scopes = export.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
                (scopes.map(|scope| scope.spans.len()).sum(), 0)
            }
            Some(Export::Logs(export)) => {
                let scopes = export.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
                (0, scopes.map(|scope| scope.log_records.len()).sum())
            }
            _ => (0, 0),
        }
    }

    /// The metrics in it.
    pub const fn metrics(&self) -> Option<&ExportMetricsServiceRequest> {
        match &self.export {
            Some(Export::Metrics(export)) => Some(export),
            _ => None,
        }
    }
}

/// The count of accepted spans, also once the receiver is gone: a request that was being read at its end may still have
/// been accepted and answered.
#[derive(Clone)]
pub struct SpanCounter(Arc<Shared>);

impl SpanCounter {
    /// How many spans were accepted since the receiver's start.
    pub fn count(&self) -> usize {
        self.0.lock().span_count
    }
}

/// A running receiver. Dropping it closes its port and connections.
pub struct Receiver {
    shared: Arc<Shared>,
    server: Server,
}

impl Receiver {
    /// Starts one on a free port of 127.0.0.1.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Starts one at an address, for instance where an earlier one was dropped.
    pub fn start_at(address: SocketAddr) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let server = Server::start(address, protocol::router(Arc::clone(&shared)))?;
        Ok(Self { shared, server })
    }

    /// Where it listens, for every protocol.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What the next requests are answered, one entry a request; after that the default behaviour again.
    pub fn script(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.shared.lock().script.extend(behaviours);
    }

    /// What requests are answered when no script is left. [`Behaviour::Ok`] unless set.
    pub fn set_default(&self, behaviour: Behaviour) {
        self.shared.lock().default = behaviour;
    }

    /// Everything received so far, in order of arrival.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.shared.lock().requests.clone()
    }

    /// The spans of everything that was accepted so far ([`Behaviour::accepts`]), in order of arrival.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.shared.lock().spans.clone()
    }

    /// The log records of everything that was accepted so far, in order of arrival.
    pub fn logs(&self) -> Vec<ReceivedLog> {
        self.shared.lock().logs.clone()
    }

    /// The metrics of everything that was accepted so far, a request each, in order of arrival.
    pub fn metrics(&self) -> Vec<ExportMetricsServiceRequest> {
        self.shared.lock().metrics.clone()
    }

    /// How many log records were accepted since the start, whether or not they were kept or cleared.
    pub fn log_count(&self) -> usize {
        self.shared.lock().log_count
    }

    /// How many spans were accepted since the start, whether or not they were kept or cleared.
    pub fn span_count(&self) -> usize {
        self.shared.lock().span_count
    }

    /// [`Self::span_count`], to be asked also when the receiver is gone.
    pub fn span_counter(&self) -> SpanCounter {
        SpanCounter(Arc::clone(&self.shared))
    }

    /// Forgets what was received.
    pub fn clear(&self) {
        let mut state = self.shared.lock();
        state.requests.clear();
        state.spans.clear();
        state.logs.clear();
        state.metrics.clear();
    }

    /// From now on only counts spans and log records ([`Self::span_count`], [`Self::log_count`]) and keeps nothing but
    /// metrics, which are few: for benchmarks.
    pub fn count_only(&self) {
        self.shared.lock().count_only = true;
        self.clear();
    }

    /// Waits until `condition` answers `Some`, looking at the accepted spans whenever a request arrives.
    ///
    /// # Errors
    /// At the deadline, with the spans that were there.
    pub fn wait_for<T>(
        &self,
        deadline: Duration,
        mut condition: impl FnMut(&[ReceivedSpan]) -> Option<T>,
    ) -> anyhow::Result<T> {
        self.wait(deadline, |state| condition(&state.spans)).map_err(|state| {
            let spans: Vec<_> = state.spans.iter().map(ReceivedSpan::to_string).collect();
            anyhow::anyhow!("no such spans after {deadline:?}; received {}: {spans:#?}", spans.len())
        })
    }

    /// Waits until `condition` answers `Some`, looking at the accepted log records whenever a request arrives.
    ///
    /// # Errors
    /// At the deadline, with the records that were there.
    pub fn wait_for_logs<T>(
        &self,
        deadline: Duration,
        mut condition: impl FnMut(&[ReceivedLog]) -> Option<T>,
    ) -> anyhow::Result<T> {
        self.wait(deadline, |state| condition(&state.logs)).map_err(|state| {
            let logs: Vec<_> = state.logs.iter().map(ReceivedLog::to_string).collect();
            anyhow::anyhow!("no such log records after {deadline:?}; received {}: {logs:#?}", logs.len())
        })
    }

    /// Waits until `condition` answers `Some`, looking at the accepted metrics whenever a request arrives.
    ///
    /// # Errors
    /// At the deadline, with the metrics that were there.
    pub fn wait_for_metrics<T>(
        &self,
        deadline: Duration,
        mut condition: impl FnMut(&[ExportMetricsServiceRequest]) -> Option<T>,
    ) -> anyhow::Result<T> {
        self.wait(deadline, |state| condition(&state.metrics))
            .map_err(|state| anyhow::anyhow!("no such metrics after {deadline:?}; received {:#?}", state.metrics))
    }

    /// Waits until at least `count` spans were accepted, and returns all.
    ///
    /// # Errors
    /// At the deadline, with the spans that were there.
    pub fn wait_for_spans(&self, count: usize, deadline: Duration) -> anyhow::Result<Vec<ReceivedSpan>> {
        self.wait_for(deadline, |spans| (spans.len() >= count).then(|| spans.to_vec()))
    }

    /// Waits until `condition` answers `Some`, looking at all requests, the rejected ones too.
    ///
    /// # Errors
    /// At the deadline, with the requests that were there.
    pub fn wait_for_requests<T>(
        &self,
        deadline: Duration,
        mut condition: impl FnMut(&[ReceivedRequest]) -> Option<T>,
    ) -> anyhow::Result<T> {
        self.wait(deadline, |state| condition(&state.requests)).map_err(|state| {
            let requests: Vec<_> =
                state.requests.iter().map(|r| format!("{} {:?} {:?}", r.path, r.protocol, r.answered)).collect();
            anyhow::anyhow!("no such requests after {deadline:?}; received {}: {requests:#?}", requests.len())
        })
    }

    fn wait<T>(
        &self,
        deadline: Duration,
        mut condition: impl FnMut(&State) -> Option<T>,
    ) -> Result<T, MutexGuard<'_, State>> {
        let end = Instant::now() + deadline;
        let mut state = self.shared.lock();
        loop {
            if let Some(value) = condition(&state) {
                return Ok(value);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(state);
            }
            state = self.shared.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[derive(Default)]
struct State {
    requests: Vec<ReceivedRequest>,
    /// Of the accepted requests, flattened once.
    spans: Vec<ReceivedSpan>,
    span_count: usize,
    logs: Vec<ReceivedLog>,
    log_count: usize,
    metrics: Vec<ExportMetricsServiceRequest>,
    count_only: bool,
    script: VecDeque<Behaviour>,
    default: Behaviour,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
}

impl Shared {
    // A test that failed while it held the lock must not hide its own message behind a poisoned mutex.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_behaviour(&self) -> Behaviour {
        let mut state = self.lock();
        state.script.pop_front().unwrap_or_else(|| state.default.clone())
    }

    fn record(&self, request: ReceivedRequest) {
        let accepted = Some(&request).filter(|request| request.answered.accepts());
        let metrics = accepted.and_then(ReceivedRequest::metrics).cloned();
        if self.lock().count_only {
            let (spans, logs) = accepted.map_or((0, 0), ReceivedRequest::counts);
            let mut state = self.lock();
            state.span_count += spans;
            state.log_count += logs;
            state.metrics.extend(metrics);
            drop(state);
            self.arrived.notify_all();
            return;
        }
        let spans = accepted.map(ReceivedRequest::spans).unwrap_or_default();
        let logs = accepted.map(ReceivedRequest::logs).unwrap_or_default();
        let mut state = self.lock();
        state.span_count += spans.len();
        state.log_count += logs.len();
        state.metrics.extend(metrics);
        state.spans.extend(spans);
        state.logs.extend(logs);
        state.requests.push(request);
        drop(state);
        self.arrived.notify_all();
    }
}
