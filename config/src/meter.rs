//! `meter_provider`: readers and the exemplar filter. Views have a file of their own.

use crate::InstrumentKind;
use crate::reader::{Key, Object, Reader, built, not_offered};
use crate::view::{self, ViewConfig};
use crate::{ExporterConfig, MeshspanConfig, exporter};

/// `meter_provider`.
#[derive(Clone, Debug, PartialEq)]
pub struct MeterConfig {
    /// `readers`, at least one.
    pub readers: Vec<MetricReaderConfig>,
    /// `views`, in the order in which they stand.
    pub views: Vec<ViewConfig>,
    /// `exemplar_filter`.
    pub exemplar_filter: ExemplarFilter,
}

/// A `periodic` reader.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricReaderConfig {
    /// `interval`, ms; default 60000. At least a tick passes.
    pub interval_ms: u32,
    /// `timeout`, ms; default 30000; 0: no limit.
    pub timeout_ms: u32,
    /// `max_export_batch_size/development`: data points of one request; `None`: no limit.
    pub max_export_batch_size: Option<u32>,
    /// `exporter`.
    pub exporter: ExporterConfig,
    /// The exporter's `temporality_preference`.
    pub temporality: TemporalityPreference,
    /// The exporter's `default_histogram_aggregation`.
    pub default_histogram: DefaultHistogram,
    /// `cardinality_limits`; default 2000 each.
    pub cardinality: CardinalityLimits,
}

/// `temporality_preference` (OTLP Metrics Exporter, "Additional Environment Variable Configuration").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TemporalityPreference {
    /// `cumulative`, the default: all since the start.
    #[default]
    Cumulative,
    /// `delta`: all since the last collection; up-down counters since the start.
    Delta,
    /// `low_memory`: for the instruments that there are, the same as `delta`.
    LowMemory,
}

/// `default_histogram_aggregation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultHistogram {
    /// `explicit_bucket_histogram`, the default, with the boundaries that the instrument advises.
    #[default]
    Explicit,
    /// `base2_exponential_bucket_histogram`.
    Exponential,
}

/// `exemplar_filter`: which measurements may become exemplars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExemplarFilter {
    /// `trace_based`, the default: those of a sampled span.
    #[default]
    TraceBased,
    /// `always_on`: all.
    AlwaysOn,
    /// `always_off`: none.
    AlwaysOff,
}

/// How many series a metric may have, the overflow series among them, by the instrument's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardinalityLimits {
    /// Of a counter.
    pub counter: u32,
    /// Of an up-down counter.
    pub up_down_counter: u32,
    /// Of a histogram.
    pub histogram: u32,
}

impl CardinalityLimits {
    /// That for instruments of one kind.
    pub const fn of(&self, kind: InstrumentKind) -> u32 {
        match kind {
            InstrumentKind::Counter => self.counter,
            InstrumentKind::UpDownCounter => self.up_down_counter,
            InstrumentKind::Histogram => self.histogram,
        }
    }
}

const KEYS: &[Key] = &[
    built("readers"),
    built("views"),
    built("exemplar_filter"),
    not_offered(
        "meter_configurator/development",
        "a proxy has one meter: leave out $.meter_provider to switch it off, or a metric by a view with the \
         aggregation drop",
    ),
];

const READERS: &[Key] = &[
    built("periodic"),
    not_offered(
        "pull",
        "a filter opens no port: Envoy's own /stats/prometheus shows the same metrics \
         (distribution.meshspan.metrics), or use a periodic reader",
    ),
];

const PERIODIC_KEYS: &[Key] = &[
    built("interval"),
    built("timeout"),
    built("max_export_batch_size/development"),
    built("exporter"),
    built("cardinality_limits"),
    not_offered("producers", "a proxy has no other source of metrics; leave it out"),
];

const CARDINALITY_KEYS: &[Key] = &[
    built("default"),
    built("counter"),
    built("up_down_counter"),
    built("histogram"),
    built("gauge"),
    built("observable_counter"),
    built("observable_gauge"),
    built("observable_up_down_counter"),
];

const EXEMPLAR_FILTERS: &[(&str, ExemplarFilter)] = &[
    ("trace_based", ExemplarFilter::TraceBased),
    ("always_on", ExemplarFilter::AlwaysOn),
    ("always_off", ExemplarFilter::AlwaysOff),
];

const EXPORTER_REQUIRED: &str = "an object whose one key names the exporter, such as otlp_grpc";

const DEFAULT_INTERVAL_MS: u32 = 60_000;

const DEFAULT_TIMEOUT_MS: u32 = 30_000;

/// The specification's cardinality limit.
const DEFAULT_SERIES: u32 = 2_000;

/// How many readers there may be: each keeps series of its own.
const MOST_READERS: usize = 8;

/// Reads `meter_provider`.
pub(crate) fn read(reader: &Reader<'_>, meshspan: &MeshspanConfig) -> Option<MeterConfig> {
    let object = reader.object(KEYS)?;
    let entries = object.required("readers", "a list of readers").and_then(|list| {
        let entries = list.list(1)?;
        if entries.len() > MOST_READERS {
            list.report(crate::Problem::TooManyItems { found: entries.len(), most: MOST_READERS });
        }
        Some(entries)
    });
    let readers = entries.unwrap_or_default().iter().filter_map(|entry| read_reader(entry, meshspan)).collect();
    let views = object.nullable("views").map(|list| view::read(&list)).unwrap_or_default();
    let exemplar_filter =
        object.nullable("exemplar_filter").and_then(|filter| filter.one_of(EXEMPLAR_FILTERS)).unwrap_or_default();
    Some(MeterConfig { readers, views, exemplar_filter })
}

fn read_reader(reader: &Reader<'_>, meshspan: &MeshspanConfig) -> Option<MetricReaderConfig> {
    let (_, settings) = reader.component("metric reader", READERS)?;
    let object = settings.object(PERIODIC_KEYS)?;
    let interval_ms = object.integer("interval", 0..=u32::MAX).unwrap_or(DEFAULT_INTERVAL_MS);
    let timeout_ms = object.integer("timeout", 0..=u32::MAX).unwrap_or(DEFAULT_TIMEOUT_MS);
    let max_export_batch_size = object.integer("max_export_batch_size/development", 1..=u32::MAX);
    let cardinality = read_cardinality(&object);
    let exporter = object.required("exporter", EXPORTER_REQUIRED)?;
    let (exporter, settings) = exporter::read_metrics(&exporter, &meshspan.clusters)?;
    Some(MetricReaderConfig {
        interval_ms,
        timeout_ms,
        max_export_batch_size,
        exporter,
        temporality: settings.temporality,
        default_histogram: settings.default_histogram,
        cardinality,
    })
}

/// Limits for kinds of instruments that the filter does not have are checked and change nothing.
fn read_cardinality(object: &Object<'_>) -> CardinalityLimits {
    let limits = object.nullable("cardinality_limits").and_then(|limits| limits.object(CARDINALITY_KEYS));
    let limit = |key| limits.as_ref().and_then(|limits| limits.integer(key, SERIES));
    for key in ["gauge", "observable_counter", "observable_gauge", "observable_up_down_counter"] {
        limit(key);
    }
    let default = limit("default").unwrap_or(DEFAULT_SERIES);
    CardinalityLimits {
        counter: limit("counter").unwrap_or(default),
        up_down_counter: limit("up_down_counter").unwrap_or(default),
        histogram: limit("histogram").unwrap_or(default),
    }
}

/// How many series a metric may be allowed: a hundred thousand are some 60 MiB.
pub(crate) const SERIES: core::ops::RangeInclusive<u32> = 1..=100_000;

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::testing::{accepted, rejected_for};
    use crate::{Compression, OtlpProtocol};

    fn with(reader: &str) -> String {
        format!(r#""meter_provider": {{"readers": [{reader}]}}"#)
    }

    fn reader(text: &str) -> MetricReaderConfig {
        accepted(&with(text)).meter.unwrap().readers.remove(0)
    }

    #[test]
    fn readers_have_the_standards_defaults() {
        let read = reader(r#"{"periodic": {"exporter": {"otlp_http": null}}}"#);
        assert_eq!((read.interval_ms, read.timeout_ms, read.max_export_batch_size), (60_000, 30_000, None));
        assert_eq!(read.exporter.endpoint.url, "http://localhost:4318/v1/metrics");
        assert_eq!(
            (read.exporter.protocol, read.exporter.compression),
            (OtlpProtocol::HttpProtobuf, Compression::None)
        );
        assert_eq!((read.temporality, read.default_histogram), Default::default());
        assert_eq!(read.cardinality, CardinalityLimits { counter: 2_000, up_down_counter: 2_000, histogram: 2_000 });
        let read = reader(r#"{"periodic": {"exporter": {"otlp_grpc": {}}}}"#);
        assert_eq!(read.exporter.endpoint.url, "http://localhost:4317");
        let config = accepted(&with(r#"{"periodic": {"exporter": {"otlp_grpc": {}}}}"#)).meter.unwrap();
        assert_eq!(config.exemplar_filter, ExemplarFilter::TraceBased);
        assert!(config.views.is_empty());
    }

    #[test]
    fn everything_can_be_said() {
        let read = reader(
            r#"{"periodic": {"interval": 1000, "timeout": 0, "max_export_batch_size/development": 100,
                "cardinality_limits": {"default": 50, "histogram": 70, "gauge": 1},
                "exporter": {"otlp_grpc": {"endpoint": "http://collector:4317", "temporality_preference": "delta",
                    "default_histogram_aggregation": "base2_exponential_bucket_histogram"}}}}"#,
        );
        assert_eq!((read.interval_ms, read.timeout_ms, read.max_export_batch_size), (1_000, 0, Some(100)));
        assert_eq!(read.temporality, TemporalityPreference::Delta);
        assert_eq!(read.default_histogram, DefaultHistogram::Exponential);
        assert_eq!(read.cardinality, CardinalityLimits { counter: 50, up_down_counter: 50, histogram: 70 });
        assert_eq!(read.cardinality.of(InstrumentKind::Histogram), 70);
        let text = r#""meter_provider": {"exemplar_filter": "always_off", "readers": [{"periodic": {
                "cardinality_limits": {"counter": 5}, "exporter": {"otlp_http": {"temporality_preference": "low_memory"}}}}]}"#;
        let config = accepted(text).meter.unwrap();
        assert_eq!(config.exemplar_filter, ExemplarFilter::AlwaysOff);
        assert_eq!(config.readers[0].temporality, TemporalityPreference::LowMemory);
        let expected = CardinalityLimits { counter: 5, up_down_counter: 2_000, histogram: 2_000 };
        assert_eq!(config.readers[0].cardinality, expected, "the default where nothing else says it");
    }

    #[test]
    fn wrong_readers_are_errors() {
        let cases = [
            (r#"{"pull": {}}"#, ".pull", "/stats/prometheus", "no port"),
            (r#"{"push": {}}"#, ".push", "no such metric reader; allowed: periodic", "unknown"),
            (r#"{"periodic": {}}"#, ".periodic", "\"exporter\" is missing", "no exporter"),
            (
                r#"{"periodic": {"exporter": {"console": {}}}}"#,
                ".periodic.exporter.console",
                "a filter has no console",
                "no console",
            ),
            (
                r#"{"periodic": {"exporter": {"otlp_file/development": {}}}}"#,
                ".periodic.exporter[\"otlp_file/development\"]",
                "file exporter",
                "no files",
            ),
            (
                r#"{"periodic": {"interval": -1, "exporter": {"otlp_grpc": {}}}}"#,
                ".periodic.interval",
                "from 0",
                "negative",
            ),
            (
                r#"{"periodic": {"producers": [{"opencensus": {}}], "exporter": {"otlp_grpc": {}}}}"#,
                ".periodic.producers",
                "no other source",
                "producers",
            ),
            (
                r#"{"periodic": {"cardinality_limits": {"default": 0}, "exporter": {"otlp_grpc": {}}}}"#,
                ".periodic.cardinality_limits.default",
                "found 0, out of range; allowed is an integer from 1",
                "a cap of nothing",
            ),
            (
                r#"{"periodic": {"cardinality_limits": {"observable_gauge": 0}, "exporter": {"otlp_grpc": {}}}}"#,
                ".periodic.cardinality_limits.observable_gauge",
                "from 1",
                "checked all the same",
            ),
            (
                r#"{"periodic": {"exporter": {"otlp_grpc": {"temporality_preference": "lowmemory"}}}}"#,
                ".periodic.exporter.otlp_grpc.temporality_preference",
                "did you mean \"low_memory\"",
                "the environment variable's word",
            ),
            (
                r#"{"periodic": {"exporter": {"otlp_http": {"default_histogram_aggregation": "sum"}}}}"#,
                ".periodic.exporter.otlp_http.default_histogram_aggregation",
                "allowed: explicit_bucket_histogram, base2_exponential_bucket_histogram",
                "no histogram",
            ),
        ];
        for (text, place, words, why) in cases {
            rejected_for(&with(text), &format!("$.meter_provider.readers[0]{place}"), words, why);
        }
        let cases = [
            (r#""meter_provider": {}"#, "$.meter_provider", "\"readers\" is missing", "none"),
            (r#""meter_provider": {"readers": []}"#, "$.meter_provider.readers", "at least 1", "empty"),
        ];
        for (text, place, words, why) in cases {
            rejected_for(text, place, words, why);
        }
    }
}
