//! The crate `regex` with a pattern for each of masking's detectors: what somebody would write who masks without
//! meshspan. It says that there is something, and neither verifies nor replaces.
//!
//! The benchmark runs it natively. As a wasm guest ([`guest`](self), wasm only) the tests of the module count its
//! instructions beside those of masking.

use regex::RegexSet;

/// The built-in detectors as somebody would write them with the `regex` crate.
pub const PATTERNS: &[&str] = &[
    r"-----BEGIN (?:[A-Z0-9]+ ){0,2}PRIVATE KEY-----",
    r"://[^/?#@:\s]*:[^/?#@\s]*@",
    r"(?i)\b(?:bearer|basic)[\s+:=]+[a-z0-9._~+/=-]{8,}",
    r"\beyJ[A-Za-z0-9_-]{7,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+",
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b",
    r"\bAIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{20,}|ya29\.[A-Za-z0-9_.-]{20,}",
    r"\bgh[oprsu]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,}",
    r"\bxox[abceoprs]-[A-Za-z0-9-]{10,}|hooks\.slack\.com/services/[A-Za-z0-9/]{20,}",
    r"\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9]{16,}",
    r"[A-Za-z0-9._+~-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}",
    r"(?i)\b[A-Z]{2}[0-9]{2}(?:[ +-]?[A-Z0-9]){11,30}\b",
    r"\b[1-9][0-9]{5}(?:18|19|20)[0-9]{9}[0-9Xx]\b",
    r"\b(?:[0-9][ +.-]?){12,18}[0-9]\b",
    r"\b(?:(?:\+|00)?86[ +-]?)?1[3-9][0-9](?:[ +.-]?[0-9]){8}\b",
    r"\b[0-9]{3}[ +-][0-9]{2}[ +-][0-9]{4}\b",
];

/// All patterns in one set.
///
/// # Errors
///
/// None while the patterns are what they are.
pub fn set() -> Result<RegexSet, regex::Error> {
    RegexSet::new(PATTERNS)
}

#[cfg(target_arch = "wasm32")]
mod guest {
    //! Exports: `buffer(size)` gives where to write a text of so many bytes, `matches(size)` how many patterns fit it.

    use std::cell::RefCell;

    use regex::RegexSet;

    thread_local! {
        static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        static SET: Option<RegexSet> = crate::set().ok();
    }

    #[unsafe(no_mangle)]
    extern "C" fn buffer(size: usize) -> *mut u8 {
        TEXT.with_borrow_mut(|text| {
            text.resize(size, 0);
            text.as_mut_ptr()
        })
    }

    #[unsafe(no_mangle)]
    extern "C" fn matches(size: usize) -> u32 {
        TEXT.with_borrow(|text| {
            let text = text.get(..size).and_then(|text| core::str::from_utf8(text).ok());
            SET.with(|set| {
                let found = text.zip(set.as_ref()).map(|(text, set)| set.matches(text).iter().count());
                found.and_then(|count| u32::try_from(count).ok()).unwrap_or(u32::MAX)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patterns_find_what_they_are_for() {
        let set = set().unwrap();
        for (text, expected) in [("tel=13812345678", true), ("mail=a.b@shop.com", true), ("tel=shop-page-a", false)] {
            assert_eq!(set.is_match(text), expected, "{text}");
        }
    }
}
