//! `cargo xtask fuzz`: the fuzz targets, built with the coverage that libFuzzer steers by.
//!
//! The flags are those of the stable compiler, so neither a nightly toolchain nor `cargo-fuzz` is needed.

use crate::options::{Options, did_you_mean};
use crate::places::{Places, cargo, on_path};
use crate::process::{output_of, run_open};
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
                seconds = value.parse().ok().filter(|s| *s > 0).with_context(|| {
                    format!("`--seconds {value}`: a whole number from 1 is allowed")
                })?;
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
    for target in &targets {
        fuzz(&places, target, seconds)?;
    }
    println!(
        "{} of {} targets ran {seconds} s each without a finding",
        targets.len(),
        targets.len()
    );
    Ok(ExitCode::SUCCESS)
}

/// The names of the targets, as fuzz/Cargo.toml lists them.
pub(crate) fn targets(places: &Places) -> Result<Vec<String>> {
    let manifest = manifest(places);
    let text = std::fs::read_to_string(&manifest)
        .with_context(|| format!("cannot read {}", manifest.display()))?;
    Ok(programs_in(&text))
}

/// Runs one target for so many seconds. A finding is an error; libFuzzer leaves the input that did it.
pub(crate) fn fuzz(places: &Places, target: &str, seconds: u64) -> Result<()> {
    let folder = places.root.join("fuzz");
    // What a run finds of interest is kept for the next one; the seeds stay as they are.
    let corpus = fuzz_target_dir(places).join("corpus").join(target);
    let artifacts = fuzz_target_dir(places).join("artifacts").join(target);
    let seeds = folder.join("seeds").join(target);
    for needed in [&corpus, &artifacts] {
        std::fs::create_dir_all(needed)
            .with_context(|| format!("cannot create {}", needed.display()))?;
    }
    eprintln!("fuzzing {target} for {seconds} s");
    let mut command = Command::new(cargo());
    command.current_dir(&folder).args([
        "run",
        "--quiet",
        "--release",
        "--bin",
        target,
        "--target",
        &host()?,
    ]);
    if folder.join("Cargo.lock").is_file() {
        command.arg("--locked");
    }
    command
        .env("CARGO_TARGET_DIR", fuzz_target_dir(places))
        .env("RUSTFLAGS", COVERAGE)
        .arg("--")
        .arg(&corpus)
        .args(seeds.is_dir().then_some(&seeds))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-timeout=10", "-verbosity=0", "-print_final_stats=1"]);
    let status = run_open(&mut command)?;
    if !status.success() {
        bail!(
            "fuzz target `{target}` ended with {status}; an input that does it, if there is one, lies in {}",
            artifacts.display()
        );
    }
    Ok(())
}

/// Whether there is a C++ compiler, which libFuzzer itself is built with.
pub(crate) fn has_compiler() -> bool {
    std::env::var_os("CXX").is_some()
        || ["c++", "g++", "clang++"]
            .iter()
            .any(|name| on_path(name).is_some())
}

fn manifest(places: &Places) -> PathBuf {
    places.root.join("fuzz/Cargo.toml")
}

/// Apart from the other builds, whose compiler flags differ.
fn fuzz_target_dir(places: &Places) -> PathBuf {
    if std::env::var_os("CARGO_TARGET_DIR").is_some() {
        places.target.join("fuzz")
    } else {
        places.root.join("fuzz/target")
    }
}

/// The triple of this machine. Naming it keeps the coverage flags away from build scripts.
fn host() -> Result<String> {
    let text = output_of(Command::new("rustc").arg("-vV"))
        .context("`rustc -vV` does not run; is Rust on PATH?")?;
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("`rustc -vV` names no host")
}

fn programs_in(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[[bin]]";
        } else if inside && let Some(value) = line.strip_prefix("name") {
            names.push(
                value
                    .trim_start_matches([' ', '='])
                    .trim_matches('"')
                    .to_owned(),
            );
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::programs_in;

    #[test]
    fn targets_are_the_manifests_programs() {
        let manifest = "[package]\nname = \"fuzz\"\n\n[[bin]]\nname = \"b3\"\npath = \"b3.rs\"\n\n[[bin]]\npath = \"x.rs\"\n\
                        name=\"jaeger\"\n[dependencies]\nname = \"no\"\n";
        assert_eq!(programs_in(manifest), ["b3", "jaeger"]);
    }
}
