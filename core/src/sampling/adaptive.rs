//! `adaptive`: the share follows load and errors, by the law in [`super::control`].
//!
//! Each worker counts by itself, and five times a second adds what it has counted to what all know, in the host's shared
//! data; whoever comes first after a second takes the step for all. In between the share stands, as a threshold.

use super::SamplingInput;
use super::control::{Counted, State};
use super::rate_limiter::RateLimiter;
use super::threshold::Threshold;
use crate::config::SortedMap;
use crate::config::{AdaptiveConfig, StartAttribute};
use crate::shared_data::{Outcome, SharedData, update};

/// How often a worker tells what it has counted, ns.
const SYNC: u64 = 200_000_000;

/// How many routes have a share of their own; those that come later have one together.
const MOST_ROUTES: usize = 256;

/// How long after the hard cap had to refuse a trace thresholds are not stated, ns: they would promise too much.
const CAPPED: u64 = 1_000_000_000;

/// One worker's side of an adaptive sampler.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Adaptive {
    config: AdaptiveConfig,
    key: String,
    cap: RateLimiter,
    capped_until: u64,
    /// The latest time that was told, ns. 0: none was.
    latest: u64,
    /// By route; an empty one for all, or for those without one of their own.
    shares: SortedMap<Box<[u8]>, Share>,
}

/// The share of one route.
#[derive(Clone, Debug, PartialEq)]
struct Share {
    key: String,
    /// Not yet told.
    counted: Counted,
    due: u64,
    state: State,
    threshold: Option<Threshold>,
}

impl Adaptive {
    /// From checked configuration. Samplers with the same `key` share what they know.
    #[inline]
    pub(super) fn new(config: &AdaptiveConfig, key: String) -> Self {
        let most = config.max_traces_per_second;
        Self {
            config: *config,
            cap: RateLimiter::new(format!("{key}.cap"), most, most.max(1.0)),
            key,
            capped_until: 0,
            latest: 0,
            shares: SortedMap::new(),
        }
    }

    /// The decision: whether it is sampled, and the threshold where that says why.
    pub(super) fn decide(
        &mut self,
        input: &SamplingInput<'_>,
        shared: &mut dyn SharedData,
    ) -> (bool, Option<Threshold>) {
        // A stream of which only the end is seen tells no time.
        self.latest = self.latest.max(input.now);
        let (now, config) = (self.latest, self.config);
        let mut route: Vec<u8> = Vec::new();
        if config.per_route {
            input.attributes.any(&StartAttribute::Route, &mut |value| {
                route.extend_from_slice(value);
                true
            });
        }
        let Some(share) = self.share(&route, now) else { return (false, None) };
        share.counted.requests += 1.0;
        share.sync(&config, now, shared);
        let Some(threshold) = share.threshold.filter(|threshold| threshold.samples(input.randomness())) else {
            return (false, None);
        };
        if !self.cap.take(now, shared) {
            self.capped_until = now.saturating_add(CAPPED);
            return (false, None);
        }
        (true, Some(threshold).filter(|_| now >= self.capped_until))
    }

    /// Takes note of how a stream ended that this sampler decided about.
    pub(super) fn observe(&mut self, route: &[u8], failed: bool, now: u64) {
        let route = if self.config.per_route { route } else { b"" };
        if let Some(share) = self.share(route, now) {
            share.counted.ended += 1.0;
            share.counted.failed += f64::from(u8::from(failed));
        }
    }

    /// What is known of the route, or of all that came too late; there is always one of them.
    fn share(&mut self, route: &[u8], now: u64) -> Option<&mut Share> {
        let known = self.shares.contains_key(route) || self.shares.len() < MOST_ROUTES;
        let route = if known { route } else { b"" };
        if !self.shares.contains_key(route) {
            let key = format!("{}.{}", self.key, String::from_utf8_lossy(route));
            self.shares.insert(route.into(), Share::new(key, State::new(&self.config, now)));
        }
        self.shares.get_mut(route)
    }
}

impl Share {
    #[inline]
    fn new(key: String, state: State) -> Self {
        Self { key, counted: Counted::default(), due: 0, threshold: Threshold::from_probability(state.ratio()), state }
    }

    fn sync(&mut self, config: &AdaptiveConfig, now: u64, shared: &mut dyn SharedData) {
        if now == 0 || now < self.due {
            return;
        }
        self.due = now.saturating_add(SYNC);
        let counted = self.counted;
        let merged = update(shared, &self.key, |stored| {
            let known = stored.and_then(State::decode).unwrap_or_else(|| State::new(config, now));
            let merged = known.merge(config, counted, now);
            (Some(merged.encode()), merged)
        });
        self.state = match merged {
            Outcome::Done(merged) => merged,
            // The next time then, with what will have come.
            Outcome::Busy => return,
            Outcome::Unavailable => self.state.merge(config, counted, now),
        };
        self.counted = Counted::default();
        self.threshold = Threshold::from_probability(self.state.ratio());
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::Parent;
    use super::super::control::tests::CONFIG;
    use super::super::tests::{Attributes, NO_ATTRIBUTES, input};
    use super::*;
    use crate::shared_data::Alone;
    use crate::shared_data::testing::Store;
    use crate::trace::IdGenerator;

    const SECOND: u64 = 1_000_000_000;
    const START: u64 = 1_700_000_000 * SECOND;

    struct Run {
        workers: Vec<Adaptive>,
        store: Store,
        ids: IdGenerator,
        now: u64,
    }

    impl Run {
        fn new(config: &AdaptiveConfig, workers: usize) -> Self {
            let worker = Adaptive::new(config, "meshspan.adaptive.".to_owned());
            Self {
                workers: vec![worker; workers],
                store: Store::default(),
                ids: IdGenerator::from_seed([5; 32]),
                now: START,
            }
        }

        /// Sampled traces by second, and the sum of their adjusted counts.
        fn seconds(&mut self, seconds: u32, rate: u64, failing: u64) -> Vec<(u32, f64)> {
            let mut result = Vec::new();
            for _ in 0..seconds {
                let (mut sampled, mut sum) = (0, 0.0);
                for request in 0..rate {
                    self.now += SECOND / rate;
                    // Uneven: the first worker has most of it.
                    let count = self.workers.len() as u64;
                    let worker = usize::try_from((request % (count + 2)).saturating_sub(2)).unwrap();
                    let id = self.ids.trace_id().get();
                    let input = SamplingInput { now: self.now, ..input(id, Parent::None, "", &NO_ATTRIBUTES) };
                    let (is_sampled, threshold) = self.workers[worker].decide(&input, &mut self.store);
                    sampled += u32::from(is_sampled);
                    sum += threshold.map_or(0.0, Threshold::adjusted_count);
                    self.workers[worker].observe(b"", request % 100 < failing, self.now);
                }
                result.push((sampled, sum));
            }
            result
        }
    }

    fn mean(seconds: &[(u32, f64)]) -> f64 {
        let sum: u32 = seconds.iter().map(|(sampled, _)| sampled).sum();
        f64::from(sum) / f64::from(u32::try_from(seconds.len()).unwrap())
    }

    #[test]
    fn workers_reach_the_aim_together_from_both_sides() {
        let mut run = Run::new(&CONFIG, 4);
        run.seconds(5, 2_000, 0);
        let steady = run.seconds(40, 2_000, 0);
        assert!((8.5..11.5).contains(&mean(&steady)), "{}", mean(&steady));
        let total: f64 = steady.iter().map(|(_, sum)| sum).sum();
        assert!((total / 80_000.0 - 1.0).abs() < 0.3, "adjusted counts tell the truth: {total}");
        run.seconds(8, 200, 0);
        let fewer = run.seconds(40, 200, 0);
        assert!((8.0..12.0).contains(&mean(&fewer)), "ten times fewer: {}", mean(&fewer));
        run.seconds(8, 2_000, 0);
        let more = run.seconds(40, 2_000, 0);
        assert!((8.5..11.5).contains(&mean(&more)), "and more again: {}", mean(&more));
        let burst = run.seconds(20, 2_000, 50);
        assert!(burst[3..].iter().all(|(sampled, _)| *sampled <= 210), "the hard cap: {burst:?}");
        assert!(mean(&burst[3..]) > 80.0, "up to the hard cap: {}", mean(&burst[3..]));
        run.seconds(150, 2_000, 0);
        let after = run.seconds(40, 2_000, 0);
        assert!((8.5..11.5).contains(&mean(&after)), "back: {}", mean(&after));
        let synced = u64::from(run.store.sets) / ((run.now - START) / SECOND);
        assert!(synced < 4 * 5 + 10, "{synced} times a second");
    }

    #[test]
    fn a_worker_by_itself_keeps_the_aim() {
        let mut worker = Adaptive::new(&CONFIG, "k".to_owned());
        let mut ids = IdGenerator::from_seed([6; 32]);
        let mut sampled = 0;
        for request in 0..60_000_u64 {
            let now = START + request * SECOND / 1_000;
            let input = SamplingInput { now, ..input(ids.trace_id().get(), Parent::None, "", &NO_ATTRIBUTES) };
            sampled += u32::from(worker.decide(&input, &mut Alone).0 && request >= 10_000);
        }
        assert!((400..600).contains(&sampled), "{sampled} in 50 seconds");
    }

    #[test]
    fn each_route_has_its_own_share() {
        let mut worker = Adaptive::new(&AdaptiveConfig { per_route: true, ..CONFIG }, "k".to_owned());
        let mut ids = IdGenerator::from_seed([7; 32]);
        let mut sampled = [0_u32; 2];
        for request in 0..60_000_u64 {
            let now = START + request * SECOND / 1_000;
            // One in fifty is of the quiet route: 20 a second.
            let quiet = request % 50 == 0;
            let attributes = [(StartAttribute::Route, if quiet { "/quiet" } else { "/busy" })];
            let attributes = Attributes(&attributes);
            let input = SamplingInput { now, ..input(ids.trace_id().get(), Parent::None, "", &attributes) };
            let counts = worker.decide(&input, &mut Alone).0 && request >= 10_000;
            sampled[usize::from(quiet)] += u32::from(counts);
        }
        assert!(sampled.iter().all(|sampled| (380..640).contains(sampled)), "{sampled:?}");
        for route in 0..1_000 {
            let route = format!("/{route}");
            worker.observe(route.as_bytes(), false, START);
        }
        assert!(worker.shares.len() <= MOST_ROUTES + 1, "routes are bounded: {}", worker.shares.len());
    }

    #[test]
    fn a_stream_that_tells_no_time_changes_nothing_for_others() {
        let mut run = Run::new(&CONFIG, 1);
        run.seconds(20, 1_000, 0);
        let share = |run: &Run| run.store.values.get("meshspan.adaptive..").cloned();
        let known = share(&run);
        assert!(known.is_some());
        let mut late = Adaptive::new(&CONFIG, "meshspan.adaptive.".to_owned());
        late.decide(&input(1, Parent::None, "", &NO_ATTRIBUTES), &mut run.store);
        assert_eq!(share(&run), known);
    }

    #[test]
    fn a_busy_store_loses_nothing() {
        let mut run = Run::new(&CONFIG, 1);
        run.store.conflicts = 8;
        run.seconds(1, 100, 0);
        let state = run.store.values.values().find_map(|(value, _)| State::decode(value)).unwrap();
        assert!(state.ratio() > 0.0 && run.store.conflicts == 0);
    }
}
