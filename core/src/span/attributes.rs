//! Attributes of a span that is being recorded: encoded as they come, within the span's limits.

use crate::config::SpanLimits;
use crate::masking::Masked;
use crate::otlp::{AnyValue, put_key_value};

/// An attribute's value. Text is masked text, by type.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A text.
    Text(&'a Masked<'a>),
    /// A list of texts.
    Texts(&'a [Masked<'a>]),
    /// A signed integer.
    Int(i64),
    /// A double.
    Double(f64),
    /// A truth.
    Bool(bool),
}

/// The attributes of one span, as encoded `Span.attributes` fields.
///
/// Attributes above the count limit are not recorded and counted; strings above the length limit are cut after
/// that many characters (OpenTelemetry specification, "Attribute Limits").
#[derive(Clone, Debug)]
pub struct SpanAttributes {
    bytes: Vec<u8>,
    count: u32,
    dropped: u32,
    limits: SpanLimits,
}

impl SpanAttributes {
    /// Empty, in a buffer that is used again: its content goes, its room stays.
    pub fn new(limits: SpanLimits, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { bytes: buffer, count: 0, dropped: 0, limits }
    }

    /// Records one attribute. The caller never gives the same key twice.
    pub fn put(&mut self, key: &str, value: Value<'_>) {
        if self.count >= self.limits.attribute_count {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.count = self.count.saturating_add(1);
        match value {
            Value::Text(text) => {
                let text = cut(text.as_str(), self.limits.attribute_value_length);
                put_key_value(&mut self.bytes, 9, key, AnyValue::Text(text));
            }
            Value::Texts(texts) => {
                let items: Vec<_> = texts
                    .iter()
                    .map(|text| AnyValue::Text(cut(text.as_str(), self.limits.attribute_value_length)))
                    .collect();
                put_key_value(&mut self.bytes, 9, key, AnyValue::Array(&items));
            }
            Value::Int(number) => put_key_value(&mut self.bytes, 9, key, AnyValue::Int(number)),
            Value::Double(number) => put_key_value(&mut self.bytes, 9, key, AnyValue::Double(number)),
            Value::Bool(truth) => put_key_value(&mut self.bytes, 9, key, AnyValue::Bool(truth)),
        }
    }

    /// Records a text, cut to the limit like every other.
    pub fn put_text(&mut self, key: &str, text: &Masked<'_>) {
        self.put(key, Value::Text(text));
    }

    /// Records an integer that came as a size or a count; above `i64::MAX` it stays there.
    pub fn put_count(&mut self, key: &str, number: u64) {
        self.put(key, Value::Int(i64::try_from(number).unwrap_or(i64::MAX)));
    }

    /// How many were turned away.
    pub const fn dropped(&self) -> u32 {
        self.dropped
    }

    /// The encoded fields.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The buffer, to be used again.
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

/// The first `limit` characters.
fn cut(text: &str, limit: Option<u32>) -> &str {
    let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { return text };
    // No text has more characters than bytes, so the common case needs no counting.
    if text.len() <= limit {
        return text;
    }
    match text.char_indices().nth(limit) {
        Some((end, _)) => text.get(..end).unwrap_or(text),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        let table: &[(&str, Option<u32>, &str, &str)] = &[
            ("abc", None, "abc", "no limit"),
            ("abc", Some(3), "abc", "exactly at the limit"),
            ("abc", Some(2), "ab", "one over"),
            ("abc", Some(0), "", "a limit of nothing"),
            ("äöü", Some(2), "äö", "characters, not bytes"),
            ("a\u{1f600}b", Some(2), "a\u{1f600}", "never inside a character"),
            ("a\u{1f600}b", Some(5), "a\u{1f600}b", "more bytes than characters"),
        ];
        for (text, limit, expected, why) in table {
            assert_eq!(cut(text, *limit), *expected, "{why}");
        }
    }

    #[test]
    fn attributes_above_the_limit_are_counted() {
        let limits = SpanLimits { attribute_value_length: None, attribute_count: 2 };
        let mut attributes = SpanAttributes::new(limits, Vec::new());
        for key in ["a", "b", "c", "d"] {
            attributes.put(key, Value::Int(1));
        }
        assert_eq!((attributes.count, attributes.dropped()), (2, 2));
    }
}
