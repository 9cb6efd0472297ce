//! OTLP's JSON mapping (OTLP specification, "JSON Protobuf Encoding"), written from an encoded request.
//!
//! A table says what stands in each message, for the fields that OTLP has today; what is not in it is left out. The
//! mapping is protobuf's own but for this: ids are hexadecimal, and enumerations are numbers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use prost::encoding::decode_varint;

use crate::protobuf::{Field as Wire, next_field, take_fixed64};
use crate::signal::Signal;

/// The JSON of an encoded `Export…ServiceRequest`; `None` if it is none.
#[inline]
pub(super) fn from_protobuf(signal: Signal, request: &[u8]) -> Option<Vec<u8>> {
    let mut json = Vec::with_capacity(request.len().saturating_mul(2));
    let message = match signal {
        Signal::Traces => TRACES,
        Signal::Logs => LOGS,
        Signal::Metrics => METRICS,
    };
    put_message(&mut json, message, request)?;
    Some(json)
}

/// A message's fields: number, name in JSON, and what it holds.
type Message = &'static [Field];

type Field = (u32, &'static str, Kind);

/// What a field holds, and so how it is written.
#[derive(Clone, Copy)]
enum Kind {
    One(Scalar),
    /// A list of numbers, packed or not.
    Packed(Scalar),
    Message(Message),
    List(Message),
    /// One that is written when it is empty too: some readers miss it otherwise.
    Values(Message),
}

#[derive(Clone, Copy)]
enum Scalar {
    Text,
    /// Bytes in hexadecimal.
    Id,
    Bytes,
    Bool,
    /// A number of at most 32 bits, or an enumeration's.
    Number,
    /// The same, in zigzag.
    Signed,
    /// 64 bits without a sign, which JSON has as text.
    Unsigned64,
    /// The same, packed as varints.
    Varint64,
    /// 64 bits with a sign, which JSON has as text.
    Signed64,
    Double,
}

use Kind::{List, One, Packed, Values};
use Scalar::{Bool, Bytes, Double, Id, Number, Signed, Signed64, Text, Unsigned64, Varint64};

const TRACES: Message = &[(1, "resourceSpans", List(RESOURCE_SPANS))];
const RESOURCE_SPANS: Message =
    &[(1, "resource", Kind::Message(RESOURCE)), (2, "scopeSpans", List(SCOPE_SPANS)), (3, "schemaUrl", One(Text))];
const SCOPE_SPANS: Message =
    &[(1, "scope", Kind::Message(SCOPE)), (2, "spans", List(SPAN)), (3, "schemaUrl", One(Text))];
const LOGS: Message = &[(1, "resourceLogs", List(RESOURCE_LOGS))];
const RESOURCE_LOGS: Message =
    &[(1, "resource", Kind::Message(RESOURCE)), (2, "scopeLogs", List(SCOPE_LOGS)), (3, "schemaUrl", One(Text))];
const SCOPE_LOGS: Message =
    &[(1, "scope", Kind::Message(SCOPE)), (2, "logRecords", List(LOG_RECORD)), (3, "schemaUrl", One(Text))];
const METRICS: Message = &[(1, "resourceMetrics", List(RESOURCE_METRICS))];
const RESOURCE_METRICS: Message =
    &[(1, "resource", Kind::Message(RESOURCE)), (2, "scopeMetrics", List(SCOPE_METRICS)), (3, "schemaUrl", One(Text))];
const SCOPE_METRICS: Message =
    &[(1, "scope", Kind::Message(SCOPE)), (2, "metrics", List(METRIC)), (3, "schemaUrl", One(Text))];

const RESOURCE: Message = &[(1, "attributes", List(&KEY_VALUE)), (2, "droppedAttributesCount", One(Number))];
const SCOPE: Message = &[
    (1, "name", One(Text)),
    (2, "version", One(Text)),
    (3, "attributes", List(&KEY_VALUE)),
    (4, "droppedAttributesCount", One(Number)),
];
/// With the next, it holds itself, which no constant can.
static KEY_VALUE: [Field; 2] = [(1, "key", One(Text)), (2, "value", Kind::Message(&ANY_VALUE))];
static ANY_VALUE: [Field; 7] = [
    (1, "stringValue", One(Text)),
    (2, "boolValue", One(Bool)),
    (3, "intValue", One(Signed64)),
    (4, "doubleValue", One(Double)),
    (5, "arrayValue", Kind::Message(&[(1, "values", Values(&ANY_VALUE))])),
    (6, "kvlistValue", Kind::Message(&[(1, "values", Values(&KEY_VALUE))])),
    (7, "bytesValue", One(Bytes)),
];

const SPAN: Message = &[
    (1, "traceId", One(Id)),
    (2, "spanId", One(Id)),
    (3, "traceState", One(Text)),
    (4, "parentSpanId", One(Id)),
    (5, "name", One(Text)),
    (6, "kind", One(Number)),
    (7, "startTimeUnixNano", One(Unsigned64)),
    (8, "endTimeUnixNano", One(Unsigned64)),
    (9, "attributes", List(&KEY_VALUE)),
    (10, "droppedAttributesCount", One(Number)),
    (11, "events", List(SPAN_EVENT)),
    (12, "droppedEventsCount", One(Number)),
    (13, "links", List(SPAN_LINK)),
    (14, "droppedLinksCount", One(Number)),
    (15, "status", Kind::Message(&[(2, "message", One(Text)), (3, "code", One(Number))])),
    (16, "flags", One(Number)),
];
const SPAN_EVENT: Message = &[
    (1, "timeUnixNano", One(Unsigned64)),
    (2, "name", One(Text)),
    (3, "attributes", List(&KEY_VALUE)),
    (4, "droppedAttributesCount", One(Number)),
];
const SPAN_LINK: Message = &[
    (1, "traceId", One(Id)),
    (2, "spanId", One(Id)),
    (3, "traceState", One(Text)),
    (4, "attributes", List(&KEY_VALUE)),
    (5, "droppedAttributesCount", One(Number)),
    (6, "flags", One(Number)),
];

const LOG_RECORD: Message = &[
    (1, "timeUnixNano", One(Unsigned64)),
    (2, "severityNumber", One(Number)),
    (3, "severityText", One(Text)),
    (5, "body", Kind::Message(&ANY_VALUE)),
    (6, "attributes", List(&KEY_VALUE)),
    (7, "droppedAttributesCount", One(Number)),
    (8, "flags", One(Number)),
    (9, "traceId", One(Id)),
    (10, "spanId", One(Id)),
    (11, "observedTimeUnixNano", One(Unsigned64)),
    (12, "eventName", One(Text)),
];

const METRIC: Message = &[
    (1, "name", One(Text)),
    (2, "description", One(Text)),
    (3, "unit", One(Text)),
    (5, "gauge", Kind::Message(&[(1, "dataPoints", List(NUMBER_POINT))])),
    (
        7,
        "sum",
        Kind::Message(&[
            (1, "dataPoints", List(NUMBER_POINT)),
            (2, "aggregationTemporality", One(Number)),
            (3, "isMonotonic", One(Bool)),
        ]),
    ),
    (
        9,
        "histogram",
        Kind::Message(&[(1, "dataPoints", List(HISTOGRAM_POINT)), (2, "aggregationTemporality", One(Number))]),
    ),
    (
        10,
        "exponentialHistogram",
        Kind::Message(&[(1, "dataPoints", List(EXPONENTIAL_POINT)), (2, "aggregationTemporality", One(Number))]),
    ),
    (12, "metadata", List(&KEY_VALUE)),
];
const NUMBER_POINT: Message = &[
    (2, "startTimeUnixNano", One(Unsigned64)),
    (3, "timeUnixNano", One(Unsigned64)),
    (4, "asDouble", One(Double)),
    (5, "exemplars", List(EXEMPLAR)),
    (6, "asInt", One(Signed64)),
    (7, "attributes", List(&KEY_VALUE)),
    (8, "flags", One(Number)),
];
const HISTOGRAM_POINT: Message = &[
    (2, "startTimeUnixNano", One(Unsigned64)),
    (3, "timeUnixNano", One(Unsigned64)),
    (4, "count", One(Unsigned64)),
    (5, "sum", One(Double)),
    (6, "bucketCounts", Packed(Unsigned64)),
    (7, "explicitBounds", Packed(Double)),
    (8, "exemplars", List(EXEMPLAR)),
    (9, "attributes", List(&KEY_VALUE)),
    (10, "flags", One(Number)),
    (11, "min", One(Double)),
    (12, "max", One(Double)),
];
const EXPONENTIAL_POINT: Message = &[
    (1, "attributes", List(&KEY_VALUE)),
    (2, "startTimeUnixNano", One(Unsigned64)),
    (3, "timeUnixNano", One(Unsigned64)),
    (4, "count", One(Unsigned64)),
    (5, "sum", One(Double)),
    (6, "scale", One(Signed)),
    (7, "zeroCount", One(Unsigned64)),
    (8, "positive", Kind::Message(BUCKETS)),
    (9, "negative", Kind::Message(BUCKETS)),
    (10, "flags", One(Number)),
    (11, "exemplars", List(EXEMPLAR)),
    (12, "min", One(Double)),
    (13, "max", One(Double)),
    (14, "zeroThreshold", One(Double)),
];
const BUCKETS: Message = &[(1, "offset", One(Signed)), (2, "bucketCounts", Packed(Varint64))];
const EXEMPLAR: Message = &[
    (2, "timeUnixNano", One(Unsigned64)),
    (3, "asDouble", One(Double)),
    (4, "spanId", One(Id)),
    (5, "traceId", One(Id)),
    (6, "asInt", One(Signed64)),
    (7, "filteredAttributes", List(&KEY_VALUE)),
];

#[inline]
fn put_message(json: &mut Vec<u8>, message: Message, bytes: &[u8]) -> Option<()> {
    let mut fields = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        fields.push(next_field(&mut rest)?);
    }
    let mut list = Separated::new(json, b'{');
    for (number, name, kind) in message {
        // The fields of one number stand together in JSON, wherever they are in the message.
        let mut values = fields.iter().filter(|(found, _)| found == number).map(|(_, value)| *value);
        let first = values.next();
        if first.is_none() && !matches!(kind, Values(_)) {
            continue;
        }
        let json = list.next();
        put_text(json, name);
        json.push(b':');
        match kind {
            // The last one counts.
            One(scalar) => put_scalar(json, *scalar, values.next_back().or(first)?)?,
            Kind::Message(message) => put_nested(json, message, values.next_back().or(first)?)?,
            List(message) | Values(message) => {
                let mut items = Separated::new(json, b'[');
                for value in first.into_iter().chain(values) {
                    put_nested(items.next(), message, value)?;
                }
                items.end(b']');
            }
            Packed(scalar) => {
                let mut items = Separated::new(json, b'[');
                for value in first.into_iter().chain(values) {
                    put_packed(&mut items, *scalar, value)?;
                }
                items.end(b']');
            }
        }
    }
    list.end(b'}');
    Some(())
}

#[inline]
fn put_nested(json: &mut Vec<u8>, message: Message, value: Wire<'_>) -> Option<()> {
    let Wire::Delimited(bytes) = value else { return None };
    put_message(json, message, bytes)
}

#[inline]
fn put_packed(items: &mut Separated<'_>, scalar: Scalar, value: Wire<'_>) -> Option<()> {
    let Wire::Delimited(mut bytes) = value else { return put_scalar(items.next(), scalar, value) };
    while !bytes.is_empty() {
        let number = match scalar {
            Varint64 => decode_varint(&mut bytes).ok()?,
            _ => take_fixed64(&mut bytes)?,
        };
        put_scalar(items.next(), scalar, Wire::Number(number))?;
    }
    Some(())
}

#[inline]
fn put_scalar(json: &mut Vec<u8>, scalar: Scalar, value: Wire<'_>) -> Option<()> {
    let mut put = |text: &str| json.extend_from_slice(text.as_bytes());
    match (scalar, value) {
        (Text, Wire::Delimited(bytes)) => put_text(json, core::str::from_utf8(bytes).ok()?),
        (Id, Wire::Delimited(bytes)) => {
            put("\"");
            for byte in bytes {
                put(&format!("{byte:02x}"));
            }
            put("\"");
        }
        (Bytes, Wire::Delimited(bytes)) => put_text(json, &BASE64.encode(bytes)),
        (Bool, Wire::Number(number)) => put(if number == 0 { "false" } else { "true" }),
        (Number, Wire::Number(number)) => put(&number.to_string()),
        (Signed, Wire::Number(number)) => {
            let magnitude = (number >> 1).cast_signed();
            put(&if number & 1 == 0 { magnitude } else { !magnitude }.to_string());
        }
        (Unsigned64 | Varint64, Wire::Number(number)) => put(&format!("\"{number}\"")),
        (Signed64, Wire::Number(number)) => put(&format!("\"{}\"", number.cast_signed())),
        (Double, Wire::Number(bits)) => match f64::from_bits(bits) {
            number if number.is_finite() => serde_json::to_writer(json, &number).ok()?,
            number if number.is_nan() => put("\"NaN\""),
            number => put(if number > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" }),
        },
        _ => return None,
    }
    Some(())
}

#[inline]
fn put_text(json: &mut Vec<u8>, text: &str) {
    // A Vec takes whatever is written, and a text has a form in JSON.
    let _ = serde_json::to_writer(json, text);
}

/// An object or a list that is being written.
struct Separated<'a> {
    json: &'a mut Vec<u8>,
    is_first: bool,
}

impl<'a> Separated<'a> {
    fn new(json: &'a mut Vec<u8>, open: u8) -> Self {
        json.push(open);
        Self { json, is_first: true }
    }

    fn next(&mut self) -> &mut Vec<u8> {
        if !core::mem::take(&mut self.is_first) {
            self.json.push(b',');
        }
        self.json
    }

    fn end(self, close: u8) {
        self.json.push(close);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{
        AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
    };
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::metrics::v1::{
        Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
        NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, exemplar, exponential_histogram_data_point::Buckets,
        metric::Data, number_data_point,
    };
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{
        ResourceSpans, ScopeSpans, Span, Status,
        span::{Event, Link},
    };
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn any(value: Value) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    fn attributes() -> Vec<KeyValue> {
        let inner = KeyValue { key: "inner".into(), value: Some(any(Value::BoolValue(true))), ..KeyValue::default() };
        let values = [
            Value::StringValue("a \"b\"\n\u{1}ü\u{2028}".into()),
            Value::StringValue(String::new()),
            Value::BoolValue(false),
            Value::IntValue(i64::MIN),
            Value::IntValue(9_007_199_254_740_993),
            Value::DoubleValue(0.1),
            Value::DoubleValue(-1e300),
            Value::ArrayValue(ArrayValue {
                values: vec![any(Value::IntValue(1)), any(Value::StringValue("x".into()))],
            }),
            Value::ArrayValue(ArrayValue { values: vec![] }),
            Value::KvlistValue(KeyValueList { values: vec![inner] }),
            Value::BytesValue(vec![0, 0xff, 7]),
        ];
        let key_value = |value| KeyValue { key: "key".into(), value: Some(any(value)), ..KeyValue::default() };
        values.into_iter().map(key_value).collect()
    }

    fn resource() -> Resource {
        Resource { attributes: attributes(), dropped_attributes_count: 3, ..Resource::default() }
    }

    fn scope() -> InstrumentationScope {
        InstrumentationScope {
            name: "meshspan".into(),
            version: "1".into(),
            attributes: attributes(),
            dropped_attributes_count: 4,
        }
    }

    /// What `opentelemetry-proto` reads is what was encoded.
    fn check<M>(signal: Signal, message: &M)
    where
        M: prost::Message + PartialEq + std::fmt::Debug + for<'de> serde::Deserialize<'de>,
    {
        let json = from_protobuf(signal, &message.encode_to_vec()).unwrap();
        let read: M = serde_json::from_slice(&json).unwrap_or_else(|error| {
            panic!("{error}: {}", String::from_utf8_lossy(&json));
        });
        assert_eq!(&read, message);
    }

    #[test]
    fn spans_are_read_back() {
        let ids = (vec![0xab; 16], vec![0x0c; 8]);
        let span = Span {
            trace_id: ids.0.clone(),
            span_id: ids.1.clone(),
            trace_state: "a=b".into(),
            parent_span_id: vec![1; 8],
            flags: 0x301,
            name: "GET".into(),
            kind: 2,
            start_time_unix_nano: 1_700_000_000_123_456_789,
            end_time_unix_nano: u64::MAX,
            attributes: attributes(),
            dropped_attributes_count: 1,
            events: vec![Event {
                time_unix_nano: 5,
                name: "event".into(),
                attributes: attributes(),
                dropped_attributes_count: 2,
            }],
            dropped_events_count: 3,
            links: vec![Link {
                trace_id: ids.0,
                span_id: ids.1,
                trace_state: "c=d".into(),
                attributes: attributes(),
                dropped_attributes_count: 4,
                flags: 1,
            }],
            dropped_links_count: 5,
            status: Some(Status { message: "no".into(), code: 2 }),
        };
        let scope_spans = ScopeSpans {
            scope: Some(scope()),
            spans: vec![span, Span::default()],
            schema_url: "https://schema.test".into(),
        };
        let resource_spans =
            ResourceSpans { resource: Some(resource()), scope_spans: vec![scope_spans], schema_url: "r".into() };
        check(Signal::Traces, &ExportTraceServiceRequest { resource_spans: vec![resource_spans] });
        check(Signal::Traces, &ExportTraceServiceRequest::default());
    }

    #[test]
    fn log_records_are_read_back() {
        let record = LogRecord {
            time_unix_nano: 1,
            observed_time_unix_nano: 2,
            severity_number: 17,
            severity_text: "ERROR".into(),
            body: Some(any(Value::StringValue("GET 500".into()))),
            attributes: attributes(),
            dropped_attributes_count: 6,
            flags: 1,
            trace_id: vec![0xab; 16],
            span_id: vec![0xcd; 8],
            event_name: "event".into(),
        };
        let scope_logs = ScopeLogs { scope: Some(scope()), log_records: vec![record], schema_url: "s".into() };
        let resource_logs =
            ResourceLogs { resource: Some(resource()), scope_logs: vec![scope_logs], schema_url: "r".into() };
        check(Signal::Logs, &ExportLogsServiceRequest { resource_logs: vec![resource_logs] });
    }

    #[test]
    fn metrics_are_read_back() {
        let exemplars = vec![Exemplar {
            filtered_attributes: attributes(),
            time_unix_nano: 3,
            span_id: vec![1; 8],
            trace_id: vec![2; 16],
            value: Some(exemplar::Value::AsDouble(0.25)),
        }];
        let number = |value| NumberDataPoint {
            attributes: attributes(),
            start_time_unix_nano: 1,
            time_unix_nano: 2,
            exemplars: exemplars.clone(),
            flags: 1,
            value: Some(value),
        };
        let histogram = HistogramDataPoint {
            attributes: attributes(),
            start_time_unix_nano: 1,
            time_unix_nano: 2,
            count: 7,
            sum: Some(1.5),
            bucket_counts: vec![0, 7, u64::MAX],
            explicit_bounds: vec![0.005, 10.0],
            exemplars: exemplars.clone(),
            flags: 0,
            min: Some(0.0),
            max: Some(0.5),
        };
        let buckets = |offset| Some(Buckets { offset, bucket_counts: vec![1, 0, 300, u64::MAX] });
        let exponential = ExponentialHistogramDataPoint {
            attributes: attributes(),
            start_time_unix_nano: 1,
            time_unix_nano: 2,
            count: 8,
            sum: Some(-1.5),
            scale: -4,
            zero_count: 9,
            positive: buckets(i32::MIN),
            negative: buckets(5),
            flags: 1,
            exemplars: exemplars.clone(),
            min: Some(1.0),
            max: Some(2.0),
            zero_threshold: 1e-9,
        };
        let metric = |data| Metric {
            name: "name".into(),
            description: "words".into(),
            unit: "s".into(),
            metadata: attributes(),
            data: Some(data),
        };
        let metrics = vec![
            metric(Data::Gauge(Gauge { data_points: vec![number(number_data_point::Value::AsInt(-5))] })),
            metric(Data::Sum(Sum {
                data_points: vec![number(number_data_point::Value::AsDouble(5.0))],
                aggregation_temporality: 2,
                is_monotonic: true,
            })),
            metric(Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality: 1 })),
            metric(Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![exponential],
                aggregation_temporality: 1,
            })),
        ];
        let scope_metrics = ScopeMetrics { scope: Some(scope()), metrics, schema_url: "s".into() };
        let resource_metrics =
            ResourceMetrics { resource: Some(resource()), scope_metrics: vec![scope_metrics], schema_url: "r".into() };
        check(Signal::Metrics, &ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics] });
    }

    #[test]
    fn what_json_has_no_number_for_is_text() {
        let point = |value| {
            let mut bytes = Vec::new();
            crate::protobuf::put_fixed64(&mut bytes, 4, f64::to_bits(value));
            let mut json = Vec::new();
            put_message(&mut json, NUMBER_POINT, &bytes).unwrap();
            String::from_utf8(json).unwrap()
        };
        assert_eq!(point(f64::NAN), r#"{"asDouble":"NaN"}"#);
        assert_eq!(point(f64::INFINITY), r#"{"asDouble":"Infinity"}"#);
        assert_eq!(point(f64::NEG_INFINITY), r#"{"asDouble":"-Infinity"}"#);
        assert_eq!(point(0.0), r#"{"asDouble":0.0}"#);
    }

    #[test]
    fn what_is_no_request_is_none() {
        let table: &[(&[u8], &str)] = &[
            (b"\x0a\x05a", "cut short"),
            (b"\x08\x01", "a number where a message belongs"),
            (b"\x0b", "a group"),
            (b"\x0a\x05\x0a\x03\x0a\x01\xff", "text of a message that is none"),
        ];
        for (bytes, why) in table {
            assert_eq!(from_protobuf(Signal::Traces, bytes), None, "{why}");
        }
        assert_eq!(from_protobuf(Signal::Traces, b"").as_deref(), Some(&b"{}"[..]));
    }
}
