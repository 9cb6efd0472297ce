//! What stands in place of what must not leave, and how it is known again.

/// In place of a value of which nothing is shown, as the semantic conventions spell it.
pub const REDACTED: &str = "REDACTED";

/// In place of user and password in a URL, as the semantic conventions spell it (`url.full`).
pub(super) const REDACTED_USERINFO: &str = "REDACTED:REDACTED";

/// Begins the hash of a value.
pub(super) const HASH_PREFIX: &str = "hmac-";

/// How many letters follow the prefix: four bits each.
pub(super) const HASH_LETTERS: usize = 16;

/// Whether `text` is what masking has put there itself.
pub(super) fn is_stand_in(text: &str) -> bool {
    text == REDACTED || text == REDACTED_USERINFO || text.ends_with("***") || is_hash(text)
}

fn is_hash(text: &str) -> bool {
    text.strip_prefix(HASH_PREFIX)
        .is_some_and(|rest| rest.len() == HASH_LETTERS && rest.bytes().all(|byte| matches!(byte, b'a'..=b'p')))
}
