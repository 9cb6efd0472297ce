//! Users' own patterns: regular expressions that are searched in linear time, compiled within bounds.
//!
//! The engine is our own, because the smallest of the crates there are is 60 KiB of the module and this one is a tenth
//! of that. What it takes is what the crates `regex` and `regex-lite` take, as far as it goes: no Unicode classes, no
//! flags but a leading `(?i)`, no lazy repetition. A match is the leftmost and there the longest one.

mod parse;
mod search;

use super::fold::Cursor;
use search::Program;

/// The longest source of a pattern, in bytes.
pub const MOST_PATTERN_BYTES: usize = 1_024;

/// How many patterns a configuration may have.
pub const MOST_PATTERNS: usize = 32;

/// A compiled pattern. Two are equal when their sources are.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: String,
    program: Program,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is allowed instead, as a clause: something else than what stands there, a smaller pattern, or one that
    /// does not fit where nothing is.
    pub fn compile(source: &str) -> Result<Self, String> {
        if source.len() > MOST_PATTERN_BYTES {
            return Err(format!("a pattern of at most {MOST_PATTERN_BYTES} bytes"));
        }
        let program = Program::compile(&parse::parse(source)?)?;
        Ok(Self { source: source.to_owned(), program })
    }

    /// Gives the places in `text` where the pattern fits: as it is written and as it reads up to `deepest`.
    pub(super) fn find_all(&self, text: &str, deepest: u8, take: &mut dyn FnMut(usize, usize)) {
        for (start, end) in self.program.find_all(text) {
            take(start, end);
        }
        // What is nothing but ASCII, without JSON's escapes, reads as it is written.
        let first = u8::from(text.is_ascii() && !text.contains('\\'));
        for level in first..=deepest {
            let view = View::new(text, level);
            if level == 0 && view.text == text {
                continue;
            }
            for (start, end) in self.program.find_all(&view.text) {
                if let (Some(start), Some(end)) = (view.offsets.get(start), view.offsets.get(end)) {
                    take(*start, *end);
                }
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
        pattern.find_all(text, deepest, &mut |start, end| all.push(text[start..end].to_owned()));
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

    #[test]
    fn what_cannot_be_searched_within_bounds_is_refused() {
        let table = [
            ("(", "not closed"),
            (")", "not opened"),
            ("[a", "not closed"),
            ("[]", "an empty class"),
            ("[b-a]", "a range from its end"),
            ("*a", "nothing to repeat"),
            ("a{2,1}", "less than the least"),
            ("a{1001}", "too often"),
            ("a{x}", "no number"),
            ("a{1000}{1000}", "a million states"),
            ("(a{50}){50}", "too many states"),
            (".*", "fits where nothing is"),
            ("a|", "an empty branch"),
            ("\\b", "a place only"),
            ("a*?b", "lazy"),
            (r"\p{Han}", "no Unicode classes"),
            (r"(a)\1", "no references"),
            ("(?=a)b", "no look-around"),
            ("a(?i)b", "a flag within"),
            ("[[:alpha:]]", "no named classes"),
            ("\\", "an escape of nothing"),
            ("\\u{110000}", "no character"),
        ];
        for (source, why) in table {
            assert!(Pattern::compile(source).is_err(), "{source}: {why}");
        }
        assert!(Pattern::compile(&"a".repeat(MOST_PATTERN_BYTES)).is_ok());
        assert!(Pattern::compile(&"a".repeat(MOST_PATTERN_BYTES + 1)).is_err());
        assert!(Pattern::compile(&"(".repeat(500)).is_err());
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod properties {
    use proptest::prelude::*;

    use super::Pattern;

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
            let first = ours.program.find_all(&text).into_iter().next();
            prop_assert_eq!(first.map(|(start, _)| start), theirs.find(&text).map(|found| found.start()), "{} in {:?}", source, text);
        }

        /// No source makes the compiler panic, and what it takes, it searches.
        #[test]
        fn any_source(source in "[ab\\[\\](){}|*+?^$\\\\.,0-9:i<>=!-]{0,16}", text in "\\PC{0,16}") {
            if let Ok(pattern) = Pattern::compile(&source) {
                let mut last = 0;
                for (start, end) in pattern.program.find_all(&text) {
                    prop_assert!(last <= start && start < end && text.get(start..end).is_some());
                    last = end;
                }
            }
        }
    }
}
