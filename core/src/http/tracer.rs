//! The configured tracer of HTTP streams, and what happens at a request's head where all its lines are read. Those that
//! a few headers will do for are in [`early`]; what follows the head is in [`response`] and [`end`].

mod early;
mod end;
mod plan;
mod response;

use early::Early;
pub use end::Finished;
use plan::{Plan, Planned, Start};

use std::rc::Rc;

use super::attributes::SpanShape;
use super::exchange::{Exchange, OpenSpan, Pending, Recorded, StreamIds, Tracing, Why};
use super::peer;
use super::request::RequestHead;
use super::route::RouteTable;
use crate::attribute::Attribute;
use crate::config::{Config, ForceKind, ResponseConfig, Role, SpanLimits, StartAttribute, TracerConfig};
use crate::counter::{Counter, Counters};
use crate::grpc::{GrpcCall, KnownMethods};
use crate::header::HeaderEdit;
use crate::log::Logger;
use crate::masking::Masker;
use crate::propagation::{Baggage, Extraction, Format, OutgoingContext, Propagators, TraceState};
use crate::resource;
use crate::sampling::{
    Change, Doubt, Doubts, Force, Keeper, OTEL_TRACE_STATE_KEY, OtelTraceState, Parent, RemoteSampler, Sampler,
};
use crate::shared_data::SharedData;
use crate::span::{SpanAttributes, SpanKind};
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

/// Makes spans of HTTP streams. Built once from configuration; holds no stream's state.
#[derive(Clone, Debug)]
pub struct HttpTracer {
    role: Role,
    propagators: Propagators,
    sampler: Sampler,
    /// [`Sampler::goes_by_ids`]
    sampler_goes_by_ids: bool,
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
    /// Which requests are handled by a few of their headers.
    early: Early,
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

impl HttpTracer {
    /// From checked configuration, and the attributes of the resource that the spans will have.
    #[inline]
    pub fn new(config: &Config, tracer: &TracerConfig, resource: &[Attribute], masker: Rc<Masker>) -> Self {
        let instrumentation = &config.instrumentation;
        let sampler = Sampler::new(&tracer.sampler, resource);
        let is_passive = config.tracer.is_none();
        let propagators = Propagators::new(&config.propagators);
        let mut tracer = Self {
            role: config.meshspan.role,
            asked: Asked::by(&sampler),
            sampler_goes_by_ids: sampler.goes_by_ids(),
            early: Early::default(),
            propagators,
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
        };
        tracer.early = Early::new(config, &tracer);
        tracer
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
    /// was seen) drops them. `direction` is asked only where it [matters](Self::needs_direction) for this request.
    pub fn handle_request_headers(
        &mut self,
        head: &RequestHead<'_>,
        direction: &mut dyn FnMut() -> TrafficDirection,
        now: Option<u64>,
        shared: &mut dyn SharedData,
        ids: &mut IdGenerator,
        counters: &mut Counters,
    ) -> (Exchange, Vec<HeaderEdit>) {
        counters.increment(Counter::Streams);
        if let Some(passed_on) = self.pass_on(head, shared, ids, counters) {
            return passed_on;
        }
        let extraction = self.propagators.extract(&head.carrier);
        count_extraction(&extraction, counters);
        let parent = extraction.parent.as_ref();
        let drawn = self.early.drawn.take();
        self.early.saw(parent.is_none());
        let trace_id = parent.map_or_else(|| drawn.unwrap_or_else(|| ids.trace_id()), |parent| parent.trace_id);
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
        self.count_decisions(&plan, from, random || sampling.randomness.is_some(), counters);
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

    /// Counts each span's decision, and what is to be doubted about it.
    fn count_decisions(&mut self, plan: &Plan, from: Parent, is_random: bool, counters: &mut Counters) {
        for planned in [plan.server(), plan.client()].into_iter().flatten() {
            let Some(kind) = self.sampler.reason(planned.decision.reason).map(|reason| reason.sampler) else {
                continue;
            };
            counters.increment_decision(kind, planned.decision.sampled);
            if let Some(doubt) = self.sampler.doubt(kind, from, is_random) {
                counters.increment(doubt.counter());
                self.doubts.raise(doubt);
            }
        }
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

    /// Our own members of the trace state that goes on.
    fn members<'a>(&'a self, change: &'a Change) -> [Option<(&'a str, &'a str)>; 2] {
        [member(change), self.service_member.as_ref().map(|(key, value)| (*key, value.as_str()))]
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
