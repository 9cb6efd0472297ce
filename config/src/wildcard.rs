//! Wildcard patterns, as the configuration's rules have them: `?` is any one character, `*` any number of them, also
//! none, and everything else is itself. Case counts.
//!
//! Source: opentelemetry-configuration, `ExperimentalComposableRuleBasedSamplerRuleAttributePatterns`.

/// A pattern, ready to be matched against bytes that are nearly always UTF-8. A byte that is not counts as a character.
///
/// Matching looks at no character of the text more often than the pattern is long, and allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wildcard(Box<[u8]>);

impl Wildcard {
    /// From its text.
    pub fn new(pattern: &str) -> Self {
        let mut bytes = Vec::with_capacity(pattern.len());
        for byte in pattern.bytes() {
            // Stars in a row say no more than one.
            if byte != b'*' || bytes.last() != Some(&b'*') {
                bytes.push(byte);
            }
        }
        Self(bytes.into_boxed_slice())
    }

    /// Whether all of `text` follows the pattern.
    #[inline]
    pub fn matches(&self, text: &[u8]) -> bool {
        let (mut pattern, mut text) = (&*self.0, text);
        // Where to go on when what follows the last star does not fit: that pattern, and the text from one character
        // further on.
        let mut retry: Option<(&[u8], &[u8])> = None;
        loop {
            match (pattern, text) {
                ([], []) | ([b'*'], _) => return true,
                ([b'*', rest @ ..], _) => {
                    retry = Some((rest, text));
                    pattern = rest;
                    continue;
                }
                ([b'?', rest @ ..], [_, ..]) => {
                    (pattern, text) = (rest, after_character(text));
                    continue;
                }
                ([wanted, rest @ ..], [found, behind @ ..]) if wanted == found => {
                    (pattern, text) = (rest, behind);
                    continue;
                }
                _ => {}
            }
            // Behind the last star anything may stand first; with nothing left of the text, nothing does.
            let Some((again, from @ [_, ..])) = retry else { return false };
            let from = after_character(from);
            retry = Some((again, from));
            (pattern, text) = (again, from);
        }
    }
}

/// `text` without its first character, or without its first byte where that begins none.
#[inline]
fn after_character(text: &[u8]) -> &[u8] {
    let Some((first, mut rest)) = text.split_first() else { return text };
    let following = match first {
        0xc2..=0xdf => 1,
        0xe0..=0xef => 2,
        0xf0..=0xf4 => 3,
        _ => 0,
    };
    for _ in 0..following {
        let [0x80..=0xbf, behind @ ..] = rest else { break };
        rest = behind;
    }
    rest
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn patterns() {
        let table: &[(&str, &str, bool, &str)] = &[
            ("", "", true, "nothing is nothing"),
            ("", "a", false, "all of the text has to match"),
            ("/healthz", "/healthz", true, "exactly"),
            ("/healthz", "/healthz/", false, "no more than that"),
            ("/healthz", "/Healthz", false, "case counts"),
            ("/healthz", "/health", false, "no less"),
            ("*", "", true, "any number, also none"),
            ("*", "/a/b", true, "slashes too"),
            ("**", "x", true, "two stars are one"),
            ("/api/*", "/api/", true, "none behind it"),
            ("/api/*", "/api", false, "the slash is wanted"),
            ("*.css", "/a.css.css", true, "the last fit counts"),
            ("*.css", "/a.cssx", false, "to the end"),
            ("/a*b*c", "/aXbYbZc", true, "several stars"),
            ("/a*b*c", "/aXcYb", false, "in order"),
            ("a*a", "a", false, "a star takes nothing twice"),
            ("?", "", false, "one character"),
            ("?", "a", true, "one character"),
            ("?", "ab", false, "one character"),
            ("?", "\u{e4}", true, "a character of two bytes"),
            ("a?c", "a\u{1f600}c", true, "a character of four bytes"),
            ("*?", "\u{e4}", true, "a star goes on by characters"),
            ("??", "\u{e4}", false, "not its bytes"),
            ("4??", "404", true, "the standard's kind of example"),
            ("[a]", "[a]", true, "nothing else is special"),
            ("\\*", "\\x", true, "there is no escaping"),
        ];
        for (pattern, text, expected, why) in table {
            assert_eq!(Wildcard::new(pattern).matches(text.as_bytes()), *expected, "{pattern} {text}: {why}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_characters() {
        assert!(Wildcard::new("a?b").matches(b"a\xffb"));
        assert!(Wildcard::new("a??b").matches(b"a\xe2\x28b"), "a character that breaks off, and the next");
        assert!(Wildcard::new("*\u{e4}").matches(b"\xff\xc3\xa4"));
    }

    #[test]
    fn a_hostile_text_costs_no_more_than_its_length_times_the_patterns() {
        let pattern = Wildcard::new(&format!("*{}b", "a".repeat(200)));
        assert!(!pattern.matches(&vec![b'a'; 60_000]));
        let pattern = Wildcard::new(&format!("{}b", "*a".repeat(100)));
        assert!(!pattern.matches(&vec![b'a'; 60_000]));
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    /// The definition, as it is written.
    fn matches(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=text.len()).any(|from| matches(rest, &text[from..])),
            (['?', rest @ ..], [_, text @ ..]) => matches(rest, text),
            ([wanted, rest @ ..], [found, text @ ..]) => wanted == found && matches(rest, text),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn as_defined(pattern in "[ab?*ä]{0,8}", text in "[abä]{0,10}") {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = matches(&letters(&pattern), &letters(&text));
            prop_assert_eq!(Wildcard::new(&pattern).matches(text.as_bytes()), expected);
        }

        #[test]
        fn any_bytes(pattern in ".{0,20}", text in prop::collection::vec(any::<u8>(), 0..60)) {
            Wildcard::new(&pattern).matches(&text);
        }
    }
}
