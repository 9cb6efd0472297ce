//! Jaeger's `uber-trace-id` (<https://www.jaegertracing.io/sdk-migration/#propagation-format>):
//! `{trace-id}:{span-id}:{parent-span-id}:{flags}`.
//!
//! Read: ids in hex of either case, of 1 to 32 and 1 to 16 digits, since clients drop leading zeros. The separator
//! may be percent-encoded (`%3A`), as some clients encode the whole value. The parent's span id is deprecated and
//! not looked at. Flags are one or two hex digits: bit 0 sampled, bit 1 debug, which implies sampled; other bits say
//! nothing. There is no way to say "not decided yet".
//!
//! Written: 32 and 16 digits, `0` for the parent, and the flags in one digit. `uberctx-*`, Jaeger's baggage, is left
//! alone.

use super::carrier::Carrier;
use super::context::{Found, Outcome, OutgoingContext};
use super::{MalformedReason, set};
use crate::header::HeaderEdit;
use crate::hex;
use crate::trace::{ParentDecision, SpanId, TraceId};

const SAMPLED: u128 = 0b01;
const DEBUG: u128 = 0b10;

/// Longer than any value: ids, flags, encoded separators (75 bytes) and a parent's id of any shape.
const MAX_LENGTH: usize = 128;

/// Reads `uber-trace-id`.
pub(super) fn extract(carrier: &Carrier<'_>) -> Outcome {
    let Some(value) = carrier.uber_trace_id.first else {
        return Ok(Found::Nothing);
    };
    if carrier.uber_trace_id.repeated {
        return Err(MalformedReason::Repeated);
    }
    parse(value)
}

fn parse(value: &[u8]) -> Outcome {
    if value.is_empty() || value.len() > MAX_LENGTH {
        return Err(MalformedReason::WrongLength);
    }
    let (trace_id, rest) = field(value)?;
    let (span_id, rest) = field(rest)?;
    let (_, flags) = field(rest)?;
    if field(flags).is_ok() {
        return Err(MalformedReason::BadSeparator);
    }
    let trace_id = digits(trace_id, 32)?;
    let span_id = digits(span_id, 16)?;
    let flags = digits(flags, 2).map_err(|_| MalformedReason::BadDecision)?;
    Ok(Found::Ids {
        trace_id: TraceId::new(trace_id).ok_or(MalformedReason::ZeroId)?,
        span_id: u64::try_from(span_id)
            .ok()
            .and_then(SpanId::new)
            .ok_or(MalformedReason::ZeroId)?,
        decision: if flags & DEBUG != 0 {
            ParentDecision::Debug
        } else if flags & SAMPLED != 0 {
            ParentDecision::Sampled
        } else {
            ParentDecision::NotSampled
        },
        random: false,
    })
}

/// What stands before and after the first separator.
fn field(text: &[u8]) -> Result<(&[u8], &[u8]), MalformedReason> {
    let position = text
        .iter()
        .position(|byte| matches!(byte, b':' | b'%'))
        .ok_or(MalformedReason::BadSeparator)?;
    match text.split_at_checked(position) {
        Some((field, [b':', rest @ ..] | [b'%', b'3', b'A' | b'a', rest @ ..])) => {
            Ok((field, rest))
        }
        _ => Err(MalformedReason::BadCharacter),
    }
}

fn digits(text: &[u8], longest: usize) -> Result<u128, MalformedReason> {
    if text.is_empty() || text.len() > longest {
        return Err(MalformedReason::WrongLength);
    }
    hex::parse_any_case(text).ok_or(MalformedReason::BadCharacter)
}

/// Writes `uber-trace-id`.
pub(super) fn inject(
    context: &OutgoingContext<'_>,
    carrier: &Carrier<'_>,
    edits: &mut Vec<HeaderEdit>,
) {
    let mut value = String::with_capacity(53);
    value.push_str(context.trace_id.to_hex().as_str());
    value.push(':');
    value.push_str(context.span_id.to_hex().as_str());
    value.push_str(match (context.debug, context.sampled) {
        (true, _) => ":0:3",
        (false, true) => ":0:1",
        (false, false) => ":0:0",
    });
    set("uber-trace-id", value, &carrier.uber_trace_id, edits);
}
