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
use super::{MalformedReason, remove, set, written};
use crate::header::HeaderEdit;
use crate::hex;
use crate::trace::{ParentDecision, SpanId, TraceId, flags};

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

/// Reads a value of that shape.
pub(super) fn parse(value: &[u8]) -> Outcome {
    let (head, rest) = value.split_at_checked(LENGTH).ok_or(MalformedReason::WrongLength)?;
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
        span_id: u64::try_from(span_id).ok().and_then(SpanId::new).ok_or(MalformedReason::ZeroId)?,
        decision: if flags & u128::from(flags::SAMPLED) == 0 {
            ParentDecision::NotSampled
        } else {
            ParentDecision::Sampled
        },
        random: flags & u128::from(flags::RANDOM) != 0,
    })
}

/// The trace and the flags of a value that says `not sampled`, where we would write the very same but for the span: version
/// 00 and no flag that we do not know.
pub(super) fn unsampled(value: &[u8]) -> Option<(TraceId, bool)> {
    let random = match value {
        [b'0', b'0', b'-', .., b'-', b'0', b'0'] => false,
        [b'0', b'0', b'-', .., b'-', b'0', b'2'] => true,
        _ => return None,
    };
    match parse(value) {
        Ok(Found::Ids { trace_id, .. }) => Some((trace_id, random)),
        _ => None,
    }
}

/// The first `length` bytes of `text`, and what stands behind the dash that follows them.
fn field(text: &[u8], length: usize) -> Result<(&[u8], &[u8]), MalformedReason> {
    match text.split_at_checked(length) {
        Some((field, [b'-', rest @ ..])) => Ok((field, rest)),
        _ => Err(MalformedReason::BadSeparator),
    }
}

/// Writes `traceparent`, and `tracestate` where it has to change.
pub(super) fn inject(context: &OutgoingContext<'_>, carrier: &Carrier<'_>, edits: &mut Vec<HeaderEdit>) {
    let sampled = if context.sampled { flags::SAMPLED } else { 0 };
    let random = if context.random { flags::RANDOM } else { 0 };
    let value = value(context.trace_id, context.span_id, sampled | random);
    set("traceparent", value, &carrier.traceparent, edits);

    let current = &carrier.tracestate;
    if context.trace_state.stands_in(current, context.own_trace_state_members) {
        return;
    }
    match context.trace_state.write(context.own_trace_state_members) {
        None => remove("tracestate", !current.is_absent(), edits),
        Some(value) if current.as_slice() == [value.as_bytes()] => {}
        Some(value) => edits.push(written("tracestate", value, !current.is_absent())),
    }
}

/// A value of version 00, with the two known ones of `trace_flags`.
pub(super) fn value(trace_id: TraceId, span_id: SpanId, trace_flags: u8) -> String {
    let mut value = *b"00-00000000000000000000000000000000-0000000000000000-00";
    // Pieces of known size: adding one text to another is a call of its own in wasm.
    if let Some((trace, rest)) = value.get_mut(3..).and_then(<[u8]>::split_first_chunk_mut)
        && let Some((span, rest)) = rest.get_mut(1..).and_then(<[u8]>::split_first_chunk_mut)
        && let Some(last) = rest.last_mut()
    {
        *trace = *trace_id.to_hex().as_bytes();
        *span = *span_id.to_hex().as_bytes();
        *last = b'0' | (trace_flags & (flags::SAMPLED | flags::RANDOM));
    }
    core::str::from_utf8(&value).unwrap_or_default().to_owned()
}

#[cfg(test)]
#[allow(clippy::too_many_lines, reason = "tables")]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::testing::Request;
    use super::*;

    const TRACE: &str = "12345678901234567890123456789012";
    const SPAN: &str = "1234567890123456";

    fn read(value: &str) -> Outcome {
        extract(&Request::new(&[("traceparent", value)]).carrier())
    }

    #[test]
    fn valid() {
        use ParentDecision::{NotSampled, Sampled};
        let table = [
            ("00", "00", "", NotSampled, false, "not sampled is a decision"),
            ("00", "01", "", Sampled, false, "sampled"),
            ("00", "02", "", NotSampled, true, "random, not sampled"),
            ("00", "03", "", Sampled, true, "random and sampled"),
            ("00", "ff", "", Sampled, true, "unknown flags say nothing"),
            ("00", "fc", "", NotSampled, false, "unknown flags alone say nothing"),
            ("cc", "01", "", Sampled, false, "a higher version of the same length"),
            ("01", "03", "-", Sampled, true, "a higher version with an empty field behind"),
            ("cc", "01", "-what-the-future-will-be-like", Sampled, false, "a higher version with fields behind"),
            ("fe", "00", "-\u{e9}", NotSampled, false, "what is behind is not looked at"),
        ];
        for (version, flags, rest, decision, random, why) in table {
            let expected = Found::Ids {
                trace_id: TraceId::from_lower_hex(TRACE.as_bytes()).unwrap(),
                span_id: SpanId::from_lower_hex(SPAN.as_bytes()).unwrap(),
                decision,
                random,
            };
            assert_eq!(read(&format!("{version}-{TRACE}-{SPAN}-{flags}{rest}")), Ok(expected), "{why}");
        }
    }

    #[test]
    fn invalid() {
        use MalformedReason::{BadCharacter, BadSeparator, BadVersion, WrongLength, ZeroId};
        let table = [
            (String::new(), WrongLength, "empty"),
            (format!("00-{TRACE}-{SPAN}-0"), WrongLength, "54 bytes"),
            (format!("00-{TRACE}-{SPAN}-01."), WrongLength, "version 00 has nothing behind the flags"),
            (format!("00-{TRACE}-{SPAN}-01-what-the-future-will-be-like"), WrongLength, "not even after a dash"),
            (format!("00-{TRACE}-{SPAN}-01-"), WrongLength, "not even a dash"),
            (format!("cc-{TRACE}-{SPAN}-01.what"), BadSeparator, "a higher version goes on with a dash"),
            (format!("cc-{TRACE}-{SPAN}-011"), BadSeparator, "three digits of flags"),
            (format!("cc-{TRACE}-{SPAN}-"), WrongLength, "a higher version that is too short"),
            (format!("ff-{TRACE}-{SPAN}-01"), BadVersion, "ff is forbidden"),
            (format!("ff-{TRACE}-{SPAN}-01-x"), BadVersion, "ff is forbidden, whatever follows"),
            (format!("FE-{TRACE}-{SPAN}-01"), BadCharacter, "an upper-case version"),
            (format!(".0-{TRACE}-{SPAN}-01"), BadCharacter, "a dot in the version"),
            (format!("0.-{TRACE}-{SPAN}-01"), BadCharacter, "a dot in the version, behind"),
            (format!("000-{TRACE}-{SPAN}-01"), BadSeparator, "a version of three digits"),
            (format!("0-{TRACE}-{SPAN}-01"), WrongLength, "a version of one digit"),
            (format!("0-{TRACE}-{SPAN}-011"), BadSeparator, "a version of one digit, 55 bytes in all"),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), ZeroId, "trace id of zeros"),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), ZeroId, "span id of zeros"),
            (format!("00-.{}-{SPAN}-01", &TRACE[1..]), BadCharacter, "a dot in the trace id"),
            (format!("00-{}-{SPAN}-01", TRACE.replace('1', "A")), BadCharacter, "upper case in the trace id"),
            (format!("00-{TRACE}3-{SPAN}-01"), BadSeparator, "33 digits of trace id"),
            (format!("00-{TRACE}3-{}-01", &SPAN[1..]), BadSeparator, "33 and 15 digits: the length is right"),
            (format!("00-{}-{SPAN}-01", &TRACE[1..]), WrongLength, "31 digits of trace id"),
            (format!("00-{TRACE}-{}.-01", &SPAN[1..]), BadCharacter, "a dot in the span id"),
            (format!("00-{TRACE}-{}-01", SPAN.replace('1', "A")), BadCharacter, "upper case in the span id"),
            (format!("00-{TRACE}-{SPAN}-.0"), BadCharacter, "a dot in the flags"),
            (format!("00-{TRACE}-{SPAN}-0A"), BadCharacter, "upper case in the flags"),
            (format!("00_{TRACE}_{SPAN}_01"), BadSeparator, "other separators"),
            (format!(" 00-{TRACE}-{SPAN}-01"), BadSeparator, "white space is the host's to strip"),
            (format!("00-{TRACE}-{SPAN}-01 "), WrongLength, "behind as well"),
            (format!("00-{}-{SPAN}-01", "\u{e9}".repeat(16)), BadCharacter, "not ASCII"),
            ("0".repeat(60_000), BadSeparator, "60 KB"),
            (format!("00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"), WrongLength, "two values, joined"),
        ];
        for (value, reason, why) in table {
            assert_eq!(read(&value), Err(reason), "{why}");
        }
    }

    #[test]
    fn repeated_lines_are_ambiguous() {
        let value = format!("00-{TRACE}-{SPAN}-01");
        let request = Request::new(&[("traceparent", &value), ("traceparent", &value)]);
        assert_eq!(extract(&request.carrier()), Err(MalformedReason::Repeated));
    }
}
