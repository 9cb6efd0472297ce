//! Samplers that record nothing, or next to nothing, of this load: what a stream costs that is decided against.

use serde_json::{Value, json};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sampler {
    /// What the others are measured beside.
    AlwaysOff,
    /// The same once more: the error of the method.
    AlwaysOffAgain,
    ParentBased,
    Ratio,
    Probability,
    Rule,
    RateLimiting,
    JaegerRemote,
    Adaptive,
    Keep,
    Force,
}

impl Sampler {
    /// In the order of the table.
    pub(crate) const ALL: &[Self] = &[
        Self::AlwaysOff,
        Self::AlwaysOffAgain,
        Self::ParentBased,
        Self::Ratio,
        Self::Probability,
        Self::Rule,
        Self::RateLimiting,
        Self::JaegerRemote,
        Self::Adaptive,
        Self::Keep,
        Self::Force,
    ];

    /// Its name in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AlwaysOff => "always_off",
            Self::AlwaysOffAgain => "always_off, again (control)",
            Self::ParentBased => "parent_based, no parent, root 0",
            Self::Ratio => "trace_id_ratio_based, 0",
            Self::Probability => "probability/development, 0",
            Self::Rule => "composite: a rule on the path",
            Self::RateLimiting => "rate_limiting, over its rate",
            Self::JaegerRemote => "jaeger_remote, told 0",
            Self::Adaptive => "adaptive, over its rate",
            Self::Keep => "always_off and keep",
            Self::Force => "always_off and force",
        }
    }

    /// `tracer_provider.sampler`.
    pub(crate) fn settings(self) -> Value {
        match self {
            Self::AlwaysOff | Self::AlwaysOffAgain | Self::Keep | Self::Force => json!({"always_off": {}}),
            Self::ParentBased => json!({"parent_based": {"root": {"trace_id_ratio_based": {"ratio": 0}}}}),
            Self::Ratio => json!({"trace_id_ratio_based": {"ratio": 0}}),
            Self::Probability => json!({"probability/development": {"ratio": 0}}),
            Self::Rule => json!({"composite/development": {"rule_based": {"rules": [
                {"attribute_patterns": {"key": "url.path", "included": ["/api/*", "/assets/*"]},
                 "sampler": {"always_off": {}}},
                {"sampler": {"always_on": {}}}]}}}),
            Self::RateLimiting => json!({"rate_limiting": {"spans_per_second": 1, "burst": 1}}),
            Self::JaegerRemote => json!({"jaeger_remote/development": {
                "endpoint": "http://strategies:5778/sampling", "initial_sampler": {"always_off": {}}}}),
            Self::Adaptive => json!({"adaptive": {"traces_per_second": 1, "floor": 0, "ceiling": 0.01}}),
        }
    }

    /// `distribution.meshspan`.
    pub(crate) fn distribution(self) -> Value {
        match self {
            Self::Keep => json!({"keep": {"errors": true, "slower_than": 10_000}}),
            Self::Force => json!({"force": {"trusted": {"internal": true}}}),
            _ => json!({}),
        }
    }

    /// The share of requests that it may record at most, by the rate that it is given.
    pub(crate) const fn most(self) -> f64 {
        match self {
            Self::RateLimiting | Self::Adaptive => 0.02,
            _ => 0.0,
        }
    }
}

/// What the remote sampler is told.
pub(crate) const STRATEGY: &str = r#"{"strategyType":"PROBABILISTIC","probabilisticSampling":{"samplingRate":0}}"#;
