//! `tracestate`: never costs the traceparent, and what goes on is valid, within the limits and in order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshspan_core::config::PropagatorKind;
use meshspan_core::propagation::Propagators;
use meshspan_fuzz::{Request, check_pass_on};

fuzz_target!(|data: &[u8]| {
    let propagators = Propagators::new(&[PropagatorKind::TraceContext]);
    let mut request = Request::of_one_header("tracestate", data);
    let traceparent = b"00-11111111111111111111111111111111-1111111111111111-01".to_vec();
    request.0.push(("traceparent".to_owned(), traceparent));
    let next = check_pass_on(&propagators, &request).expect("the traceparent is valid");

    let came = request.members("tracestate");
    let goes = next.members("tracestate");
    assert!(goes.len() <= 32);
    assert!(next.lines("tracestate").join(&b',').len() <= 512);
    assert!(goes.iter().all(|member| is_valid(member)));
    let mut rest = came.iter();
    assert!(
        goes.iter().all(|member| rest.any(|other| other == member)),
        "in order, and nothing new"
    );
    let mut keys: Vec<_> = goes.iter().map(|member| key(member)).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), goes.len(), "each key once");
    if came.iter().any(|member| !is_valid(member)) {
        assert_eq!(goes, [[0_u8; 0]; 0], "one invalid member spoils the list");
    } else if request.lines("tracestate").join(&b',').len() <= 512 {
        let mut keys: Vec<_> = came.iter().map(|member| key(member)).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(
            goes.len(),
            keys.len().min(32),
            "nothing is dropped without need"
        );
    }
});

fn key(member: &[u8]) -> &[u8] {
    member.split(|byte| *byte == b'=').next().unwrap()
}

fn is_valid(member: &[u8]) -> bool {
    let parts: Vec<&[u8]> = member.split(|byte| *byte == b'=').collect();
    let [key, value] = parts[..] else {
        return false;
    };
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=256).contains(&key.len())
        && (1..=256).contains(&value.len())
        && alphanumeric(&key[0])
        && key
            .iter()
            .all(|byte| alphanumeric(byte) || b"_-*/@".contains(byte))
        && value
            .iter()
            .all(|byte| byte.is_ascii_graphic() || *byte == b' ')
}
