//! Alertmanager, alone or as one of several that agree on who notifies.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;

use super::Programs;
use super::program::{Program, folder_with};
use crate::backend::free_port;
use crate::client::Request;
use crate::envoy::Samples;
use crate::wait;

/// How long peers may take to meet.
const MEETING: Duration = Duration::from_mins(1);
/// How long the second peer waits for the first to notify, before it does; 15 s by default.
const PEER_TIMEOUT: &str = "3s";

/// A running Alertmanager. Dropping it kills it.
pub struct Alertmanager {
    program: Program,
    cluster: SocketAddr,
}

impl Alertmanager {
    /// Starts one with a configuration's text, as a peer of those named (by [`Self::cluster`]), and waits until it is
    /// ready: that is, until it and its peers have settled.
    ///
    /// # Errors
    /// When it does not come up, with its log.
    pub fn start(programs: &Programs, config: &str, peers: &[SocketAddr]) -> anyhow::Result<Self> {
        let folder = folder_with("alertmanager", &[("alertmanager.yaml", config)])?;
        let (address, cluster) = (free_port()?, free_port()?);
        let mut arguments = vec![
            format!("--config.file={}", folder.path().join("alertmanager.yaml").display()),
            format!("--storage.path={}", folder.path().join("data").display()),
            format!("--web.listen-address={address}"),
            format!("--cluster.listen-address={cluster}"),
            format!("--cluster.peer-timeout={PEER_TIMEOUT}"),
        ];
        arguments.extend(peers.iter().map(|peer| format!("--cluster.peer={peer}")));
        let program = Program::start("alertmanager", &programs.path("alertmanager"), folder, address, &arguments)?;
        Ok(Self { program, cluster })
    }

    /// Starts two that know of each other, and waits until they have met.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_two(programs: &Programs, config: &str) -> anyhow::Result<[Self; 2]> {
        let first = Self::start(programs, config, &[])?;
        let second = Self::start(programs, config, &[first.cluster()])?;
        for peer in [&first, &second] {
            wait::until(MEETING, "two Alertmanagers to meet", || (peer.members().ok()? == 2).then_some(()))?;
        }
        Ok([first, second])
    }

    /// Where alerts are sent, and its API answers.
    pub fn address(&self) -> SocketAddr {
        self.program.address()
    }

    /// Where its peers meet it.
    pub fn cluster(&self) -> SocketAddr {
        self.cluster
    }

    /// How many members its cluster has, itself among them.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn members(&self) -> anyhow::Result<usize> {
        let status = self.program.get("/api/v2/status")?;
        Ok(status["cluster"]["peers"].as_array().map_or(0, Vec::len))
    }

    /// Its alerts, as its API shows them.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn alerts(&self) -> anyhow::Result<Vec<Value>> {
        let alerts = self.program.get("/api/v2/alerts")?;
        Ok(alerts.as_array().cloned().unwrap_or_default())
    }

    /// Hands it alerts, as Prometheus does: each an object with `labels`.
    ///
    /// # Errors
    /// When it refuses them.
    pub fn post(&self, alerts: &Value) -> anyhow::Result<()> {
        let request = Request::new("POST", "/api/v2/alerts").header("content-type", "application/json");
        let response = request.body(alerts.to_string()).send(self.address())?;
        ensure!(response.status == 200, "Alertmanager answered {}: {}", response.status, response.text());
        Ok(())
    }

    /// What it counts about itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn samples(&self) -> anyhow::Result<Samples> {
        Ok(Samples::parse(&Request::get("/metrics").send(self.address())?.text()))
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.program.log()
    }
}
