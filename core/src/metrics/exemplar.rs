//! Exemplars: single measurements that a series shows, each with its trace (Metrics SDK, "Exemplar").

use super::attributes::OwnedAttributes;
use crate::trace::{SpanId, TraceId};

/// In what context something was measured: what an exemplar of the measurement points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// When, ns since the Unix epoch.
    pub time: u64,
    /// The stream's trace.
    pub trace_id: TraceId,
    /// Its span.
    pub span_id: SpanId,
    /// Whether that span is exported.
    pub sampled: bool,
}

/// A measured value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Double(f64),
}

impl Number {
    #[expect(clippy::cast_precision_loss, reason = "counts above 2^53 are not counted one by one")]
    pub(super) const fn as_double(self) -> f64 {
        match self {
            Self::Int(number) => number as f64,
            Self::Double(number) => number,
        }
    }
}

/// A measurement that was kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    pub(super) exemplar: Exemplar,
    pub(super) value: Number,
    /// The measurement's attributes that a view keeps from the series.
    pub(super) filtered: OwnedAttributes,
}

/// Where the next measurement goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// `AlignedHistogramBucketExemplarReservoir`: one of each bucket, the last one seen.
    Bucket(usize),
    /// `SimpleFixedSizeExemplarReservoir`: so many in all, each measurement with the same chance.
    AnyOf(usize),
}

/// The exemplars of one series since it was last collected. As many as it has buckets, or less.
#[derive(Clone, Debug, Default)]
pub(super) struct Reservoir {
    /// With the bucket, where there are any.
    kept: Vec<(usize, Kept)>,
    seen: u64,
}

impl Reservoir {
    /// Takes a measurement or leaves it. `random` is a number that is asked for once at most.
    pub(super) fn offer(&mut self, place: Place, random: impl FnOnce() -> u64, kept: impl FnOnce() -> Kept) {
        self.seen = self.seen.saturating_add(1);
        let slot = match place {
            Place::Bucket(bucket) => {
                let known = self.kept.iter().position(|(of, _)| *of == bucket).unwrap_or(self.kept.len());
                (known, bucket)
            }
            Place::AnyOf(size) if self.kept.len() < size => (self.kept.len(), 0),
            Place::AnyOf(size) => {
                let chosen = random().checked_rem(self.seen).and_then(|chosen| usize::try_from(chosen).ok());
                let Some(chosen) = chosen.filter(|chosen| *chosen < size) else { return };
                (chosen, 0)
            }
        };
        let (at, bucket) = slot;
        match self.kept.get_mut(at) {
            Some(known) => *known = (bucket, kept()),
            None => self.kept.push((bucket, kept())),
        }
    }

    /// What was kept; from here on it begins anew.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Kept> + use<> {
        self.seen = 0;
        core::mem::take(&mut self.kept).into_iter().map(|(_, kept)| kept)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn kept(value: i64) -> Kept {
        let exemplar =
            Exemplar { time: 1, trace_id: TraceId::new(1).unwrap(), span_id: SpanId::new(1).unwrap(), sampled: true };
        Kept { exemplar, value: Number::Int(value), filtered: OwnedAttributes::default() }
    }

    fn values(reservoir: &mut Reservoir) -> Vec<i64> {
        let number = |kept: Kept| match kept.value {
            Number::Int(number) => number,
            Number::Double(_) => panic!("an integer"),
        };
        let mut values: Vec<_> = reservoir.take().map(number).collect();
        values.sort_unstable();
        values
    }

    #[test]
    fn a_bucket_keeps_the_last_of_its_own() {
        let mut reservoir = Reservoir::default();
        for (bucket, value) in [(3, 1), (0, 2), (3, 3), (1, 4), (0, 5)] {
            reservoir.offer(Place::Bucket(bucket), || panic!("no chance in it"), || kept(value));
        }
        assert_eq!(values(&mut reservoir), [3, 4, 5]);
        assert_eq!(values(&mut reservoir), [0; 0], "taken");
    }

    #[test]
    fn a_fixed_size_gives_each_measurement_the_same_chance() {
        let mut state: u64 = 7;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let mut chosen = [0_u32; 10];
        for _ in 0..10_000 {
            let mut reservoir = Reservoir::default();
            for value in 0..10 {
                reservoir.offer(Place::AnyOf(2), &mut random, || kept(value));
            }
            let values = values(&mut reservoir);
            assert_eq!(values.len(), 2);
            for value in values {
                chosen[usize::try_from(value).unwrap()] += 1;
            }
        }
        // Two of ten: 2,000 times each, and a standard deviation of 40.
        assert!(chosen.iter().all(|times| (1_800..2_200).contains(times)), "{chosen:?}");
    }
}
