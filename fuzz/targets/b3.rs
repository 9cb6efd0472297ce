//! B3 in both encodings: a parent arrives as it came whichever encoding is listed, and no stale header is left.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshspan_core::config::PropagatorKind;
use meshspan_core::propagation::Propagators;
use meshspan_fuzz::{Request, check_pass_on};

const NAMES: [&str; 6] = [
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
];

fuzz_target!(|data: &[u8]| {
    let request = Request::of_lines(&NAMES, data);
    let mut parents = Vec::new();
    for kind in [PropagatorKind::B3, PropagatorKind::B3Multi] {
        let propagators = Propagators::new(&[kind]);
        let carrier = request.carrier();
        let extraction = propagators.extract(&carrier);
        assert!(extraction.parent.is_none() || extraction.decision_without_ids.is_none());
        if let Some(parent) = &extraction.parent {
            let low = format!("{:016x}", parent.trace_id.low_u64());
            let text = data.to_ascii_lowercase();
            assert!(
                text.windows(16).any(|window| window == low.as_bytes()),
                "the trace id stands in the request"
            );
        }
        parents.push((extraction.parent.clone(), extraction.decision_without_ids));
        if let Some(next) = check_pass_on(&propagators, &request) {
            assert_eq!(next.lines("x-b3-parentspanid"), [[0_u8; 0]; 0]);
            let ids = extraction.parent.unwrap();
            let trace = ids.trace_id.to_hex();
            for line in next.lines("b3") {
                assert!(line.starts_with(trace.as_bytes()));
            }
            for line in next.lines("x-b3-traceid") {
                assert_eq!(line, trace.as_bytes());
            }
        }
    }
    assert_eq!(
        parents[0], parents[1],
        "both propagators read both encodings"
    );
});
