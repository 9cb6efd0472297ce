//! W3C Trace Context Level 2, `traceparent` (<https://www.w3.org/TR/trace-context-2/#traceparent-header>).
//!
//! Read: version 00 is exactly 55 bytes. A higher version is read by the forward rule (§3.2.4): its first 55 bytes
//! have the same shape, and whatever follows is set off by a dash. Hex is lower case. Of the flags, bit 0 is sampled
//! and bit 1 says that the trace id is random; both are taken from higher versions too, since versions only add.
//! A traceparent always states a decision, so it is never [`ParentDecision::Deferred`].
//!
//! Written: always version 00, with the two known flags and zeros for all others (§3.2.2.5.3).

use super::carrier::Carrier;
use super::context::{Found, Outcome, OutgoingContext};
use super::{MalformedReason, remove, set};
use crate::header::HeaderEdit;
use crate::hex;
use crate::trace::{ParentDecision, SpanId, TraceId};

const SAMPLED: u128 = 0b01;
const RANDOM: u128 = 0b10;

/// The length of a version 00 value, and of what all higher versions begin with.
const LENGTH: usize = 55;

/// Reads `traceparent`.
pub(super) fn extract(carrier: &Carrier<'_>) -> Outcome {
    let Some(value) = carrier.traceparent.first else {
        return Ok(Found::Nothing);
    };
    if carrier.traceparent.repeated {
        return Err(MalformedReason::Repeated);
    }
    parse(value)
}

fn parse(value: &[u8]) -> Outcome {
    let (head, rest) = value
        .split_at_checked(LENGTH)
        .ok_or(MalformedReason::WrongLength)?;
    let (version, head) = field(head, 2)?;
    let (trace_id, head) = field(head, 32)?;
    let (span_id, flags) = field(head, 16)?;

    let version = hex::parse_lower(version).ok_or(MalformedReason::BadCharacter)?;
    match version {
        0xff => return Err(MalformedReason::BadVersion),
        0 if !rest.is_empty() => return Err(MalformedReason::WrongLength),
        _ if !rest.is_empty() && !rest.starts_with(b"-") => {
            return Err(MalformedReason::BadSeparator);
        }
        _ => {}
    }
    let trace_id = hex::parse_lower(trace_id).ok_or(MalformedReason::BadCharacter)?;
    let span_id = hex::parse_lower(span_id).ok_or(MalformedReason::BadCharacter)?;
    let flags = hex::parse_lower(flags).ok_or(MalformedReason::BadCharacter)?;
    Ok(Found::Ids {
        trace_id: TraceId::new(trace_id).ok_or(MalformedReason::ZeroId)?,
        span_id: u64::try_from(span_id)
            .ok()
            .and_then(SpanId::new)
            .ok_or(MalformedReason::ZeroId)?,
        decision: if flags & SAMPLED == 0 {
            ParentDecision::NotSampled
        } else {
            ParentDecision::Sampled
        },
        random: flags & RANDOM != 0,
    })
}

/// The first `length` bytes of `text`, and what stands behind the dash that follows them.
fn field(text: &[u8], length: usize) -> Result<(&[u8], &[u8]), MalformedReason> {
    match text.split_at_checked(length) {
        Some((field, [b'-', rest @ ..])) => Ok((field, rest)),
        _ => Err(MalformedReason::BadSeparator),
    }
}

/// Writes `traceparent`, and `tracestate` where it has to change.
pub(super) fn inject(
    context: &OutgoingContext<'_>,
    carrier: &Carrier<'_>,
    edits: &mut Vec<HeaderEdit>,
) {
    let mut value = String::with_capacity(LENGTH);
    value.push_str("00-");
    value.push_str(context.trace_id.to_hex().as_str());
    value.push('-');
    value.push_str(context.span_id.to_hex().as_str());
    value.push_str(match (context.random, context.sampled) {
        (false, false) => "-00",
        (false, true) => "-01",
        (true, false) => "-02",
        (true, true) => "-03",
    });
    set("traceparent", value, &carrier.traceparent, edits);

    let current = &carrier.tracestate;
    if context
        .trace_state
        .stands_in(current, context.own_trace_state_member)
    {
        return;
    }
    match context.trace_state.write(context.own_trace_state_member) {
        None => remove("tracestate", !current.is_absent(), edits),
        Some(value) if current.as_slice() == [value.as_bytes()] => {}
        Some(value) => edits.push(HeaderEdit::Set {
            name: "tracestate".into(),
            value,
        }),
    }
}
