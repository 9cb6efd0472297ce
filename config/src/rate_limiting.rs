//! `rate_limiting`, a sampler that the standard leaves to us: so many spans a second for the whole proxy.

use crate::error::Problem;
use crate::reader::{Key, Reader, built};

/// `rate_limiting`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimitingConfig {
    /// `spans_per_second`, for all workers together: above 0, at most 1,000,000.
    pub spans_per_second: f64,
    /// `burst`: how many may come at once; by default those of one second, and at least 1.
    pub burst: u32,
}

impl RateLimitingConfig {
    /// A rate in range, and the burst that was asked for.
    pub(crate) fn new(spans_per_second: f64, burst: Option<u32>) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "above 0 and at most a million")]
        let second = spans_per_second.ceil() as u32;
        Self { spans_per_second, burst: burst.unwrap_or(second) }
    }
}

const KEYS: &[Key] = &[built("spans_per_second"), built("burst")];

const MOST_SPANS: f64 = 1_000_000.0;

const RATE: &str = "a number above 0 and at most 1000000";

/// Reads `rate_limiting`; `None` if it is wrong.
pub(crate) fn read(reader: &Reader<'_>) -> Option<RateLimitingConfig> {
    let object = reader.object_or_null(KEYS)?;
    let burst = object.integer("burst", 1..=u32::MAX);
    let spans_per_second = read_rate(&object.required("spans_per_second", RATE)?)?;
    Some(RateLimitingConfig::new(spans_per_second, burst))
}

/// A rate: events a second.
pub(crate) fn read_rate(reader: &Reader<'_>) -> Option<f64> {
    let rate = reader.double()?;
    if !(rate > 0.0 && rate <= MOST_SPANS) {
        reader.report(Problem::OutOfRange { found: reader.found(), allowed: RATE.to_owned() });
        return None;
    }
    Some(rate)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::SamplerConfig;
    use crate::testing::{accepted, rejected_for};

    fn with(settings: &str) -> String {
        format!(
            r#""tracer_provider": {{"sampler": {{"rate_limiting": {settings}}},
                "processors": [{{"batch": {{"exporter": {{"otlp_grpc": null}}}}}}]}}"#
        )
    }

    #[test]
    fn rates() {
        let cases = [
            (r#"{"spans_per_second": 100}"#, 100.0, 100, "a second's worth at once"),
            (r#"{"spans_per_second": 0.1}"#, 0.1, 1, "at least one at once"),
            (r#"{"spans_per_second": 2.5, "burst": null}"#, 2.5, 3, "a second's worth, rounded up"),
            (r#"{"spans_per_second": 1000000, "burst": 1}"#, 1e6, 1, "as asked"),
        ];
        for (text, spans_per_second, burst, why) in cases {
            let sampler = accepted(&with(text)).tracer.unwrap().sampler;
            assert_eq!(sampler, SamplerConfig::RateLimiting(RateLimitingConfig { spans_per_second, burst }), "{why}");
        }
        let cases = [
            ("null", "", "\"spans_per_second\" is missing", "nothing asked for"),
            (r#"{"spans_per_second": 0}"#, ".spans_per_second", "above 0", "nothing: that is always_off"),
            (r#"{"spans_per_second": -1}"#, ".spans_per_second", "above 0", "negative"),
            (r#"{"spans_per_second": 1000001}"#, ".spans_per_second", "at most 1000000", "no limit at all"),
            (r#"{"spans_per_second": "5"}"#, ".spans_per_second", "a number", "text"),
            (r#"{"spans_per_second": null}"#, ".spans_per_second", "a number", "null"),
            (r#"{"spans_per_second": 5, "burst": 0}"#, ".burst", "from 1", "no burst"),
            (r#"{"spans_per_second": 5, "rate": 1}"#, ".rate", "no such key", "unknown"),
        ];
        for (text, place, words, why) in cases {
            rejected_for(&with(text), &format!("$.tracer_provider.sampler.rate_limiting{place}"), words, why);
        }
    }
}
