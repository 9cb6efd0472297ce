//! What the subjects here share: a mesh with a gRPC server behind it, calls with traces of their own, and what is
//! expected of their spans.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, ensure};
use meshspan_e2e::{DEADLINE, Mesh, bootstrap, each_envoy, skipped, tracing};
pub(crate) use meshspan_e2e::{Table, expect};
use meshspan_kit::config::EnvoyConfig;
use meshspan_kit::envoy::{EnvoyBinary, Options};
use meshspan_kit::grpcio::{GrpcClient, GrpcServer, Grpcio, VARIABLE};
use meshspan_kit::receiver::ReceivedSpan;
use serde_json::{Value, json};

/// As [`each_envoy`], with an installed grpcio.
pub(crate) fn each_envoy_with_grpcio(concurrencies: &[u32], test: impl Fn(&Grpcio, &EnvoyBinary, u32)) {
    match Grpcio::find() {
        Some(grpcio) => each_envoy(concurrencies, |envoy, concurrency| test(&grpcio, envoy, concurrency)),
        None => skipped(&format!("{VARIABLE} does not name an installed grpcio (set-up installs it)")),
    }
}

/// Envoy with a gRPC server behind it.
pub(crate) struct Stage {
    pub(crate) mesh: Mesh,
    pub(crate) server: Option<GrpcServer>,
    grpcio: Grpcio,
}

impl Stage {
    /// Starts one with these listeners; the cluster `grpc` is the server. `change` has the rest.
    pub(crate) fn start(
        grpcio: &Grpcio,
        envoy: &EnvoyBinary,
        concurrency: u32,
        listeners: &[(&str, Value)],
        change: impl FnOnce(EnvoyConfig) -> EnvoyConfig,
    ) -> Self {
        let server = grpcio.server().unwrap_or_else(|error| panic!("{error:#}"));
        let config = change(bootstrap(listeners).add_cluster("grpc", server.address(), true));
        let mesh = Mesh::start_with(envoy, &Options { concurrency, ..Options::default() }, &config);
        Self { mesh, server: Some(server), grpcio: grpcio.clone() }
    }

    /// A client with one connection to a listener.
    pub(crate) fn client(&self, listener: &str) -> GrpcClient {
        let address = self.mesh.envoy.address(listener).unwrap();
        self.grpcio.client(address).unwrap_or_else(|error| panic!("{error:#}"))
    }
}

/// A trace that a call is the root of, by which its span is found.
pub(crate) struct Trace(String);

impl Trace {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("{:08x}{:08x}{count:016x}", std::process::id(), 0x9bc_u32))
    }

    pub(crate) fn traceparent(&self) -> String {
        format!("00-{}-00f067aa0ba902b7-01", self.0)
    }

    /// Makes a call in it, which has to end so for its caller.
    pub(crate) fn call(&self, client: &mut GrpcClient, call: &Value, status: &str) -> anyhow::Result<()> {
        let mut call = call.clone();
        call["metadata"] = json!([["traceparent", self.traceparent()]]);
        let answer = client.call(&call)?;
        ensure!(answer["status"] == status, "the caller got {answer}, not {status}");
        Ok(())
    }

    /// Waits for its one span.
    pub(crate) fn span(&self, mesh: &Mesh) -> anyhow::Result<ReceivedSpan> {
        let span =
            mesh.receiver.wait_for(DEADLINE, |spans| spans.iter().find(|span| span.trace_id() == self.0).cloned());
        span.with_context(|| format!("the span of {}", self.0))
    }
}

/// A configuration that reads and writes W3C trace context, exports soon, and calls its service so.
pub(crate) fn service(name: &str) -> Value {
    let mut config = tracing(&["tracecontext"]);
    config["resource"]["attributes"] = json!([{"name": "service.name", "value": name}]);
    config
}

/// Sends all of a connection manager's requests to the gRPC server, but for these routes before it.
pub(crate) fn route_to_grpc(manager: &mut Value, before: &[Value]) {
    let mut routes = before.to_vec();
    routes.push(json!({"match": {"prefix": "/"}, "route": {"cluster": "grpc", "timeout": "0s"}}));
    manager["route_config"]["virtual_hosts"][0]["routes"] = routes.into();
}
