//! `Span` of opentelemetry-proto's trace/v1, written in one go as a `ScopeSpans.spans` field.

use super::SpanAttributes;
use crate::masking::Masked;
use crate::otlp::ITEM_FIELD;
use crate::protobuf::{delimited_len, put_bytes, put_delimited_head, put_fixed32, put_fixed64, put_uint, varint_len};
use crate::trace::{SpanId, TraceId};

/// `Span.SpanKind`, by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A request that came in.
    Server = 2,
    /// A request that goes out.
    Client = 3,
}

/// `Status.StatusCode`, by its numbers. A proxy leaves `Ok` to applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanStatus {
    /// Not judged: the field is left out.
    Unset = 0,
    /// Failed.
    Error = 2,
}

/// A finished span, borrowing what it is made of.
#[derive(Clone, Debug)]
pub struct Span<'a> {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// The span above, and whether it is another process's.
    pub parent: Option<(SpanId, bool)>,
    /// W3C tracestate, as it goes on; empty: none.
    pub trace_state: &'a Masked<'a>,
    /// W3C trace flags (8 bits).
    pub trace_flags: u8,
    /// Low in cardinality.
    pub name: &'a Masked<'a>,
    /// Server or client.
    pub kind: SpanKind,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    /// Nanoseconds since the Unix epoch; never before `start`.
    pub end: u64,
    /// Within limits already.
    pub attributes: &'a SpanAttributes,
    /// Whether it failed.
    pub status: SpanStatus,
}

/// `SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK`
const HAS_IS_REMOTE: u32 = 0x100;
/// `SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK`
const IS_REMOTE: u32 = 0x200;

impl Span<'_> {
    /// Appends the span as one `ScopeSpans.spans` field. Returns how many bytes that took.
    pub fn put(&self, buffer: &mut Vec<u8>) -> usize {
        let before = buffer.len();
        let (name, trace_state) = (self.name.as_str(), self.trace_state.as_str());
        let end = self.end.max(self.start);
        let dropped = self.attributes.dropped();

        // 18 + 10 for the ids, 2 for the kind, 9 + 9 for the times, 6 for the flags (field 16's key takes two).
        let mut len =
            54_usize.saturating_add(delimited_len(name.len())).saturating_add(self.attributes.as_bytes().len());
        if !trace_state.is_empty() {
            len = len.saturating_add(delimited_len(trace_state.len()));
        }
        if self.parent.is_some() {
            len = len.saturating_add(10);
        }
        if dropped > 0 {
            len = len.saturating_add(1).saturating_add(varint_len(u64::from(dropped)));
        }
        if self.status == SpanStatus::Error {
            len = len.saturating_add(4);
        }

        put_delimited_head(buffer, ITEM_FIELD, len);
        put_bytes(buffer, 1, &self.trace_id.to_bytes());
        put_bytes(buffer, 2, &self.span_id.to_bytes());
        if !trace_state.is_empty() {
            put_bytes(buffer, 3, trace_state.as_bytes());
        }
        let mut flags = u32::from(self.trace_flags) | HAS_IS_REMOTE;
        if let Some((parent, remote)) = self.parent {
            put_bytes(buffer, 4, &parent.to_bytes());
            if remote {
                flags |= IS_REMOTE;
            }
        }
        put_bytes(buffer, 5, name.as_bytes());
        put_uint(buffer, 6, self.kind as u64);
        put_fixed64(buffer, 7, self.start);
        put_fixed64(buffer, 8, end);
        buffer.extend_from_slice(self.attributes.as_bytes());
        if dropped > 0 {
            put_uint(buffer, 10, u64::from(dropped));
        }
        if self.status == SpanStatus::Error {
            put_bytes(buffer, 15, &[0x18, SpanStatus::Error as u8]);
        }
        put_fixed32(buffer, 16, flags);
        buffer.len().saturating_sub(before)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1 as proto;
    use prost::Message;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::Value;
    use super::*;
    use crate::config::SpanLimits;

    fn attributes() -> SpanAttributes {
        let limits = SpanLimits { attribute_count: 4, ..SpanLimits::default() };
        let mut attributes = SpanAttributes::new(limits);
        attributes.put("text", Value::Text(&Masked::literal("value")));
        attributes.put("texts", Value::Texts(&[Masked::literal("a"), Masked::literal("")]));
        attributes.put("int", Value::Int(-1));
        attributes.put("double", Value::Double(0.5));
        attributes.put("dropped", Value::Int(1));
        attributes
    }

    fn decode(span: &Span<'_>) -> proto::Span {
        let mut buffer = Vec::new();
        assert_eq!(span.put(&mut buffer), buffer.len());
        proto::ScopeSpans::decode(buffer.as_slice()).unwrap().spans.remove(0)
    }

    #[test]
    fn the_bytes_are_what_opentelemetry_proto_reads() {
        let attributes = attributes();
        let span = Span {
            trace_id: TraceId::new(0x0102).unwrap(),
            span_id: SpanId::new(3).unwrap(),
            parent: Some((SpanId::new(4).unwrap(), true)),
            trace_state: &Masked::literal("a=b"),
            trace_flags: 3,
            name: &Masked::literal("GET /users/{id}"),
            kind: SpanKind::Server,
            start: 10,
            end: 20,
            attributes: &attributes,
            status: SpanStatus::Error,
        };
        let read = decode(&span);
        assert_eq!(read.trace_id, 0x0102_u128.to_be_bytes());
        assert_eq!(read.span_id, 3_u64.to_be_bytes());
        assert_eq!(read.parent_span_id, 4_u64.to_be_bytes());
        assert_eq!(read.trace_state, "a=b");
        assert_eq!(read.flags, 0x303);
        assert_eq!(read.name, "GET /users/{id}");
        assert_eq!(read.kind, 2);
        assert_eq!((read.start_time_unix_nano, read.end_time_unix_nano), (10, 20));
        assert_eq!(read.dropped_attributes_count, 1);
        assert_eq!(read.status.unwrap().code, 2);
        let keys: Vec<_> = read.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        assert_eq!(keys, ["text", "texts", "int", "double"]);
        check_values(&read.attributes);
    }

    fn check_values(attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue]) {
        use opentelemetry_proto::tonic::common::v1::any_value::Value as V;
        let value = |index: usize| attributes[index].value.clone().unwrap().value.unwrap();
        assert_eq!(value(0), V::StringValue("value".into()));
        let V::ArrayValue(array) = value(1) else { panic!("an array") };
        assert_eq!(array.values.len(), 2);
        assert_eq!(value(2), V::IntValue(-1));
        assert_eq!(value(3), V::DoubleValue(0.5));
    }

    #[test]
    fn what_is_absent_is_left_out() {
        let attributes = SpanAttributes::new(SpanLimits::default());
        let span = Span {
            trace_id: TraceId::new(1).unwrap(),
            span_id: SpanId::new(1).unwrap(),
            parent: None,
            trace_state: &Masked::literal(""),
            trace_flags: 1,
            name: &Masked::literal("GET"),
            kind: SpanKind::Client,
            start: 20,
            end: 10,
            attributes: &attributes,
            status: SpanStatus::Unset,
        };
        let read = decode(&span);
        assert!(read.parent_span_id.is_empty() && read.trace_state.is_empty() && read.status.is_none());
        assert_eq!(read.end_time_unix_nano, 20, "a span never ends before it starts");
        assert_eq!(read.flags, 0x101, "no parent, so no remote one");
    }
}
