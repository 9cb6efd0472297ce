//! meshspan's commands: setup, build, demo, test, bench, slo, fuzz, dist.
//!
//! Run from anywhere in the checkout as `cargo xtask COMMAND`. What each command needs, it finds or gets
//! first (see [`setup`]), into the project's own folder. It stays light on purpose: both commands of the
//! README begin with compiling it.

mod build;
mod dist;
mod envoy;
mod fuzz;
mod go_program;
mod grpcio;
mod help;
mod link;
mod monitoring;
mod node;
mod options;
mod partial;
mod pip;
mod places;
mod process;
mod progress;
mod run;
mod setup;
mod tally;
mod test;
mod test_runner;
mod wasm_opt;
mod wasm_toolchain;

use anyhow::{Result, bail};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_else(|| "help".to_owned());
    match dispatch(&command, arguments.collect()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\n{}", describe(&error));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &str, arguments: Vec<String>) -> Result<ExitCode> {
    let asks_for_help = arguments.iter().take_while(|a| *a != "--").any(|a| a == "--help" || a == "-h");
    if asks_for_help && !matches!(command, "demo" | "bench" | "slo") {
        return Ok(help::print());
    }
    match command {
        "setup" => setup::command(&arguments),
        "build" => build::command(&arguments),
        "test" => test::command(&arguments),
        "demo" => run::demo(arguments),
        "bench" => run::bench(arguments),
        "slo" => run::slo(&arguments),
        "fuzz" => fuzz::command(&arguments),
        "dist" => dist::command(&arguments),
        "help" | "--help" | "-h" => Ok(help::print()),
        other => bail!(
            "there is no command `{other}`{}; `cargo xtask help` lists them",
            options::did_you_mean(other, help::COMMANDS.iter().map(|(name, _)| *name))
        ),
    }
}

/// The error and what caused it, outermost first, a line each.
fn describe(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1) {
        text.push_str("\n  because: ");
        text.push_str(&cause.to_string());
    }
    text
}
