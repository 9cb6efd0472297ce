//! `cargo xtask demo` and `cargo xtask bench`: what they need, then the programs themselves.

use crate::build::build;
use crate::envoy::{self, Envoy};
use crate::places::{Places, cargo};
use crate::process::run_open;
use crate::setup::{Need, setup};
use anyhow::Result;
use std::process::{Command, ExitCode};

pub(crate) fn demo(arguments: Vec<String>) -> Result<ExitCode> {
    run("meshspan-demo", &[], arguments)
}

pub(crate) fn bench(arguments: Vec<String>) -> Result<ExitCode> {
    run("meshspan-bench", &["--release"], arguments)
}

/// Tells a program where the module and the Envoys are.
pub(crate) fn tell<'c>(command: &'c mut Command, places: &Places, envoys: &[Envoy]) -> &'c mut Command {
    command
        .current_dir(&places.root)
        .env("MESHSPAN_WASM", places.module())
        .env("MESHSPAN_ENVOY_BINS", envoy::told(envoys))
}

fn run(package: &str, profile: &[&str], arguments: Vec<String>) -> Result<ExitCode> {
    let places = Places::find()?;
    let mut program = Command::new(cargo());
    program.args(["run", "--locked", "--package", package]).args(profile).arg("--");
    let asks_for_help = arguments.iter().any(|argument| argument == "--help" || argument == "-h");
    program.args(arguments);
    if asks_for_help {
        program.current_dir(&places.root);
    } else {
        let ready = setup(&places, &[Need::WasiTarget, Need::Envoy(envoy::NEWEST)])?;
        build(&places, ready.toolchain()?, false)?;
        tell(&mut program, &places, ready.envoys());
    }
    let status = run_open(&mut program)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
