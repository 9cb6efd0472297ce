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
    // Two halves of 64 bits: wasm has no wider numbers.
    let (high, low) = text.split_at_checked(text.len().saturating_sub(16))?;
    Some(u128::from(parse_half(high, upper)?) << 64 | u128::from(parse_half(low, upper)?))
}

/// Up to 16 digits; none are 0.
fn parse_half(text: &[u8], upper: bool) -> Option<u64> {
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte.wrapping_sub(b'0'),
            b'a'..=b'f' => byte.wrapping_sub(b'a').wrapping_add(10),
            b'A'..=b'F' if upper => byte.wrapping_sub(b'A').wrapping_add(10),
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

/// `N` lower-case hex digits on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Hex<N> {
    /// The low `4 * N` bits of `value`.
    pub fn from_u128(value: u128) -> Self {
        let mut digits = [b'0'; N];
        // Two digits a byte, from the last.
        for (pair, byte) in digits.rchunks_mut(2).zip(value.to_le_bytes()) {
            let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 0xf)).copied().unwrap_or(b'0');
            match pair {
                [high, low] => (*high, *low) = (digit(byte >> 4), digit(byte)),
                [low] => *low = digit(byte),
                _ => {}
            }
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
