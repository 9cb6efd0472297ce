//! B3, in one header and in several (<https://github.com/openzipkin/b3-propagation>).
//!
//! Read:
//! - Ids are 16 digits, trace ids also 32. The specification has lower-case hex; upper case is accepted, since old
//!   senders write it and nothing is ambiguous about it. A 64-bit trace id is the low half of a 128-bit one.
//! - The single header is a lone `0`, `1` or `d`, or ids, then optionally the sampling state, then optionally the
//!   parent's span id, which has to be well-formed and is not used otherwise.
//! - `x-b3-sampled` is `1` or `0`, or `true` or `false` in any case, as older tracers wrote it. `x-b3-flags` is debug
//!   when it is `1`, and says nothing otherwise. Debug goes before `x-b3-sampled`. Of these two headers the first
//!   line counts, as the specification says ("When extracting state headers, the first value wins").
//! - `x-b3-parentspanid` is not looked at.
//! - Ids with no sampling state are [`ParentDecision::Deferred`].
//!
//! Written: lower-case hex, trace ids always with 32 digits (those that came with 16 are padded with zeros on the
//! left, as OpenTelemetry does: who reads 64 bits takes the last 16 digits), the decision always (by then there is
//! one), and never a parent's span id, which OpenTelemetry does not pass on. A debug trace is written `d` in the
//! single header, and `x-b3-flags: 1` without `x-b3-sampled` in several.

use super::carrier::Carrier;
use super::context::{Found, Outcome, OutgoingContext};
use super::{MalformedReason, remove, set};
use crate::header::HeaderEdit;
use crate::hex;
use crate::trace::{ParentDecision, SpanId, TraceId};

/// The longest single header: 32 + 1 + 16 + 1 + 1 + 1 + 16.
const MAX_SINGLE: usize = 68;

/// Reads `b3`.
pub(super) fn extract_single(carrier: &Carrier<'_>) -> Outcome {
    let Some(value) = carrier.b3.first else {
        return Ok(Found::Nothing);
    };
    if carrier.b3.repeated {
        return Err(MalformedReason::Repeated);
    }
    if value.is_empty() || value.len() > MAX_SINGLE {
        return Err(MalformedReason::WrongLength);
    }
    if let Some(decision) = sampling_state(value) {
        return Ok(Found::Decision(decision));
    }
    let mut fields = value.split(|byte| *byte == b'-');
    let trace_id = trace_id(fields.next().unwrap_or(&[]))?;
    let span_id = span_id(fields.next().ok_or(MalformedReason::Incomplete)?)?;
    let decision = match fields.next() {
        None => ParentDecision::Deferred,
        Some(state) => sampling_state(state).ok_or(MalformedReason::BadDecision)?,
    };
    if let Some(parent) = fields.next() {
        // All zeros is no error here: it is said of a span that we know nothing else about.
        digits(parent, &[16])?;
    }
    if fields.next().is_some() {
        return Err(MalformedReason::BadSeparator);
    }
    Ok(Found::Ids { trace_id, span_id, decision, random: false })
}

/// Reads the `x-b3-*` headers.
pub(super) fn extract_multi(carrier: &Carrier<'_>) -> Outcome {
    let decision = if carrier.b3_flags.first == Some(b"1") {
        Some(ParentDecision::Debug)
    } else if let Some(sampled) = carrier.b3_sampled.first {
        Some(sampled_header(sampled).ok_or(MalformedReason::BadDecision)?)
    } else {
        None
    };
    if carrier.b3_trace_id.repeated || carrier.b3_span_id.repeated {
        return Err(MalformedReason::Repeated);
    }
    match (carrier.b3_trace_id.first, carrier.b3_span_id.first) {
        (None, None) => Ok(decision.map_or(Found::Nothing, Found::Decision)),
        (Some(trace), Some(span)) => Ok(Found::Ids {
            trace_id: trace_id(trace)?,
            span_id: span_id(span)?,
            decision: decision.unwrap_or(ParentDecision::Deferred),
            random: false,
        }),
        _ => Err(MalformedReason::Incomplete),
    }
}

/// `true` when the request has any of the `x-b3-*` headers.
pub(super) fn has_multi(carrier: &Carrier<'_>) -> bool {
    carrier.b3_trace_id.is_present()
        || carrier.b3_span_id.is_present()
        || carrier.b3_parent_span_id.is_present()
        || carrier.b3_sampled.is_present()
        || carrier.b3_flags.is_present()
}

/// Writes `b3`.
pub(super) fn inject_single(context: &OutgoingContext<'_>, carrier: &Carrier<'_>, edits: &mut Vec<HeaderEdit>) {
    let mut value = String::with_capacity(MAX_SINGLE);
    value.push_str(context.trace_id.to_hex().as_str());
    value.push('-');
    value.push_str(context.span_id.to_hex().as_str());
    value.push_str(match (context.debug, context.sampled) {
        (true, _) => "-d",
        (false, true) => "-1",
        (false, false) => "-0",
    });
    set("b3", value, &carrier.b3, edits);
}

/// Writes the `x-b3-*` headers.
pub(super) fn inject_multi(context: &OutgoingContext<'_>, carrier: &Carrier<'_>, edits: &mut Vec<HeaderEdit>) {
    set("x-b3-traceid", context.trace_id.to_hex().as_str().to_owned(), &carrier.b3_trace_id, edits);
    set("x-b3-spanid", context.span_id.to_hex().as_str().to_owned(), &carrier.b3_span_id, edits);
    remove("x-b3-parentspanid", carrier.b3_parent_span_id.is_present(), edits);
    if context.debug {
        set("x-b3-flags", "1".to_owned(), &carrier.b3_flags, edits);
        remove("x-b3-sampled", carrier.b3_sampled.is_present(), edits);
    } else {
        let sampled = if context.sampled { "1" } else { "0" };
        set("x-b3-sampled", sampled.to_owned(), &carrier.b3_sampled, edits);
        remove("x-b3-flags", carrier.b3_flags.is_present(), edits);
    }
}

fn sampling_state(state: &[u8]) -> Option<ParentDecision> {
    match state {
        b"0" => Some(ParentDecision::NotSampled),
        b"1" => Some(ParentDecision::Sampled),
        b"d" => Some(ParentDecision::Debug),
        _ => None,
    }
}

fn sampled_header(value: &[u8]) -> Option<ParentDecision> {
    if value == b"1" || value.eq_ignore_ascii_case(b"true") {
        Some(ParentDecision::Sampled)
    } else if value == b"0" || value.eq_ignore_ascii_case(b"false") {
        Some(ParentDecision::NotSampled)
    } else {
        None
    }
}

fn trace_id(text: &[u8]) -> Result<TraceId, MalformedReason> {
    TraceId::new(digits(text, &[16, 32])?).ok_or(MalformedReason::ZeroId)
}

fn span_id(text: &[u8]) -> Result<SpanId, MalformedReason> {
    let value = digits(text, &[16])?;
    u64::try_from(value).ok().and_then(SpanId::new).ok_or(MalformedReason::ZeroId)
}

fn digits(text: &[u8], lengths: &[usize]) -> Result<u128, MalformedReason> {
    if !lengths.contains(&text.len()) {
        return Err(MalformedReason::WrongLength);
    }
    hex::parse_any_case(text).ok_or(MalformedReason::BadCharacter)
}

#[cfg(test)]
#[allow(clippy::type_complexity, clippy::too_many_lines, clippy::unnecessary_wraps, reason = "tables")]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::testing::Request;
    use super::*;

    const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const LOW: &str = "64fe8b2a57d3eff7";
    const SPAN: &str = "e457b5a2e4d86bd1";
    const PARENT: &str = "05e3ac9a4f6e3b90";

    fn ids(trace: &str, decision: ParentDecision) -> Outcome {
        Ok(Found::Ids {
            trace_id: TraceId::new(u128::from_str_radix(trace, 16).unwrap()).unwrap(),
            span_id: SpanId::new(u64::from_str_radix(SPAN, 16).unwrap()).unwrap(),
            decision,
            random: false,
        })
    }

    #[test]
    fn single() {
        use MalformedReason::{BadCharacter, BadDecision, BadSeparator, Incomplete, WrongLength, ZeroId};
        use ParentDecision::{Debug, Deferred, NotSampled, Sampled};
        let table = [
            (format!("{TRACE}-{SPAN}-1-{PARENT}"), ids(TRACE, Sampled), "all fields"),
            (format!("{TRACE}-{SPAN}-1"), ids(TRACE, Sampled), "no parent"),
            (format!("{TRACE}-{SPAN}-0"), ids(TRACE, NotSampled), "deny"),
            (format!("{TRACE}-{SPAN}-d"), ids(TRACE, Debug), "debug"),
            (format!("{TRACE}-{SPAN}"), ids(TRACE, Deferred), "no decision yet is not a denial"),
            (format!("{LOW}-{SPAN}-1-{PARENT}"), ids(LOW, Sampled), "64-bit trace id"),
            (format!("{}-{SPAN}-1", TRACE.to_uppercase()), ids(TRACE, Sampled), "upper case is accepted"),
            (format!("{TRACE}-{SPAN}-1-{}", "0".repeat(16)), ids(TRACE, Sampled), "the parent's id is not used"),
            ("0".into(), Ok(Found::Decision(NotSampled)), "lone deny"),
            ("1".into(), Ok(Found::Decision(Sampled)), "lone accept"),
            ("d".into(), Ok(Found::Decision(Debug)), "lone debug"),
            (String::new(), Err(WrongLength), "empty"),
            ("2".into(), Err(WrongLength), "no sampling state and no id"),
            ("true".into(), Err(WrongLength), "the legacy spelling is that of x-b3-sampled"),
            (TRACE.into(), Err(Incomplete), "no span id"),
            (format!("{TRACE}-"), Err(WrongLength), "an empty span id"),
            (format!("{TRACE}-{SPAN}-"), Err(BadDecision), "an empty sampling state"),
            (format!("{TRACE}-{SPAN}-2"), Err(BadDecision), "an unknown sampling state"),
            (format!("{TRACE}-{SPAN}-true"), Err(BadDecision), "a legacy one"),
            (format!("{TRACE}-{SPAN}-D"), Err(BadDecision), "upper case is only accepted in ids"),
            (format!("{TRACE}-{SPAN}-{PARENT}"), Err(BadDecision), "a parent with no sampling state before it"),
            (format!("{TRACE}-{SPAN}-1-"), Err(WrongLength), "an empty parent"),
            (format!("{TRACE}-{SPAN}-1-{}", &PARENT[1..]), Err(WrongLength), "a parent of 15 digits"),
            (format!("{LOW}-{SPAN}-1-{PARENT}-1"), Err(BadSeparator), "a fifth field"),
            (format!("{}-{SPAN}-1", &TRACE[1..]), Err(WrongLength), "31 digits of trace id"),
            (format!("{TRACE}-{}-1", &SPAN[1..]), Err(WrongLength), "15 digits of span id"),
            (format!("{}-{SPAN}-1", TRACE.replace('f', "g")), Err(BadCharacter), "g is no digit"),
            (format!("{}-{SPAN}-1", "0".repeat(32)), Err(ZeroId), "trace id of zeros"),
            (format!("{}-{SPAN}-1", "0".repeat(16)), Err(ZeroId), "64-bit trace id of zeros"),
            (format!("{TRACE}-{}-1", "0".repeat(16)), Err(ZeroId), "span id of zeros"),
            (format!("{}-{SPAN}-1", "\u{e9}".repeat(8)), Err(BadCharacter), "not ASCII"),
            ("0".repeat(60_000), Err(WrongLength), "60 KB"),
        ];
        for (value, expected, why) in table {
            assert_eq!(extract_single(&Request::new(&[("b3", &value)]).carrier()), expected, "{why}");
        }
        assert_eq!(
            extract_single(&Request::new(&[("b3", "1"), ("b3", "1")]).carrier()),
            Err(MalformedReason::Repeated)
        );
    }

    #[test]
    fn multi() {
        use MalformedReason::{BadCharacter, BadDecision, Incomplete, Repeated, WrongLength, ZeroId};
        use ParentDecision::{Debug, Deferred, NotSampled, Sampled};
        const T: (&str, &str) = ("x-b3-traceid", TRACE);
        const S: (&str, &str) = ("x-b3-spanid", SPAN);
        let zeros = "0".repeat(16);
        let huge = "1".repeat(60_000);
        let table: &[(&[(&str, &str)], Outcome, &str)] = &[
            (&[], Ok(Found::Nothing), "nothing"),
            (&[T, S, ("x-b3-sampled", "1")], ids(TRACE, Sampled), "accept"),
            (&[T, S, ("x-b3-sampled", "0")], ids(TRACE, NotSampled), "deny"),
            (&[T, S], ids(TRACE, Deferred), "no decision yet"),
            (&[T, S, ("x-b3-sampled", "true")], ids(TRACE, Sampled), "legacy true"),
            (&[T, S, ("x-b3-sampled", "True")], ids(TRACE, Sampled), "legacy true, capitalized"),
            (&[T, S, ("x-b3-sampled", "false")], ids(TRACE, NotSampled), "legacy false"),
            (&[T, S, ("x-b3-flags", "1")], ids(TRACE, Debug), "debug"),
            (&[T, S, ("x-b3-flags", "1"), ("x-b3-sampled", "0")], ids(TRACE, Debug), "debug implies accept"),
            (&[T, S, ("x-b3-flags", "0"), ("x-b3-sampled", "1")], ids(TRACE, Sampled), "flags 0 say nothing"),
            (&[T, S, ("x-b3-flags", "junk")], ids(TRACE, Deferred), "other flags say nothing"),
            (&[T, S, ("x-b3-parentspanid", "junk")], ids(TRACE, Deferred), "the parent is not looked at"),
            (&[("x-b3-traceid", LOW), S, ("x-b3-sampled", "1")], ids(LOW, Sampled), "64-bit trace id"),
            (&[T, S, ("x-b3-sampled", "1"), ("x-b3-sampled", "0")], ids(TRACE, Sampled), "the first state wins"),
            (&[("x-b3-sampled", "0")], Ok(Found::Decision(NotSampled)), "a decision with no ids"),
            (&[("x-b3-sampled", "TRUE")], Ok(Found::Decision(Sampled)), "a legacy decision with no ids"),
            (&[("x-b3-flags", "1")], Ok(Found::Decision(Debug)), "debug with no ids"),
            (&[("x-b3-flags", "0")], Ok(Found::Nothing), "flags 0 with no ids"),
            (&[("x-b3-parentspanid", PARENT)], Ok(Found::Nothing), "a parent alone"),
            (&[T], Err(Incomplete), "no span id"),
            (&[S, ("x-b3-sampled", "1")], Err(Incomplete), "no trace id"),
            (&[T, S, ("x-b3-sampled", "")], Err(BadDecision), "an empty state"),
            (&[T, S, ("x-b3-sampled", "d")], Err(BadDecision), "d belongs to the single header"),
            (&[T, S, ("x-b3-sampled", "2")], Err(BadDecision), "an unknown state"),
            (&[T, T, S], Err(Repeated), "two trace ids"),
            (&[T, S, S], Err(Repeated), "two span ids"),
            (&[("x-b3-traceid", ""), S], Err(WrongLength), "an empty trace id"),
            (&[("x-b3-traceid", &TRACE[1..]), S], Err(WrongLength), "31 digits"),
            (&[("x-b3-traceid", &huge), S], Err(WrongLength), "60 KB"),
            (
                &[("x-b3-traceid", "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}"), S],
                Err(BadCharacter),
                "not ASCII",
            ),
            (&[("x-b3-traceid", &zeros), S], Err(ZeroId), "trace id of zeros"),
            (&[T, ("x-b3-spanid", &zeros)], Err(ZeroId), "span id of zeros"),
        ];
        for (headers, expected, why) in table {
            assert_eq!(extract_multi(&Request::new(headers).carrier()), *expected, "{why}");
        }
    }
}
