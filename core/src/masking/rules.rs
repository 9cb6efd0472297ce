//! What is done with a value that must not leave.

use std::borrow::Cow;

use super::hash::Hasher;
use super::stand_in::REDACTED;
use crate::config::{Action, KeptEnds, Treatment};

/// The attribute that the value is for must not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dropped;

/// So many characters at the least are hidden when some are shown.
const LEAST_HIDDEN: usize = 4;

/// What stands in place of `value`. A hash without a key is a redaction: configuration does not let that happen.
pub(super) fn treat(value: &str, how: Treatment, hasher: Option<&Hasher>) -> Result<Cow<'static, str>, Dropped> {
    match (how.action, hasher) {
        (Action::Drop, _) => Err(Dropped),
        (Action::Mask, _) => Ok(Cow::Owned(mask(value, how.kept))),
        (Action::Hash, Some(hasher)) => Ok(Cow::Owned(hasher.hash(value))),
        (Action::Redact, _) | (Action::Hash, None) => Ok(Cow::Borrowed(REDACTED)),
    }
}

/// The ends with `****` between them; a value that is too short to hide four characters shows nothing.
fn mask(value: &str, kept: KeptEnds) -> String {
    let count = |number| usize::try_from(number).unwrap_or(usize::MAX);
    let (first, last) = (count(kept.first), count(kept.last));
    let length = value.chars().count();
    let hidden = length.checked_sub(first).and_then(|rest| rest.checked_sub(last));
    let mut text = String::new();
    if hidden >= Some(LEAST_HIDDEN) {
        text.extend(value.chars().take(first));
        text.push_str("****");
        text.extend(value.chars().skip(length.saturating_sub(last)));
    } else {
        text.push_str("****");
    }
    text
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn ends_are_kept_only_where_enough_is_hidden() {
        let table: &[(&str, u32, u32, &str, &str)] = &[
            ("secret", 0, 0, "****", "nothing kept"),
            ("secret", 1, 1, "s****t", "four hidden"),
            ("secret", 2, 1, "****", "three hidden are too few"),
            ("äöüabcdß", 1, 1, "ä****ß", "characters, not bytes"),
            ("", 0, 0, "****", "nothing there"),
            ("secret", u32::MAX, u32::MAX, "****", "more than there is"),
        ];
        for (value, first, last, expected, why) in table {
            let kept = KeptEnds { first: *first, last: *last };
            let treatment = Treatment { action: Action::Mask, kept };
            assert_eq!(treat(value, treatment, None).as_deref(), Ok(*expected), "{why}");
        }
    }

    #[test]
    fn a_hash_without_a_key_is_a_redaction() {
        let treatment = Treatment { action: Action::Hash, ..Treatment::default() };
        assert_eq!(treat("x", treatment, None).as_deref(), Ok(REDACTED));
        let hashed = treat("x", treatment, Hasher::new(b"key").as_ref()).unwrap();
        assert!(super::super::stand_in::is_stand_in(&hashed), "{hashed}");
        let treatment = Treatment { action: Action::Drop, ..Treatment::default() };
        assert_eq!(treat("x", treatment, None), Err(Dropped));
    }
}
