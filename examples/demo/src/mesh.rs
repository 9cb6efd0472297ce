//! The mesh: three Envoys with the configurations of `envoy-config/`, and the applications beside them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use meshspan_kit::config::EnvoyConfig;
use meshspan_kit::envoy::{Envoy, EnvoyBinary, Options, Samples};
use meshspan_kit::service::Service;
use serde_json::json;

use crate::apps;
use crate::backend::Backend;

/// Sooner than the standard's five seconds: somebody is watching.
const SCHEDULE_DELAY: Duration = Duration::from_millis(200);

/// Everything that runs; dropping it ends it.
pub(crate) struct Mesh {
    /// Where callers call.
    pub(crate) edge: SocketAddr,
    envoys: Vec<(&'static str, Envoy)>,
    _services: [Service; 2],
}

impl Mesh {
    /// Starts it from the last hop to the first, each knowing the address of the next.
    pub(crate) fn start(binary: &EnvoyBinary, module: &Path, backend: &Backend, folder: &Path) -> anyhow::Result<Self> {
        let start = |name: &str, config: EnvoyConfig| {
            Envoy::start_with(binary, &config, &Options { folder: Some(folder.join(name)), ..Options::default() })
        };
        let shipped = |file: &str| {
            let config = EnvoyConfig::shipped(file)?.local().wasm_module(module).schedule_delay(SCHEDULE_DELAY);
            // Histograms are shown when statistics are flushed.
            let config = config.change(|root| root["stats_flush_interval"] = json!("0.25s"));
            let routes = json!(["/checkout", "/payment", "/report", "/reserve", "/users/{id}"]);
            anyhow::Ok(config.meshspan(|_, config| {
                config["distribution"]["meshspan"]["routes"] = routes.clone();
                let meshspan = &mut config["distribution"]["meshspan"];
                meshspan["metrics"] = json!({
                    "prometheus": {},
                    // Who calls tells its name in tracestate, and both callees have proxies that count.
                    "service_graph": {"tracestate": true, "upstreams": [
                        {"cluster": "checkout", "name": "checkout", "kind": "service"},
                        {"cluster": "inventory", "name": "inventory", "kind": "service"},
                    ]},
                });
                meshspan["logs"] = json!({"when": "errors", "json": true});
            }))
        };

        let inventory = apps::inventory()?;
        let inventory_sidecar = shipped("sidecar.yaml")?
            .service_name("inventory")
            .cluster("application", inventory.address())
            // The third way to export.
            .add_cluster("collector-http", backend.http(), false)
            .meshspan(|_, config| {
                config["distribution"]["meshspan"]["clusters"] = json!({"collector:4318": "collector-http"});
                config["tracer_provider"]["processors"][0]["batch"]["exporter"] = json!({"otlp_http": {
                    "endpoint": "http://collector:4318/v1/traces", "encoding": "json",
                }});
            });
        let inventory_sidecar = start("inventory-sidecar", inventory_sidecar)?;

        // The application needs its sidecar's outbound address and the sidecar the application's: one of the two
        // has to be chosen before it listens.
        let outbound = free_address()?;
        let checkout = apps::checkout(outbound)?;
        let checkout_sidecar = shipped("sidecar.yaml")?
            .service_name("checkout")
            .listener_address("outbound", outbound)
            .cluster("application", checkout.address())
            .cluster("inventory", inventory_sidecar.address("inbound")?)
            .cluster("collector", backend.grpc());
        let checkout_sidecar = start("checkout-sidecar", checkout_sidecar)?;

        let edge = shipped("gateway.yaml")?
            .cluster("checkout", checkout_sidecar.address("inbound")?)
            .cluster("collector-http", backend.http());
        let edge = start("edge", edge)?;
        Ok(Self {
            edge: edge.address("ingress")?,
            envoys: vec![
                ("edge", edge),
                ("checkout's sidecar", checkout_sidecar),
                ("inventory's sidecar", inventory_sidecar),
            ],
            _services: [checkout, inventory],
        })
    }

    /// The admin interfaces, where Prometheus scrapes.
    pub(crate) fn admins(&self) -> Vec<(String, SocketAddr)> {
        self.envoys.iter().map(|(name, envoy)| ((*name).to_owned(), envoy.admin())).collect()
    }

    /// What each proxy's statistics say now.
    pub(crate) fn samples(&self) -> anyhow::Result<Vec<Samples>> {
        self.envoys.iter().map(|(_, envoy)| envoy.samples()).collect()
    }

    /// Each proxy's log so far.
    pub(crate) fn logs(&self) -> Vec<(String, String)> {
        self.envoys.iter().map(|(name, envoy)| ((*name).to_owned(), envoy.log())).collect()
    }

    /// Prints where everything listens.
    pub(crate) fn describe(&self, backend: &Backend) {
        println!("\nCall the mesh:  curl -i http://{}/checkout   (also /payment, /report, /users/42)", self.edge);
        backend.describe();
        for (name, envoy) in &self.envoys {
            println!("{name}: admin http://{}, log {}", envoy.admin(), envoy.log_path().display());
        }
    }
}

/// A port that is free now. Envoy takes it a moment later.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}
