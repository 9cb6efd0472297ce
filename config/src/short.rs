//! Searching texts for a few letters. The standard library's search is for long ones, and takes 4 KB of the module.

/// Where `words` stand in `text` for the first time.
#[inline]
pub fn find(text: &str, words: &str) -> Option<usize> {
    text.as_bytes().windows(words.len().max(1)).position(|there| there == words.as_bytes())
}

/// What stands before `words` for the first time, and what behind.
#[inline]
pub fn split_once<'t>(text: &'t str, words: &str) -> Option<(&'t str, &'t str)> {
    let (before, rest) = text.split_at_checked(find(text, words)?)?;
    Some((before, rest.get(words.len()..)?))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn as_the_standard_library_does() {
        for (text, words) in [
            ("http://a", "://"),
            ("a::b::c", "::"),
            ("::", "::"),
            ("äöü", "öü"),
            ("a", "ab"),
            ("", "a"),
            ("aab", "ab"),
            ("no", "yes"),
        ] {
            assert_eq!(find(text, words), text.find(words), "{text} {words}");
            assert_eq!(split_once(text, words), text.split_once(words), "{text} {words}");
        }
    }
}
