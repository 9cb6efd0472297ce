//! `parent_based`: the parent's decision chooses the sampler.

use super::reason::Reasons;
use super::{Decision, Node, Parent, Rates, SamplingInput};
use crate::attribute::Attribute;
use crate::config::{ParentBasedConfig, SamplerConfig, StartAttribute};
use crate::trace::ParentDecision;

/// Five samplers, one for each thing a parent can be (OpenTelemetry specification, Trace SDK, `ParentBased`).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ParentBased {
    root: Node,
    remote_sampled: Node,
    remote_not_sampled: Node,
    local_sampled: Node,
    local_not_sampled: Node,
}

impl ParentBased {
    /// From checked configuration, which has the standard's defaults filled in.
    #[inline]
    pub(super) fn new(config: &ParentBasedConfig, resource: &[Attribute], reasons: &mut Reasons) -> Self {
        let mut branch = |name: &str, config: &SamplerConfig| {
            reasons.branch(name.to_owned(), |reasons| Node::new(config, resource, reasons))
        };
        Self {
            root: branch("root", &config.root),
            remote_sampled: branch("remote_parent_sampled", &config.remote_parent_sampled),
            remote_not_sampled: branch("remote_parent_not_sampled", &config.remote_parent_not_sampled),
            local_sampled: branch("local_parent_sampled", &config.local_parent_sampled),
            local_not_sampled: branch("local_parent_not_sampled", &config.local_parent_not_sampled),
        }
    }

    /// Asks the branch that the parent selects. A parent that deferred its decision left it to us, as if the
    /// trace began here: that is the root sampler's case, and not the same as `sampled=0`.
    ///
    /// Where `always_on` follows a parent that was sampled, the trace was sampled by the parent's threshold, and it
    /// goes on if it is consistent ("Parent-based threshold").
    pub(super) fn decide(&self, input: &SamplingInput<'_>, rates: &mut Rates<'_>) -> Decision {
        let branch = match input.parent {
            Parent::None | Parent::Remote(ParentDecision::Deferred) | Parent::Decided(ParentDecision::Deferred) => {
                &self.root
            }
            Parent::Remote(ParentDecision::NotSampled) | Parent::Decided(ParentDecision::NotSampled) => {
                &self.remote_not_sampled
            }
            Parent::Remote(_) | Parent::Decided(_) => &self.remote_sampled,
            Parent::Local { sampled: true } => &self.local_sampled,
            Parent::Local { sampled: false } => &self.local_not_sampled,
        };
        let mut decision = branch.decide(input, rates);
        if matches!(branch, Node::AlwaysOn(_)) && input.parent.sampled() == Some(true) {
            decision.threshold = input.parent_threshold();
        }
        decision
    }

    /// What decides about a trace that begins here.
    pub(super) const fn root(&self) -> &Node {
        &self.root
    }

    /// What decides about a trace whose caller does not sample it.
    pub(super) const fn remote_not_sampled(&self) -> &Node {
        &self.remote_not_sampled
    }

    pub(super) fn goes_by_ids(&self) -> bool {
        self.branches().into_iter().all(Node::goes_by_ids)
    }

    pub(super) fn each_attribute(&self, visit: &mut dyn FnMut(&StartAttribute)) {
        for branch in self.branches() {
            branch.each_attribute(visit);
        }
    }

    const fn branches(&self) -> [&Node; 5] {
        [&self.root, &self.remote_sampled, &self.remote_not_sampled, &self.local_sampled, &self.local_not_sampled]
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::Sampler;
    use super::super::tests::{NO_ATTRIBUTES, input};
    use super::*;
    use crate::config::SamplerConfig::{AlwaysOff, AlwaysOn};
    use crate::shared_data::Alone;

    const BRANCHES: [&str; 5] = [
        "root",
        "remote_parent_sampled",
        "remote_parent_not_sampled",
        "local_parent_sampled",
        "local_parent_not_sampled",
    ];

    /// A sampler in which only `on` says yes.
    fn only(on: usize) -> Sampler {
        let pick = |index| if index == on { AlwaysOn } else { AlwaysOff };
        let config = ParentBasedConfig {
            root: pick(0),
            remote_parent_sampled: pick(1),
            remote_parent_not_sampled: pick(2),
            local_parent_sampled: pick(3),
            local_parent_not_sampled: pick(4),
        };
        Sampler::new(&SamplerConfig::ParentBased(Box::new(config)), &[])
    }

    #[test]
    fn each_parent_has_its_own_branch() {
        let table: &[(Parent, usize, &str)] = &[
            (Parent::None, 0, "no parent: root"),
            (Parent::Remote(ParentDecision::Deferred), 0, "nothing decided yet: as a root"),
            (Parent::Remote(ParentDecision::Sampled), 1, "remote, sampled"),
            (Parent::Remote(ParentDecision::Debug), 1, "debug is sampled"),
            (Parent::Remote(ParentDecision::NotSampled), 2, "remote, not sampled"),
            (Parent::Decided(ParentDecision::Sampled), 1, "a decision without ids binds"),
            (Parent::Decided(ParentDecision::NotSampled), 2, "a decision without ids binds"),
            (Parent::Local { sampled: true }, 3, "local, sampled"),
            (Parent::Local { sampled: false }, 4, "local, not sampled"),
        ];
        for (parent, branch, why) in table {
            for on in 0..5 {
                let mut sampler = only(on);
                let decision = sampler.decide(&input(7, *parent, "", &NO_ATTRIBUTES), &mut Alone);
                assert_eq!(decision.sampled, on == *branch, "{why}, branch {on}");
                assert_eq!(sampler.reason(decision.reason).unwrap().rule, BRANCHES[*branch], "{why}");
            }
        }
    }
}
