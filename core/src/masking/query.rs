//! Sensitive query parameters (semantic conventions, registry, `url.query`: values of known keys are replaced).

use std::borrow::Cow;

use super::REDACTED;

/// Replaces the values of the `sensitive` keys (case-sensitive, as the conventions say). Keys stay.
pub(super) fn mask<'a>(query: Cow<'a, str>, sensitive: &[String]) -> Cow<'a, str> {
    let is_sensitive = |pair: &str| {
        pair.split_once('=').is_some_and(|(key, value)| !value.is_empty() && sensitive.iter().any(|name| name == key))
    };
    if !query.split('&').any(is_sensitive) {
        return query;
    }
    let mut masked = String::with_capacity(query.len());
    for (index, pair) in query.split('&').enumerate() {
        if index > 0 {
            masked.push('&');
        }
        match pair.split_once('=') {
            Some((key, _)) if is_sensitive(pair) => {
                masked.push_str(key);
                masked.push('=');
                masked.push_str(REDACTED);
            }
            _ => masked.push_str(pair),
        }
    }
    Cow::Owned(masked)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn only_the_values_of_sensitive_keys_go() {
        let sensitive = ["sig".to_owned(), "Signature".to_owned()];
        let table: &[(&str, &str, &str)] = &[
            ("", "", "nothing there"),
            ("q=otel", "q=otel", "nothing sensitive"),
            ("sig=abc", "sig=REDACTED", "alone"),
            ("a=1&sig=abc&b=2", "a=1&sig=REDACTED&b=2", "in the middle"),
            ("sig=a&sig=b", "sig=REDACTED&sig=REDACTED", "twice"),
            ("sig", "sig", "a key without a value hides nothing"),
            ("sig=", "sig=", "an empty value hides nothing"),
            ("SIG=abc", "SIG=abc", "keys are case-sensitive"),
            ("sig=a=b", "sig=REDACTED", "the value may hold ="),
            ("design=x", "design=x", "a key that only ends like one"),
        ];
        for (query, expected, why) in table {
            assert_eq!(mask(Cow::Borrowed(query), &sensitive), *expected, "{why}");
        }
    }
}
