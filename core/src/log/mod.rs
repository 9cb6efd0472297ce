//! Log records: one for a stream that has ended, by a rule, joined to its trace by the ids.
//!
//! A record says what its span says, in the same words: the span's attributes, already encoded and masked, are taken
//! over as they are. It leaves as OTLP, and on request as a line of JSON for the proxy's own log.
//!
//! Sources: OpenTelemetry specification, "Logs Data Model" and "Logs SDK"; opentelemetry-proto, logs/v1.

mod attributes;
mod line;
mod logger;
mod record;

pub use line::StreamLine;
pub use logger::{LineAllowance, Logger, Room};
pub use record::{LogRecord, Severity};
