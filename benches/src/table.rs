//! The results on the terminal.

use std::fmt::Write as _;

use crate::memory::{Books, Memory, Usage};
use crate::results::{Figures, Results};
use crate::stall;
use crate::statistics::Estimate;

/// The results as aligned text.
pub(crate) fn text(results: &Results) -> String {
    let mut text = aligned(&HEADER, results.figures.iter().map(row));
    text.push('\n');
    for line in lines(results) {
        let _ = writeln!(text, "{line}");
    }
    text.push('\n');
    text.push_str(&verdict(results));
    text
}

/// All that stands below the table.
pub(crate) fn lines(results: &Results) -> Vec<String> {
    let mut lines = ratio_lines(results);
    lines.extend(growth_lines(results));
    lines.extend(latency_lines(results));
    lines.extend(stall::lines(&results.stalls));
    lines.extend(results.memory.iter().flat_map(|memory| {
        let [name, time, what, idle, _, after] = memory_row(memory);
        std::iter::once(format!("{name}: {time}: {what}, MiB: idle {idle}, {after}")).chain(book_lines(memory))
    }));
    lines.extend(other_lines(results));
    lines
}

/// A table as aligned text.
pub(crate) fn aligned<const N: usize>(header: &[&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let _ = if column == 0 { write!(line, "{cell:<width$}") } else { write!(line, "  {cell:>width$}") };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// The columns' heads.
pub(crate) const HEADER: [&str; 7] =
    ["variant", "CPU µs a request", "added: median", "quartiles", "95 % interval", "p50 / p99 µs", "memory MiB"];

/// A variant's cells.
pub(crate) fn row(figures: &Figures) -> [String; 7] {
    let none = || "–".to_owned();
    let added = figures.added.as_ref();
    [
        figures.variant.name(),
        format!("{:.1}", figures.cpu.median),
        added.map_or_else(none, |added| format!("{:+.1}", added.median)),
        added.map_or_else(none, |added| range(added.quartiles)),
        added.map_or_else(none, |added| range(added.interval)),
        format!("{:.0} / {:.0}", figures.p50, figures.p99),
        format!("{:.0} → {:.0}", mebibytes(figures.memory.0), mebibytes(figures.memory.1)),
    ]
}

/// The ratios, a line each.
pub(crate) fn ratio_lines(results: &Results) -> Vec<String> {
    let lines = results.ratios.iter().map(|ratio| {
        let Estimate { median, interval, .. } = ratio.estimate;
        let name = ratio.comparison.name;
        format!("{name}: {median:.2} (95 % interval {:.2} to {:.2})", interval.0, interval.1)
    });
    lines.collect()
}

/// How the cost grows, a line each.
pub(crate) fn growth_lines(results: &Results) -> Vec<String> {
    let lines = results.growth.iter().map(|growth| {
        let Estimate { median, interval, .. } = growth.estimate;
        format!(
            "{}: {median:.2} times (95 % interval {:.2} to {:.2}), to be at most {:.2}",
            growth.what, interval.0, interval.1, growth.mark
        )
    });
    lines.collect()
}

/// Latency, a line each.
pub(crate) fn latency_lines(results: &Results) -> Vec<String> {
    let Some(latency) = &results.latency else { return Vec::new() };
    let mut lines = vec![format!(
        "latency at {:.0} requests/s, half of what the slowest of these serves when it is saturated; {} rounds:",
        latency.rate, latency.rounds
    )];
    lines.extend(latency.figures.iter().map(|figures| {
        let added = |estimate: Option<Estimate>| {
            estimate.map_or_else(String::new, |Estimate { median, interval, .. }| {
                format!(" ({median:+.0}, 95 % interval {:.0} to {:.0})", interval.0, interval.1)
            })
        };
        format!(
            "latency, {} ({:.0} requests/s when saturated; {} turns given again): p50 {:.0} µs{}, p99 {:.0} µs{}",
            figures.variant.name(),
            figures.saturated,
            figures.again,
            figures.p50,
            added(figures.added_p50),
            figures.p99,
            added(figures.added_p99)
        )
    }));
    lines
}

/// The columns' heads of what an Envoy held.
pub(crate) const MEMORY_HEADER: [&str; 6] =
    ["variant", "time, requests", "MiB", "idle", "after a tenth of the time", "the most after that → at the end"];

/// An Envoy's cells.
pub(crate) fn memory_row(memory: &Memory) -> [String; 6] {
    let cells = |usage: &Usage| {
        format!("{:.2} / {:.1} / {:.0}", mebibytes(usage.linear), mebibytes(usage.allocated), mebibytes(usage.resident))
    };
    [
        memory.variant.name(),
        format!("{} s, {}", memory.took.as_secs(), memory.requests),
        "linear / Envoy's allocator / resident".to_owned(),
        cells(&memory.idle),
        cells(&memory.settled),
        format!("{} → {}", cells(&memory.most), cells(&memory.after)),
    ]
}

/// What became of everything, a line for each signal.
pub(crate) fn book_lines(memory: &Memory) -> Vec<String> {
    let line = |(signal, books): (&String, &Books)| {
        let Books { started, exported, dropped, queued, in_flight } = books;
        let name = memory.variant.name();
        format!(
            "{name}: {signal}: {started} = {exported} exported + {dropped} dropped + {queued} queued + {in_flight} in flight"
        )
    };
    memory.books.iter().map(line).collect()
}

/// Module, start and what surrounded the run, a line each.
#[allow(clippy::cast_precision_loss, reason = "a size")]
pub(crate) fn other_lines(results: &Results) -> Vec<String> {
    let start = results.starts.as_ref().map(|starts| {
        format!(
            "start of Envoy with the filter: {:+.0} ms (quartiles {}) on {:.0} ms, {:+.0} ms of CPU time; with an empty \
             Rust filter {:+.0} ms, {:+.0} ms of CPU time; three VMs each",
            starts.meshspan.wall.median,
            range(starts.meshspan.wall.quartiles),
            starts.filterless_wall,
            starts.meshspan.cpu.median,
            starts.empty.wall.median,
            starts.empty.cpu.median,
        )
    });
    let module = format!("module: {} bytes ({:.1} KiB)", results.module_bytes, results.module_bytes as f64 / 1024.0);
    let rounds = format!(
        "{} rounds in {:.0} s; meanwhile others used {:.0} % of the machine, the hypervisor took {:.0} %",
        results.measured.rounds.len(),
        results.measured.took.as_secs_f64(),
        results.measured.others * 100.0,
        results.measured.stolen * 100.0
    );
    std::iter::once(module).chain(start).chain([rounds]).collect()
}

/// Whether the run concludes, and if not, why.
pub(crate) fn verdict(results: &Results) -> String {
    if results.doubts.is_empty() {
        return "conclusive: the rounds agree well enough for the figures above\n".to_owned();
    }
    let mut text = "INCONCLUSIVE: do not quote these figures\n".to_owned();
    for doubt in &results.doubts {
        let _ = writeln!(text, "  - {doubt}");
    }
    text
}

fn range((low, high): (f64, f64)) -> String {
    format!("{low:.1} to {high:.1}")
}

#[allow(clippy::cast_precision_loss, reason = "a size")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
