//! What one Envoy holds under load for a time: the linear memory of its worker's machine, its allocator, the process;
//! and whether the exporters' books balance all the while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use meshspan_kit::envoy::{Envoy, EnvoyBinary};

use crate::cpu::Division;
use crate::load::Protocol;
use crate::progress::Progress;
use crate::subject::{Subject, Upstream};
use crate::variant::Variant;

/// Connections that keep the proxy busy.
const CONNECTIONS: usize = 16;
/// Requests between two looks at the clock: well below a second.
const SLICE: usize = 1_000;
/// How often the books are read for one look: a reading may fall between two of a worker's updates.
const READINGS: u32 = 5;

/// Memory at one moment, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The largest linear memory of a machine: the worker's, once there was load. The others are idle.
    pub(crate) linear: u64,
    /// What Envoy's allocator has given out.
    pub(crate) allocated: u64,
    /// Resident memory of the process.
    pub(crate) resident: u64,
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) variant: Variant,
    /// Before the load.
    pub(crate) idle: Usage,
    /// After a tenth of the time, and at least a minute unless the whole is shorter.
    pub(crate) settled: Usage,
    /// The most of each from then on.
    pub(crate) most: Usage,
    /// At the end.
    pub(crate) after: Usage,
    pub(crate) took: Duration,
    pub(crate) requests: usize,
    /// What each signal's exporter did, at the end.
    pub(crate) books: BTreeMap<String, Books>,
}

/// What became of one signal's items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) started: u64,
    pub(crate) exported: u64,
    pub(crate) dropped: u64,
    pub(crate) queued: u64,
    pub(crate) in_flight: u64,
}

/// Puts an Envoy of its own under full load for so long, and looks every second.
///
/// # Errors
/// When the books do not balance, or at the end something is missing that they do not tell of.
pub(crate) fn measure(
    variant: Variant,
    binary: &EnvoyBinary,
    upstream: &Upstream,
    time: Duration,
    division: Option<&Division>,
) -> anyhow::Result<Memory> {
    let mut subject = Subject::start(variant, binary, upstream, 1)?;
    if let Some(division) = division {
        division.pin_measured(subject.process_id())?;
    }
    let idle = Usage::of(&subject.envoy)?;
    let mut load = subject.connect(CONNECTIONS, Protocol::Http1)?;
    let settling = (time / 10).max(Duration::from_mins(1)).min(time / 2);
    let seconds = usize::try_from(time.as_secs())?.max(1);
    let mut progress = Progress::of("seconds under full load", seconds);
    let begun = Instant::now();
    let (mut settled, mut most, mut looks) = (None, Usage::default(), 0);
    while begun.elapsed() < time {
        load.run(SLICE)?;
        let elapsed = begun.elapsed();
        if usize::try_from(elapsed.as_secs())? <= looks {
            continue;
        }
        let usage = Usage::of(&subject.envoy)?;
        read_balanced(&subject.envoy)?;
        if elapsed >= settling {
            settled.get_or_insert(usage);
            most = most.max(usage);
        }
        while looks < usize::try_from(elapsed.as_secs())?.min(seconds) {
            looks += 1;
            progress.step(&format!(
                "{} requests, linear memory {} KiB, resident {} MiB",
                load.sent(),
                usage.linear >> 10,
                usage.resident >> 20
            ));
        }
    }
    let (took, after) = (begun.elapsed(), Usage::of(&subject.envoy)?);
    most = most.max(after);
    subject.sent_besides(load.sent());
    let books = settle(&subject)?;
    Ok(Memory {
        variant,
        idle,
        settled: settled.unwrap_or(after),
        most,
        after,
        took,
        requests: subject.requests(),
        books,
    })
}

/// Waits until nothing is queued or under way, and compares the books with what was sent and what came.
fn settle(subject: &Subject) -> anyhow::Result<BTreeMap<String, Books>> {
    let end = Instant::now() + Duration::from_secs(30);
    let books = loop {
        let books = read_balanced(&subject.envoy)?;
        let left: u64 = books.values().map(|books| books.queued + books.in_flight).sum();
        if left == 0 || Instant::now() > end {
            break books;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let (requests, received) = (u64::try_from(subject.requests())?, subject.received()?);
    for (signal, came) in [("traces", received.spans), ("logs", received.logs)] {
        let Some(books) = books.get(signal) else { continue };
        ensure!(books.started == requests, "{requests} requests, and {signal}: {books:?}");
        ensure!(books.exported == u64::try_from(came)?, "{came} came to the collector, and {signal}: {books:?}");
    }
    Ok(books)
}

impl Usage {
    fn of(envoy: &Envoy) -> anyhow::Result<Self> {
        let memory: serde_json::Value = serde_json::from_slice(&envoy.admin_get("/memory")?.body)?;
        let allocated = memory["allocated"].as_str().and_then(|text| text.parse().ok());
        Ok(Self {
            linear: envoy.linear_memories()?.into_iter().max().context("there is no machine")?,
            allocated: allocated.with_context(|| format!("/memory does not tell: {memory}"))?,
            resident: envoy.resident_memory()?,
        })
    }

    fn max(self, other: Self) -> Self {
        Self {
            linear: self.linear.max(other.linear),
            allocated: self.allocated.max(other.allocated),
            resident: self.resident.max(other.resident),
        }
    }
}

impl Books {
    /// What was begun and has neither arrived nor been given up waits or is under way.
    const fn balance(&self) -> bool {
        self.started == self.exported + self.dropped + self.queued + self.in_flight
    }
}

/// The books of all signals, which balance.
fn read_balanced(envoy: &Envoy) -> anyhow::Result<BTreeMap<String, Books>> {
    let mut last = BTreeMap::new();
    for _ in 0..READINGS {
        last = read(envoy)?;
        if last.values().all(Books::balance) {
            return Ok(last);
        }
    }
    anyhow::bail!("the books do not balance: {last:?}")
}

fn read(envoy: &Envoy) -> anyhow::Result<BTreeMap<String, Books>> {
    let samples = envoy.samples()?;
    let by_signal = |name: &str| samples.sums_by(&format!("meshspan_export_{name}"), &[], "signal");
    let mut books: BTreeMap<String, Books> = BTreeMap::new();
    for (name, field) in [
        ("started_total", (|books| &mut books.started) as fn(&mut Books) -> &mut u64),
        ("exported_total", |books| &mut books.exported),
        ("dropped_total", |books| &mut books.dropped),
        ("queued", |books| &mut books.queued),
        ("in_flight", |books| &mut books.in_flight),
    ] {
        for (signal, count) in by_signal(name) {
            *field(books.entry(signal).or_default()) = count;
        }
    }
    Ok(books)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nowhere_is_missing() {
        let books = Books { started: 10, exported: 6, dropped: 1, queued: 2, in_flight: 1 };
        assert!(books.balance());
        assert!(!Books { queued: 1, ..books }.balance());
        assert!(!Books { exported: 7, ..books }.balance());
    }
}
