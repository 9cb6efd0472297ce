//! `parent_based`: the parent's decision chooses the sampler.

use super::{Decision, Parent, Sampler, SamplingInput};
use crate::config::ParentBasedConfig;
use crate::trace::ParentDecision;

/// Five samplers, one for each thing a parent can be (OpenTelemetry specification, Trace SDK, `ParentBased`).
#[derive(Clone, Debug, PartialEq)]
pub struct ParentBased {
    root: Sampler,
    remote_sampled: Sampler,
    remote_not_sampled: Sampler,
    local_sampled: Sampler,
    local_not_sampled: Sampler,
}

impl ParentBased {
    /// From checked configuration, which has the standard's defaults filled in.
    pub fn new(config: &ParentBasedConfig) -> Self {
        Self {
            root: Sampler::new(&config.root),
            remote_sampled: Sampler::new(&config.remote_parent_sampled),
            remote_not_sampled: Sampler::new(&config.remote_parent_not_sampled),
            local_sampled: Sampler::new(&config.local_parent_sampled),
            local_not_sampled: Sampler::new(&config.local_parent_not_sampled),
        }
    }

    /// Asks the branch that the parent selects. A parent that deferred its decision left it to us, as if the
    /// trace began here: that is the root sampler's case, and not the same as `sampled=0`.
    pub fn decide(&self, input: &SamplingInput) -> Decision {
        let branch = match input.parent {
            Parent::None | Parent::Remote(ParentDecision::Deferred) => &self.root,
            Parent::Remote(ParentDecision::Sampled | ParentDecision::Debug) => &self.remote_sampled,
            Parent::Remote(ParentDecision::NotSampled) => &self.remote_not_sampled,
            Parent::Local { sampled: true } => &self.local_sampled,
            Parent::Local { sampled: false } => &self.local_not_sampled,
        };
        branch.decide(input)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::config::SamplerConfig::{AlwaysOff, AlwaysOn};
    use crate::trace::TraceId;

    /// A sampler in which only `on` says yes.
    fn only(on: usize) -> ParentBased {
        let pick = |index| if index == on { AlwaysOn } else { AlwaysOff };
        ParentBased::new(&ParentBasedConfig {
            root: pick(0),
            remote_parent_sampled: pick(1),
            remote_parent_not_sampled: pick(2),
            local_parent_sampled: pick(3),
            local_parent_not_sampled: pick(4),
        })
    }

    #[test]
    fn each_parent_has_its_own_branch() {
        let table: &[(Parent, usize, &str)] = &[
            (Parent::None, 0, "no parent: root"),
            (Parent::Remote(ParentDecision::Deferred), 0, "nothing decided yet: as a root"),
            (Parent::Remote(ParentDecision::Sampled), 1, "remote, sampled"),
            (Parent::Remote(ParentDecision::Debug), 1, "debug is sampled"),
            (Parent::Remote(ParentDecision::NotSampled), 2, "remote, not sampled"),
            (Parent::Local { sampled: true }, 3, "local, sampled"),
            (Parent::Local { sampled: false }, 4, "local, not sampled"),
        ];
        for (parent, branch, why) in table {
            for on in 0..5 {
                let input = SamplingInput { trace_id: TraceId::new(7).unwrap(), parent: *parent };
                assert_eq!(only(on).decide(&input).is_sampled(), on == *branch, "{why}, branch {on}");
            }
        }
    }
}
