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

/// Where the spans of checkout's own call begin.
const BEHIND_CHECKOUT: usize = 3;

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
    for (place, (service, kind)) in CHAIN.into_iter().enumerate() {
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
        if let Some(method) = call.method.filter(|_| place >= BEHIND_CHECKOUT) {
            let status = span.text("rpc.response.status_code");
            ensure!(span.name() == method, "{what} in trace {trace_id} is named {:?} and not {method}", span.name());
            ensure!(status == Some("OK"), "{what} in trace {trace_id} says the gRPC status {status:?}");
        }
        if let Some((plain, masked)) = call.masked {
            let all = span.to_json().to_string();
            ensure!(!all.contains(plain), "{what} in trace {trace_id} shows {plain:?}");
            ensure!(all.contains(masked), "{what} in trace {trace_id} does not show {masked:?}");
        }
        parent = Some(span.span_id());
    }
    ensure!(of_trace.len() == CHAIN.len(), "trace {trace_id} has {} spans, not {}", of_trace.len(), CHAIN.len());
    ensure!(parent.as_deref() == Some(last_span), "inventory saw the parent {last_span}, which is not its sidecar's");
    Ok(())
}

#[cfg(test)]
mod tests {
    use meshspan_kit::opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use meshspan_kit::receiver::Protocol;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const CALLER: &str = "00f067aa0ba902b7";

    fn call() -> Call {
        let mut call = crate::calls::all().remove(1);
        (call.trace_id, call.parent_id, call.status) = (Some(TRACE.to_owned()), Some(CALLER), 503);
        call
    }

    fn answer(last: u8, flags: &str) -> Answered {
        let traceparent = Some(format!("00-{TRACE}-{}-{flags}", format!("{last:02x}").repeat(8)));
        Answered { status: 503, traceparent, ..Answered::default() }
    }

    /// The chain with span ids 1 to 5, each failed with 503.
    fn chain() -> Vec<ReceivedSpan> {
        let hex = |byte: usize| format!("{byte:02x}").repeat(8);
        let spans = CHAIN.iter().enumerate().map(|(index, (service, kind))| {
            let parent = if index == 0 { CALLER.to_owned() } else { hex(index) };
            let export: ExportTraceServiceRequest = serde_json::from_value(serde_json::json!({"resourceSpans": [{
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
                "scopeSpans": [{"spans": [{
                    "traceId": TRACE, "spanId": hex(index + 1), "parentSpanId": parent, "kind": *kind as i32,
                    "attributes": [{"key": "http.response.status_code", "value": {"intValue": "503"}}],
                    "status": {"code": 2},
                }]}],
            }]}))
            .expect("it is OTLP/JSON");
            ReceivedSpan::all_of(&export, Protocol::HttpJson).remove(0)
        });
        spans.collect()
    }

    #[test]
    fn the_whole_chain_is_as_expected() {
        check(&call(), &answer(5, "01"), &chain()).expect("all is there");
    }

    #[test]
    fn whatever_is_wrong_is_found() {
        type Change = fn(&mut Call, &mut Answered, &mut Vec<ReceivedSpan>);
        let cases: [(&str, Change, &str); 14] = [
            ("another answer", |_, a, _| a.status = 200, "the answer was 200"),
            ("no propagation", |_, a, _| a.traceparent = None, "no traceparent"),
            ("another trace", |c, _, _| c.trace_id = Some("00".repeat(16)), "not the caller's"),
            ("another decision", |_, a, _| *a = answer(5, "00"), "the flags 00"),
            ("lost baggage", |c, _, _| c.carried = Some(("", "k=v")), "the baggage"),
            ("a secret", |c, _, _| c.masked = Some((TRACE, "503")), "shows \"4bf9"),
            ("nothing masked", |c, _, _| c.masked = Some(("138", "***")), "does not show"),
            ("a lost span", |_, _, s| drop(s.remove(2)), "Server span of checkout is missing"),
            ("a span twice", |_, _, s| s.push(s[1].clone()), "came twice"),
            ("a wrong parent", |_, _, s| s[3].span.parent_span_id = vec![9; 8], "has the parent"),
            ("a lost failure", |_, _, s| s[4].span.status = None, "the span status"),
            ("a lost code", |_, _, s| s[4].span.attributes.clear(), "says the status None"),
            ("no call", |c, _, _| c.method = Some("a.B/C"), "and not a.B/C"),
            ("another last parent", |_, a, _| *a = answer(4, "01"), "not its sidecar's"),
        ];
        for (why, change, part) in cases {
            let (mut call, mut answered, mut spans) = (call(), answer(5, "01"), chain());
            change(&mut call, &mut answered, &mut spans);
            let problem = check(&call, &answered, &spans).expect_err(why).to_string();
            assert!(problem.contains(part), "{why}: {problem}");
        }
    }

    #[test]
    fn what_was_not_to_be_sampled_must_not_arrive() {
        let mut call = call();
        call.sampled = false;
        check(&call, &answer(5, "00"), &[]).expect("nothing is right");
        let problem = check(&call, &answer(5, "00"), &chain()).expect_err("spans came").to_string();
        assert!(problem.contains("5 spans arrived"), "{problem}");
    }
}
