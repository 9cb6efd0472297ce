//! Hexadecimal digits, as trace headers use them.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

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
    let mut value: u128 = 0;
    for byte in text {
        let digit = match byte {
            b'0'..=b'9' => byte.wrapping_sub(b'0'),
            b'a'..=b'f' => byte.wrapping_sub(b'a').wrapping_add(10),
            b'A'..=b'F' if upper => byte.wrapping_sub(b'A').wrapping_add(10),
            _ => return None,
        };
        value = (value << 4) | u128::from(digit);
    }
    Some(value)
}

/// `N` lower-case hex digits on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Hex<N> {
    /// The low `4 * N` bits of `value`.
    pub fn from_u128(value: u128) -> Self {
        let mut digits = [b'0'; N];
        let mut rest = value;
        for slot in digits.iter_mut().rev() {
            let index = usize::try_from(rest & 0xf).unwrap_or(0);
            *slot = DIGITS.get(index).copied().unwrap_or(b'0');
            rest >>= 4;
        }
        Self(digits)
    }

    /// The digits as text.
    pub fn as_str(&self) -> &str {
        // Only ever filled from DIGITS, so always ASCII.
        core::str::from_utf8(&self.0).unwrap_or("")
    }

    /// The digits as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
