//! The head of a response: what the caller is told, and what the upstream tells.

use super::HttpTracer;

use super::super::exchange::{Exchange, ResponseHead, ResponseNeeds, StreamEnd, StreamIds, Tracing};
use crate::counter::{Counter, Counters};
use crate::header::HeaderEdit;
use crate::propagation::{self, SERVER_TIMING, TRACE_RESPONSE, TraceResponse};
use crate::sampling::{Keeper, Verdict};
use crate::shared_data::SharedData;
use crate::trace::flags;

impl HttpTracer {
    /// Whether any stream's response may matter.
    pub fn may_need_responses(&self) -> bool {
        self.response.writes() || self.keeper.as_ref().is_some_and(Keeper::reads_trace_response)
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
}
