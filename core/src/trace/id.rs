//! Trace and span ids: zero does not exist, so "invalid id" is not a state the rest of the code can be in.

use core::num::{NonZeroU64, NonZeroU128};

use crate::hex;

/// A trace id: 16 bytes, never all zero (W3C Trace Context §3.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(NonZeroU128);

/// A span id: 8 bytes, never all zero (W3C Trace Context §3.2.2.4, there called parent-id).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(NonZeroU64);

impl TraceId {
    /// The id with this value, or `None` for zero.
    pub const fn new(value: u128) -> Option<Self> {
        match NonZeroU128::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// Parses exactly 32 lower-case hex digits; `None` for anything else and for all zeros.
    pub fn from_lower_hex(text: &[u8]) -> Option<Self> {
        if text.len() != 32 {
            return None;
        }
        Self::new(hex::parse_lower(text)?)
    }

    /// Big-endian bytes, as OTLP carries them.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.get().to_be_bytes()
    }

    /// 32 lower-case hex digits.
    pub fn to_hex(self) -> hex::Hex<32> {
        hex::Hex::from_u128(self.0.get())
    }

    /// The last 8 bytes: what ratio samplers decide on, and the whole id in 64-bit formats.
    #[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
    pub const fn low_u64(self) -> u64 {
        self.0.get() as u64
    }

    /// The value as an integer.
    pub const fn get(self) -> u128 {
        self.0.get()
    }
}

impl SpanId {
    /// The id with this value, or `None` for zero.
    pub const fn new(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// Parses exactly 16 lower-case hex digits; `None` for anything else and for all zeros.
    pub fn from_lower_hex(text: &[u8]) -> Option<Self> {
        if text.len() != 16 {
            return None;
        }
        u64::try_from(hex::parse_lower(text)?).ok().and_then(Self::new)
    }

    /// Big-endian bytes, as OTLP carries them.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }

    /// 16 lower-case hex digits.
    pub fn to_hex(self) -> hex::Hex<16> {
        hex::Hex::from_u128(u128::from(self.0.get()))
    }

    /// The value as an integer.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn zero_is_no_id() {
        assert_eq!(TraceId::new(0), None);
        assert_eq!(SpanId::new(0), None);
        assert_eq!(TraceId::from_lower_hex(&[b'0'; 32]), None);
        assert_eq!(SpanId::from_lower_hex(&[b'0'; 16]), None);
    }

    #[test]
    fn hex_is_exact_length_and_lower_case() {
        let table: &[(&str, bool, &str)] = &[
            ("4bf92f3577b34da6a3ce929d0e0e4736", true, "32 lower-case digits"),
            ("4BF92F3577B34DA6A3CE929D0E0E4736", false, "upper case is not W3C"),
            ("4bf92f3577b34da6a3ce929d0e0e473", false, "31 digits"),
            ("4bf92f3577b34da6a3ce929d0e0e47360", false, "33 digits"),
            ("4bf92f3577b34da6a3ce929d0e0e473g", false, "g is no digit"),
            ("+bf92f3577b34da6a3ce929d0e0e4736", false, "a sign is no digit"),
        ];
        for (text, valid, why) in table {
            assert_eq!(TraceId::from_lower_hex(text.as_bytes()).is_some(), *valid, "{why}");
        }
    }

    #[test]
    fn hex_round_trips() {
        let text = "00f067aa0ba902b7";
        let id = SpanId::from_lower_hex(text.as_bytes());
        assert_eq!(id.map(|id| id.to_hex().as_str().to_owned()).as_deref(), Some(text));
    }
}
