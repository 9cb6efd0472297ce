//! `LogRecord` of opentelemetry-proto's logs/v1, written in one go as a `ScopeLogs.log_records` field.

use super::attributes::{Reduced, put_attributes};
use crate::config::{LogLevel, SpanLimits};
use crate::masking::Masked;
use crate::otlp::{AnyValue, ITEM_FIELD, any_value_len, put_any_value};
use crate::protobuf::{put_bytes, put_delimited_head, put_fixed32, put_fixed64, put_uint};
use crate::span::SpanAttributes;
use crate::trace::{SpanId, TraceId};

/// How grave a record is: `SeverityNumber`, by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// `INFO`: answered as it should be.
    Info = 9,
    /// `WARN`: refused for the caller's doing.
    Warn = 13,
    /// `ERROR`: failed.
    Error = 17,
}

impl Severity {
    /// `SeverityText`, the level's short name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }

    /// The name in a line of JSON.
    pub(super) const fn level(self) -> (&'static str, LogLevel) {
        match self {
            Self::Info => ("info", LogLevel::Info),
            Self::Warn => ("warn", LogLevel::Warn),
            Self::Error => ("error", LogLevel::Error),
        }
    }
}

/// A record, borrowing what it is made of.
#[derive(Clone, Copy, Debug)]
pub struct LogRecord<'a> {
    /// When the stream ended, which is also when it was observed: ns since the Unix epoch.
    pub time: u64,
    /// How grave it is.
    pub severity: Severity,
    /// One line, low in cardinality.
    pub body: &'a Masked<'a>,
    /// Of the stream's span.
    pub attributes: &'a SpanAttributes,
    /// The trace and the span; `None` without a tracer, for a request that came without a context.
    pub ids: Option<(TraceId, SpanId)>,
    /// W3C trace flags (8 bits).
    pub trace_flags: u8,
}

impl LogRecord<'_> {
    /// Appends the record as one `ScopeLogs.log_records` field, its attributes within `limits`. Returns how many of them
    /// were left out for that.
    pub fn put(&self, buffer: &mut Vec<u8>, limits: SpanLimits) -> u32 {
        let mut attributes = Vec::with_capacity(self.attributes.as_bytes().len());
        let Reduced { dropped } = put_attributes(&mut attributes, 6, self.attributes.as_bytes(), limits);
        let all_dropped = dropped.saturating_add(self.attributes.dropped());
        let body = AnyValue::Text(self.body.as_str());
        let mut message = Vec::with_capacity(attributes.len().saturating_add(128));
        put_fixed64(&mut message, 1, self.time);
        put_uint(&mut message, 2, self.severity as u64);
        put_bytes(&mut message, 3, self.severity.as_str().as_bytes());
        put_delimited_head(&mut message, 5, any_value_len(body));
        put_any_value(&mut message, body);
        message.extend_from_slice(&attributes);
        if all_dropped > 0 {
            put_uint(&mut message, 7, u64::from(all_dropped));
        }
        if let Some((trace_id, span_id)) = self.ids {
            put_fixed32(&mut message, 8, u32::from(self.trace_flags));
            put_bytes(&mut message, 9, &trace_id.to_bytes());
            put_bytes(&mut message, 10, &span_id.to_bytes());
        }
        put_fixed64(&mut message, 11, self.time);
        put_bytes(buffer, ITEM_FIELD, &message);
        dropped
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as V;
    use opentelemetry_proto::tonic::logs::v1 as proto;
    use prost::Message;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::span::Value;

    fn attributes() -> SpanAttributes {
        let mut attributes = SpanAttributes::new(SpanLimits { attribute_count: 5, ..SpanLimits::default() });
        attributes.put("text", Value::Text(&Masked::literal("wörter")));
        attributes.put("texts", Value::Texts(&[Masked::literal("eins"), Masked::literal("")]));
        attributes.put("int", Value::Int(-1));
        attributes.put("double", Value::Double(0.5));
        attributes.put("bool", Value::Bool(true));
        attributes.put("dropped", Value::Int(1));
        attributes
    }

    fn record<'a>(attributes: &'a SpanAttributes, body: &'a Masked<'a>) -> LogRecord<'a> {
        LogRecord {
            time: 20,
            severity: Severity::Warn,
            body,
            attributes,
            ids: Some((TraceId::new(0x0102).unwrap(), SpanId::new(3).unwrap())),
            trace_flags: 3,
        }
    }

    fn decode(record: &LogRecord<'_>, limits: SpanLimits) -> proto::LogRecord {
        let mut buffer = Vec::new();
        record.put(&mut buffer, limits);
        proto::ScopeLogs::decode(buffer.as_slice()).unwrap().log_records.remove(0)
    }

    fn values(record: &proto::LogRecord) -> Vec<(&str, V)> {
        let value = |of: &opentelemetry_proto::tonic::common::v1::KeyValue| of.value.clone().unwrap().value.unwrap();
        record.attributes.iter().map(|attribute| (attribute.key.as_str(), value(attribute))).collect()
    }

    fn text(text: &str) -> V {
        V::StringValue(text.to_owned())
    }

    #[test]
    fn the_bytes_are_what_opentelemetry_proto_reads() {
        let attributes = attributes();
        let read = decode(&record(&attributes, &Masked::literal("GET /users/{id} 404")), SpanLimits::default());
        assert_eq!((read.time_unix_nano, read.observed_time_unix_nano), (20, 20));
        assert_eq!((read.severity_number, read.severity_text.as_str()), (13, "WARN"));
        assert_eq!(read.body.as_ref().unwrap().value, Some(text("GET /users/{id} 404")));
        assert_eq!(read.trace_id, 0x0102_u128.to_be_bytes());
        assert_eq!(read.span_id, 3_u64.to_be_bytes());
        assert_eq!((read.flags, read.dropped_attributes_count), (3, 1));
        let all = values(&read);
        let keys: Vec<_> = all.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ["text", "texts", "int", "double", "bool"], "as the span has them");
        assert_eq!(all[0].1, text("wörter"));
        assert_eq!((all[2].1.clone(), all[4].1.clone()), (V::IntValue(-1), V::BoolValue(true)));
    }

    #[test]
    fn its_own_limits_hold_too() {
        let attributes = attributes();
        let limits = SpanLimits { attribute_count: 2, attribute_value_length: Some(3), ..SpanLimits::default() };
        let read = decode(&record(&attributes, &Masked::literal("")), limits);
        let all = values(&read);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].1, text("wör"), "characters, not bytes");
        let V::ArrayValue(array) = &all[1].1 else { panic!("an array") };
        let items: Vec<_> = array.values.iter().map(|item| item.value.clone().unwrap()).collect();
        assert_eq!(items, [text("ein"), text("")], "each string of a list");
        assert_eq!(read.dropped_attributes_count, 4, "three here and one before");
    }

    #[test]
    fn one_without_a_trace_has_no_ids() {
        let attributes = attributes();
        let body = Masked::literal("GET 200");
        let read = decode(&LogRecord { ids: None, ..record(&attributes, &body) }, SpanLimits::default());
        assert!(read.trace_id.is_empty() && read.span_id.is_empty());
        assert_eq!(read.flags, 0);
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod properties {
    use opentelemetry_proto::tonic::logs::v1::ScopeLogs;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::span::Value;

    proptest! {
        #[test]
        fn any_attributes_are_taken_over_within_any_limits(
            texts in prop::collection::vec(("[a-z.]{1,8}", prop::collection::vec("(?s).{0,40}", 1..3)), 0..12),
            numbers in prop::collection::vec(any::<i64>(), 0..4),
            attribute_count in 0_u32..16,
            length in prop::option::of(0_u32..30),
        ) {
            let mut attributes = SpanAttributes::new(SpanLimits::default());
            for (key, values) in &texts {
                let values: Vec<_> = values.iter().map(|text| Masked::configured(text)).collect();
                match values.as_slice() {
                    [text] => attributes.put_text(key, text),
                    texts => attributes.put(key, Value::Texts(texts)),
                }
            }
            for number in &numbers {
                attributes.put("number", Value::Int(*number));
            }
            let limits = SpanLimits { attribute_count, attribute_value_length: length, ..SpanLimits::default() };
            let body = Masked::literal("GET 200");
            let record =
                LogRecord { time: 1, severity: Severity::Info, body: &body, attributes: &attributes, ids: None, trace_flags: 0 };
            let mut buffer = Vec::new();
            let dropped = record.put(&mut buffer, limits);
            let read = ScopeLogs::decode(buffer.as_slice()).unwrap().log_records.remove(0);
            let all = texts.len() + numbers.len();
            let kept = all.min(usize::try_from(attribute_count).unwrap());
            prop_assert_eq!(read.attributes.len(), kept);
            prop_assert_eq!(usize::try_from(dropped).unwrap(), all - kept);
            prop_assert_eq!(read.dropped_attributes_count, dropped);
            for (attribute, (key, values)) in read.attributes.iter().zip(&texts) {
                prop_assert_eq!(&attribute.key, key);
                let cut = |text: &str| -> String {
                    text.chars().take(length.map_or(usize::MAX, |length| usize::try_from(length).unwrap())).collect()
                };
                let encoded = attribute.encode_to_vec();
                for value in values {
                    let text = cut(value);
                    prop_assert!(text.is_empty() || encoded.windows(text.len()).any(|window| window == text.as_bytes()));
                }
            }
        }
    }
}
