//! The machine and the day, without a name that belongs to anyone.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the figures depend on.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    /// GiB, rounded.
    pub(crate) memory: u64,
    pub(crate) kernel: String,
    pub(crate) envoy: String,
    /// UTC, `YYYY-MM-DD`.
    pub(crate) date: String,
    /// The source's commit, where git can tell.
    pub(crate) commit: Option<String>,
}

impl Machine {
    pub(crate) fn describe(envoy: &str) -> Self {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let kib: u64 =
            field(&file("/proc/meminfo"), "MemTotal").and_then(|v| v.split(' ').next()?.parse().ok()).unwrap_or(0);
        let processor = field(&file("/proc/cpuinfo"), "model name");
        Self {
            processor: processor.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: (kib + (1 << 19)) >> 20,
            kernel: format!("{} {}", std::env::consts::OS, version(&file("/proc/sys/kernel/osrelease"))),
            envoy: envoy.to_owned(),
            date: today(),
            commit: commit(),
        }
    }
}

impl Machine {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "processor": self.processor, "cores": self.cores, "memory_gib": self.memory, "kernel": self.kernel,
            "envoy": self.envoy, "date": self.date, "commit": self.commit,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, memory, kernel, envoy, date, commit } = self;
        write!(f, "{processor}, {cores} cores, {memory} GiB, {kernel}, Envoy {envoy}, {date}")?;
        commit.iter().try_for_each(|commit| write!(f, ", commit {commit}"))
    }
}

/// The value of the first line `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

/// The numbers of a release; what stands behind them may name the place where it was built.
fn version(release: &str) -> &str {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
    release.get(..end).unwrap_or_default()
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=10", "HEAD"])?;
    // What is not the measured code may differ.
    let changed = git(&["status", "--porcelain", "--", "core", "filter", "benches", "Cargo.lock"])?;
    Some(if changed.is_empty() { commit } else { format!("{commit} with changes") })
}

fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Year, month and day of a day since 1970-01-01.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)), // no leap year
            (11_016, (2000, 2, 29)),
            (19_782, (2024, 2, 29)),
            (20_088, (2024, 12, 31)),
            (20_089, (2025, 1, 1)),
        ] {
            assert_eq!(civil(days), expected, "day {days}");
        }
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "model\t\t: 2\nmodel name\t: A Processor: fast\nmodel name\t: another\n";
        assert_eq!(field(text, "model name").as_deref(), Some("A Processor: fast"));
        assert_eq!(field(text, "name"), None);
    }

    #[test]
    fn a_release_is_cut_to_its_numbers() {
        for (release, expected) in [("6.1.0-13-amd64\n", "6.1.0"), ("6.18.4", "6.18.4"), ("unknown", "")] {
            assert_eq!(version(release), expected, "{release:?}");
        }
    }
}
