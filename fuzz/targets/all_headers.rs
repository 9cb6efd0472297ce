//! All formats at once, any of them listed in any order. The first line of the input is the list (`wbsmj` for W3C,
//! baggage, B3 single, B3 multi, Jaeger), the others are header lines.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshspan_core::config::PropagatorKind;
use meshspan_core::propagation::{OutgoingContext, Propagators};
use meshspan_core::trace::{SpanId, TraceId};
use meshspan_fuzz::{Request, check_pass_on};

const NAMES: [&str; 12] = [
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "uber-trace-id",
    "uberctx-user",
    "host",
];

fuzz_target!(|data: &[u8]| {
    let (first, data) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let kinds: Vec<PropagatorKind> = first.iter().filter_map(kind).collect();
    let propagators = Propagators::new(&kinds);
    let request = Request::of_lines(&NAMES, data);
    let carrier = request.carrier();
    let extraction = propagators.extract(&carrier);
    assert!(extraction.parent.is_none() || extraction.decision_without_ids.is_none());
    check_pass_on(&propagators, &request);

    // A new span, whatever came.
    let trace_state = extraction
        .parent
        .map(|parent| parent.trace_state)
        .unwrap_or_default();
    let context = OutgoingContext {
        trace_id: TraceId::new(u128::MAX).unwrap(),
        span_id: SpanId::new(u64::MAX).unwrap(),
        sampled: true,
        debug: false,
        random: true,
        trace_state: &trace_state,
        own_trace_state_members: [Some(("own", "1")), None],
    };
    let mut edits = Vec::new();
    propagators.inject(&context, &carrier, &mut edits);
    let mut next = request.clone();
    next.apply(&edits);
    for name in NAMES {
        if !is_listed(name, &kinds) {
            assert_eq!(
                next.lines(name),
                request.lines(name),
                "{name} is not listed"
            );
        }
    }
    // Whichever listed format the next one reads, it reads the new context.
    for kind in kinds
        .iter()
        .filter(|kind| **kind != PropagatorKind::Baggage)
    {
        let carrier = next.carrier();
        let parent = Propagators::new(&[*kind])
            .extract(&carrier)
            .parent
            .expect("every listed format is written");
        assert_eq!(
            (parent.trace_id, parent.span_id),
            (context.trace_id, context.span_id)
        );
        assert!(parent.decision.is_sampled());
        if *kind == PropagatorKind::TraceContext {
            assert_eq!(parent.trace_state.iter().next(), Some(("own", "1")));
        }
    }
});

fn kind(letter: &u8) -> Option<PropagatorKind> {
    match letter {
        b'w' => Some(PropagatorKind::TraceContext),
        b'b' => Some(PropagatorKind::Baggage),
        b's' => Some(PropagatorKind::B3),
        b'm' => Some(PropagatorKind::B3Multi),
        b'j' => Some(PropagatorKind::Jaeger),
        _ => None,
    }
}

fn is_listed(name: &str, kinds: &[PropagatorKind]) -> bool {
    match name {
        "traceparent" | "tracestate" => kinds.contains(&PropagatorKind::TraceContext),
        "baggage" => kinds.contains(&PropagatorKind::Baggage),
        "uber-trace-id" => kinds.contains(&PropagatorKind::Jaeger),
        // One format, two encodings.
        name if name == "b3" || name.starts_with("x-b3-") => {
            kinds.contains(&PropagatorKind::B3) || kinds.contains(&PropagatorKind::B3Multi)
        }
        _ => false,
    }
}
