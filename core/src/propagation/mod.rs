//! Context in and out of headers, one file a format.
//!
//! ```text
//! Carrier::default(), .observe(name, value) -> bool        once for each header line
//! Propagators::new(kinds)                                  once for each configuration
//!   .extract(&carrier) -> Extraction                       parent, decision without ids, baggage, what was malformed
//!   .inject(&OutgoingContext, &carrier, &mut edits)        what makes the upstream request carry the context
//! ```
//!
//! Rules that hold for all formats:
//!
//! - **The first listed format that is valid wins.** A malformed one is noted and the next one tried; what is
//!   malformed behind the winner is not noted. A decision that comes without ids never wins over ids. Where other
//!   listed formats state the winner's very ids, what only they can express counts as well: debug over sampled, the
//!   random flag, `tracestate`.
//! - **All listed formats are written**, so that none is stale; a header that already says the right thing is left
//!   alone, and so a second injection makes no edits.
//! - **What is not listed passes untouched**, unread. B3 is *one* format with two encodings: OpenTelemetry has both
//!   its propagators read both, the single header first (Propagators API, "B3 Extract"). So with either listed,
//!   the listed encoding is always written, and the other one is overwritten where the request has it: left stale
//!   it would mislead the next reader, which reads both too.
//! - **Values are bytes.** Whatever stands in a header costs at most time linear in its length, and what is far
//!   beyond a format's size is refused by its length alone.
//! - White space around a value is the host's to strip (RFC 9110 §5.5); where it is still there, single values are
//!   malformed. List members may have white space around them.
//! - A header that is meant to stand once and stands several times is malformed, even when the lines agree.

mod b3;
mod baggage;
mod carrier;
mod context;
mod jaeger;
mod malformed;
mod trace_context;
mod trace_response;
mod trace_state;

#[cfg(all(test, not(target_arch = "wasm32")))]
mod properties;
#[cfg(test)]
mod testing;

pub use baggage::Baggage;
pub use carrier::Carrier;
pub use context::{Extraction, OutgoingContext, RemoteParent};
pub use malformed::{Format, MalformedList, MalformedReason};
pub use trace_response::{SERVER_TIMING, TRACE_RESPONSE, TraceResponse, server_timing, trace_response};
pub use trace_state::TraceState;

/// The value of a member of the request's trace state; `None` where there is none, or the trace state is malformed.
pub fn trace_state_member<'a>(carrier: &Carrier<'a>, key: &str) -> Option<&'a str> {
    TraceState::parse(&carrier.tracestate).0.get(key)
}

use crate::config::PropagatorKind;
use crate::header::HeaderEdit;
use crate::trace::{ParentDecision, TraceId};
use context::{Found, Outcome};

/// The configured formats, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Propagators {
    /// What is looked at for a parent, in order.
    read: Vec<Format>,
    /// What is written, in order.
    write: Vec<Format>,
    /// Whether baggage is listed.
    baggage: bool,
}

impl Propagators {
    /// The propagators that `kinds` lists; one listed twice counts once.
    #[inline]
    pub fn new(kinds: &[PropagatorKind]) -> Self {
        let mut propagators = Self::default();
        for kind in kinds {
            let (read, write): (&[Format], Format) = match kind {
                PropagatorKind::Baggage => {
                    propagators.baggage = true;
                    continue;
                }
                PropagatorKind::TraceContext => (&[Format::TraceContext], Format::TraceContext),
                PropagatorKind::B3 => (&[Format::B3, Format::B3Multi], Format::B3),
                PropagatorKind::B3Multi => (&[Format::B3, Format::B3Multi], Format::B3Multi),
                PropagatorKind::Jaeger => (&[Format::Jaeger], Format::Jaeger),
            };
            for format in read {
                if !propagators.read.contains(format) {
                    propagators.read.push(*format);
                }
            }
            if !propagators.write.contains(&write) {
                propagators.write.push(write);
            }
        }
        propagators
    }

    /// `true` when nothing is read or written.
    pub fn is_empty(&self) -> bool {
        self.read.is_empty() && !self.baggage
    }

    /// Whether `traceparent` alone says whose trace a request is of, and alone is written.
    pub fn are_trace_context_alone(&self) -> bool {
        self.read == [Format::TraceContext] && self.write == [Format::TraceContext]
    }

    /// Whether baggage is listed.
    pub const fn have_baggage(&self) -> bool {
        self.baggage
    }

    /// The headers in whose absence a request says nothing, and has nothing that would have to change: where those are so
    /// few that looking for each is cheaper than reading all lines.
    pub fn decisive_headers(&self) -> Option<&'static [&'static str]> {
        match (self.read.as_slice(), self.baggage) {
            ([], false) => Some(&[]),
            ([], true) => Some(&["baggage"]),
            ([Format::TraceContext], false) => Some(&["traceparent", "tracestate"]),
            ([Format::TraceContext], true) => Some(&["traceparent", "tracestate", "baggage"]),
            _ => None,
        }
    }

    /// What the request's headers say.
    pub fn extract<'a>(&self, carrier: &Carrier<'a>) -> Extraction<'a> {
        let mut extraction = Extraction::default();
        for format in &self.read {
            match read(*format, carrier) {
                Ok(Found::Nothing) => {}
                Ok(Found::Decision(decision)) => {
                    extraction.decision_without_ids.get_or_insert(decision);
                }
                Ok(Found::Ids { trace_id, span_id, decision, random }) => {
                    extraction.decision_without_ids = None;
                    extraction.parent = Some(RemoteParent {
                        trace_id,
                        span_id,
                        decision,
                        random,
                        format: *format,
                        trace_state: TraceState::EMPTY,
                    });
                    break;
                }
                Err(reason) => extraction.malformed.push(*format, reason),
            }
        }
        if let Some(parent) = &mut extraction.parent
            && self.supplement(parent, carrier)
        {
            // Trace Context §3.3: tracestate is only looked at along with a valid traceparent, and being invalid
            // takes nothing from it.
            let (trace_state, reason) = TraceState::parse(&carrier.tracestate);
            parent.trace_state = trace_state;
            if let Some(reason) = reason {
                extraction.malformed.push(Format::TraceState, reason);
            }
        }
        if self.baggage {
            let (baggage, reason) = Baggage::parse(&carrier.baggage);
            extraction.baggage = baggage;
            if let Some(reason) = reason {
                extraction.malformed.push(Format::Baggage, reason);
            }
        }
        extraction
    }

    /// Adds to `parent` what other listed formats state about the very same span and its own format cannot express:
    /// a sender that writes several formats means one context by all of them. That is debug from B3 and Jaeger
    /// (which must be preserved: Propagators API, "B3 Extract") and the random flag from W3C. Returns whether
    /// `tracestate` is the parent's, too.
    fn supplement(&self, parent: &mut RemoteParent<'_>, carrier: &Carrier<'_>) -> bool {
        let mut w3c = parent.format == Format::TraceContext;
        for format in self.read.iter().filter(|format| **format != parent.format) {
            match read(*format, carrier) {
                Ok(Found::Ids { trace_id, span_id, decision, random })
                    if (trace_id, span_id) == (parent.trace_id, parent.span_id) =>
                {
                    if *format == Format::TraceContext {
                        parent.random = random;
                        w3c = true;
                    }
                    if decision == ParentDecision::Debug && parent.decision == ParentDecision::Sampled {
                        parent.decision = ParentDecision::Debug;
                    }
                }
                _ => {}
            }
        }
        w3c
    }

    /// Appends the edits that make the upstream request carry `context` in every listed format. `carrier` holds the
    /// headers as they stand; no edit is made for one that is right already.
    pub fn inject(&self, context: &OutgoingContext<'_>, carrier: &Carrier<'_>, edits: &mut Vec<HeaderEdit>) {
        for format in &self.write {
            match format {
                Format::TraceContext => trace_context::inject(context, carrier, edits),
                Format::B3 => b3::inject_single(context, carrier, edits),
                Format::B3Multi => b3::inject_multi(context, carrier, edits),
                Format::Jaeger => jaeger::inject(context, carrier, edits),
                Format::TraceState | Format::Baggage => {}
            }
        }
        self.refresh_other_b3(context, carrier, edits);
        self.pass_on(carrier, edits);
    }

    /// Appends the edits that a request takes that goes on with its caller's context.
    pub fn pass_on(&self, carrier: &Carrier<'_>, edits: &mut Vec<HeaderEdit>) {
        if self.baggage {
            baggage::enforce_limits(&carrier.baggage, edits);
        }
    }

    /// Overwrites the B3 encoding that is not listed itself, where the request has it.
    fn refresh_other_b3(&self, context: &OutgoingContext<'_>, carrier: &Carrier<'_>, edits: &mut Vec<HeaderEdit>) {
        match (self.write.contains(&Format::B3), self.write.contains(&Format::B3Multi)) {
            (true, false) if b3::has_multi(carrier) => b3::inject_multi(context, carrier, edits),
            (false, true) if carrier.b3.is_present() => b3::inject_single(context, carrier, edits),
            _ => {}
        }
    }
}

/// What the value of the one line of `traceparent` says, as [`Carrier::unsampled`] tells it of a request's.
pub fn unsampled(traceparent: &[u8]) -> Option<(TraceId, bool)> {
    trace_context::unsampled(traceparent)
}

/// What `format` says about a parent.
fn read(format: Format, carrier: &Carrier<'_>) -> Outcome {
    match format {
        Format::TraceContext => trace_context::extract(carrier),
        Format::B3 => b3::extract_single(carrier),
        Format::B3Multi => b3::extract_multi(carrier),
        Format::Jaeger => jaeger::extract(carrier),
        // These say nothing about one.
        Format::TraceState | Format::Baggage => Ok(Found::Nothing),
    }
}

/// Makes `name` say `value`, unless it does.
fn set(name: &'static str, value: String, current: &carrier::Single<'_>, edits: &mut Vec<HeaderEdit>) {
    if !current.is_exactly(&value) {
        edits.push(written(name, value, current.is_present()));
    }
}

/// The edit that leaves `name` standing there once, with `value`. Where it is not there yet, it need not be looked for.
fn written(name: &'static str, value: String, is_there: bool) -> HeaderEdit {
    let name = name.into();
    if is_there { HeaderEdit::Set { name, value } } else { HeaderEdit::Add { name, value } }
}

/// Takes `name` away, if it is there.
fn remove(name: &'static str, present: bool, edits: &mut Vec<HeaderEdit>) {
    if present {
        edits.push(HeaderEdit::Remove { name: name.into() });
    }
}

#[cfg(test)]
#[allow(clippy::type_complexity, clippy::too_many_lines, reason = "tables")]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::testing::Request;
    use super::*;
    use crate::trace::SpanId;
    use PropagatorKind::{B3, B3Multi, Jaeger, TraceContext};

    const TRACEPARENT: &str = "00-11111111111111111111111111111111-1111111111111111-01";
    const B3_SINGLE: &str = "22222222222222222222222222222222-2222222222222222-0";
    const UBER: &str = "4:4:0:1";

    const NEW_TRACEPARENT: &str = "00-0000000000000000000000000000000a-000000000000000b-01";
    const NEW_B3: &str = "0000000000000000000000000000000a-000000000000000b-1";
    const NEW_TRACE: &str = "0000000000000000000000000000000a";
    const NEW_SPAN: &str = "000000000000000b";

    fn outgoing<'a>(trace_state: &'a TraceState<'a>) -> OutgoingContext<'a> {
        OutgoingContext {
            trace_id: TraceId::new(10).unwrap(),
            span_id: SpanId::new(11).unwrap(),
            sampled: true,
            debug: false,
            random: false,
            trace_state,
            own_trace_state_members: [None; 2],
        }
    }

    /// Extracts and injects as a proxy does; the request that goes on, with its headers in order of name.
    fn through(kinds: &[PropagatorKind], headers: &[(&str, &str)]) -> Vec<(String, String)> {
        let propagators = Propagators::new(kinds);
        let mut request = Request::new(headers);
        let mut edits = Vec::new();
        {
            let carrier = request.carrier();
            let parent = propagators.extract(&carrier).parent;
            let trace_state = parent.map(|parent| parent.trace_state).unwrap_or_default();
            propagators.inject(&outgoing(&trace_state), &carrier, &mut edits);
        }
        request.apply(&edits);
        let mut again = Vec::new();
        let carrier = request.carrier();
        let parent = propagators.extract(&carrier).parent;
        let trace_state = parent.map(|parent| parent.trace_state).unwrap_or_default();
        propagators.inject(&outgoing(&trace_state), &carrier, &mut again);
        assert_eq!(again, [], "a second injection changes nothing");
        let mut headers: Vec<_> =
            request.0.iter().map(|(name, value)| (name.clone(), String::from_utf8(value.clone()).unwrap())).collect();
        headers.sort_by(|one, other| one.0.cmp(&other.0));
        headers
    }

    #[test]
    fn the_first_listed_valid_format_wins() {
        let all: &[(&str, &str)] = &[
            ("traceparent", TRACEPARENT),
            ("tracestate", "a=1"),
            ("b3", B3_SINGLE),
            ("x-b3-traceid", "3333333333333333"),
            ("x-b3-spanid", "3333333333333333"),
            ("uber-trace-id", UBER),
        ];
        let broken: &[(&str, &str)] = &[("traceparent", "junk"), ("b3", "junk"), ("uber-trace-id", UBER)];
        let table: &[(&[PropagatorKind], &[(&str, &str)], Option<Format>, &str)] = &[
            (&[TraceContext, B3, B3Multi, Jaeger], all, Some(Format::TraceContext), "W3C is first"),
            (&[Jaeger, TraceContext], all, Some(Format::Jaeger), "Jaeger is first"),
            (&[B3Multi, B3], all, Some(Format::B3), "the single header goes before the others, however listed"),
            (&[B3], &all[3..], Some(Format::B3Multi), "B3 is read in both encodings"),
            (&[B3Multi], &all[2..3], Some(Format::B3), "B3 is read in both encodings"),
            (&[TraceContext, B3, Jaeger], broken, Some(Format::Jaeger), "malformed ones are passed over"),
            (&[TraceContext, B3], broken, None, "what is not listed is not read"),
            (&[], all, None, "nothing is listed"),
            (&[PropagatorKind::Baggage], all, None, "baggage is no parent"),
        ];
        for (kinds, headers, format, why) in table {
            let request = Request::new(headers);
            let carrier = request.carrier();
            let extraction = Propagators::new(kinds).extract(&carrier);
            assert_eq!(extraction.parent.map(|parent| parent.format), *format, "{why}");
        }
    }

    #[test]
    fn ids_win_over_a_lone_decision() {
        let propagators = Propagators::new(&[B3, TraceContext]);
        let request = Request::new(&[("b3", "0")]);
        let carrier = request.carrier();
        let extraction = propagators.extract(&carrier);
        assert_eq!(extraction.parent, None);
        assert_eq!(extraction.decision_without_ids, Some(ParentDecision::NotSampled));

        let request = Request::new(&[("b3", "0"), ("traceparent", TRACEPARENT)]);
        let carrier = request.carrier();
        let extraction = propagators.extract(&carrier);
        assert_eq!(extraction.parent.map(|parent| parent.decision), Some(ParentDecision::Sampled));
        assert_eq!(extraction.decision_without_ids, None);
    }

    #[test]
    fn formats_that_mean_the_same_span_supplement_each_other() {
        use ParentDecision::{Debug, Deferred, NotSampled, Sampled};
        const SAME: &str = "11111111111111111111111111111111-1111111111111111";
        let w3c = |flags: &str| format!("00-{SAME}-{flags}");
        let table = [
            (TraceContext, w3c("01"), format!("{SAME}-d"), Debug, false, "debug is preserved"),
            (TraceContext, w3c("00"), format!("{SAME}-d"), NotSampled, false, "but overrules nobody"),
            (TraceContext, w3c("01"), B3_SINGLE.replace("-0", "-d"), Sampled, false, "another trace says nothing"),
            (B3, w3c("03"), format!("{SAME}-1"), Sampled, true, "the random flag"),
            (B3, w3c("03"), SAME.to_owned(), Deferred, true, "the decision is the first format's"),
            (B3, w3c("03").replace("-1", "-2"), format!("{SAME}-1"), Sampled, false, "another span says nothing"),
        ];
        for (first, traceparent, b3, decision, random, why) in table {
            let request = Request::new(&[("traceparent", &traceparent), ("b3", &b3)]);
            let carrier = request.carrier();
            let parent = Propagators::new(&[first, TraceContext, B3]).extract(&carrier).parent.unwrap();
            assert_eq!((parent.decision, parent.random), (decision, random), "{why}");
        }
    }

    #[test]
    fn what_is_malformed_is_noted_by_format() {
        let kinds = [TraceContext, B3, Jaeger, PropagatorKind::Baggage];
        let request = Request::new(&[
            ("traceparent", "junk"),
            ("tracestate", "JUNK"),
            ("b3", "junk"),
            ("x-b3-traceid", "junk"),
            ("uber-trace-id", "junk"),
            ("baggage", "junk"),
        ]);
        let carrier = request.carrier();
        let extraction = Propagators::new(&kinds).extract(&carrier);
        assert_eq!(
            extraction.malformed.iter().collect::<Vec<_>>(),
            [
                (Format::TraceContext, MalformedReason::WrongLength),
                (Format::B3, MalformedReason::WrongLength),
                (Format::B3Multi, MalformedReason::Incomplete),
                (Format::Jaeger, MalformedReason::BadSeparator),
                (Format::Baggage, MalformedReason::BadSeparator),
            ],
            "tracestate is not looked at without a traceparent"
        );
        let request = Request::new(&[("traceparent", TRACEPARENT), ("tracestate", "JUNK")]);
        let carrier = request.carrier();
        let extraction = Propagators::new(&kinds).extract(&carrier);
        assert!(extraction.parent.is_some_and(|parent| parent.trace_state.is_empty()));
        assert_eq!(
            extraction.malformed.iter().collect::<Vec<_>>(),
            [(Format::TraceState, MalformedReason::BadKey)],
            "an invalid tracestate does not take the traceparent with it"
        );
    }

    #[test]
    fn all_listed_formats_are_written_and_no_others() {
        let stale: &[(&str, &str)] = &[
            ("b3", B3_SINGLE),
            ("traceparent", TRACEPARENT),
            ("tracestate", "a=1"),
            ("uber-trace-id", UBER),
            ("uberctx-user", "42"),
        ];
        let table: &[(&[PropagatorKind], &[(&str, &str)], &[(&str, &str)], &str)] = &[
            (&[], stale, stale, "nothing is listed"),
            (&[PropagatorKind::Baggage], stale, stale, "only baggage is listed"),
            (
                &[TraceContext],
                stale,
                &[
                    ("b3", B3_SINGLE),
                    ("traceparent", NEW_TRACEPARENT),
                    ("tracestate", "a=1"),
                    ("uber-trace-id", UBER),
                    ("uberctx-user", "42"),
                ],
                "other formats pass untouched",
            ),
            (
                &[B3, TraceContext, Jaeger],
                stale,
                &[
                    ("b3", NEW_B3),
                    ("traceparent", NEW_TRACEPARENT),
                    ("uber-trace-id", "0000000000000000000000000000000a:000000000000000b:0:1"),
                    ("uberctx-user", "42"),
                ],
                "the parent is B3's, so W3C's tracestate is stale; uberctx stays",
            ),
            (
                &[B3, TraceContext],
                &[("b3", "11111111111111111111111111111111-1111111111111111"), stale[1], stale[2]],
                &[("b3", NEW_B3), ("traceparent", NEW_TRACEPARENT), ("tracestate", "a=1")],
                "one parent in two formats: the tracestate is not stale",
            ),
            (
                &[B3, TraceContext],
                &[("b3", "11111111111111111111111111111111-2222222222222222"), stale[1], stale[2]],
                &[("b3", NEW_B3), ("traceparent", NEW_TRACEPARENT)],
                "the same trace, but a traceparent of an earlier span",
            ),
            (
                &[TraceContext],
                &[("traceparent", "junk"), ("tracestate", "a=1")],
                &[("traceparent", NEW_TRACEPARENT)],
                "a new trace takes no tracestate along",
            ),
            (
                &[TraceContext],
                &[("tracestate", "a=1")],
                &[("traceparent", NEW_TRACEPARENT)],
                "a tracestate alone says nothing",
            ),
            (
                &[TraceContext],
                &[("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT)],
                &[("traceparent", NEW_TRACEPARENT)],
                "repeated lines become one",
            ),
            (
                &[TraceContext],
                &[("traceparent", TRACEPARENT), ("tracestate", "a=1 , b=2"), ("tracestate", "c=3")],
                &[("traceparent", NEW_TRACEPARENT), ("tracestate", "a=1 , b=2"), ("tracestate", "c=3")],
                "a tracestate that needs no change keeps its lines and its white space",
            ),
            (
                &[TraceContext],
                &[("traceparent", TRACEPARENT), ("tracestate", "a=1"), ("tracestate", "a=2")],
                &[("traceparent", NEW_TRACEPARENT), ("tracestate", "a=1")],
                "one that does becomes one line",
            ),
            (
                &[TraceContext],
                &[("traceparent", TRACEPARENT), ("tracestate", "A=1")],
                &[("traceparent", NEW_TRACEPARENT)],
                "an invalid tracestate is discarded",
            ),
            (&[TraceContext, B3], &[], &[("b3", NEW_B3), ("traceparent", NEW_TRACEPARENT)], "nothing came"),
            (
                &[B3Multi],
                &[
                    ("x-b3-flags", "1"),
                    ("x-b3-parentspanid", "3333333333333333"),
                    ("x-b3-sampled", "true"),
                    ("x-b3-spanid", "3333333333333333"),
                    ("x-b3-traceid", "3333333333333333"),
                ],
                &[("x-b3-sampled", "1"), ("x-b3-spanid", NEW_SPAN), ("x-b3-traceid", NEW_TRACE)],
                "stale flags and parent go",
            ),
            (
                &[B3Multi],
                &[("b3", "0")],
                &[("b3", NEW_B3), ("x-b3-sampled", "1"), ("x-b3-spanid", NEW_SPAN), ("x-b3-traceid", NEW_TRACE)],
                "the other encoding would be read first by the next, so it is overwritten",
            ),
            (
                &[B3],
                &[("x-b3-sampled", "0"), ("x-b3-spanid", "3333333333333333"), ("x-b3-traceid", "3333333333333333")],
                &[("b3", NEW_B3), ("x-b3-sampled", "1"), ("x-b3-spanid", NEW_SPAN), ("x-b3-traceid", NEW_TRACE)],
                "and so the other way round",
            ),
            (&[B3], &[], &[("b3", NEW_B3)], "an encoding that is neither listed nor there is not written"),
        ];
        for (kinds, headers, expected, why) in table {
            let expected: Vec<_> =
                expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(through(kinds, headers), expected, "{why}");
        }
    }

    #[test]
    fn decisions_as_each_format_writes_them() {
        let kinds = [TraceContext, B3, B3Multi, Jaeger];
        // sampled, debug, random: flags of traceparent, state of b3, x-b3-sampled, x-b3-flags, flags of Jaeger
        let table = [
            (false, false, false, "-00", "-0", Some("0"), None, ":0"),
            (true, false, false, "-01", "-1", Some("1"), None, ":1"),
            (false, false, true, "-02", "-0", Some("0"), None, ":0"),
            (true, false, true, "-03", "-1", Some("1"), None, ":1"),
            (true, true, true, "-03", "-d", None, Some("1"), ":3"),
            (false, true, false, "-00", "-d", None, Some("1"), ":3"),
        ];
        for (sampled, debug, random, w3c, single, multi, flags, jaeger) in table {
            let context = OutgoingContext { sampled, debug, random, ..outgoing(&TraceState::EMPTY) };
            let mut request = Request::default();
            let mut edits = Vec::new();
            Propagators::new(&kinds).inject(&context, &request.carrier(), &mut edits);
            request.apply(&edits);
            let ends = |name: &str, end: &str| request.lines(name).iter().all(|value| value.ends_with(end));
            assert!(ends("traceparent", w3c) && ends("b3", single) && ends("uber-trace-id", jaeger), "{request:?}");
            assert_eq!(request.lines("x-b3-sampled").first().map(String::as_str), multi);
            assert_eq!(request.lines("x-b3-flags").first().map(String::as_str), flags);
        }
    }

    #[test]
    fn own_trace_state_members_are_written_in_front() {
        let mut request = Request::new(&[("traceparent", TRACEPARENT), ("tracestate", "a=1"), ("tracestate", "own=0")]);
        let propagators = Propagators::new(&[TraceContext]);
        for _ in 0..2 {
            let mut edits = Vec::new();
            {
                let carrier = request.carrier();
                let parent = propagators.extract(&carrier).parent.unwrap();
                let context = OutgoingContext {
                    own_trace_state_members: [Some(("own", "1")), Some(("two", "2"))],
                    ..outgoing(&parent.trace_state)
                };
                propagators.inject(&context, &carrier, &mut edits);
            }
            request.apply(&edits);
            assert_eq!(request.lines("tracestate"), ["own=1,two=2,a=1"]);
        }
    }

    #[test]
    fn a_64_bit_trace_stays_the_same_trace() {
        let request = Request::new(&[("x-b3-traceid", "64fe8b2a57d3eff7"), ("x-b3-spanid", "e457b5a2e4d86bd1")]);
        let carrier = request.carrier();
        let propagators = Propagators::new(&[B3Multi]);
        let parent = propagators.extract(&carrier).parent.unwrap();
        assert_eq!(parent.decision, ParentDecision::Deferred);
        let mut edits = Vec::new();
        let context = OutgoingContext { trace_id: parent.trace_id, ..outgoing(&parent.trace_state) };
        propagators.inject(&context, &carrier, &mut edits);
        let mut next = request.clone();
        next.apply(&edits);
        assert_eq!(next.lines("x-b3-traceid"), ["000000000000000064fe8b2a57d3eff7"]);
    }

    #[test]
    fn only_propagation_headers_are_ours() {
        let mut carrier = Carrier::default();
        for name in ["traceparent", "tracestate", "baggage", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled"] {
            assert!(carrier.observe(name.as_bytes(), b""), "{name}");
        }
        for name in ["x-b3-parentspanid", "x-b3-flags", "uber-trace-id"] {
            assert!(carrier.observe(name.as_bytes(), b""), "{name}");
        }
        for name in ["", "host", "trace-parent", "uberctx-user", "x-b3", "x-request-id", ":path"] {
            assert!(!carrier.observe(name.as_bytes(), b""), "{name}");
        }
    }
}
