//! `tracer_provider` and `attribute_limits`.

use super::error::Problem;
use super::reader::{Key, Object, Reader, built, not_offered};
use super::{BatchConfig, Clusters, ProcessorConfig, SpanLimits, TracerConfig, exporter, sampler};

const KEYS: &[Key] = &[
    built("processors"),
    built("limits"),
    built("sampler"),
    built("id_generator"),
    not_offered(
        "tracer_configurator/development",
        "a proxy has one tracer: leave out $.tracer_provider, or set $.disabled, to switch it off",
    ),
];

const PROCESSORS: &[Key] = &[built("batch"), built("simple")];

const BATCH_KEYS: &[Key] = &[
    built("schedule_delay"),
    built("export_timeout"),
    built("max_queue_size"),
    built("max_export_batch_size"),
    built("exporter"),
];

const SIMPLE_KEYS: &[Key] = &[built("exporter")];

const ID_GENERATORS: &[Key] = &[built("random")];

const ATTRIBUTE_LIMITS_KEYS: &[Key] = &[
    built("attribute_value_length_limit"),
    built("attribute_count_limit"),
];

const SPAN_LIMITS_KEYS: &[Key] = &[
    built("attribute_value_length_limit"),
    built("attribute_count_limit"),
    built("event_count_limit"),
    built("link_count_limit"),
    built("event_attribute_count_limit"),
    built("link_attribute_count_limit"),
];

const EXPORTER_REQUIRED: &str = "an object whose one key names the exporter, such as otlp_grpc";

const DEFAULT_ATTRIBUTE_COUNT: u32 = 128;

impl Default for BatchConfig {
    /// The standard's defaults for `batch`.
    fn default() -> Self {
        Self {
            schedule_delay_ms: 5000,
            export_timeout_ms: 30_000,
            max_queue_size: 2048,
            max_export_batch_size: 512,
        }
    }
}

impl BatchConfig {
    /// `simple`: each span is exported when it ends, and queues only while the host takes no call.
    const SIMPLE: Self = Self {
        schedule_delay_ms: 0,
        export_timeout_ms: 30_000,
        max_queue_size: 2048,
        max_export_batch_size: 1,
    };
}

/// `attribute_limits`: what `tracer_provider.limits` falls back to.
#[derive(Clone, Copy, Default)]
pub(super) struct AttributeLimits {
    value_length: Option<u32>,
    count: Option<u32>,
}

/// Reads `attribute_limits`.
pub(super) fn read_attribute_limits(reader: &Reader<'_>) -> AttributeLimits {
    reader
        .object(ATTRIBUTE_LIMITS_KEYS)
        .map(|object| attribute_limits_in(&object))
        .unwrap_or_default()
}

fn attribute_limits_in(object: &Object<'_>) -> AttributeLimits {
    AttributeLimits {
        value_length: object.integer("attribute_value_length_limit", 0..=u32::MAX),
        count: object.integer("attribute_count_limit", 0..=u32::MAX),
    }
}

/// Reads `tracer_provider`.
pub(super) fn read(
    reader: &Reader<'_>,
    general: AttributeLimits,
    clusters: &Clusters,
) -> Option<TracerConfig> {
    let object = reader.object(KEYS)?;
    let processors = object
        .required("processors", "a list of processors")
        .and_then(|list| list.list(1))
        .unwrap_or_default()
        .iter()
        .filter_map(|entry| read_processor(entry, clusters))
        .collect();
    let sampler = object
        .optional("sampler")
        .and_then(|value| sampler::read(&value))
        .unwrap_or_default();
    if let Some((_, settings)) = object
        .optional("id_generator")
        .and_then(|value| value.component("id generator", ID_GENERATORS))
    {
        settings.object_or_null(&[]);
    }
    let limits = object
        .optional("limits")
        .map(|value| read_span_limits(&value))
        .unwrap_or_default();
    Some(TracerConfig {
        sampler,
        processors,
        limits: SpanLimits {
            attribute_value_length: limits.value_length.or(general.value_length),
            attribute_count: limits
                .count
                .or(general.count)
                .unwrap_or(DEFAULT_ATTRIBUTE_COUNT),
        },
    })
}

/// The limits on events and links are checked and change nothing: the spans have neither.
fn read_span_limits(reader: &Reader<'_>) -> AttributeLimits {
    let Some(object) = reader.object(SPAN_LIMITS_KEYS) else {
        return AttributeLimits::default();
    };
    for key in [
        "event_count_limit",
        "link_count_limit",
        "event_attribute_count_limit",
        "link_attribute_count_limit",
    ] {
        object.integer(key, 0..=u32::MAX);
    }
    attribute_limits_in(&object)
}

fn read_processor(reader: &Reader<'_>, clusters: &Clusters) -> Option<ProcessorConfig> {
    let (name, settings) = reader.component("span processor", PROCESSORS)?;
    let (object, batch) = if name == "batch" {
        let object = settings.object(BATCH_KEYS)?;
        let batch = read_batch(&object);
        (object, batch)
    } else {
        (settings.object(SIMPLE_KEYS)?, BatchConfig::SIMPLE)
    };
    let exporter = object.required("exporter", EXPORTER_REQUIRED)?;
    Some(ProcessorConfig {
        batch,
        exporter: exporter::read(&exporter, clusters)?,
    })
}

/// A batch that was asked for has to fit in the queue (trace SDK, "Batching processor"); the default one shrinks
/// to it.
fn read_batch(object: &Object<'_>) -> BatchConfig {
    let default = BatchConfig::default();
    let max_queue_size = object
        .integer("max_queue_size", 1..=u32::MAX)
        .unwrap_or(default.max_queue_size);
    let asked = object.integer("max_export_batch_size", 1..=u32::MAX);
    if let Some((asked, value)) = asked.zip(object.nullable("max_export_batch_size"))
        && asked > max_queue_size
    {
        value.report(Problem::Conflict {
            found: value.found(),
            allowed: format!("at most max_queue_size, which is {max_queue_size}"),
        });
    }
    BatchConfig {
        schedule_delay_ms: object
            .integer("schedule_delay", 0..=u32::MAX)
            .unwrap_or(default.schedule_delay_ms),
        export_timeout_ms: object
            .integer("export_timeout", 0..=u32::MAX)
            .unwrap_or(default.export_timeout_ms),
        max_queue_size,
        max_export_batch_size: asked
            .unwrap_or(default.max_export_batch_size)
            .min(max_queue_size),
    }
}
