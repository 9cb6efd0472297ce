//! What a configuration says once it has been checked. Every value here is in range.

use crate::SortedMap;

use crate::adaptive::AdaptiveConfig;
use crate::attribute::Attribute;
use crate::composite::ComposableConfig;
use crate::force::ForceConfig;
use crate::jaeger_remote::JaegerRemoteConfig;
use crate::keep::KeepConfig;
use crate::logs::LogsConfig;
use crate::masking::MaskingConfig;
use crate::meter::MeterConfig;
use crate::metrics::MetricsConfig;
use crate::rate_limiting::RateLimitingConfig;
use crate::response::ResponseConfig;

/// `HOST:PORT` to the name of an Envoy cluster.
pub type Clusters = SortedMap<String, String>;

/// A whole, valid configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `disabled`: the filter passes everything through untouched.
    pub disabled: bool,
    /// `log_level`: the least severity of the filter's own log lines.
    pub log_level: LogLevel,
    /// `resource`.
    pub resource: ResourceConfig,
    /// `propagator`: each format once, in order of preference. Empty: no context is read or written.
    pub propagators: Vec<PropagatorKind>,
    /// `tracer_provider`. `None`: a no-op tracer, and headers pass untouched.
    pub tracer: Option<TracerConfig>,
    /// `meter_provider`. `None`: no metrics are exported.
    pub meter: Option<MeterConfig>,
    /// `logger_provider`. `None`: no log records are exported.
    pub logger: Option<LoggerConfig>,
    /// `instrumentation/development.general`.
    pub instrumentation: InstrumentationConfig,
    /// `distribution.meshspan`.
    pub meshspan: MeshspanConfig,
}

/// Severity of the filter's own log lines. The standard's 24 numbers fold into the host's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// `trace` … `trace4`.
    Trace,
    /// `debug` … `debug4`.
    Debug,
    /// `info` … `info4` (the default).
    Info,
    /// `warn` … `warn4`.
    Warn,
    /// `error` … `error4`.
    Error,
    /// `fatal` … `fatal4`.
    Critical,
}

/// `resource`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceConfig {
    /// `attributes` over `attributes_list`: one entry a name, in order of first appearance.
    pub attributes: Vec<Attribute>,
    /// `schema_url`.
    pub schema_url: Option<String>,
}

/// A format of trace context, or baggage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PropagatorKind {
    /// `tracecontext`: W3C traceparent and tracestate.
    TraceContext,
    /// `baggage`: W3C baggage.
    Baggage,
    /// `b3`: the single header.
    B3,
    /// `b3multi`: the `x-b3-*` headers.
    B3Multi,
    /// `jaeger`: `uber-trace-id`.
    Jaeger,
}

/// `tracer_provider`.
#[derive(Clone, Debug, PartialEq)]
pub struct TracerConfig {
    /// `sampler`.
    pub sampler: SamplerConfig,
    /// `processors`, at least one.
    pub processors: Vec<ProcessorConfig>,
    /// `limits`, with `attribute_limits` where it has none of its own.
    pub limits: SpanLimits,
}

/// `logger_provider`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggerConfig {
    /// `processors`, at least one.
    pub processors: Vec<ProcessorConfig>,
    /// `limits`, with `attribute_limits` where it has none of its own. They hold beside those of spans.
    pub limits: SpanLimits,
}

/// Caps on what one span, or one log record, holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanLimits {
    /// Characters of a string value (or of each string in an array); `None`: no limit.
    pub attribute_value_length: Option<u32>,
    /// Attributes of a span; default 128.
    pub attribute_count: u32,
    /// `distribution.meshspan.limits.max_attribute_bytes`: all encoded attributes of a span together; default 64 KiB.
    pub attribute_bytes: u32,
}

impl Default for SpanLimits {
    fn default() -> Self {
        Self {
            attribute_value_length: None,
            attribute_count: 128,
            attribute_bytes: LimitsConfig::default().max_attribute_bytes,
        }
    }
}

/// A sampler of the standard that this version builds.
#[derive(Clone, Debug, PartialEq)]
pub enum SamplerConfig {
    /// `always_on`.
    AlwaysOn,
    /// `always_off`.
    AlwaysOff,
    /// `trace_id_ratio_based`.
    TraceIdRatioBased {
        /// Between 0 and 1, both allowed.
        ratio: f64,
    },
    /// `parent_based`.
    ParentBased(Box<ParentBasedConfig>),
    /// `probability/development`.
    Probability {
        /// Between 0 and 1, both allowed.
        ratio: f64,
    },
    /// `composite/development`.
    Composite(Box<ComposableConfig>),
    /// `rate_limiting`, which is our own.
    RateLimiting(RateLimitingConfig),
    /// `adaptive`, which is our own.
    Adaptive(AdaptiveConfig),
    /// `jaeger_remote/development`.
    JaegerRemote(Box<JaegerRemoteConfig>),
}

/// The five branches of `parent_based`, with the standard's defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct ParentBasedConfig {
    /// For a span without a parent.
    pub root: SamplerConfig,
    /// The parent came over the wire and was sampled.
    pub remote_parent_sampled: SamplerConfig,
    /// The parent came over the wire and was not sampled.
    pub remote_parent_not_sampled: SamplerConfig,
    /// The parent is a span of this proxy and was sampled.
    pub local_parent_sampled: SamplerConfig,
    /// The parent is a span of this proxy and was not sampled.
    pub local_parent_not_sampled: SamplerConfig,
}

/// One entry of `processors`.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessorConfig {
    /// When and how much is exported at once.
    pub batch: BatchConfig,
    /// To where.
    pub exporter: ExporterConfig,
}

/// The timing of a processor. `simple` is a batch of one with no delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchConfig {
    /// `schedule_delay`, ms; default 5000. 0 for `simple`.
    pub schedule_delay_ms: u32,
    /// `export_timeout`, ms; default 30000; 0: no limit.
    pub export_timeout_ms: u32,
    /// `max_queue_size`, spans; default 2048, at least 1.
    pub max_queue_size: u32,
    /// `max_export_batch_size`, spans; default 512, at least 1 and never above the queue.
    pub max_export_batch_size: u32,
}

/// An OTLP exporter.
#[derive(Clone, Debug, PartialEq)]
pub struct ExporterConfig {
    /// The channel and its encoding.
    pub protocol: OtlpProtocol,
    /// Where to.
    pub endpoint: Endpoint,
    /// `headers` over `headers_list`; names in lower case, each once.
    pub headers: Vec<(String, String)>,
    /// `compression`.
    pub compression: Compression,
    /// `timeout`, ms; default 10000; 0: no limit.
    pub timeout_ms: u32,
}

/// How OTLP travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// `otlp_grpc`.
    Grpc,
    /// `otlp_http` with `encoding: protobuf`.
    HttpProtobuf,
    /// `otlp_http` with `encoding: json`.
    HttpJson,
}

/// `compression`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// `none`, the default.
    None,
    /// `gzip`.
    Gzip,
}

/// An endpoint, resolved to the Envoy cluster that reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The endpoint as configured or by default.
    pub url: String,
    /// The Envoy cluster: mapped by `distribution.meshspan.clusters`, derived from a `.svc` host, or the host.
    pub cluster: String,
    /// `HOST:PORT`, what `:authority` says.
    pub authority: String,
    /// `http` or `https`: what `:scheme` says. TLS itself is the cluster's.
    pub scheme: &'static str,
    /// HTTP: the request path, with the endpoint's own path in front of nothing else. gRPC: the prefix before
    /// the service name, empty or starting with `/` and not ending with one.
    pub path: String,
}

/// `instrumentation/development.general`, as far as it concerns spans.
#[derive(Clone, Debug, PartialEq)]
pub struct InstrumentationConfig {
    /// `http.server`.
    pub http_server: HttpInstrumentation,
    /// `http.client`.
    pub http_client: HttpInstrumentation,
    /// Which HTTP attribute names are emitted (`http.semconv`, else `stability_opt_in_list`).
    pub http_semconv: HttpSemconv,
    /// Which RPC attribute names are emitted (`rpc.semconv`, else `stability_opt_in_list`).
    pub rpc_semconv: RpcSemconv,
    /// `sanitization.url.sensitive_query_parameters`, or the conventions' default list.
    pub sensitive_query_parameters: Vec<String>,
}

/// One side of `general.http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpInstrumentation {
    /// Lower-case names, each once.
    pub request_captured_headers: Vec<String>,
    /// Lower-case names, each once.
    pub response_captured_headers: Vec<String>,
    /// Case-sensitive; by default the conventions' list.
    pub known_methods: Vec<String>,
}

/// Which generation of HTTP attribute names spans carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpSemconv {
    /// The stable names only: the default, and `http`.
    Stable,
    /// Stable and legacy names: `http/dup`.
    Duplicate,
}

/// Which generation of RPC attribute names spans carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcSemconv {
    /// The stable names only: the default, and `rpc`.
    Stable,
    /// Stable and legacy names: `rpc/dup`.
    Duplicate,
    /// The legacy names only: version 0.
    Legacy,
}

impl RpcSemconv {
    /// Whether the names of version 1 are emitted.
    pub const fn is_stable(self) -> bool {
        matches!(self, Self::Stable | Self::Duplicate)
    }

    /// Whether the names from before version 1 are emitted.
    pub const fn is_legacy(self) -> bool {
        matches!(self, Self::Legacy | Self::Duplicate)
    }
}

/// `distribution.meshspan`.
#[derive(Clone, Debug, PartialEq)]
pub struct MeshspanConfig {
    /// `role`.
    pub role: Role,
    /// `clusters`: `HOST:PORT` to cluster name.
    pub clusters: Clusters,
    /// `routes`: path templates such as `/users/{id}`, in order of preference.
    pub routes: Vec<String>,
    /// `inject`.
    pub inject: Inject,
    /// `rpc.known_methods`: `package.Service/Method` or `package.Service/*`, each once; `None` to learn them.
    pub known_rpc_methods: Option<Vec<String>>,
    /// `limits`.
    pub limits: LimitsConfig,
    /// `keep`.
    pub keep: Option<KeepConfig>,
    /// `logs`. Without it, [`LogsConfig::default`] says what a `logger_provider` gets.
    pub logs: Option<LogsConfig>,
    /// `force`.
    pub force: Option<ForceConfig>,
    /// `baggage_attributes`: baggage keys that become span attributes `baggage.KEY`.
    pub baggage_attributes: Vec<String>,
    /// `masking`.
    pub masking: MaskingConfig,
    /// `response`.
    pub response: ResponseConfig,
    /// `metrics`.
    pub metrics: MetricsConfig,
}

/// What bounds memory, beside the standard's own limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// `max_queue_bytes`: encoded spans waiting in one processor's queue, a worker; default 4 MiB.
    pub max_queue_bytes: u32,
    /// `max_request_size`: one export request in protobuf, uncompressed, bytes; default 1 MiB.
    pub max_request_size: u32,
    /// `max_in_flight`: requests of one exporter under way at once, a worker; default 1.
    pub max_in_flight: u32,
    /// `max_attribute_bytes`: encoded attributes of one span; default 64 KiB.
    pub max_attribute_bytes: u32,
    /// `max_retry_age`: how long after its first try a batch is tried again, ms; default one minute; 0: never.
    pub max_retry_age_ms: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_queue_bytes: 4 << 20,
            max_request_size: 1 << 20,
            max_in_flight: 1,
            max_attribute_bytes: 64 << 10,
            max_retry_age_ms: 60_000,
        }
    }
}

/// How context reaches the upstream request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inject {
    /// The filter writes the request's headers. Envoy then routes the request again.
    Headers,
    /// The filter sets filter state, and the route configuration writes the headers from it, after routing.
    FilterState,
}

/// Which spans a stream becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// By the listener's traffic direction: outbound is client; inbound and unspecified are server.
    Auto,
    /// One SERVER span.
    Server,
    /// One CLIENT span.
    Client,
    /// A SERVER span and a CLIENT child, whose id goes upstream.
    Gateway,
}
