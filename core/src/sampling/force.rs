//! Requests that ask to be recorded: honoured where the peer is trusted, within a rate that the workers share.

use super::rate_limiter::RateLimiter;
use crate::config::json::Number;
use crate::config::{ForceConfig, ForceKind, Wildcard};
use crate::shared_data::SharedData;

/// Who asks, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plea<'a> {
    /// How.
    pub kind: ForceKind,
    /// Whether Envoy judges the request to be internal.
    pub internal: bool,
    /// The URI in the peer's certificate; empty without one.
    pub identity: &'a [u8],
    /// Now, ns since the Unix epoch.
    pub now: u64,
}

/// One worker's side of `force`.
#[derive(Clone, Debug, PartialEq)]
pub struct Force {
    kinds: Vec<ForceKind>,
    internal: bool,
    identities: Vec<Wildcard>,
    budget: RateLimiter,
}

impl Force {
    /// From checked configuration.
    #[inline]
    pub fn new(config: &ForceConfig) -> Self {
        let (rate, burst) = (config.budget.spans_per_second, config.budget.burst);
        Self {
            kinds: config.by.clone(),
            internal: config.internal,
            identities: config.identities.iter().map(|identity| Wildcard::new(identity)).collect(),
            budget: RateLimiter::new(format!("meshspan.force.{}.{burst}", Number::from(rate)), rate, f64::from(burst)),
        }
    }

    /// Whether requests may ask in this way.
    pub fn listens_to(&self, kind: ForceKind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Whether the peer's identity can matter.
    pub fn needs_identity(&self) -> bool {
        !self.identities.is_empty()
    }

    /// Whether a request that asks is recorded.
    pub fn grants(&mut self, plea: &Plea<'_>, shared: &mut dyn SharedData) -> bool {
        let known = || !plea.identity.is_empty() && self.identities.iter().any(|one| one.matches(plea.identity));
        let trusted = (self.internal && plea.internal) || known();
        trusted && self.listens_to(plea.kind) && self.budget.take(plea.now, shared)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::config::RateLimitingConfig;
    use crate::shared_data::Alone;

    const NOW: u64 = 1 << 60;

    fn config(internal: bool, identities: &[&str]) -> ForceConfig {
        ForceConfig {
            by: vec![ForceKind::EnvoyForceTrace, ForceKind::Debug],
            internal,
            identities: identities.iter().map(|one| (*one).to_owned()).collect(),
            budget: RateLimitingConfig { spans_per_second: 1.0, burst: 2 },
        }
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "a table")]
    fn only_the_trusted_are_heard() {
        let mesh = "spiffe://mesh/ns/ops/*";
        let ops: &[u8] = b"spiffe://mesh/ns/ops/sa/cli";
        let other: &[u8] = b"spiffe://mesh/ns/shop/sa/cart";
        let table: &[(bool, &[&str], ForceKind, bool, &[u8], bool, &str)] = &[
            (true, &[], ForceKind::Debug, true, b"", true, "internal"),
            (true, &[], ForceKind::Debug, false, b"", false, "external"),
            (true, &[], ForceKind::Debug, false, ops, false, "identities are not asked for"),
            (false, &[mesh], ForceKind::EnvoyForceTrace, false, ops, true, "a known identity"),
            (false, &[mesh], ForceKind::EnvoyForceTrace, false, other, false, "another identity"),
            (false, &[mesh], ForceKind::EnvoyForceTrace, true, b"", false, "internal is not asked for"),
            (false, &["*"], ForceKind::EnvoyForceTrace, false, b"", false, "no identity is none, whatever the pattern"),
            (true, &[mesh], ForceKind::EnvoyForceTrace, true, other, true, "either is enough"),
            (true, &[], ForceKind::JaegerDebugId, true, b"", false, "nobody listens to that"),
        ];
        for (internal, identities, kind, is_internal, identity, expected, why) in table {
            let plea = Plea { kind: *kind, internal: *is_internal, identity, now: NOW };
            assert_eq!(Force::new(&config(*internal, identities)).grants(&plea, &mut Alone), *expected, "{why}");
        }
    }

    #[test]
    fn within_a_rate_that_the_others_do_not_use_up() {
        let mut force = Force::new(&config(true, &[]));
        let plea = Plea { kind: ForceKind::Debug, internal: true, identity: b"", now: NOW };
        for _ in 0..100 {
            assert!(!force.grants(&Plea { internal: false, ..plea }, &mut Alone));
        }
        let granted = [0, 0, 0, 1]
            .map(|seconds: u64| force.grants(&Plea { now: NOW + seconds * 1_000_000_000, ..plea }, &mut Alone));
        assert_eq!(granted, [true, true, false, true]);
    }
}
