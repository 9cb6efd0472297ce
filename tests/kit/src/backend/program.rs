//! What both backends have in common: they are Collectors in their bones, started with one configuration file.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::Process;
use crate::wait;

/// How long a backend may take to be ready on a machine that may be busy.
const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_secs(30);
/// What each of them logs when its receivers listen.
const READY: &str = "Everything is ready";

/// A program that is killed and started again with the same ports and folder. Dropping it kills it.
pub(super) struct Program {
    name: &'static str,
    binary: PathBuf,
    ports: Vec<SocketAddr>,
    /// How often it was started.
    lives: u32,
    process: Option<Process>,
    folder: PathBuf,
    /// Removes the folder with it, where the folder is its own.
    _temporary: Option<TempDir>,
}

impl Program {
    /// Starts `binary` with the configuration that `config` makes of its folder, its ports (so many) and the number
    /// of its life, and waits until it is ready. No `folder`: a temporary one.
    pub(super) fn start(
        name: &'static str,
        binary: &Path,
        folder: Option<&Path>,
        ports: usize,
        config: impl Fn(&Path, &[SocketAddr], u32) -> Value,
    ) -> anyhow::Result<Self> {
        let (folder, temporary) = if let Some(folder) = folder {
            std::fs::create_dir_all(folder)?;
            (folder.to_owned(), None)
        } else {
            let temporary = tempfile::Builder::new().prefix(&format!("meshspan-{name}-")).tempdir()?;
            (temporary.path().to_owned(), Some(temporary))
        };
        let ports = (0..ports).map(|_| free_port()).collect::<anyhow::Result<_>>()?;
        let mut program =
            Self { name, binary: binary.to_owned(), ports, lives: 0, process: None, folder, _temporary: temporary };
        program.start_again(config)?;
        Ok(program)
    }

    /// Kills it (SIGKILL), where it runs. Its ports stay its own.
    pub(super) fn kill(&mut self) {
        // Killed in its drop.
        self.process = None;
    }

    /// Asks it to end (SIGTERM), and waits until it has. Its ports stay its own.
    ///
    /// # Errors
    /// When it takes too long, and is killed, or ends with an error.
    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let status = process.terminate(STOP)?;
        ensure!(status.success(), "{} ended with {status}; its log:\n{}", self.name, self.log());
        Ok(())
    }

    /// Starts it (again), on the same ports and in the same folder, and waits until it is ready.
    pub(super) fn start_again(&mut self, config: impl Fn(&Path, &[SocketAddr], u32) -> Value) -> anyhow::Result<()> {
        self.kill();
        self.lives += 1;
        let file = self.folder.join(format!("config-{}.json", self.lives));
        std::fs::write(&file, config(&self.folder, &self.ports, self.lives).to_string())?;
        let log = self.log_path();
        let arguments = ["--config".to_owned(), file.display().to_string()];
        let mut process = Process::start(&self.binary, &arguments, &log)?;
        let ready = wait::until(START, &format!("{} to be ready", self.name), || {
            // First the process, then its log: what it said last is read as well.
            let running = process.is_running();
            let ready = read(&log).contains(READY);
            (ready || !running).then_some(ready)
        });
        self.process = Some(process);
        match ready {
            Ok(true) => Ok(()),
            Ok(false) => bail!("{} ended at its start; its log:\n{}", self.name, self.log()),
            Err(error) => Err(error).with_context(|| format!("its log:\n{}", self.log())),
        }
    }

    pub(super) fn port(&self, index: usize) -> SocketAddr {
        self.ports[index]
    }

    pub(super) fn lives(&self) -> u32 {
        self.lives
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it has logged in its present life.
    pub(super) fn log(&self) -> String {
        read(&self.log_path())
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join(format!("log-{}", self.lives))
    }
}

/// The OTLP receiver's section, for gRPC and for HTTP.
pub(super) fn otlp_receiver(grpc: SocketAddr, http: SocketAddr) -> Value {
    json!({"otlp": {"protocols": {"grpc": {"endpoint": grpc}, "http": {"endpoint": http}}}})
}

/// The `telemetry` of its own, for Prometheus.
pub(super) fn telemetry(metrics: SocketAddr) -> Value {
    let pull = json!({"exporter": {"prometheus": {"host": metrics.ip(), "port": metrics.port()}}});
    json!({"metrics": {"level": "normal", "readers": [{"pull": pull}]}})
}

/// The program that a variable of the environment names.
pub(super) fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn read(file: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned()
}

/// A port that is free now and that stays free while its owner is away: below those that the system gives to
/// outgoing connections, and another one at each call.
///
/// # Errors
/// When none is free.
pub fn free_port() -> anyhow::Result<SocketAddr> {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test binaries that run at the same time begin at different ports.
    let begin = u16::try_from(std::process::id().wrapping_mul(251) % u32::from(COUNT))?;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (begin + step % COUNT) % COUNT;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port is free from {FIRST} to {}", FIRST + COUNT)
}
