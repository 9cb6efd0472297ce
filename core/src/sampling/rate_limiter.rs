//! A rate that the workers of a proxy keep together: one token bucket in the host's shared data, from which each worker
//! takes leases.
//!
//! A worker uses its lease up without asking anybody. A lease is what comes in within 50 ms, so a bucket of 1000 tokens
//! a second is asked some 20 to 40 times a second, however many requests there are; and a worker that finds too little
//! in it does not ask again before there can be enough.
//!
//! Within any time T, all workers together give at most `rate × T + burst` plus one lease for each worker. A burst is at
//! least a lease.

use crate::shared_data::{Outcome, SharedData, update};

/// How many seconds' worth of tokens a lease has.
const LEASE_SECONDS: f64 = 0.05;

const NANOSECONDS: f64 = 1e9;

/// When a worker that was too late too often asks again, ns.
const BUSY_NANOSECONDS: u64 = 1_000_000;

/// One worker's side of a rate.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimiter {
    key: String,
    limit: Limit,
    /// Tokens that this worker has and has not used.
    lease: u32,
    /// There is nothing to be had before this time, ns.
    empty_until: u64,
    /// The latest time that was told, ns.
    latest: u64,
    /// The bucket of a worker that has nobody to share with.
    alone: Option<Bucket>,
}

/// A rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limit {
    /// Tokens a second, above 0.
    rate: f64,
    /// Tokens that a full bucket holds, at least a lease.
    burst: f64,
    /// Tokens of a lease, at least 1.
    lease: f64,
}

/// A token bucket at some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bucket {
    tokens: f64,
    /// ns since the Unix epoch.
    at: u64,
}

impl RateLimiter {
    /// `rate` tokens a second, above 0, and up to `burst` of them at once, at least a lease. Limiters with the same `key`
    /// share one bucket.
    pub fn new(key: String, rate: f64, burst: f64) -> Self {
        Self { key, limit: Limit::new(rate, burst), lease: 0, empty_until: 0, latest: 0, alone: None }
    }

    /// Takes a token, if there is one. `now` is in ns since the Unix epoch; time that goes backwards stands still.
    pub fn take(&mut self, now: u64, shared: &mut dyn SharedData) -> bool {
        if self.lease == 0 {
            self.latest = self.latest.max(now);
            if self.latest < self.empty_until {
                return false;
            }
            self.ask(shared);
        }
        let left = self.lease.checked_sub(1);
        self.lease = left.unwrap_or(0);
        left.is_some()
    }

    fn ask(&mut self, shared: &mut dyn SharedData) {
        let (limit, now) = (self.limit, self.latest);
        let leased = update(shared, &self.key, |stored| {
            let bucket = stored.and_then(Bucket::decode).unwrap_or_else(|| limit.full(now));
            match limit.lease(bucket, now) {
                Ok((bucket, tokens)) => (Some(bucket.encode().to_vec()), Ok(tokens)),
                Err(wait) => (None, Err(wait)),
            }
        });
        let leased = match leased {
            Outcome::Done(leased) => leased,
            Outcome::Busy => Err(BUSY_NANOSECONDS),
            Outcome::Unavailable => {
                let bucket = self.alone.unwrap_or_else(|| limit.full(now));
                limit.lease(bucket, now).map(|(bucket, tokens)| {
                    self.alone = Some(bucket);
                    tokens
                })
            }
        };
        match leased {
            Ok(tokens) => self.lease = tokens,
            Err(wait) => self.empty_until = now.saturating_add(wait),
        }
    }
}

impl Limit {
    fn new(rate: f64, burst: f64) -> Self {
        let lease = (rate * LEASE_SECONDS).floor().max(1.0);
        Self { rate, burst: burst.max(lease), lease }
    }

    fn full(&self, now: u64) -> Bucket {
        Bucket { tokens: self.burst, at: now }
    }

    /// Takes a lease out of a bucket: what is left in it, and the tokens; or else how long it takes until there can be
    /// one, ns. Less than half a lease is none: it would be used up at once, and asking costs.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "casts of floats saturate; a time difference needs no more than 53 bits"
    )]
    fn lease(&self, bucket: Bucket, now: u64) -> Result<(Bucket, u32), u64> {
        let now = now.max(bucket.at);
        let passed = now.saturating_sub(bucket.at) as f64 / NANOSECONDS;
        let tokens = (bucket.tokens + passed * self.rate).min(self.burst);
        let least = (self.lease / 2.0).ceil().max(1.0);
        if tokens < least {
            return Err(((least - tokens) / self.rate * NANOSECONDS).ceil() as u64);
        }
        let granted = tokens.floor().min(self.lease);
        Ok((Bucket { tokens: tokens - granted, at: now }, granted as u32))
    }
}

/// The first byte of an encoded bucket: another layout would have another.
const LAYOUT: u8 = 1;

impl Bucket {
    fn encode(self) -> [u8; 17] {
        let mut bytes = [LAYOUT; 17];
        let fields = self.tokens.to_le_bytes().into_iter().chain(self.at.to_le_bytes());
        for (byte, value) in bytes.iter_mut().skip(1).zip(fields) {
            *byte = value;
        }
        bytes
    }

    /// `None` for what no limiter wrote.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (tokens, at) = bytes.strip_prefix(&[LAYOUT])?.split_at_checked(8)?;
        let tokens = f64::from_le_bytes(tokens.try_into().ok()?);
        let at = u64::from_le_bytes(at.try_into().ok()?);
        (tokens.is_finite() && tokens >= 0.0).then_some(Self { tokens, at })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::shared_data::Alone;
    use crate::shared_data::testing::Store;

    const SECOND: u64 = 1_000_000_000;
    const START: u64 = 1_700_000_000 * SECOND;

    fn limiter(rate: f64, burst: f64) -> RateLimiter {
        RateLimiter::new("k".to_owned(), rate, burst)
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut store = Store::default();
        let mut limiter = limiter(2.0, 3.0);
        // ns since the start, tokens that can be taken then
        let table = [
            (0, 3, "the burst"),
            (SECOND / 4, 0, "half a token is none"),
            (SECOND / 2, 1, "half a second"),
            (SECOND, 1, "another half"),
            (SECOND / 2, 0, "time that goes backwards stands still"),
            (100 * SECOND, 3, "no more than the burst, however long"),
        ];
        for (after, expected, why) in table {
            let mut taken = 0;
            while limiter.take(START + after, &mut store) {
                taken += 1;
            }
            assert_eq!(taken, expected, "{why}");
        }
    }

    #[test]
    fn an_empty_bucket_is_not_asked_again_at_once() {
        let mut store = Store::default();
        let mut limiter = limiter(1_000.0, 1_000.0);
        let mut taken = 0;
        for request in 0..10_000_u64 {
            taken += u32::from(limiter.take(START + request * SECOND / 10_000, &mut store));
        }
        assert!((1_900..=2_100).contains(&taken), "the burst and a second: {taken}");
        assert!(store.gets <= 120, "{} times for 10000 requests", store.gets);
    }

    #[test]
    fn what_no_limiter_wrote_is_a_full_bucket() {
        let full = vec![0xff; 17];
        let nan = Bucket { tokens: f64::NAN, at: 0 }.encode().to_vec();
        for value in [Vec::new(), vec![1], full, nan, vec![1; 18]] {
            let mut store = Store::default();
            store.values.insert("k".to_owned(), (value.clone(), 9));
            let mut limiter = limiter(0.001, 2.0);
            let taken = (0..5).filter(|_| limiter.take(START, &mut store)).count();
            assert_eq!(taken, 2, "{value:?}");
        }
        // From a clock that is ahead: no tokens until then, and no trap.
        let mut store = Store::default();
        let ahead = Bucket { tokens: 0.0, at: u64::MAX }.encode().to_vec();
        store.values.insert("k".to_owned(), (ahead, 1));
        assert!(!limiter(1.0, 1.0).take(START, &mut store));
    }

    #[test]
    fn without_a_store_a_worker_keeps_the_rate_by_itself() {
        let mut limiter = limiter(10.0, 5.0);
        let taken = (0..1_000_u64).filter(|ms| limiter.take(START + ms * SECOND / 1_000, &mut Alone)).count();
        assert!((14..=15).contains(&taken), "{taken}");
    }

    #[test]
    fn a_busy_store_costs_tokens_and_no_time() {
        let mut store = Store { conflicts: u32::MAX, ..Store::default() };
        let mut limiter = limiter(10.0, 5.0);
        for request in 0..1_000 {
            assert!(!limiter.take(START + request, &mut store));
        }
        assert!(store.gets < 10, "{}", store.gets);
    }

    #[test]
    fn extremes_do_not_trap() {
        for rate in [f64::MIN_POSITIVE, 1e-9, 1e9, f64::MAX] {
            for burst in [0.0, 1.0, 4e9, f64::MAX] {
                let mut store = Store::default();
                let mut limiter = limiter(rate, burst);
                for now in [0, 1, START, u64::MAX, 0] {
                    limiter.take(now, &mut store);
                }
            }
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a clock made of rates"
)]
mod properties {
    use proptest::prelude::*;

    use super::*;
    use crate::shared_data::testing::Store;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Ten times as many requests as tokens, unevenly over the workers: together they keep the rate.
        #[test]
        fn workers_keep_the_rate_together(
            workers in 1_usize..9,
            rate in prop_oneof![1.0_f64..20.0, 20.0_f64..2_000.0],
            uneven in 0_u64..4,
            conflicts in 0_u32..200,
            start in any::<u32>(),
        ) {
            const SECONDS: f64 = 20.0;
            let mut store = Store { conflicts, ..Store::default() };
            let mut limiters = vec![RateLimiter::new("k".to_owned(), rate, 1.0); workers];
            let requests = (SECONDS * rate * 10.0) as u64;
            let step = SECONDS * 1e9 / requests as f64;
            let mut taken = 0;
            for request in 0..requests {
                // The first worker gets more than its share.
                let limiter = limiters.get_mut((request % (workers as u64 + uneven)) as usize);
                let now = u64::from(start) + (step * request as f64) as u64;
                let limiter = match limiter {
                    Some(limiter) => limiter,
                    None => &mut limiters[0],
                };
                taken += u64::from(limiter.take(now, &mut store));
            }
            let wanted = SECONDS * rate;
            let slack = (workers as f64 + 1.0) * (rate * LEASE_SECONDS).max(1.0);
            prop_assert!(taken as f64 <= wanted + slack, "{taken} of {wanted}");
            prop_assert!(taken as f64 >= wanted * 0.9 - slack, "{taken} of {wanted}");
            // Leases, and for each worker as often in vain.
            let most = SECONDS * rate.min(2.0 / LEASE_SECONDS) * (workers as f64 + 1.0) * 1.5 + f64::from(conflicts);
            prop_assert!(f64::from(store.gets) <= most + 10.0, "asked {} times, at most {most}", store.gets);
        }
    }
}
