//! The configured tracer of HTTP streams: what happens at the request's head, and at the stream's end.

use std::rc::Rc;

use super::attributes::SpanShape;
use super::exchange::{
    Exchange, OpenSpan, Pending, Recorded, ResponseHead, ResponseNeeds, StreamEnd, StreamIds, Tracing, Why,
};
use super::peer;
use super::request::RequestHead;
use super::route::RouteTable;
use super::start::SpanStart;
use crate::attribute::Attribute;
use crate::config::{Config, ForceKind, ResponseConfig, Role, SpanLimits, StartAttribute, TracerConfig};
use crate::counter::{Counter, Counters};
use crate::export::Importance;
use crate::grpc::{GrpcCall, GrpcOutcome, KnownMethods};
use crate::header::HeaderEdit;
use crate::header::pairs::Pairs;
use crate::log::{LogRecord, Logger};
use crate::masking::{Masked, Masker};
use crate::propagation::{
    self, Baggage, Extraction, Format, OutgoingContext, Propagators, SERVER_TIMING, TRACE_RESPONSE, TraceResponse,
    TraceState,
};
use crate::resource;
use crate::sampling::{
    Change, Decision, Doubt, Doubts, Ended, Force, Keeper, OTEL_TRACE_STATE_KEY, OtelTraceState, Parent, Plea,
    ReasonId, RemoteSampler, Sampler, SamplerKind, SamplingInput, Verdict,
};
use crate::semconv;
use crate::shared_data::SharedData;
use crate::span::{Span, SpanAttributes, SpanKind, SpanStatus};
use crate::trace::{IdGenerator, ParentDecision, SpanId, TraceId, flags};

/// The listener's traffic direction, which `role: auto` goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficDirection {
    /// Not said, or not known.
    Unspecified,
    /// To the service beside this proxy.
    Inbound,
    /// From the service beside this proxy.
    Outbound,
}

/// What a stream becomes at its end.
#[derive(Clone, Copy, Debug)]
pub enum Finished<'a> {
    /// A span, encoded as a `ScopeSpans.spans` field.
    Span(&'a [u8]),
    /// The stream's log record.
    Log(LogRecord<'a>),
}

/// Makes spans of HTTP streams. Built once from configuration; holds no stream's state.
#[derive(Clone, Debug)]
pub struct HttpTracer {
    role: Role,
    propagators: Propagators,
    sampler: Sampler,
    /// What an operator is to be told of the sampler's decisions.
    doubts: Doubts,
    keeper: Option<Keeper>,
    force: Option<Force>,
    masker: Rc<Masker>,
    limits: SpanLimits,
    server: SpanShape,
    client: SpanShape,
    routes: RouteTable,
    methods: KnownMethods,
    /// Baggage keys, and the attribute keys that they become.
    baggage: Vec<(String, String)>,
    /// Our member of the trace state that says which service a request comes from, where it is written.
    service_member: Option<(&'static str, String)>,
    /// What the caller is told.
    response: ResponseConfig,
    logger: Option<Logger>,
    /// There is no tracer, only a logger: contexts are read, and none is begun or carried on.
    is_passive: bool,
    /// What the sampler's rules ask for beyond the request's first lines.
    asked: Asked,
}

/// What has to be found out before a request's head can be handled, because a sampling rule asks for it.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    headers: bool,
    cluster: bool,
    route_name: bool,
}

impl Asked {
    fn by(sampler: &Sampler) -> Self {
        let mut asked = Self::default();
        sampler.each_attribute(&mut |attribute| match attribute {
            StartAttribute::Header(_) => asked.headers = true,
            StartAttribute::UpstreamCluster => asked.cluster = true,
            StartAttribute::RouteName => asked.route_name = true,
            _ => {}
        });
        asked
    }
}

/// From how long on a span counts as slow where a full queue has to choose, ns: a second.
const SLOW: u64 = 1_000_000_000;

/// The name of the span's trace state among attribute keys, for masking.
const TRACE_STATE_KEY: &str = "trace_state";

/// The spans that a stream becomes.
enum Plan {
    Server(Planned),
    Client(Planned),
    Gateway { server: Planned, client: Planned },
}

/// Where a stream's spans come from.
#[derive(Clone, Copy)]
struct Start<'a> {
    trace_id: TraceId,
    parent: Parent,
    trace_state: OtelTraceState<'a>,
    now: u64,
    forced: Option<ForceKind>,
}

#[derive(Clone, Copy)]
struct Planned {
    span_id: SpanId,
    decision: Decision,
    why: Why,
}

impl Plan {
    const fn server(&self) -> Option<Planned> {
        match self {
            Self::Server(server) | Self::Gateway { server, .. } => Some(*server),
            Self::Client(_) => None,
        }
    }

    const fn client(&self) -> Option<Planned> {
        match self {
            Self::Client(client) | Self::Gateway { client, .. } => Some(*client),
            Self::Server(_) => None,
        }
    }

    /// The span that is the caller's child.
    const fn outer(&self) -> Planned {
        match self {
            Self::Server(span) | Self::Client(span) | Self::Gateway { server: span, .. } => *span,
        }
    }

    /// The span that the upstream becomes a child of.
    const fn innermost(&self) -> Planned {
        match self {
            Self::Server(span) | Self::Client(span) | Self::Gateway { client: span, .. } => *span,
        }
    }
}

impl HttpTracer {
    /// From checked configuration, and the attributes of the resource that the spans will have.
    pub fn new(config: &Config, tracer: &TracerConfig, resource: &[Attribute], masker: Rc<Masker>) -> Self {
        let instrumentation = &config.instrumentation;
        let sampler = Sampler::new(&tracer.sampler, resource);
        let is_passive = config.tracer.is_none();
        Self {
            role: config.meshspan.role,
            propagators: Propagators::new(&config.propagators),
            asked: Asked::by(&sampler),
            sampler,
            doubts: Doubts::default(),
            keeper: config.meshspan.keep.as_ref().filter(|_| !is_passive).map(Keeper::new),
            force: config.meshspan.force.as_ref().filter(|_| !is_passive).map(Force::new),
            masker,
            limits: tracer.limits,
            server: SpanShape::new(SpanKind::Server, instrumentation),
            client: SpanShape::new(SpanKind::Client, instrumentation),
            routes: RouteTable::new(&config.meshspan.routes),
            response: if is_passive { ResponseConfig::default() } else { config.meshspan.response },
            logger: Logger::new(config),
            is_passive,
            service_member: config
                .meshspan
                .metrics
                .service_graph
                .as_ref()
                .filter(|graph| graph.tracestate)
                .map(|_| (peer::MEMBER, peer::member_value(resource::service_name(resource)))),
            methods: KnownMethods::new(config.meshspan.known_rpc_methods.as_deref()),
            baggage: config
                .meshspan
                .baggage_attributes
                .iter()
                .map(|key| (key.clone(), format!("baggage.{key}")))
                .collect(),
        }
    }

    /// Whether the traffic direction has to be known: only for `role: auto`.
    pub fn needs_direction(&self) -> bool {
        self.role == Role::Auto
    }

    /// Whether the time at which the request headers came has to be known: only for a gateway, whose client span begins
    /// there, and for a sampler that keeps a rate. Other spans begin with the stream, which the host knows at the end.
    pub fn needs_request_time(&self) -> bool {
        self.role == Role::Gateway || self.sampler.needs_time()
    }

    /// Whether the cluster that a request is routed to has to be known at its head, because a rule asks for it.
    pub fn needs_cluster(&self) -> bool {
        self.asked.cluster
    }

    /// Whether the route's name has to be known at the request's head, because a rule asks for it.
    pub fn needs_route_name(&self) -> bool {
        self.asked.route_name
    }

    /// Whether request header lines have to be kept: for capture, or for a rule.
    pub fn captures_request_headers(&self) -> bool {
        self.asked.headers || self.server.captures_request_headers() || self.client.captures_request_headers()
    }

    /// Whether response headers have to be read at the end.
    pub fn captures_response_headers(&self) -> bool {
        self.server.captures_response_headers() || self.client.captures_response_headers()
    }

    /// Takes the request's head: continues or starts a trace, decides, and begins to record. `now` is in ns since the
    /// Unix epoch, where [`needs_request_time`](Self::needs_request_time) asks for it. The edits make the
    /// upstream request carry the context on; a caller that comes too late to apply them (only the end of the stream
    /// was seen) drops them.
    pub fn handle_request_headers(
        &mut self,
        head: &RequestHead<'_>,
        direction: TrafficDirection,
        now: Option<u64>,
        shared: &mut dyn SharedData,
        ids: &mut IdGenerator,
        counters: &mut Counters,
    ) -> (Exchange, Vec<HeaderEdit>) {
        counters.increment(Counter::Streams);
        let extraction = self.propagators.extract(&head.carrier);
        count_extraction(&extraction, counters);
        let parent = extraction.parent.as_ref();
        let trace_id = parent.map_or_else(|| ids.trace_id(), |parent| parent.trace_id);
        // A decision that came without ids binds the trace that starts here.
        let asked = parent.map(|parent| parent.decision).or(extraction.decision_without_ids);
        let from = match (parent, asked) {
            (Some(parent), _) => Parent::Remote(parent.decision),
            (None, Some(decision)) => Parent::Decided(decision),
            (None, None) => Parent::None,
        };
        let trace_state = parent.map_or(const { &TraceState::EMPTY }, |parent| &parent.trace_state);
        let sampling = trace_state.get(OTEL_TRACE_STATE_KEY).map_or(OtelTraceState::EMPTY, OtelTraceState::parse);
        let plan = {
            let now = now.unwrap_or(0);
            let forced = self.forced(head, asked, now, shared, counters);
            let start = Start { trace_id, parent: from, trace_state: sampling, now, forced };
            self.plan(start, head, direction, shared, ids)
        };
        let innermost = plan.innermost();
        let random = parent.is_none_or(|parent| parent.random);
        for planned in [plan.server(), plan.client()].into_iter().flatten() {
            let Some(kind) = self.sampler.reason(planned.decision.reason).map(|reason| reason.sampler) else {
                continue;
            };
            counters.increment_decision(kind, planned.decision.sampled);
            if let Some(doubt) = self.sampler.doubt(kind, from, random || sampling.randomness.is_some()) {
                counters.increment(doubt.counter());
                self.doubts.raise(doubt);
            }
        }
        counters.add(Counter::SamplingRemoteOperationsOverLimit, self.sampler.take_turned_away());

        let sampled = innermost.decision.sampled;
        let change = sampling.with_threshold(innermost.decision.threshold);
        let mut edits = Vec::new();
        let outgoing = OutgoingContext {
            trace_id,
            span_id: innermost.span_id,
            sampled,
            debug: sampled && asked == Some(ParentDecision::Debug),
            random,
            trace_state,
            own_trace_state_members: self.members(&change),
        };
        if !self.is_passive {
            self.propagators.inject(&outgoing, &head.carrier, &mut edits);
        }

        let reason = plan.outer().decision.reason;
        let is_sampled = |planned: Option<Planned>| planned.is_some_and(|planned| planned.decision.sampled);
        let is_recorded = is_sampled(plan.server()) || is_sampled(plan.client());
        let sampled_by_parent = matches!(asked, Some(ParentDecision::Sampled | ParentDecision::Debug));
        let caller = parent.map(|parent| parent.span_id);
        let is_flagged = is_recorded || self.is_passive && sampled_by_parent;
        let trace_flags = if is_flagged { flags::SAMPLED } else { 0 } | if random { flags::RANDOM } else { 0 };
        let (ids, is_traced) = self.stream_ids(trace_id, &plan, caller, trace_flags);
        let is_watched = self.sampler.wants_end(reason);
        if !is_recorded && !is_watched && !self.needs_heads() {
            counters.increment(Counter::SpansNotSampled);
            return (Exchange { ids, is_traced, tracing: Tracing::NotRecorded, grpc: None, measurement: None }, edits);
        }
        let needs_route = is_recorded || is_watched || self.keeper.as_ref().is_some_and(Keeper::needs_route);
        let route = if needs_route { self.routes.find(head.path_and_query().0) } else { None };
        let open = |planned: Option<Planned>, shape: &SpanShape| {
            let planned = planned.filter(|planned| planned.decision.sampled)?;
            let mut open = self.open(planned.span_id, planned.why, shape, head, route.as_deref(), &extraction.baggage);
            let own = Some(sampling.with_threshold(planned.decision.threshold)).filter(|own| *own != change);
            open.trace_state = own.map(|own| trace_state.combined(self.members(&own)));
            Some(open)
        };
        let (server, client) = (open(plan.server(), &self.server), open(plan.client(), &self.client));
        let recorded = Recorded {
            trace_id,
            trace_flags,
            trace_state: trace_state.combined(self.members(&change)),
            parent: caller,
            sampled_by_parent,
            gateway: if let Plan::Gateway { server, .. } = &plan { Some(server.span_id) } else { None },
            tunnel: head.tunnel(),
            route,
            server,
            client,
            seen_at: now.filter(|_| self.role == Role::Gateway),
        };
        let grpc = head.grpc().map(|request| Box::new(GrpcCall::new(&request)));
        if is_recorded {
            let tracing = Tracing::Recorded(Box::new(recorded));
            return (Exchange { ids, is_traced, tracing, grpc, measurement: None }, edits);
        }
        let span_id = |planned: Planned| planned.span_id;
        let pending = Pending {
            recorded,
            reason,
            server: plan.server().map(span_id),
            client: plan.client().map(span_id),
            head: None,
            for_keep: false,
            for_log: false,
            upstream_recorded: false,
            verdict: None,
        };
        (Exchange { ids, is_traced, tracing: Tracing::Pending(Box::new(pending)), grpc, measurement: None }, edits)
    }

    /// The ids that the stream has, and whether they name a trace: without a tracer they are the caller's, where it sent
    /// some.
    const fn stream_ids(
        &self,
        trace_id: TraceId,
        plan: &Plan,
        caller: Option<SpanId>,
        trace_flags: u8,
    ) -> (StreamIds, bool) {
        let client_span_id = if let Plan::Gateway { client, .. } = plan { Some(client.span_id) } else { None };
        let own = plan.outer().span_id;
        let (span_id, is_traced) = match (self.is_passive, caller) {
            (false, _) => (own, true),
            (true, Some(caller)) => (caller, true),
            (true, None) => (own, false),
        };
        (StreamIds { trace_id, span_id, client_span_id, trace_flags }, is_traced)
    }

    /// Begins to record a span: what the request's head says is encoded at once.
    fn open(
        &self,
        span_id: SpanId,
        why: Why,
        shape: &SpanShape,
        head: &RequestHead<'_>,
        route: Option<&str>,
        baggage: &Baggage<'_>,
    ) -> OpenSpan {
        let mut attributes = SpanAttributes::new(self.limits);
        shape.put_request(head, route, &self.masker, &mut attributes);
        for (key, attribute) in &self.baggage {
            let value = baggage.get(key);
            if let Some(value) = value.as_ref().and_then(|value| self.masker.value(attribute, value)) {
                attributes.put_text(attribute, &value);
            }
        }
        let method = shape.known_method(head.method).unwrap_or_else(|| Rc::from("HTTP"));
        OpenSpan { span_id, method, attributes, why, trace_state: None }
    }

    /// Whether any sampler is told from outside what to do.
    pub fn has_remote_samplers(&self) -> bool {
        !self.sampler.remotes.is_empty()
    }

    /// The next thing about the sampler's decisions that an operator is to be told.
    pub fn next_doubt(&mut self, shared: &mut dyn SharedData) -> Option<Doubt> {
        self.doubts.next_untold(shared)
    }

    /// Samplers that are told from outside what to do.
    pub fn remote_samplers(&mut self) -> &mut [RemoteSampler] {
        &mut self.sampler.remotes
    }

    /// Whether it matters to a decision how streams end: then `grpc_status` of a gRPC stream has to be known there.
    pub fn watches_ends(&self) -> bool {
        self.keeper.is_some() || self.sampler.watches_ends() || self.logger.is_some()
    }

    /// Whether the route's name has to be known at the end of a stream that is not recorded.
    pub fn keep_needs_route(&self) -> bool {
        self.keeper.as_ref().is_some_and(Keeper::needs_route)
    }

    /// Whether the heads of streams that are not sampled have to be held: to keep some in the end, or to log them.
    fn needs_heads(&self) -> bool {
        self.keeper.is_some() || self.logger.as_ref().is_some_and(Logger::may_log_unsampled)
    }

    /// Takes over the request's header lines, serialized, of a stream that may be kept, or logged without being sampled.
    /// Where there is no room for them it will not be. For any other stream this does nothing.
    pub fn hold(&mut self, exchange: &mut Exchange, head: Vec<u8>, counters: &mut Counters) {
        let Tracing::Pending(pending) = &mut exchange.tracing else { return };
        if let Some(keeper) = &mut self.keeper {
            pending.for_keep = keeper.hold(head.len());
            counters.add(Counter::KeepNoRoom, u64::from(!pending.for_keep));
        }
        if let Some(logger) = self.logger.as_mut().filter(|logger| logger.may_log_unsampled()) {
            pending.for_log = logger.room().hold(head.len());
            counters.add(Counter::LogsNoRoom, u64::from(!pending.for_log));
        }
        pending.head = Some(head).filter(|_| pending.for_keep || pending.for_log);
    }

    /// Gives back the room that a stream's header lines had.
    fn release(&mut self, pending: &Pending) {
        let length = pending.head.as_ref().map_or(0, Vec::len);
        if let Some(keeper) = self.keeper.as_mut().filter(|_| pending.for_keep) {
            keeper.release(length);
        }
        if let Some(logger) = self.logger.as_mut().filter(|_| pending.for_log) {
            logger.room().release(length);
        }
    }

    /// What has to be known when this stream's response comes; `None` when the response does not matter.
    pub fn response_needs(&self, exchange: &Exchange) -> Option<ResponseNeeds> {
        let may_keep = match &exchange.tracing {
            Tracing::Pending(pending) => pending.for_keep,
            Tracing::NotRecorded | Tracing::Recorded(_) | Tracing::Logged(_) => false,
        };
        let needs = ResponseNeeds {
            trace_response: may_keep && self.keeper.as_ref().is_some_and(Keeper::reads_trace_response),
            status: may_keep && self.response.writes(),
        };
        (self.response.writes() || needs.trace_response).then_some(needs)
    }

    /// The head of a response came. The edits tell the caller about the trace, where that is asked for: with it the
    /// decision to keep the stream, as far as the head lets it fall.
    pub fn handle_response_headers(
        &mut self,
        exchange: &mut Exchange,
        head: &ResponseHead<'_>,
        shared: &mut dyn SharedData,
        counters: &mut Counters,
    ) -> Vec<HeaderEdit> {
        let StreamIds { trace_id, span_id, mut trace_flags, .. } = exchange.ids;
        if let Tracing::Pending(pending) = &mut exchange.tracing {
            let told = head.trace_response.map(TraceResponse::parse);
            if let Some(Err(_)) = told {
                counters.increment(Counter::TraceResponseMalformed);
            }
            pending.upstream_recorded =
                told.is_some_and(|told| told.is_ok_and(|told| told.sampled && told.trace_id == trace_id));
            if self.response.writes()
                && pending.verdict.is_none()
                && let (Some(keeper), true) = (&mut self.keeper, pending.for_keep)
            {
                let shape = if pending.server.is_some() { &self.server } else { &self.client };
                // No answer yet is no failure.
                let failed = head.status.is_some_and(|status| {
                    let end = StreamEnd { response_code: Some(status), ..StreamEnd::default() };
                    shape.failed(&end, pending.recorded.tunnel)
                });
                pending.verdict = keeper.decide_early(failed, pending.upstream_recorded, head.now, shared);
            }
            if let Some(Verdict::Keep { .. }) = pending.verdict {
                trace_flags |= flags::SAMPLED;
            }
        }
        let mut edits = Vec::new();
        if self.response.trace_response {
            let value = propagation::trace_response(trace_id, span_id, trace_flags);
            edits.push(HeaderEdit::Set { name: TRACE_RESPONSE.into(), value });
        }
        if self.response.server_timing {
            // Others' timings stay.
            let value = propagation::server_timing(trace_id, span_id, trace_flags);
            edits.push(HeaderEdit::Add { name: SERVER_TIMING.into(), value });
        }
        edits
    }

    /// A stream went away without its end having been seen.
    pub fn handle_lost(&mut self, exchange: &Exchange, counters: &mut Counters) {
        match &exchange.tracing {
            Tracing::Recorded(recorded) => {
                counters.add(Counter::SpansStarted, recorded.span_count());
                counters.add(Counter::SpansDroppedNoLog, recorded.span_count());
            }
            Tracing::Pending(pending) => {
                counters.increment(Counter::SpansNotSampled);
                self.release(pending);
            }
            Tracing::NotRecorded | Tracing::Logged(_) => {}
        }
    }

    /// Takes note of how a stream ended that was not sampled, and decides whether it is recorded after all, or logged; any
    /// other stream stays what it is. Of `end` this reads the code, the gRPC status, the flags, the protocol, the start, the
    /// duration, and the route's name where [`keep_needs_route`](Self::keep_needs_route) asks for it.
    #[must_use]
    pub fn handle_outcome(
        &mut self,
        exchange: Exchange,
        end: &StreamEnd<'_>,
        shared: &mut dyn SharedData,
        counters: &mut Counters,
    ) -> Exchange {
        let Exchange { ids, is_traced, tracing, grpc, measurement } = exchange;
        let tracing = match tracing {
            Tracing::Pending(pending) => {
                self.decide_at_end(*pending, grpc.as_deref(), end, shared, counters).unwrap_or(Tracing::NotRecorded)
            }
            tracing => tracing,
        };
        Exchange { ids, is_traced, tracing, grpc, measurement }
    }

    fn decide_at_end(
        &mut self,
        pending: Pending,
        grpc: Option<&GrpcCall>,
        end: &StreamEnd<'_>,
        shared: &mut dyn SharedData,
        counters: &mut Counters,
    ) -> Option<Tracing> {
        self.release(&pending);
        let shape = if pending.server.is_some() { &self.server } else { &self.client };
        let ended =
            Ended { upstream_recorded: pending.upstream_recorded, ..ended(shape, &pending.recorded, grpc, end) };
        let template = pending.recorded.route.as_deref().unwrap_or_default();
        self.sampler.observe(pending.reason, template.as_bytes(), ended.failed, ended.now);
        let verdict = match (&mut self.keeper, pending.for_keep) {
            (Some(keeper), true) => match pending.verdict {
                Some(verdict) => {
                    keeper.observe(&ended);
                    verdict
                }
                None => keeper.decide(&ended, shared),
            },
            _ => Verdict::Drop,
        };
        if verdict != Verdict::Drop {
            counters.increment_decision(SamplerKind::Keep, verdict != Verdict::OverBudget);
        }
        let is_logged = pending.for_log && self.logger.as_ref().is_some_and(|logger| logger.wants(&ended, false));
        let why = match verdict {
            Verdict::Keep { reason, adjusted_count } => Why::Kept(reason, adjusted_count),
            Verdict::Drop | Verdict::OverBudget if is_logged => Why::Sampled(pending.reason),
            Verdict::Drop | Verdict::OverBudget => {
                counters.increment(Counter::SpansNotSampled);
                return None;
            }
        };
        let Some(lines) = Pairs::parse(pending.head.as_deref().unwrap_or_default()) else {
            counters.increment(Counter::HeaderMapsMalformed);
            counters.increment(Counter::SpansNotSampled);
            return None;
        };
        let head = RequestHead::collect(lines.iter(), self.captures_request_headers());
        let baggage = self.propagators.extract(&head.carrier).baggage;
        let mut recorded = pending.recorded;
        if recorded.route.is_none() {
            recorded.route = self.routes.find(head.path_and_query().0);
        }
        let route = recorded.route.clone();
        let open =
            |span_id: Option<SpanId>, shape| Some(self.open(span_id?, why, shape, &head, route.as_deref(), &baggage));
        recorded.server = open(pending.server, &self.server);
        if let Why::Kept(..) = why {
            recorded.client = open(pending.client, &self.client);
            return Some(Tracing::Recorded(Box::new(recorded)));
        }
        counters.increment(Counter::SpansNotSampled);
        // A log record says what the outer span would.
        if recorded.server.is_none() {
            recorded.client = open(pending.client, &self.client);
        }
        Some(Tracing::Logged(Box::new(recorded)))
    }

    /// Takes the end of a stream and gives each finished span, and the stream's log record where one is wanted, to `emit`,
    /// with how much it would be missed. A stream of which nobody [decided](Self::handle_outcome) is not kept.
    pub fn handle_end(
        &mut self,
        exchange: Exchange,
        end: &StreamEnd<'_>,
        counters: &mut Counters,
        emit: impl FnMut(Finished<'_>, Importance),
    ) {
        let grpc = exchange.grpc.as_deref();
        match exchange.tracing {
            Tracing::Recorded(recorded) => self.finish(*recorded, true, grpc, end, counters, emit),
            Tracing::Logged(recorded) => self.finish(*recorded, false, grpc, end, counters, emit),
            Tracing::NotRecorded | Tracing::Pending(_) => self.handle_lost(&exchange, counters),
        }
    }

    fn finish(
        &mut self,
        recorded: Recorded,
        is_exported: bool,
        grpc: Option<&GrpcCall>,
        end: &StreamEnd<'_>,
        counters: &mut Counters,
        mut emit: impl FnMut(Finished<'_>, Importance),
    ) {
        let mut recorded = recorded;
        let (server, client) = (recorded.server.take(), recorded.client.take());
        let shape = if server.is_some() { &self.server } else { &self.client };
        if is_exported
            && let Some(Why::Sampled(reason)) = server.as_ref().or(client.as_ref()).map(|outer| outer.why)
            && (self.keeper.is_some() || self.sampler.wants_end(reason))
        {
            let ended = ended(shape, &recorded, grpc, end);
            let template = recorded.route.as_deref().unwrap_or_default();
            self.sampler.observe(reason, template.as_bytes(), ended.failed, ended.now);
            if let Some(keeper) = &mut self.keeper {
                keeper.observe(&ended);
            }
        }
        // A template of ours, or the name of Envoy's route where that looks like one.
        let envoy_route = Some(end.route_name).filter(|name| looks_like_template(name));
        let route = match &recorded.route {
            Some(template) => Some(Masked::configured(template)),
            None => envoy_route.and_then(|name| self.masker.value(semconv::HTTP_ROUTE, name)),
        };
        // A gateway that answered by itself called nobody: then its client span never was.
        let called = recorded.gateway.is_none() || end.attempt_count.is_none_or(|count| count > 0);
        let client = client.filter(|_| called);
        // One that is not exported was logged for its end already.
        let mut is_logged = !is_exported
            || self.logger.as_ref().is_some_and(|logger| logger.wants(&ended(shape, &recorded, grpc, end), true));
        if server.is_none() && client.is_none() {
            counters.increment(Counter::SpansNotSampled);
        }
        let start = end.start.or(recorded.seen_at).unwrap_or(end.now);
        let call = grpc.map(|call| call.facts(&end.grpc(), &mut self.methods, &self.masker));
        let mut buffer = Vec::with_capacity(2048);
        // Of the stream: a span that failed is not worth much without the one around it.
        let mut importance =
            if recorded.sampled_by_parent { Importance::SampledByParent } else { Importance::OwnTrace };
        let mut finish = |open: OpenSpan, shape: &SpanShape, parent: Option<(SpanId, bool)>, start: u64| {
            let mut attributes = open.attributes;
            let status = shape.put_end(&recorded, call.as_ref(), end, route.as_ref(), &self.masker, &mut attributes);
            if is_exported {
                self.put_reason(open.why, &mut attributes);
                counters.increment(Counter::SpansStarted);
                counters.add(Counter::AttributesDropped, u64::from(attributes.dropped()));
                counters.add(Counter::AttributesTruncated, u64::from(attributes.truncated()));
            }
            let method = Masked::configured(&open.method);
            let name = match (&call, &route) {
                (Some(call), _) => call.span_name(),
                (None, Some(route)) => Masked::concat(&[&method, const { &Masked::literal(" ") }, route]),
                (None, None) => method,
            };
            if status == SpanStatus::Error || end.end_time().saturating_sub(start) >= SLOW {
                importance = Importance::ErrorOrSlow;
            }
            // The outer span comes first, and the record is its.
            if core::mem::take(&mut is_logged) {
                let outcome = call.as_ref().map(|call| call.outcome);
                let record = LogRecord {
                    time: end.end_time(),
                    severity: shape.severity(end, outcome, recorded.tunnel),
                    body: &log_body(&name, outcome, end),
                    attributes: &attributes,
                    ids: if self.is_passive {
                        recorded.parent.map(|caller| (recorded.trace_id, caller))
                    } else {
                        Some((recorded.trace_id, open.span_id))
                    },
                    trace_flags: recorded.trace_flags,
                };
                emit(Finished::Log(record), importance);
            }
            if !is_exported {
                return 0;
            }
            // The request's header keeps all of it: that is between others.
            let trace_state = open.trace_state.as_deref().unwrap_or(&recorded.trace_state);
            let trace_state = self.masker.value(TRACE_STATE_KEY, trace_state.as_bytes());
            Span {
                trace_id: recorded.trace_id,
                span_id: open.span_id,
                parent,
                trace_state: trace_state.as_ref().unwrap_or(const { &Masked::literal("") }),
                trace_flags: recorded.trace_flags,
                name: &name,
                kind: shape.kind(),
                start,
                end: end.end_time(),
                attributes: &attributes,
                status,
            }
            .put(&mut buffer);
            buffer.len()
        };
        let remote = recorded.parent.map(|parent| (parent, true));
        let first = server.map(|server| finish(server, &self.server, remote, start));
        if let Some(client) = client {
            let parent = recorded.gateway.map_or(remote, |server| Some((server, false)));
            let start = recorded.seen_at.map_or(start, |seen_at| seen_at.max(start));
            finish(client, &self.client, parent, start);
        }
        let (server, client) = buffer.split_at_checked(first.unwrap_or(0)).unwrap_or((&buffer, &[]));
        for span in [server, client].into_iter().filter(|span| !span.is_empty()) {
            emit(Finished::Span(span), importance);
        }
    }

    /// Our own members of the trace state that goes on.
    fn members<'a>(&'a self, change: &'a Change) -> [Option<(&'a str, &'a str)>; 2] {
        [member(change), self.service_member.as_ref().map(|(key, value)| (*key, value.as_str()))]
    }

    /// How the request asks to be recorded, where it does and that is honoured.
    fn forced(
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

    /// Whether this request may ask to be recorded. Then the time has to be known, and where
    /// [`needs_identity`](Self::needs_identity) says so, who the peer is.
    pub fn may_be_forced(&self, head: &RequestHead<'_>) -> bool {
        self.force.as_ref().is_some_and(|force| {
            let debug = force.listens_to(ForceKind::Debug) && head.carrier.may_ask_for_debug();
            head.force_trace || head.debug_id.is_some() || debug
        })
    }

    /// Whether the URI in the peer's certificate has to be known for a request that
    /// [may be forced](Self::may_be_forced).
    pub fn needs_identity(&self) -> bool {
        self.force.as_ref().is_some_and(Force::needs_identity)
    }

    /// Says why the span is there.
    fn put_reason(&self, why: Why, attributes: &mut SpanAttributes) {
        let (sampler, rule) = match why {
            Why::Sampled(reason) => match self.sampler.reason(reason) {
                Some(reason) => (reason.sampler, Masked::configured(&reason.rule)),
                None => return,
            },
            Why::Forced(kind) => (SamplerKind::Force, Masked::literal(kind.as_str())),
            Why::Kept(reason, _) => (SamplerKind::Keep, Masked::literal(reason.as_str())),
        };
        attributes.put_text(semconv::meshspan::SAMPLER, &Masked::literal(sampler.as_str()));
        if !rule.as_str().is_empty() {
            attributes.put_text(semconv::meshspan::RULE, &rule);
        }
        if let Why::Kept(_, adjusted_count) = why {
            attributes.put_count(semconv::meshspan::ADJUSTED_COUNT, adjusted_count);
        }
    }

    fn plan(
        &mut self,
        start: Start<'_>,
        head: &RequestHead<'_>,
        direction: TrafficDirection,
        shared: &mut dyn SharedData,
        ids: &mut IdGenerator,
    ) -> Plan {
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
        match (self.role, direction) {
            (Role::Gateway, _) => {
                let server = decide(parent, trace_state, &self.server);
                let parent = Parent::Local { sampled: server.decision.sampled };
                let trace_state = trace_state.below(server.decision.threshold);
                Plan::Gateway { server, client: decide(parent, trace_state, &self.client) }
            }
            (Role::Client, _) | (Role::Auto, TrafficDirection::Outbound) => {
                Plan::Client(decide(parent, trace_state, &self.client))
            }
            (Role::Server | Role::Auto, _) => Plan::Server(decide(parent, trace_state, &self.server)),
        }
    }
}

/// What a log record says in one line: the span's name and how the request was answered.
fn log_body(name: &Masked<'_>, call: Option<GrpcOutcome>, end: &StreamEnd<'_>) -> Masked<'static> {
    let outcome = match (call.and_then(|call| call.status), end.response_code) {
        (Some(status), _) => Masked::literal(status.name()),
        (None, Some(code)) => Masked::number(code),
        (None, None) => Masked::literal(end.response_flags.failure().unwrap_or("_OTHER")),
    };
    Masked::concat(&[name, const { &Masked::literal(" ") }, &outcome])
}

/// What `keep` looks at.
fn ended<'a>(shape: &SpanShape, recorded: &'a Recorded, grpc: Option<&GrpcCall>, end: &'a StreamEnd<'_>) -> Ended<'a> {
    Ended {
        failed: match grpc {
            Some(call) => call.outcome(&end.grpc()).failed(shape.kind()),
            None => shape.failed(end, recorded.tunnel),
        },
        duration: end.duration.filter(|_| !end.is_tunnel(recorded.tunnel)),
        route: recorded.route.as_ref().map_or(end.route_name, |template| template.as_bytes()),
        upstream_recorded: false,
        now: end.end_time(),
    }
}

/// The sampler's member of the trace state that goes on: none where it stays as it came, an empty value to take it away.
fn member(change: &Change) -> Option<(&str, &str)> {
    match change {
        Change::Keep => None,
        Change::Set(value) => Some((OTEL_TRACE_STATE_KEY, value)),
        Change::Remove => Some((OTEL_TRACE_STATE_KEY, "")),
    }
}

fn count_extraction(extraction: &Extraction<'_>, counters: &mut Counters) {
    for (format, reason) in extraction.malformed.iter() {
        counters.increment_malformed(format, reason);
    }
    let counter = match extraction.parent.as_ref().map(|parent| parent.format) {
        Some(Format::TraceContext) => Counter::ExtractedTraceContext,
        Some(Format::B3) => Counter::ExtractedB3,
        Some(Format::B3Multi) => Counter::ExtractedB3Multi,
        Some(Format::Jaeger) => Counter::ExtractedJaeger,
        Some(Format::TraceState | Format::Baggage) | None => return,
    };
    counters.increment(counter);
}

/// A route's name that is itself a path pattern, as some control planes give it.
pub(super) fn looks_like_template(name: &[u8]) -> bool {
    name.first() == Some(&b'/') && !name.iter().any(|byte| matches!(byte, b'?' | b'#' | b' '))
}
