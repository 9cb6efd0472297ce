//! `composite/development`: samplers that state at which threshold they would sample, and one place that decides.
//!
//! Source: OpenTelemetry specification, Trace SDK, "`CompositeSampler`" and "Built-in `ComposableSampler`s".

use super::reason::{ReasonId, Reasons, SamplerKind};
use super::rule::Rule;
use super::threshold::Threshold;
use super::{Decision, Parent, Rates, SamplingInput};
use crate::attribute::Attribute;
use crate::config::{ComposableConfig, StartAttribute};
use crate::trace::ParentDecision;

/// A composable sampler.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Composable {
    /// `always_on`, `always_off` and `probability`: a threshold, or none.
    Fixed(Option<Threshold>, ReasonId),
    /// `parent_threshold`, and its root.
    ParentThreshold(Box<Composable>, ReasonId),
    /// `rate_limiting`: the number of its rate.
    RateLimiting(usize, ReasonId),
    /// `adaptive`: its number.
    Adaptive(usize, ReasonId),
    /// `rule_based`, and the reason where no rule matches.
    RuleBased(Vec<Rule>, ReasonId),
}

/// What a composable sampler asks for (`SamplingIntent`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Intent {
    /// `None`: not sampled.
    threshold: Option<Threshold>,
    /// Whether the threshold says how many traces a sampled one stands for.
    reliable: bool,
    reason: ReasonId,
}

impl Composable {
    /// From checked configuration.
    #[inline]
    pub(super) fn new(config: &ComposableConfig, resource: &[Attribute], reasons: &mut Reasons) -> Self {
        match config {
            ComposableConfig::AlwaysOn => Self::Fixed(Some(Threshold::ALWAYS), reasons.here(SamplerKind::AlwaysOn)),
            ComposableConfig::AlwaysOff => Self::Fixed(None, reasons.here(SamplerKind::AlwaysOff)),
            ComposableConfig::Probability { ratio } => {
                Self::Fixed(Threshold::from_probability(*ratio), reasons.here(SamplerKind::Probability))
            }
            ComposableConfig::RateLimiting(config) => {
                Self::RateLimiting(reasons.limiter(config), reasons.here(SamplerKind::RateLimiting))
            }
            ComposableConfig::Adaptive(config) => {
                Self::Adaptive(reasons.adaptive(config), reasons.here(SamplerKind::Adaptive))
            }
            ComposableConfig::ParentThreshold { root } => {
                let reason = reasons.here(SamplerKind::ParentThreshold);
                let root = reasons.branch("root".to_owned(), |reasons| Self::new(root, resource, reasons));
                Self::ParentThreshold(Box::new(root), reason)
            }
            ComposableConfig::RuleBased { rules } => {
                let reason = reasons.here(SamplerKind::RuleBased);
                let rule = |(index, rule): (usize, &crate::config::RuleConfig)| {
                    let name = format!("rules[{index}]");
                    let sampler = reasons.branch(name, |reasons| Self::new(&rule.sampler, resource, reasons));
                    Rule::new(rule, resource, sampler)
                };
                Self::RuleBased(rules.iter().enumerate().map(rule).collect(), reason)
            }
        }
    }

    /// The decision: the trace's randomness against the threshold asked for. The threshold goes on where it is known to
    /// tell the adjusted count.
    pub(super) fn decide(&self, input: &SamplingInput<'_>, rates: &mut Rates<'_>) -> Decision {
        let intent = self.intent(input, rates);
        let sampled = intent.threshold.is_some_and(|threshold| threshold.samples(input.randomness()));
        let threshold = intent.threshold.filter(|_| sampled && intent.reliable);
        Decision { sampled, threshold, reason: intent.reason }
    }

    fn intent(&self, input: &SamplingInput<'_>, rates: &mut Rates<'_>) -> Intent {
        match self {
            Self::Fixed(threshold, reason) => {
                Intent { threshold: *threshold, reliable: threshold.is_some(), reason: *reason }
            }
            Self::Adaptive(adaptive, reason) => {
                let (sampled, known) = rates.adapt(*adaptive, input);
                let threshold = known.or(sampled.then_some(Threshold::ALWAYS));
                Intent { threshold, reliable: known.is_some(), reason: *reason }
            }
            // How likely a trace was to get a token nobody knows.
            Self::RateLimiting(rate, reason) => {
                let threshold = rates.take(*rate, input.now).then_some(Threshold::ALWAYS);
                Intent { threshold, reliable: false, reason: *reason }
            }
            Self::ParentThreshold(root, reason) => match input.parent.sampled() {
                None => root.intent(input, rates),
                Some(sampled) => {
                    let known = input.parent_threshold();
                    let threshold = known.or(sampled.then_some(Threshold::ALWAYS));
                    Intent { threshold, reliable: known.is_some(), reason: *reason }
                }
            },
            Self::RuleBased(rules, reason) => match rules.iter().find(|rule| rule.matches(input)) {
                Some(rule) => rule.sampler.intent(input, rates),
                None => Intent { threshold: None, reliable: false, reason: *reason },
            },
        }
    }

    pub(super) fn goes_by_ids(&self) -> bool {
        match self {
            Self::Fixed(..) => true,
            Self::ParentThreshold(root, _) => root.goes_by_ids(),
            Self::RateLimiting(..) | Self::Adaptive(..) | Self::RuleBased(..) => false,
        }
    }

    /// Calls `visit` with each attribute that a rule asks for.
    pub(super) fn each_attribute(&self, visit: &mut dyn FnMut(&StartAttribute)) {
        match self {
            Self::Fixed(..) | Self::RateLimiting(..) | Self::Adaptive(..) => {}
            Self::ParentThreshold(root, _) => root.each_attribute(visit),
            Self::RuleBased(rules, _) => {
                for rule in rules {
                    rule.attributes().for_each(&mut *visit);
                    rule.sampler.each_attribute(visit);
                }
            }
        }
    }
}

impl Parent {
    /// Whether the parent was sampled; `None` where nothing was decided before.
    pub(super) const fn sampled(self) -> Option<bool> {
        match self {
            Self::None | Self::Remote(ParentDecision::Deferred) | Self::Decided(ParentDecision::Deferred) => None,
            Self::Remote(decision) | Self::Decided(decision) => Some(decision.is_sampled()),
            Self::Local { sampled } => Some(sampled),
        }
    }
}
