//! The results in docs/benchmarks.md: each run rewrites the parts of the page that are its own, between
//! `<!-- NAME -->` and `<!-- end of NAME -->`, and leaves all others.

use std::fmt::Write as _;

use anyhow::Context;

use crate::latency;
use crate::load::header_lines;
use crate::machine::Machine;
use crate::marks::{self, Mark};
use crate::masking;
use crate::memory::Memory;
use crate::options::{Options, Subject};
use crate::results::Results;
use crate::rounds::SLICE;
use crate::scale::{self, Scale};
use crate::table;

/// The page with what a run has found.
///
/// # Errors
/// When a part has no place on it.
pub(crate) fn rewrite(
    page: String,
    results: &Results,
    masked: &[masking::Row],
    marks: &[Mark],
) -> anyhow::Result<String> {
    let options = &results.options;
    let name = options.subject.name();
    if options.subject != Subject::Tracers {
        return replace_rows(replace(page, name, &figures(results))?, marks, |mark| row(&mark.cells()));
    }
    let page = replace(page, name, &(figures(results) + &method(results)))?;
    let rows = lines_of(&masking::HEADER, masked.iter().map(masking::Row::cells));
    let page = replace(page, "masking", &(written(options, &results.machine) + &rows))?;
    let table = lines_of(&marks::HEADER, marks.iter().map(Mark::cells));
    let verdict = if results.doubts.is_empty() { "" } else { "\nINCONCLUSIVE: see below.\n" };
    replace(page, "marks", &(written(options, &results.machine) + &table + verdict))
}

/// The project's first page, with what each mark came to.
///
/// # Errors
/// When there is no place for it.
pub(crate) fn rewrite_short(page: String, results: &Results, marks: &[Mark]) -> anyhow::Result<String> {
    if results.options.subject != Subject::Tracers {
        return replace_rows(page, marks, |mark| row(&short(mark)));
    }
    let table = lines_of(&marks::SHORT_HEADER, marks.iter().map(short));
    let verdict = if results.doubts.is_empty() { "" } else { "\nINCONCLUSIVE: the rounds disagree.\n" };
    replace(page, "marks", &(table + verdict))
}

/// A mark's cells on the first page.
fn short(mark: &Mark) -> [String; 4] {
    let [what, at_most, _, measured, verdict] = mark.cells();
    [what, at_most, measured, verdict]
}

fn row(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// The page with these rows in its table of marks, in place of those that it had of the same. A run of the main table
/// reads them from the other run's file; this is for when the other run comes later.
fn replace_rows(page: String, marks: &[Mark], row: impl Fn(&Mark) -> String) -> anyhow::Result<String> {
    let (begin, end) = ("<!-- marks -->\n", "<!-- end of marks -->\n");
    let part = page.split_once(begin).and_then(|(_, rest)| rest.split_once(end)).map(|(part, _)| part);
    let part = part.context("the page has no `<!-- marks -->` with its end")?;
    let is_old = |line: &&str| {
        let names = marks.iter().map(|mark| mark.what.as_str()).chain([marks::NO_GROWTH]);
        names.into_iter().any(|name| line.starts_with(&format!("| {name} |")))
    };
    let kept: Vec<&str> =
        if marks.is_empty() { Vec::new() } else { part.trim().lines().filter(|line| !is_old(line)).collect() };
    let Some(last) = kept.iter().rposition(|line| line.starts_with('|')) else { return Ok(page) };
    let (before, after) = kept.split_at(last + 1);
    let lines: Vec<String> = before.iter().map(|line| (*line).to_owned()).chain(marks.iter().map(row)).collect();
    replace(page.clone(), "marks", &format!("{}\n{}", lines.join("\n"), after.join("\n")))
}

/// The page with what a run about scale has found.
///
/// # Errors
/// When it has no place for it.
pub(crate) fn rewrite_scale(
    page: String,
    options: &Options,
    machine: &Machine,
    found: &Scale,
) -> anyhow::Result<String> {
    let mut part = written(options, machine) + &lines_of(&scale::HEADER, found.rows.iter().map(scale::Row::cells));
    part.push('\n');
    for note in found.notes() {
        let _ = writeln!(part, "- {note}");
    }
    replace(page, options.subject.name(), &part)
}

/// The page with what a long run has found.
///
/// # Errors
/// When it has no place for it.
pub(crate) fn rewrite_soak(
    page: String,
    options: &Options,
    machine: &Machine,
    found: &[Memory],
) -> anyhow::Result<String> {
    let rows = lines_of(&table::MEMORY_HEADER, found.iter().map(table::memory_row));
    let mut part = written(options, machine) + &rows + "\n";
    for line in found.iter().flat_map(table::book_lines) {
        let _ = writeln!(part, "- {line}");
    }
    replace(page, options.subject.name(), &part)
}

/// By which command, where and when.
fn written(options: &Options, machine: &Machine) -> String {
    format!("Written by `{}`.\n\nMachine: {machine}.\n\n", command(options))
}

/// The part `name` of the page, anew.
fn replace(mut page: String, name: &str, part: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->\n"));
    let place = page.find(&begin).map(|at| at + begin.len()).and_then(|from| {
        let length = page.get(from..)?.find(&end)?;
        Some(from..from + length)
    });
    let place = place.with_context(|| format!("the page has no `<!-- {name} -->` with its end"))?;
    page.replace_range(place, &format!("\n{}\n\n", part.trim_end()));
    Ok(page)
}

/// A table's lines.
fn lines_of<const N: usize>(header: &[&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut lines = format!("| {} |\n|---|{}\n", header.join(" | "), "---:|".repeat(N - 1));
    for row in rows {
        let _ = writeln!(lines, "| {} |", row.join(" | "));
    }
    lines
}

/// Where and what was measured, and whether that concludes.
fn figures(results: &Results) -> String {
    let name = results.options.subject.name();
    let mut part = written(&results.options, &results.machine);
    let _ = writeln!(part, "![CPU time that each variant adds to a request](benchmarks/{name}.svg)\n");
    part.push_str(&lines_of(&table::HEADER, results.figures.iter().map(table::row)));
    part.push('\n');
    for line in table::lines(results) {
        let _ = writeln!(part, "- {line}");
    }
    let _ = writeln!(part, "\n```\n{}```\n", table::verdict(results));
    part
}

/// How that was done.
fn method(results: &Results) -> String {
    let options = &results.options;
    let mut part = String::new();
    let _ = write!(
        part,
        "\
### How it is measured

- Every row is an Envoy process of its own, started from the same `envoy-config/server-minimal.yaml` with one worker
  thread; all are alive at once. \"native tracer\" is `envoy.tracers.opentelemetry` with its defaults; \"meshspan\" is
  the filter as that file configures it, for 1 % with a `parent_based` sampler whose root is
  `trace_id_ratio_based`. All export OTLP/gRPC to a collector inside the benchmark, which decodes and counts.
- \"parent says no\": requests have a `traceparent` besides, whose flags are 00; they are compared with a filterless Envoy
  that gets the same.
- \"lean module\" is [the one](operations.md#two-modules) that has no callback for response headers; all else is measured
  with the module that takes every configuration.
- \"empty Rust filter\" is the smallest one that is written with the SDK (`benches/empty`); the Lua filter makes a random
  trace context and writes it. \"Zipkin\" is `envoy.tracers.zipkin` with its defaults, by which it sends JSON after every
  five spans.
- \"metrics\" are those of [metrics.md](metrics.md) by OTLP every 5 s, or \"for Prometheus\" as Envoy's statistics, which
  nobody scrapes meanwhile. \"logs\" are a record for every request. Without \"%\" there is no tracer. The OTLP access log is
  `envoy.access_loggers.open_telemetry` with its defaults and the attributes of the filter's records that it has a format
  for.
- The load is HTTP/1.1 GET with {headers} header lines and no trace context, over {connections} keep-alive connections.
  The next request of a connection follows the answer at once, so that Envoy's worker seldom sleeps. The upstream of
  all is one more Envoy that answers by itself.
- A round gives {requests} requests to each variant, in turns of {slice}, whose order is drawn anew each time, so that
  what disturbs the machine for a moment meets all. There were {rounds} rounds after {warm_up} that do not count.
- {pinned}
- CPU time is the process's own (all threads, user and system) over the whole round, so that what is exported after a
  variant's turn is counted. \"added\" is that of the filterless Envoy in the same round subtracted; median and quartiles
  are over rounds, the interval is a percentile bootstrap of the median (for ratios: of the ratio of medians).
- The control is a second filterless Envoy. What it adds is the error of the method.
- Latency in the table is the client's, at saturation; median of the rounds' percentiles.
- Latency at half of saturation: {latency} s of requests in each variant's turn, evenly spread over 16 connections, sent
  whether or not earlier ones are answered. The rate is the same for all, and half of what the slowest can do. Each
  one's time counts from when it was due, so that a stall delays all that fall into it. What is added is against the
  filterless Envoy in the same round.
- The collector stands for another machine's and decodes whole batches, of 512 spans or of five. Its threads therefore
  run in the kernel's class for idle time (`SCHED_IDLE`): as equals of the load generator and of the upstream, with
  which they share a core, they kept these from running for up to 4 ms after each large batch, and the filter's p99
  seemed to be 3.4 ms above no filter's. (Not so with `--scale` and `--soak`, where no time may be idle.)
- A virtual machine is stopped for some milliseconds now and then. A thread on each core that does nothing but wake
  every millisecond is then late; a turn in which one was late by {still} ms or more is given again, and the lines above
  say how many were. A proxy cannot bring that about: after 3 ms the kernel gives the core to a thread that waits.
- Turns of 200 requests begin with caches full of another Envoy's data, which a proxy at work has not. That is no matter
  of comparison: in turns of 200, 600 and 1800, given alternately in one run, the native tracer added 28.0, 29.0 and
  26.8 µs at 100 % and 4.6, 4.5 and 4.0 at 1 %, the filter 30.2, 29.1 and 28.1 and 8.8, 9.4 and 8.1, with intervals of
  2 µs or more about each; leaving out a turn's first quarter changed none by as much as 1.5 µs. The shortest are compared
  because the machine changes least between them. The filter's ticks while others have their turn are counted, too: 0.3 µs
  of what it adds at 1 %.
- A worker's loop is one pass over all that has come in, as Envoy times it (`enable_dispatcher_stats`) in an Envoy of
  its own under as much load as 16 connections make, for 10 s: what stalls a worker, such as the sending of a batch,
  makes some passes longer.
- Memory in the table is resident memory, before the first request and after the last. Linear memory is that of the
  worker's virtual machine, which never shrinks; it is watched in an Envoy of its own, under as much load as 16
  connections make, while the exporters' books have to balance at every look.
- \"start\" is from the process's beginning until it serves, compared in turns of one start each; Envoy makes three VMs at one
  worker (the one that tries the configuration, the main thread's, the worker's).
- The run fails if an answer was not 200, or if the upstream did not get the context that it should, or if the collector
  did not get one span for each request at 100 %, none without a tracer, and a number that fits the ratio otherwise, as
  many log records as requests where there are logs, and durations that count every request where there are metrics. It
  is inconclusive, and says so, when other programs
  used the machine, when the control differs, or when the rounds disagree.

### What this does not say

- Nothing of other machines, of bodies, of HTTP/2 or gRPC traffic, of TLS, or of more worker threads.
- The two tracers do not record the same attributes. Each records what it does by default.
",
        headers = header_lines(),
        connections = options.connections,
        requests = options.requests,
        rounds = options.rounds,
        slice = SLICE,
        latency = latency::TURN,
        still = latency::STILL.as_millis(),
        warm_up = options.warm_up,
        pinned = if options.pin { PINNED } else { NOT_PINNED },
    );
    part
}

const PINNED: &str = "The measured Envoys share one core and never run at the same time; load, upstream and collector \
                      have the\n  other cores. (Not so during the starts, nor where there is one core.)";
const NOT_PINNED: &str = "Which core runs what is left to the kernel (`--no-pin`).";

/// The command that repeats the run.
fn command(options: &Options) -> String {
    let standard = Options { seconds: options.subject.seconds(), ..Options::default() };
    let mut command = format!("cargo xtask bench {}", options.subject.option()).trim_end().to_owned();
    for (name, value, default) in [
        ("rounds", options.rounds, standard.rounds),
        ("requests", options.requests, standard.requests),
        ("connections", options.connections, standard.connections),
        ("starts", options.starts, standard.starts),
        ("seconds", options.seconds, standard.seconds),
    ] {
        if value != default {
            let _ = write!(command, " --{name} {value}");
        }
    }
    if !options.pin {
        command.push_str(" --no-pin");
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_rewritten_and_all_else_stays() {
        let page = "# A\n<!-- one -->\nold\n<!-- end of one -->\nB\n<!-- two -->\n<!-- end of two -->\n";
        let expected = "# A\n<!-- one -->\n\nnew\n\n<!-- end of one -->\nB\n<!-- two -->\n<!-- end of two -->\n";
        assert_eq!(replace(page.to_owned(), "one", "new\n").unwrap(), expected);
        assert!(replace(page.to_owned(), "three", "new").is_err());
    }

    #[test]
    fn rows_of_a_later_run_stand_in_the_table_once() {
        let page = |rows: &str| {
            format!(
                "A\n<!-- marks -->\n\nB\n\n| mark |\n|---|\n| module | 1 |\n{rows}\n\nC\n\n<!-- end of marks -->\nD\n"
            )
        };
        let none = marks::of_growth(None);
        let of = |mark: &Mark| row(&mark.cells());
        let row = of(&none[0]);
        for before in [String::new(), row.clone(), format!("| {} | an old one |", marks::NO_GROWTH)] {
            let found = replace_rows(page(&before), &none, of).unwrap();
            assert_eq!(found.matches(marks::NO_GROWTH).count(), 1, "{found}");
            assert!(found.contains(&format!("| module | 1 |\n{row}\n")) && found.contains("\nC\n"), "{found}");
        }
        assert_eq!(replace_rows(page("| x |"), &[], of).unwrap(), page("| x |"));
    }

    #[test]
    fn the_page_has_a_place_for_every_part() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks.md");
        let page = std::fs::read_to_string(page).unwrap();
        for part in ["marks", "tracers", "samplers", "growth", "scale", "soak", "masking"] {
            replace(page.clone(), part, "").unwrap();
        }
    }
}
