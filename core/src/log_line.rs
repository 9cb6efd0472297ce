//! Lines for the filter's own log: values, like every other effect.

use crate::config::LogLevel;
use crate::masking::{Masked, Masker, REDACTED};

/// One line for the host's log. Never made per request: only when something changes for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How grave it is.
    pub level: LogLevel,
    /// One line, with what to do where there is something to do.
    pub text: Masked<'static>,
}

/// A line that may quote what somebody else has said. A backend can repeat what a span told it, so that text leaves
/// by the way of all others: masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDraft {
    /// How grave it is.
    pub(crate) level: LogLevel,
    /// Our own words and those of the configuration.
    pub(crate) words: String,
    /// Another's words, which follow ours.
    pub(crate) quoted: String,
}

/// What a quotation is counted under in mode `report`, where an attribute's key stands.
const KEY: &str = "log";

/// The longest quotation in a line, in bytes.
const MOST_QUOTED: usize = 256;

impl LogDraft {
    /// The line, with what is quoted on one line, printable, masked and cut, in this order. Without a masker nothing
    /// is shown of it.
    #[inline]
    pub(crate) fn mask(self, masker: Option<&Masker>) -> LogLine {
        let printable: String = self.quoted.chars().map(|c| if is_invisible(c) { ' ' } else { c }).collect();
        let quoted = match masker {
            _ if printable.is_empty() => None,
            None => Some(Masked::literal(REDACTED)),
            Some(masker) => Some(masker.value(KEY, printable.as_bytes()).unwrap_or(Masked::literal(REDACTED))),
        };
        let words = Masked::configured(&self.words);
        let text = match quoted {
            None => words.into_owned(),
            Some(quoted) => Masked::concat(&[&words, &quoted.cut(MOST_QUOTED)]),
        };
        LogLine { level: self.level, text }
    }
}

/// Control characters, and those that break or turn a line without being seen.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::config::{InstrumentationConfig, MaskingConfig};
    use crate::masking::{Action, Detector};

    fn line(config: &MaskingConfig, quoted: &str) -> String {
        let masker = Masker::new(config, &InstrumentationConfig::default());
        let draft = LogDraft { level: LogLevel::Warn, words: "it says: ".to_owned(), quoted: quoted.to_owned() };
        draft.mask(Some(&masker)).text.as_str().to_owned()
    }

    #[test]
    fn what_is_quoted_is_masked() {
        let long = format!("{}13812345678", "x".repeat(249));
        let cut = format!("it says: {}138****", "x".repeat(249));
        let key = format!("-----BEGIN PRIVATE KEY-----{} 13812345678", "M".repeat(4_096));
        let table: &[(&str, &str, &str)] = &[
            ("", "it says: ", "nothing quoted"),
            ("too old", "it says: too old", "harmless"),
            ("attribute tel=13812345678", "it says: attribute tel=138****5678", "a secret"),
            ("tel=%31%33812345678", "it says: tel=138****5678", "encoded"),
            ("138\n1234\r5678", "it says: 138****5678", "on several lines"),
            ("a\u{202e}b\nc\u{7f}", "it says: a b c ", "one line, printable"),
            (&long, &cut, "masked before it is cut"),
            (&key, "it says: REDACTED", "however long it was"),
        ];
        for (quoted, expected, why) in table {
            assert_eq!(line(&MaskingConfig::default(), quoted), *expected, "{why}");
        }
        let many = line(&MaskingConfig::default(), &"ä".repeat(300));
        assert_eq!(many.len(), "it says: ".len() + MOST_QUOTED);
        let many = line(&MaskingConfig::default(), &format!("a{}", "ä".repeat(300)));
        assert_eq!(many.len(), "it says: ".len() + MOST_QUOTED - 1, "no half of a character");
    }

    #[test]
    fn our_own_words_stay_whatever_is_dropped() {
        let mut config = MaskingConfig::default();
        config.detectors.set(Detector::Email, Some(Action::Drop));
        assert_eq!(line(&config, "no user a@b.com"), "it says: REDACTED");
        let draft = LogDraft { level: LogLevel::Warn, words: "it says: ".to_owned(), quoted: "x".to_owned() };
        assert_eq!(draft.mask(None).text.as_str(), "it says: REDACTED", "nothing that could mask it");
    }
}
