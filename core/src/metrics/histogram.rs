//! The explicit-bucket histogram of one series (Metrics Data Model, "Histogram").

/// How many values there were in each bucket, and what they come to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Histogram {
    pub(super) summary: Summary,
    /// One more than there are boundaries: values up to and with the first, …, above the last.
    pub(super) buckets: Box<[u64]>,
}

/// What is known of a distribution whatever its buckets are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) sum: f64,
    /// Infinite while there is no value.
    pub(super) min: f64,
    /// Infinite while there is no value.
    pub(super) max: f64,
}

impl Default for Summary {
    fn default() -> Self {
        Self { count: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Summary {
    pub(super) fn record(&mut self, value: f64) {
        self.count = self.count.saturating_add(1);
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }
}

impl Histogram {
    /// Without values.
    #[inline]
    pub(super) fn new(boundaries: &[f64]) -> Self {
        let buckets = boundaries.len().saturating_add(1);
        Self { summary: Summary::default(), buckets: vec![0; buckets].into() }
    }

    /// Counts a finite value in the bucket with this index (see [`bucket`]).
    pub(super) fn record(&mut self, value: f64, bucket: usize) {
        self.summary.record(value);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
    }
}

/// Which bucket a value belongs to: a boundary is the inclusive upper one.
pub(super) fn bucket(boundaries: &[f64], value: f64) -> usize {
    boundaries.partition_point(|boundary| *boundary < value)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_boundary_belongs_to_the_bucket_below() {
        let boundaries = [0.0, 5.0, 10.0];
        let table = [
            (0.0, 0, "the first boundary"),
            (0.1, 1, "above it"),
            (5.0, 1, "the second"),
            (5.000_001, 2, "just above"),
            (10.0, 2, "the last"),
            (1e300, 3, "above all"),
        ];
        let mut histogram = Histogram::new(&boundaries);
        for (value, expected, why) in table {
            assert_eq!(bucket(&boundaries, value), expected, "{why}");
            histogram.record(value, expected);
        }
        assert_eq!(*histogram.buckets, [1, 2, 2, 1]);
        assert_eq!((histogram.summary.count, histogram.summary.min, histogram.summary.max), (6, 0.0, 1e300));
        assert_eq!(bucket(&[], 7.0), 0, "no boundaries: one bucket");
    }
}
