//! Keyed hashes: the same value gives the same text, and without the key nobody finds the value by trying all there
//! are, as one could for a phone number.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::stand_in::{HASH_LETTERS, HASH_PREFIX};

/// HMAC-SHA-256 (RFC 2104) with a key from configuration, ready to be used.
#[derive(Clone)]
pub(super) struct Hasher(Hmac<Sha256>);

impl Hasher {
    /// `None` never comes: HMAC takes keys of every length.
    #[inline]
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(key).ok().map(Self)
    }

    /// The first 64 bits of the hash, as the letters `a` (0) to `p` (15). Letters only: digits could look like a
    /// number that somebody has.
    pub(super) fn hash(&self, value: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(value.as_bytes());
        let bytes = mac.finalize().into_bytes();
        let letters = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).take(HASH_LETTERS);
        let mut text = String::from(HASH_PREFIX);
        text.extend(letters.map(|four| char::from(four.wrapping_add(b'a'))));
        text
    }
}

impl core::fmt::Debug for Hasher {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("Hasher(key not shown)")
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn the_hash_is_hmac_sha_256() {
        // RFC 4231, test cases 1 and 2.
        let table: &[(&[u8], &str, &str)] = &[
            (&[0x0b; 20], "Hi There", "b0344c61d8db3853"),
            (b"Jefe", "what do ya want for nothing?", "5bdcc146bf60754e"),
        ];
        for (key, value, expected) in table {
            let digits =
                expected.chars().map(|digit| char::from(b'a' + u8::try_from(digit.to_digit(16).unwrap()).unwrap()));
            let expected: String = HASH_PREFIX.chars().chain(digits).collect();
            assert_eq!(Hasher::new(key).unwrap().hash(value), expected, "{value}");
        }
    }
}
