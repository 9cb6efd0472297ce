//! The control law of `adaptive`: from how many requests there are and how many fail, the share to sample.
//!
//! Once a second, over all workers:
//!
//! 1. The request rate is estimated: an average in which a second weighs 0.3, and 0.8 when it had more than twice as
//!    many requests as estimated.
//! 2. The error ratio is taken over about `error_window`: sums of ended and failed streams, of which each second takes
//!    its share away. Above `error_ratio`, with at least 20 streams in it, there is an error burst; it is over when the
//!    ratio is below half of that.
//! 3. The share aimed at is `traces_per_second / rate`, between floor and ceiling; in a burst it is 1. Never is it more
//!    than `max_traces_per_second / rate`.
//! 4. A burst's share, and a lower one, count at once. A higher one is approached by at most half as much again each
//!    second. After a burst the share falls by a fifth each second until it is where it would be.
//!
//! The law looks at requests, not at what was sampled: there is no loop through its own output, so nothing can swing.
//! What can err is the estimate, for the few seconds that it takes to follow.

use crate::config::AdaptiveConfig;

const SECOND: f64 = 1e9;
const WEIGHT: f64 = 0.3;
const WEIGHT_OF_A_STEP: f64 = 0.8;
const RISE: f64 = 1.5;
const FALL_AFTER_BURST: f64 = 0.8;
const LEAST_ENDED: f64 = 20.0;

/// After so many seconds without a request nothing is known any more.
const FORGOTTEN: u64 = 300 * 1_000_000_000;

/// What the workers know together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct State {
    /// When the last step was, ns since the Unix epoch.
    at: u64,
    /// Since then.
    counted: Counted,
    /// Requests a second. Below 0: nothing known yet.
    rate: f64,
    /// Over the window.
    ended: f64,
    failed: f64,
    /// The share that counts, from 0 to 1.
    ratio: f64,
    phase: Phase,
}

/// What a worker has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counted {
    pub(super) requests: f64,
    pub(super) ended: f64,
    pub(super) failed: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Steady,
    Burst,
    /// After a burst, on the way down.
    Cooling,
}

impl State {
    /// Nothing known: the ceiling, as long as the hard cap allows it.
    #[inline]
    pub(super) fn new(config: &AdaptiveConfig, now: u64) -> Self {
        Self {
            at: now,
            counted: Counted::default(),
            rate: -1.0,
            ended: 0.0,
            failed: 0.0,
            ratio: config.ceiling,
            phase: Phase::Steady,
        }
    }

    /// The share to sample.
    pub(super) fn ratio(&self) -> f64 {
        self.ratio
    }

    /// Adds what a worker has seen, and takes a step where a second has passed.
    #[must_use]
    pub(super) fn merge(mut self, config: &AdaptiveConfig, counted: Counted, now: u64) -> Self {
        self.counted.requests += counted.requests;
        self.counted.ended += counted.ended;
        self.counted.failed += counted.failed;
        let passed = now.saturating_sub(self.at);
        if passed > FORGOTTEN || self.at.saturating_sub(now) > FORGOTTEN {
            return Self { counted, ..Self::new(config, now) };
        }
        if passed >= 1_000_000_000 {
            #[expect(clippy::cast_precision_loss, reason = "at most 300 seconds")]
            self.step(config, passed as f64 / SECOND);
            self.at = now;
        }
        self
    }

    fn step(&mut self, config: &AdaptiveConfig, seconds: f64) {
        let counted = core::mem::take(&mut self.counted);
        let rate = counted.requests / seconds;
        self.rate = if self.rate < 0.0 {
            rate
        } else {
            let weight = if rate > 2.0 * self.rate { WEIGHT_OF_A_STEP } else { WEIGHT };
            // Over several seconds a weight counts as often.
            self.rate + (1.0 - power(1.0 - weight, seconds)) * (rate - self.rate)
        };
        let window = f64::from(config.error_window_ms) / 1_000.0;
        let left = power(1.0 - 1.0 / window.max(1.0), seconds);
        self.ended = self.ended * left + counted.ended;
        self.failed = self.failed * left + counted.failed;
        let error_ratio = if self.ended >= LEAST_ENDED { self.failed / self.ended } else { 0.0 };
        let was_burst = self.phase == Phase::Burst;
        if error_ratio > config.error_ratio || (was_burst && error_ratio >= config.error_ratio / 2.0) {
            self.phase = Phase::Burst;
        } else if was_burst {
            self.phase = Phase::Cooling;
        }
        let of = |traces: f64| if self.rate > 0.0 { traces / self.rate } else { f64::INFINITY };
        let usual = of(config.traces_per_second).max(config.floor).min(config.ceiling);
        let cap = of(config.max_traces_per_second).min(1.0);
        let ratio = match self.phase {
            Phase::Burst => 1.0,
            Phase::Steady => usual.min((self.ratio * RISE).max(config.floor)),
            Phase::Cooling => usual.max(self.ratio * FALL_AFTER_BURST),
        };
        if self.phase == Phase::Cooling && ratio <= usual {
            self.phase = Phase::Steady;
        }
        self.ratio = ratio.min(cap).max(LEAST_RATIO);
    }

    /// As bytes, for the other workers.
    pub(super) fn encode(&self) -> Vec<u8> {
        let phase = match self.phase {
            Phase::Steady => 0,
            Phase::Burst => 1,
            Phase::Cooling => 2,
        };
        let mut bytes = vec![LAYOUT, phase];
        bytes.extend_from_slice(&self.at.to_le_bytes());
        for number in self.numbers() {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// `None` for what no worker wrote.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let [LAYOUT, phase, rest @ ..] = bytes else { return None };
        let phase = match phase {
            0 => Phase::Steady,
            1 => Phase::Burst,
            2 => Phase::Cooling,
            _ => return None,
        };
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let mut numbers = [0.0; 7];
        if rest.len() != 56 {
            return None;
        }
        for (number, bytes) in numbers.iter_mut().zip(rest.chunks_exact(8)) {
            *number = f64::from_le_bytes(bytes.try_into().ok()?);
        }
        let [requests, ended, failed, rate, window_ended, window_failed, ratio] = numbers;
        let sane = numbers.iter().all(|number| number.is_finite()) && (0.0..=1.0).contains(&ratio);
        sane.then_some(Self {
            at: u64::from_le_bytes(*at),
            counted: Counted { requests, ended, failed },
            rate,
            ended: window_ended,
            failed: window_failed,
            ratio,
            phase,
        })
    }

    fn numbers(&self) -> [f64; 7] {
        let Counted { requests, ended, failed } = self.counted;
        [requests, ended, failed, self.rate, self.ended, self.failed, self.ratio]
    }
}

/// So that a share can rise again.
const LEAST_RATIO: f64 = 1e-9;

/// The first byte of an encoded state: another layout would have another.
const LAYOUT: u8 = 1;

/// `base` to the power of `exponent`, which is above 0; 0 for a base that is not. By the functions that the module has
/// anyway: `powf` brings 7 KB of tables of its own.
fn power(base: f64, exponent: f64) -> f64 {
    if base > 0.0 { (base.log2() * exponent).exp2() } else { 0.0 }
}

#[cfg(test)]
pub(super) mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const START: u64 = 1_700_000_000_000_000_000;

    pub(in crate::sampling) const CONFIG: AdaptiveConfig = AdaptiveConfig {
        traces_per_second: 10.0,
        floor: 0.001,
        ceiling: 1.0,
        error_ratio: 0.05,
        error_window_ms: 10_000,
        max_traces_per_second: 100.0,
        per_route: false,
    };

    /// Sampled traces a second, by second, with so many requests a second of which that share fails.
    fn run(state: &mut State, now: &mut u64, seconds: u32, rate: f64, failing: f64) -> Vec<f64> {
        let quarter = Counted { requests: rate / 4.0, ended: rate / 4.0, failed: rate * failing / 4.0 };
        (0..seconds)
            .map(|_| {
                let mut sampled = 0.0;
                for _ in 0..4 {
                    sampled += quarter.requests * state.ratio();
                    *now += 250_000_000;
                    *state = state.merge(&CONFIG, quarter, *now);
                }
                sampled
            })
            .collect()
    }

    fn near(value: f64, aim: f64) -> bool {
        (value / aim - 1.0).abs() < 0.1
    }

    #[test]
    fn the_aim_is_reached_from_both_sides() {
        let (mut state, mut now) = (State::new(&CONFIG, START), START);
        let first = run(&mut state, &mut now, 10, 1_000.0, 0.0);
        assert!(first[2..].iter().all(|sampled| near(*sampled, 10.0)), "from nothing: {first:?}");
        let up = run(&mut state, &mut now, 20, 10_000.0, 0.0);
        assert!(up[4..].iter().all(|sampled| near(*sampled, 10.0)), "ten times as many: {up:?}");
        let down = run(&mut state, &mut now, 40, 500.0, 0.0);
        assert!(down[16..].iter().all(|sampled| near(*sampled, 10.0)), "twenty times fewer: {down:?}");
        assert!(down.iter().all(|sampled| *sampled < 11.0), "never above on the way: {down:?}");
        let few = run(&mut state, &mut now, 40, 5.0, 0.0);
        assert!(few[35..].iter().all(|sampled| near(*sampled, 5.0)), "fewer than the aim: all of them: {few:?}");
    }

    #[test]
    fn floor_and_ceiling_hold() {
        let (mut state, mut now) = (State::new(&CONFIG, START), START);
        run(&mut state, &mut now, 20, 100_000.0, 0.0);
        assert!((state.ratio() - 0.001).abs() < 1e-12, "the floor goes before the aim: {}", state.ratio());
        run(&mut state, &mut now, 20, 1_000_000.0, 0.0);
        assert!((state.ratio() - 0.0001).abs() < 1e-6, "and the hard cap before the floor: {}", state.ratio());
        let config = AdaptiveConfig { ceiling: 0.25, ..CONFIG };
        let mut state = State::new(&config, START);
        for second in 1..60 {
            let counted = Counted { requests: 2.0, ..Counted::default() };
            state = state.merge(&config, counted, START + second * 1_000_000_000);
            assert!(state.ratio() <= 0.25, "{}", state.ratio());
        }
    }

    #[test]
    fn an_error_burst_is_sampled_and_fades() {
        let (mut state, mut now) = (State::new(&CONFIG, START), START);
        run(&mut state, &mut now, 30, 80.0, 0.01);
        assert!(near(state.ratio(), 10.0 / 80.0), "few errors change nothing: {}", state.ratio());
        let burst = run(&mut state, &mut now, 10, 80.0, 0.5);
        assert!(burst[6..].iter().all(|sampled| near(*sampled, 80.0)), "all of them: {burst:?}");
        let after = run(&mut state, &mut now, 300, 80.0, 0.0);
        let biggest_step = after.windows(2).map(|pair| pair[0] - pair[1]).fold(0.0, f64::max);
        assert!(biggest_step <= 80.0 * 0.21, "smoothly: {biggest_step}");
        assert!(near(*after.last().unwrap(), 10.0), "back at the aim");
        let first_low = after.iter().position(|sampled| near(*sampled, 10.0)).unwrap();
        assert!(first_low < 120, "within two minutes: {first_low} s");
        assert!(after[first_low..].iter().all(|sampled| near(*sampled, 10.0)), "and stays there");
    }

    #[test]
    fn the_hard_cap_holds_in_a_burst() {
        let (mut state, mut now) = (State::new(&CONFIG, START), START);
        run(&mut state, &mut now, 30, 5_000.0, 0.0);
        let burst = run(&mut state, &mut now, 30, 5_000.0, 0.9);
        assert!(burst[3..].iter().all(|sampled| near(*sampled, 100.0)), "{burst:?}");
    }

    #[test]
    fn noise_does_not_swing() {
        let (mut state, mut now) = (State::new(&CONFIG, START), START);
        let mut sampled = Vec::new();
        for second in 0_u32..300 {
            // Between 60 and 140 requests a second.
            let rate = 60.0 + f64::from(second.wrapping_mul(2_654_435_761) >> 16 & 0xff) / 255.0 * 80.0;
            sampled.extend(run(&mut state, &mut now, 1, rate, 0.0));
        }
        let settled = &sampled[20..];
        let mean = settled.iter().sum::<f64>() / f64::from(u32::try_from(settled.len()).unwrap());
        assert!(near(mean, 10.0), "{mean}");
        assert!(settled.iter().all(|sampled| (5.0..18.0).contains(sampled)), "{settled:?}");
    }

    #[test]
    fn a_long_silence_is_forgotten_and_a_short_one_is_not() {
        let (mut state, mut now) = (State::new(&CONFIG, START), START);
        run(&mut state, &mut now, 20, 10_000.0, 0.0);
        let low = state.ratio();
        let after = state.merge(&CONFIG, Counted::default(), now + 2_000_000_000);
        assert!(after.ratio() < low * 2.0, "{} after {low}", after.ratio());
        let after = state.merge(&CONFIG, Counted::default(), now + FORGOTTEN + 1);
        assert_eq!(after, State::new(&CONFIG, now + FORGOTTEN + 1));
        let back = state.merge(&CONFIG, Counted::default(), 0);
        assert_eq!(back, State::new(&CONFIG, 0), "another clock");
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let (mut state, mut now) = (State::new(&CONFIG, START), START);
        for (rate, failing) in [(100.0, 0.0), (1_000.0, 0.5), (10.0, 0.0)] {
            run(&mut state, &mut now, 15, rate, failing);
            assert_eq!(State::decode(&state.encode()), Some(state));
        }
        let nan = State { rate: f64::NAN, ..state }.encode();
        let share = State { ratio: 7.0, ..state }.encode();
        for bytes in [Vec::new(), vec![1], vec![0; 66], vec![0xff; 66], nan, share, state.encode()[..65].to_vec()] {
            assert_eq!(State::decode(&bytes), None, "{bytes:?}");
        }
    }
}
