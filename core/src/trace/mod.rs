//! What a trace is made of: ids that are never zero, flags, and what a parent said.
//!
//! Sources: W3C Trace Context Level 2 (§3.2 traceparent) and the OpenTelemetry trace API (`SpanContext`).

mod decision;
pub mod flags;
mod generator;
mod id;

pub use decision::ParentDecision;
pub use generator::IdGenerator;
pub use id::{SpanId, TraceId};
