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
//! - **The first listed format that is valid wins.** Formats behind it are not looked at. A malformed one is noted
//!   and the next one tried. A decision that comes without ids never wins over ids.
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
mod trace_state;

pub use baggage::Baggage;
pub use carrier::Carrier;
pub use context::{Extraction, OutgoingContext, RemoteParent};
pub use malformed::{Format, MalformedList, MalformedReason};
pub use trace_state::TraceState;

use crate::config::PropagatorKind;
use crate::header::HeaderEdit;
use context::Found;

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

    /// What the request's headers say.
    pub fn extract<'a>(&self, carrier: &Carrier<'a>) -> Extraction<'a> {
        let mut extraction = Extraction::default();
        for format in &self.read {
            let outcome = match format {
                Format::TraceContext => trace_context::extract(carrier),
                Format::B3 => b3::extract_single(carrier),
                Format::B3Multi => b3::extract_multi(carrier),
                Format::Jaeger => jaeger::extract(carrier),
                // Not read for a parent.
                Format::TraceState | Format::Baggage => Ok(Found::Nothing),
            };
            match outcome {
                Ok(Found::Nothing) => {}
                Ok(Found::Decision(decision)) => {
                    extraction.decision_without_ids.get_or_insert(decision);
                }
                Ok(Found::Ids {
                    trace_id,
                    span_id,
                    decision,
                    random,
                }) => {
                    // Trace Context §3.3: tracestate is only looked at along with a valid traceparent, and being
                    // invalid takes nothing from it.
                    let trace_state = if *format == Format::TraceContext {
                        let (trace_state, reason) = TraceState::parse(&carrier.tracestate);
                        if let Some(reason) = reason {
                            extraction.malformed.push(Format::TraceState, reason);
                        }
                        trace_state
                    } else {
                        TraceState::EMPTY
                    };
                    extraction.decision_without_ids = None;
                    extraction.parent = Some(RemoteParent {
                        trace_id,
                        span_id,
                        decision,
                        random,
                        format: *format,
                        trace_state,
                    });
                    break;
                }
                Err(reason) => extraction.malformed.push(*format, reason),
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

    /// Appends the edits that make the upstream request carry `context` in every listed format. `carrier` holds the
    /// headers as they stand; no edit is made for one that is right already.
    pub fn inject(
        &self,
        context: &OutgoingContext<'_>,
        carrier: &Carrier<'_>,
        edits: &mut Vec<HeaderEdit>,
    ) {
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
        if self.baggage {
            baggage::enforce_limits(&carrier.baggage, edits);
        }
    }

    /// Overwrites the B3 encoding that is not listed itself, where the request has it.
    fn refresh_other_b3(
        &self,
        context: &OutgoingContext<'_>,
        carrier: &Carrier<'_>,
        edits: &mut Vec<HeaderEdit>,
    ) {
        match (
            self.write.contains(&Format::B3),
            self.write.contains(&Format::B3Multi),
        ) {
            (true, false) if b3::has_multi(carrier) => b3::inject_multi(context, carrier, edits),
            (false, true) if carrier.b3.is_present() => b3::inject_single(context, carrier, edits),
            _ => {}
        }
    }
}

/// Makes `name` say `value`, unless it does.
fn set(
    name: &'static str,
    value: String,
    current: &carrier::Single<'_>,
    edits: &mut Vec<HeaderEdit>,
) {
    if !current.is_exactly(&value) {
        edits.push(HeaderEdit::Set {
            name: name.into(),
            value,
        });
    }
}

/// Takes `name` away, if it is there.
fn remove(name: &'static str, present: bool, edits: &mut Vec<HeaderEdit>) {
    if present {
        edits.push(HeaderEdit::Remove { name: name.into() });
    }
}
