//! Sampling: whether a trace that starts or passes here is recorded. One file a sampler.
//!
//! Source: OpenTelemetry specification, Trace SDK, "Sampling", and "`TraceState`: Probability Sampling". A sampler sees
//! the trace id, what the parent said, and the attributes that it asks for. Time and what the workers share are arguments
//! like any other, so every decision can be replayed.

mod adaptive;
mod composite;
mod control;
mod doubt;
mod force;
mod jaeger_remote;
mod keep;
mod latency;
mod operations;
mod otel_trace_state;
mod parent_based;
mod rate_limiter;
mod ratio;
mod reason;
mod rule;
mod strategy;
mod threshold;

#[cfg(all(test, not(target_arch = "wasm32")))]
mod statistics;
#[cfg(test)]
mod tests;

pub use doubt::{Doubt, Doubts};
pub use force::{Force, Plea};
pub use jaeger_remote::{RemoteError, RemoteSampler, SamplingRequest};
pub use keep::{Ended, KeepReason, Keeper, Verdict};
pub use otel_trace_state::{Change, KEY as OTEL_TRACE_STATE_KEY, OtelTraceState};
pub use rate_limiter::RateLimiter;
pub use reason::{Reason, ReasonId, SamplerKind};
pub use rule::StartAttributes;
pub use strategy::{PerOperation, Strategy, StrategyError};
pub use threshold::{Randomness, Threshold};

use crate::attribute::{Attribute, AttributeValue};
use crate::config::{SamplerConfig, StartAttribute};
use crate::shared_data::SharedData;
use crate::span::SpanKind;
use crate::trace::{ParentDecision, TraceId};
use adaptive::Adaptive;
use composite::Composable;
use parent_based::ParentBased;
use ratio::TraceIdRatioBased;
use reason::{ReasonList, Reasons};

/// What a sampler decides on.
#[derive(Clone, Copy)]
pub struct SamplingInput<'a> {
    /// The trace that the span will belong to.
    pub trace_id: TraceId,
    /// Where the span comes from.
    pub parent: Parent,
    /// What the parent's trace state says about sampling.
    pub trace_state: OtelTraceState<'a>,
    /// What the span will be.
    pub kind: SpanKind,
    /// The span's attributes, as far as they are known.
    pub attributes: &'a dyn StartAttributes,
    /// Now, ns since the Unix epoch, where [`Sampler::needs_time`] asks for it; else 0.
    pub now: u64,
}

/// The parent of the span to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// There is none: the trace starts here.
    None,
    /// There is none, but a decision came over the wire (B3's lone `0`, `1` or `d`). It binds the trace that starts
    /// here.
    Decided(ParentDecision),
    /// It came over the wire, with this to say.
    Remote(ParentDecision),
    /// It is another span of this proxy.
    Local {
        /// Whether that span is recorded.
        sampled: bool,
    },
}

impl SamplingInput<'_> {
    /// The random bits that every participant compares with its threshold.
    pub fn randomness(&self) -> Randomness {
        self.trace_state.randomness.unwrap_or_else(|| Randomness::from_trace_id(self.trace_id))
    }

    /// The parent's threshold, if it agrees with what the parent decided. One that does not is a lie ("General
    /// requirements": erased when it is apparently inconsistent).
    pub fn parent_threshold(&self) -> Option<Threshold> {
        let sampled = self.parent.sampled()?;
        self.trace_state.threshold.filter(|threshold| threshold.samples(self.randomness()) == sampled)
    }
}

/// What a sampler answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// Whether the span is recorded and the `sampled` flag goes out set.
    pub sampled: bool,
    /// The threshold by which the trace was sampled, where that is known: it goes on in the trace state, and
    /// [`Threshold::adjusted_count`] is what the span stands for.
    pub threshold: Option<Threshold>,
    /// Which sampler said so.
    pub reason: ReasonId,
}

/// A configured sampler, with all that stand in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampler {
    root: Node,
    reasons: ReasonList,
    limiters: Vec<RateLimiter>,
    /// Samplers that are told from outside; to be polled.
    pub remotes: Vec<RemoteSampler>,
    adaptive: Vec<Adaptive>,
}

/// What samplers that keep a rate, or are told from outside, work with.
struct Rates<'a> {
    limiters: &'a mut [RateLimiter],
    remotes: &'a mut [RemoteSampler],
    adaptive: &'a mut [Adaptive],
    shared: &'a mut dyn SharedData,
}

impl Rates<'_> {
    /// Takes a token of the rate with this number.
    fn take(&mut self, rate: usize, now: u64) -> bool {
        self.limiters.get_mut(rate).is_some_and(|limiter| limiter.take(now, self.shared))
    }

    /// Asks the adaptive sampler with this number.
    fn adapt(&mut self, adaptive: usize, input: &SamplingInput<'_>) -> (bool, Option<Threshold>) {
        self.adaptive.get_mut(adaptive).map_or((false, None), |adaptive| adaptive.decide(input, self.shared))
    }

    /// Asks the remote sampler with this number.
    fn ask(&mut self, remote: usize, input: &SamplingInput<'_>) -> Option<(bool, Option<Threshold>)> {
        self.remotes.get_mut(remote)?.decide(input, self.shared)
    }
}

/// One sampler of the tree.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    AlwaysOn(ReasonId),
    AlwaysOff(ReasonId),
    TraceIdRatioBased(TraceIdRatioBased, ReasonId),
    ParentBased(Box<ParentBased>),
    Composite(Composable),
    RateLimiting(usize, ReasonId),
    /// The number of an adaptive sampler.
    Adaptive(usize, ReasonId),
    /// The number of a remote sampler, and the sampler until it has been told.
    JaegerRemote(usize, ReasonId, Box<Node>),
}

impl Sampler {
    /// The sampler that a checked configuration asks for, in a proxy whose telemetry has this resource.
    #[inline]
    pub fn new(config: &SamplerConfig, resource: &[Attribute]) -> Self {
        let mut reasons = Reasons::default();
        let root = Node::new(config, resource, &mut reasons);
        let (reasons, limiters, remotes, adaptive) = reasons.finish();
        Self { root, reasons, limiters, remotes, adaptive }
    }

    /// The decision for one span. Deterministic, but for samplers that keep a rate: those also ask what time it is and
    /// what other workers did.
    pub fn decide(&mut self, input: &SamplingInput<'_>, shared: &mut dyn SharedData) -> Decision {
        self.root.decide(
            input,
            &mut Rates {
                limiters: &mut self.limiters,
                remotes: &mut self.remotes,
                adaptive: &mut self.adaptive,
                shared,
            },
        )
    }

    /// How many decisions of remote samplers were made without a lower bound since the last time, because there were too
    /// many operations.
    pub fn take_turned_away(&mut self) -> u64 {
        self.remotes.iter_mut().fold(0, |sum, remote| sum.saturating_add(remote.take_turned_away()))
    }

    /// Whether decisions need the time: only where a rate is kept.
    pub fn needs_time(&self) -> bool {
        !(self.limiters.is_empty() && self.remotes.is_empty() && self.adaptive.is_empty())
    }

    /// Whether decisions go by the parent, the trace id and the trace state alone: by no attribute, no kind of span and no
    /// time.
    pub fn goes_by_ids(&self) -> bool {
        self.root.goes_by_ids()
    }

    /// Whether a trace that begins here may be left out.
    pub fn may_decline_roots(&self) -> bool {
        match &self.root {
            Node::AlwaysOn(_) => false,
            Node::ParentBased(branches) => !matches!(branches.root(), Node::AlwaysOn(_)),
            _ => true,
        }
    }

    /// Whether it never samples what a caller elsewhere did not.
    pub fn declines_unsampled(&self) -> bool {
        match &self.root {
            Node::AlwaysOff(_) => true,
            Node::ParentBased(branches) => matches!(branches.remote_not_sampled(), Node::AlwaysOff(_)),
            _ => false,
        }
    }

    /// Whether any of them may want to know how streams end.
    pub fn watches_ends(&self) -> bool {
        !self.adaptive.is_empty()
    }

    /// Whether the sampler that decided wants to know how the stream ends.
    pub fn wants_end(&self, reason: ReasonId) -> bool {
        !self.adaptive.is_empty() && self.reason(reason).is_some_and(|reason| reason.adaptive.is_some())
    }

    /// Takes note of how a stream ended: the route's template, whether it failed, and the time, ns since the Unix epoch.
    pub fn observe(&mut self, reason: ReasonId, route: &[u8], failed: bool, now: u64) {
        let adaptive = self.reasons.get(reason).and_then(|reason| reason.adaptive);
        if let Some(adaptive) = adaptive.and_then(|adaptive| self.adaptive.get_mut(adaptive)) {
            adaptive.observe(route, failed, now);
        }
    }

    /// What a decision's reason stands for.
    pub fn reason(&self, id: ReasonId) -> Option<&Reason> {
        self.reasons.get(id)
    }

    /// Calls `visit` with each attribute that a decision may ask for.
    pub fn each_attribute(&self, visit: &mut dyn FnMut(&StartAttribute)) {
        self.root.each_attribute(visit);
    }
}

impl Node {
    #[inline]
    fn new(config: &SamplerConfig, resource: &[Attribute], reasons: &mut Reasons) -> Self {
        match config {
            SamplerConfig::AlwaysOn => Self::AlwaysOn(reasons.here(SamplerKind::AlwaysOn)),
            SamplerConfig::AlwaysOff => Self::AlwaysOff(reasons.here(SamplerKind::AlwaysOff)),
            SamplerConfig::TraceIdRatioBased { ratio } => {
                Self::TraceIdRatioBased(TraceIdRatioBased::new(*ratio), reasons.here(SamplerKind::TraceIdRatioBased))
            }
            SamplerConfig::ParentBased(branches) => {
                Self::ParentBased(Box::new(ParentBased::new(branches, resource, reasons)))
            }
            SamplerConfig::Probability { ratio } => {
                let probability = crate::config::ComposableConfig::Probability { ratio: *ratio };
                Self::Composite(Composable::new(&probability, resource, reasons))
            }
            SamplerConfig::RateLimiting(config) => {
                Self::RateLimiting(reasons.limiter(config), reasons.here(SamplerKind::RateLimiting))
            }
            SamplerConfig::Adaptive(config) => {
                Self::Adaptive(reasons.adaptive(config), reasons.here(SamplerKind::Adaptive))
            }
            SamplerConfig::JaegerRemote(config) => {
                let service = resource.iter().find(|attribute| attribute.name == "service.name");
                let service = match service.map(|attribute| &attribute.value) {
                    Some(AttributeValue::String(name)) => name.as_str(),
                    _ => "",
                };
                let reason = reasons.here(SamplerKind::JaegerRemote);
                let remote = reasons.remote(RemoteSampler::new(config, service));
                let initial = |reasons: &mut Reasons| Self::new(&config.initial_sampler, resource, reasons);
                Self::JaegerRemote(remote, reason, Box::new(reasons.branch("initial_sampler".to_owned(), initial)))
            }
            SamplerConfig::Composite(composite) => Self::Composite(Composable::new(composite, resource, reasons)),
        }
    }

    fn decide(&self, input: &SamplingInput<'_>, rates: &mut Rates<'_>) -> Decision {
        match self {
            Self::AlwaysOn(reason) => Decision { sampled: true, threshold: None, reason: *reason },
            Self::AlwaysOff(reason) => Decision { sampled: false, threshold: None, reason: *reason },
            Self::TraceIdRatioBased(ratio, reason) => {
                Decision { sampled: ratio.samples(input.trace_id), threshold: None, reason: *reason }
            }
            Self::ParentBased(branches) => branches.decide(input, rates),
            Self::Composite(composable) => composable.decide(input, rates),
            Self::Adaptive(adaptive, reason) => {
                let (sampled, threshold) = rates.adapt(*adaptive, input);
                Decision { sampled, threshold, reason: *reason }
            }
            Self::JaegerRemote(remote, reason, initial) => match rates.ask(*remote, input) {
                Some((sampled, threshold)) => Decision { sampled, threshold, reason: *reason },
                None => initial.decide(input, rates),
            },
            // How likely a trace was to get a token nobody knows.
            Self::RateLimiting(rate, reason) => {
                Decision { sampled: rates.take(*rate, input.now), threshold: None, reason: *reason }
            }
        }
    }

    fn goes_by_ids(&self) -> bool {
        match self {
            Self::AlwaysOn(_) | Self::AlwaysOff(_) | Self::TraceIdRatioBased(..) => true,
            Self::ParentBased(branches) => branches.goes_by_ids(),
            Self::Composite(composable) => composable.goes_by_ids(),
            Self::RateLimiting(..) | Self::Adaptive(..) | Self::JaegerRemote(..) => false,
        }
    }

    fn each_attribute(&self, visit: &mut dyn FnMut(&StartAttribute)) {
        match self {
            Self::AlwaysOn(_)
            | Self::AlwaysOff(_)
            | Self::TraceIdRatioBased(..)
            | Self::RateLimiting(..)
            | Self::Adaptive(..) => {}
            Self::ParentBased(branches) => branches.each_attribute(visit),
            Self::JaegerRemote(.., initial) => initial.each_attribute(visit),
            Self::Composite(composable) => composable.each_attribute(visit),
        }
    }
}
