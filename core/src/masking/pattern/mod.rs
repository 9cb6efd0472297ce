//! The search with users' own patterns, in linear time. A match is the leftmost and there the longest one.

mod search;

use super::fold::Cursor;
use crate::config::Pattern;

/// Gives the places in `text` where the pattern fits: as it is written and as it reads up to `deepest`.
pub(super) fn find_all(pattern: &Pattern, text: &str, deepest: u8, take: &mut dyn FnMut(usize, usize)) {
    for (start, end) in search::find_all(pattern.program(), text) {
        take(start, end);
    }
    // What is nothing but ASCII, without JSON's escapes, reads as it is written.
    let first = u8::from(text.is_ascii() && !text.contains('\\'));
    for level in first..=deepest {
        let view = View::new(text, level);
        if level == 0 && view.text == text {
            continue;
        }
        for (start, end) in search::find_all(pattern.program(), &view.text) {
            if let (Some(start), Some(end)) = (view.offsets.get(start), view.offsets.get(end)) {
                take(*start, *end);
            }
        }
    }
}

/// A text as it reads, and for each of its bytes, and its end, where that stands in what is written.
struct View {
    text: String,
    offsets: Vec<usize>,
}

impl View {
    fn new(written: &str, level: u8) -> Self {
        let mut cursor = Cursor::new(written.as_bytes(), level);
        let mut view = Self { text: String::new(), offsets: Vec::new() };
        loop {
            let start = cursor.position();
            let Some(code) = cursor.next_code() else { break };
            view.text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            view.offsets.resize(view.text.len(), start);
        }
        view.offsets.push(written.len());
        view
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn found(source: &str, text: &str, deepest: u8) -> Vec<String> {
        let mut all = Vec::new();
        let pattern = Pattern::compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        find_all(&pattern, text, deepest, &mut |start, end| all.push(text[start..end].to_owned()));
        all
    }

    #[test]
    fn patterns_fit_what_is_written_and_what_is_meant() {
        assert_eq!(found("EMP-[0-9]{6}", "a EMP-123456 EMP-654321", 0), ["EMP-123456", "EMP-654321"]);
        assert_eq!(found("EMP-[0-9]{6}", "EMP%2D12345%36", 1), ["EMP%2D12345%36"]);
        assert_eq!(found("EMP-[0-9]{6}", "ＥＭＰ－１２３４５６", 0), ["ＥＭＰ－１２３４５６"]);
        assert_eq!(found("[一-龥]+", "a%E5%BC%A0%E4%B8%89b", 1), ["%E5%BC%A0%E4%B8%89"]);
    }

    #[test]
    fn the_leftmost_and_there_the_longest() {
        let table: &[(&str, &str, &[&str], &str)] = &[
            ("a|ab|abc", "abcab", &["abc", "ab"], "the longest, whatever comes first"),
            ("a+b|a", "aaac", &["a", "a", "a"], "what could have gone on and did not"),
            ("a+b|a", "aaab", &["aaab"], "what could have gone on and did"),
            ("\"[^\"]*\"", "\"x\",\"y\"", &["\"x\"", "\"y\""], "what is between two matches is in none"),
            ("[0-9]{6}", "1234567", &["123456"], "the leftmost"),
            ("(?i)emp\\d+", "EMP7 Emp8", &["EMP7", "Emp8"], "either case"),
            ("^a$|b", "ab", &["b"], "the ends of the text"),
            ("\\bno\\b", "no none no", &["no", "no"], "whole words"),
            ("a.c", "abc a\nc", &["abc"], "a dot is no line break"),
            ("[^a-c]x", "ax dx", &["dx"], "all but"),
            ("[\\d_-]+", "a-1_b", &["-1_"], "a class in a class, and a dash at its end"),
            ("\\x41\\u{4e2d}\\.", "A中.", &["A中."], "by number, and a sign for itself"),
            ("(ab){2,3}", "abababab", &["ababab"], "repeated groups"),
            ("x{2,}", "x xx xxx", &["xx", "xxx"], "at least"),
            ("(?:a?){3}b", "aab b", &["aab", "b"], "repeated options"),
            ("(a*)*b", "aab", &["aab"], "a loop that may be empty"),
        ];
        for (source, text, expected, why) in table {
            assert_eq!(found(source, text, 0), *expected, "{source}: {why}");
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod properties {
    use proptest::prelude::*;

    use super::{Pattern, search};

    /// Patterns of which both engines know the meaning.
    fn sources() -> impl Strategy<Value = String> {
        let leaf = proptest::sample::select(vec![
            "a", "b", "ab", ".", "[ab]", "[^a]", "\\d", "\\w", "\\s", "[0-9a]", "1", "\\b", "^", "$", "é", "\\B",
        ])
        .prop_map(str::to_owned);
        leaf.prop_recursive(4, 24, 4, |inner| {
            let repeat = proptest::sample::select(vec!["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}"]);
            prop_oneof![
                proptest::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                proptest::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join("|"))),
                (inner, repeat).prop_map(|(inner, repeat)| format!("(?:{inner}){repeat}")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        /// Where the crate `regex` finds something that is not empty, so do we, at the same place; and what we find
        /// first, it takes for a match as a whole.
        #[test]
        fn the_first_match_is_where_regex_finds_it(source in sources(), text in "[ab1é \n_]{0,12}") {
            let Ok(ours) = Pattern::compile(&source) else { return Ok(()) };
            let theirs = regex::Regex::new(&format!("(?-u:{})", source.replace('é', "(?u:é)").replace("[^a]", "(?u:[^a])").replace('.', "(?u:.)")))
                .map_err(|error| TestCaseError::fail(error.to_string()))?;
            let first = search::find_all(ours.program(), &text).into_iter().next();
            prop_assert_eq!(first.map(|(start, _)| start), theirs.find(&text).map(|found| found.start()), "{} in {:?}", source, text);
        }

        /// No source makes the compiler panic, and what it takes, it searches.
        #[test]
        fn any_source(source in "[ab\\[\\](){}|*+?^$\\\\.,0-9:i<>=!-]{0,16}", text in "\\PC{0,16}") {
            if let Ok(pattern) = Pattern::compile(&source) {
                let mut last = 0;
                for (start, end) in search::find_all(pattern.program(), &text) {
                    prop_assert!(last <= start && start < end && text.get(start..end).is_some());
                    last = end;
                }
            }
        }
    }
}
