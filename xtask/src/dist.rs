//! `cargo xtask dist`: what a release holds, gathered in `target/dist`.

use crate::build::{build, write_whole};
use crate::options::Options;
use crate::places::{Places, on_path};
use crate::process::output_of;
use crate::setup::{Need, setup};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

pub(crate) fn command(arguments: &[String]) -> Result<ExitCode> {
    let mut options = Options::of("dist", arguments);
    if let Some((name, _)) = options.next() {
        return options.unknown(name, &[]);
    }
    let places = Places::find()?;
    let ready = setup(&places, &[Need::WasiTarget])?;
    build(&places, ready.toolchain()?, false)?;
    let dist = places.dist();
    copy_folder(&places.root.join("envoy-config"), &dist.join("envoy-config"))?;
    let sums = checksum(&dist)?;
    write_whole(&dist.join("SHA256SUMS"), sums.as_bytes())?;
    print!("{sums}");
    println!("all in {}", dist.strip_prefix(&places.root).unwrap_or(&dist).display());
    Ok(ExitCode::SUCCESS)
}

/// The module's checksum as `sha256sum --check` reads it.
fn checksum(dist: &Path) -> Result<String> {
    let mut command = if on_path("sha256sum").is_some() {
        Command::new("sha256sum")
    } else {
        let mut command = Command::new("shasum");
        command.args(["-a", "256"]);
        command
    };
    let line = output_of(command.arg("meshspan.wasm").current_dir(dist)).context(
        "neither `sha256sum` nor `shasum` runs here; one of them (coreutils, perl) is needed for SHA256SUMS",
    )?;
    Ok(format!("{line}\n"))
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
