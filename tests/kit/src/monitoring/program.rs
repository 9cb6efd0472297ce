//! What all of them have in common: a folder, a log, and a page that says when they are ready.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::client::Request;
use crate::process::Process;
use crate::wait;

/// How long one may take to be ready on a machine that may be busy.
const START: Duration = Duration::from_mins(1);

/// A running program. Dropping it kills it.
pub(super) struct Program {
    name: &'static str,
    process: Process,
    address: SocketAddr,
    folder: TempDir,
}

/// A folder for one, with its configuration in it.
pub(super) fn folder_with(name: &str, files: &[(&str, &str)]) -> anyhow::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix(&format!("meshspan-{name}-")).tempdir()?;
    for (file, text) in files {
        std::fs::write(folder.path().join(file), text)?;
    }
    Ok(folder)
}

impl Program {
    /// Starts `binary`, which is to answer at `address`, and waits until it says that it is ready.
    pub(super) fn start(
        name: &'static str,
        binary: &Path,
        folder: TempDir,
        address: SocketAddr,
        arguments: &[String],
    ) -> anyhow::Result<Self> {
        let process = Process::start(binary, arguments, &log_path(folder.path()))?;
        let mut program = Self { name, process, address, folder };
        let ready = wait::until(START, &format!("{name} to be ready"), || {
            let running = program.process.is_running();
            let ready = Request::get("/-/ready").send(address).is_ok_and(|response| response.status == 200);
            (ready || !running).then_some(ready)
        });
        match ready {
            Ok(true) => Ok(program),
            Ok(false) => bail!("{name} ended at its start; its log:\n{}", program.log()),
            Err(error) => Err(error).with_context(|| format!("its log:\n{}", program.log())),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks its API, which answers with JSON.
    pub(super) fn get(&self, target: &str) -> anyhow::Result<serde_json::Value> {
        let response =
            Request::get(target).send(self.address).with_context(|| format!("{} was asked {target}", self.name))?;
        response.json().with_context(|| format!("{} answered {} to {target}", self.name, response.status))
    }

    /// Kills it (SIGKILL).
    pub(super) fn kill(&mut self) {
        self.process.kill();
    }

    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(log_path(self.folder.path())).unwrap_or_default()).into_owned()
    }
}

fn log_path(folder: &Path) -> PathBuf {
    folder.join("log")
}
