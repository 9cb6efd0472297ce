//! Other programs: run with their output in a log, asked for one line, or run in the open.

use anyhow::{Context, Result, anyhow, bail};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// How much of a log a failure shows.
const LINES_SHOWN: usize = 30;
/// How much of each of its lines.
const CHARACTERS_SHOWN: usize = 160;

/// Runs `command` with its output added to `log`; on failure the error ends with the log's last lines.
pub(crate) fn run_logged(command: &mut Command, log: &Path) -> Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    let _ = writeln!(file, "$ {}", shown(command));
    let begin = file.metadata().map_or(0, |data| data.len());
    let status = command
        .stdin(Stdio::null())
        // A backtrace would push what went wrong out of the lines that are shown.
        .env("RUST_BACKTRACE", "0")
        .stdout(clone_of(&file)?)
        .stderr(clone_of(&file)?)
        .status()
        .map_err(|error| anyhow!("cannot start `{}`: {error}", command.get_program().display()))?;
    if status.success() {
        return Ok(());
    }
    let text = std::fs::read(log).unwrap_or_default();
    let own = text.get(usize::try_from(begin).unwrap_or(0)..).unwrap_or_default();
    bail!(
        "`{}` failed ({status})\n{}    (all of it: {})",
        shown(command),
        last_lines(&String::from_utf8_lossy(own), LINES_SHOWN),
        log.display()
    )
}

/// Runs `command` in the open: the terminal is its own.
pub(crate) fn run_open(command: &mut Command) -> Result<ExitStatus> {
    command.status().map_err(|error| anyhow!("cannot start `{}`: {error}", command.get_program().display()))
}

/// What `command` prints, when it can be started and ends well.
pub(crate) fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The command as one would type it, without its environment.
pub(crate) fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        let quoted = argument.is_empty() || argument.contains([' ', '"', '\'', '$', '[']);
        let _ = if quoted { write!(text, " '{argument}'") } else { write!(text, " {argument}") };
    }
    text
}

fn clone_of(file: &File) -> Result<File> {
    file.try_clone().context("cannot share the log file with a sub-command")
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let begin = lines.len().saturating_sub(count);
    lines.iter().skip(begin).fold(String::new(), |mut shown, line| {
        let cut: String = line.chars().take(CHARACTERS_SHOWN).collect();
        let dots = if cut.len() < line.len() { " ..." } else { "" };
        let _ = writeln!(shown, "    | {cut}{dots}");
        shown
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_end_of_its_own_output() {
        let folder = std::env::temp_dir().join(format!("xtask-process-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let log = folder.join("x.log");
        run_logged(Command::new("sh").args(["-c", "echo from an earlier step"]), &log).unwrap();
        let error = run_logged(Command::new("sh").args(["-c", "seq 1 50; echo oops >&2; exit 3"]), &log).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.contains("| oops\n"), "{text}");
        assert!(text.contains("| 50\n") && !text.contains("| 20\n"), "{text}");
        assert!(!text.contains("earlier"), "{text}");
        let error = run_logged(&mut Command::new("no-such-program-here"), &log).unwrap_err();
        assert!(error.to_string().contains("cannot start `no-such-program-here`"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
