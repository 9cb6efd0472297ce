//! `adaptive`, a sampler that the standard leaves to us: the share follows load and errors.

use crate::error::Problem;
use crate::json::Number;
use crate::rate_limiting::read_rate;
use crate::reader::{Key, Reader, built};

/// `adaptive`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveConfig {
    /// `traces_per_second`: the aim, for all workers together, above 0.
    pub traces_per_second: f64,
    /// `floor`: the lowest share; default 0.
    pub floor: f64,
    /// `ceiling`: the highest share while errors are few; default 1.
    pub ceiling: f64,
    /// `error_ratio`: above this share of failed streams all are sampled; default 0.05. 1: never.
    pub error_ratio: f64,
    /// `error_window`, ms: over about how long that share is taken; default 10000, at least 1000.
    pub error_window_ms: u32,
    /// `max_traces_per_second`: never more, not even then; default ten times `traces_per_second`.
    pub max_traces_per_second: f64,
    /// `per_route`: all this for each route by itself; default `false`.
    pub per_route: bool,
}

const KEYS: &[Key] = &[
    built("traces_per_second"),
    built("floor"),
    built("ceiling"),
    built("error_ratio"),
    built("error_window"),
    built("max_traces_per_second"),
    built("per_route"),
];

const DEFAULT_ERROR_RATIO: f64 = 0.05;
const DEFAULT_ERROR_WINDOW_MS: u32 = 10_000;
const DEFAULT_HEADROOM: f64 = 10.0;

/// Reads `adaptive`; `None` if it is wrong.
pub(crate) fn read(reader: &Reader<'_>) -> Option<AdaptiveConfig> {
    let object = reader.object_or_null(KEYS)?;
    let share = |key, default| object.nullable(key).map_or(Some(default), |value| value.ratio());
    let (floor, ceiling) = (share("floor", 0.0), share("ceiling", 1.0));
    let error_ratio = share("error_ratio", DEFAULT_ERROR_RATIO);
    let error_window_ms = object.integer("error_window", 1_000..=3_600_000).unwrap_or(DEFAULT_ERROR_WINDOW_MS);
    let per_route = object.nullable("per_route").map_or(Some(false), |value| value.boolean());
    let max = object.nullable("max_traces_per_second");
    let max_rate = max.as_ref().map_or(Some(None), |value| read_rate(value).map(Some));
    let aim =
        object.required("traces_per_second", "a number above 0 and at most 1000000").and_then(|aim| read_rate(&aim));
    let config = AdaptiveConfig {
        traces_per_second: aim?,
        floor: floor?,
        ceiling: ceiling?,
        error_ratio: error_ratio?,
        error_window_ms,
        max_traces_per_second: max_rate?.unwrap_or(aim? * DEFAULT_HEADROOM),
        per_route: per_route?,
    };
    if let Some(value) = object.nullable("floor").filter(|_| config.floor > config.ceiling) {
        let allowed = format!("at most ceiling, which is {}", Number::from(config.ceiling));
        value.report(Problem::Conflict { found: value.found(), allowed });
        return None;
    }
    if let Some(value) = max.filter(|_| config.max_traces_per_second < config.traces_per_second) {
        let allowed = format!("at least traces_per_second, which is {}", Number::from(config.traces_per_second));
        value.report(Problem::Conflict { found: value.found(), allowed });
        return None;
    }
    Some(config)
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
            r#""tracer_provider": {{"sampler": {{"adaptive": {settings}}},
                "processors": [{{"batch": {{"exporter": {{"otlp_grpc": null}}}}}}]}}"#
        )
    }

    #[test]
    fn aims() {
        let ten = AdaptiveConfig {
            traces_per_second: 10.0,
            floor: 0.0,
            ceiling: 1.0,
            error_ratio: 0.05,
            error_window_ms: 10_000,
            max_traces_per_second: 100.0,
            per_route: false,
        };
        let cases = [
            (r#"{"traces_per_second": 10}"#, ten),
            (
                r#"{"traces_per_second": 10, "floor": 0.01, "ceiling": 0.5, "error_ratio": 1, "error_window": 1000,
                    "max_traces_per_second": 10, "per_route": true}"#,
                AdaptiveConfig {
                    floor: 0.01,
                    ceiling: 0.5,
                    error_ratio: 1.0,
                    error_window_ms: 1_000,
                    max_traces_per_second: 10.0,
                    per_route: true,
                    ..ten
                },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(accepted(&with(text)).tracer.unwrap().sampler, SamplerConfig::Adaptive(expected), "{text}");
        }
        let cases = [
            ("null", "", "\"traces_per_second\" is missing", "no aim"),
            (r#"{"traces_per_second": 0}"#, ".traces_per_second", "above 0", "nothing"),
            (r#"{"traces_per_second": 1, "floor": 1.5}"#, ".floor", "from 0 to 1", "above 1"),
            (
                r#"{"traces_per_second": 1, "floor": 0.5, "ceiling": 0.1}"#,
                ".floor",
                "at most ceiling, which is 0.1",
                "above the ceiling",
            ),
            (
                r#"{"traces_per_second": 5, "max_traces_per_second": 1}"#,
                ".max_traces_per_second",
                "at least traces_per_second, which is 5",
                "below the aim",
            ),
            (r#"{"traces_per_second": 1, "error_window": 10}"#, ".error_window", "from 1000", "too short"),
            (r#"{"traces_per_second": 1, "per_route": 1}"#, ".per_route", "true or false", "a number"),
            (r#"{"traces_per_second": 1, "target": 1}"#, ".target", "no such key", "unknown"),
        ];
        for (text, place, words, why) in cases {
            rejected_for(&with(text), &format!("$.tracer_provider.sampler.adaptive{place}"), words, why);
        }
    }
}
