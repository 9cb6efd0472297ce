//! `tracer_provider.sampler`.

use super::error::Problem;
use super::reader::{Key, Reader, built, not_yet};
use super::{ParentBasedConfig, SamplerConfig};

/// How many samplers may stand inside one another.
const MOST_LEVELS: u32 = 16;

const SAMPLERS: &[Key] = &[
    built("always_on"),
    built("always_off"),
    built("trace_id_ratio_based"),
    built("parent_based"),
    not_yet("composite/development"),
    not_yet("jaeger_remote/development"),
    not_yet("probability/development"),
    not_yet("rate_limiting"),
    not_yet("adaptive"),
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
pub(super) fn read(reader: &Reader<'_>) -> Option<SamplerConfig> {
    read_level(reader, 1)
}

fn read_level(reader: &Reader<'_>, level: u32) -> Option<SamplerConfig> {
    if level > MOST_LEVELS {
        reader.report(Problem::TooDeep { most: MOST_LEVELS });
        return None;
    }
    let (name, settings) = reader.component("sampler", SAMPLERS)?;
    match name {
        "always_on" => settings
            .object_or_null(&[])
            .map(|_| SamplerConfig::AlwaysOn),
        "always_off" => settings
            .object_or_null(&[])
            .map(|_| SamplerConfig::AlwaysOff),
        "trace_id_ratio_based" => {
            let ratio = match settings.object_or_null(RATIO_KEYS)?.nullable("ratio") {
                Some(ratio) => ratio.ratio()?,
                None => 1.0,
            };
            Some(SamplerConfig::TraceIdRatioBased { ratio })
        }
        _ => read_parent_based(&settings, level),
    }
}

fn read_parent_based(reader: &Reader<'_>, level: u32) -> Option<SamplerConfig> {
    let object = reader.object_or_null(PARENT_BASED_KEYS)?;
    let mut parent_based = ParentBasedConfig::default();
    let branches = [
        ("root", &mut parent_based.root),
        (
            "remote_parent_sampled",
            &mut parent_based.remote_parent_sampled,
        ),
        (
            "remote_parent_not_sampled",
            &mut parent_based.remote_parent_not_sampled,
        ),
        (
            "local_parent_sampled",
            &mut parent_based.local_parent_sampled,
        ),
        (
            "local_parent_not_sampled",
            &mut parent_based.local_parent_not_sampled,
        ),
    ];
    for (key, branch) in branches {
        if let Some(sampler) = object
            .optional(key)
            .and_then(|value| read_level(&value, level.saturating_add(1)))
        {
            *branch = sampler;
        }
    }
    Some(SamplerConfig::ParentBased(Box::new(parent_based)))
}
