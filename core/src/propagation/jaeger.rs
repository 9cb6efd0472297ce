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
        span_id: u64::try_from(span_id).ok().and_then(SpanId::new).ok_or(MalformedReason::ZeroId)?,
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
    let position = text.iter().position(|byte| matches!(byte, b':' | b'%')).ok_or(MalformedReason::BadSeparator)?;
    match text.split_at_checked(position) {
        Some((field, [b':', rest @ ..] | [b'%', b'3', b'A' | b'a', rest @ ..])) => Ok((field, rest)),
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
pub(super) fn inject(context: &OutgoingContext<'_>, carrier: &Carrier<'_>, edits: &mut Vec<HeaderEdit>) {
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

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::testing::Request;
    use super::*;

    fn read(value: &str) -> Outcome {
        extract(&Request::new(&[("uber-trace-id", value)]).carrier())
    }

    #[test]
    fn valid() {
        use ParentDecision::{Debug, NotSampled, Sampled};
        const WIDE: u128 = 0x80f1_98ee_5634_3ba8_64fe_8b2a_57d3_eff7;
        const LOW: u128 = 0x64fe_8b2a_57d3_eff7;
        const SPAN: u64 = 0x05e3_ac9a_4f6e_3b90;
        let table = [
            ("80f198ee56343ba864fe8b2a57d3eff7:05e3ac9a4f6e3b90:0:1", WIDE, SPAN, Sampled, "128-bit"),
            ("64fe8b2a57d3eff7:05e3ac9a4f6e3b90:0:1", LOW, SPAN, Sampled, "64-bit"),
            ("64fe8b2a57d3eff7:5e3ac9a4f6e3b90:0:1", LOW, SPAN, Sampled, "a leading zero dropped"),
            ("1:2:0:0", 1, 2, NotSampled, "all leading zeros dropped"),
            ("1:2:0:00", 1, 2, NotSampled, "flags in two digits"),
            ("1:2:0:01", 1, 2, Sampled, "flags in two digits"),
            ("1:2:0:3", 1, 2, Debug, "sampled and debug"),
            ("1:2:0:2", 1, 2, Debug, "debug implies sampled"),
            ("1:2:0:8", 1, 2, NotSampled, "other bits say nothing"),
            ("1:2:0:f", 1, 2, Debug, "other bits say nothing beside known ones"),
            ("1:2::1", 1, 2, Sampled, "an empty parent"),
            ("1:2:junk:1", 1, 2, Sampled, "the parent is not looked at"),
            ("1%3A2%3A0%3A1", 1, 2, Sampled, "encoded separators"),
            ("1%3a2%3a0%3a1", 1, 2, Sampled, "encoded in lower case"),
            ("1:2%3A0:1", 1, 2, Sampled, "mixed"),
            ("ABC:DEF:0:1", 0xabc, 0xdef, Sampled, "upper case"),
        ];
        for (value, trace, span, decision, why) in table {
            let expected = Found::Ids {
                trace_id: TraceId::new(trace).unwrap(),
                span_id: SpanId::new(span).unwrap(),
                decision,
                random: false,
            };
            assert_eq!(read(value), Ok(expected), "{why}");
        }
    }

    #[test]
    fn invalid() {
        use MalformedReason::{BadCharacter, BadDecision, BadSeparator, WrongLength, ZeroId};
        let huge = "1:".repeat(30_000);
        let table = [
            ("", WrongLength, "empty"),
            ("1", BadSeparator, "one field"),
            ("1:2:0", BadSeparator, "three fields"),
            ("1:2:0:1:1", BadSeparator, "five fields"),
            (":2:0:1", WrongLength, "no trace id"),
            ("1::0:1", WrongLength, "no span id"),
            ("1:2:0:", BadDecision, "no flags"),
            ("1:2:0:001", BadDecision, "three digits of flags"),
            ("1:2:0:x", BadDecision, "flags that are no hex"),
            ("0:2:0:1", ZeroId, "trace id of zero"),
            ("00000000000000000000000000000000:2:0:1", ZeroId, "trace id of zeros"),
            ("1:0:0:1", ZeroId, "span id of zero"),
            ("180f198ee56343ba864fe8b2a57d3eff7:2:0:1", WrongLength, "33 digits of trace id"),
            ("1:105e3ac9a4f6e3b90:0:1", WrongLength, "17 digits of span id"),
            ("g:2:0:1", BadCharacter, "g is no digit"),
            ("1:-2:0:1", BadCharacter, "a sign is no digit"),
            ("1%3B2:0:1", BadCharacter, "another encoded character"),
            ("1%", BadCharacter, "half an encoding"),
            ("1:\u{e9}:0:1", BadCharacter, "not ASCII"),
            (&huge, WrongLength, "60 KB"),
        ];
        for (value, reason, why) in table {
            assert_eq!(read(value), Err(reason), "{why}");
        }
        let request = Request::new(&[("uber-trace-id", "1:2:0:1"), ("uber-trace-id", "1:2:0:1")]);
        assert_eq!(extract(&request.carrier()), Err(MalformedReason::Repeated));
    }
}
