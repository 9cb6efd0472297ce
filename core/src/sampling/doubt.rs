//! What OpenTelemetry's specification asks to warn of: decisions that may not be what they seem. Each is told once and
//! counted ever after.

use super::{Parent, Sampler, SamplerKind};
use crate::counter::Counter;
use crate::shared_data::{Outcome, SharedData, update};

/// Something that is wrong with how a caller and this sampler go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A trace that a caller began was judged by the randomness of its id, and nobody says that the id is random
    /// (Trace SDK, "Compatibility warnings for `ProbabilitySampler`").
    PresumedRandom,
    /// `trace_id_ratio_based` judged a trace that a caller began, and SDKs differ in which ids they choose (Trace SDK,
    /// "Compatibility warnings for `TraceIdRatioBased` sampler").
    RatioBelowParent,
}

impl Doubt {
    const ALL: [Self; 2] = [Self::PresumedRandom, Self::RatioBelowParent];

    /// The counter of decisions that it applies to.
    pub const fn counter(self) -> Counter {
        match self {
            Self::PresumedRandom => Counter::SamplingPresumedRandom,
            Self::RatioBelowParent => Counter::SamplingRatioBelowParent,
        }
    }

    /// What an operator is told.
    pub const fn text(self) -> &'static str {
        match self {
            Self::PresumedRandom => {
                "a sampler goes by the randomness of trace ids, and callers send ids without saying that they are random: \
                 neither the random-trace-id flag of traceparent nor rv in tracestate. Ids that are not random make its \
                 share wrong. Callers with W3C trace context level 2 set the flag. \
                 (meshspan_sampling_presumed_random_total counts these; this line comes once.)"
            }
            Self::RatioBelowParent => {
                "trace_id_ratio_based decides about traces that callers began, and other SDKs choose other traces by the \
                 same ratio. Let it decide as root of parent_based only, or use probability/development. \
                 (meshspan_sampling_ratio_below_parent_total counts these; this line comes once.)"
            }
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::PresumedRandom => "meshspan.sampling.told.presumed_random",
            Self::RatioBelowParent => "meshspan.sampling.told.ratio_below_parent",
        }
    }
}

impl Sampler {
    /// What is to be doubted of a decision by this kind of sampler in a stream with this parent. `random`: whether the
    /// trace id is said to be random, or the trace has randomness of its own in `rv`.
    ///
    /// Only of traces that came with a span over the wire: the ids of all others are made here.
    pub fn doubt(&self, kind: SamplerKind, parent: Parent, random: bool) -> Option<Doubt> {
        let Parent::Remote(_) = parent else { return None };
        match kind {
            SamplerKind::TraceIdRatioBased => Some(Doubt::RatioBelowParent),
            SamplerKind::Probability | SamplerKind::Adaptive if !random => Some(Doubt::PresumedRandom),
            SamplerKind::JaegerRemote if !random => {
                self.remotes.iter().any(super::RemoteSampler::goes_by_share).then_some(Doubt::PresumedRandom)
            }
            _ => None,
        }
    }
}

/// Which doubts there are, and which were told: of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    raised: [bool; Doubt::ALL.len()],
    told: [bool; Doubt::ALL.len()],
}

impl Doubts {
    /// There is one.
    pub fn raise(&mut self, doubt: Doubt) {
        if let Some(raised) = self.raised.get_mut(doubt as usize) {
            *raised = true;
        }
    }

    /// The next one that neither this worker nor another has told. The workers of a proxy tell each once for the proxy's
    /// life, whatever the number of configurations.
    #[inline]
    pub fn next_untold(&mut self, shared: &mut dyn SharedData) -> Option<Doubt> {
        let waiting = self.raised.into_iter().zip(&mut self.told).zip(Doubt::ALL);
        waiting.filter(|((raised, told), _)| *raised && !**told).find_map(|((_, told), doubt)| {
            *told = true;
            let first = update(shared, doubt.key(), |stored| (stored.is_none().then(|| vec![1]), stored.is_none()));
            // By itself, a worker tells for itself.
            (first != Outcome::Done(false)).then_some(doubt)
        })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::tests::sampler;
    use super::*;
    use crate::shared_data::Alone;
    use crate::shared_data::testing::Store;
    use crate::trace::ParentDecision;

    const REMOTE: Parent = Parent::Remote(ParentDecision::Sampled);

    #[test]
    fn what_is_doubted() {
        let table: &[(SamplerKind, Parent, bool, Option<Doubt>, &str)] = &[
            (SamplerKind::Probability, REMOTE, false, Some(Doubt::PresumedRandom), "nobody says that it is random"),
            (SamplerKind::Probability, REMOTE, true, None, "said to be random"),
            (SamplerKind::Probability, Parent::None, false, None, "made here"),
            (SamplerKind::Probability, Parent::Decided(ParentDecision::Sampled), false, None, "made here"),
            (SamplerKind::Probability, Parent::Local { sampled: true }, false, None, "of another span of this proxy"),
            (
                SamplerKind::Probability,
                Parent::Remote(ParentDecision::Deferred),
                false,
                Some(Doubt::PresumedRandom),
                "a caller that left the decision open",
            ),
            (SamplerKind::Adaptive, REMOTE, false, Some(Doubt::PresumedRandom), "adaptive goes by a share"),
            (SamplerKind::JaegerRemote, REMOTE, false, None, "nothing was told yet, or a rate"),
            (SamplerKind::RateLimiting, REMOTE, false, None, "a rate takes whatever comes"),
            (SamplerKind::ParentThreshold, REMOTE, false, None, "follows"),
            (SamplerKind::AlwaysOn, REMOTE, false, None, "takes all"),
            (SamplerKind::TraceIdRatioBased, REMOTE, false, Some(Doubt::RatioBelowParent), "below a caller"),
            (SamplerKind::TraceIdRatioBased, REMOTE, true, Some(Doubt::RatioBelowParent), "random or not"),
            (SamplerKind::TraceIdRatioBased, Parent::None, false, None, "as a root"),
        ];
        let sampler = sampler(r#"{"always_on": {}}"#, &[]);
        for (kind, parent, random, expected, why) in table {
            assert_eq!(sampler.doubt(*kind, *parent, *random), *expected, "{kind:?}: {why}");
        }
    }

    #[test]
    fn each_is_told_once_by_one_worker() {
        let mut store = Store::default();
        let mut workers = [Doubts::default(); 2];
        let mut told = Vec::new();
        for _ in 0..3 {
            for worker in &mut workers {
                worker.raise(Doubt::RatioBelowParent);
                told.extend(core::iter::from_fn(|| worker.next_untold(&mut store)));
            }
        }
        assert_eq!(told, [Doubt::RatioBelowParent]);
        workers[1].raise(Doubt::PresumedRandom);
        assert_eq!(workers[0].next_untold(&mut store), None, "it has seen none");
        assert_eq!(workers[1].next_untold(&mut store), Some(Doubt::PresumedRandom));
        let mut alone = Doubts::default();
        assert_eq!(alone.next_untold(&mut Alone), None);
        alone.raise(Doubt::PresumedRandom);
        alone.raise(Doubt::RatioBelowParent);
        let all: Vec<_> = core::iter::from_fn(|| alone.next_untold(&mut Alone)).collect();
        assert_eq!(all, Doubt::ALL, "without a store a worker tells for itself");
    }
}
