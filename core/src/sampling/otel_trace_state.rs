//! OpenTelemetry's own member of the W3C trace state: `ot=th:…;rv:…`.
//!
//! Source: OpenTelemetry specification, "`TraceState` Handling". A list of `key:value` joined by `;`, at most 256
//! characters, each key once. `th` is the threshold by which the trace was sampled, `rv` its explicit randomness.
//! Other sub-keys belong to others and go on as they came, in their order.
//!
//! - A member that breaks the list's grammar, or has a key twice, says nothing. Nobody can read it, so it is left as it
//!   is until a threshold has to be stated, and replaced then.
//! - A `th` or `rv` whose own value is malformed says nothing either. Such a `th` is taken away with the next change;
//!   an `rv` never is ("SHOULD NOT be erased").

use super::threshold::{Randomness, Threshold};

/// The member's key in the trace state.
pub const KEY: &str = "ot";

/// The longest value that the specification and the trace state's grammar allow.
const MAX_LENGTH: usize = 256;

/// A member's value, read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OtelTraceState<'a> {
    /// The value as it came, where it follows the grammar.
    value: &'a str,
    /// Whether there is a `th`, valid or not.
    has_threshold: bool,
    /// The threshold that the parent was sampled by.
    pub threshold: Option<Threshold>,
    /// The trace's explicit randomness.
    pub randomness: Option<Randomness>,
}

/// What becomes of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It stays as it came, or stays away.
    Keep,
    /// It says this.
    Set(String),
    /// It is taken away: nothing would be left in it.
    Remove,
}

impl<'a> OtelTraceState<'a> {
    /// Nothing said.
    pub const EMPTY: Self = Self { value: "", has_threshold: false, threshold: None, randomness: None };

    /// Reads a member's value. What cannot be read says nothing.
    pub fn parse(value: &'a str) -> Self {
        let mut state = Self { value, ..Self::EMPTY };
        if value.len() > MAX_LENGTH {
            return Self::EMPTY;
        }
        for (index, field) in value.split(';').enumerate() {
            let Some((key, text)) = field.split_once(':') else { return Self::EMPTY };
            if !is_key(key) || !text.bytes().all(is_value_byte) {
                return Self::EMPTY;
            }
            // One or two as a rule, so that looking through those before is less than an order of them.
            let has_key = |other: &str| other.strip_prefix(key).is_some_and(|rest| rest.starts_with(':'));
            if value.split(';').take(index).any(has_key) {
                return Self::EMPTY;
            }
            match key {
                "th" => {
                    state.has_threshold = true;
                    state.threshold = Threshold::parse(text.as_bytes());
                }
                "rv" => state.randomness = Randomness::parse(text.as_bytes()),
                _ => {}
            }
        }
        state
    }

    /// What it says to a child of a span that was sampled by `threshold`.
    #[must_use]
    pub fn below(self, threshold: Option<Threshold>) -> Self {
        Self { threshold, ..self }
    }

    /// What the member becomes when the trace goes on with `threshold`, or with none.
    ///
    /// A list that has no room left for it goes on without a threshold: the old one would be a lie.
    pub fn with_threshold(&self, threshold: Option<Threshold>) -> Change {
        let unchanged = match threshold {
            None => !self.has_threshold,
            Some(_) => self.threshold == threshold,
        };
        if unchanged {
            return Change::Keep;
        }
        let others = || self.value.split(';').filter(|field| !field.is_empty() && !field.starts_with("th:"));
        let mut text = String::with_capacity(self.value.len().saturating_add(18));
        if let Some(threshold) = threshold {
            text.push_str("th:");
            threshold.write(&mut text);
            let length = others().fold(text.len(), |sum, field| sum.saturating_add(field.len()).saturating_add(1));
            if length > MAX_LENGTH {
                if !self.has_threshold {
                    return Change::Keep;
                }
                text.clear();
            }
        }
        for field in others() {
            if !text.is_empty() {
                text.push(';');
            }
            text.push_str(field);
        }
        if text.is_empty() { Change::Remove } else { Change::Set(text) }
    }
}

/// `key = lcalpha *(lcalpha / DIGIT)`
fn is_key(key: &str) -> bool {
    key.starts_with(|first: char| first.is_ascii_lowercase())
        && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// `chr = ucalpha / lcalpha / DIGIT / "." / "_" / "-"`
const fn is_value_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn th(value: &str) -> Option<Threshold> {
        let threshold = Threshold::parse(value.as_bytes());
        assert!(threshold.is_some(), "{value}");
        threshold
    }

    fn rv(value: &str) -> Option<Randomness> {
        let randomness = Randomness::parse(value.as_bytes());
        assert!(randomness.is_some(), "{value}");
        randomness
    }

    #[test]
    fn values() {
        let max = format!("x:{}", "v".repeat(254));
        let over = format!("x:{}", "v".repeat(255));
        let table: &[(&str, Option<Threshold>, Option<Randomness>, &str)] = &[
            ("th:0", th("0"), None, "all sampled: the specification's example"),
            ("rv:6e6d1a75832a2f", None, rv("6e6d1a75832a2f"), "the specification's example"),
            ("th:fd70a4;rv:6e6d1a75832a2f", th("fd70a4"), rv("6e6d1a75832a2f"), "both"),
            ("rv:6e6d1a75832a2f;th:c", th("c"), rv("6e6d1a75832a2f"), "in the other order"),
            ("p:8;r:62", None, None, "the specification's example of the list: others' keys"),
            ("p:8;th:8;k1:13", th("8"), None, "among others"),
            ("k1:;th:8", th("8"), None, "an empty value is one"),
            ("th:", None, None, "no digit"),
            ("th:zz;rv:6e6d1a75832a2f", None, rv("6e6d1a75832a2f"), "a malformed th takes nothing from rv"),
            ("th:8;rv:123", th("8"), None, "a malformed rv takes nothing from th"),
            ("th:8;th:8", None, None, "a key twice: nobody knows which"),
            ("th:8;a:1;a:2", None, None, "another key twice"),
            ("th:8;", None, None, "an empty field"),
            (";th:8", None, None, "an empty field"),
            ("", None, None, "nothing"),
            ("th", None, None, "no colon"),
            ("th:8;TH:9", None, None, "a key in upper case"),
            ("th:8;1a:9", None, None, "a key that begins with a digit"),
            ("th:8;a_b:9", None, None, "a key with another character"),
            ("th:8;a:b:c", None, None, "a colon in a value"),
            ("th:8;a:b c", None, None, "a space in a value"),
            ("th:8; a:b", None, None, "a space before a key"),
            ("th:8;a:\u{e4}", None, None, "beyond ASCII"),
            (&max, None, None, "256 characters"),
            (&over, None, None, "257 characters"),
        ];
        for (value, threshold, randomness, why) in table {
            let state = OtelTraceState::parse(value);
            assert_eq!((state.threshold, state.randomness), (*threshold, *randomness), "{value}: {why}");
        }
        assert_eq!(OtelTraceState::parse(&max).value.len(), 256);
        assert_eq!(OtelTraceState::parse(&over), OtelTraceState::EMPTY);
    }

    #[test]
    fn changes() {
        let set = |text: &str| Change::Set(text.to_owned());
        let full = format!("x:{}", "v".repeat(254));
        let nearly = format!("x:{}", "v".repeat(249));
        let room = format!("th:8;{nearly}");
        assert_eq!(room.len(), 256);
        let table: &[(&str, Option<Threshold>, Change, &str)] = &[
            ("", None, Change::Keep, "nothing to say, nothing said"),
            ("", th("e666"), set("th:e666"), "a new one"),
            ("th:e666", th("e666"), Change::Keep, "the same"),
            ("th:e6660", th("e666"), Change::Keep, "the same, longer: left as it came"),
            ("th:8", th("e666"), set("th:e666"), "another"),
            ("th:8", None, Change::Remove, "nothing is left"),
            ("th:8;rv:6e6d1a75832a2f", None, set("rv:6e6d1a75832a2f"), "randomness stays"),
            ("rv:6e6d1a75832a2f;th:8;k1:1", th("0"), set("th:0;rv:6e6d1a75832a2f;k1:1"), "others keep their order"),
            ("p:8;r:62", th("c"), set("th:c;p:8;r:62"), "added"),
            ("p:8;r:62", None, Change::Keep, "nothing of ours there"),
            ("th:zz", None, Change::Remove, "a malformed threshold goes"),
            ("th:zz;p:8", th("c"), set("th:c;p:8"), "a malformed threshold goes"),
            ("rv:12", th("c"), set("th:c;rv:12"), "malformed randomness is not ours to take"),
            ("th:8;th:8", None, Change::Keep, "unreadable: left alone"),
            ("th:8;th:8", th("c"), set("th:c"), "unreadable: replaced"),
            (&nearly, th("8"), set(&room), "256 characters"),
            (&full, th("8"), Change::Keep, "no room: left as it came, without a threshold"),
            (&room, th("e666"), set(&nearly), "no room for the new one: the old one would be a lie"),
        ];
        for (value, threshold, expected, why) in table {
            assert_eq!(OtelTraceState::parse(value).with_threshold(*threshold), *expected, "{value}: {why}");
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    fn fields(text: &str) -> Vec<&str> {
        text.split(';').filter(|field| !field.is_empty() && !field.starts_with("th:")).collect()
    }

    proptest! {
        #[test]
        fn a_change_says_what_it_should(
            value in "([a-z][a-z0-9]{0,3}:[a-zA-Z0-9._-]{0,40};?){0,8}|th:[0-9a-f]{0,15}(;rv:[0-9a-f]{14})?|.{0,20}",
            threshold in prop::option::of(0..1_u64 << 56),
        ) {
            let threshold = threshold.and_then(Threshold::new);
            let before = OtelTraceState::parse(&value);
            match before.with_threshold(threshold) {
                Change::Keep => prop_assert!(before.threshold == threshold || before.threshold.is_none()),
                Change::Remove => prop_assert!(threshold.is_none() && fields(before.value).is_empty()),
                Change::Set(text) => {
                    prop_assert!(text.len() <= MAX_LENGTH);
                    let after = OtelTraceState::parse(&text);
                    prop_assert!(after.threshold == threshold || after.threshold.is_none());
                    prop_assert_eq!(after.randomness, before.randomness);
                    prop_assert_eq!(fields(&text), fields(before.value));
                    prop_assert_eq!(after.with_threshold(after.threshold), Change::Keep);
                }
            }
        }
    }
}
