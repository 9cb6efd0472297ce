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
    /// Truth.
    Bool(bool),
}

/// The attributes of one span, as encoded `Span.attributes` fields.
///
/// Attributes above the count limit are not recorded and counted; strings above the length limit are cut after
/// that many characters (OpenTelemetry specification, "Attribute Limits"). The standard's length limit is none, and
/// headers can be long: so all attributes together have a cap in bytes too. A text that goes beyond it is cut; a list
/// that does, and what has no room left at all, is dropped.
#[derive(Clone, Debug)]
pub struct SpanAttributes {
    bytes: Vec<u8>,
    count: u32,
    dropped: u32,
    truncated: u32,
    limits: SpanLimits,
}

impl SpanAttributes {
    /// Empty.
    pub fn new(limits: SpanLimits) -> Self {
        Self { bytes: Vec::with_capacity(1024), count: 0, dropped: 0, truncated: 0, limits }
    }

    /// Records one attribute. The caller never gives the same key twice.
    pub fn put(&mut self, key: &str, value: Value<'_>) {
        let cap = usize::try_from(self.limits.attribute_bytes).unwrap_or(usize::MAX);
        let room = cap.saturating_sub(self.bytes.len());
        let length = self.limits.attribute_value_length;
        let frame = key.len().saturating_add(FRAME);
        let needed = match value {
            Value::Text(_) | Value::Int(_) | Value::Double(_) | Value::Bool(_) => frame,
            Value::Texts(texts) => texts.iter().fold(frame, |sum, text| {
                sum.saturating_add(cut(text.as_str(), length).len()).saturating_add(ITEM_FRAME)
            }),
        };
        if self.count >= self.limits.attribute_count || needed > room {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.count = self.count.saturating_add(1);
        match value {
            Value::Text(text) => {
                let text = cut(text.as_str(), length);
                let fitting = text.get(..text.floor_char_boundary(room.saturating_sub(needed))).unwrap_or_default();
                if fitting.len() < text.len() {
                    self.truncated = self.truncated.saturating_add(1);
                }
                put_key_value(&mut self.bytes, 9, key, AnyValue::Text(fitting));
            }
            Value::Texts(texts) => {
                let items: Vec<_> = texts.iter().map(|text| AnyValue::Text(cut(text.as_str(), length))).collect();
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

    /// Records an attribute that was encoded before, for a span of the same limits. `false`: there may not be enough room
    /// for it as a whole, and nothing was done.
    pub(crate) fn put_encoded(&mut self, attribute: &EncodedAttribute) -> bool {
        let cap = usize::try_from(self.limits.attribute_bytes).unwrap_or(usize::MAX);
        let needed = self.bytes.len().saturating_add(attribute.0.len()).saturating_add(FRAME);
        if self.count >= self.limits.attribute_count || needed > cap {
            return false;
        }
        self.count = self.count.saturating_add(1);
        self.bytes.extend_from_slice(&attribute.0);
        true
    }

    /// Records a text, and keeps what that came to in `kept`, to be recorded again with
    /// [`put_encoded`](Self::put_encoded). `false`: it was not recorded as a whole, and `kept` means nothing.
    pub(crate) fn put_text_keeping(&mut self, key: &str, text: &Masked<'_>, kept: &mut EncodedAttribute) -> bool {
        let (before, count, truncated) = (self.bytes.len(), self.count, self.truncated);
        self.put_text(key, text);
        kept.0.clear();
        kept.0.extend_from_slice(self.bytes.get(before..).unwrap_or_default());
        self.count > count && self.truncated == truncated
    }

    /// How many were turned away.
    pub const fn dropped(&self) -> u32 {
        self.dropped
    }

    /// How many texts were cut because of the cap in bytes.
    pub const fn truncated(&self) -> u32 {
        self.truncated
    }

    /// The encoded fields.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// One attribute as it stands in a span.
#[derive(Clone, Debug, Default)]
pub(crate) struct EncodedAttribute(Vec<u8>);

/// What an attribute's encoding takes at most beside its key and its texts.
const FRAME: usize = 24;

/// What the encoding of a list's item takes at most beside its text.
const ITEM_FRAME: usize = 12;

/// The first `limit` characters.
pub(crate) fn cut(text: &str, limit: Option<u32>) -> &str {
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
        let limits = SpanLimits { attribute_count: 2, ..SpanLimits::default() };
        let mut attributes = SpanAttributes::new(limits);
        for key in ["a", "b", "c", "d"] {
            attributes.put(key, Value::Int(1));
        }
        assert_eq!((attributes.count, attributes.dropped()), (2, 2));
    }

    #[test]
    fn a_list_counts_as_it_is_cut() {
        let long = "x".repeat(2_000);
        let list = [Masked::configured(&long)];
        let limits = SpanLimits { attribute_bytes: 1_024, attribute_value_length: Some(16), ..SpanLimits::default() };
        let mut attributes = SpanAttributes::new(limits);
        attributes.put("list", Value::Texts(&list));
        assert_eq!(attributes.dropped(), 0, "sixteen characters fit");
        for length in 0..1_100 {
            let limits = SpanLimits { attribute_value_length: Some(length), ..limits };
            let mut attributes = SpanAttributes::new(limits);
            attributes.put("list", Value::Texts(&list));
            assert!(attributes.as_bytes().len() <= 1_024, "{length}: {}", attributes.as_bytes().len());
        }
    }

    #[test]
    fn all_attributes_together_have_a_cap() {
        let limits = SpanLimits { attribute_bytes: 1_000, ..SpanLimits::default() };
        let mut attributes = SpanAttributes::new(limits);
        let long = "\u{e4}".repeat(2_000);
        let long = Masked::configured(&long);
        attributes.put_text("first", &long);
        assert_eq!((attributes.dropped(), attributes.truncated()), (0, 1), "cut to what fits");
        assert!((900..=1_000).contains(&attributes.as_bytes().len()), "{}", attributes.as_bytes().len());
        attributes.put_text("second", &long);
        attributes.put("third", Value::Int(1));
        attributes.put("fourth", Value::Texts(&[long]));
        assert_eq!((attributes.dropped(), attributes.truncated()), (3, 1), "no room is left");
        assert!(attributes.as_bytes().len() <= 1_000);
    }
}
