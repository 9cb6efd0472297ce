//! Throughput: by workers, connections and protocol.

use std::time::Instant;

use serde_json::{Value, json};

use meshspan_kit::envoy::EnvoyBinary;

use crate::cpu::Division;
use crate::load::{Load, Protocol};
use crate::options::Options;
use crate::progress::Progress;
use crate::results::estimate_json;
use crate::statistics::{Estimate, Random};
use crate::subject::{Subject, Upstream};
use crate::variant::Variant;

/// What is compared: the first is what the others are held against.
const COMPARED: [Variant; 3] = [Variant::FILTERLESS, Variant::NATIVE, Variant::MESHSPAN];
const WORKERS: [u32; 2] = [1, 2];
const CONNECTIONS: [usize; 3] = [10, 100, 1_000];
/// Requests in one turn.
const TURN: usize = 4_000;

/// What was found.
pub(crate) struct Scale {
    pub(crate) rows: Vec<Row>,
    /// By workers and variant the share of spans that came to the collector: who is pressed hard drops some.
    arrived: Vec<(u32, Variant, f64)>,
}

impl Scale {
    /// What is to be said below the table.
    pub(crate) fn notes(&self) -> Vec<String> {
        let note = |(workers, variant, share): &(u32, Variant, f64)| {
            format!("workers: {workers}; {}: {:.2} % of the spans came to the collector", variant.name(), share * 100.0)
        };
        self.arrived.iter().map(note).collect()
    }

    pub(crate) fn json(&self) -> Value {
        let arrived = self.arrived.iter().map(
            |(workers, variant, share)| json!({"workers": workers, "name": variant.name(), "spans_arrived": share}),
        );
        json!({"rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(), "arrived": arrived.collect::<Vec<_>>()})
    }
}

/// One line of the table.
pub(crate) struct Row {
    workers: u32,
    protocol: Protocol,
    connections: usize,
    /// Of each of [`COMPARED`]: requests a second, CPU µs a request, and the throughput over the first one's.
    cells: Vec<(Estimate, Estimate, Estimate)>,
}

/// Measures all of it.
///
/// # Errors
/// When an answer was not 200, or the collectors did not get what they should.
pub(crate) fn measure(
    binary: &EnvoyBinary,
    upstream: &Upstream,
    options: &Options,
    division: Option<&Division>,
) -> anyhow::Result<Scale> {
    allow_files()?;
    let turns = if options.quick { 3 } else { options.rounds.min(20) };
    let (mut rows, mut arrived) = (Vec::new(), Vec::new());
    let mut progress = Progress::of("combinations", WORKERS.len() * CONNECTIONS.len() * 2);
    for workers in WORKERS {
        let mut subjects = COMPARED
            .iter()
            .map(|variant| Subject::start_with(*variant, binary, upstream, 1, workers))
            .collect::<anyhow::Result<Vec<_>>>()?;
        // Two workers have to share the cores with the load; one has its own.
        if let Some(division) = division.filter(|_| workers == 1) {
            subjects.iter().try_for_each(|subject| division.pin_measured(subject.process_id()))?;
        } else if let Some(division) = division {
            subjects.iter().try_for_each(|subject| division.pin_nowhere(subject.process_id()))?;
        }
        for protocol in [Protocol::Http1, Protocol::Http2] {
            for connections in CONNECTIONS {
                rows.push(row(&mut subjects, workers, protocol, connections, turns)?);
                progress.step("");
            }
        }
        for subject in subjects.iter().filter(|subject| subject.variant.expected().spans > 0.0) {
            arrived.push((workers, subject.variant, subject.arrived()?));
        }
    }
    Ok(Scale { rows, arrived })
}

fn row(
    subjects: &mut [Subject],
    workers: u32,
    protocol: Protocol,
    connections: usize,
    turns: usize,
) -> anyhow::Result<Row> {
    let mut loads =
        subjects.iter().map(|subject| subject.connect(connections, protocol)).collect::<anyhow::Result<Vec<Load>>>()?;
    let mut random = Random::new(3);
    let mut order: Vec<usize> = (0..subjects.len()).collect();
    let mut throughput = vec![Vec::new(); subjects.len()];
    let mut cpu = vec![Vec::new(); subjects.len()];
    // The first one warms all up.
    for turn in 0..=turns {
        random.shuffle(&mut order);
        for &index in &order {
            let (begun, before) = (Instant::now(), subjects[index].clock.read()?);
            loads[index].run(TURN).map_err(|error| error.context(subjects[index].variant.name()))?;
            let (took, used) = (begun.elapsed(), subjects[index].clock.read()?.saturating_sub(before));
            if turn > 0 {
                #[allow(clippy::cast_precision_loss, reason = "a count")]
                let count = TURN as f64;
                throughput[index].push(count / took.as_secs_f64());
                cpu[index].push(used.as_secs_f64() * 1e6 / count);
            }
        }
    }
    for (subject, load) in subjects.iter_mut().zip(&loads) {
        subject.sent_besides(load.sent());
    }
    let cells = throughput
        .iter()
        .zip(&cpu)
        .map(|(each, cpu)| (Estimate::of(each), Estimate::of(cpu), Estimate::of_ratio(each, &throughput[0])));
    Ok(Row { workers, protocol, connections, cells: cells.collect() })
}

/// As many open files as the system lets this process have: two thousand connections and more.
fn allow_files() -> anyhow::Result<()> {
    // SAFETY: the limits are plain numbers, read and written in place.
    #[allow(unsafe_code)]
    let status = unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    };
    anyhow::ensure!(status == 0, "cannot open more files");
    Ok(())
}

/// The columns' heads.
pub(crate) const HEADER: [&str; 7] = [
    "workers, protocol",
    "connections",
    "no filter: requests/s",
    "native tracer: requests/s (of no filter's)",
    "CPU µs",
    "meshspan: requests/s (of no filter's)",
    "CPU µs",
];

impl Row {
    /// The cells.
    pub(crate) fn cells(&self) -> [String; 7] {
        let protocol = match self.protocol {
            Protocol::Http1 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
        };
        let throughput = |index: usize| {
            let (each, _, ratio) = &self.cells[index];
            format!("{:.0} ({:.2}, {:.2} to {:.2})", each.median, ratio.median, ratio.interval.0, ratio.interval.1)
        };
        let cpu = |index: usize| format!("{:.1}", self.cells[index].1.median);
        [
            format!("{}, {protocol}", self.workers),
            self.connections.to_string(),
            format!("{:.0}, {} CPU µs", self.cells[0].0.median, cpu(0)),
            throughput(1),
            cpu(1),
            throughput(2),
            cpu(2),
        ]
    }

    fn json(&self) -> Value {
        let cells = COMPARED.iter().zip(&self.cells).map(|(variant, (throughput, cpu, ratio))| {
            json!({"name": variant.name(), "requests_per_second": estimate_json(throughput),
                "cpu_us": estimate_json(cpu), "over_no_filter": estimate_json(ratio)})
        });
        json!({"workers": self.workers, "protocol": format!("{:?}", self.protocol), "connections": self.connections,
            "variants": cells.collect::<Vec<_>>()})
    }
}
