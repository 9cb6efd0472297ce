//! The end of a stream: what of it is kept, and the spans and the log record that it becomes.

use super::{HttpTracer, SLOW, TRACE_STATE_KEY, looks_like_template};

use super::super::attributes::SpanShape;
use super::super::exchange::{Exchange, OpenSpan, Pending, Recorded, StreamEnd, Tracing, Why};
use super::super::request::RequestHead;
use crate::counter::{Counter, Counters};
use crate::export::Importance;
use crate::grpc::{GrpcCall, GrpcOutcome};
use crate::header::pairs::Pairs;
use crate::log::{LogRecord, Logger};
use crate::masking::Masked;
use crate::sampling::{Ended, SamplerKind, Verdict};
use crate::semconv;
use crate::shared_data::SharedData;
use crate::span::{Span, SpanAttributes, SpanStatus};
use crate::trace::SpanId;

/// What a stream becomes at its end.
#[derive(Clone, Copy, Debug)]
pub enum Finished<'a> {
    /// A span, encoded as a `ScopeSpans.spans` field.
    Span(&'a [u8]),
    /// The stream's log record.
    Log(LogRecord<'a>),
}

impl HttpTracer {
    /// Whether the heads of streams that are not sampled have to be held: to keep some in the end, or to log them.
    pub(super) fn needs_heads(&self) -> bool {
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
