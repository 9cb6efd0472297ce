//! Real Envoy as a child process, with ports of its own choice, readiness, statistics, its log, and an end that
//! leaves no process behind.

mod binary;
mod discovery;
mod linear_memory;
mod samples;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::client::{Request, Response};
use crate::config::EnvoyConfig;
use crate::process::Process;
use crate::wait;

pub use crate::process::kill_all;
pub use binary::EnvoyBinary;
use discovery::ResourceFile;
pub use discovery::Update;
pub use samples::{Sample, Samples};

/// How long Envoy may take to be ready: it compiles the module on a machine that may be busy.
const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_secs(10);

/// A running Envoy. Dropping it kills it and removes its folder.
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    listeners: BTreeMap<String, SocketAddr>,
    listener_file: Option<ResourceFile>,
    cluster_file: Option<ResourceFile>,
    folder: PathBuf,
    /// Removes the folder when this Envoy is dropped, where the folder is our own.
    temporary: Option<TempDir>,
    binary: EnvoyBinary,
}

/// How an Envoy is to be started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Worker threads; 1 unless set.
    pub concurrency: u32,
    /// `--log-level`; `info` unless set.
    pub log_level: String,
    /// `--component-log-level`, for instance `wasm:debug`; empty: none.
    pub component_log_level: String,
    /// Read the listeners from a file, so that [`Envoy::update_listeners`] can exchange them.
    pub listeners_by_file: bool,
    /// Read more clusters from a file, none at first, so that [`Envoy::update_clusters`] can exchange them.
    pub clusters_by_file: bool,
    /// A folder for its configuration and log that stays; none: a temporary one.
    pub folder: Option<PathBuf>,
    /// Seconds that replaced listeners drain; 1 unless set.
    pub drain_seconds: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 1,
            log_level: "info".to_owned(),
            component_log_level: String::new(),
            listeners_by_file: false,
            clusters_by_file: false,
            folder: None,
            drain_seconds: 1,
        }
    }
}

impl Envoy {
    /// The Envoys to test with, as the environment names them: `MESHSPAN_ENVOY_BINS` as `VERSION=PATH,…`, else
    /// `ENVOY_BIN` as one path. Empty when neither is set.
    pub fn versions() -> Vec<EnvoyBinary> {
        EnvoyBinary::from_env()
    }

    /// Starts Envoy and waits until it serves.
    ///
    /// # Errors
    /// When it does not come up, with the end of its log.
    pub fn start(binary: &EnvoyBinary, config: &EnvoyConfig) -> anyhow::Result<Self> {
        Self::start_with(binary, config, &Options::default())
    }

    /// As [`Self::start`], with options.
    pub fn start_with(binary: &EnvoyBinary, config: &EnvoyConfig, options: &Options) -> anyhow::Result<Self> {
        let (folder, temporary) = if let Some(folder) = &options.folder {
            std::fs::create_dir_all(folder)?;
            (folder.clone(), None)
        } else {
            let temporary = tempfile::Builder::new().prefix("meshspan-envoy-").tempdir()?;
            (temporary.path().to_owned(), Some(temporary))
        };
        let admin_file = folder.join("admin-address");
        let config_file = folder.join("envoy.json");
        let listener_file = options
            .listeners_by_file
            .then(|| ResourceFile::create(&folder, "listeners", &config.listener_resources()))
            .transpose()?;
        let cluster_file =
            options.clusters_by_file.then(|| ResourceFile::create(&folder, "clusters", &[])).transpose()?;
        let mut bootstrap = config.clone();
        if let Some(file) = &listener_file {
            bootstrap = bootstrap.with_listener_file(file.path());
        }
        if let Some(file) = &cluster_file {
            bootstrap = bootstrap.with_cluster_file(file.path());
        }
        std::fs::write(&config_file, bootstrap.json().to_string())?;
        let mut arguments = vec![
            "--config-path".to_owned(),
            config_file.display().to_string(),
            "--admin-address-path".to_owned(),
            admin_file.display().to_string(),
            "--concurrency".to_owned(),
            options.concurrency.to_string(),
            "--log-level".to_owned(),
            options.log_level.clone(),
            "--drain-time-s".to_owned(),
            options.drain_seconds.to_string(),
            // No shared memory and no base id: any number of Envoys run side by side.
            "--disable-hot-restart".to_owned(),
        ];
        if !options.component_log_level.is_empty() {
            arguments.extend(["--component-log-level".to_owned(), options.component_log_level.clone()]);
        }
        let process = Process::start(&binary.path, &arguments, &folder.join("envoy.log"))?;
        let mut envoy = Self {
            process,
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            listeners: BTreeMap::new(),
            listener_file,
            cluster_file,
            folder,
            temporary,
            binary: binary.clone(),
        };
        match envoy.become_ready(&admin_file, config) {
            Ok(()) => Ok(envoy),
            Err(error) => Err(error.context(format!(
                "Envoy {} did not come up; the end of its log:\n{}",
                envoy.binary.version,
                tail(&envoy.log())
            ))),
        }
    }

    /// Has Envoy check a configuration (`--mode validate`) without serving. The filter checks its own with it.
    ///
    /// # Errors
    /// When Envoy refuses it, with what it printed.
    pub fn validate(binary: &EnvoyBinary, config: &EnvoyConfig) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("envoy.json");
        std::fs::write(&file, config.json().to_string())?;
        let output = std::process::Command::new(&binary.path)
            .args(["--mode", "validate", "--disable-hot-restart", "--config-path"])
            .arg(&file)
            .output()
            .with_context(|| format!("cannot run {}", binary.path.display()))?;
        if !output.status.success() {
            bail!("Envoy {} refuses it:\n{}", binary.version, tail(&String::from_utf8_lossy(&output.stderr)));
        }
        Ok(())
    }

    /// The binary it runs.
    pub fn binary(&self) -> &EnvoyBinary {
        &self.binary
    }

    /// Where a listener accepts connections.
    pub fn address(&self, listener: &str) -> anyhow::Result<SocketAddr> {
        self.listeners.get(listener).copied().with_context(|| {
            format!("no listener {listener:?}; there are {:?}", self.listeners.keys().collect::<Vec<_>>())
        })
    }

    /// Where the admin interface listens.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Asks the admin interface.
    pub fn admin_get(&self, path: &str) -> anyhow::Result<Response> {
        Request::get(path).send(self.admin)
    }

    /// Commands the admin interface, for instance `/drain_listeners?graceful`.
    pub fn admin_post(&self, path: &str) -> anyhow::Result<Response> {
        Request::new("POST", path).send(self.admin)
    }

    /// Every counter and gauge by its full name; histograms are left out.
    pub fn stats(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let text = self.admin_get("/stats")?.text();
        let pairs = text.lines().filter_map(|line| line.rsplit_once(": "));
        Ok(pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// What a Prometheus server would scrape.
    pub fn samples(&self) -> anyhow::Result<Samples> {
        Ok(Samples::parse(&self.admin_get("/stats/prometheus")?.text()))
    }

    /// One counter or gauge; `None` when Envoy has none of that name.
    pub fn stat(&self, name: &str) -> Option<u64> {
        self.stats().ok()?.get(name).copied()
    }

    /// Waits until a counter or gauge satisfies `condition`, and returns it.
    pub fn wait_for_stat(
        &self,
        name: &str,
        deadline: Duration,
        condition: impl Fn(u64) -> bool,
    ) -> anyhow::Result<u64> {
        let mut last = None;
        wait::until(deadline, name, || {
            last = self.stat(name);
            last.filter(|value| condition(*value))
        })
        .with_context(|| format!("{name} was last {last:?}"))
    }

    /// `/config_dump` as JSON.
    pub fn config_dump(&self) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_slice(&self.admin_get("/config_dump")?.body)?)
    }

    /// Everything it logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// The file it logs to; gone when this Envoy is dropped, unless [`Self::keep_files`] was called.
    pub fn log_path(&self) -> PathBuf {
        self.folder.join("envoy.log")
    }

    /// Leaves its folder (configuration and log) when it is dropped.
    pub fn keep_files(&mut self) {
        if let Some(temporary) = &mut self.temporary {
            temporary.disable_cleanup(true);
        }
    }

    /// Waits until the log has a line that contains `text`, and returns that line.
    pub fn wait_for_log(&self, text: &str, deadline: Duration) -> anyhow::Result<String> {
        wait::until(deadline, &format!("a log line with {text:?}"), || {
            self.log().lines().find(|line| line.contains(text)).map(str::to_owned)
        })
        .with_context(|| format!("the end of the log:\n{}", tail(&self.log())))
    }

    /// The id of its process.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// CPU time of all its threads since it started, user and system.
    pub fn cpu_time(&self) -> anyhow::Result<Duration> {
        self.process.cpu_time()
    }

    /// The linear memories of the filter's machines, bytes each: what the filter holds or has ever held. V8 maps them
    /// past Envoy's allocator, and they never shrink. Which belongs to which thread cannot be told.
    pub fn linear_memories(&self) -> anyhow::Result<Vec<u64>> {
        let path = format!("/proc/{}/maps", self.process_id());
        let maps = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Ok(linear_memory::sizes(&maps))
    }

    /// Resident memory, bytes.
    pub fn resident_memory(&self) -> anyhow::Result<u64> {
        self.process.resident_memory()
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Asks it to end (SIGTERM) and waits until it has; it is killed when it takes too long.
    ///
    /// # Errors
    /// When it ended by a crash, with the end of its log.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let status = self.process.terminate(STOP)?;
        if !status.success() {
            bail!("Envoy ended with {status}; the end of its log:\n{}", tail(&self.log()));
        }
        Ok(())
    }

    /// Kills it (SIGKILL), as a node that dies or a memory limit does.
    pub fn kill(mut self) {
        self.process.kill();
    }

    fn become_ready(&mut self, admin_file: &Path, config: &EnvoyConfig) -> anyhow::Result<()> {
        let process = &mut self.process;
        let address = wait::until(START, "Envoy's admin address", || {
            if !process.is_running() {
                return Some(None);
            }
            std::fs::read_to_string(admin_file).ok()?.trim().parse().ok().map(Some)
        })?;
        self.admin = address.context("the process ended")?;
        let names = config.listener_names();
        let mut ended = false;
        let found = wait::until(START, "Envoy to be ready", || {
            ended = !self.process.is_running();
            if ended {
                return Some(BTreeMap::new());
            }
            let ready = Request::get("/ready").send(self.admin).ok()?.status == 200
                && self.stat("listener_manager.workers_started") == Some(1);
            let listeners = ready.then(|| self.bound_listeners()).flatten()?;
            names.iter().all(|name| listeners.contains_key(name)).then_some(listeners)
        })?;
        if ended {
            bail!("the process ended");
        }
        self.listeners = found;
        Ok(())
    }

    fn bound_listeners(&self) -> Option<BTreeMap<String, SocketAddr>> {
        let answer = self.admin_get("/listeners?format=json").ok()?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
        let statuses = answer["listener_statuses"].as_array()?;
        let entries = statuses.iter().filter_map(|status| {
            let socket = &status["local_address"]["socket_address"];
            let address = format!("{}:{}", socket["address"].as_str()?, socket["port_value"]);
            Some((status["name"].as_str()?.to_owned(), address.parse().ok()?))
        });
        Some(entries.collect())
    }
}

/// The last lines, without Envoy's lists of extensions, which fill a screen each.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| line.len() < 400).collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
