//! `tracer_provider.sampler`.

use crate::error::Problem;
use crate::reader::{Key, Reader, built};
use crate::{Clusters, ParentBasedConfig, SamplerConfig, adaptive, composite, jaeger_remote, rate_limiting};

/// How many samplers may stand inside one another.
pub(crate) const MOST_LEVELS: u32 = 16;

const SAMPLERS: &[Key] = &[
    built("always_on"),
    built("always_off"),
    built("trace_id_ratio_based"),
    built("parent_based"),
    built("composite/development"),
    built("probability/development"),
    built("jaeger_remote/development"),
    built("rate_limiting"),
    built("adaptive"),
];

const RATIO_KEYS: &[Key] = &[built("ratio")];

const PARENT_BASED_KEYS: &[Key] = &[
    built("root"),
    built("remote_parent_sampled"),
    built("remote_parent_not_sampled"),
    built("local_parent_sampled"),
    built("local_parent_not_sampled"),
];

impl Default for SamplerConfig {
    /// `parent_based` with its defaults, as the standard has it where no sampler is configured.
    fn default() -> Self {
        Self::ParentBased(Box::default())
    }
}

impl Default for ParentBasedConfig {
    fn default() -> Self {
        Self {
            root: SamplerConfig::AlwaysOn,
            remote_parent_sampled: SamplerConfig::AlwaysOn,
            remote_parent_not_sampled: SamplerConfig::AlwaysOff,
            local_parent_sampled: SamplerConfig::AlwaysOn,
            local_parent_not_sampled: SamplerConfig::AlwaysOff,
        }
    }
}

/// Reads a sampler; `None` if it is wrong.
pub(crate) fn read(reader: &Reader<'_>, clusters: &Clusters) -> Option<SamplerConfig> {
    read_level(reader, clusters, 1)
}

/// Reads a sampler inside others.
pub(crate) fn read_level(reader: &Reader<'_>, clusters: &Clusters, level: u32) -> Option<SamplerConfig> {
    if level > MOST_LEVELS {
        reader.report(Problem::TooDeep { most: MOST_LEVELS });
        return None;
    }
    let (name, settings) = reader.component("sampler", SAMPLERS)?;
    match name {
        "always_on" => settings.object_or_null(&[]).map(|_| SamplerConfig::AlwaysOn),
        "always_off" => settings.object_or_null(&[]).map(|_| SamplerConfig::AlwaysOff),
        "trace_id_ratio_based" => Some(SamplerConfig::TraceIdRatioBased { ratio: read_ratio(&settings)? }),
        "probability/development" => Some(SamplerConfig::Probability { ratio: read_ratio(&settings)? }),
        "rate_limiting" => rate_limiting::read(&settings).map(SamplerConfig::RateLimiting),
        "adaptive" => adaptive::read(&settings).map(SamplerConfig::Adaptive),
        "jaeger_remote/development" => {
            let remote = jaeger_remote::read(&settings, clusters, level)?;
            Some(SamplerConfig::JaegerRemote(Box::new(remote)))
        }
        "composite/development" => {
            let composite = composite::read(&settings, level.saturating_add(1))?;
            Some(SamplerConfig::Composite(Box::new(composite)))
        }
        _ => read_parent_based(&settings, clusters, level),
    }
}

/// The settings of a sampler that has a `ratio` alone, which is 1 where it is left out.
pub(crate) fn read_ratio(settings: &Reader<'_>) -> Option<f64> {
    match settings.object_or_null(RATIO_KEYS)?.nullable("ratio") {
        Some(ratio) => ratio.ratio(),
        None => Some(1.0),
    }
}

fn read_parent_based(reader: &Reader<'_>, clusters: &Clusters, level: u32) -> Option<SamplerConfig> {
    let object = reader.object_or_null(PARENT_BASED_KEYS)?;
    let mut parent_based = ParentBasedConfig::default();
    let branches = [
        ("root", &mut parent_based.root),
        ("remote_parent_sampled", &mut parent_based.remote_parent_sampled),
        ("remote_parent_not_sampled", &mut parent_based.remote_parent_not_sampled),
        ("local_parent_sampled", &mut parent_based.local_parent_sampled),
        ("local_parent_not_sampled", &mut parent_based.local_parent_not_sampled),
    ];
    for (key, branch) in branches {
        if let Some(sampler) =
            object.optional(key).and_then(|value| read_level(&value, clusters, level.saturating_add(1)))
        {
            *branch = sampler;
        }
    }
    Some(SamplerConfig::ParentBased(Box::new(parent_based)))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{ParentBasedConfig, SamplerConfig};
    use crate::testing::{accepted, rejected_at, rejected_for};

    fn with(sampler: &str) -> String {
        format!(
            r#""tracer_provider": {{"sampler": {sampler}, "processors": [{{"batch": {{"exporter": {{"otlp_grpc": null}}}}}}]}}"#
        )
    }

    fn nested(levels: usize) -> String {
        let inner = (1..levels)
            .fold(r#"{"always_on": {}}"#.to_owned(), |inner, _| format!(r#"{{"parent_based": {{"root": {inner}}}}}"#));
        with(&inner)
    }

    #[test]
    fn samplers_have_the_standards_defaults() {
        let parent_based = |change: fn(&mut ParentBasedConfig)| {
            let mut config = ParentBasedConfig::default();
            change(&mut config);
            SamplerConfig::ParentBased(Box::new(config))
        };
        let cases = [
            (r#"{"always_on": {}}"#, SamplerConfig::AlwaysOn),
            (r#"{"always_off": null}"#, SamplerConfig::AlwaysOff),
            (r#"{"trace_id_ratio_based": null}"#, SamplerConfig::TraceIdRatioBased { ratio: 1.0 }),
            (r#"{"trace_id_ratio_based": {"ratio": null}}"#, SamplerConfig::TraceIdRatioBased { ratio: 1.0 }),
            (r#"{"trace_id_ratio_based": {"ratio": 0}}"#, SamplerConfig::TraceIdRatioBased { ratio: 0.0 }),
            (r#"{"trace_id_ratio_based": {"ratio": 1e-9}}"#, SamplerConfig::TraceIdRatioBased { ratio: 1e-9 }),
            (r#"{"probability/development": null}"#, SamplerConfig::Probability { ratio: 1.0 }),
            (r#"{"probability/development": {"ratio": 0.25}}"#, SamplerConfig::Probability { ratio: 0.25 }),
            (r#"{"parent_based": null}"#, SamplerConfig::default()),
            (
                r#"{"parent_based": {"root": {"always_off": {}}, "local_parent_not_sampled": {"always_on": {}}}}"#,
                parent_based(|config| {
                    config.root = SamplerConfig::AlwaysOff;
                    config.local_parent_not_sampled = SamplerConfig::AlwaysOn;
                }),
            ),
            (
                r#"{"parent_based": {"remote_parent_sampled": {"always_off": {}},
                    "remote_parent_not_sampled": {"always_on": {}}, "local_parent_sampled": {"always_off": {}}}}"#,
                parent_based(|config| {
                    config.remote_parent_sampled = SamplerConfig::AlwaysOff;
                    config.remote_parent_not_sampled = SamplerConfig::AlwaysOn;
                    config.local_parent_sampled = SamplerConfig::AlwaysOff;
                }),
            ),
        ];
        for (text, sampler) in cases {
            assert_eq!(accepted(&with(text)).tracer.unwrap().sampler, sampler, "{text}");
        }
    }

    #[test]
    fn wrong_samplers_are_errors() {
        let cases = [
            (r#"{"trace_id_ratio_based": {"ratio": 1.1}}"#, ".trace_id_ratio_based.ratio", "from 0 to 1", "above 1"),
            (r#"{"trace_id_ratio_based": {"ratio": -0.1}}"#, ".trace_id_ratio_based.ratio", "from 0 to 1", "below 0"),
            (r#"{"trace_id_ratio_based": {"ratio": "0.1"}}"#, ".trace_id_ratio_based.ratio", "from 0 to 1", "text"),
            (
                r#"{"trace_id_ratio_based": {"ration": 1}}"#,
                ".trace_id_ratio_based.ration",
                "did you mean \"ratio\"",
                "mistyped",
            ),
            (
                r#"{"composite/development": {}}"#,
                "[\"composite/development\"]",
                "names the composable sampler",
                "empty",
            ),
            (
                r#"{"probability/development": {"ratio": 1.5}}"#,
                "[\"probability/development\"].ratio",
                "from 0 to 1",
                "above 1",
            ),
            (
                r#"{"jaeger_remote/development": {"endpoint": "http://x"}}"#,
                "[\"jaeger_remote/development\"]",
                "\"initial_sampler\" is missing",
                "the standard's",
            ),
            (r#"{"rate_limiting": {}}"#, ".rate_limiting", "\"spans_per_second\" is missing", "our own"),
            (r#"{"adaptive": null}"#, ".adaptive", "\"traces_per_second\" is missing", "our own"),
            (r#"{"xray": {}}"#, ".xray", "no such sampler", "a vendor's"),
            ("null", "", "names the sampler", "null"),
            (r#""always_on""#, "", "names the sampler", "a word"),
            (r#"{"parent_based": {"root": null}}"#, ".parent_based.root", "names the sampler", "null for a branch"),
        ];
        for (text, place, words, why) in cases {
            rejected_for(&with(text), &format!("$.tracer_provider.sampler{place}"), words, why);
        }
    }

    #[test]
    fn nesting_is_bounded() {
        accepted(&nested(16));
        let path = format!("$.tracer_provider.sampler{}", ".parent_based.root".repeat(16));
        rejected_at(&nested(17), &path, "allowed are 16 levels");
    }
}
