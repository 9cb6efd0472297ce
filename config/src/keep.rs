//! `distribution.meshspan.keep`: what is exported although it was not sampled, decided when a stream has ended.

use crate::rate_limiting::read_rate;
use crate::reader::{Key, Reader, built};
use crate::{Problem, RateLimitingConfig};

/// `keep`. At least one of the four conditions is set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeepConfig {
    /// `errors`: streams that failed.
    pub errors: bool,
    /// `slower_than`, ms: streams that took longer.
    pub slower_than_ms: Option<u32>,
    /// `slower_than_route_p95`: streams that took longer than 95 of 100 of their route lately.
    pub slower_than_route_p95: bool,
    /// `traceresponse`: streams that their upstream recorded, as it says in that header of its response.
    pub trace_response: bool,
    /// `spans_per_second` (default 100) and `burst`: how many streams are kept, for all workers together.
    pub budget: RateLimitingConfig,
    /// `max_pending_bytes`: request headers of streams that may yet be kept, a worker; default 8 MiB.
    pub max_pending_bytes: u32,
}

const KEYS: &[Key] = &[
    built("errors"),
    built("slower_than"),
    built("slower_than_route_p95"),
    built("traceresponse"),
    built("spans_per_second"),
    built("burst"),
    built("max_pending_bytes"),
];

const DEFAULT_RATE: f64 = 100.0;

const DEFAULT_PENDING_BYTES: u32 = 8 << 20;

/// Reads `keep`; `None` if it is wrong.
pub(crate) fn read(reader: &Reader<'_>) -> Option<KeepConfig> {
    let object = reader.object(KEYS)?;
    let truth = |key| object.nullable(key).map_or(Some(false), |value| value.boolean());
    let errors = truth("errors");
    let slower_than_ms = object.integer("slower_than", 1..=u32::MAX);
    let slower_than_route_p95 = truth("slower_than_route_p95");
    let trace_response = truth("traceresponse");
    let rate = object.nullable("spans_per_second").map_or(Some(DEFAULT_RATE), |rate| read_rate(&rate));
    let burst = object.integer("burst", 1..=u32::MAX);
    let max_pending_bytes = object.integer("max_pending_bytes", 1 << 16..=u32::MAX).unwrap_or(DEFAULT_PENDING_BYTES);
    let keep = KeepConfig {
        errors: errors?,
        slower_than_ms,
        slower_than_route_p95: slower_than_route_p95?,
        trace_response: trace_response?,
        budget: RateLimitingConfig::new(rate?, burst),
        max_pending_bytes,
    };
    let asked =
        keep.errors || keep.slower_than_route_p95 || keep.trace_response || object.nullable("slower_than").is_some();
    if !asked {
        reader.report(Problem::Conflict {
            found: reader.found(),
            allowed: "one of errors: true, slower_than, slower_than_route_p95: true, and traceresponse: true; without \
                      any of them nothing is kept"
                .to_owned(),
        });
        return None;
    }
    Some(keep)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::testing::{accepted, rejected_for};

    fn with(keep: &str) -> String {
        format!(r#""distribution": {{"meshspan": {{"keep": {keep}}}}}"#)
    }

    #[test]
    fn conditions_and_their_budget() {
        let errors = KeepConfig {
            errors: true,
            slower_than_ms: None,
            slower_than_route_p95: false,
            trace_response: false,
            budget: RateLimitingConfig { spans_per_second: 100.0, burst: 100 },
            max_pending_bytes: 8 << 20,
        };
        let cases = [
            (r#"{"errors": true}"#, errors),
            (
                r#"{"slower_than": 250, "errors": null}"#,
                KeepConfig { errors: false, slower_than_ms: Some(250), ..errors },
            ),
            (
                r#"{"slower_than_route_p95": true, "errors": false}"#,
                KeepConfig { errors: false, slower_than_route_p95: true, ..errors },
            ),
            (r#"{"traceresponse": true}"#, KeepConfig { errors: false, trace_response: true, ..errors }),
            (
                r#"{"errors": true, "spans_per_second": 0.5, "burst": 7, "max_pending_bytes": 65536}"#,
                KeepConfig {
                    budget: RateLimitingConfig { spans_per_second: 0.5, burst: 7 },
                    max_pending_bytes: 65_536,
                    ..errors
                },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(accepted(&with(text)).meshspan.keep, Some(expected), "{text}");
        }
        assert_eq!(accepted(&with("null")).meshspan.keep, None);
        let cases = [
            ("{}", "", "one of errors", "nothing asked for"),
            (r#"{"errors": false, "spans_per_second": 5}"#, "", "one of errors", "nothing asked for"),
            (r#"{"errors": "true"}"#, ".errors", "true or false", "text"),
            (r#"{"slower_than": 0}"#, ".slower_than", "from 1", "everything"),
            (r#"{"slower_than": "1s"}"#, ".slower_than", "an integer", "a unit"),
            (r#"{"errors": true, "spans_per_second": 0}"#, ".spans_per_second", "above 0", "no budget"),
            (
                r#"{"errors": true, "max_pending_bytes": 1000}"#,
                ".max_pending_bytes",
                "from 65536",
                "less than a request",
            ),
            (r#"{"errors": true, "slow": 1}"#, ".slow", "no such key", "unknown"),
            ("true", "", "an object", "a truth"),
        ];
        for (text, place, words, why) in cases {
            rejected_for(&with(text), &format!("$.distribution.meshspan.keep{place}"), words, why);
        }
    }
}
