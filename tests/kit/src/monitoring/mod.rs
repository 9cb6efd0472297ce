//! A real Prometheus and real Alertmanagers as child processes, and who listens to them.
//!
//! `cargo xtask setup` finds them or gets Debian's, and the commands tell where they are. A test on a machine without
//! them asks [`Programs::from_env`], and says what it skips.

mod alertmanager;
mod program;
mod prometheus;
mod routes;
mod source;
mod webhook;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

pub use alertmanager::Alertmanager;
pub use prometheus::{Prometheus, PrometheusConfig, Series};
pub use routes::shipped_routes;
pub use source::Source;
pub use webhook::{Notification, Webhook};

/// The environment variable that names the folder with the programs.
pub const MONITORING_VARIABLE: &str = "MESHSPAN_MONITORING";

/// The folder with `prometheus`, `promtool`, `alertmanager` and `amtool`.
#[derive(Clone, Debug)]
pub struct Programs(PathBuf);

impl Programs {
    /// What the environment names.
    pub fn from_env() -> Option<Self> {
        std::env::var_os(MONITORING_VARIABLE).filter(|folder| !folder.is_empty()).map(|folder| Self(folder.into()))
    }

    /// One of the four.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Runs one of the tools to its end, and gives what it printed.
    ///
    /// # Errors
    /// When it finds something wrong, with its words.
    pub fn run(&self, name: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let output =
            Command::new(self.path(name)).args(arguments).output().with_context(|| format!("cannot run {name}"))?;
        let said = text(&output.stdout);
        ensure!(output.status.success(), "{name} {}:\n{said}{}", arguments.join(" "), text(&output.stderr));
        Ok(said)
    }

    /// What `promtool check metrics` finds wrong with a page of series: one line for each finding.
    ///
    /// # Errors
    /// When it cannot be run, or cannot read the page, with its words.
    pub fn lint(&self, page: &str) -> anyhow::Result<Vec<String>> {
        let mut command = Command::new(self.path("promtool"));
        command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run promtool")?;
        // It reads all before it writes anything.
        child.stdin.take().context("promtool does not read")?.write_all(page.as_bytes())?;
        let output = child.wait_with_output()?;
        let said = text(&output.stderr);
        // 3: it has findings; anything else but 0: it has not come to look for any.
        ensure!(matches!(output.status.code(), Some(0 | 3)), "promtool check metrics:\n{said}");
        Ok(said.lines().map(str::to_owned).collect())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
