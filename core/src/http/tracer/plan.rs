//! What a stream's spans are to be, decided at its head.

use super::{HttpTracer, TrafficDirection};

use super::super::attributes::SpanShape;
use super::super::exchange::Why;
use super::super::request::RequestHead;
use super::super::start::SpanStart;
use crate::config::{ForceKind, Role};
use crate::counter::Counters;
use crate::sampling::{Decision, OtelTraceState, Parent, Plea, ReasonId, SamplerKind, SamplingInput};
use crate::shared_data::SharedData;
use crate::trace::{IdGenerator, ParentDecision, SpanId, TraceId};

/// The spans that a stream becomes.
pub(super) enum Plan {
    Server(Planned),
    Client(Planned),
    Gateway { server: Planned, client: Planned },
}

/// Where a stream's spans come from.
#[derive(Clone, Copy)]
pub(super) struct Start<'a> {
    pub(super) trace_id: TraceId,
    pub(super) parent: Parent,
    pub(super) trace_state: OtelTraceState<'a>,
    pub(super) now: u64,
    pub(super) forced: Option<ForceKind>,
}

#[derive(Clone, Copy)]
pub(super) struct Planned {
    pub(super) span_id: SpanId,
    pub(super) decision: Decision,
    pub(super) why: Why,
}

impl Plan {
    pub(super) const fn server(&self) -> Option<Planned> {
        match self {
            Self::Server(server) | Self::Gateway { server, .. } => Some(*server),
            Self::Client(_) => None,
        }
    }

    pub(super) const fn client(&self) -> Option<Planned> {
        match self {
            Self::Client(client) | Self::Gateway { client, .. } => Some(*client),
            Self::Server(_) => None,
        }
    }

    /// The span that is the caller's child.
    pub(super) const fn outer(&self) -> Planned {
        match self {
            Self::Server(span) | Self::Client(span) | Self::Gateway { server: span, .. } => *span,
        }
    }

    /// The span that the upstream becomes a child of.
    pub(super) const fn innermost(&self) -> Planned {
        match self {
            Self::Server(span) | Self::Client(span) | Self::Gateway { client: span, .. } => *span,
        }
    }
}

impl HttpTracer {
    /// How the request asks to be recorded, where it does and that is honoured.
    pub(super) fn forced(
        &mut self,
        head: &RequestHead<'_>,
        asked: Option<ParentDecision>,
        now: u64,
        shared: &mut dyn SharedData,
        counters: &mut Counters,
    ) -> Option<ForceKind> {
        let force = self.force.as_mut()?;
        let pleas = [
            (ForceKind::EnvoyForceTrace, head.force_trace),
            (ForceKind::JaegerDebugId, head.debug_id.is_some()),
            (ForceKind::Debug, asked == Some(ParentDecision::Debug)),
        ];
        let (kind, _) = pleas.into_iter().find(|(kind, is_there)| *is_there && force.listens_to(*kind))?;
        let granted = force.grants(&Plea { kind, internal: head.internal, identity: head.identity, now }, shared);
        counters.increment_decision(SamplerKind::Force, granted);
        granted.then_some(kind)
    }

    pub(super) fn plan(
        &mut self,
        start: Start<'_>,
        head: &RequestHead<'_>,
        direction: &mut dyn FnMut() -> TrafficDirection,
        shared: &mut dyn SharedData,
        ids: &mut IdGenerator,
    ) -> Plan {
        let kind_may_not_matter = self.sampler_goes_by_ids && !self.needs_heads();
        let Start { trace_id, parent, trace_state, now, forced } = start;
        let (sampler, routes) = (&mut self.sampler, &self.routes);
        let mut decide = |parent, trace_state, shape: &SpanShape| {
            let attributes = &SpanStart { head, shape, routes };
            let input = SamplingInput { trace_id, parent, trace_state, kind: shape.kind(), attributes, now };
            let span_id = ids.span_id();
            if let Some(kind) = forced {
                // How likely somebody was to ask nobody knows.
                let decision = Decision { sampled: true, threshold: None, reason: ReasonId::NONE };
                return Planned { span_id, decision, why: Why::Forced(kind) };
            }
            let decision = sampler.decide(&input, shared);
            Planned { span_id, decision, why: Why::Sampled(decision.reason) }
        };
        match self.role {
            Role::Gateway => {
                let server = decide(parent, trace_state, &self.server);
                let parent = Parent::Local { sampled: server.decision.sampled };
                let trace_state = trace_state.below(server.decision.threshold);
                Plan::Gateway { server, client: decide(parent, trace_state, &self.client) }
            }
            Role::Client => Plan::Client(decide(parent, trace_state, &self.client)),
            // The sampler decides alike for either kind. What is not recorded has none, and nobody has to be asked for it.
            Role::Auto if kind_may_not_matter => {
                let planned = decide(parent, trace_state, &self.server);
                if planned.decision.sampled && direction() == TrafficDirection::Outbound {
                    Plan::Client(planned)
                } else {
                    Plan::Server(planned)
                }
            }
            Role::Auto if direction() == TrafficDirection::Outbound => {
                Plan::Client(decide(parent, trace_state, &self.client))
            }
            Role::Server | Role::Auto => Plan::Server(decide(parent, trace_state, &self.server)),
        }
    }
}
