//! Context as it came and as it goes on.

use super::{Baggage, Format, MalformedList, MalformedReason, TraceState};
use crate::trace::{ParentDecision, SpanId, TraceId};

/// What the headers of a request said.
#[derive(Clone, Debug, Default)]
pub struct Extraction<'a> {
    /// The caller's span, from the first listed format that is valid.
    pub parent: Option<RemoteParent<'a>>,
    /// A decision that came with no ids at all (B3's lone `0`, `1` or `d`; `x-b3-sampled` or `x-b3-flags` alone).
    /// `None` whenever there is a parent.
    pub decision_without_ids: Option<ParentDecision>,
    /// The baggage, where that propagator is listed.
    pub baggage: Baggage<'a>,
    /// What could not be used, and why. Formats behind the first valid one are not looked at.
    pub malformed: MalformedList,
}

/// A span of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteParent<'a> {
    /// The trace.
    pub trace_id: TraceId,
    /// The caller's span.
    pub span_id: SpanId,
    /// What the caller decided about sampling.
    pub decision: ParentDecision,
    /// The W3C random-trace-id flag; `false` where no `traceparent` with these ids came.
    pub random: bool,
    /// Which format said so.
    pub format: Format,
    /// The `tracestate` that came along with a `traceparent` of these ids, whichever format was read first; else
    /// empty.
    pub trace_state: TraceState<'a>,
}

/// The context that the upstream request is to carry.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingContext<'a> {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that the next service becomes a child of.
    pub span_id: SpanId,
    /// Whether that span is recorded.
    pub sampled: bool,
    /// Whether the caller asked for a debug trace (B3 `d`, Jaeger's debug flag): passed on in the formats that know
    /// it, where it implies sampled.
    pub debug: bool,
    /// The W3C random-trace-id flag: set for own ids, as it came for others'.
    pub random: bool,
    /// Others' trace state: the parent's, or [`TraceState::EMPTY`] for a new trace.
    pub trace_state: &'a TraceState<'a>,
    /// Our own trace state members, key and value. They go first, and each takes the place of a member with that key; with
    /// an empty value, which the grammar does not have, that member is taken away. One that the grammar does not allow is
    /// left out.
    pub own_trace_state_members: [Option<(&'a str, &'a str)>; 2],
}

/// What one format's headers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing of this format.
    Nothing,
    /// A decision with no ids.
    Decision(ParentDecision),
    /// Ids, and what came with them.
    Ids { trace_id: TraceId, span_id: SpanId, decision: ParentDecision, random: bool },
}

/// What reading one format comes to.
pub(super) type Outcome = Result<Found, MalformedReason>;
