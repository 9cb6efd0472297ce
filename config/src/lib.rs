//! meshspan's configuration: OpenTelemetry's declarative configuration in JSON, checked into types that the logic can
//! rely on. Raw JSON is not checked configuration: only [`Config::from_json`] makes a [`Config`].
//!
//! Source: the JSON Schema of opentelemetry-configuration 1.1.0, and "Configuration Data Model" of the
//! OpenTelemetry specification. The schema lets unknown keys stand at the top; here they are errors everywhere,
//! because a mistyped key that is silently ignored is worse than a refused configuration.
//!
//! The crate is compiled for size, because it runs once for each configuration. What the logic uses while traffic
//! passes is marked `#[inline]` here: such a function is compiled where it is used, and for speed there.
//!
//! The words that configuration and logic share (attributes, signals, instruments, detectors, patterns) are here too.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::todo,
    clippy::unimplemented,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects
    )
)]

mod adaptive;
pub mod attribute;
mod checked;
mod composite;
mod detector;
mod endpoint;
mod error;
mod exporter;
mod force;
mod glob;
mod grpc_method;
mod instrument;
mod instrumentation;
mod jaeger_remote;
pub mod json;
mod keep;
mod logger;
mod logs;
mod masking;
mod meshspan;
mod meter;
mod metrics;
mod ordered;
mod pairs;
pub mod pattern;
pub mod percent;
mod propagator;
mod protobuf_struct;
mod rate_limiting;
mod reader;
mod resource;
mod response;
mod sampler;
pub mod semconv;
pub mod short;
pub mod signal;
mod sorted_map;
#[cfg(test)]
mod testing;
mod token;
mod tracer;
mod treatment;
mod view;
mod wildcard;
pub mod wire;

pub use adaptive::AdaptiveConfig;
pub use checked::*;
pub use composite::{
    AttributePatternsConfig, AttributeValuesConfig, ComposableConfig, RuleConfig, SpanKindConfig, SpanParentConfig,
    StartAttribute,
};
pub use detector::Detector;
pub use error::{ConfigError, ConfigErrors, JsonPath, Problem};
pub use force::{ForceConfig, ForceKind};
pub use glob::Glob;
pub use grpc_method::{GrpcMethod, LONGEST_METHOD};
pub use instrument::{Definition, Instrument, InstrumentKind};
pub use jaeger_remote::JaegerRemoteConfig;
pub use keep::KeepConfig;
pub use logs::{LogRule, LogsConfig};
pub use masking::{DetectorActions, FieldRule, HashKey, MaskingConfig, MaskingMode, PatternRule};
pub use meshspan::validate_route_template;
pub use meter::{
    CardinalityLimits, DefaultHistogram, ExemplarFilter, MeterConfig, MetricReaderConfig, TemporalityPreference,
};
pub use metrics::{MetricsConfig, PrometheusConfig, ServiceGraphConfig, UpstreamConfig, UpstreamKind};
pub use pattern::{MOST_PATTERN_BYTES, MOST_PATTERNS, Pattern};
pub use rate_limiting::RateLimitingConfig;
pub use response::ResponseConfig;
pub use sorted_map::SortedMap;
pub use token::is_token_byte;
pub use treatment::{Action, KeptEnds, Treatment};
pub use view::{AggregationConfig, AttributeKeysConfig, EXPONENTIAL_SCALE, EXPONENTIAL_SIZE, ViewConfig};
pub use wildcard::Wildcard;

/// The version of this build: the package version and, where it is known, the commit.
pub const VERSION: &str = env!("MESHSPAN_VERSION");

/// The instrumentation scope's name.
pub const SCOPE_NAME: &str = "meshspan";

use reader::{Key, Object, Reader, Sink, built};

const KEYS: &[Key] = &[
    built("file_format"),
    built("disabled"),
    built("log_level"),
    built("attribute_limits"),
    built("resource"),
    built("propagator"),
    built("tracer_provider"),
    built("meter_provider"),
    built("logger_provider"),
    built("instrumentation/development"),
    built("distribution"),
];

const FILE_FORMATS: &[&str] = &["1.0", "1.1"];

const LOG_LEVELS: &[(&str, LogLevel)] = &[
    ("trace", LogLevel::Trace),
    ("trace2", LogLevel::Trace),
    ("trace3", LogLevel::Trace),
    ("trace4", LogLevel::Trace),
    ("debug", LogLevel::Debug),
    ("debug2", LogLevel::Debug),
    ("debug3", LogLevel::Debug),
    ("debug4", LogLevel::Debug),
    ("info", LogLevel::Info),
    ("info2", LogLevel::Info),
    ("info3", LogLevel::Info),
    ("info4", LogLevel::Info),
    ("warn", LogLevel::Warn),
    ("warn2", LogLevel::Warn),
    ("warn3", LogLevel::Warn),
    ("warn4", LogLevel::Warn),
    ("error", LogLevel::Error),
    ("error2", LogLevel::Error),
    ("error3", LogLevel::Error),
    ("error4", LogLevel::Error),
    ("fatal", LogLevel::Critical),
    ("fatal2", LogLevel::Critical),
    ("fatal3", LogLevel::Critical),
    ("fatal4", LogLevel::Critical),
];

impl Config {
    /// The smallest useful configuration: a service's name, the formats of context, and where spans go.
    pub const SMALLEST: &str = concat!(
        r#"{"file_format": "1.1", "#,
        r#""resource": {"attributes": [{"name": "service.name", "value": "checkout"}]}, "#,
        r#""propagator": {"composite": [{"tracecontext": {}}, {"baggage": {}}]}, "#,
        r#""tracer_provider": {"processors": [{"batch": {"exporter": "#,
        r#"{"otlp_grpc": {"endpoint": "http://collector:4317"}}}}]}}"#,
    );

    /// Reads a configuration as the host hands it over: JSON text (a `google.protobuf.StringValue`), or an encoded
    /// `google.protobuf.Struct`.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    pub fn from_plugin_configuration(bytes: &[u8]) -> Result<Self, ConfigErrors> {
        // An encoded Struct is never JSON: a control byte follows its first key.
        let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
        match protobuf_struct::to_json(bytes) {
            Some(json) if !bytes.is_empty() && !is_json() => Self::from_json(&json),
            _ => Self::from_json(bytes),
        }
    }

    /// Reads a configuration: UTF-8 JSON text.
    ///
    /// # Errors
    /// All that is wrong with it, at once and in document order; a text that is not JSON has one error.
    pub fn from_json(text: &[u8]) -> Result<Self, ConfigErrors> {
        if text.trim_ascii().is_empty() {
            return Err(at_root(Problem::Empty));
        }
        let document = json::parse(text).map_err(|error| at_root(syntax(&error)))?;
        let sink = Sink::default();
        let config = Reader::document(&document, &sink).object(KEYS).map(|object| read(&object));
        match (sink.into_errors(), config) {
            (None, Some(config)) => Ok(config),
            (Some(errors), _) => Err(errors),
            // A document that is no object has been reported.
            (None, None) => Err(at_root(Problem::Empty)),
        }
    }
}

fn at_root(problem: Problem) -> ConfigErrors {
    ConfigErrors::new(vec![ConfigError { path: JsonPath::root(), problem }], 1)
}

fn syntax(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    // The parser repeats the place at the end of its message.
    let message = short::split_once(&text, " at line ").map_or(text.as_str(), |(message, _)| message).to_owned();
    Problem::Syntax { line: error.line(), column: error.column(), message }
}

fn read(object: &Object<'_>) -> Config {
    if let Some(version) = object.required("file_format", "\"1.0\" or \"1.1\"") {
        check_file_format(&version);
    }
    let meshspan = object.optional("distribution").map(|value| meshspan::read(&value)).unwrap_or_default();
    let attribute_limits =
        object.optional("attribute_limits").map(|value| tracer::read_attribute_limits(&value)).unwrap_or_default();
    let logger = object.optional("logger_provider").and_then(|value| logger::read(&value, attribute_limits, &meshspan));
    logs::check_destination(object, meshspan.logs);
    Config {
        disabled: object.nullable("disabled").and_then(|value| value.boolean()).unwrap_or(false),
        log_level: object.nullable("log_level").and_then(|value| value.one_of(LOG_LEVELS)).unwrap_or(LogLevel::Info),
        resource: object.optional("resource").map(|value| resource::read(&value)).unwrap_or_default(),
        propagators: object.optional("propagator").map(|value| propagator::read(&value)).unwrap_or_default(),
        tracer: object.optional("tracer_provider").and_then(|value| tracer::read(&value, attribute_limits, &meshspan)),
        meter: object.nullable("meter_provider").and_then(|value| meter::read(&value, &meshspan)),
        logger,
        instrumentation: object
            .optional("instrumentation/development")
            .map(|value| instrumentation::read(&value))
            .unwrap_or_default(),
        meshspan,
    }
}

/// The format is known by major and minor version. Pre-releases ("1.0-rc.2") had keys of their own.
fn check_file_format(reader: &Reader<'_>) {
    if !reader.is_string() {
        return reader.wrong_type("a string, in quotes: \"1.0\" or \"1.1\"").unwrap_or_default();
    }
    let Some(version) = reader.text() else { return };
    if FILE_FORMATS.contains(&version.as_str()) {
        return;
    }
    let release = version.split_once(['-', '+']).map(|(release, _)| release);
    reader.report_malformed(match release {
        Some(release) if FILE_FORMATS.contains(&release) => "a released format, \"1.0\" or \"1.1\", without a meta tag",
        _ => "a format that this version knows: \"1.0\" or \"1.1\"",
    });
}
