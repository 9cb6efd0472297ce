//! grpcio, the gRPC library of Python: the end-to-end tests' callers and servers.

use crate::partial::Partial;
use crate::pip;
use crate::places::Places;
use crate::process::output_of;
use crate::progress::Step;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release.
const VERSION: &str = "1.85.1";
/// What it asks for.
const TYPING_EXTENSIONS: &str = "4.15.0";

/// The variable that tells the programs where it is.
pub(crate) const VARIABLE: &str = "MESHSPAN_GRPCIO";

/// Finds or installs it: the folder for `PYTHONPATH`. `None`, with the reason, where this machine cannot have it.
pub(crate) fn get(places: &Places, step: &Step) -> Result<(Option<PathBuf>, String)> {
    if let Some(named) = std::env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        let folder = fs::canonicalize(&named)
            .with_context(|| format!("{VARIABLE} names {}, which is not there", named.display()))?;
        let text = format!("{} is used, as {VARIABLE} says", folder.display());
        return Ok((Some(folder), text));
    }
    let folder = places.home.join(format!("grpcio-{VERSION}"));
    if version_in(&folder).is_some_and(|version| version == VERSION) {
        return Ok((Some(folder), "ready".to_owned()));
    }
    let partial = Partial::new(places, "grpcio");
    let packages = [format!("grpcio=={VERSION}"), format!("typing_extensions=={TYPING_EXTENSIONS}")];
    let installed = pip::install(&packages, partial.path(), &places.log("grpcio")?, step);
    match installed {
        Err(error) => Ok((None, skipped(error.to_string().lines().next().unwrap_or_default()))),
        Ok(()) if version_in(partial.path()).is_none() => Ok((None, skipped("python3 cannot load it"))),
        Ok(()) => partial.put(&folder).map(|()| (Some(folder), "installed from PyPI".to_owned())),
    }
}

fn skipped(why: &str) -> String {
    format!("skipped: {why}; tests that need it will say so")
}

/// The version that loads from there.
fn version_in(folder: &Path) -> Option<String> {
    if !folder.is_dir() {
        return None;
    }
    let mut python = Command::new("python3");
    python.args(["-c", "import grpc; print(grpc.__version__)"]);
    output_of(python.env("PYTHONPATH", folder).env("PYTHONDONTWRITEBYTECODE", "1"))
}

/// Tells a program where it is.
pub(crate) fn tell<'c>(command: &'c mut Command, folder: Option<&Path>) -> &'c mut Command {
    if let Some(folder) = folder {
        command.env(VARIABLE, folder);
    }
    command
}
