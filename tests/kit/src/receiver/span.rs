//! A received span with all that OTLP says around it.

use std::fmt;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::Protocol;

/// One span, flattened out of `resource_spans` and `scope_spans`.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedSpan {
    /// How it came.
    pub protocol: Protocol,
    /// The resource it belongs to.
    pub resource: Resource,
    /// `ResourceSpans.schema_url`.
    pub resource_schema_url: String,
    /// The scope it belongs to.
    pub scope: InstrumentationScope,
    /// `ScopeSpans.schema_url`.
    pub scope_schema_url: String,
    /// The span itself.
    pub span: Span,
}

impl ReceivedSpan {
    /// All spans of an export request, in order.
    pub fn all_of(export: &ExportTraceServiceRequest, protocol: Protocol) -> Vec<Self> {
        let mut spans = Vec::new();
        for of_resource in &export.resource_spans {
            for of_scope in &of_resource.scope_spans {
                spans.extend(of_scope.spans.iter().map(|span| Self {
                    protocol,
                    resource: of_resource.resource.clone().unwrap_or_default(),
                    resource_schema_url: of_resource.schema_url.clone(),
                    scope: of_scope.scope.clone().unwrap_or_default(),
                    scope_schema_url: of_scope.schema_url.clone(),
                    span: span.clone(),
                }));
            }
        }
        spans
    }

    /// The trace id, 32 lower-case hexadecimal digits (what was received, even when it is shorter).
    pub fn trace_id(&self) -> String {
        hex(&self.span.trace_id)
    }

    /// The span id, 16 lower-case hexadecimal digits.
    pub fn span_id(&self) -> String {
        hex(&self.span.span_id)
    }

    /// The parent's span id; `None` at a root.
    pub fn parent_id(&self) -> Option<String> {
        (!self.span.parent_span_id.is_empty()).then(|| hex(&self.span.parent_span_id))
    }

    /// The span's name.
    pub fn name(&self) -> &str {
        &self.span.name
    }

    /// The span's kind.
    pub fn kind(&self) -> SpanKind {
        self.span.kind()
    }

    /// The status code; unset when there is no status.
    pub fn status(&self) -> StatusCode {
        self.span.status.as_ref().map_or(StatusCode::Unset, opentelemetry_proto::tonic::trace::v1::Status::code)
    }

    /// The status message; empty when there is none.
    pub fn status_message(&self) -> &str {
        self.span.status.as_ref().map_or("", |status| status.message.as_str())
    }

    /// End minus start; zero when the end lies before the start.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.span.end_time_unix_nano.saturating_sub(self.span.start_time_unix_nano))
    }

    /// `service.name` of the resource; empty when there is none.
    pub fn service(&self) -> &str {
        self.resource_text("service.name").unwrap_or("")
    }

    /// A span attribute.
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        find(&self.span.attributes, key)
    }

    /// A span attribute that is a string.
    pub fn text(&self, key: &str) -> Option<&str> {
        as_text(self.attribute(key)?)
    }

    /// A span attribute that is an integer.
    pub fn integer(&self, key: &str) -> Option<i64> {
        match self.attribute(key)? {
            Value::IntValue(value) => Some(*value),
            _ => None,
        }
    }

    /// A span attribute that is a double.
    pub fn double(&self, key: &str) -> Option<f64> {
        match self.attribute(key)? {
            Value::DoubleValue(value) => Some(*value),
            _ => None,
        }
    }

    /// A span attribute that is a boolean.
    pub fn boolean(&self, key: &str) -> Option<bool> {
        match self.attribute(key)? {
            Value::BoolValue(value) => Some(*value),
            _ => None,
        }
    }

    /// A span attribute that is an array of strings.
    pub fn texts(&self, key: &str) -> Option<Vec<&str>> {
        match self.attribute(key)? {
            Value::ArrayValue(array) => {
                array.values.iter().map(|value| value.value.as_ref().and_then(as_text)).collect()
            }
            _ => None,
        }
    }

    /// The keys of the span's attributes, sorted.
    pub fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<_> = self.span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        keys.sort_unstable();
        keys
    }

    /// A resource attribute.
    pub fn resource_attribute(&self, key: &str) -> Option<&Value> {
        find(&self.resource.attributes, key)
    }

    /// A resource attribute that is a string.
    pub fn resource_text(&self, key: &str) -> Option<&str> {
        as_text(self.resource_attribute(key)?)
    }

    /// The span as JSON for people: ids in hexadecimal, attributes as an object.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "trace_id": self.trace_id(),
            "span_id": self.span_id(),
            "parent_span_id": self.parent_id(),
            "trace_state": self.span.trace_state,
            "flags": self.span.flags,
            "name": self.name(),
            "kind": self.kind().as_str_name().trim_start_matches("SPAN_KIND_"),
            "start_time_unix_nano": self.span.start_time_unix_nano,
            "end_time_unix_nano": self.span.end_time_unix_nano,
            "status": {
                "code": self.status().as_str_name().trim_start_matches("STATUS_CODE_"),
                "message": self.status_message(),
            },
            "attributes": attributes_json(&self.span.attributes),
            "resource": attributes_json(&self.resource.attributes),
            "scope": {"name": self.scope.name, "version": self.scope.version},
            "protocol": format!("{:?}", self.protocol),
        })
    }
}

impl fmt::Display for ReceivedSpan {
    /// One line: service, kind, name, ids, status.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {:?} {:?} trace={} span={} parent={} status={:?}",
            self.service(),
            self.kind(),
            self.name(),
            self.trace_id(),
            self.span_id(),
            self.parent_id().as_deref().unwrap_or("-"),
            self.status(),
        )
    }
}

pub(super) fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

pub(super) fn as_text(value: &Value) -> Option<&str> {
    match value {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

pub(super) fn attributes_json(attributes: &[KeyValue]) -> serde_json::Value {
    let pairs = attributes.iter().map(|attribute| {
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
        (attribute.key.clone(), value.map_or(serde_json::Value::Null, value_json))
    });
    serde_json::Value::Object(pairs.collect())
}

fn value_json(value: &Value) -> serde_json::Value {
    match value {
        Value::StringValue(text) => text.as_str().into(),
        Value::BoolValue(value) => (*value).into(),
        Value::IntValue(value) => (*value).into(),
        Value::DoubleValue(value) => (*value).into(),
        Value::BytesValue(bytes) => hex(bytes).into(),
        Value::ArrayValue(array) => {
            let values = array.values.iter().map(|v| v.value.as_ref().map_or(serde_json::Value::Null, value_json));
            serde_json::Value::Array(values.collect())
        }
        Value::KvlistValue(list) => attributes_json(&list.values),
        Value::StringValueStrindex(index) => format!("string table entry {index}").into(),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
