//! Keeping what turned out to matter: a stream that was not sampled, and failed or was slow, is exported all the same.
//!
//! The decision falls when the stream has ended, within a budget that the proxy's workers share. It changes nothing
//! about what went upstream: there the trace is not sampled.
//!
//! Kept spans have no threshold, so they do not count in sums of adjusted counts. Each says instead how many streams
//! it stands for: itself, and those that matched before it and found the budget used up.

use super::latency::Latency;
use super::rate_limiter::RateLimiter;
use crate::config::KeepConfig;
use crate::config::SortedMap;
use crate::config::json::Number;
use crate::shared_data::SharedData;

/// How many routes have a percentile of their own; those that come later share one.
const MOST_ROUTES: usize = 256;

/// Why a stream was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepReason {
    /// It failed.
    Errors,
    /// It took longer than the configured time.
    SlowerThan,
    /// It took longer than 95 of 100 of its route lately.
    SlowerThanRouteP95,
    /// The upstream recorded its part of the trace.
    TraceResponse,
}

impl KeepReason {
    /// The condition's key in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::SlowerThan => "slower_than",
            Self::SlowerThanRouteP95 => "slower_than_route_p95",
            Self::TraceResponse => "traceresponse",
        }
    }
}

/// What matters of a stream that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// Whether it failed.
    pub failed: bool,
    /// How long it took, ns; `None` for what is not known, and for a tunnel, whose end is a connection's.
    pub duration: Option<u64>,
    /// The route: a template, or Envoy's name. Empty for none.
    pub route: &'a [u8],
    /// Whether the upstream said that it recorded its part of the trace.
    pub upstream_recorded: bool,
    /// Now, ns since the Unix epoch.
    pub now: u64,
}

/// What becomes of a stream that was not sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing about it matters.
    Drop,
    /// It matters, but the budget is used up.
    OverBudget,
    /// It is exported.
    Keep {
        /// Why.
        reason: KeepReason,
        /// How many streams it stands for: at least 1.
        adjusted_count: u64,
    },
}

/// One worker's side of `keep`.
#[derive(Clone, Debug, PartialEq)]
pub struct Keeper {
    config: KeepConfig,
    budget: RateLimiter,
    routes: SortedMap<Box<[u8]>, Latency>,
    /// Of routes that came too late, and of streams without a route.
    other: Latency,
    /// Streams that matched since the last one that was kept.
    over_budget: u64,
    /// Bytes of request headers that are held for streams under way.
    pending: u64,
}

impl Keeper {
    /// From checked configuration.
    #[inline]
    pub fn new(config: &KeepConfig) -> Self {
        let (rate, burst) = (config.budget.spans_per_second, config.budget.burst);
        Self {
            config: *config,
            budget: RateLimiter::new(format!("meshspan.keep.{}.{burst}", Number::from(rate)), rate, f64::from(burst)),
            routes: SortedMap::new(),
            other: Latency::default(),
            over_budget: 0,
            pending: 0,
        }
    }

    /// Whether the route has to be known when a stream has ended.
    pub fn needs_route(&self) -> bool {
        self.config.slower_than_route_p95
    }

    /// Takes note of a stream that was sampled.
    pub fn observe(&mut self, ended: &Ended<'_>) {
        self.is_above_p95(ended);
    }

    /// Decides about a stream that was not sampled.
    pub fn decide(&mut self, ended: &Ended<'_>, shared: &mut dyn SharedData) -> Verdict {
        let above_p95 = self.is_above_p95(ended);
        let limit = self.config.slower_than_ms.map(|ms| u64::from(ms).saturating_mul(1_000_000));
        let slow = ended.duration.zip(limit).is_some_and(|(duration, limit)| duration > limit);
        let reason = match (ended.failed && self.config.errors, slow, above_p95) {
            (true, ..) => KeepReason::Errors,
            (_, true, _) => KeepReason::SlowerThan,
            (.., true) => KeepReason::SlowerThanRouteP95,
            _ if ended.upstream_recorded && self.config.trace_response => KeepReason::TraceResponse,
            _ => return Verdict::Drop,
        };
        self.spend(reason, ended.now, shared)
    }

    /// Decides already at the response's head about a stream that was not sampled, where that says enough: then its
    /// caller can be told. `None` where only the end will tell.
    pub fn decide_early(
        &mut self,
        failed: bool,
        upstream_recorded: bool,
        now: u64,
        shared: &mut dyn SharedData,
    ) -> Option<Verdict> {
        let reason = match (failed && self.config.errors, upstream_recorded && self.config.trace_response) {
            (true, _) => KeepReason::Errors,
            (_, true) => KeepReason::TraceResponse,
            _ => return None,
        };
        Some(self.spend(reason, now, shared))
    }

    /// Whether what the upstream says about its part of the trace matters.
    pub const fn reads_trace_response(&self) -> bool {
        self.config.trace_response
    }

    /// Takes a stream out of the budget.
    fn spend(&mut self, reason: KeepReason, now: u64, shared: &mut dyn SharedData) -> Verdict {
        if !self.budget.take(now, shared) {
            self.over_budget = self.over_budget.saturating_add(1);
            return Verdict::OverBudget;
        }
        let adjusted_count = core::mem::take(&mut self.over_budget).saturating_add(1);
        Verdict::Keep { reason, adjusted_count }
    }

    /// Asks for room for the headers of one more stream. What is given has to be given [`back`](Self::release).
    pub fn hold(&mut self, bytes: usize) -> bool {
        let pending = self.pending.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let fits = pending <= u64::from(self.config.max_pending_bytes);
        if fits {
            self.pending = pending;
        }
        fits
    }

    /// Gives room back.
    pub fn release(&mut self, bytes: usize) {
        self.pending = self.pending.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Counts the stream among those of its route.
    fn is_above_p95(&mut self, ended: &Ended<'_>) -> bool {
        let Some(duration) = ended.duration.filter(|_| self.config.slower_than_route_p95) else { return false };
        if ended.route.is_empty() {
            return self.other.observe(duration);
        }
        if let Some(latency) = self.routes.get_mut(ended.route) {
            return latency.observe(duration);
        }
        if self.routes.len() >= MOST_ROUTES {
            return self.other.observe(duration);
        }
        let mut latency = Latency::default();
        let is_above = latency.observe(duration);
        self.routes.insert(ended.route.into(), latency);
        is_above
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::config::RateLimitingConfig;
    use crate::shared_data::Alone;

    const MS: u64 = 1_000_000;
    const NOW: u64 = 1 << 60;

    const ALL: KeepConfig = KeepConfig {
        errors: true,
        slower_than_ms: Some(100),
        slower_than_route_p95: true,
        trace_response: true,
        budget: RateLimitingConfig { spans_per_second: 1e6, burst: 1_000_000 },
        max_pending_bytes: 100_000,
    };

    fn ended(failed: bool, duration: u64, route: &str) -> Ended<'_> {
        Ended { failed, duration: Some(duration), route: route.as_bytes(), upstream_recorded: false, now: NOW }
    }

    fn kept(reason: KeepReason) -> Verdict {
        Verdict::Keep { reason, adjusted_count: 1 }
    }

    #[test]
    fn each_condition_keeps_what_it_names() {
        let no = KeepConfig {
            errors: false,
            slower_than_ms: None,
            slower_than_route_p95: false,
            trace_response: false,
            ..ALL
        };
        let errors = KeepConfig { errors: true, ..no };
        let slow = KeepConfig { slower_than_ms: Some(100), ..no };
        let upstream = KeepConfig { trace_response: true, ..no };
        let told = Ended { upstream_recorded: true, ..ended(false, MS, "/") };
        let table = [
            (errors, ended(true, MS, "/"), kept(KeepReason::Errors), "failed"),
            (errors, ended(false, 1_000 * MS, "/"), Verdict::Drop, "slow is no error"),
            (slow, ended(true, MS, "/"), Verdict::Drop, "an error is not slow"),
            (slow, ended(false, 100 * MS, "/"), Verdict::Drop, "as long as the limit"),
            (slow, ended(false, 100 * MS + 1, "/"), kept(KeepReason::SlowerThan), "longer than the limit"),
            (slow, Ended { duration: None, ..ended(false, 0, "/") }, Verdict::Drop, "a duration that nobody knows"),
            (ALL, ended(true, 1_000 * MS, "/"), kept(KeepReason::Errors), "an error goes before slow"),
            (no, ended(true, 1_000 * MS, "/"), Verdict::Drop, "nothing asked for"),
            (upstream, told, kept(KeepReason::TraceResponse), "its upstream recorded it"),
            (upstream, ended(true, 1_000 * MS, "/"), Verdict::Drop, "its upstream did not"),
            (errors, told, Verdict::Drop, "its upstream did, and nobody asked"),
            (ALL, Ended { failed: true, ..told }, kept(KeepReason::Errors), "an error goes before the upstream's word"),
        ];
        for (config, ended, expected, why) in table {
            assert_eq!(Keeper::new(&config).decide(&ended, &mut Alone), expected, "{why}");
        }
    }

    #[test]
    fn each_route_has_its_own_percentile() {
        let mut keeper = Keeper::new(&KeepConfig { slower_than_ms: None, ..ALL });
        for _ in 0..500 {
            keeper.observe(&ended(false, 2 * MS, "/fast"));
            assert_eq!(keeper.decide(&ended(false, 50 * MS, "/slow"), &mut Alone), Verdict::Drop);
        }
        let p95 = kept(KeepReason::SlowerThanRouteP95);
        assert_eq!(keeper.decide(&ended(false, 20 * MS, "/fast"), &mut Alone), p95, "slow for that route");
        assert_eq!(keeper.decide(&ended(false, 20 * MS, "/slow"), &mut Alone), Verdict::Drop, "quick for this one");
        assert_eq!(keeper.decide(&ended(false, 20 * MS, ""), &mut Alone), Verdict::Drop, "no route: nothing known");
    }

    #[test]
    fn routes_are_bounded() {
        let mut keeper = Keeper::new(&ALL);
        for route in 0..2_000 {
            keeper.observe(&ended(false, MS, &format!("/{route}")));
        }
        assert_eq!(keeper.routes.len(), MOST_ROUTES);
        let late = keeper.decide(&ended(false, 50 * MS, "/1999"), &mut Alone);
        assert_eq!(late, kept(KeepReason::SlowerThanRouteP95), "those that came later share one");
    }

    #[test]
    fn adjusted_counts_sum_to_all_that_matched() {
        let budget = RateLimitingConfig { spans_per_second: 10.0, burst: 5 };
        let mut keeper = Keeper::new(&KeepConfig { budget, ..ALL });
        let (mut sum, mut kept) = (0, 0);
        for stream in 0..10_000_u64 {
            let ended = Ended { now: NOW + stream * MS, ..ended(stream % 10 == 0, MS, "/") };
            if let Verdict::Keep { adjusted_count, .. } = keeper.decide(&ended, &mut Alone) {
                sum += adjusted_count;
                kept += 1;
            }
        }
        assert!((100..=106).contains(&kept), "ten seconds of ten, and the burst: {kept}");
        assert_eq!(sum + keeper.over_budget, 1_000, "one in ten failed");
        assert!(keeper.over_budget < 20, "{}", keeper.over_budget);
    }

    #[test]
    fn held_headers_are_bounded() {
        let mut keeper = Keeper::new(&ALL);
        assert!(keeper.hold(60_000) && !keeper.hold(60_000) && keeper.hold(40_000));
        keeper.release(60_000);
        assert!(keeper.hold(60_000) && !keeper.hold(1) && !keeper.hold(usize::MAX));
    }
}
