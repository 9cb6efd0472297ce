//! Export: from finished items (spans, log records, data points) to requests for the host to send, and from its answers
//! to counters.
//!
//! Nothing here sends anything. A [`BatchProcessor`] is pushed encoded items, polled for a request, and told how that
//! went, each time with the time it is now; the host does the rest. One processor has one queue and one exporter,
//! of one [`Signal`](crate::signal::Signal).
//!
//! Sources: OpenTelemetry specification, Trace SDK, "Batching processor", and Logs SDK, the same; OTLP specification 1.x, "OTLP/gRPC",
//! "OTLP/HTTP" and "Partial Success".

mod code;
mod grpc;
mod gzip;
mod json;
mod processor;
mod queue;
mod request;
mod response;
mod retry;
mod stats;
mod telling;

pub use code::Code;
pub use processor::{BatchProcessor, DispatchError, RequestId, Wakeup};
pub use queue::Importance;
pub use request::ExportRequest;
pub use response::{ExportOutcome, ExportResponse};
pub use retry::Retry;
pub use stats::{DropReason, ExporterStats};
