//! Thresholds and randomness of consistent probability sampling.
//!
//! Source: OpenTelemetry specification, "`TraceState`: Probability Sampling" and "`TraceState` Handling".
//!
//! Every participant compares the same 56 random bits of a trace with a threshold of its own, so what a low
//! probability samples, a higher one samples too, wherever in the mesh it is asked.

use crate::hex;
use crate::trace::TraceId;

/// 2^56: how many values randomness has, and one more than the highest threshold.
const MAX_ADJUSTED_COUNT: u64 = 1 << 56;

/// Hexadecimal digits of 56 bits.
const DIGITS: u32 = 14;

/// Digits that a configured probability's threshold keeps, beside leading ones that are `f`: what the specification
/// recommends ("Converting floating-point probability to threshold value").
pub(super) const PRECISION: u32 = 4;

/// The 56 random bits of a trace: the `rv` sub-key of its trace state, or else the last 7 bytes of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Randomness(u64);

impl Randomness {
    /// The last 7 bytes of the id (W3C Trace Context Level 2 §3.2.2.5). Where the random-trace-id flag is not set they
    /// are presumed to be random, as the specification has it.
    pub fn from_trace_id(trace_id: TraceId) -> Self {
        Self(trace_id.low_u64() & (MAX_ADJUSTED_COUNT - 1))
    }

    /// An `rv` value: exactly 14 lower-case hex digits.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != 14 {
            return None;
        }
        u64::try_from(hex::parse_lower(text)?).ok().map(Self)
    }

    /// The value as an integer below 2^56.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// How many of 2^56 traces are rejected: from 0 (all are sampled) to 2^56 - 1. "None is sampled" is no threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Threshold(u64);

impl Threshold {
    /// All traces are sampled.
    pub const ALWAYS: Self = Self(0);

    /// For a probability, to a precision of four hex digits behind leading `f`s. `None` for one that samples nothing:
    /// zero, less than half of 2^-56, or not a number. What lies above 1 is 1.
    pub fn from_probability(probability: f64) -> Option<Self> {
        Self::with_precision(probability, PRECISION)
    }

    /// Like [`from_probability`](Self::from_probability) with `precision` digits, from 1 to 14.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a probability above 0 and at most 1, times 2^56"
    )]
    pub fn with_precision(probability: f64, precision: u32) -> Option<Self> {
        if probability.is_nan() || probability <= 0.0 {
            return None;
        }
        let probability = probability.min(1.0);
        let accepted = (probability * MAX_ADJUSTED_COUNT as f64).round() as u64;
        let exact = MAX_ADJUSTED_COUNT.checked_sub(accepted).filter(|exact| *exact < MAX_ADJUSTED_COUNT)?;
        let digits = precision.max(1).saturating_add(leading_f_digits(probability)).min(DIGITS);
        let shift = DIGITS.saturating_sub(digits).saturating_mul(4);
        if shift == 0 {
            return Some(Self(exact));
        }
        let half = 1_u64 << shift.saturating_sub(1);
        let rounded = exact.saturating_add(half) >> shift << shift;
        // Rounding up never reaches 2^56: the digits kept hold one that is not `f`.
        Some(Self(rounded.min(MAX_ADJUSTED_COUNT - 1)))
    }

    /// A `th` value: one to 14 lower-case hex digits; digits that are left out at the end are zeros.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let missing = usize::try_from(DIGITS).ok()?.checked_sub(text.len())?;
        let value = u64::try_from(hex::parse_lower(text)?).ok()?;
        let shift = u32::try_from(missing).ok()?.checked_mul(4)?;
        Some(Self(value.checked_shl(shift)?))
    }

    /// The threshold with this value, below 2^56.
    pub const fn new(value: u64) -> Option<Self> {
        if value < MAX_ADJUSTED_COUNT { Some(Self(value)) } else { None }
    }

    /// Whether a trace with this randomness is sampled: it is when its randomness is at least the threshold.
    pub fn samples(self, randomness: Randomness) -> bool {
        randomness.0 >= self.0
    }

    /// The share of traces that are sampled, above 0 and at most 1.
    #[expect(clippy::cast_precision_loss, reason = "as the specification computes it")]
    pub fn probability(self) -> f64 {
        MAX_ADJUSTED_COUNT.saturating_sub(self.0) as f64 / MAX_ADJUSTED_COUNT as f64
    }

    /// How many traces a sampled one stands for: 1 divided by the probability.
    #[expect(clippy::cast_precision_loss, reason = "as the specification computes it")]
    pub fn adjusted_count(self) -> f64 {
        MAX_ADJUSTED_COUNT as f64 / MAX_ADJUSTED_COUNT.saturating_sub(self.0) as f64
    }

    /// The value as an integer below 2^56.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Appends the `th` value: without zeros at its end, `0` for zero.
    pub fn write(self, text: &mut String) {
        let digits = hex::Hex::<14>::from_u128(u128::from(self.0));
        let digits = digits.as_str().trim_end_matches('0');
        text.push_str(if digits.is_empty() { "0" } else { digits });
    }
}

/// How many digits `f` a threshold begins with: one for each factor of 16 that the probability (above 0, at most 1) lies
/// below 1.
fn leading_f_digits(probability: f64) -> u32 {
    // The exponent field of a double, as in 0.1 × 2^exponent: 0 for 0.5 ..= 1.
    let field = (probability.to_bits() >> 52) & 0x7ff;
    let below_one = 1022_u64.saturating_sub(field);
    u32::try_from(below_one / 4).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn text(threshold: Threshold) -> String {
        let mut text = String::new();
        threshold.write(&mut text);
        text
    }

    /// The table in "Converting floating-point probability to threshold value": 1-in-N, the thresholds at precisions 3,
    /// 4 and 5, and the exact adjusted count at precision 4.
    #[test]
    #[expect(clippy::unreadable_literal, reason = "as published")]
    fn the_specifications_table() {
        let table: &[(f64, [&str; 3], f64)] = &[
            (1.0, ["0", "0", "0"], 1.0),
            (2.0, ["8", "8", "8"], 2.0),
            (3.0, ["aab", "aaab", "aaaab"], 3.00004577706569),
            (4.0, ["c", "c", "c"], 4.0),
            (5.0, ["ccd", "cccd", "ccccd"], 5.0000762951094835),
            (8.0, ["e", "e", "e"], 8.0),
            (10.0, ["e66", "e666", "e6666"], 9.99938968568813),
            (16.0, ["f", "f", "f"], 16.0),
            (100.0, ["fd71", "fd70a", "fd70a4"], 99.99771123402633),
            (1000.0, ["ffbe7", "ffbe77", "ffbe76d"], 1000.012874769029),
            (10000.0, ["fff972", "fff9724", "fff97247"], 9999.830725674266),
            (100000.0, ["ffff584", "ffff583a", "ffff583a5"], 99999.238556461),
            (1000000.0, ["ffffef4", "ffffef39", "ffffef391"], 999992.38556461),
        ];
        for (one_in, expected, adjusted_count) in table {
            let probability = 1.0 / one_in;
            for (precision, expected) in [3, 4, 5].into_iter().zip(expected) {
                let threshold = Threshold::with_precision(probability, precision).unwrap();
                assert_eq!(text(threshold), *expected, "1 in {one_in}, precision {precision}");
            }
            let threshold = Threshold::from_probability(probability).unwrap();
            let error = (threshold.adjusted_count() / adjusted_count - 1.0).abs();
            assert!(error < 1e-12, "1 in {one_in}: {}", threshold.adjusted_count());
        }
    }

    /// The examples of the Collector's `pkg/sampling` at full precision.
    #[test]
    fn the_collectors_table() {
        let two_to_minus_56 = (-56.0_f64).exp2();
        let table: &[(f64, &str)] = &[
            (two_to_minus_56, "ffffffffffffff"),
            (2.0 * two_to_minus_56, "fffffffffffffe"),
            (3.0 * two_to_minus_56, "fffffffffffffd"),
            (4.0 * two_to_minus_56, "fffffffffffffc"),
            (8.0 * two_to_minus_56, "fffffffffffff8"),
            (16.0 * two_to_minus_56, "fffffffffffff"),
            (1.0 / 3.0, "aaaaaaaaaaaaac"),
            (1.0 - f64::from(0x0456_789a_u32) / 268_435_456.0, "456789a"),
            (1.0 - f64::from(0x1234_5678) / 4_294_967_296.0, "12345678"),
            (1.0 - f64::from(0x0008_0801) / 268_435_456.0, "0080801"),
        ];
        for (probability, expected) in table {
            assert_eq!(text(Threshold::with_precision(*probability, 14).unwrap()), *expected);
        }
        // "1% … with 5 digits of precision" in the specification's definition of the rejection threshold.
        assert_eq!(text(Threshold::with_precision(0.01, 4).unwrap()), "fd70a");
        assert_eq!(text(Threshold::with_precision(0.01, 5).unwrap()), "fd70a4");
    }

    #[test]
    fn what_samples_nothing_is_no_threshold() {
        for probability in [0.0, -0.0, -1.0, f64::NAN, f64::NEG_INFINITY, f64::MIN_POSITIVE, 1e-18] {
            assert_eq!(Threshold::from_probability(probability), None, "{probability}");
        }
        for probability in [1.0, 1.5, f64::INFINITY, 1.0 - f64::EPSILON / 2.0] {
            assert_eq!(Threshold::from_probability(probability), Some(Threshold::ALWAYS), "{probability}");
        }
    }

    #[test]
    fn th_values() {
        let valid: &[(&str, u64, &str)] = &[
            ("0", 0, "all"),
            ("00000000000000", 0, "all, with every digit"),
            ("8", 0x80_0000_0000_0000, "half: zeros at the end are implied"),
            ("fd70a4", 0xfd_70a4_0000_0000, "one in a hundred"),
            ("ffffffffffffff", 0xff_ffff_ffff_ffff, "the highest"),
            ("0080801", 0x00_8080_1000_0000, "zeros at the front count"),
            ("c0", 0xc0_0000_0000_0000, "a zero at the end that could be left out"),
        ];
        for (value, expected, why) in valid {
            assert_eq!(Threshold::parse(value.as_bytes()).map(Threshold::get), Some(*expected), "{why}");
        }
        let invalid = [
            ("", "no digit"),
            ("000000000000000", "15 digits"),
            ("FD", "upper case"),
            ("g", "no digit"),
            ("-1", "a sign"),
            ("8 ", "a space"),
        ];
        for (value, why) in invalid {
            assert_eq!(Threshold::parse(value.as_bytes()), None, "{why}");
        }
        assert_eq!(Threshold::new(MAX_ADJUSTED_COUNT), None);
    }

    #[test]
    fn rv_values() {
        // The specification's example: sampled at thresholds up to its own value.
        let randomness = Randomness::parse(b"6e6d1a75832a2f").unwrap();
        assert_eq!(randomness.get(), 0x006e_6d1a_7583_2a2f);
        assert!(Threshold::new(0x006e_6d1a_7583_2a2f).unwrap().samples(randomness), "equal is sampled");
        assert!(!Threshold::new(0x006e_6d1a_7583_2a30).unwrap().samples(randomness));
        let id = TraceId::new(0xabcd_ef01_2345_6789_ff6e_6d1a_7583_2a2f).unwrap();
        assert_eq!(Randomness::from_trace_id(id), randomness, "the last 7 bytes alone");
        for (value, why) in [
            ("6e6d1a75832a2", "13 digits"),
            ("6e6d1a75832a2f0", "15 digits"),
            ("6E6D1A75832A2F", "upper case"),
            ("6e6d1a75832a2g", "no digit"),
            ("", "none"),
        ] {
            assert_eq!(Randomness::parse(value.as_bytes()), None, "{why}");
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(value in 0..MAX_ADJUSTED_COUNT) {
            let threshold = Threshold::new(value).unwrap();
            let mut text = String::new();
            threshold.write(&mut text);
            prop_assert!(!text.is_empty() && text.len() <= 14);
            prop_assert_eq!(Threshold::parse(text.as_bytes()), Some(threshold));
        }

        /// Four digits behind the leading `f`s: the probability is off by at most half of the last one.
        #[test]
        fn precision_is_relative_to_the_probability(exponent in 0.0f64..40.0) {
            let probability = (-exponent).exp2();
            let threshold = Threshold::from_probability(probability).unwrap();
            let error = (threshold.probability() / probability - 1.0).abs();
            prop_assert!(error <= 16.0 / 65536.0, "{probability}: {error}");
        }

        #[test]
        fn a_lower_probability_lies_within_a_higher_one(value in 1u128.., one in 0.0f64..=1.0, other in 0.0f64..=1.0) {
            let randomness = Randomness::from_trace_id(TraceId::new(value).unwrap());
            let samples = |p: f64| Threshold::from_probability(p).is_some_and(|threshold| threshold.samples(randomness));
            prop_assert!(!samples(one.min(other)) || samples(one.max(other)));
        }
    }
}
