//! Why a decision fell as it did: which sampler made it, and the way through the configured tree to that sampler.

use super::adaptive::Adaptive;
use super::jaeger_remote::RemoteSampler;
use super::rate_limiter::RateLimiter;
use crate::config::json::Number;
use crate::config::{AdaptiveConfig, RateLimitingConfig};

/// The kinds of samplers that decide. A closed set, so that counts by it are bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamplerKind {
    /// `always_on`.
    AlwaysOn,
    /// `always_off`.
    AlwaysOff,
    /// `trace_id_ratio_based`.
    TraceIdRatioBased,
    /// `probability/development`, and `probability` in a composite.
    Probability,
    /// `parent_threshold`, where there was a parent.
    ParentThreshold,
    /// `rule_based`, where no rule matched.
    RuleBased,
    /// `rate_limiting`.
    RateLimiting,
    /// `adaptive`.
    Adaptive,
    /// `jaeger_remote/development`, once it has been told.
    JaegerRemote,
    /// `distribution.meshspan.force`, which overrules the others at once.
    Force,
    /// `distribution.meshspan.keep`, which overrules the others in the end.
    Keep,
}

impl SamplerKind {
    /// All of them, in the order of their discriminants.
    pub const ALL: &'static [Self] = &[
        Self::AlwaysOn,
        Self::AlwaysOff,
        Self::TraceIdRatioBased,
        Self::Probability,
        Self::ParentThreshold,
        Self::RuleBased,
        Self::RateLimiting,
        Self::Adaptive,
        Self::JaegerRemote,
        Self::Force,
        Self::Keep,
    ];

    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The name, as configurations have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AlwaysOn => "always_on",
            Self::AlwaysOff => "always_off",
            Self::TraceIdRatioBased => "trace_id_ratio_based",
            Self::Probability => "probability",
            Self::ParentThreshold => "parent_threshold",
            Self::RuleBased => "rule_based",
            Self::RateLimiting => "rate_limiting",
            Self::Adaptive => "adaptive",
            Self::JaegerRemote => "jaeger_remote",
            Self::Force => "force",
            Self::Keep => "keep",
        }
    }
}

/// A place in the configured tree of samplers. Its number is known to the sampler that made the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonId(u16);

impl ReasonId {
    /// No place of the tree: no sampler was asked.
    pub const NONE: Self = Self(u16::MAX);
}

/// What a span says about why it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Which sampler decided.
    pub sampler: SamplerKind,
    /// The branches and rules that led to it, from the outermost, such as `root.rules[2]`; rules count from 0. Empty
    /// where there was no choice.
    pub rule: String,
    /// The number of the adaptive sampler that decided.
    pub(super) adaptive: Option<usize>,
}

/// Numbers the places of a tree while it is built.
#[derive(Debug, Default)]
pub(super) struct Reasons {
    list: Vec<Reason>,
    path: Vec<String>,
    /// The rates that samplers keep.
    limiters: Vec<RateLimiter>,
    remotes: Vec<RemoteSampler>,
    adaptive: Vec<Adaptive>,
}

impl Reasons {
    /// The number of the place that is being built. Beyond 65535 places there are no more numbers.
    pub(super) fn here(&mut self, sampler: SamplerKind) -> ReasonId {
        let id = u16::try_from(self.list.len()).ok().filter(|id| *id < u16::MAX);
        if id.is_some() {
            // An adaptive sampler has its number just before its place.
            let adaptive = self.adaptive.len().checked_sub(1).filter(|_| sampler == SamplerKind::Adaptive);
            self.list.push(Reason { sampler, rule: self.path.join("."), adaptive });
        }
        ReasonId(id.unwrap_or(u16::MAX))
    }

    /// The number of a rate that the sampler keeps that is being built.
    pub(super) fn limiter(&mut self, config: &RateLimitingConfig) -> usize {
        let RateLimitingConfig { spans_per_second, burst } = *config;
        // The same place in the same configuration, in whichever worker: the same rate.
        let path = self.path.join(".");
        let key = format!("meshspan.rate_limiting.{path}.{}.{burst}", Number::from(spans_per_second));
        self.limiters.push(RateLimiter::new(key, spans_per_second, f64::from(burst)));
        self.limiters.len().saturating_sub(1)
    }

    /// Builds what lies behind a branch.
    pub(super) fn branch<T>(&mut self, name: String, inner: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(name);
        let built = inner(self);
        self.path.pop();
        built
    }

    /// The number of a remote sampler.
    pub(super) fn remote(&mut self, remote: RemoteSampler) -> usize {
        self.remotes.push(remote);
        self.remotes.len().saturating_sub(1)
    }

    /// The number of the adaptive sampler that is being built.
    pub(super) fn adaptive(&mut self, config: &AdaptiveConfig) -> usize {
        // The same place in the same configuration, in whichever worker: the same aim.
        let AdaptiveConfig { traces_per_second, floor, ceiling, max_traces_per_second, .. } = *config;
        let [aim, floor, ceiling, most] = [traces_per_second, floor, ceiling, max_traces_per_second].map(Number::from);
        let key = format!("meshspan.adaptive.{}.{aim}.{floor}.{ceiling}.{most}", self.path.join("."));
        self.adaptive.push(Adaptive::new(config, key));
        self.adaptive.len().saturating_sub(1)
    }

    /// All places, by number; and all rates, remote and adaptive samplers, by theirs.
    pub(super) fn finish(self) -> (ReasonList, Vec<RateLimiter>, Vec<RemoteSampler>, Vec<Adaptive>) {
        (ReasonList(self.list), self.limiters, self.remotes, self.adaptive)
    }
}

/// All places of a tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ReasonList(Vec<Reason>);

impl ReasonList {
    /// The place with this number.
    pub(super) fn get(&self, id: ReasonId) -> Option<&Reason> {
        self.0.get(usize::from(id.0))
    }
}
