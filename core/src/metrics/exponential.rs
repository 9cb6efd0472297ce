//! The base-2 exponential histogram of one series (Metrics Data Model, "`ExponentialHistogram`"; Metrics SDK, "Base2
//! Exponential Bucket Histogram Aggregation").
//!
//! At scale `s` the boundaries are the powers of 2^(2^-s), and bucket `i` holds what is above the power `i` and up to
//! and with the power `i + 1`. A histogram begins at the largest scale and halves its resolution, by merging
//! neighbours, when the values no longer fit into so many buckets. What is measured here is never negative, so there
//! is no negative range.

use super::histogram::Summary;

/// The scale at which two buckets hold every double: no histogram gets below it.
const LEAST_SCALE: i32 = -10;

/// Counts in buckets whose width grows with the values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ExponentialHistogram {
    pub(super) summary: Summary,
    pub(super) scale: i32,
    pub(super) zero_count: u64,
    /// The index of the first of `buckets`.
    pub(super) offset: i32,
    /// From the first bucket with a value to the last.
    pub(super) buckets: Vec<u64>,
}

impl ExponentialHistogram {
    /// Without values.
    #[inline]
    pub(super) fn new(max_scale: i32) -> Self {
        Self { summary: Summary::default(), scale: max_scale, zero_count: 0, offset: 0, buckets: Vec::new() }
    }

    /// Counts a finite value that is not negative. `max_size` is at least 2.
    pub(super) fn record(&mut self, value: f64, max_size: usize) {
        self.summary.record(value);
        if value <= 0.0 {
            self.zero_count = self.zero_count.saturating_add(1);
            return;
        }
        let index = self.fit(index(value, self.scale), max_size);
        let place = i64::from(index).saturating_sub(i64::from(self.offset));
        if let Ok(place) = usize::try_from(place) {
            if place >= self.buckets.len() {
                self.buckets.resize(place.saturating_add(1), 0);
            }
        } else {
            let missing = usize::try_from(place.unsigned_abs()).unwrap_or_default();
            self.buckets.splice(..0, core::iter::repeat_n(0, missing));
            self.offset = index;
        }
        let place = usize::try_from(place).unwrap_or_default();
        if let Some(count) = self.buckets.get_mut(place) {
            *count = count.saturating_add(1);
        }
    }

    /// Makes room for the bucket `index` of the present scale; its index at the scale that it then has.
    fn fit(&mut self, index: i32, max_size: usize) -> i32 {
        if self.buckets.is_empty() {
            self.offset = index;
            return index;
        }
        let last = self.buckets.len().saturating_sub(1);
        let last = self.offset.saturating_add(i32::try_from(last).unwrap_or(i32::MAX));
        let (mut low, mut high) = (self.offset.min(index), last.max(index));
        let size = i32::try_from(max_size).unwrap_or(i32::MAX).max(2);
        let mut halvings: u32 = 0;
        while high.saturating_sub(low) >= size && self.scale.saturating_sub_unsigned(halvings) > LEAST_SCALE {
            (low, high) = (low >> 1, high >> 1);
            halvings = halvings.saturating_add(1);
        }
        self.downscale(halvings);
        index.unbounded_shr(halvings)
    }

    /// Merges the buckets so that each is 2^halvings as wide.
    fn downscale(&mut self, halvings: u32) {
        if halvings == 0 {
            return;
        }
        let old = core::mem::take(&mut self.buckets);
        let offset = self.offset.unbounded_shr(halvings);
        for (place, count) in old.into_iter().enumerate() {
            let index = self.offset.saturating_add(i32::try_from(place).unwrap_or(i32::MAX)).unbounded_shr(halvings);
            let Ok(place) = usize::try_from(index.saturating_sub(offset)) else { continue };
            if place >= self.buckets.len() {
                self.buckets.resize(place.saturating_add(1), 0);
            }
            if let Some(merged) = self.buckets.get_mut(place) {
                *merged = merged.saturating_add(count);
            }
        }
        self.offset = offset;
        self.scale = self.scale.saturating_sub_unsigned(halvings);
    }
}

/// Bits of a double's fraction.
const FRACTION_BITS: u32 = 52;

/// Which bucket a positive, finite value belongs to at a scale from -10 to 20. Doubles below the normal ones count as
/// the least of those.
fn index(value: f64, scale: i32) -> i32 {
    let bits = value.max(f64::MIN_POSITIVE).to_bits();
    let fraction = bits & ((1 << FRACTION_BITS) - 1);
    let exponent = i32::try_from(bits >> FRACTION_BITS).unwrap_or_default().saturating_sub(1023);
    if fraction == 0 {
        // A power of two is a boundary at every scale, and belongs to the bucket below it.
        return if scale >= 0 {
            exponent.unbounded_shl(scale.unsigned_abs()).saturating_sub(1)
        } else {
            exponent.saturating_sub(1).unbounded_shr(scale.unsigned_abs())
        };
    }
    if scale <= 0 {
        return exponent.unbounded_shr(scale.unsigned_abs());
    }
    // From 1 to 2, so that the logarithm has as many good digits as there are; and kept within its power of two, on
    // whose edges rounding could push it over.
    let mantissa = f64::from_bits(fraction | 1.0_f64.to_bits());
    let parts = 1_i32.unbounded_shl(scale.unsigned_abs());
    #[expect(clippy::cast_possible_truncation, reason = "between 0 and 2^20")]
    let part = (mantissa.log2() * f64::from(parts)).ceil() as i32;
    let part = part.saturating_sub(1).clamp(0, parts.saturating_sub(1));
    exponent.unbounded_shl(scale.unsigned_abs()).saturating_add(part)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn values_fall_between_their_powers() {
        let table: &[(f64, i32, i32, &str)] = &[
            (1.0, 0, -1, "an upper boundary is inclusive"),
            (1.000_000_1, 0, 0, "above it"),
            (2.0, 0, 0, "the next"),
            (4.0, 0, 1, "and the next"),
            (3.0, 0, 1, "between"),
            (4.0, 1, 3, "finer"),
            (3.0, 1, 3, "above 2√2"),
            (2.5, 1, 2, "below it"),
            (0.5, 0, -2, "below one"),
            (1.0, -1, -1, "coarser"),
            (4.0, -1, 0, "the boundary of the coarser one"),
            (5.0, -1, 1, "above it"),
            (f64::MAX, -10, 0, "two buckets hold all"),
            (f64::MIN_POSITIVE, -10, -1, "two buckets hold all"),
            (5e-324, 0, -1023, "not normal: as the least normal one"),
            (2.0, 20, (1 << 20) - 1, "the finest"),
            (f64::from_bits(2.0_f64.to_bits() - 1), 20, (1 << 20) - 1, "just below a power of two"),
            (f64::from_bits(1.0_f64.to_bits() + 1), 20, 0, "just above one"),
            (f64::MAX, 20, (1024 << 20) - 1, "the largest"),
            (f64::MIN_POSITIVE, 20, (-1022 << 20) - 1, "the smallest"),
        ];
        for (value, scale, expected, why) in table {
            assert_eq!(index(*value, *scale), *expected, "{value} at {scale}: {why}");
        }
    }

    #[test]
    fn scales_agree_on_which_values_are_together() {
        for step in 1..5_000_u32 {
            let value = 1.003_f64.powi(i32::try_from(step).unwrap() - 2_500);
            for scale in -9..=20 {
                assert_eq!(index(value, scale) >> 1, index(value, scale - 1), "{value} at {scale}");
            }
        }
    }

    #[test]
    fn it_holds_all_doubles_in_two_buckets() {
        let mut histogram = ExponentialHistogram::new(20);
        for value in [1.0, f64::MAX, f64::MIN_POSITIVE, 5e-324, 0.0, 1e10] {
            histogram.record(value, 2);
        }
        assert_eq!((histogram.scale, histogram.offset, histogram.zero_count), (-10, -1, 1));
        assert_eq!(histogram.buckets, [3, 2]);
        assert_eq!(histogram.summary.count, 6);
    }

    #[test]
    fn a_downscale_merges_neighbours() {
        let mut histogram = ExponentialHistogram::new(0);
        for value in [2.0, 4.0, 4.0, 8.0] {
            histogram.record(value, 4);
        }
        assert_eq!((histogram.scale, histogram.offset, histogram.buckets.as_slice()), (0, 0, &[1, 2, 1][..]));
        histogram.record(32.0, 4);
        // Of width 2^2 now: (1, 4], (4, 16], (16, 64].
        assert_eq!((histogram.scale, histogram.offset, histogram.buckets.as_slice()), (-1, 0, &[3, 1, 1][..]));
        histogram.record(0.5, 4);
        assert_eq!((histogram.scale, histogram.offset, histogram.buckets.as_slice()), (-1, -1, &[1, 3, 1, 1][..]));
    }
}
