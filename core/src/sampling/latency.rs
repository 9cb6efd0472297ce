//! How long the streams of a route take: a histogram that forgets, for its 95th percentile.

/// Buckets for each doubling of the duration: a bucket is at most an eighth wider than its lower edge.
const PER_OCTAVE_BITS: u32 = 3;

/// Durations from 1 µs to 2^32 µs, which is more than an hour; what lies outside counts as the nearest.
const OCTAVES: usize = 32;

const BUCKETS: usize = OCTAVES << PER_OCTAVE_BITS;

/// With so many streams counted, all counts are halved: what counts is the last thousand or two.
const WINDOW: u32 = 2_048;

/// With fewer streams than this there is no telling.
const LEAST: u32 = 100;

/// After so many streams the percentile is looked up anew.
const REFRESH: u32 = 32;

/// The recent durations of one route. Half a kilobyte.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Latency {
    counts: Box<[u16; BUCKETS]>,
    total: u32,
    since_refresh: u32,
    /// The first bucket above the 95th percentile; `None` while there is no telling.
    slow_from: Option<usize>,
}

impl Default for Latency {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), total: 0, since_refresh: 0, slow_from: None }
    }
}

impl Latency {
    /// Whether a stream that took so long (ns) took longer than 95 of 100 lately; then counts it.
    pub(super) fn observe(&mut self, duration: u64) -> bool {
        let bucket = bucket_of(duration);
        let slow = self.slow_from.is_some_and(|from| bucket >= from);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
        self.total = self.total.saturating_add(1);
        if self.total >= WINDOW {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().fold(0, |sum, count| sum.saturating_add(u32::from(*count)));
        }
        self.since_refresh = self.since_refresh.saturating_add(1);
        if self.since_refresh >= REFRESH || self.total == LEAST {
            self.since_refresh = 0;
            self.slow_from = self.look_up();
        }
        slow
    }

    fn look_up(&self) -> Option<usize> {
        if self.total < LEAST {
            return None;
        }
        let wanted = self.total.saturating_mul(95).div_ceil(100);
        let mut sum: u32 = 0;
        let reaches = |count: &u16| {
            sum = sum.saturating_add(u32::from(*count));
            sum >= wanted
        };
        self.counts.iter().position(reaches).map(|bucket| bucket.saturating_add(1))
    }
}

/// By the highest bit of the microseconds, and the bits that follow it.
fn bucket_of(duration: u64) -> usize {
    let micros = u32::try_from(duration / 1_000).unwrap_or(u32::MAX).max(1);
    let octave = 31_u32.saturating_sub(micros.leading_zeros());
    let below_highest = u64::from(micros) << PER_OCTAVE_BITS >> octave;
    let within = below_highest & ((1 << PER_OCTAVE_BITS) - 1);
    usize::try_from((u64::from(octave) << PER_OCTAVE_BITS) | within).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn buckets_are_in_order_and_narrow() {
        let mut last = 0;
        let mut micros = 1_u64;
        while micros < 1 << 31 {
            let bucket = bucket_of(micros * 1_000);
            assert!(bucket >= last && bucket < BUCKETS, "{micros} µs: {bucket} after {last}");
            if micros >= 16 {
                let wider = bucket_of((micros + micros / 7) * 1_000);
                assert!(wider > bucket, "{micros} µs and a seventh more");
            }
            last = bucket;
            micros += 1 + micros / 50;
        }
        assert_eq!((bucket_of(0), bucket_of(u64::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn nothing_is_slow_until_there_is_something_to_compare_with() {
        let mut latency = Latency::default();
        for stream in 0..99 {
            assert!(!latency.observe(MS), "stream {stream}");
        }
        assert!(!latency.observe(3_600_000 * MS), "the hundredth");
        assert!(latency.observe(3_600_000 * MS), "after a hundred");
        assert!(!latency.observe(MS));
    }

    #[test]
    fn the_slowest_twentieth() {
        let mut latency = Latency::default();
        // 1 to 100 ms, evenly, in an order that mixes them.
        let durations = (0..20_000_u64).map(|stream| (stream * 37 % 100 + 1) * MS);
        let slow: Vec<u64> = durations.filter(|duration| latency.observe(*duration)).collect();
        assert!(slow.iter().all(|duration| *duration > 88 * MS), "{:?}", slow.iter().min());
        assert!(slow.len() <= 20_000 / 20 + 100, "{}", slow.len());
        assert!(latency.observe(200 * MS), "twice the slowest");
    }

    #[test]
    fn a_route_that_changes_is_learnt_anew() {
        let mut latency = Latency::default();
        for _ in 0..5_000 {
            latency.observe(MS);
        }
        let slow = (0..10_000).filter(|_| latency.observe(10 * MS)).count();
        assert!((50..3_000).contains(&slow), "slow at first, then usual: {slow}");
        assert!(!latency.observe(10 * MS));
    }

    #[test]
    fn a_route_without_spread_is_never_slow() {
        let mut latency = Latency::default();
        assert_eq!((0..10_000).filter(|_| latency.observe(5 * MS)).count(), 0);
    }
}
