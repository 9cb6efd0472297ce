//! A finished span and its attributes, on their way to OTLP bytes.

mod attributes;
mod encode;

pub(crate) use attributes::{EncodedAttribute, cut};
pub use attributes::{SpanAttributes, Value};
pub use encode::{Span, SpanKind, SpanStatus};
