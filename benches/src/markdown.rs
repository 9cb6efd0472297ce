//! The results as a page: docs/benchmarks.md.

use std::fmt::Write as _;

use crate::load::header_lines;
use crate::results::Results;
use crate::rounds::SLICE;
use crate::table;

/// The whole page.
pub(crate) fn page(results: &Results) -> String {
    let mut page = format!("# Benchmarks\n\nWritten by `{}`; run it to repeat them.\n\n", command(results));
    let _ = writeln!(page, "Machine: {}.\n", results.machine);
    let _ = writeln!(page, "| {} |", table::HEADER.join(" | "));
    let _ = writeln!(page, "|---|{}", "---:|".repeat(table::HEADER.len() - 1));
    for figures in &results.figures {
        let _ = writeln!(page, "| {} |", table::row(figures).join(" | "));
    }
    page.push('\n');
    for line in table::ratio_lines(results).into_iter().chain(table::other_lines(results)) {
        let _ = writeln!(page, "- {line}");
    }
    let _ = writeln!(page, "\n```\n{}```\n", table::verdict(results));
    let options = &results.options;
    let _ = write!(
        page,
        "\
## How it is measured

- Every row is an Envoy process of its own, started from the same `envoy-config/server-minimal.yaml` with one worker
  thread; all are alive at once. \"native tracer\" is `envoy.tracers.opentelemetry` with its defaults; \"meshspan\" is
  the filter as that file configures it, for 1 % with a `parent_based` sampler whose root is
  `trace_id_ratio_based`. Both export OTLP/gRPC to a collector inside the benchmark, which decodes and counts.
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
- Latency is the client's, at saturation; median of the rounds' percentiles.
- Memory is resident memory, before the first request and after the last.
- \"start\" is from the process's beginning until it serves, compared in pairs of starts; Envoy makes three VMs at one
  worker (the one that tries the configuration, the main thread's, the worker's).
- The run fails if an answer was not 200, or if the collector did not get one span for each request at 100 %, none
  without a tracer, and a number that fits the ratio otherwise. It is inconclusive, and says so, when other programs
  used the machine, when the control differs, or when the rounds disagree.

## What this does not say

- Nothing of other machines, of bodies, of HTTP/2 or gRPC traffic, of TLS, or of more worker threads.
- Nothing of latency below saturation.
- The two tracers do not record the same attributes. Each records what it does by default.
- The filter's own linear memory is not shown apart; it is in the resident memory.
",
        headers = header_lines(),
        connections = options.connections,
        requests = options.requests,
        rounds = options.rounds,
        slice = SLICE,
        warm_up = options.warm_up,
        pinned = if options.pin { PINNED } else { NOT_PINNED },
    );
    page
}

const PINNED: &str = "The measured Envoys share one core and never run at the same time; load, upstream and collector \
                      have the\n  other cores. (Not so during the starts, nor where there is one core.)";
const NOT_PINNED: &str = "Which core runs what is left to the kernel (`--no-pin`).";

/// The command that repeats the run.
fn command(results: &Results) -> String {
    let (options, standard) = (&results.options, crate::options::Options::default());
    let mut command = "cargo xtask bench".to_owned();
    for (name, value, default) in [
        ("rounds", options.rounds, standard.rounds),
        ("requests", options.requests, standard.requests),
        ("connections", options.connections, standard.connections),
        ("starts", options.starts, standard.starts),
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
