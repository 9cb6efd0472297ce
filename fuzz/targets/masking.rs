//! Masking: any bytes. What comes back holds no secret that a detector finds, stays as it is when it is masked again,
//! and is no longer than a bound; in any mode and with any action.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshspan_core::config::Config;
use meshspan_core::masking::{Detector, Masker, Pattern};

thread_local! {
    static MASKERS: [Masker; 3] = [masker("mask", "enforce"), masker("hash", "enforce"), masker("redact", "enforce")];
    static REPORTER: Masker = masker("mask", "report");
}

fn masker(action: &str, mode: &str) -> Masker {
    let detectors: Vec<_> = Detector::ALL
        .iter()
        .map(|detector| format!(r#""{}": "{action}""#, detector.name()))
        .collect();
    let text = format!(
        r#"{{"file_format": "1.1", "distribution": {{"meshspan": {{"masking":
            {{"mode": "{mode}", "hash_key": "0123456789abcdef", "detectors": {{{}}}}}}}}}}}"#,
        detectors.join(", ")
    );
    let config = Config::from_json(text.as_bytes()).expect("a valid configuration");
    Masker::new(&config.meshspan.masking, &config.instrumentation)
}

fuzz_target!(|data: &[u8]| {
    MASKERS.with(|maskers| {
        for masker in maskers {
            let once = masker.value("key", data).expect("no action drops");
            let twice = masker
                .value("key", once.as_str().as_bytes())
                .expect("no action drops");
            assert_eq!(once, twice, "masking again changes nothing");
            assert!(
                once.as_str().len() <= data.len() * 8 + 64,
                "{} bytes of {}",
                once.as_str().len(),
                data.len()
            );
            REPORTER.with(|reporter| {
                let text = once.as_str();
                assert_eq!(
                    reporter
                        .value("key", text.as_bytes())
                        .expect("a report")
                        .as_str(),
                    text,
                    "a report changes nothing"
                );
                let left: Vec<_> = reporter.counts().take().collect();
                assert_eq!(left, [], "nothing is left in {text:?}");
            });
            masker.query("url.query", data).expect("no action drops");
            masker.counts().take().for_each(drop);
        }
    });
    // The same bytes as a pattern: what is taken can be searched.
    if let Ok(pattern) = std::str::from_utf8(data) {
        let _ = Pattern::compile(pattern);
    }
});
