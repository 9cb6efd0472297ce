//! What the fuzz targets share: a request's headers out of fuzz input, and the host's way of editing them.

use meshspan_core::header::HeaderEdit;
use meshspan_core::propagation::{Carrier, OutgoingContext, Propagators, RemoteParent, TraceState};
use meshspan_core::trace::ParentDecision;

/// Header lines in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request(pub Vec<(String, Vec<u8>)>);

impl Request {
    /// Each line of `data` is the value of one line of the header `name`; no data, no header.
    pub fn of_one_header(name: &str, data: &[u8]) -> Self {
        if data.is_empty() {
            return Self(Vec::new());
        }
        Self(
            data.split(|byte| *byte == b'\n')
                .map(|line| (name.to_owned(), line.to_vec()))
                .collect(),
        )
    }

    /// Each line of `data` is `name: value`. Lines whose name is not in `names` are left out.
    pub fn of_lines(names: &[&str], data: &[u8]) -> Self {
        let mut headers = Vec::new();
        for line in data.split(|byte| *byte == b'\n') {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                continue;
            };
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            let value = value.strip_prefix(b" ").unwrap_or(value);
            if let Some(name) = names.iter().find(|known| known.as_bytes() == name) {
                headers.push(((*name).to_owned(), value.to_vec()));
            }
        }
        Self(headers)
    }

    /// The headers, gathered.
    pub fn carrier(&self) -> Carrier<'_> {
        let mut carrier = Carrier::default();
        for (name, value) in &self.0 {
            carrier.observe(name.as_bytes(), value);
        }
        carrier
    }

    /// Applies edits as a host does.
    pub fn apply(&mut self, edits: &[HeaderEdit]) {
        for edit in edits {
            match edit {
                HeaderEdit::Set { name, value } => {
                    self.0.retain(|(other, _)| other != name);
                    self.0
                        .push((name.clone().into_owned(), value.clone().into_bytes()));
                }
                HeaderEdit::Add { name, value } => {
                    self.0
                        .push((name.clone().into_owned(), value.clone().into_bytes()));
                }
                HeaderEdit::Remove { name } => self.0.retain(|(other, _)| other != name),
            }
        }
    }

    /// The lines of one header.
    pub fn lines(&self, name: &str) -> Vec<&[u8]> {
        self.0
            .iter()
            .filter(|(other, _)| other == name)
            .map(|(_, value)| value.as_slice())
            .collect()
    }

    /// The list members of one header, without white space around them and without empty ones.
    pub fn members(&self, name: &str) -> Vec<Vec<u8>> {
        let combined = self.lines(name).join(&b',');
        let members = combined.split(|byte| *byte == b',');
        members
            .map(|member| trim(member).to_vec())
            .filter(|member| !member.is_empty())
            .collect()
    }
}

/// `text` without spaces and tabs at both ends.
pub fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(text.len());
    let end = text
        .iter()
        .rposition(|byte| !blank(byte))
        .map_or(start, |last| last + 1);
    &text[start..end]
}

/// The parent's own ids and flags as context that goes on: a proxy that adds no span.
pub fn passed_on<'a>(parent: &'a RemoteParent<'_>) -> OutgoingContext<'a> {
    OutgoingContext {
        trace_id: parent.trace_id,
        span_id: parent.span_id,
        sampled: parent.decision.is_sampled(),
        debug: parent.decision == ParentDecision::Debug,
        random: parent.random,
        trace_state: shorten(&parent.trace_state),
        own_trace_state_members: [None, None],
    }
}

/// A trace state is covariant in what it borrows.
fn shorten<'short, 'long: 'short>(state: &'short TraceState<'long>) -> &'short TraceState<'short> {
    state
}

/// Passes the parent on, checks that it arrives as it came and that doing so again changes nothing. Returns the
/// request that goes on, or `None` if there is no parent.
pub fn check_pass_on(propagators: &Propagators, request: &Request) -> Option<Request> {
    let carrier = request.carrier();
    let before = propagators.extract(&carrier).parent?;
    let mut edits = Vec::new();
    propagators.inject(&passed_on(&before), &carrier, &mut edits);
    let mut next = request.clone();
    next.apply(&edits);

    let carrier = next.carrier();
    let extraction = propagators.extract(&carrier);
    let after = extraction.parent.expect("what was injected is valid");
    assert_eq!(
        extraction
            .malformed
            .iter()
            .find(|(format, _)| *format == after.format),
        None
    );
    assert_eq!(
        (after.trace_id, after.span_id),
        (before.trace_id, before.span_id)
    );
    assert_eq!(after.decision.is_sampled(), before.decision.is_sampled());
    assert_ne!(
        after.decision,
        ParentDecision::Deferred,
        "by then there is a decision"
    );
    assert_eq!(after.random, before.random);
    if after.format == before.format && before.decision != ParentDecision::Deferred {
        assert_eq!(after.decision, before.decision);
    }
    edits.clear();
    propagators.inject(&passed_on(&after), &carrier, &mut edits);
    assert_eq!(edits, [], "a second injection changes nothing");
    Some(next)
}
