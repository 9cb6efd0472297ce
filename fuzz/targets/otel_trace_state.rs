//! The `ot` member of `tracestate`: what is read is what stands there, and what a threshold makes of it says that
//! threshold, keeps everything else, and stays within its limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshspan_core::sampling::{Change, OtelTraceState, Threshold};

fuzz_target!(|data: &[u8]| {
    let Some((number, text)) = data.split_first_chunk::<8>() else {
        return;
    };
    let Ok(text) = core::str::from_utf8(text) else {
        return;
    };
    let threshold = Threshold::new(u64::from_le_bytes(*number));
    let before = OtelTraceState::parse(text);
    if let Some(known) = before.threshold {
        let mut written = String::new();
        known.write(&mut written);
        let stated = text.split(';').find_map(|field| field.strip_prefix("th:"));
        let stated = stated.expect("a threshold was read").trim_end_matches('0');
        assert_eq!(stated, written.trim_end_matches('0'));
    }
    let others = |text: &str| -> Vec<String> {
        let fields = text.split(';').filter(|field| !field.starts_with("th:"));
        fields.filter(|field| !field.is_empty()).map(str::to_owned).collect()
    };
    match before.with_threshold(threshold) {
        Change::Keep => {
            assert!(before.threshold.is_none() || before.threshold == threshold);
        }
        Change::Remove => assert_eq!(threshold, None),
        Change::Set(after) => {
            assert!(after.len() <= 256 && !after.is_empty());
            let read = OtelTraceState::parse(&after);
            assert_eq!(read.randomness, before.randomness);
            assert!(read.threshold == threshold || read.threshold.is_none());
            if before != OtelTraceState::EMPTY {
                assert_eq!(others(&after), others(text), "what is not ours stays");
            }
            assert_eq!(read.with_threshold(read.threshold), Change::Keep);
        }
    }
});
