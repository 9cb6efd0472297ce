//! One HTTP exchange between its request headers and its end.

use super::ResponseFlags;
use super::meter::Measurement;
use super::peer::{Peer, PeerNeeds};
use super::request::Tunnel;
use crate::config::ForceKind;
use crate::grpc::{GrpcCall, GrpcEnd, GrpcStatus};
use crate::header::HeaderLine;
use crate::sampling::{KeepReason, ReasonId, Verdict};
use crate::span::SpanAttributes;
use crate::trace::{IdGenerator, SpanId, TraceId};
use std::rc::Rc;

/// What is kept for a stream until it ends.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The ids that the stream has, whether or not it is sampled.
    pub(super) ids: StreamIds,
    /// Whether the ids are those of a trace. Without a tracer they are the caller's, where it sent some.
    pub(super) is_traced: bool,
    /// What of it becomes spans.
    pub(super) tracing: Tracing,
    /// The gRPC call that it is, where its end matters.
    pub(super) grpc: Option<Box<GrpcCall>>,
    /// What is kept of it for the meter.
    pub(super) measurement: Option<Box<Measurement>>,
}

/// The ids that a stream has, sampled or not: what logs, exemplars and answers to the caller name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamIds {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that the caller's is the parent of: a gateway's SERVER span, else the only one.
    pub span_id: SpanId,
    /// A gateway's CLIENT span.
    pub client_span_id: Option<SpanId>,
    /// W3C trace-flags: whether the stream is sampled, and whether the trace id is random.
    pub trace_flags: u8,
}

/// What of a stream becomes spans.
#[derive(Clone, Debug)]
pub(super) enum Tracing {
    /// Nothing.
    NotRecorded,
    /// Nothing is recorded, but it matters how the stream ends.
    Pending(Box<Pending>),
    /// One or two spans are being recorded.
    Recorded(Box<Recorded>),
    /// No span is exported, but the stream is logged: what its outer span would say is recorded for that.
    Logged(Box<Recorded>),
}

impl Exchange {
    /// A stream of a plugin that traces nothing. Its ids are of no trace that there is.
    pub(crate) fn untraced(ids: &mut IdGenerator) -> Self {
        let ids = StreamIds { trace_id: ids.trace_id(), span_id: ids.span_id(), client_span_id: None, trace_flags: 0 };
        Self { ids, is_traced: false, tracing: Tracing::NotRecorded, grpc: None, measurement: None }
    }

    /// The ids that the stream has.
    pub const fn ids(&self) -> &StreamIds {
        &self.ids
    }

    /// Whether the ids name a trace: not without a tracer, for a caller that sent no context.
    pub const fn is_traced(&self) -> bool {
        self.is_traced
    }

    /// Whether spans are being recorded.
    pub const fn is_recorded(&self) -> bool {
        matches!(self.tracing, Tracing::Recorded(_))
    }

    /// Whether nothing is recorded yet, but it matters how the stream ends.
    pub const fn is_pending(&self) -> bool {
        matches!(self.tracing, Tracing::Pending(_))
    }

    /// Whether the stream is not exported and will be logged all the same.
    pub const fn is_logged_only(&self) -> bool {
        matches!(self.tracing, Tracing::Logged(_))
    }

    /// The request was not seen before the stream's end: when its head came is not known.
    pub fn forget_request_time(&mut self) {
        match &mut self.tracing {
            Tracing::Recorded(recorded) | Tracing::Logged(recorded) => recorded.seen_at = None,
            Tracing::Pending(pending) => pending.recorded.seen_at = None,
            Tracing::NotRecorded => {}
        }
    }

    /// The gRPC call that it is, where its end matters.
    pub fn grpc(&self) -> Option<&GrpcCall> {
        self.grpc.as_deref()
    }

    /// Whether `grpc-status` of the answer's trailers has to be read when they come.
    pub const fn needs_trailer_status(&self) -> bool {
        self.grpc.is_some()
    }

    /// `grpc-status` of the answer's trailers. It has to be taken when they pass: a filter before this one may turn them
    /// into a part of the body, as gRPC-Web wants it, and then nobody sees them at the end.
    pub fn set_trailer_status(&mut self, value: &[u8]) {
        if let Some(call) = &mut self.grpc {
            call.set_trailer_status(value);
        }
    }

    /// Whether `grpc-status` of the answer's headers has to be read at the end.
    pub fn needs_header_status(&self) -> bool {
        self.grpc.as_ref().is_some_and(|call| !call.has_trailer_status())
    }
}

/// An exchange that was not sampled, and whose end matters all the same: it may be kept, or a sampler wants to know. What
/// its spans would say is not encoded before that: the request's header lines are held as the host gave them.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// All but the spans.
    pub(super) recorded: Recorded,
    /// Which sampler decided.
    pub(super) reason: ReasonId,
    pub(super) server: Option<SpanId>,
    pub(super) client: Option<SpanId>,
    /// The request's header lines, serialized, where the stream may be kept or logged.
    pub(super) head: Option<Vec<u8>>,
    /// Whether the head is held for `keep`.
    pub(super) for_keep: bool,
    /// Whether the head is held for a log record.
    pub(super) for_log: bool,
    /// Whether the upstream said that it recorded its part of the trace.
    pub(super) upstream_recorded: bool,
    /// What was decided at the response's head already.
    pub(super) verdict: Option<Verdict>,
}

/// Why a span is there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Why {
    /// A sampler decided so at the head.
    Sampled(ReasonId),
    /// The request asked for it.
    Forced(ForceKind),
    /// It was kept in the end, and stands for so many streams.
    Kept(KeepReason, u64),
}

/// An exchange that is being recorded.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) trace_id: TraceId,
    pub(super) trace_flags: u8,
    /// W3C tracestate as it goes on, and as the spans have it.
    pub(super) trace_state: String,
    /// The caller's span.
    pub(super) parent: Option<SpanId>,
    /// Whether the caller recorded the trace too, so that this span would be missed in it.
    pub(super) sampled_by_parent: bool,
    /// Of a gateway: the id of its server span, recorded or not. The client span is its child.
    pub(super) gateway: Option<SpanId>,
    /// Whether the request asks for the stream to become a tunnel.
    pub(super) tunnel: Option<Tunnel>,
    /// The template that the path follows.
    pub(super) route: Option<Rc<str>>,
    pub(super) server: Option<OpenSpan>,
    pub(super) client: Option<OpenSpan>,
    /// When the filter saw the request headers, ns since the Unix epoch, where that was asked for.
    pub(super) seen_at: Option<u64>,
}

impl Recorded {
    /// How many spans are being recorded.
    pub(super) fn span_count(&self) -> u64 {
        u64::from(self.server.is_some()).saturating_add(u64::from(self.client.is_some()))
    }
}

/// A span that has not ended.
#[derive(Clone, Debug)]
pub(super) struct OpenSpan {
    pub(super) span_id: SpanId,
    /// The method as the span's name has it: a known one, or `HTTP`.
    pub(super) method: Rc<str>,
    pub(super) attributes: SpanAttributes,
    pub(super) why: Why,
    /// The span's own tracestate, where it is not the one that goes on: a gateway's two spans can be sampled by
    /// different thresholds.
    pub(super) trace_state: Option<String>,
}

/// What has to be found out before a request's head can be handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent questions")]
pub struct HeadNeeds {
    /// All header lines, for capture or for a rule; else only those that are looked for by name.
    pub header_lines: bool,
    /// When the head came.
    pub time: bool,
    /// The cluster that the request is routed to.
    pub cluster: bool,
    /// The route's name.
    pub route_name: bool,
}

/// What has to be found out when a response's head comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseNeeds {
    /// The upstream's `traceresponse`.
    pub trace_response: bool,
    /// The response's status, and the time.
    pub status: bool,
}

/// The head of a response.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseHead<'a> {
    /// `:status`, where it was asked for.
    pub status: Option<u64>,
    /// The upstream's `traceresponse`, where it was asked for.
    pub trace_response: Option<&'a [u8]>,
    /// Now, ns since the Unix epoch, where the status was asked for.
    pub now: u64,
}

/// What is read at the end of a stream before anything is decided about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent questions")]
pub struct OutcomeNeeds {
    /// `grpc-status` of the answer's headers.
    pub grpc_status: bool,
    /// The route's name.
    pub route_name: bool,
    /// The bodies' sizes.
    pub sizes: bool,
    /// How often an upstream was tried.
    pub attempt_count: bool,
    /// The cluster that the request was routed to.
    pub cluster: bool,
    /// Who called.
    pub caller: PeerNeeds,
    /// Who was called.
    pub callee: PeerNeeds,
}

/// What the host knows when a stream is complete. Numbers are `None` and texts empty where it does not say.
#[derive(Clone, Debug, Default)]
pub struct StreamEnd<'a> {
    /// Now, ns since the Unix epoch.
    pub now: u64,
    /// When the stream began, ns since the Unix epoch.
    pub start: Option<u64>,
    /// How long it took, ns.
    pub duration: Option<u64>,
    /// `HTTP/1.1`, `HTTP/2`, …
    pub protocol: &'a [u8],
    /// Bytes of request body.
    pub request_size: Option<u64>,
    /// Bytes of response body.
    pub response_size: Option<u64>,
    /// `None` when no response was begun.
    pub response_code: Option<u64>,
    /// `%RESPONSE_CODE_DETAILS%`
    pub response_code_details: &'a [u8],
    /// `grpc-status` of the answer's headers: not what the host makes of any HTTP status (`response.grpc_status`).
    pub grpc_status: Option<GrpcStatus>,
    /// What Envoy says about the end.
    pub response_flags: ResponseFlags,
    /// From the request's last byte to the upstream's first, ms (`x-envoy-upstream-service-time`).
    pub first_byte_ms: Option<u64>,
    /// From the first byte to the upstream to its last byte, ns (`response.backend_latency`).
    pub upstream_duration: Option<u64>,
    /// How often an upstream was tried.
    pub attempt_count: Option<u64>,
    /// The client's address and port as Envoy judges it: from `x-forwarded-for` (then without a port) only where the
    /// listener trusts it.
    pub source_address: &'a [u8],
    /// The upstream host's address and port.
    pub upstream_address: &'a [u8],
    /// The cluster that the request was routed to.
    pub cluster: &'a [u8],
    /// The route's name.
    pub route_name: &'a [u8],
    /// Who called.
    pub caller: Peer<'a>,
    /// Who was called.
    pub callee: Peer<'a>,
    /// Response header lines, where headers are to be captured.
    pub response_headers: &'a [HeaderLine<'a>],
}

impl StreamEnd<'_> {
    /// Whether the stream became the tunnel that it asked to be.
    pub(super) fn is_tunnel(&self, asked: Option<Tunnel>) -> bool {
        asked.zip(self.response_code).is_some_and(|(tunnel, code)| tunnel.is_open(code, self.protocol))
    }

    /// What of it a gRPC call needs.
    pub(super) fn grpc(&self) -> GrpcEnd {
        GrpcEnd {
            header_status: self.grpc_status,
            http_status: self.response_code,
            caller_left: self.response_flags.client_left(),
            failure: self.response_flags.failure(),
            duration: self.duration,
        }
    }

    /// When the stream ended, ns since the Unix epoch.
    pub(super) fn end_time(&self) -> u64 {
        match (self.start, self.duration) {
            (Some(start), Some(duration)) => start.saturating_add(duration),
            _ => self.now,
        }
    }
}
