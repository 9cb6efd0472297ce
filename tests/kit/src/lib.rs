//! Real parts for tests, the demo and the benchmarks: an OTLP receiver, Envoy, backends, services, clients.
//!
//! Everything here is started and asked from plain threads, so an end-to-end test is an ordinary `#[test]`:
//!
//! ```no_run
//! use std::time::Duration;
//! use meshspan_kit::{client::Request, config::EnvoyConfig, envoy::Envoy, receiver::Receiver, service::Service};
//!
//! # fn main() -> anyhow::Result<()> {
//! let receiver = Receiver::start()?;
//! let service = Service::start()?;
//! let config = EnvoyConfig::shipped("server-minimal.yaml")?
//!     .local()
//!     .wasm_module_from_env()?
//!     .cluster("application", service.address())
//!     .cluster("collector", receiver.address())
//!     .schedule_delay(Duration::from_millis(50));
//! for binary in Envoy::versions() {
//!     let envoy = Envoy::start(&binary, &config)?;
//!     let response = Request::get("/status/503").send(envoy.address("inbound")?)?;
//!     assert_eq!(response.status, 503);
//!     let span = receiver.wait_for(Duration::from_secs(10), |spans| spans.first().cloned())?;
//!     assert_eq!(span.integer("http.response.status_code"), Some(503));
//!     receiver.clear();
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The in-process servers run on one shared runtime ([`runtime`]); what waits, waits for a condition with a
//! deadline and says at the deadline what it saw instead.

pub mod backend;
pub mod certificate;
pub mod client;
pub mod config;
pub mod envoy;
pub mod ghz;
pub mod grpcio;
pub mod load;
pub mod metrics;
pub mod monitoring;
mod process;
pub mod receiver;
pub mod runtime;
mod server;
pub mod service;
pub mod wait;
pub mod waterfall;

pub use axum;
pub use opentelemetry_proto;
