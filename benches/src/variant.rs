//! What is compared: one Envoy each, alike but for how it traces.

use std::net::SocketAddr;

use meshspan_kit::config::EnvoyConfig;
use serde_json::json;

/// The listener of the shipped configuration that all variants are made of.
pub(crate) const LISTENER: &str = "inbound";

/// A way to run Envoy. All others are measured against [`Variant::Filterless`].
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
}

impl Variant {
    /// Every variant, in the order of the table.
    pub(crate) const ALL: &[Self] = &[
        Self::Filterless,
        Self::Control,
        Self::Native { percent: 100.0 },
        Self::Meshspan { percent: 100.0 },
        Self::Native { percent: 1.0 },
        Self::Meshspan { percent: 1.0 },
    ];

    /// Its name in tables.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Filterless => "no filter".to_owned(),
            Self::Control => "no filter, again (control)".to_owned(),
            Self::Native { percent } => format!("native tracer, {percent} %"),
            Self::Meshspan { percent } => format!("meshspan, {percent} %"),
        }
    }

    /// The share of requests that make a span, 0 to 1.
    pub(crate) fn sampled(self) -> f64 {
        match self {
            Self::Filterless | Self::Control => 0.0,
            Self::Native { percent } | Self::Meshspan { percent } => percent / 100.0,
        }
    }

    /// The shipped `server-minimal.yaml`, changed in nothing but addresses and how it traces.
    pub(crate) fn config(self, upstream: SocketAddr, collector: SocketAddr) -> anyhow::Result<EnvoyConfig> {
        let config = EnvoyConfig::shipped("server-minimal.yaml")?
            .local()
            .cluster("application", upstream)
            .cluster("collector", collector);
        Ok(match self {
            Self::Filterless | Self::Control => config.without_filter(),
            Self::Native { percent } => {
                config.without_filter().connection_managers(|_, manager| manager["tracing"] = native_tracing(percent))
            }
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
