//! `cargo xtask setup`, and the part of it that each other command needs.
//!
//! Everything lands in the project's own folder (`.meshspan`), whole or not at all, and stays: a second run
//! finds it there and needs no network.

use crate::envoy::{self, Envoy};
use crate::go_program::GoProgram;
use crate::grpcio;
use crate::monitoring;
use crate::options::Options;
use crate::places::Places;
use crate::progress::Steps;
use crate::test_runner::TestRunner;
use crate::wasm_opt::WasmOpt;
use crate::wasm_toolchain::{NODE, WASI, WasmToolchain};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Something that a command needs before it can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// To build for Envoy.
    WasiTarget,
    /// To build for Envoy and for Node.
    AllTargets,
    /// What makes the linked module smaller and faster.
    WasmOpt,
    /// An Envoy of this version, or the one that `ENVOY_BIN` names.
    Envoy(&'static str),
    /// A program of Go, where this machine can have it; a machine that cannot goes without.
    GoProgram(GoProgram),
    /// The gRPC library of Python, where this machine can have it.
    Grpcio,
    /// Prometheus and Alertmanager, where this machine can have them.
    Monitoring,
    /// Node, and the program that runs tests in it.
    TestRunner,
}

/// All there is to need.
pub(crate) const EVERYTHING: [Need; 10] = [
    Need::AllTargets,
    Need::WasmOpt,
    Need::Envoy(envoy::NEWEST),
    Need::Envoy(envoy::OLDEST),
    Need::TestRunner,
    Need::GoProgram(GoProgram::Collector),
    Need::GoProgram(GoProgram::Jaeger),
    Need::GoProgram(GoProgram::Ghz),
    Need::Grpcio,
    Need::Monitoring,
];

/// What is ready for use.
#[derive(Default)]
pub(crate) struct Ready {
    toolchain: Option<WasmToolchain>,
    wasm_opt: Option<WasmOpt>,
    envoys: Vec<Envoy>,
    go_programs: Vec<(GoProgram, PathBuf)>,
    grpcio: Option<PathBuf>,
    monitoring: Option<PathBuf>,
    test_runner: Option<TestRunner>,
    failures: usize,
}

impl Ready {
    pub(crate) fn toolchain(&self) -> Result<&WasmToolchain> {
        self.toolchain.as_ref().context("set-up found no way to build for wasm (see above)")
    }

    pub(crate) fn wasm_opt(&self) -> Result<&WasmOpt> {
        self.wasm_opt.as_ref().context("set-up found no wasm-opt (see above)")
    }

    /// The Envoys, newest first; one where `ENVOY_BIN` names it.
    pub(crate) fn envoys(&self) -> &[Envoy] {
        &self.envoys
    }

    /// The programs of Go that this machine can have.
    pub(crate) fn go_programs(&self) -> &[(GoProgram, PathBuf)] {
        &self.go_programs
    }

    /// The folder of grpcio, where this machine can have it.
    pub(crate) fn grpcio(&self) -> Option<&Path> {
        self.grpcio.as_deref()
    }

    /// The folder with Prometheus, Alertmanager and their tools, where this machine can have them.
    pub(crate) fn monitoring(&self) -> Option<&Path> {
        self.monitoring.as_deref()
    }

    pub(crate) fn test_runner(&self) -> Result<&TestRunner> {
        self.test_runner.as_ref().context("set-up found no way to run tests in Node (see above)")
    }

    /// How many steps failed.
    pub(crate) fn failures(&self) -> usize {
        self.failures
    }
}

pub(crate) fn command(arguments: &[String]) -> Result<ExitCode> {
    let mut options = Options::of("setup", arguments);
    if let Some((name, _)) = options.next() {
        return options.unknown(name, &[]);
    }
    let places = Places::find()?;
    let ready = setup_what_can_be(&places, &EVERYTHING);
    if ready.failures() > 0 {
        bail!("{} of the steps failed; what to do stands with each of them above", ready.failures());
    }
    eprintln!("all is ready; next: `cargo xtask demo` or `cargo xtask test`");
    Ok(ExitCode::SUCCESS)
}

/// Sets up what is needed, or fails with the first step that does.
pub(crate) fn setup(places: &Places, needs: &[Need]) -> Result<Ready> {
    clear_leftovers(places);
    let mut ready = Ready::default();
    let mut steps = Steps::new(needs.len());
    for need in needs {
        meet(places, *need, &mut steps, &mut ready)?;
    }
    Ok(ready)
}

/// Sets up what is needed, shows what failed, and goes on without it.
pub(crate) fn setup_what_can_be(places: &Places, needs: &[Need]) -> Ready {
    clear_leftovers(places);
    let mut ready = Ready::default();
    let mut steps = Steps::new(needs.len());
    for need in needs {
        if let Err(error) = meet(places, *need, &mut steps, &mut ready) {
            eprintln!("{}\n", crate::describe(&error));
            ready.failures += 1;
        }
    }
    ready
}

/// Clears away what a run that was cut off left half done.
fn clear_leftovers(places: &Places) {
    let Ok(entries) = std::fs::read_dir(&places.home) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((_, process)) = name.strip_prefix("partial-").and_then(|rest| rest.rsplit_once('-')) else {
            continue;
        };
        // Another run may be at work; where that cannot be told, nothing is touched.
        let can_tell = Path::new("/proc/self").exists();
        if can_tell && !Path::new("/proc").join(process).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn meet(places: &Places, need: Need, steps: &mut Steps, ready: &mut Ready) -> Result<()> {
    match need {
        Need::WasiTarget => {
            ready.toolchain = Some(steps.run("wasm target", |step| WasmToolchain::get(places, &[WASI], step))?);
        }
        Need::AllTargets => {
            ready.toolchain = Some(steps.run("wasm targets", |step| WasmToolchain::get(places, &[WASI, NODE], step))?);
        }
        Need::WasmOpt => ready.wasm_opt = Some(steps.run("wasm-opt", |step| WasmOpt::get(places, step))?),
        Need::Envoy(version) => {
            let found = steps.run(&format!("Envoy {version}"), |step| Envoy::get(places, version, step))?;
            if !ready.envoys.contains(&found) {
                ready.envoys.push(found);
            }
        }
        Need::GoProgram(program) => {
            let found = steps.run(program.name(), |step| program.get(places, step))?;
            ready.go_programs.extend(found.map(|binary| (program, binary)));
        }
        Need::Grpcio => ready.grpcio = steps.run("grpcio", |step| grpcio::get(places, step))?,
        Need::Monitoring => {
            ready.monitoring = steps.run("Prometheus and Alertmanager", |step| monitoring::get(places, step))?;
        }
        Need::TestRunner => {
            ready.test_runner = Some(steps.run("Node and its test runner", |step| TestRunner::get(places, step))?);
        }
    }
    Ok(())
}
