//! OTLP's messages that are written by hand: `KeyValue` and `AnyValue`, `Resource`, `InstrumentationScope`
//! (opentelemetry-proto: common/v1, resource/v1). Spans have a module of their own.

use crate::attribute::{Attribute, AttributeValue};
use crate::config::SCOPE_NAME;
use crate::protobuf::{delimited_len, put_bytes, put_delimited_head, put_fixed64, put_uint};

/// A value to encode.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AnyValue<'a> {
    Text(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    Array(&'a [AnyValue<'a>]),
}

/// Appends the fields of an `AnyValue` message.
pub(crate) fn put_any_value(buffer: &mut Vec<u8>, value: AnyValue<'_>) {
    match value {
        AnyValue::Text(text) => put_bytes(buffer, 1, text.as_bytes()),
        AnyValue::Bool(truth) => put_uint(buffer, 2, u64::from(truth)),
        AnyValue::Int(number) => put_uint(buffer, 3, number.cast_unsigned()),
        AnyValue::Double(number) => put_fixed64(buffer, 4, number.to_bits()),
        AnyValue::Array(items) => {
            let len = items.iter().fold(0_usize, |sum, item| sum.saturating_add(delimited_len(any_value_len(*item))));
            put_delimited_head(buffer, 5, len);
            for item in items {
                put_delimited_head(buffer, 1, any_value_len(*item));
                put_any_value(buffer, *item);
            }
        }
    }
}

/// How many bytes [`put_any_value`] appends.
pub(crate) fn any_value_len(value: AnyValue<'_>) -> usize {
    match value {
        AnyValue::Text(text) => delimited_len(text.len()),
        AnyValue::Bool(_) => 2,
        AnyValue::Int(number) => crate::protobuf::varint_len(number.cast_unsigned()).saturating_add(1),
        AnyValue::Double(_) => 9,
        AnyValue::Array(items) => delimited_len(
            items.iter().fold(0_usize, |sum, item| sum.saturating_add(delimited_len(any_value_len(*item)))),
        ),
    }
}

/// Appends a `KeyValue` as field `field` of the message around it.
pub(crate) fn put_key_value(buffer: &mut Vec<u8>, field: u32, key: &str, value: AnyValue<'_>) {
    if put_short_key_value(buffer, field, key, value) {
        return;
    }
    let value_len = any_value_len(value);
    put_delimited_head(buffer, field, delimited_len(key.len()).saturating_add(delimited_len(value_len)));
    put_bytes(buffer, 1, key.as_bytes());
    put_delimited_head(buffer, 2, value_len);
    put_any_value(buffer, value);
}

/// [`put_key_value`] where every length fits one byte, as for most attributes: in few copies. Else nothing is done.
fn put_short_key_value(buffer: &mut Vec<u8>, field: u32, key: &str, value: AnyValue<'_>) -> bool {
    // The value as an `AnyValue` message: a head, and a text behind it.
    let mut number = [0; 11];
    let (head, text): (&[u8], &str) = match value {
        AnyValue::Text(text) => match u8::try_from(text.len()) {
            Ok(length) => (&[0x0a, length], text),
            Err(_) => return false,
        },
        AnyValue::Bool(truth) => (&[0x10, u8::from(truth)], ""),
        AnyValue::Int(value) => (write_int(&mut number, value.cast_unsigned()), ""),
        AnyValue::Double(_) | AnyValue::Array(_) => return false,
    };
    let (Ok(key_len), Ok(value_len)) = (u8::try_from(key.len()), u8::try_from(head.len().saturating_add(text.len())))
    else {
        return false;
    };
    let length = key_len.saturating_add(value_len).saturating_add(4);
    let Some(field) = u8::try_from(field).ok().filter(|field| *field < 16 && length < 0x80) else { return false };
    buffer.reserve(usize::from(length).saturating_add(2));
    buffer.extend_from_slice(&[field << 3 | 2, length, 0x0a, key_len]);
    buffer.extend_from_slice(key.as_bytes());
    buffer.extend_from_slice(&[0x12, value_len]);
    buffer.extend_from_slice(head);
    buffer.extend_from_slice(text.as_bytes());
    true
}

/// `AnyValue.int_value`, key and varint, in the front of `buffer`.
fn write_int(buffer: &mut [u8; 11], value: u64) -> &[u8] {
    let mut rest = value;
    let mut used: usize = 1;
    let mut slots = buffer.iter_mut();
    if let Some(key) = slots.next() {
        *key = 0x18;
    }
    for slot in slots {
        used = used.saturating_add(1);
        let low = rest.to_le_bytes()[0] & 0x7f;
        rest >>= 7;
        if rest == 0 {
            *slot = low;
            break;
        }
        *slot = low | 0x80;
    }
    buffer.get(..used).unwrap_or_default()
}

/// Appends a configured attribute as a `KeyValue`.
pub(crate) fn put_attribute(buffer: &mut Vec<u8>, field: u32, attribute: &Attribute) {
    let mut put = |value| put_key_value(buffer, field, &attribute.name, value);
    match &attribute.value {
        AttributeValue::String(text) => put(AnyValue::Text(text)),
        AttributeValue::Bool(truth) => put(AnyValue::Bool(*truth)),
        AttributeValue::Int(number) => put(AnyValue::Int(*number)),
        AttributeValue::Double(number) => put(AnyValue::Double(*number)),
        AttributeValue::StringArray(items) => {
            put(AnyValue::Array(&items.iter().map(|item| AnyValue::Text(item)).collect::<Vec<_>>()));
        }
        AttributeValue::BoolArray(items) => {
            put(AnyValue::Array(&items.iter().map(|item| AnyValue::Bool(*item)).collect::<Vec<_>>()));
        }
        AttributeValue::IntArray(items) => {
            put(AnyValue::Array(&items.iter().map(|item| AnyValue::Int(*item)).collect::<Vec<_>>()));
        }
        AttributeValue::DoubleArray(items) => {
            put(AnyValue::Array(&items.iter().map(|item| AnyValue::Double(*item)).collect::<Vec<_>>()));
        }
    }
}

/// The part of every export request that stands before its items: resource and scope, encoded once.
///
/// The same bytes for each signal: `ExportTraceServiceRequest`, `ExportLogsServiceRequest` and
/// `ExportMetricsServiceRequest` number their fields alike, down to the items (field 2 of the scope's message).
#[derive(Clone, Debug)]
pub struct Envelope {
    /// `ResourceSpans`' fields before `scope_spans`.
    resource: Vec<u8>,
    /// `ScopeSpans`' fields before `spans`.
    scope: Vec<u8>,
}

/// The field of an item in the message of its scope (`ScopeSpans.spans`, `ScopeLogs.log_records`,
/// `ScopeMetrics.metrics`).
pub(crate) const ITEM_FIELD: u32 = 2;

impl Envelope {
    /// For these resource attributes. `resource_schema_url` is the resource's, `scope_schema_url` that of the
    /// items' attribute names.
    #[inline]
    pub fn new(attributes: &[Attribute], resource_schema_url: Option<&str>, scope_schema_url: &str) -> Self {
        let mut message = Vec::new();
        for attribute in attributes {
            put_attribute(&mut message, 1, attribute);
        }
        let mut resource = Vec::new();
        put_bytes(&mut resource, 1, &message);
        if let Some(url) = resource_schema_url {
            put_bytes(&mut resource, 3, url.as_bytes());
        }
        let mut message = Vec::new();
        put_bytes(&mut message, 1, SCOPE_NAME.as_bytes());
        put_bytes(&mut message, 2, crate::VERSION.as_bytes());
        let mut scope = Vec::new();
        put_bytes(&mut scope, 1, &message);
        put_bytes(&mut scope, 3, scope_schema_url.as_bytes());
        Self { resource, scope }
    }

    /// What a request is larger than its items at most, bytes.
    pub fn overhead(&self) -> usize {
        // Each of the two messages around the items has a head of a byte and a length of up to ten.
        self.resource.len().saturating_add(self.scope.len()).saturating_add(22)
    }

    /// Appends a whole request around `items`, which are encoded fields of the scope's message ([`ITEM_FIELD`]).
    pub fn put_request(&self, buffer: &mut Vec<u8>, items: &[u8]) {
        let of_scope = self.scope.len().saturating_add(items.len());
        let of_resource = self.resource.len().saturating_add(delimited_len(of_scope));
        buffer.reserve(of_resource.saturating_add(32));
        put_delimited_head(buffer, 1, of_resource);
        buffer.extend_from_slice(&self.resource);
        put_delimited_head(buffer, 2, of_scope);
        buffer.extend_from_slice(&self.scope);
        buffer.extend_from_slice(items);
    }
}
