//! What runs wasm tests in Node: wasm-bindgen's test runner, of the very version in Cargo.lock.

use crate::node;
use crate::partial::Partial;
use crate::places::{Places, cargo, on_path};
use crate::process::{output_of, run_logged};
use crate::progress::Step;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const NAME: &str = "wasm-bindgen-test-runner";

/// The runner, ready to be cargo's `runner`.
pub(crate) struct TestRunner {
    pub(crate) binary: PathBuf,
}

impl TestRunner {
    /// Finds or installs the runner, and makes sure of Node.
    pub(crate) fn get(places: &Places, step: &Step) -> Result<(Self, String)> {
        let node = node::version()?;
        // The runner and the library in the tests have to be of one version, exactly.
        let version = places.locked_version("wasm-bindgen")?;
        let folder = places.home.join(format!("wasm-bindgen-{version}"));
        let binary = folder.join("bin").join(NAME);
        if is_version(&binary, &version) {
            return Ok((Self { binary }, format!("ready ({version}, Node {node})")));
        }
        if let Some(found) = on_path(NAME).filter(|found| is_version(found, &version)) {
            return Ok((Self { binary: found }, format!("found on PATH ({version}, Node {node})")));
        }
        step.doing(format!("cargo install wasm-bindgen-cli {version} (compiles, a minute or two)"));
        install(places, &version, &folder).with_context(|| {
            format!(
                "{NAME} {version} could not be installed. What to do: give cargo a way to crates.io \
                 (a proxy? then set HTTPS_PROXY) and run this again; only the part `node` of \
                 `cargo xtask test` needs it"
            )
        })?;
        Ok((Self { binary }, format!("installed ({version}, Node {node})")))
    }
}

fn install(places: &Places, version: &str, folder: &Path) -> Result<()> {
    let partial = Partial::new(places, "wasm-bindgen");
    let log = places.log("wasm-bindgen")?;
    let run = |locked: bool| {
        let mut command = Command::new(cargo());
        command.args(["install", "wasm-bindgen-cli", "--bin", NAME, "--version", version]);
        // Without optimization: it runs for a moment, and compiling it is what takes the time.
        command.arg("--debug").env("CARGO_PROFILE_DEV_DEBUG", "false");
        command.env("CARGO_TARGET_DIR", places.home.join("build/wasm-bindgen"));
        command.args(locked.then_some("--locked")).arg("--root").arg(partial.path());
        run_logged(command.current_dir(&places.home), &log)
    };
    // A mirror may lack a version that the package's own lock file names.
    let may_differ = |error: &anyhow::Error| error.to_string().contains("failed to select a version");
    match run(true) {
        Err(error) if may_differ(&error) => run(false),
        outcome => outcome,
    }?;
    partial.put(folder)?;
    let _ = fs::remove_dir_all(places.home.join("build/wasm-bindgen"));
    Ok(())
}

fn is_version(binary: &Path, version: &str) -> bool {
    output_of(Command::new(binary).arg("--version")).is_some_and(|text| text.split(' ').next_back() == Some(version))
}
