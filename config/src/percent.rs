//! Percent-encoding (RFC 3986 §2.1). What reads a text at several depths without a copy has its own way: masking.

use std::borrow::Cow;

/// The bytes that `value` stands for. A `%` that no two hex digits follow stands for itself.
#[inline]
pub fn decode(value: &[u8]) -> Cow<'_, [u8]> {
    if value.contains(&b'%') { Cow::Owned(decode_all(value).0) } else { Cow::Borrowed(value) }
}

/// The same where such a `%` is an error. `None`: there is one.
#[inline]
pub fn decode_strictly(value: &[u8]) -> Option<Vec<u8>> {
    let (decoded, is_whole) = decode_all(value);
    is_whole.then_some(decoded)
}

/// The bytes, and whether each `%` began an escape.
#[inline]
fn decode_all(value: &[u8]) -> (Vec<u8>, bool) {
    let (mut decoded, mut is_whole) = (Vec::with_capacity(value.len()), true);
    let mut rest = value;
    while let [byte, tail @ ..] = rest {
        let escaped = escape(rest);
        is_whole &= escaped.is_some() || *byte != b'%';
        let (byte, behind) = escaped.unwrap_or((*byte, tail));
        decoded.push(byte);
        rest = behind;
    }
    (decoded, is_whole)
}

/// The byte that the escape stands for with which `text` begins, and what is behind it.
#[inline]
fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let [b'%', high, low, rest @ ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(*high)? << 4 | digit(*low)?, rest))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let table: &[(&str, &str, &str)] = &[
            ("plain", "plain", "nothing encoded"),
            ("try%20later%20%C3%A4", "try later \u{e4}", "either case of hex, several bytes a character"),
            ("%c3%a4", "\u{e4}", "lower case"),
            ("100%", "100%", "a % at the end"),
            ("%4", "%4", "one digit"),
            ("%zz%41", "%zzA", "no digits"),
            ("%%41", "%A", "a % before an encoded byte"),
        ];
        for (value, expected, why) in table {
            assert_eq!(&*decode(value.as_bytes()), expected.as_bytes(), "{why}");
            let strict = decode_strictly(value.as_bytes());
            let is_whole = !expected.contains('%');
            assert_eq!(strict.as_deref(), is_whole.then_some(expected.as_bytes()), "{why}");
        }
        assert_eq!(decode_strictly(b"%2541").as_deref(), Some(&b"%41"[..]), "a % that was encoded is none");
    }
}
