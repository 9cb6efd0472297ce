//! Users' own patterns: regular expressions, compiled within bounds. The logic searches with them, in linear time.
//!
//! The engine is our own, because the smallest of the crates there are is 60 KiB of the module and this one is a tenth
//! of that. What it takes is what the crates `regex` and `regex-lite` take, as far as it goes: no Unicode classes, no
//! flags but a leading `(?i)`, no lazy repetition.

mod parse;
mod program;

pub use parse::{Assertion, Class};
pub use program::{Program, Step};

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

    /// What a search goes through.
    #[inline]
    pub fn program(&self) -> &Program {
        &self.program
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

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
