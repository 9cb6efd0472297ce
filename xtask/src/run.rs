//! `cargo xtask demo` and `cargo xtask bench`: what they need, then the programs themselves.

use crate::build::{self, Guest, build, build_guest};
use crate::envoy::{self, Envoy};
use crate::go_program::{self, GoProgram};
use crate::monitoring;
use crate::places::{Places, cargo};
use crate::process::run_open;
use crate::setup::{Need, setup};
use anyhow::Result;
use std::process::{Command, ExitCode};

pub(crate) fn demo(arguments: Vec<String>) -> Result<ExitCode> {
    let mut needs = vec![Need::Envoy(envoy::NEWEST)];
    if asks_for_jaeger(&arguments) {
        needs.push(Need::GoProgram(GoProgram::Jaeger));
    }
    if arguments.iter().any(|argument| argument == "--alerts") {
        needs.push(Need::Monitoring);
    }
    run("meshspan-demo", &[], &needs, &[], arguments)
}

pub(crate) fn bench(arguments: Vec<String>) -> Result<ExitCode> {
    let needs = [Need::Envoy(envoy::NEWEST)];
    run("meshspan-bench", &["--release"], &needs, &[("MESHSPAN_EMPTY_WASM", Guest::Empty)], arguments)
}

/// Prometheus rules from a file of objectives. Needs nothing that set-up gets.
pub(crate) fn slo(arguments: &[String]) -> Result<ExitCode> {
    let places = Places::find()?;
    let manifest = places.root.join("Cargo.toml");
    let mut program = Command::new(cargo());
    // Where the user stands: the file's path is from there.
    program
        .args(["run", "--quiet", "--locked", "--profile", "quick", "--package", "meshspan-slo", "--manifest-path"])
        .arg(manifest);
    let status = run_open(program.arg("--").args(arguments))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The demo reads its own options; this one decides what it needs.
fn asks_for_jaeger(arguments: &[String]) -> bool {
    arguments.windows(2).any(|pair| pair == ["--backend", "jaeger"])
}

/// Tells a program where the module and the Envoys are.
pub(crate) fn tell<'c>(command: &'c mut Command, places: &Places, envoys: &[Envoy]) -> &'c mut Command {
    command
        .current_dir(&places.root)
        .env("MESHSPAN_WASM", places.module())
        .env("MESHSPAN_ENVOY_BINS", envoy::told(envoys))
}

/// Runs a package's program; `guests` are told to it by these variables.
fn run(
    package: &str,
    profile: &[&str],
    needs: &[Need],
    guests: &[(&str, Guest)],
    arguments: Vec<String>,
) -> Result<ExitCode> {
    let places = Places::find()?;
    let mut program = Command::new(cargo());
    program.args(["run", "--locked", "--package", package]).args(profile).arg("--");
    let asks_for_help = arguments.iter().any(|argument| argument == "--help" || argument == "-h");
    program.args(arguments);
    if asks_for_help {
        program.current_dir(&places.root);
    } else {
        let ready = setup(&places, &[&build::NEEDS[..], needs].concat())?;
        build(&places, &ready, false)?;
        for (variable, guest) in guests {
            program.env(variable, build_guest(&places, ready.toolchain()?, *guest)?);
        }
        tell(&mut program, &places, ready.envoys());
        go_program::tell(&mut program, ready.go_programs());
        monitoring::tell(&mut program, ready.monitoring());
    }
    let status = run_open(&mut program)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_gets_a_jaeger_only_when_it_is_asked_for() {
        for (line, expected) in [
            ("--backend jaeger", true),
            ("--keep --backend jaeger --json jaeger", true),
            ("--backend embedded", false),
            ("--json jaeger", false), // a file of that name
            ("", false),
        ] {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(asks_for_jaeger(&arguments), expected, "{line:?}");
        }
    }
}
