//! A record as one line of JSON for the proxy's own log.

use super::attributes::{Value, read_attributes};
use super::record::LogRecord;
use crate::config::LogLevel;
use crate::config::json::Number;

/// A line for the host's log, about a stream. It is written as it stands, without the filter's name before it, so that
/// what follows the host's own prefix is JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamLine {
    /// How grave it is.
    pub level: LogLevel,
    /// One line of JSON.
    pub json: String,
}

/// The longest line, bytes. Attributes that have no room left are left out, and counted in the line.
pub(super) const MOST_BYTES: usize = 8 << 10;

/// The longest text of an attribute in a line, bytes before escaping.
const MOST_TEXT: usize = 1 << 10;

/// Room that is kept for what ends a line.
const END: usize = 40;

impl LogRecord<'_> {
    /// The record as a line: `trace_id`, `span_id`, `level`, `msg`, and the attributes by their names.
    pub fn to_line(&self) -> StreamLine {
        let (name, level) = self.severity.level();
        let mut json = String::with_capacity(1 << 10);
        json.push('{');
        if let Some((trace_id, span_id)) = self.ids {
            let (trace_id, span_id) = (trace_id.to_hex(), span_id.to_hex());
            let ids = ["\"trace_id\":\"", trace_id.as_str(), "\",\"span_id\":\"", span_id.as_str(), "\","];
            json.extend(ids);
        }
        json.extend(["\"level\":\"", name, "\",\"msg\":"]);
        put_text(&mut json, self.body.as_str());
        let mut left_out = self.attributes.dropped();
        for (key, value) in read_attributes(self.attributes.as_bytes()) {
            let before = json.len();
            json.push(',');
            put_text(&mut json, key);
            json.push(':');
            put_value(&mut json, &value);
            if json.len() > MOST_BYTES.saturating_sub(END) {
                json.truncate(before);
                left_out = left_out.saturating_add(1);
            }
        }
        if left_out > 0 {
            json.extend([",\"dropped_attributes\":", &left_out.to_string()]);
        }
        json.push('}');
        StreamLine { level, json }
    }
}

fn put_value(json: &mut String, value: &Value<'_>) {
    match value {
        Value::Text(text) => put_text(json, text),
        Value::Texts(texts) => {
            json.push('[');
            for (at, text) in texts.iter().enumerate() {
                if at > 0 {
                    json.push(',');
                }
                put_text(json, text);
            }
            json.push(']');
        }
        Value::Bool(truth) => json.push_str(if *truth { "true" } else { "false" }),
        Value::Int(number) => json.push_str(&number.to_string()),
        Value::Double(number) if number.is_finite() => json.push_str(&Number::from(*number).to_string()),
        Value::Double(_) => json.push_str("null"),
    }
}

/// A text in quotes. What JSON wants escaped is; and everything that a terminal or a reader of lines might act on is
/// replaced: control characters, line separators, and what turns the direction of writing.
fn put_text(json: &mut String, text: &str) {
    let fitting = text.get(..text.floor_char_boundary(MOST_TEXT)).unwrap_or(text);
    json.push('"');
    for character in fitting.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            // Not as an escape: its four digits could make one number of what stands behind it, a number that masking
            // has not seen.
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                json.push(char::REPLACEMENT_CHARACTER);
            }
            control if control.is_control() => json.push(char::REPLACEMENT_CHARACTER),
            other => json.push(other),
        }
    }
    if fitting.len() < text.len() {
        json.push('\u{2026}');
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::Severity;
    use super::*;
    use crate::config::SpanLimits;
    use crate::masking::Masked;
    use crate::span::{self, SpanAttributes};
    use crate::trace::{SpanId, TraceId};

    fn line(attributes: &SpanAttributes, body: &str) -> StreamLine {
        LogRecord {
            time: 1,
            severity: Severity::Error,
            body: &Masked::configured(body),
            attributes,
            ids: Some((TraceId::new(0xab).unwrap(), SpanId::new(0xcd).unwrap())),
            trace_flags: 1,
        }
        .to_line()
    }

    #[test]
    fn a_line_is_one_object() {
        let mut attributes = SpanAttributes::new(SpanLimits::default());
        attributes.put("http.request.method", span::Value::Text(&Masked::literal("GET")));
        attributes.put("http.response.status_code", span::Value::Int(500));
        attributes.put("envoy.upstream.duration", span::Value::Double(0.25));
        attributes.put("envoy.cache.hit", span::Value::Bool(true));
        attributes.put("envoy.response_flags", span::Value::Texts(&[Masked::literal("UF"), Masked::literal("URX")]));
        let line = line(&attributes, "GET /users/{id} 500");
        assert_eq!(line.level, LogLevel::Error);
        assert_eq!(
            line.json,
            concat!(
                r#"{"trace_id":"000000000000000000000000000000ab","span_id":"00000000000000cd","level":"error","#,
                r#""msg":"GET /users/{id} 500","http.request.method":"GET","http.response.status_code":500,"#,
                r#""envoy.upstream.duration":0.25,"envoy.cache.hit":true,"envoy.response_flags":["UF","URX"]}"#,
            )
        );
    }

    #[test]
    fn nothing_in_a_text_ends_or_turns_the_line() {
        let table = [
            ("a\"b\\c", r#""a\"b\\c""#, Some("a\"b\\c"), "what JSON escapes"),
            ("a\r\n\tb", r#""a\r\n\tb""#, Some("a\r\n\tb"), "line breaks"),
            ("\u{0}\u{1b}[31m\u{7f}", "\"\u{fffd}\u{fffd}[31m\u{fffd}\"", None, "a terminal's commands"),
            ("\u{85}\u{9b}2J", "\"\u{fffd}\u{fffd}2J\"", None, "the same in one character"),
            (
                "\u{2028}\u{202e}\u{2066}\u{200b}\u{feff}",
                "\"\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\"",
                None,
                "unseen",
            ),
            ("\u{13}948474645", "\"\u{fffd}948474645\"", None, "an escape would make a mobile number of it"),
            ("ü\u{1f600}", "\"ü\u{1f600}\"", Some("ü\u{1f600}"), "letters"),
        ];
        for (text, expected, reads, why) in table {
            let mut json = String::new();
            put_text(&mut json, text);
            assert_eq!(json, expected, "{why}");
            let read: String = serde_json::from_str(&json).unwrap();
            assert!(reads.is_none_or(|reads| reads == read), "{why}");
        }
    }

    #[test]
    fn a_line_has_an_end() {
        let long = "\u{1}".repeat(60_000);
        let mut attributes = SpanAttributes::new(SpanLimits::default());
        for key in ["a", "b", "c"] {
            attributes.put(key, span::Value::Text(&Masked::configured(&long[..15_000])));
        }
        attributes.put("last", span::Value::Int(1));
        let line = line(&attributes, &long);
        assert!(line.json.len() <= MOST_BYTES, "{}", line.json.len());
        let read: serde_json::Value = serde_json::from_str(&line.json).unwrap();
        assert_eq!(read["level"], "error");
        assert_eq!(read["last"], 1, "what is short has room behind what has not");
        assert!(read["dropped_attributes"].as_u64().is_some_and(|count| count >= 2), "{}", line.json.len());
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod properties {
    use proptest::prelude::*;

    use super::super::Severity;
    use super::*;
    use crate::config::SpanLimits;
    use crate::masking::Masked;
    use crate::span::{self, SpanAttributes};

    proptest! {
        #[test]
        fn every_line_is_json_in_one_line_and_has_an_end(
            body in ".{0,300}",
            texts in prop::collection::vec(("[a-z.]{1,12}", prop::collection::vec("(?s).{0,2000}", 0..3)), 0..20),
        ) {
            let mut attributes = SpanAttributes::new(SpanLimits::default());
            for (key, values) in &texts {
                let values: Vec<_> = values.iter().map(|text| Masked::configured(text)).collect();
                attributes.put(&format!("{key}.x"), span::Value::Texts(&values));
            }
            let record = LogRecord {
                time: 1,
                severity: Severity::Info,
                body: &Masked::configured(&body),
                attributes: &attributes,
                ids: None,
                trace_flags: 0,
            };
            let line = record.to_line();
            prop_assert!(line.json.len() <= MOST_BYTES);
            let breaks_out = line.json.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'));
            prop_assert!(!breaks_out);
            let read: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line.json).unwrap();
            prop_assert_eq!(&read["level"], "info");
            prop_assert!(!read.contains_key("trace_id"));
        }
    }
}
