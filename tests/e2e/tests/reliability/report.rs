//! The table in `docs/reliability.md`: a line for each fault and Envoy, written by the test that measured it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use meshspan_kit::envoy::EnvoyBinary;

use crate::books::Books;

/// The variable that has the tests write what they measure into the documentation.
const WRITE: &str = "MESHSPAN_WRITE_DOCS";

/// What stands around the lines.
const BEGIN: &str = "<!-- lines: begin -->";
const END: &str = "<!-- lines: end -->";

/// All faults, in the order of the table.
const FAULTS: &[&str] = &[
    "refuses connections",
    "accepts connections, never reads",
    "accepts requests, never answers",
    "answers in 10 s",
    "503 with `Retry-After: 1` (HTTP)",
    "429 (HTTP)",
    "UNAVAILABLE",
    "RESOURCE_EXHAUSTED with `RetryInfo`",
    "RESOURCE_EXHAUSTED without",
    "UNAUTHENTICATED",
    "partial success, one span a request refused",
    "resets in mid-response",
    "resets in mid-response (HTTP)",
    "garbage for a body",
    "garbage for a body (HTTP)",
    "200 with HTML",
    "200 with HTML (HTTP)",
    "takes at most 16 KiB a message",
    "takes at most 16 KiB a request, 413 (HTTP)",
    "up and down, a second each",
    "killed and started again, ten times",
    "its cluster is missing, then comes through CDS",
    "the listener is updated 50 times",
    "the filter traps, FAIL_RELOAD",
    "the filter traps, FAIL_OPEN",
    "Envoy gets SIGTERM",
    "Envoy gets SIGKILL",
    "8 seconds without an answer",
    "five minutes without an answer",
];

/// Whether what is measured is written into the documentation.
pub(crate) fn is_written() -> bool {
    std::env::var_os(WRITE).is_some_and(|value| value == "1")
}

/// What there is to say about one fault on one Envoy.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    /// How long it lasted.
    pub(crate) time: Duration,
    /// Requests sent to the listener with the filter.
    pub(crate) requests: u64,
    /// Those that were not answered as without the filter.
    pub(crate) errors: u64,
    pub(crate) books: Books,
    /// Spans that are in no book: what a machine or an Envoy had that came to an end.
    pub(crate) lost: u64,
    /// The 99th percentile beside the one with a healthy backend just before.
    pub(crate) p99: Option<(Duration, Duration)>,
    /// Resident memory of Envoy before and after, bytes.
    pub(crate) memory: Option<(u64, u64)>,
}

impl Row {
    /// Shows the row, and writes it into the documentation where that is asked for.
    pub(crate) fn tell(&self, envoy: &EnvoyBinary) -> anyhow::Result<()> {
        let line = self.line(&envoy.version)?;
        eprintln!("{line}");
        if !is_written() {
            return Ok(());
        }
        let file = file();
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        std::fs::write(&file, with_line(&text, &line)?).with_context(|| format!("cannot write {}", file.display()))
    }

    fn line(&self, version: &str) -> anyhow::Result<String> {
        let Books { started, exported, retried, .. } = &self.books;
        let (dropped, answers) = (counts(&self.books.dropped), counts(&self.books.requests));
        let p99 = self.p99.map_or_else(
            || "–".to_owned(),
            |(before, during)| {
                let ratio = during.as_secs_f64() / before.as_secs_f64().max(1e-6);
                format!("{ratio:.1} ({:.1} ms)", during.as_secs_f64() * 1e3)
            },
        );
        #[allow(clippy::cast_precision_loss)]
        let memory = self.memory.map_or_else(
            || "–".to_owned(),
            |(before, after)| format!("{:+.1} MiB", (after as f64 - before as f64) / f64::from(1 << 20)),
        );
        anyhow::ensure!(FAULTS.contains(&self.fault), "{:?} is not in the list of faults", self.fault);
        Ok(format!(
            "| {} | {version} | {:.1} s | {} | {} | {started} | {exported} | {dropped} | {} | {answers} | {retried} | {p99} | {memory} |",
            self.fault,
            self.time.as_secs_f64(),
            self.requests,
            self.errors,
            self.lost,
        ))
    }
}

/// `3 queue_full, 1 expired`, or `0`.
fn counts(by: &BTreeMap<String, u64>) -> String {
    let counts: Vec<String> = by.iter().map(|(what, count)| format!("{count} {what}")).collect();
    if counts.is_empty() { "0".to_owned() } else { counts.join(", ") }
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reliability.md")
}

/// The text with this line in the place of the one for the same fault and Envoy, or in its own place.
fn with_line(text: &str, line: &str) -> anyhow::Result<String> {
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("no {BEGIN}"))?;
    let (old, after) = rest.split_once(END).with_context(|| format!("no {END}"))?;
    let heading: Vec<&str> = old.trim().lines().take(2).collect();
    let mut lines: Vec<&str> = old.trim().lines().skip(2).filter(|old| key(old) != key(line)).collect();
    lines.push(line);
    lines.sort_by_key(|line| key(line));
    Ok(format!("{before}{BEGIN}\n\n{}\n{}\n\n{END}{after}", heading.join("\n"), lines.join("\n")))
}

/// The fault's place in the list, and the Envoy, newest first.
fn key(line: &str) -> (usize, std::cmp::Reverse<&str>) {
    let mut cells = line.split('|').map(str::trim).skip(1);
    let fault = cells.next().unwrap_or_default();
    let place = FAULTS.iter().position(|known| *known == fault).unwrap_or(FAULTS.len());
    (place, std::cmp::Reverse(cells.next().unwrap_or_default()))
}

#[test]
fn a_line_stands_once_and_in_its_place() {
    let text = format!("a\n{BEGIN}\n\n| fault | Envoy |\n|---|---|\n\n{END}\nb\n");
    let mut written = text;
    for line in ["| UNAVAILABLE | 1.36.4 | 1 |", "| 429 (HTTP) | 1.40.0 | 2 |", "| UNAVAILABLE | 1.40.0 | 3 |"] {
        written = with_line(&written, line).unwrap();
    }
    written = with_line(&written, "| UNAVAILABLE | 1.36.4 | 4 |").unwrap();
    let lines = "| 429 (HTTP) | 1.40.0 | 2 |\n| UNAVAILABLE | 1.40.0 | 3 |\n| UNAVAILABLE | 1.36.4 | 4 |";
    assert_eq!(written, format!("a\n{BEGIN}\n\n| fault | Envoy |\n|---|---|\n{lines}\n\n{END}\nb\n"));
}
