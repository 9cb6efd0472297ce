//! Percent-encoding (RFC 3986 §2.1), read leniently.

use std::borrow::Cow;

use crate::hex;

/// The bytes that `value` stands for. A `%` that no two hex digits follow stands for itself.
pub(crate) fn decode(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'%') {
        return Cow::Borrowed(value);
    }
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    loop {
        match rest {
            [] => break,
            [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let byte = hex::parse_any_case(&[*high, *low]).and_then(|byte| u8::try_from(byte).ok());
                decoded.extend(byte);
                rest = tail;
            }
            [byte, tail @ ..] => {
                decoded.push(*byte);
                rest = tail;
            }
        }
    }
    Cow::Owned(decoded)
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
        }
    }
}
