//! What a response says about the trace: `traceresponse` (W3C Trace Context, Editor's Draft, "Trace Context HTTP
//! Response Headers Format") and `Server-Timing` (W3C Server Timing) with a metric named `traceparent`, as
//! OpenTelemetry's instrumentations write it for browsers.
//!
//! Both hold what a `traceparent` holds, but with the callee's span as the id and with what the callee decided in the
//! flags.

use super::MalformedReason;
use super::context::Found;
use super::trace_context;
use crate::trace::{ParentDecision, SpanId, TraceId};

/// The response header of W3C Trace Context.
pub const TRACE_RESPONSE: &str = "traceresponse";

/// The response header of W3C Server Timing.
pub const SERVER_TIMING: &str = "server-timing";

/// What a callee says about its part of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceResponse {
    /// The callee's trace, which need not be the caller's.
    pub trace_id: TraceId,
    /// The callee's span.
    pub span_id: SpanId,
    /// Whether the callee records it.
    pub sampled: bool,
}

impl TraceResponse {
    /// Reads a `traceresponse`, of any version as a `traceparent` is read.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(value: &[u8]) -> Result<Self, MalformedReason> {
        match trace_context::parse(value)? {
            Found::Ids { trace_id, span_id, decision, .. } => {
                Ok(Self { trace_id, span_id, sampled: decision == ParentDecision::Sampled })
            }
            _ => Err(MalformedReason::BadCharacter),
        }
    }
}

/// A `traceresponse` of version 00. Of `trace_flags`, sampled and random are written.
pub fn trace_response(trace_id: TraceId, span_id: SpanId, trace_flags: u8) -> String {
    trace_context::value(trace_id, span_id, trace_flags)
}

/// A `Server-Timing` that says the same.
pub fn server_timing(trace_id: TraceId, span_id: SpanId, trace_flags: u8) -> String {
    format!("traceparent;desc=\"{}\"", trace_context::value(trace_id, span_id, trace_flags))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const TRACE: &str = "12345678901234567890123456789012";
    const SPAN: &str = "1234567890123456";

    fn ids() -> (TraceId, SpanId) {
        (TraceId::from_lower_hex(TRACE.as_bytes()).unwrap(), SpanId::from_lower_hex(SPAN.as_bytes()).unwrap())
    }

    #[test]
    fn what_is_written_is_read() {
        let (trace_id, span_id) = ids();
        for (flags, sampled) in [(0, false), (1, true), (2, false), (3, true), (0xfc, false)] {
            let text = trace_response(trace_id, span_id, flags);
            assert_eq!(text, format!("00-{TRACE}-{SPAN}-{:02x}", flags & 3));
            let read = TraceResponse::parse(text.as_bytes());
            assert_eq!(read, Ok(TraceResponse { trace_id, span_id, sampled }));
        }
        assert_eq!(server_timing(trace_id, span_id, 3), format!("traceparent;desc=\"00-{TRACE}-{SPAN}-03\""));
    }

    #[test]
    fn what_is_malformed_says_why() {
        let table = [
            (String::new(), MalformedReason::WrongLength, "empty"),
            (format!("00-{TRACE}--01"), MalformedReason::WrongLength, "no child id, as older drafts allowed"),
            (format!("ff-{TRACE}-{SPAN}-01"), MalformedReason::BadVersion, "the forbidden version"),
            (format!("00-{TRACE}-0000000000000000-01"), MalformedReason::ZeroId, "no span"),
            (format!("00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01"), MalformedReason::WrongLength, "two of them"),
            (format!("00-{TRACE}-{SPAN}-0G"), MalformedReason::BadCharacter, "no hex"),
        ];
        for (text, reason, why) in table {
            assert_eq!(TraceResponse::parse(text.as_bytes()), Err(reason), "{why}");
        }
    }
}
