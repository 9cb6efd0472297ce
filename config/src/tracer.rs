//! `tracer_provider` and `attribute_limits`.

use crate::error::Problem;
use crate::reader::{Key, Object, Reader, built, not_offered};
use crate::signal::Signal;
use crate::{BatchConfig, Clusters, MeshspanConfig, ProcessorConfig, SpanLimits, TracerConfig, exporter, sampler};

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

const LOG_PROCESSORS: &[Key] = &[
    built("batch"),
    built("simple"),
    not_offered("event_to_span_event_bridge/development", "the spans carry what their log records say: leave it out"),
];

const BATCH_KEYS: &[Key] = &[
    built("schedule_delay"),
    built("export_timeout"),
    built("max_queue_size"),
    built("max_export_batch_size"),
    built("exporter"),
];

const SIMPLE_KEYS: &[Key] = &[built("exporter")];

const ID_GENERATORS: &[Key] = &[built("random")];

const ATTRIBUTE_LIMITS_KEYS: &[Key] = &[built("attribute_value_length_limit"), built("attribute_count_limit")];

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
        Self { schedule_delay_ms: 5000, export_timeout_ms: 30_000, max_queue_size: 2048, max_export_batch_size: 512 }
    }
}

impl BatchConfig {
    /// The standard's defaults for `batch` of log records.
    const LOGS: Self =
        Self { schedule_delay_ms: 1000, export_timeout_ms: 30_000, max_queue_size: 2048, max_export_batch_size: 512 };

    /// `simple`: each item is exported when it ends, and queues only while another is on its way.
    const SIMPLE: Self =
        Self { schedule_delay_ms: 0, export_timeout_ms: 30_000, max_queue_size: 2048, max_export_batch_size: 1 };
}

/// `attribute_limits`: what `tracer_provider.limits` falls back to.
#[derive(Clone, Copy, Default)]
pub(crate) struct AttributeLimits {
    value_length: Option<u32>,
    count: Option<u32>,
}

impl AttributeLimits {
    /// These, `general` where they say nothing, and the standard's defaults for what is left.
    pub(crate) fn or(self, general: Self, meshspan: &MeshspanConfig) -> SpanLimits {
        SpanLimits {
            attribute_value_length: self.value_length.or(general.value_length),
            attribute_count: self.count.or(general.count).unwrap_or(DEFAULT_ATTRIBUTE_COUNT),
            attribute_bytes: meshspan.limits.max_attribute_bytes,
        }
    }
}

/// Reads `attribute_limits`, or the limits of log records, which are the same two.
pub(crate) fn read_attribute_limits(reader: &Reader<'_>) -> AttributeLimits {
    reader.object(ATTRIBUTE_LIMITS_KEYS).map(|object| attribute_limits_in(&object)).unwrap_or_default()
}

fn attribute_limits_in(object: &Object<'_>) -> AttributeLimits {
    AttributeLimits {
        value_length: object.integer("attribute_value_length_limit", 0..=u32::MAX),
        count: object.integer("attribute_count_limit", 0..=u32::MAX),
    }
}

/// Reads `tracer_provider`.
pub(crate) fn read(reader: &Reader<'_>, general: AttributeLimits, meshspan: &MeshspanConfig) -> Option<TracerConfig> {
    let object = reader.object(KEYS)?;
    let processors = read_processors(&object, Signal::Traces, &meshspan.clusters);
    let sampler =
        object.optional("sampler").and_then(|value| sampler::read(&value, &meshspan.clusters)).unwrap_or_default();
    if let Some((_, settings)) =
        object.optional("id_generator").and_then(|value| value.component("id generator", ID_GENERATORS))
    {
        settings.object_or_null(&[]);
    }
    let limits = object.optional("limits").map(|value| read_span_limits(&value)).unwrap_or_default();
    Some(TracerConfig { sampler, processors, limits: limits.or(general, meshspan) })
}

/// The limits on events and links are checked and change nothing: the spans have neither.
fn read_span_limits(reader: &Reader<'_>) -> AttributeLimits {
    let Some(object) = reader.object(SPAN_LIMITS_KEYS) else {
        return AttributeLimits::default();
    };
    for key in ["event_count_limit", "link_count_limit", "event_attribute_count_limit", "link_attribute_count_limit"] {
        object.integer(key, 0..=u32::MAX);
    }
    attribute_limits_in(&object)
}

/// Reads the `processors` of spans or log records.
pub(crate) fn read_processors(provider: &Object<'_>, signal: Signal, clusters: &Clusters) -> Vec<ProcessorConfig> {
    let list = provider.required("processors", "a list of processors").and_then(|list| list.list(1));
    list.unwrap_or_default().iter().filter_map(|entry| read_processor(entry, signal, clusters)).collect()
}

fn read_processor(reader: &Reader<'_>, signal: Signal, clusters: &Clusters) -> Option<ProcessorConfig> {
    let (called, kinds, default) = match signal {
        Signal::Logs => ("log record processor", LOG_PROCESSORS, BatchConfig::LOGS),
        Signal::Traces | Signal::Metrics => ("span processor", PROCESSORS, BatchConfig::default()),
    };
    let (name, settings) = reader.component(called, kinds)?;
    let (object, batch) = if name == "batch" {
        let object = settings.object(BATCH_KEYS)?;
        let batch = read_batch(&object, default);
        (object, batch)
    } else {
        (settings.object(SIMPLE_KEYS)?, BatchConfig::SIMPLE)
    };
    let exporter = object.required("exporter", EXPORTER_REQUIRED)?;
    Some(ProcessorConfig { batch, exporter: exporter::read(&exporter, signal, clusters)? })
}

/// A batch that was asked for has to fit in the queue (trace SDK, "Batching processor"); the default one shrinks
/// to it.
fn read_batch(object: &Object<'_>, default: BatchConfig) -> BatchConfig {
    let max_queue_size = object.integer("max_queue_size", 1..=u32::MAX).unwrap_or(default.max_queue_size);
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
        schedule_delay_ms: object.integer("schedule_delay", 0..=u32::MAX).unwrap_or(default.schedule_delay_ms),
        export_timeout_ms: object.integer("export_timeout", 0..=u32::MAX).unwrap_or(default.export_timeout_ms),
        max_queue_size,
        max_export_batch_size: asked.unwrap_or(default.max_export_batch_size).min(max_queue_size),
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::SpanLimits;
    use crate::testing::{accepted, rejected_at, rejected_for};
    use crate::{BatchConfig, SamplerConfig};

    const EXPORTER: &str = r#""exporter": {"otlp_grpc": {}}"#;

    fn batch(settings: &str) -> String {
        format!(r#""tracer_provider": {{"processors": [{{"batch": {{{settings}{EXPORTER}}}}}]}}"#)
    }

    fn provider(settings: &str) -> String {
        format!(r#""tracer_provider": {{{settings}"processors": [{{"simple": {{{EXPORTER}}}}}]}}"#)
    }

    #[test]
    fn processors_have_the_standards_defaults() {
        let default = BatchConfig::default();
        let cases = [
            (batch(""), default),
            (batch(r#""schedule_delay": null, "max_queue_size": null,"#), default),
            (
                batch(r#""schedule_delay": 0, "export_timeout": 0,"#),
                BatchConfig { schedule_delay_ms: 0, export_timeout_ms: 0, ..default },
            ),
            (batch(r#""schedule_delay": 250.0,"#), BatchConfig { schedule_delay_ms: 250, ..default }),
            (batch(r#""max_export_batch_size": 2048,"#), BatchConfig { max_export_batch_size: 2048, ..default }),
            // The default batch was not asked for, so it yields.
            (
                batch(r#""max_queue_size": 100,"#),
                BatchConfig { max_queue_size: 100, max_export_batch_size: 100, ..default },
            ),
            (provider(""), BatchConfig { schedule_delay_ms: 0, max_export_batch_size: 1, ..default }),
        ];
        for (text, expected) in cases {
            assert_eq!(accepted(&text).tracer.unwrap().processors[0].batch, expected, "{text}");
        }
    }

    #[test]
    fn wrong_processors_are_errors() {
        let at = "$.tracer_provider.processors[0].batch";
        let cases = [
            (r#""schedule_delay": -1,"#, ".schedule_delay", "from 0 to 4294967295", "negative"),
            (r#""schedule_delay": 5000.5,"#, ".schedule_delay", "found 5000.5", "not whole"),
            (r#""schedule_delay": "5s","#, ".schedule_delay", "found \"5s\"; allowed is an integer", "text"),
            (r#""export_timeout": 4294967296,"#, ".export_timeout", "out of range", "beyond 32 bits"),
            (r#""max_queue_size": 0,"#, ".max_queue_size", "from 1", "no queue"),
            (r#""max_export_batch_size": 0,"#, ".max_export_batch_size", "from 1", "no batch"),
            (
                r#""max_export_batch_size": 2049,"#,
                ".max_export_batch_size",
                "at most max_queue_size, which is 2048",
                "above the queue",
            ),
            (r#""max_batch_size": 1,"#, ".max_batch_size", "no such key", "unknown"),
        ];
        for (text, place, words, why) in cases {
            rejected_for(&batch(text), &format!("{at}{place}"), words, why);
        }
        rejected_at(r#""tracer_provider": {}"#, "$.tracer_provider", "\"processors\" is missing");
        rejected_at(r#""tracer_provider": {"processors": []}"#, "$.tracer_provider.processors", "at least 1");
        rejected_at(r#""tracer_provider": {"processors": [{"batch": {}}]}"#, at, "\"exporter\" is missing");
        rejected_at(r#""tracer_provider": {"processors": [{"batch": null}]}"#, at, "found null");
        rejected_at(
            r#""tracer_provider": {"processors": [{"batch": {"exporter": null}}]}"#,
            &format!("{at}.exporter"),
            "found null",
        );
        rejected_at(r#""tracer_provider": null"#, "$.tracer_provider", "found null");
    }

    #[test]
    fn the_tracers_own_limits_go_before_the_general_ones() {
        let cases = [
            (provider(""), None, 128, "defaults"),
            (
                provider(r#""limits": {"attribute_value_length_limit": 10, "attribute_count_limit": 0},"#),
                Some(10),
                0,
                "own",
            ),
            (
                format!(
                    r#""attribute_limits": {{"attribute_value_length_limit": 20, "attribute_count_limit": 30}}, {}"#,
                    provider(r#""limits": {"attribute_count_limit": 5},"#)
                ),
                Some(20),
                5,
                "one from each",
            ),
            (
                format!(
                    r#"{}, "attribute_limits": {{"attribute_count_limit": 30}}"#,
                    provider(r#""limits": {"attribute_count_limit": null},"#)
                ),
                None,
                30,
                "null falls back, and the order of sections does not matter",
            ),
        ];
        for (text, attribute_value_length, attribute_count, why) in cases {
            assert_eq!(
                accepted(&text).tracer.unwrap().limits,
                SpanLimits { attribute_value_length, attribute_count, ..SpanLimits::default() },
                "{why}"
            );
        }
    }

    #[test]
    fn limits_on_events_and_links_are_checked() {
        accepted(&provider(
            r#""limits": {"event_count_limit": 1, "link_count_limit": 0, "event_attribute_count_limit": null, "link_attribute_count_limit": 1},"#,
        ));
        rejected_at(
            &provider(r#""limits": {"link_count_limit": -1},"#),
            "$.tracer_provider.limits.link_count_limit",
            "from 0",
        );
        rejected_at(
            r#""attribute_limits": {"event_count_limit": 1}"#,
            "$.attribute_limits.event_count_limit",
            "no such key",
        );
    }

    #[test]
    fn ids_are_random_and_there_is_one_tracer() {
        accepted(&provider(r#""id_generator": {"random": {}},"#));
        rejected_at(
            &provider(r#""id_generator": {"xray": {}},"#),
            "$.tracer_provider.id_generator.xray",
            "no such id generator",
        );
        let path = "$.tracer_provider[\"tracer_configurator/development\"]";
        rejected_at(&provider(r#""tracer_configurator/development": {},"#), path, "one tracer");
        assert_eq!(accepted(&provider("")).tracer.unwrap().sampler, SamplerConfig::default());
        assert_eq!(accepted(r#""disabled": false"#).tracer, None, "a no-op tracer unless configured");
    }
}
