//! `cargo xtask dist`: what a release holds, gathered in `target/dist`.

use crate::build::{NEEDS, build, write_whole};
use crate::options::Options;
use crate::places::{Places, cargo, on_path};
use crate::process::{output_of, run_open};
use crate::setup::setup;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

pub(crate) fn command(arguments: &[String]) -> Result<ExitCode> {
    let mut options = Options::of("dist", arguments);
    if let Some((name, _)) = options.next() {
        return options.unknown(name, &[]);
    }
    let places = Places::find()?;
    let ready = setup(&places, &NEEDS)?;
    build(&places, &ready, false)?;
    let dist = places.dist();
    copy_folder(&places.root.join("envoy-config"), &dist.join("envoy-config"))?;
    let generator = rule_generator(&places)?;
    let sums = checksum(&dist, &["meshspan.wasm", "meshspan-lean.wasm", &generator])?;
    write_whole(&dist.join("SHA256SUMS"), sums.as_bytes())?;
    print!("{sums}");
    println!("all in {}", dist.strip_prefix(&places.root).unwrap_or(&dist).display());
    Ok(ExitCode::SUCCESS)
}

/// Builds what makes Prometheus rules of a file of objectives, for machines like this one, and puts it beside the
/// module: its name there.
fn rule_generator(places: &Places) -> Result<String> {
    let mut compile = Command::new(cargo());
    compile.args(["build", "--locked", "--release", "--package", "meshspan-slo"]).current_dir(&places.root);
    let status = run_open(&mut compile)?;
    if !status.success() {
        bail!("the generator of rules does not compile ({status}); the compiler's messages stand above");
    }
    let name = format!("meshspan-slo{}", std::env::consts::EXE_SUFFIX);
    let compiled = places.target.join("release").join(&name);
    fs::copy(&compiled, places.dist().join(&name)).with_context(|| format!("cannot copy {}", compiled.display()))?;
    Ok(name)
}

/// The checksums of these files as `sha256sum --check` reads them.
fn checksum(dist: &Path, files: &[&str]) -> Result<String> {
    let mut command = if on_path("sha256sum").is_some() {
        Command::new("sha256sum")
    } else {
        let mut command = Command::new("shasum");
        command.args(["-a", "256"]);
        command
    };
    let lines = output_of(command.args(files).current_dir(dist)).context(
        "neither `sha256sum` nor `shasum` runs here; one of them (coreutils, perl) is needed for SHA256SUMS",
    )?;
    Ok(format!("{lines}\n"))
}

/// Copies a folder afresh, so that what is gone from it goes from the copy.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &copy)?;
        } else {
            fs::copy(entry.path(), &copy).with_context(|| format!("cannot write {}", copy.display()))?;
        }
    }
    Ok(())
}
