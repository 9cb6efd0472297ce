//! Prometheus and Alertmanager with their tools, for the proof of rules, alerts and dashboards: those on `PATH`, or
//! Debian's packages, unpacked into the project's own folder. Nothing is installed, and nobody has to be root.

use crate::partial::Partial;
use crate::places::{Places, on_path};
use crate::process::{output_of, run_logged};
use crate::progress::Step;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that names the folder with the programs, to those that use them.
pub(crate) const VARIABLE: &str = "MESHSPAN_MONITORING";

/// Each program by the names that it goes by, ours first.
const PROGRAMS: [&[&str]; 4] =
    [&["prometheus"], &["promtool"], &["alertmanager", "prometheus-alertmanager"], &["amtool"]];
/// Debian's packages of them.
const PACKAGES: [&str; 2] = ["prometheus", "prometheus-alertmanager"];
/// What they were made from; with it, all is there.
const ORIGIN: &str = "origin";

/// Finds or gets them: the folder that has all four. `None`, with the reason, where this machine cannot have them.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn get(places: &Places, step: &Step) -> Result<(Option<PathBuf>, String)> {
    if let Some(named) = std::env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        let folder = fs::canonicalize(&named)
            .with_context(|| format!("{VARIABLE} names {}, which is not there", named.display()))?;
        let text = format!("{} is used, as {VARIABLE} says", folder.display());
        return Ok((Some(folder), text));
    }
    let folder = places.home.join("monitoring");
    if folder.join(ORIGIN).is_file() && PROGRAMS.iter().all(|names| folder.join(names[0]).is_file()) {
        return Ok((Some(folder), "ready".to_owned()));
    }
    let partial = Partial::new(places, "monitoring");
    partial.create()?;
    match fill(partial.path(), places, step)? {
        Ok(origin) => {
            fs::write(partial.path().join(ORIGIN), &origin)?;
            partial.put(&folder)?;
            Ok((Some(folder), origin))
        }
        Err(why) => Ok((None, format!("skipped: {why}; tests that need them will say so"))),
    }
}

/// Tells a program where they are.
pub(crate) fn tell<'c>(command: &'c mut Command, folder: Option<&Path>) -> &'c mut Command {
    if let Some(folder) = folder {
        command.env(VARIABLE, folder);
    }
    command
}

/// Fills a folder with the four programs: where they are from, or why they cannot be had.
fn fill(folder: &Path, places: &Places, step: &Step) -> Result<Result<String, String>> {
    let found: Option<Vec<PathBuf>> =
        PROGRAMS.iter().map(|names| names.iter().find_map(|name| on_path(name))).collect();
    if let Some(found) = found {
        for (names, program) in PROGRAMS.iter().zip(found) {
            std::os::unix::fs::symlink(program, folder.join(names[0]))?;
        }
        return Ok(Ok("found on PATH".to_owned()));
    }
    let (Some(apt), Some(_)) = (on_path("apt-get"), on_path("dpkg-deb")) else {
        return Ok(Err("not on PATH (prometheus, promtool, alertmanager, amtool), and no Debian here".to_owned()));
    };
    let log = places.log("monitoring")?;
    step.doing("apt-get download (30 MB)");
    let download = |log: &Path| run_logged(Command::new(&apt).current_dir(folder).arg("download").args(PACKAGES), log);
    let fetched = download(&log).or_else(|error| {
        // A fresh machine has no lists of packages, and only root may get them.
        let is_root = output_of(Command::new("id").arg("-u")).as_deref() == Some("0");
        if !is_root {
            return Err(error);
        }
        run_logged(Command::new(&apt).args(["update", "-q"]), &log)?;
        download(&log)
    });
    if let Err(error) = fetched {
        let text = error.to_string();
        let why = text.lines().next().unwrap_or_default();
        return Ok(Err(format!("Debian's packages cannot be fetched: {why} (all of it: {})", log.display())));
    }
    unpack(folder, &log)
}

/// Takes the programs out of the packages in `folder`.
fn unpack(folder: &Path, log: &Path) -> Result<Result<String, String>> {
    let tree = folder.join("tree");
    let mut versions = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        let package = entry.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            run_logged(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&tree), log)?;
            let format = "--showformat=${Package} ${Version}";
            versions.extend(output_of(Command::new("dpkg-deb").args(["--show", format]).arg(&package)));
            fs::remove_file(package)?;
        }
    }
    for names in PROGRAMS {
        let Some(program) = names.iter().map(|name| tree.join("usr/bin").join(name)).find(|file| file.is_file()) else {
            return Ok(Err(format!("Debian's packages have no {}", names[0])));
        };
        fs::rename(program, folder.join(names[0]))?;
    }
    free_alertmanager(folder, &tree)?;
    fs::remove_dir_all(tree)?;
    versions.sort();
    Ok(Ok(format!("Debian's {}", versions.join(" and "))))
}

/// Debian's Alertmanager does not start without its templates in `/usr/share`, where only root could put them. So our copy
/// looks for them where it runs, by a name of the same length, and a script runs it there.
fn free_alertmanager(folder: &Path, tree: &Path) -> Result<()> {
    const BINARY: &str = "alertmanager-debian";
    const SCRIPT: &str = "#!/bin/sh\n\
        here=$(dirname \"$(readlink -f \"$0\")\")\n\
        cd \"$here/templates\" && exec \"$here/alertmanager-debian\" \"$@\"\n";
    let program = folder.join("alertmanager");
    fs::rename(tree.join("usr/share/prometheus/alertmanager"), folder.join("templates"))
        .context("Debian's Alertmanager has no templates")?;
    let binary = with_other_path(fs::read(&program)?, TEMPLATES.as_bytes(), HERE.as_bytes());
    fs::write(folder.join(BINARY), binary)?;
    fs::set_permissions(folder.join(BINARY), fs::metadata(&program)?.permissions())?;
    fs::write(&program, SCRIPT)?;
    Ok(())
}

/// Where Debian's Alertmanager looks for its templates, and the folder that a program runs in, by a name as long.
const TEMPLATES: &str = "/usr/share/prometheus/alertmanager";
const HERE: &str = "/proc/self/cwd/./././././././././.";

fn with_other_path(mut binary: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let places: Vec<usize> =
        binary.windows(from.len()).enumerate().filter(|(_, found)| *found == from).map(|(place, _)| place).collect();
    for place in places {
        binary[place..place + to.len()].copy_from_slice(to);
    }
    binary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_path_takes_the_same_room() {
        assert_eq!(TEMPLATES.len(), HERE.len());
        let changed = with_other_path(b"ab/x/y;/x/y/z".to_vec(), b"/x/y", b"/p/.");
        assert_eq!(changed, b"ab/p/.;/p/./z");
    }
}
