//! What holds for every request, whatever its headers hold.

use proptest::prelude::*;

use super::testing::Request;
use super::*;
use crate::trace::{ParentDecision, SpanId, TraceId};

const KINDS: [PropagatorKind; 5] = [
    PropagatorKind::TraceContext,
    PropagatorKind::Baggage,
    PropagatorKind::B3,
    PropagatorKind::B3Multi,
    PropagatorKind::Jaeger,
];

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

/// Values that are often valid, often nearly valid, and sometimes anything.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "(00|cc|ff)-[0-9a-f]{32}-[0-9a-f]{16}-0[0-9](-x)?".prop_map(String::into_bytes),
        "([0-9a-f]{16}|[0-9a-fA-F]{32})(-[0-9a-f]{16}(-[01d](-[0-9a-f]{16})?)?)?".prop_map(String::into_bytes),
        "[0-9a-f]{1,33}(:|%3A)[0-9a-f]{1,17}(:|%3a)[0-9a-f]{0,3}(:|%3A)[0-9a-f]".prop_map(String::into_bytes),
        "([a-c][a-z0-9]{0,3}=[a-z]{1,200}[ ,]{1,2}){0,40}".prop_map(String::into_bytes),
        "[01d]|true|false|".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..80),
    ]
}

fn requests() -> impl Strategy<Value = Request> {
    let line = (proptest::sample::select(&NAMES[..]), value()).prop_map(|(name, value)| (name.to_owned(), value));
    proptest::collection::vec(line, 0..10).prop_map(Request)
}

fn kinds() -> impl Strategy<Value = Vec<PropagatorKind>> {
    proptest::sample::subsequence(&KINDS[..], 0..=KINDS.len()).prop_shuffle()
}

fn own_members() -> impl Strategy<Value = Option<(String, String)>> {
    proptest::option::of(("[a-c@]{1,3}", "[ -~]{0,20}"))
}

/// What goes on; `None` for ids keeps the parent's.
fn inject(
    propagators: &Propagators,
    request: &Request,
    ids: (u128, u64),
    flags: (bool, bool, bool),
    own: Option<&(String, String)>,
) -> Vec<HeaderEdit> {
    let carrier = request.carrier();
    let parent = propagators.extract(&carrier).parent;
    let trace_state = parent.map(|parent| parent.trace_state).unwrap_or_default();
    let context = OutgoingContext {
        trace_id: TraceId::new(ids.0).unwrap(),
        span_id: SpanId::new(ids.1).unwrap(),
        sampled: flags.0,
        debug: flags.1,
        random: flags.2,
        trace_state: &trace_state,
        own_trace_state_members: [own.map(|(key, value)| (key.as_str(), value.as_str())), None],
    };
    let mut edits = Vec::new();
    propagators.inject(&context, &carrier, &mut edits);
    edits
}

fn is_edited(name: &str, edits: &[HeaderEdit]) -> bool {
    edits.iter().any(|edit| edit.name() == name)
}

proptest! {
    #[test]
    fn what_is_injected_is_extracted(
        mut request in requests(),
        kind in proptest::sample::select(vec![
            PropagatorKind::TraceContext, PropagatorKind::B3, PropagatorKind::B3Multi, PropagatorKind::Jaeger,
        ]),
        ids in (1..=u128::MAX, 1..=u64::MAX),
        sampled: bool,
        debug: bool,
        random: bool,
    ) {
        let propagators = Propagators::new(&[kind]);
        let edits = inject(&propagators, &request, ids, (sampled, debug, random), None);
        request.apply(&edits);
        let carrier = request.carrier();
        let extraction = propagators.extract(&carrier);
        let parent = extraction.parent.expect("valid");
        prop_assert_eq!((parent.trace_id.get(), parent.span_id.get()), ids);
        let w3c = kind == PropagatorKind::TraceContext;
        prop_assert_eq!(parent.random, w3c && random);
        prop_assert_eq!(parent.decision, match (debug && !w3c, sampled) {
            (true, _) => ParentDecision::Debug,
            (false, true) => ParentDecision::Sampled,
            (false, false) => ParentDecision::NotSampled,
        });
        prop_assert!(extraction.malformed.is_empty(), "{:?}", extraction.malformed);
        prop_assert_eq!(extraction.decision_without_ids, None);
    }

    #[test]
    fn a_second_injection_changes_nothing(
        mut request in requests(), kinds in kinds(), ids in (1..=u128::MAX, 1..=u64::MAX),
        flags: (bool, bool, bool), own in own_members(),
    ) {
        let propagators = Propagators::new(&kinds);
        let edits = inject(&propagators, &request, ids, flags, own.as_ref());
        request.apply(&edits);
        prop_assert_eq!(inject(&propagators, &request, ids, flags, own.as_ref()), []);
    }

    #[test]
    fn only_listed_formats_are_edited(
        request in requests(), kinds in kinds(), ids in (1..=u128::MAX, 1..=u64::MAX), flags: (bool, bool, bool),
    ) {
        let edits = inject(&Propagators::new(&kinds), &request, ids, flags, None);
        let b3 = kinds.contains(&PropagatorKind::B3) || kinds.contains(&PropagatorKind::B3Multi);
        for name in NAMES {
            let ours = match name {
                "traceparent" | "tracestate" => kinds.contains(&PropagatorKind::TraceContext),
                "baggage" => kinds.contains(&PropagatorKind::Baggage),
                "uber-trace-id" => kinds.contains(&PropagatorKind::Jaeger),
                "uberctx-user" | "host" => false,
                _ => b3,
            };
            prop_assert!(ours || !is_edited(name, &edits), "{name}");
        }
    }

    #[test]
    fn trace_state_stays_valid_in_order_and_within_limits(
        lines in proptest::collection::vec("([a-f0-9][a-z@*/_-]{0,2}=( ?[a-z0-9]){1,90}[ \t]?,[ \t]?){0,30}", 1..4),
        own in own_members(),
    ) {
        let mut request = Request::new(&[("traceparent", "00-11111111111111111111111111111111-1111111111111111-03")]);
        request.0.extend(lines.iter().map(|line| ("tracestate".to_owned(), line.clone().into_bytes())));
        let propagators = Propagators::new(&[PropagatorKind::TraceContext]);
        let before = request.clone();
        let edits = inject(&propagators, &request, (1, 1), (true, false, true), own.as_ref());
        request.apply(&edits);
        let carrier = request.carrier();
        let extraction = propagators.extract(&carrier);
        prop_assert!(extraction.malformed.is_empty(), "valid, without duplicates and within the limits");
        let after: Vec<_> = extraction.parent.as_ref().unwrap().trace_state.iter().collect();
        prop_assert!(after.len() <= 32);
        prop_assert!(request.lines("tracestate").join(",").len() <= 512);
        // What is left is a subsequence of what came, behind our own member.
        let carrier = before.carrier();
        let came = propagators.extract(&carrier).parent.unwrap().trace_state;
        let mut came = came.iter();
        let ours = usize::from(own.as_ref().is_some_and(|own| after.first() == Some(&(own.0.as_str(), own.1.as_str()))));
        prop_assert!(after.iter().skip(ours).all(|member| came.any(|other| other == *member)));
        if edits.iter().all(|edit| !matches!(edit, HeaderEdit::Set { name, .. } | HeaderEdit::Add { name, .. } if name == "tracestate")) {
            prop_assert!(request.lines("tracestate") == before.lines("tracestate") || after.is_empty());
        }
    }

    #[test]
    fn baggage_passes_byte_for_byte_within_the_limits(lines in proptest::collection::vec(value(), 0..4)) {
        let request = Request(lines.into_iter().map(|line| ("baggage".to_owned(), line)).collect());
        let edits = inject(&Propagators::new(&[PropagatorKind::Baggage]), &request, (1, 1), (true, true, true), None);
        let combined = request.0.iter().map(|(_, line)| line.as_slice()).collect::<Vec<_>>().join(&b',');
        let members = combined.split(|byte| *byte == b',').filter(|member| !carrier::trim_optional_whitespace(member).is_empty()).count();
        if combined.len() <= 8192 && members <= 64 {
            prop_assert_eq!(edits, []);
        } else {
            prop_assert_eq!(edits.len(), 1);
        }
    }
}
