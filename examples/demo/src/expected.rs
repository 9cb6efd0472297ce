//! What a call's trace has to look like.

use anyhow::{Context, bail, ensure};
use meshspan_kit::opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use meshspan_kit::opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use meshspan_kit::receiver::ReceivedSpan;

use crate::calls::{Answered, Call};

/// Service and kind of the spans from the edge inwards, each the parent of the next.
const CHAIN: [(&str, SpanKind); 5] = [
    ("edge", SpanKind::Server),
    ("edge", SpanKind::Client),
    ("checkout", SpanKind::Server),
    ("checkout", SpanKind::Client),
    ("inventory", SpanKind::Server),
];

/// Whether a call's spans are all there, with the right parents and outcomes, and nothing else is in its trace.
///
/// # Errors
/// The first thing that is not as expected.
pub(crate) fn check(call: &Call, answer: &Answered, spans: &[ReceivedSpan]) -> anyhow::Result<()> {
    ensure!(answer.status == call.status, "the answer was {} and not {}", answer.status, call.status);
    let (trace_id, last_span, flags) = answer.context().context("no traceparent reached inventory")?;
    if let Some(expected) = &call.trace_id {
        ensure!(trace_id == expected, "inventory saw the trace {trace_id} and not the caller's, {expected}");
    }
    let sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
    ensure!(sampled == call.sampled, "inventory saw the flags {flags}");
    if let Some((state, baggage)) = call.carried {
        ensure!(answer.tracestate.contains(state), "inventory saw the tracestate {:?}", answer.tracestate);
        ensure!(answer.baggage.contains(baggage), "inventory saw the baggage {:?}", answer.baggage);
    }

    let of_trace: Vec<&ReceivedSpan> = spans.iter().filter(|span| span.trace_id() == trace_id).collect();
    if !call.sampled {
        ensure!(of_trace.is_empty(), "{} spans arrived, though the caller chose not to sample", of_trace.len());
        return Ok(());
    }
    let mut parent = call.parent_id.map(str::to_owned);
    for (service, kind) in CHAIN {
        let mut found = of_trace.iter().filter(|span| span.service() == service && span.kind() == kind);
        let what = format!("the {kind:?} span of {service}");
        let Some(span) = found.next() else {
            bail!("{what} is missing in trace {trace_id}");
        };
        ensure!(found.next().is_none(), "{what} came twice in trace {trace_id}");
        ensure!(
            span.parent_id() == parent,
            "{what} in trace {trace_id} has the parent {:?} and not {parent:?}",
            span.parent_id()
        );
        let code = span.integer("http.response.status_code");
        ensure!(code == Some(i64::from(call.status)), "{what} in trace {trace_id} says the status {code:?}");
        ensure!(
            (span.status() == StatusCode::Error) == (call.status >= 500),
            "{what} in trace {trace_id} has the span status {:?}",
            span.status()
        );
        parent = Some(span.span_id());
    }
    ensure!(of_trace.len() == CHAIN.len(), "trace {trace_id} has {} spans, not {}", of_trace.len(), CHAIN.len());
    ensure!(parent.as_deref() == Some(last_span), "inventory saw the parent {last_span}, which is not its sidecar's");
    Ok(())
}
