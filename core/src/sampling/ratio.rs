//! `trace_id_ratio_based`: a fraction of all traces, chosen by the trace id.

use crate::trace::TraceId;

/// 2^63 as a double: exact.
const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;

/// Samples the traces whose id falls below a bound.
///
/// The OpenTelemetry specification names no algorithm. This one reads the id's last 8 bytes as a big-endian
/// number, drops its lowest bit and compares the rest with `ratio × 2^63`: the rule of the Go and Rust SDKs, so a
/// service and a proxy with the same ratio agree. (The Java SDK bounds the same 8 bytes by the same number but
/// takes the signed value's magnitude, so it agrees on the share and not on every single trace.)
///
/// The bound grows with the ratio, so what a lower ratio samples, a higher one samples too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TraceIdRatioBased {
    /// Exclusive, in units of 2^-63. At most 2^63, which no id reaches.
    bound: u64,
}

impl TraceIdRatioBased {
    /// `ratio` between 0 and 1; what lies outside is brought to the nearer end, and NaN samples nothing.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=2^63 before")]
    #[inline]
    pub(super) fn new(ratio: f64) -> Self {
        let ratio = if ratio.is_nan() { 0.0 } else { ratio.clamp(0.0, 1.0) };
        Self { bound: (ratio * TWO_POW_63) as u64 }
    }

    /// Whether a trace is sampled.
    pub(super) fn samples(self, trace_id: TraceId) -> bool {
        (trace_id.low_u64() >> 1) < self.bound
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn id(value: u128) -> TraceId {
        TraceId::new(value).unwrap()
    }

    #[test]
    fn decides_by_the_last_eight_bytes() {
        let table: &[(f64, u128, bool, &str)] = &[
            (1.0, u128::MAX, true, "1.0 takes the highest id"),
            (1.0, 1, true, "1.0 takes the lowest id"),
            (0.0, 1, false, "0.0 takes nothing"),
            (0.0, 1 << 64, false, "0.0 takes nothing, not even low bytes of zero"),
            (0.5, 0x7fff_ffff_ffff_ffff, true, "just under the half"),
            (0.5, 0x8000_0000_0000_0000, false, "the half itself is out: the bound is exclusive"),
            (0.5, 0xffff_ffff_ffff_ffff_0000_0000_0000_0000, true, "the first 8 bytes do not count"),
            (0.25, 0x3fff_ffff_ffff_ffff, true, "just under a quarter"),
            (0.25, 0x4000_0000_0000_0000, false, "a quarter"),
            (f64::NAN, 1, false, "not a number: nothing"),
            (7.0, u128::MAX, true, "above 1: all"),
        ];
        for (ratio, value, sampled, why) in table {
            assert_eq!(TraceIdRatioBased::new(*ratio).samples(id(*value)), *sampled, "{why}");
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_lower_ratio_lies_within_a_higher_one(value in 1u128.., one in 0.0f64..=1.0, other in 0.0f64..=1.0) {
            let id = TraceId::new(value).unwrap();
            let (low, high) = if one < other { (one, other) } else { (other, one) };
            let low = TraceIdRatioBased::new(low).samples(id);
            let high = TraceIdRatioBased::new(high).samples(id);
            prop_assert!(!low || high);
        }
    }

    #[test]
    fn the_share_is_the_ratio() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let sampler = TraceIdRatioBased::new(0.1);
        let hits = (0..100_000u32)
            .filter(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                sampler.samples(TraceId::new(u128::from(state)).unwrap())
            })
            .count();
        // Binomial(100000, 0.1): standard deviation 95; six of them either side.
        assert!((9_430..=10_570).contains(&hits), "{hits}");
    }
}
