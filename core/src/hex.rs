//! Hexadecimal digits, as trace headers use them. They are read and written eight at a time, each a byte of one `u64`:
//! a request has some fifty to read and as many to write.

/// One in each byte.
const ONES: u64 = 0x0101_0101_0101_0101;

/// The high bit of each byte.
const HIGH: u64 = 0x80 * ONES;

/// Parses up to 32 digits of lower-case hex. `None` for an empty text, a longer one, or another byte.
pub fn parse_lower(text: &[u8]) -> Option<u128> {
    parse(text, false)
}

/// Like [`parse_lower`], and takes upper-case digits too: B3 and Jaeger senders write them.
pub fn parse_any_case(text: &[u8]) -> Option<u128> {
    parse(text, true)
}

fn parse(text: &[u8], upper: bool) -> Option<u128> {
    if text.is_empty() || text.len() > 32 {
        return None;
    }
    // Two halves of 64 bits: wasm has no wider numbers.
    let (high, low) = text.split_at_checked(text.len().saturating_sub(16))?;
    Some((u128::from(parse_half(high, upper)?) << 64) | u128::from(parse_half(low, upper)?))
}

/// Up to 16 digits; none are 0.
fn parse_half(text: &[u8], upper: bool) -> Option<u64> {
    let (high, low) = text.split_at_checked(text.len().saturating_sub(8))?;
    Some((u64::from(parse_eight(high, upper)?) << 32) | u64::from(parse_eight(low, upper)?))
}

/// Up to 8 digits; none are 0.
fn parse_eight(text: &[u8], upper: bool) -> Option<u32> {
    if text.is_empty() {
        return Some(0);
    }
    if let Ok(digits) = text.try_into() {
        return value_of(digits, upper);
    }
    let mut digits = *b"00000000";
    for (digit, byte) in digits.iter_mut().rev().zip(text.iter().rev()) {
        *digit = *byte;
    }
    value_of(digits, upper)
}

/// The bytes from `least` to `most`, both ASCII, have their high bit set in the result; `bytes` has none set.
const fn within(bytes: u64, least: u8, most: u8) -> u64 {
    let above = bytes.wrapping_add(ONES.wrapping_mul(0x80_u64.wrapping_sub(least as u64)));
    let beyond = bytes.wrapping_add(ONES.wrapping_mul(0x7f_u64.wrapping_sub(most as u64)));
    above & !beyond & HIGH
}

/// What eight digits are worth.
const fn value_of(digits: [u8; 8], upper: bool) -> Option<u32> {
    let bytes = u64::from_be_bytes(digits);
    // Bytes above ASCII would carry into their neighbours.
    let ascii = bytes & !HIGH;
    let mut letters = within(ascii, b'a', b'f');
    if upper {
        letters |= within(ascii, b'A', b'F');
    }
    if (within(ascii, b'0', b'9') | letters) != HIGH || ascii != bytes {
        return None;
    }
    // A letter's low bits begin at 1. Then each byte is a number below 16, and they move together.
    let mut value = (ascii & (0xf * ONES)).wrapping_add((letters >> 7).wrapping_mul(9));
    value = (value | (value >> 4)) & 0x00ff_00ff_00ff_00ff;
    value = (value | (value >> 8)) & 0x0000_ffff_0000_ffff;
    value |= value >> 16;
    Some(low_half(value))
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
const fn low_half(value: u64) -> u32 {
    value as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the low quarter is what is asked for")]
const fn low_quarter(value: u128) -> u32 {
    value as u32
}

/// The eight digits of a number.
const fn digits_of(value: u32) -> [u8; 8] {
    let mut digits = value as u64;
    digits = (digits | (digits << 16)) & 0x0000_ffff_0000_ffff;
    digits = (digits | (digits << 8)) & 0x00ff_00ff_00ff_00ff;
    digits = (digits | (digits << 4)) & (0xf * ONES);
    let letters = (digits.wrapping_add(6 * ONES) >> 4) & ONES;
    let to_letters = (b'a' - b'9' - 1) as u64;
    digits.wrapping_add(ONES.wrapping_mul(b'0' as u64)).wrapping_add(letters.wrapping_mul(to_letters)).to_be_bytes()
}

/// `N` lower-case hex digits on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Hex<N> {
    /// The low `4 * N` bits of `value`.
    pub fn from_u128(value: u128) -> Self {
        let mut digits = [b'0'; N];
        let [a, b, c, d] = [value, value >> 32, value >> 64, value >> 96].map(low_quarter);
        for (eight, value) in digits.rchunks_mut(8).zip([a, b, c, d]) {
            let all = digits_of(value);
            if let Ok(eight) = <&mut [u8; 8]>::try_from(&mut *eight) {
                *eight = all;
            } else {
                for (digit, byte) in eight.iter_mut().rev().zip(all.iter().rev()) {
                    *digit = *byte;
                }
            }
        }
        Self(digits)
    }

    /// The digits as text.
    pub fn as_str(&self) -> &str {
        // Only ever filled with digits, so always ASCII.
        core::str::from_utf8(&self.0).unwrap_or("")
    }

    /// The digits as bytes.
    pub const fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn each_byte_at_each_place_is_a_digit_or_refused() {
        for place in 0..32 {
            for byte in 0..=u8::MAX {
                let mut text = [b'0'; 32];
                text[place] = byte;
                let digit = char::from(byte).to_digit(16).map(u128::from);
                let value = digit.map(|digit| digit << (4 * (31 - place)));
                assert_eq!(parse_any_case(&text), value, "{byte:#x} at {place}");
                assert_eq!(parse_lower(&text), value.filter(|_| !byte.is_ascii_uppercase()), "{byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn every_length_to_32_is_read() {
        let text = b"123456789abcdef0123456789abcdef00";
        for length in 1..=32 {
            let text = core::str::from_utf8(&text[..length]).unwrap();
            assert_eq!(parse_lower(text.as_bytes()), u128::from_str_radix(text, 16).ok(), "{text}");
        }
        assert_eq!((parse_lower(b""), parse_lower(text)), (None, None), "none, and 33");
    }

    #[test]
    fn digits_are_written_as_the_standard_library_writes_them() {
        for value in [0, 1, 0x0123_4567_89ab_cdef, u128::MAX, 0xfedc_ba98_7654_3210_0f1e_2d3c_4b5a_6978] {
            assert_eq!(Hex::<32>::from_u128(value).as_str(), format!("{value:032x}"));
            assert_eq!(Hex::<14>::from_u128(value).as_str(), format!("{:014x}", value & ((1 << 56) - 1)));
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_round_trip(value in any::<u128>()) {
            let digits = Hex::<32>::from_u128(value);
            prop_assert_eq!(digits.as_str(), format!("{value:032x}"));
            prop_assert_eq!(parse_lower(digits.as_bytes()), Some(value));
            prop_assert_eq!(parse_lower(digits.as_str().to_uppercase().as_bytes()).is_some(), !digits.as_str().bytes().any(|digit| digit.is_ascii_lowercase()));
        }

        #[test]
        fn it_reads_what_the_standard_library_reads(text in "[0-9a-fA-Fg/:@`+_\u{e9} -]{0,34}") {
            let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit()) && text.len() <= 32;
            let value = is_hex.then(|| u128::from_str_radix(&text, 16).unwrap());
            prop_assert_eq!(parse_any_case(text.as_bytes()), value);
        }
    }
}
