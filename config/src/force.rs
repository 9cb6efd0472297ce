//! `distribution.meshspan.force`: requests that may ask to be recorded, whatever the sampler says.

use crate::composite::read_pattern;
use crate::error::Problem;
use crate::rate_limiting::{RateLimitingConfig, read_rate};
use crate::reader::{Key, Reader, built};

/// `force`.
#[derive(Clone, Debug, PartialEq)]
pub struct ForceConfig {
    /// `by`: how a request can ask; by default in every way.
    pub by: Vec<ForceKind>,
    /// `trusted.internal`: whom Envoy judges to be internal (`x-envoy-internal`).
    pub internal: bool,
    /// `trusted.identities`: patterns of the URI in the peer's certificate.
    pub identities: Vec<String>,
    /// `traces_per_second` (default 1) and `burst` (default 10), for all workers together.
    pub budget: RateLimitingConfig,
}

/// How a request asks to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForceKind {
    /// The header `x-envoy-force-trace`.
    EnvoyForceTrace,
    /// The header `jaeger-debug-id`.
    JaegerDebugId,
    /// Debug, in B3 (`d`, `x-b3-flags: 1`) or Jaeger's format.
    Debug,
}

impl ForceKind {
    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EnvoyForceTrace => "x-envoy-force-trace",
            Self::JaegerDebugId => "jaeger-debug-id",
            Self::Debug => "debug",
        }
    }
}

const KEYS: &[Key] = &[built("by"), built("trusted"), built("traces_per_second"), built("burst")];
const TRUSTED_KEYS: &[Key] = &[built("internal"), built("identities")];

const KINDS: &[(&str, ForceKind)] = &[
    ("x-envoy-force-trace", ForceKind::EnvoyForceTrace),
    ("jaeger-debug-id", ForceKind::JaegerDebugId),
    ("debug", ForceKind::Debug),
];

const DEFAULT_RATE: f64 = 1.0;
const DEFAULT_BURST: u32 = 10;

/// How many identities a configuration may have.
const MOST_IDENTITIES: usize = 1_000;

/// Reads `force`; `None` if it is wrong.
pub(crate) fn read(reader: &Reader<'_>) -> Option<ForceConfig> {
    let object = reader.object(KEYS)?;
    let by = match object.nullable("by") {
        Some(list) => list.list(1)?.iter().filter_map(|kind| kind.one_of(KINDS)).collect(),
        None => KINDS.iter().map(|(_, kind)| *kind).collect(),
    };
    let rate = object.nullable("traces_per_second").map_or(Some(DEFAULT_RATE), |rate| read_rate(&rate));
    let burst = object.integer("burst", 1..=u32::MAX).unwrap_or(DEFAULT_BURST);
    let trusted = object.required("trusted", "an object that says whom to believe: internal: true, or identities")?;
    let (internal, identities) = read_trusted(&trusted)?;
    Some(ForceConfig { by, internal, identities, budget: RateLimitingConfig::new(rate?, Some(burst)) })
}

fn read_trusted(reader: &Reader<'_>) -> Option<(bool, Vec<String>)> {
    let object = reader.object(TRUSTED_KEYS)?;
    let internal = object.nullable("internal").map_or(Some(false), |value| value.boolean());
    let identities = match object.nullable("identities") {
        Some(list) => {
            let items = list.list(1)?;
            if items.len() > MOST_IDENTITIES {
                list.report(Problem::TooManyItems { found: items.len(), most: MOST_IDENTITIES });
                return None;
            }
            items.iter().filter_map(read_pattern).collect()
        }
        None => Vec::new(),
    };
    let internal = internal?;
    if !internal && object.nullable("identities").is_none() {
        let allowed = "internal: true, or identities; without them nobody is believed".to_owned();
        reader.report(Problem::Conflict { found: reader.found(), allowed });
        return None;
    }
    Some((internal, identities))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::testing::{accepted, rejected_for};

    fn with(force: &str) -> String {
        format!(r#""distribution": {{"meshspan": {{"force": {force}}}}}"#)
    }

    #[test]
    fn whom_to_believe_and_how_often() {
        let internal = ForceConfig {
            by: vec![ForceKind::EnvoyForceTrace, ForceKind::JaegerDebugId, ForceKind::Debug],
            internal: true,
            identities: Vec::new(),
            budget: RateLimitingConfig { spans_per_second: 1.0, burst: 10 },
        };
        let cases = [
            (r#"{"trusted": {"internal": true}}"#, internal.clone()),
            (
                r#"{"by": ["debug"], "trusted": {"identities": ["spiffe://mesh/*"]}, "traces_per_second": 5, "burst": 7}"#,
                ForceConfig {
                    by: vec![ForceKind::Debug],
                    internal: false,
                    identities: vec!["spiffe://mesh/*".to_owned()],
                    budget: RateLimitingConfig { spans_per_second: 5.0, burst: 7 },
                },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(accepted(&with(text)).meshspan.force, Some(expected), "{text}");
        }
        assert_eq!(accepted(&with("null")).meshspan.force, None);
        for (word, kind) in KINDS {
            assert_eq!(kind.as_str(), *word);
        }
        let cases = [
            ("{}", "", "\"trusted\" is missing", "nobody is believed"),
            (r#"{"trusted": {}}"#, ".trusted", "internal: true, or identities", "nobody is believed"),
            (r#"{"trusted": {"internal": false}}"#, ".trusted", "internal: true, or identities", "nobody is believed"),
            (r#"{"trusted": {"identities": []}}"#, ".trusted.identities", "at least 1", "an empty list"),
            (r#"{"trusted": {"mtls": true}}"#, ".trusted.mtls", "no such key", "unknown"),
            (r#"{"by": [], "trusted": {"internal": true}}"#, ".by", "at least 1", "no way to ask"),
            (r#"{"by": ["b3"], "trusted": {"internal": true}}"#, ".by[0]", "allowed", "unknown"),
            (
                r#"{"trusted": {"internal": true}, "traces_per_second": 0}"#,
                ".traces_per_second",
                "above 0",
                "no budget",
            ),
        ];
        for (text, place, words, why) in cases {
            // An unknown key leaves nobody to believe, and that is told, too.
            if place == ".trusted.mtls" {
                assert!(crate::testing::rejected(&with(text)).iter().any(|error| error.contains(words)));
                continue;
            }
            rejected_for(&with(text), &format!("$.distribution.meshspan.force{place}"), words, why);
        }
    }
}
