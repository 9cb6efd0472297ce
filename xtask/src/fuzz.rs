//! `cargo xtask fuzz`: the fuzz targets, built with the coverage that libFuzzer steers by.
//!
//! The flags are those of the stable compiler, so neither a nightly toolchain nor `cargo-fuzz` is needed.

use crate::options::{Options, did_you_mean};
use crate::places::{Places, cargo, on_path};
use crate::process::{output_of, run_logged, run_open};
use crate::progress::Steps;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Tells LLVM to count the edges taken, in the shape that libFuzzer reads.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks";

pub(crate) fn command(arguments: &[String]) -> Result<ExitCode> {
    let mut seconds = 60;
    let mut only = None;
    let mut options = Options::of("fuzz", arguments);
    while let Some((name, joined)) = options.next() {
        match name {
            "--seconds" => {
                let value = options.value(name, joined)?;
                seconds = value
                    .parse()
                    .ok()
                    .filter(|s| *s > 0)
                    .with_context(|| format!("`--seconds {value}`: a whole number from 1 is allowed"))?;
            }
            option if option.starts_with('-') => return options.unknown(option, &["--seconds"]),
            target => only = Some(target),
        }
    }
    let places = Places::find()?;
    let mut targets = targets(&places)?;
    if let Some(only) = only {
        if !targets.iter().any(|target| target == only) {
            bail!(
                "there is no fuzz target `{only}`{}; there are: {}",
                did_you_mean(only, targets.iter().map(String::as_str)),
                targets.join(", ")
            );
        }
        targets.retain(|target| target == only);
    }
    build(&places)?;
    let mut steps = Steps::new(targets.len());
    for target in &targets {
        fuzz(&places, target, seconds, &mut steps)?;
    }
    println!("{} of {} targets ran {seconds} s each without a finding", targets.len(), targets.len());
    Ok(ExitCode::SUCCESS)
}

/// The names of the targets, as fuzz/Cargo.toml lists them.
pub(crate) fn targets(places: &Places) -> Result<Vec<String>> {
    let manifest = manifest(places);
    let text = std::fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    Ok(programs_in(&text))
}

/// Builds all targets.
pub(crate) fn build(places: &Places) -> Result<()> {
    let mut command = Command::new(cargo());
    // When the dependencies of the crates under test change, fuzz/Cargo.lock follows: `cargo check` in fuzz/ does it.
    command.current_dir(places.root.join("fuzz")).args([
        "build",
        "--locked",
        "--release",
        "--bins",
        "--target",
        &host()?,
    ]);
    let status = run_open(command.env("CARGO_TARGET_DIR", target_dir(places)).env("RUSTFLAGS", COVERAGE))?;
    if !status.success() {
        bail!("the fuzz targets do not compile ({status}); the compiler's messages stand above");
    }
    Ok(())
}

/// Runs one target for so many seconds. A finding is an error; libFuzzer leaves the input that did it.
pub(crate) fn fuzz(places: &Places, target: &str, seconds: u64, steps: &mut Steps) -> Result<()> {
    // What a run finds of interest is kept for the next one; the seeds stay as they are.
    let corpus = target_dir(places).join("corpus").join(target);
    let artifacts = target_dir(places).join("artifacts").join(target);
    let seeds = places.root.join("fuzz/seeds").join(target);
    for needed in [&corpus, &artifacts] {
        std::fs::create_dir_all(needed).with_context(|| format!("cannot create {}", needed.display()))?;
    }
    let log = places.log(&format!("fuzz-{target}"))?;
    let _ = std::fs::remove_file(&log);
    let mut command = Command::new(target_dir(places).join(host()?).join("release").join(target));
    command
        .current_dir(&places.root)
        .arg(&corpus)
        .args(seeds.is_dir().then_some(&seeds))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-timeout=10", "-print_final_stats=1"]);
    steps.run(target, |step| {
        step.doing(format!("runs for {seconds} s"));
        run_logged(&mut command, &log).with_context(|| {
            format!("the fuzz target `{target}` found something; the input lies in {}", artifacts.display())
        })?;
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let inputs = inputs_in(&said);
        Ok(((), format!("{} inputs, no finding", inputs.unwrap_or("some"))))
    })
}

/// How many inputs libFuzzer says it tried.
fn inputs_in(log: &str) -> Option<&str> {
    log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")).map(str::trim)
}

/// Whether there is a C++ compiler, which libFuzzer itself is built with.
pub(crate) fn has_compiler() -> bool {
    std::env::var_os("CXX").is_some() || ["c++", "g++", "clang++"].iter().any(|name| on_path(name).is_some())
}

fn manifest(places: &Places) -> PathBuf {
    places.root.join("fuzz/Cargo.toml")
}

/// Apart from the other builds, whose compiler flags differ.
fn target_dir(places: &Places) -> PathBuf {
    if std::env::var_os("CARGO_TARGET_DIR").is_some() {
        places.target.join("fuzz")
    } else {
        places.root.join("fuzz/target")
    }
}

/// The triple of this machine. Naming it keeps the coverage flags away from build scripts.
fn host() -> Result<String> {
    let text = output_of(Command::new("rustc").arg("-vV")).context("`rustc -vV` does not run; is Rust on PATH?")?;
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).context("`rustc -vV` names no host")
}

fn programs_in(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[[bin]]";
        } else if inside && let Some(value) = line.strip_prefix("name") {
            names.push(value.trim_start_matches([' ', '=']).trim_matches('"').to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::{inputs_in, programs_in};

    #[test]
    fn the_number_of_inputs_is_libfuzzers() {
        let log = "#2 INITED\nstat::number_of_executed_units: 1085089\nstat::average_exec_per_sec: 271272\n";
        assert_eq!(inputs_in(log), Some("1085089"));
        assert_eq!(inputs_in("cut off"), None);
    }

    #[test]
    fn targets_are_the_manifests_programs() {
        let manifest = "[package]\nname = \"fuzz\"\n\n[[bin]]\nname = \"b3\"\npath = \"b3.rs\"\n\n[[bin]]\npath = \"x.rs\"\n\
                        name=\"jaeger\"\n[dependencies]\nname = \"no\"\n";
        assert_eq!(programs_in(manifest), ["b3", "jaeger"]);
    }
}
