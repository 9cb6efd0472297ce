//! Requests that are handled by a few of their headers: those that begin a trace which is not sampled, and those whose
//! caller does not sample. Most requests are one or the other, and reading all lines is what costs them most.

use super::plan::Start;
use super::{HttpTracer, TrafficDirection};
use crate::config::{Config, Inject, ResponseConfig, Role};
use crate::counter::{Counter, Counters};
use crate::header::{HeaderEdit, HeaderLookup};
use crate::http::exchange::{Exchange, Tracing};
use crate::http::request::RequestHead;
use crate::propagation::{self, OutgoingContext, TraceState};
use crate::sampling::{OtelTraceState, Parent};
use crate::shared_data::SharedData;
use crate::trace::{IdGenerator, ParentDecision, TraceId, flags};

/// Which requests these are.
#[derive(Clone, Debug, Default)]
pub(super) struct Early {
    /// The headers in whose absence a request that begins a trace can be left out.
    decisive_headers: Option<&'static [&'static str]>,
    /// Whether a request whose caller does not sample goes on with its caller's context, as it came.
    follows_unsampled: bool,
    /// Whether the next request may be such a one, as the last could have been.
    is_next: bool,
    /// The id that [`HttpTracer::handle_early`] drew and that is sampled.
    pub(super) drawn: Option<TraceId>,
}

impl Early {
    /// For a tracer that is otherwise complete.
    #[inline]
    pub(super) fn new(config: &Config, tracer: &HttpTracer) -> Self {
        let is_simple = tracer.role != Role::Gateway
            && !tracer.is_passive
            && tracer.service_member.is_none()
            && tracer.force.is_none()
            && !tracer.needs_heads();
        let leaves_out = is_simple && tracer.sampler_goes_by_ids && tracer.sampler.may_decline_roots();
        let decisive_headers = tracer.propagators.decisive_headers().filter(|_| leaves_out);
        // Nobody is told of a span that there is not: neither the caller nor the access log, and the proxy writes no
        // header of its own.
        let follows_unsampled = is_simple
            && tracer.sampler.declines_unsampled()
            && tracer.propagators.are_trace_context_alone()
            && tracer.response == ResponseConfig::default()
            && config.meshspan.inject == Inject::Headers
            && !config.meshspan.logs.is_some_and(|logs| logs.filter_state);
        Self { decisive_headers, follows_unsampled, is_next: decisive_headers.is_some(), drawn: None }
    }

    /// All lines of a request had to be read.
    pub(super) const fn saw(&mut self, begins_a_trace: bool) {
        self.is_next = begins_a_trace && self.decisive_headers.is_some();
    }
}

impl HttpTracer {
    /// Whether a request should be given to [`handle_early`](Self::handle_early) before all its lines are read. Not where
    /// the answer may depend on more than a few headers, and not after a request that needed more, as the next one will.
    pub fn looks_early(&self) -> bool {
        self.early.is_next && (self.early.decisive_headers.is_some() || self.early.follows_unsampled)
    }

    /// Takes a request by a few of its headers, which it looks up one by one: one that begins a trace which is not
    /// sampled, or whose caller does not sample. `None`: the whole head has to be read and given to
    /// [`handle_request_headers`](Self::handle_request_headers), which goes on with the id that may have been drawn here.
    ///
    /// A look-up sees the first line of a header and not whether there are more.
    pub fn handle_early(
        &mut self,
        look_up: &mut dyn FnMut(&'static str) -> HeaderLookup,
        shared: &mut dyn SharedData,
        ids: &mut IdGenerator,
        counters: &mut Counters,
    ) -> Option<(Exchange, Vec<HeaderEdit>)> {
        if self.early.follows_unsampled {
            match look_up("traceparent") {
                HeaderLookup::Absent => {}
                HeaderLookup::There(value) => {
                    let (trace_id, random) = propagation::unsampled(&value)?;
                    if self.propagators.have_baggage() && look_up("baggage") != HeaderLookup::Absent {
                        return None;
                    }
                    let exchange = self.follow(trace_id, random, shared, ids, counters)?;
                    counters.increment(Counter::Streams);
                    return Some((exchange, Vec::new()));
                }
                HeaderLookup::Unknown => return None,
            }
        }
        let names = self.early.decisive_headers?;
        let seen = usize::from(self.early.follows_unsampled);
        if names.iter().skip(seen).any(|name| look_up(name) != HeaderLookup::Absent) {
            return None;
        }
        self.leave_out_root(shared, ids, counters)
    }

    /// Takes a request whose caller does not sample, and that goes on with its caller's context: nobody will see a span
    /// of ours. `None` where it is recorded all the same.
    fn follow(
        &mut self,
        trace_id: TraceId,
        random: bool,
        shared: &mut dyn SharedData,
        ids: &mut IdGenerator,
        counters: &mut Counters,
    ) -> Option<Exchange> {
        let parent = Parent::Remote(ParentDecision::NotSampled);
        let start = Start { trace_id, parent, trace_state: OtelTraceState::EMPTY, now: 0, forced: None };
        let plan = self.plan(start, &RequestHead::default(), &mut || TrafficDirection::Unspecified, shared, ids);
        if plan.innermost().decision.sampled {
            return None;
        }
        counters.increment(Counter::ExtractedTraceContext);
        counters.increment(Counter::SpansNotSampled);
        self.count_decisions(&plan, parent, random, counters);
        let (ids, is_traced) = self.stream_ids(trace_id, &plan, None, if random { flags::RANDOM } else { 0 });
        Some(Exchange { ids, is_traced, tracing: Tracing::NotRecorded, grpc: None, measurement: None })
    }

    /// Takes a request, all of whose lines were read, that goes on with its caller's context.
    pub(super) fn pass_on(
        &mut self,
        head: &RequestHead<'_>,
        shared: &mut dyn SharedData,
        ids: &mut IdGenerator,
        counters: &mut Counters,
    ) -> Option<(Exchange, Vec<HeaderEdit>)> {
        let (trace_id, random) = head.carrier.unsampled().filter(|_| self.early.follows_unsampled)?;
        let exchange = self.follow(trace_id, random, shared, ids, counters)?;
        // Baggage is held to its limits with all lines at hand.
        self.early.is_next = !(self.propagators.have_baggage() && head.carrier.has_baggage());
        let mut edits = Vec::new();
        self.propagators.pass_on(&head.carrier, &mut edits);
        Some((exchange, edits))
    }

    /// Takes a request that begins a trace. `None` when that is sampled.
    fn leave_out_root(
        &mut self,
        shared: &mut dyn SharedData,
        ids: &mut IdGenerator,
        counters: &mut Counters,
    ) -> Option<(Exchange, Vec<HeaderEdit>)> {
        let (trace_id, head) = (ids.trace_id(), RequestHead::default());
        let start = Start { trace_id, parent: Parent::None, trace_state: OtelTraceState::EMPTY, now: 0, forced: None };
        // Where it is not sampled, nobody asks for the direction.
        let plan = self.plan(start, &head, &mut || TrafficDirection::Unspecified, shared, ids);
        let planned = plan.innermost();
        if planned.decision.sampled {
            self.early.drawn = Some(trace_id);
            return None;
        }
        counters.increment(Counter::Streams);
        counters.increment(Counter::SpansNotSampled);
        self.count_decisions(&plan, Parent::None, true, counters);
        let mut edits = Vec::new();
        let outgoing = OutgoingContext {
            trace_id,
            span_id: planned.span_id,
            sampled: false,
            debug: false,
            random: true,
            trace_state: const { &TraceState::EMPTY },
            own_trace_state_members: [None; 2],
        };
        self.propagators.inject(&outgoing, &head.carrier, &mut edits);
        let (ids, is_traced) = self.stream_ids(trace_id, &plan, None, flags::RANDOM);
        Some((Exchange { ids, is_traced, tracing: Tracing::NotRecorded, grpc: None, measurement: None }, edits))
    }
}
