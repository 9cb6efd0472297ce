//! The propagation headers of one request, gathered in one pass over all header lines.

use super::trace_context;
use crate::trace::TraceId;

/// The lines of a header whose lines combine into one list, in order (RFC 9110 §5.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Lines<'a> {
    /// The header is absent.
    #[default]
    None,
    /// One line, as nearly always: nothing is allocated.
    One(&'a [u8]),
    /// Several lines. The host bounds how many lines a request has.
    Several(Vec<&'a [u8]>),
}

impl<'a> Lines<'a> {
    fn push(&mut self, value: &'a [u8]) {
        match self {
            Self::None => *self = Self::One(value),
            Self::One(first) => *self = Self::Several(vec![*first, value]),
            Self::Several(lines) => lines.push(value),
        }
    }

    /// The lines in order.
    pub(super) fn as_slice(&self) -> &[&'a [u8]] {
        match self {
            Self::None => &[],
            Self::One(line) => core::slice::from_ref(line),
            Self::Several(lines) => lines,
        }
    }

    /// `true` when there is no such header at all; a header with an empty value is there.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The bytes of the combined value, with one comma between lines.
    pub(super) fn combined_length(&self) -> usize {
        let lines = self.as_slice();
        lines.iter().fold(lines.len().saturating_sub(1), |length, line| length.saturating_add(line.len()))
    }

    /// The list members of the combined value, without the white space around them (`OWS`, RFC 9110 §5.6.3) and
    /// without those that are empty.
    pub(super) fn members(&self) -> impl Iterator<Item = &'a [u8]> {
        self.as_slice()
            .iter()
            .flat_map(|line| line.split(|byte| *byte == b','))
            .map(trim_optional_whitespace)
            .filter(|member| !member.is_empty())
    }
}

/// `text` without spaces and tabs at both ends.
pub(super) fn trim_optional_whitespace(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// A header that may stand there once only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Single<'a> {
    /// The value of the first line.
    pub(super) first: Option<&'a [u8]>,
    /// Whether more lines followed.
    pub(super) repeated: bool,
}

impl<'a> Single<'a> {
    fn push(&mut self, value: &'a [u8]) {
        if self.first.is_none() {
            self.first = Some(value);
        } else {
            self.repeated = true;
        }
    }

    /// `true` when the header stands there exactly once, with this value.
    pub(super) fn is_exactly(&self, value: &str) -> bool {
        !self.repeated && self.first == Some(value.as_bytes())
    }

    /// `true` when there is at least one line.
    pub(super) fn is_present(&self) -> bool {
        self.first.is_some()
    }
}

/// The propagation headers of one request.
///
/// Fill it with [`observe`](Self::observe) for each header line, in order. Nothing is copied, and nothing is
/// allocated unless `tracestate` or `baggage` come in several lines.
#[derive(Clone, Debug, Default)]
pub struct Carrier<'a> {
    pub(super) traceparent: Single<'a>,
    pub(super) tracestate: Lines<'a>,
    pub(super) baggage: Lines<'a>,
    pub(super) b3: Single<'a>,
    pub(super) b3_trace_id: Single<'a>,
    pub(super) b3_span_id: Single<'a>,
    pub(super) b3_parent_span_id: Single<'a>,
    pub(super) b3_sampled: Single<'a>,
    pub(super) b3_flags: Single<'a>,
    pub(super) uber_trace_id: Single<'a>,
}

impl<'a> Carrier<'a> {
    /// The trace and the random flag of a `traceparent` that says `not sampled`, where it can go on as it came: the one
    /// line there is, of version 00, without flags that we do not know.
    pub fn unsampled(&self) -> Option<(TraceId, bool)> {
        self.traceparent.first.filter(|_| !self.traceparent.repeated).and_then(trace_context::unsampled)
    }

    /// Whether there is `baggage`.
    pub(crate) const fn has_baggage(&self) -> bool {
        !matches!(self.baggage, Lines::None)
    }

    /// Whether a format that knows debug may say so: what has to be looked at more closely.
    pub(crate) fn may_ask_for_debug(&self) -> bool {
        self.b3_flags.is_present()
            || self.uber_trace_id.is_present()
            || self.b3.first.is_some_and(|value| value.contains(&b'd'))
    }

    /// Takes note of one header line; `true` if it is a propagation header of any format. `name` is lower case,
    /// as Envoy hands it; `value` may be any bytes.
    pub fn observe(&mut self, name: &[u8], value: &'a [u8]) -> bool {
        // The shortest is `b3`, the longest `x-b3-parentspanid`. The match compares lengths before bytes.
        match name {
            b"traceparent" => self.traceparent.push(value),
            b"tracestate" => self.tracestate.push(value),
            b"baggage" => self.baggage.push(value),
            b"b3" => self.b3.push(value),
            b"x-b3-traceid" => self.b3_trace_id.push(value),
            b"x-b3-spanid" => self.b3_span_id.push(value),
            b"x-b3-parentspanid" => self.b3_parent_span_id.push(value),
            b"x-b3-sampled" => self.b3_sampled.push(value),
            b"x-b3-flags" => self.b3_flags.push(value),
            b"uber-trace-id" => self.uber_trace_id.push(value),
            _ => return false,
        }
        true
    }
}
