//! Medians, quartiles, and how sure a median is.

/// A small generator of random numbers (splitmix64), seeded so that a run can be repeated.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is above 0 and small: the modulus' bias does not matter here.
    #[allow(clippy::cast_possible_truncation, reason = "below a usize")]
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Puts the entries in a random order.
    pub(crate) fn shuffle<T>(&mut self, entries: &mut [T]) {
        for last in (1..entries.len()).rev() {
            entries.swap(last, self.below(last + 1));
        }
    }
}

/// A median with its spread over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) median: f64,
    /// The quartiles of the rounds; for a ratio, of the resampled ratios.
    pub(crate) quartiles: (f64, f64),
    /// The 95 % confidence interval of the median: percentile bootstrap over the rounds.
    pub(crate) interval: (f64, f64),
}

const RESAMPLES: usize = 4000;
const SEED: u64 = 0x6d65_7368;

impl Estimate {
    /// Of one value a round. `values` is not empty.
    pub(crate) fn of(values: &[f64]) -> Self {
        let resampled = resample(values.len(), |rounds| median(rounds.iter().map(|round| values[*round])));
        Self {
            median: median(values.iter().copied()),
            quartiles: (quantile(values, 0.25), quantile(values, 0.75)),
            interval: (quantile(&resampled, 0.025), quantile(&resampled, 0.975)),
        }
    }

    /// Of the ratio of two medians, whose values come from the same rounds: both are resampled together.
    pub(crate) fn of_ratio(above: &[f64], below: &[f64]) -> Self {
        let ratio = |rounds: &[usize]| {
            let above = median(rounds.iter().map(|round| above[*round]));
            above / median(rounds.iter().map(|round| below[*round]))
        };
        let resampled = resample(above.len().min(below.len()), ratio);
        Self {
            median: median(above.iter().copied()) / median(below.iter().copied()),
            quartiles: (quantile(&resampled, 0.25), quantile(&resampled, 0.75)),
            interval: (quantile(&resampled, 0.025), quantile(&resampled, 0.975)),
        }
    }

    /// Half the confidence interval's width.
    pub(crate) fn uncertainty(&self) -> f64 {
        (self.interval.1 - self.interval.0) / 2.0
    }
}

fn resample(rounds: usize, mut statistic: impl FnMut(&[usize]) -> f64) -> Vec<f64> {
    let mut random = Random::new(SEED);
    let mut drawn = vec![0; rounds];
    let draw = |_| {
        for round in &mut drawn {
            *round = random.below(rounds);
        }
        statistic(&drawn)
    };
    (0..RESAMPLES).map(draw).collect()
}

/// The median; of none, not a number.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    quantile(&values.collect::<Vec<_>>(), 0.5)
}

/// The quantile, 0 to 1, linear between neighbours; of none, not a number.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
pub(crate) fn quantile(values: &[f64], at: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = last as f64 * at;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (place - place.floor())
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "the values are exact")]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        for (values, at, expected) in [
            (&[3.0, 1.0, 2.0][..], 0.5, 2.0),      // in any order
            (&[1.0, 2.0, 3.0, 4.0][..], 0.5, 2.5), // between two
            (&[1.0, 2.0, 3.0, 4.0, 5.0][..], 0.25, 2.0),
            (&[7.0][..], 0.99, 7.0),
            (&[1.0, 2.0][..], 1.0, 2.0),
        ] {
            assert_eq!(quantile(values, at), expected, "{values:?} at {at}");
        }
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn an_interval_holds_the_median_and_narrows_with_agreement() {
        let steady: Vec<f64> = (0..40).map(|i| 20.0 + f64::from(i % 5) / 10.0).collect();
        let wild: Vec<f64> = (0..40).map(|i| 20.0 + f64::from(i % 5) * 10.0).collect();
        let (steady, wild) = (Estimate::of(&steady), Estimate::of(&wild));
        for estimate in [steady, wild] {
            assert!(estimate.interval.0 <= estimate.median && estimate.median <= estimate.interval.1, "{estimate:?}");
        }
        assert!(steady.uncertainty() < wild.uncertainty());
        assert_eq!(Estimate::of(&[5.0; 9]).uncertainty(), 0.0);
    }

    #[test]
    fn what_moves_both_sides_of_a_ratio_alike_does_not_widen_it() {
        let below: Vec<f64> = (1..=40).map(f64::from).collect();
        let above: Vec<f64> = below.iter().map(|value| value * 0.8).collect();
        let ratio = Estimate::of_ratio(&above, &below);
        assert!((ratio.median - 0.8).abs() < 1e-9 && ratio.uncertainty() < 1e-9, "{ratio:?}");
    }

    #[test]
    fn a_shuffle_keeps_every_entry() {
        let mut entries: Vec<usize> = (0..6).collect();
        let mut random = Random::new(1);
        let mut orders = std::collections::BTreeSet::new();
        for _ in 0..200 {
            random.shuffle(&mut entries);
            orders.insert(entries.clone());
            let mut sorted = entries.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..6).collect::<Vec<_>>());
        }
        assert!(orders.len() > 100, "only {} orders", orders.len());
    }
}
