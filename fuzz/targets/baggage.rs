//! `baggage`: untouched within the limits, cut down to them beyond, and every member that is read is there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshspan_core::config::PropagatorKind;
use meshspan_core::propagation::{OutgoingContext, Propagators, TraceState};
use meshspan_core::trace::{SpanId, TraceId};
use meshspan_fuzz::Request;

fuzz_target!(|data: &[u8]| {
    let propagators = Propagators::new(&[PropagatorKind::Baggage]);
    // Input beyond 8 KB is rare, so the limits are reached by repetition: the first byte says how often.
    let (times, data) = match data {
        [first, rest @ ..] if *first >= 0x80 => (usize::from(first & 0x3f) + 1, rest),
        _ => (1, data),
    };
    let request = Request::of_one_header("baggage", &vec![data; times].join(&b','));
    let carrier = request.carrier();
    let baggage = propagators.extract(&carrier).baggage;
    let members = request.members("baggage");
    for (key, value) in baggage.iter() {
        assert!(!key.is_empty() && key.iter().all(u8::is_ascii_graphic));
        assert!(value.iter().all(u8::is_ascii_graphic));
        assert!(members.iter().any(|member| member.starts_with(key)));
        let decoded = baggage
            .get(std::str::from_utf8(key).unwrap())
            .expect("a member that is there");
        assert!(decoded.len() <= data.len());
    }

    let context = OutgoingContext {
        trace_id: TraceId::new(1).unwrap(),
        span_id: SpanId::new(1).unwrap(),
        sampled: true,
        debug: false,
        random: true,
        trace_state: &TraceState::EMPTY,
        own_trace_state_members: [None; 2],
    };
    let mut edits = Vec::new();
    propagators.inject(&context, &carrier, &mut edits);
    let length = request.lines("baggage").join(&b',').len();
    assert_eq!(edits.is_empty(), length <= 8192 && members.len() <= 64);
    let mut next = request.clone();
    next.apply(&edits);
    let goes = next.members("baggage");
    assert!(goes.len() <= 64 && next.lines("baggage").join(&b',').len() <= 8192);
    let mut rest = members.iter();
    assert!(
        goes.iter().all(|member| rest.any(|other| other == member)),
        "in order, and nothing new"
    );
    edits.clear();
    propagators.inject(&context, &next.carrier(), &mut edits);
    assert_eq!(edits, [], "a second injection changes nothing");
});
