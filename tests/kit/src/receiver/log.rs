//! A received log record with all that OTLP says around it.

use std::fmt;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::Protocol;
use super::span::{as_text, attributes_json, find, hex};

/// One log record, flattened out of `resource_logs` and `scope_logs`.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedLog {
    /// How it came.
    pub protocol: Protocol,
    /// The resource it belongs to.
    pub resource: Resource,
    /// The scope it belongs to.
    pub scope: InstrumentationScope,
    /// `ScopeLogs.schema_url`.
    pub scope_schema_url: String,
    /// The record itself.
    pub record: LogRecord,
}

impl ReceivedLog {
    /// All records of an export request, in order.
    pub fn all_of(export: &ExportLogsServiceRequest, protocol: Protocol) -> Vec<Self> {
        let mut records = Vec::new();
        for of_resource in &export.resource_logs {
            for of_scope in &of_resource.scope_logs {
                records.extend(of_scope.log_records.iter().map(|record| Self {
                    protocol,
                    resource: of_resource.resource.clone().unwrap_or_default(),
                    scope: of_scope.scope.clone().unwrap_or_default(),
                    scope_schema_url: of_scope.schema_url.clone(),
                    record: record.clone(),
                }));
            }
        }
        records
    }

    /// The trace id, 32 lower-case hexadecimal digits; empty where there is none.
    pub fn trace_id(&self) -> String {
        hex(&self.record.trace_id)
    }

    /// The span id, 16 lower-case hexadecimal digits; empty where there is none.
    pub fn span_id(&self) -> String {
        hex(&self.record.span_id)
    }

    /// `SeverityNumber`.
    pub const fn severity(&self) -> i32 {
        self.record.severity_number
    }

    /// The body, where it is a text.
    pub fn body(&self) -> &str {
        self.record.body.as_ref().and_then(|body| body.value.as_ref()).and_then(as_text).unwrap_or("")
    }

    /// An attribute.
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        find(&self.record.attributes, key)
    }

    /// An attribute that is a string.
    pub fn text(&self, key: &str) -> Option<&str> {
        as_text(self.attribute(key)?)
    }

    /// `service.name` of the resource; empty when there is none.
    pub fn service(&self) -> &str {
        find(&self.resource.attributes, "service.name").and_then(as_text).unwrap_or("")
    }

    /// The attributes as JSON for people.
    pub fn attributes_json(&self) -> serde_json::Value {
        attributes_json(&self.record.attributes)
    }
}

impl fmt::Display for ReceivedLog {
    /// One line: service, severity, body, ids.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (service, severity, body) = (self.service(), &self.record.severity_text, self.body());
        write!(formatter, "{service} {severity} {body:?} trace={} span={}", self.trace_id(), self.span_id())
    }
}
