//! What is compared: one Envoy each, alike but for how it traces.

use std::net::SocketAddr;

use meshspan_kit::config::EnvoyConfig;
use serde_json::json;

use crate::sampler::Sampler;
use crate::subject::Upstream;

/// The listener of the shipped configuration that all variants are made of.
pub(crate) const LISTENER: &str = "inbound";

/// A way to run Envoy. All others of a run are measured against the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Variant {
    /// No tracing at all.
    Filterless,
    /// The same once more: what the method shows where there is nothing to see.
    Control,
    /// Envoy's native OpenTelemetry tracer, so many percent sampled.
    Native {
        /// Of requests without a trace context.
        percent: f64,
    },
    /// The filter, so many percent sampled.
    Meshspan {
        /// Of requests without a trace context.
        percent: f64,
    },
    /// The filter with a sampler that records nothing.
    Unsampled(Sampler),
}

impl Variant {
    /// Those of the main table, in its order.
    pub(crate) const TRACERS: &[Self] = &[
        Self::Filterless,
        Self::Control,
        Self::Native { percent: 100.0 },
        Self::Meshspan { percent: 100.0 },
        Self::Native { percent: 1.0 },
        Self::Meshspan { percent: 1.0 },
    ];

    /// Those of the table of samplers, in its order.
    pub(crate) fn samplers() -> Vec<Self> {
        Sampler::ALL.iter().map(|sampler| Self::Unsampled(*sampler)).collect()
    }

    /// Whether it is the first one over again, so that any difference is the method's.
    pub(crate) fn is_control(self) -> bool {
        matches!(self, Self::Control | Self::Unsampled(Sampler::AlwaysOffAgain))
    }

    /// Its name in tables.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Filterless => "no filter".to_owned(),
            Self::Control => "no filter, again (control)".to_owned(),
            Self::Native { percent } => format!("native tracer, {percent} %"),
            Self::Meshspan { percent } => format!("meshspan, {percent} %"),
            Self::Unsampled(sampler) => sampler.name().to_owned(),
        }
    }

    /// The share of requests that make a span, 0 to 1; of a sampler's variant the most that it may be.
    pub(crate) fn sampled(self) -> f64 {
        match self {
            Self::Filterless | Self::Control => 0.0,
            Self::Unsampled(sampler) => sampler.most(),
            Self::Native { percent } | Self::Meshspan { percent } => percent / 100.0,
        }
    }

    /// The shipped `server-minimal.yaml`, changed in nothing but addresses and how it traces.
    pub(crate) fn config(self, upstream: &Upstream, collector: SocketAddr) -> anyhow::Result<EnvoyConfig> {
        let config = EnvoyConfig::shipped("server-minimal.yaml")?
            .local()
            .cluster("application", upstream.address()?)
            .cluster("collector", collector);
        Ok(match self {
            Self::Filterless | Self::Control => config.without_filter(),
            Self::Native { percent } => {
                config.without_filter().connection_managers(|_, manager| manager["tracing"] = native_tracing(percent))
            }
            Self::Unsampled(sampler) => config
                .wasm_module_from_env()?
                .add_cluster("strategies", upstream.strategies(), false)
                .meshspan(|_, config| {
                    config["tracer_provider"]["sampler"] = sampler.settings();
                    config["distribution"]["meshspan"] = sampler.distribution();
                }),
            Self::Meshspan { percent } => {
                let config = config.wasm_module_from_env()?;
                // 100 % is what the shipped file says by saying nothing.
                if percent >= 100.0 {
                    return Ok(config);
                }
                let ratio = percent / 100.0;
                config.meshspan(|_, config| {
                    config["tracer_provider"]["sampler"] =
                        json!({"parent_based": {"root": {"trace_id_ratio_based": {"ratio": ratio}}}});
                })
            }
        })
    }
}

/// The native tracer with its own defaults, exporting to the same cluster as the filter.
fn native_tracing(percent: f64) -> serde_json::Value {
    json!({
        "random_sampling": {"value": percent},
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "grpc_service": {"envoy_grpc": {"cluster_name": "collector"}, "timeout": "1s"},
                "service_name": "checkout",
            },
        },
    })
}
