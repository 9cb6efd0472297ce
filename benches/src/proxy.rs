//! The Envoys that are compared: the shipped `server-minimal.yaml`, changed in nothing but addresses and what it does
//! with a request.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use meshspan_kit::config::EnvoyConfig;
use serde_json::{Value, json};

use crate::load::more_header;
use crate::sampler::Sampler;
use crate::subject::Upstream;
use crate::variant::Expected;

/// The listener of the shipped configuration that all variants are made of.
pub(crate) const LISTENER: &str = "inbound";

/// The environment variable that names the filter that does nothing.
pub(crate) const EMPTY_VARIABLE: &str = "MESHSPAN_EMPTY_WASM";

/// What an Envoy does with a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Proxy {
    /// It passes it on.
    Filterless,
    /// The same once more: what the method shows where there is nothing to see.
    Again,
    /// The smallest filter of the Rust SDK, which lets all pass (`benches/empty`).
    EmptyFilter,
    /// A Lua filter that sets `traceparent`.
    Lua,
    /// Envoy's native Zipkin tracer, everything sampled.
    Zipkin,
    /// Envoy's native OpenTelemetry tracer.
    Native {
        /// So many percent of the requests without a trace context are sampled.
        percent: f64,
        /// Whether Envoy's OTLP access log writes each request besides.
        access_log: bool,
    },
    /// The filter.
    Meshspan(Settings),
    /// The filter with a sampler that records nothing.
    Sampler(Sampler),
}

/// What the filter is configured to do, beyond the shipped file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Settings {
    /// So many percent of the requests without a trace context are sampled; `None`: there is no tracer.
    pub(crate) percent: Option<f64>,
    /// Where metrics go, if there are any.
    pub(crate) metrics: Option<MetricsWay>,
    /// Whether each request makes a log record.
    pub(crate) logs: bool,
    /// So many of the header lines that not all requests have become attributes.
    pub(crate) captured: usize,
    /// So many route templates, of which the requests follow the last.
    pub(crate) routes: usize,
    /// Whether it is the module without a callback for response headers.
    pub(crate) lean: bool,
}

/// A way out for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricsWay {
    /// A periodic reader, to the collector of the spans.
    Otlp,
    /// Envoy's statistics.
    Prometheus,
}

/// How often metrics are exported, ms: as often as spans are at the latest.
const METRICS_INTERVAL: u64 = 5_000;

impl Settings {
    /// Neither traces nor anything else.
    pub(crate) const NOTHING: Self =
        Self { percent: None, metrics: None, logs: false, captured: 0, routes: 0, lean: false };
    /// Traces, everything sampled.
    pub(crate) const TRACES: Self = Self { percent: Some(100.0), ..Self::NOTHING };
}

impl Proxy {
    /// Its name in tables.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Filterless => "no filter".to_owned(),
            Self::Again => "no filter, again (control)".to_owned(),
            Self::EmptyFilter => "empty Rust filter".to_owned(),
            Self::Lua => "Lua filter, sets traceparent".to_owned(),
            Self::Zipkin => "native tracer, Zipkin, 100 %".to_owned(),
            Self::Native { percent, access_log: false } => format!("native tracer, {percent} %"),
            Self::Native { percent, access_log: true } => format!("native tracer, {percent} %, and OTLP access log"),
            Self::Meshspan(settings) => settings.name(),
            Self::Sampler(sampler) => sampler.name().to_owned(),
        }
    }

    /// What its collector has to get of requests without a trace context.
    pub(crate) fn expected(self) -> Expected {
        let nothing = Expected { spans: 0.0, at_most: false, logs: false, metrics: None };
        match self {
            Self::Filterless | Self::Again | Self::EmptyFilter | Self::Lua => nothing,
            Self::Zipkin => Expected { spans: 1.0, ..nothing },
            Self::Native { percent, access_log } => Expected { spans: percent / 100.0, logs: access_log, ..nothing },
            Self::Meshspan(Settings { percent, metrics, logs, .. }) => {
                Expected { spans: percent.unwrap_or(0.0) / 100.0, at_most: false, logs, metrics }
            }
            Self::Sampler(sampler) => Expected { spans: sampler.most(), at_most: true, ..nothing },
        }
    }

    /// The header in which the upstream has to find a trace context, if there is to be any.
    pub(crate) fn context_header(self) -> Option<&'static str> {
        match self {
            Self::Filterless | Self::Again | Self::EmptyFilter | Self::Meshspan(Settings { percent: None, .. }) => None,
            Self::Zipkin => Some("x-b3-traceid"),
            Self::Lua | Self::Native { .. } | Self::Meshspan(_) | Self::Sampler(_) => Some("traceparent"),
        }
    }

    /// Its configuration. Everything is exported to `collector`, to Zipkin's `zipkin`.
    pub(crate) fn config(
        self,
        upstream: &Upstream,
        collector: SocketAddr,
        zipkin: SocketAddr,
    ) -> anyhow::Result<EnvoyConfig> {
        let config = EnvoyConfig::shipped("server-minimal.yaml")?
            .local()
            .cluster("application", upstream.address()?)
            .cluster("collector", collector);
        Ok(match self {
            Self::Filterless | Self::Again => config.without_filter(),
            Self::EmptyFilter => {
                let module = std::env::var_os(EMPTY_VARIABLE)
                    .with_context(|| format!("{EMPTY_VARIABLE} names no module: start this as `cargo xtask bench`"))?;
                config.wasm_module(Path::new(&module)).meshspan_text("{}")
            }
            Self::Lua => config.without_filter().connection_managers(|_, manager| {
                let filter = json!({
                    "name": "envoy.filters.http.lua",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                        "default_source_code": {"inline_string": LUA},
                    },
                });
                if let Some(filters) = manager["http_filters"].as_array_mut() {
                    filters.insert(0, filter);
                }
            }),
            Self::Zipkin => config
                .without_filter()
                .add_cluster("zipkin", zipkin, false)
                .connection_managers(|_, manager| manager["tracing"] = tracing(100.0, &zipkin_provider())),
            Self::Native { percent, access_log } => config.without_filter().connection_managers(|_, manager| {
                manager["tracing"] = tracing(percent, &opentelemetry_provider());
                if access_log {
                    manager["access_log"] = json!([otlp_access_log()]);
                }
            }),
            Self::Meshspan(settings) => {
                if settings.lean { config.lean_module_from_env()? } else { config.wasm_module_from_env()? }
                    .meshspan(|_, config| settings.write(config))
            }
            Self::Sampler(sampler) => config
                .wasm_module_from_env()?
                .add_cluster("strategies", upstream.strategies(), false)
                .meshspan(|_, config| {
                    config["tracer_provider"]["sampler"] = sampler.settings();
                    config["distribution"]["meshspan"] = sampler.distribution();
                }),
        })
    }
}

impl Settings {
    fn name(self) -> String {
        let mut parts = vec![if self.lean { "meshspan, lean module" } else { "meshspan" }.to_owned()];
        parts.extend(self.percent.map(|percent| format!("{percent} %")));
        parts.extend(self.metrics.map(|way| match way {
            MetricsWay::Otlp => "metrics".to_owned(),
            MetricsWay::Prometheus => "metrics for Prometheus".to_owned(),
        }));
        parts.extend(self.logs.then(|| "logs".to_owned()));
        parts.extend((self.captured > 0).then(|| format!("{} captured", self.captured)));
        parts.extend((self.routes > 0).then(|| format!("{} templates", self.routes)));
        parts.join(", ")
    }

    fn write(self, config: &mut Value) {
        match self.percent {
            // What the shipped file says by saying nothing.
            Some(percent) if percent >= 100.0 => {}
            Some(percent) => {
                let ratio = percent / 100.0;
                config["tracer_provider"]["sampler"] =
                    json!({"parent_based": {"root": {"trace_id_ratio_based": {"ratio": ratio}}}});
            }
            None => {
                if let Some(config) = config.as_object_mut() {
                    config.remove("tracer_provider");
                }
            }
        }
        let exporter = json!({"otlp_grpc": {"endpoint": "http://collector:4317"}});
        match self.metrics {
            Some(MetricsWay::Otlp) => {
                config["meter_provider"] =
                    json!({"readers": [{"periodic": {"interval": METRICS_INTERVAL, "exporter": exporter}}]});
            }
            Some(MetricsWay::Prometheus) => config["distribution"]["meshspan"]["metrics"] = json!({"prometheus": {}}),
            None => {}
        }
        if self.captured > 0 {
            let names: Vec<_> = (0..self.captured).map(more_header).collect();
            config["instrumentation/development"]["general"]["http"]["server"]["request_captured_headers"] =
                names.into();
        }
        if self.routes > 0 {
            let others = (1..self.routes).map(|number| format!("/service-{}/area-{number}/{{id}}", number % 50));
            let templates: Vec<_> = others.chain(["/api/{kind}/{id}".to_owned()]).collect();
            config["distribution"]["meshspan"]["routes"] = templates.into();
        }
        if self.logs {
            config["logger_provider"] = json!({"processors": [{"batch": {"exporter": exporter}}]});
        }
    }
}

/// A trace context of its own for every request, in as little Lua as there can be.
const LUA: &str = r#"
function envoy_on_request(handle)
  local random = math.random
  handle:headers():replace("traceparent", string.format("00-%08x%08x%08x%08x-%08x%08x-01",
    random(0, 0x7fffffff), random(0, 0x7fffffff), random(0, 0x7fffffff), random(0, 0x7fffffff),
    random(0, 0x7fffffff), random(0, 0x7fffffff)))
end
"#;

fn tracing(percent: f64, provider: &Value) -> Value {
    json!({"random_sampling": {"value": percent}, "provider": provider})
}

/// The native tracer with its own defaults, exporting to the same cluster as the filter.
fn opentelemetry_provider() -> Value {
    json!({
        "name": "envoy.tracers.opentelemetry",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
            "grpc_service": {"envoy_grpc": {"cluster_name": "collector"}, "timeout": "1s"},
            "service_name": "checkout",
        },
    })
}

/// The native Zipkin tracer with its own defaults.
fn zipkin_provider() -> Value {
    json!({
        "name": "envoy.tracers.zipkin",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig",
            "collector_cluster": "zipkin",
            "collector_endpoint": "/api/v2/spans",
            "collector_endpoint_version": "HTTP_JSON",
        },
    })
}

/// Envoy's OTLP access log with its own defaults, whose records say what the filter's say.
fn otlp_access_log() -> Value {
    let attributes = [
        ("http.request.method", "%REQ(:METHOD)%"),
        ("url.scheme", "%REQ(:SCHEME)%"),
        ("url.path", "%REQ(:PATH)%"),
        ("server.address", "%REQ(:AUTHORITY)%"),
        ("user_agent.original", "%REQ(USER-AGENT)%"),
        ("http.response.status_code", "%RESPONSE_CODE%"),
        ("network.protocol.version", "%PROTOCOL%"),
        ("client.address", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        ("client.port", "%DOWNSTREAM_REMOTE_PORT%"),
        ("http.request.body.size", "%BYTES_RECEIVED%"),
        ("http.response.body.size", "%BYTES_SENT%"),
        ("envoy.response_code_details", "%RESPONSE_CODE_DETAILS%"),
        ("envoy.upstream.cluster", "%UPSTREAM_CLUSTER%"),
        ("envoy.upstream.host", "%UPSTREAM_HOST%"),
        ("envoy.upstream.attempt_count", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
        ("envoy.upstream.duration", "%RESPONSE_DURATION%"),
    ];
    let values = attributes.map(|(key, value)| json!({"key": key, "value": {"string_value": value}}));
    json!({
        "name": "envoy.access_loggers.open_telemetry",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
            "common_config": {
                "log_name": "checkout",
                "transport_api_version": "V3",
                "grpc_service": {"envoy_grpc": {"cluster_name": "collector"}, "timeout": "1s"},
            },
            "resource_attributes": {"values": [{"key": "service.name", "value": {"string_value": "checkout"}}]},
            "body": {"string_value": "%REQ(:METHOD)% %RESPONSE_CODE%"},
            "attributes": {"values": values},
        },
    })
}
