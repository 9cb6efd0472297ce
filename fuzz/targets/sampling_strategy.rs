//! Answers of Jaeger's remote sampling service: what is accepted is in range and bounded, and a remote sampler that is
//! told it decides without a trap.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshspan_core::sampling::Strategy;

fuzz_target!(|data: &[u8]| {
    let Ok(strategy) = Strategy::parse(data) else {
        return;
    };
    assert_eq!(Strategy::parse(data).as_ref(), Ok(&strategy), "reading is deterministic");
    let share = 0.0..=1.0;
    match strategy {
        Strategy::Probabilistic(rate) => assert!(share.contains(&rate)),
        Strategy::RateLimiting(rate) => assert!(rate >= 0.0 && rate.is_finite()),
        Strategy::PerOperation(operations) => {
            assert!(share.contains(&operations.default));
            assert!(operations.lower_bound >= 0.0 && operations.lower_bound.is_finite());
            assert!(operations.operations.len() <= 2_000);
            assert!(operations.operations.iter().all(|(_, rate)| share.contains(rate)));
        }
    }
});
