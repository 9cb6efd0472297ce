//! Encoded attributes, read again: to take them over into another message, or to write them as JSON.

use crate::config::SpanLimits;
use crate::otlp::{AnyValue, put_key_value};
use crate::protobuf::{Field, next_field, put_delimited_head};
use crate::span::cut;

/// What came of taking attributes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reduced {
    /// How many were left out.
    pub(super) dropped: u32,
}

/// Appends encoded attributes (of whatever field) as fields `field`, within `limits`.
pub(super) fn put_attributes(buffer: &mut Vec<u8>, field: u32, mut encoded: &[u8], limits: SpanLimits) -> Reduced {
    let (mut count, mut dropped) = (0_u32, 0_u32);
    while let Some((_, Field::Delimited(key_value))) = next_field(&mut encoded) {
        if count >= limits.attribute_count {
            dropped = dropped.saturating_add(1);
            continue;
        }
        count = count.saturating_add(1);
        match limits.attribute_value_length.and_then(|limit| shortened(key_value, limit)) {
            Some((key, Value::Text(text))) => put_key_value(buffer, field, key, AnyValue::Text(text)),
            Some((key, Value::Texts(texts))) => {
                let items: Vec<_> = texts.iter().map(|text| AnyValue::Text(text)).collect();
                put_key_value(buffer, field, key, AnyValue::Array(&items));
            }
            Some(_) | None => {
                put_delimited_head(buffer, field, key_value.len());
                buffer.extend_from_slice(key_value);
            }
        }
    }
    Reduced { dropped }
}

/// The attribute with its texts cut to `limit` characters; `None` where there is nothing to cut.
fn shortened(key_value: &[u8], limit: u32) -> Option<(&str, Value<'_>)> {
    // No text has more characters than the whole attribute has bytes.
    if u32::try_from(key_value.len()).is_ok_and(|length| length <= limit) {
        return None;
    }
    match read_key_value(key_value)? {
        (key, Value::Text(text)) => Some((key, Value::Text(cut(text, Some(limit))))),
        (key, Value::Texts(texts)) => {
            Some((key, Value::Texts(texts.into_iter().map(|text| cut(text, Some(limit))).collect())))
        }
        _ => None,
    }
}

/// A value that a span's attribute can have.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Texts(Vec<&'a str>),
    Bool(bool),
    Int(i64),
    Double(f64),
}

/// The attributes of an encoded list.
pub(super) fn read_attributes(mut encoded: &[u8]) -> impl Iterator<Item = (&str, Value<'_>)> {
    core::iter::from_fn(move || match next_field(&mut encoded)? {
        (_, Field::Delimited(key_value)) => read_key_value(key_value),
        _ => None,
    })
}

fn read_key_value(mut bytes: &[u8]) -> Option<(&str, Value<'_>)> {
    let (1, Field::Delimited(key)) = next_field(&mut bytes)? else { return None };
    let (2, Field::Delimited(value)) = next_field(&mut bytes)? else { return None };
    Some((core::str::from_utf8(key).ok()?, read_value(value)?))
}

fn read_value(mut bytes: &[u8]) -> Option<Value<'_>> {
    Some(match next_field(&mut bytes)? {
        (1, Field::Delimited(text)) => Value::Text(core::str::from_utf8(text).ok()?),
        (2, Field::Number(truth)) => Value::Bool(truth != 0),
        (3, Field::Number(number)) => Value::Int(number.cast_signed()),
        (4, Field::Number(bits)) => Value::Double(f64::from_bits(bits)),
        (5, Field::Delimited(mut items)) => {
            let mut texts = Vec::new();
            while let Some((_, Field::Delimited(item))) = next_field(&mut items) {
                let Value::Text(text) = read_value(item)? else { return None };
                texts.push(text);
            }
            Value::Texts(texts)
        }
        _ => return None,
    })
}
