//! What the rounds say, and whether they say it clearly enough.

use serde_json::{Value, json};

use crate::collector::Received;
use crate::growth::{self, Growth};
use crate::latency::Latency;
use crate::load::header_lines;
use crate::machine::Machine;
use crate::marks::{COMPARISONS, Comparison};
use crate::memory::{Memory, Usage};
use crate::options::Options;
use crate::rounds::{Measured, Round};
use crate::stall::{self, Stall};
use crate::start::{Start, StartRound};
use crate::statistics::{Estimate, median};
use crate::subject::Subject;
use crate::variant::Variant;

/// Fewer rounds than this conclude nothing.
const FEWEST_ROUNDS: usize = 20;
/// The share of the machine that others may use, and the hypervisor take, in a quiet run.
const QUIET: f64 = 0.15;
/// The control may differ from the first variant by so many µs.
const CONTROL: f64 = 1.0;
/// Half the confidence interval of an added cost: at most so many µs, or this share of the median.
const COST: (f64, f64) = (1.0, 0.15);
/// Half the confidence interval of a ratio, as a share of it.
const RATIO: f64 = 0.20;

/// Everything a run found.
pub(crate) struct Results {
    pub(crate) options: Options,
    pub(crate) machine: Machine,
    pub(crate) module_bytes: u64,
    pub(crate) figures: Vec<Figures>,
    pub(crate) ratios: Vec<Ratio>,
    /// Of a run about growth.
    pub(crate) growth: Vec<Growth>,
    /// Of the main run.
    pub(crate) latency: Option<Latency>,
    pub(crate) stalls: Vec<Stall>,
    pub(crate) memory: Vec<Memory>,
    /// Not of every run.
    pub(crate) starts: Option<Starts>,
    pub(crate) measured: Measured,
    /// Why nothing can be concluded; empty when it can.
    pub(crate) doubts: Vec<String>,
}

/// What was found of one variant.
pub(crate) struct Figures {
    pub(crate) variant: Variant,
    /// CPU µs a request.
    pub(crate) cpu: Estimate,
    /// CPU µs a request over its base ([`Variant::base_of`]) in the same round; not for that one itself.
    pub(crate) added: Option<Estimate>,
    /// The same in the variant's own turns only.
    pub(crate) added_in_own_turn: Option<Estimate>,
    /// Medians of the rounds' latencies, µs.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Resident memory before the first request and after the last, bytes.
    pub(crate) memory: (u64, u64),
    pub(crate) requests: usize,
    pub(crate) received: Received,
}

/// What one variant adds, over what another adds.
pub(crate) struct Ratio {
    pub(crate) comparison: &'static Comparison,
    pub(crate) estimate: Estimate,
}

/// Medians over the starts, milliseconds; the added ones are of the same round.
pub(crate) struct Starts {
    pub(crate) filterless_wall: f64,
    pub(crate) empty: AddedStart,
    pub(crate) meshspan: AddedStart,
    /// What the filter adds over what an empty one adds.
    pub(crate) ratio: Estimate,
}

/// What a filter adds to the start, milliseconds.
pub(crate) struct AddedStart {
    pub(crate) wall: Estimate,
    pub(crate) cpu: Estimate,
}

impl Results {
    #[allow(clippy::too_many_arguments, reason = "all that a run finds")]
    pub(crate) fn of(
        options: Options,
        machine: Machine,
        module_bytes: u64,
        figures: Vec<Figures>,
        measured: Measured,
        starts: &[StartRound],
        latency: Option<Latency>,
        stalls: Vec<Stall>,
        memory: Vec<Memory>,
    ) -> Self {
        let variants: Vec<_> = figures.iter().map(|figures| figures.variant).collect();
        let mut results = Self {
            ratios: ratios(&variants, &measured),
            growth: growth::of(&variants, &measured),
            latency,
            stalls,
            memory,
            starts: (!starts.is_empty()).then(|| Starts::of(starts)),
            doubts: Vec::new(),
            options,
            machine,
            module_bytes,
            figures,
            measured,
        };
        results.doubts = results.find_doubts();
        results
    }

    /// Everything, with the rounds as they were, so that others can compute from them.
    pub(crate) fn json(&self) -> Value {
        let per_variant = self.figures.iter().enumerate().map(|(index, figures)| {
            let hundredths = |value: f64| (value * 100.0).round() / 100.0;
            let rounds = |pick: &dyn Fn(usize) -> f64| {
                (0..self.measured.rounds.len()).map(|at| hundredths(pick(at))).collect::<Vec<_>>()
            };
            let round = |at: usize| &self.measured.rounds[at];
            json!({
                "name": figures.variant.name(),
                "cpu_us": estimate_json(&figures.cpu),
                "added_cpu_us": figures.added.as_ref().map(estimate_json),
                "added_cpu_us_in_own_turn": figures.added_in_own_turn.as_ref().map(estimate_json),
                "latency_us": {"p50": figures.p50, "p99": figures.p99},
                "resident_memory_bytes": {"idle": figures.memory.0, "after": figures.memory.1},
                "requests": figures.requests,
                "spans": figures.received.spans,
                "log_records": figures.received.logs,
                "requests_in_durations": figures.received.measured + figures.received.measured_for_prometheus,
                "rounds": {
                    "cpu_us": rounds(&|at| round(at).cpu[index]),
                    "cpu_us_in_own_turn": rounds(&|at| round(at).own_turn[index]),
                    "p50_us": rounds(&|at| round(at).p50[index]),
                    "p99_us": rounds(&|at| round(at).p99[index]),
                },
            })
        });
        json!({
            "conclusive": self.doubts.is_empty(),
            "doubts": self.doubts,
            "machine": self.machine.json(),
            "used_by_others": self.measured.others,
            "stolen": self.measured.stolen,
            "method": {
                "rounds": self.options.rounds, "warm_up_rounds": self.options.warm_up,
                "requests_a_round": self.options.requests, "connections": self.options.connections, "pinned": self.options.pin,
                "request_header_lines": header_lines(), "seconds": self.measured.took.as_secs_f64(),
            },
            "variants": per_variant.collect::<Vec<_>>(),
            "ratios": self.ratios.iter().map(|ratio| json!({
                "what": ratio.comparison.name, "above": ratio.comparison.above.name(),
                "below": ratio.comparison.below.name(), "ratio": estimate_json(&ratio.estimate),
            })).collect::<Vec<_>>(),
            "growth": self.growth.iter().map(|growth| json!({
                "what": growth.what, "mark": growth.mark, "ratio": estimate_json(&growth.estimate),
            })).collect::<Vec<_>>(),
            "latency_at_half_of_saturation": self.latency.as_ref().map(latency_json),
            "worker_loop": stall::json(&self.stalls),
            "memory": self.memory.iter().map(memory_json).collect::<Vec<_>>(),
            "module_bytes": self.module_bytes,
            "start_ms": self.starts.as_ref().map(|starts| json!({
                "filterless": starts.filterless_wall,
                "added": estimate_json(&starts.meshspan.wall),
                "added_cpu": estimate_json(&starts.meshspan.cpu),
                "added_by_empty_filter": estimate_json(&starts.empty.wall),
                "added_cpu_by_empty_filter": estimate_json(&starts.empty.cpu),
                "meshspan_over_empty_filter": estimate_json(&starts.ratio),
            })),
        })
    }

    fn find_doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.measured.rounds.len() < FEWEST_ROUNDS {
            doubts.push(format!("{} rounds are too few (at least {FEWEST_ROUNDS})", self.measured.rounds.len()));
        }
        if self.measured.others > QUIET {
            doubts.push(format!(
                "the machine was not quiet: other programs used {:.0} % of it (at most {:.0} %)",
                self.measured.others * 100.0,
                QUIET * 100.0
            ));
        }
        if self.measured.stolen > QUIET {
            doubts.push(format!("the hypervisor took {:.0} % of the machine", self.measured.stolen * 100.0));
        }
        for figures in &self.figures {
            let Some(added) = &figures.added else { continue };
            let name = figures.variant.name();
            if figures.variant.is_control() && added.median.abs() > CONTROL {
                doubts.push(format!(
                    "{name}: differs by {:+.2} µs from the same thing (at most {CONTROL})",
                    added.median
                ));
            }
            if !added_is_clear(added) {
                doubts.push(format!(
                    "{name}: the rounds disagree, {:.1} ± {:.1} µs",
                    added.median,
                    added.uncertainty()
                ));
            }
        }
        for ratio in &self.ratios {
            if !ratio_is_clear(&ratio.estimate) {
                let Estimate { median, interval, .. } = ratio.estimate;
                doubts.push(format!(
                    "{}: the rounds disagree, {median:.2} ({:.2} to {:.2})",
                    ratio.comparison.name, interval.0, interval.1
                ));
            }
        }
        for growth in &self.growth {
            if !ratio_is_clear(&growth.estimate) {
                doubts.push(format!("{}: the rounds disagree", growth.what));
            }
        }
        doubts
    }
}

fn latency_json(latency: &Latency) -> Value {
    let figures = latency.figures.iter().map(|figures| {
        json!({
            "name": figures.variant.name(), "saturated_requests_per_second": figures.saturated,
            "p50_us": figures.p50, "p99_us": figures.p99, "turns_given_again": figures.again,
            "added_p50_us": figures.added_p50.as_ref().map(estimate_json),
            "added_p99_us": figures.added_p99.as_ref().map(estimate_json),
        })
    });
    json!({"requests_per_second": latency.rate,
        "rounds": latency.rounds, "variants": figures.collect::<Vec<_>>()})
}

/// What an Envoy held.
pub(crate) fn memory_json(memory: &Memory) -> Value {
    let usage = |usage: &Usage| {
        json!({
            "linear_bytes": usage.linear, "allocated_bytes": usage.allocated, "resident_bytes": usage.resident,
        })
    };
    let books = memory.books.iter().map(|(signal, books)| {
        let value = json!({"started": books.started, "exported": books.exported, "dropped": books.dropped,
            "queued": books.queued, "in_flight": books.in_flight});
        (signal.clone(), value)
    });
    json!({
        "name": memory.variant.name(), "seconds": memory.took.as_secs_f64(), "requests": memory.requests,
        "idle": usage(&memory.idle), "settled": usage(&memory.settled), "most": usage(&memory.most),
        "after": usage(&memory.after), "books": books.collect::<serde_json::Map<_, _>>(),
    })
}

impl Starts {
    fn of(rounds: &[StartRound]) -> Self {
        let added = |pick: &dyn Fn(&StartRound) -> Start, time: &dyn Fn(&Start) -> f64| {
            rounds.iter().map(|round| time(&pick(round)) - time(&round.filterless)).collect::<Vec<_>>()
        };
        let wall = |start: &Start| start.wall;
        let cpu = |start: &Start| start.cpu;
        let of = |pick: &dyn Fn(&StartRound) -> Start| AddedStart {
            wall: Estimate::of(&added(pick, &wall)),
            cpu: Estimate::of(&added(pick, &cpu)),
        };
        Self {
            filterless_wall: median(rounds.iter().map(|round| round.filterless.wall)),
            empty: of(&|round| round.empty),
            meshspan: of(&|round| round.meshspan),
            ratio: Estimate::of_ratio(&added(&|round| round.meshspan, &wall), &added(&|round| round.empty, &wall)),
        }
    }
}

/// Whether an added cost is known well enough.
fn added_is_clear(added: &Estimate) -> bool {
    added.uncertainty() <= COST.0.max(COST.1 * added.median)
}

/// Whether a ratio is known well enough; one with a median that is not above 0 is none.
pub(crate) fn ratio_is_clear(ratio: &Estimate) -> bool {
    ratio.median > 0.0 && ratio.uncertainty() <= RATIO * ratio.median
}

/// What the rounds say of each variant.
pub(crate) fn figures_of(
    subjects: &[Subject],
    received: &[Received],
    measured: &Measured,
) -> anyhow::Result<Vec<Figures>> {
    let variants: Vec<_> = subjects.iter().map(|subject| subject.variant).collect();
    let of = |(index, (subject, received)): (usize, (&Subject, &Received))| {
        figures(Variant::base_of(&variants, index), index, subject, *received, measured)
    };
    subjects.iter().zip(received).enumerate().map(of).collect()
}

fn figures(
    base: Option<usize>,
    index: usize,
    subject: &Subject,
    received: Received,
    measured: &Measured,
) -> anyhow::Result<Figures> {
    let rounds = &measured.rounds;
    let over_base = |pick: &dyn Fn(&Round) -> &Vec<f64>| {
        let base = base?;
        let added = rounds.iter().map(|round| pick(round)[index] - pick(round)[base]);
        Some(Estimate::of(&added.collect::<Vec<_>>()))
    };
    Ok(Figures {
        variant: subject.variant,
        cpu: Estimate::of(&rounds.iter().map(|round| round.cpu[index]).collect::<Vec<_>>()),
        added: over_base(&|round| &round.cpu),
        added_in_own_turn: over_base(&|round| &round.own_turn),
        p50: median(rounds.iter().map(|round| round.p50[index])),
        p99: median(rounds.iter().map(|round| round.p99[index])),
        memory: (subject.idle_memory, subject.memory()?),
        requests: subject.requests(),
        received,
    })
}

fn ratios(variants: &[Variant], measured: &Measured) -> Vec<Ratio> {
    let added = |wanted: Variant| {
        let index = variants.iter().position(|variant| *variant == wanted)?;
        let base = Variant::base_of(variants, index)?;
        Some(measured.rounds.iter().map(|round| round.cpu[index] - round.cpu[base]).collect::<Vec<_>>())
    };
    let of = |comparison: &'static Comparison| {
        let estimate = Estimate::of_ratio(&added(comparison.above)?, &added(comparison.below)?);
        Some(Ratio { comparison, estimate })
    };
    COMPARISONS.iter().filter_map(of).collect()
}

pub(crate) fn estimate_json(estimate: &Estimate) -> Value {
    json!({
        "median": estimate.median,
        "quartiles": [estimate.quartiles.0, estimate.quartiles.1],
        "interval_95": [estimate.interval.0, estimate.interval.1],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_interval_is_not_clear() {
        let estimate = |median: f64, half: f64| Estimate {
            median,
            quartiles: (median - half, median + half),
            interval: (median - half, median + half),
        };
        for (median, half, expected) in [
            (20.0, 2.9, true),  // within 15 %
            (20.0, 3.1, false), // not
            (3.0, 0.9, true),   // within 1 µs
            (-0.2, 0.5, true),  // the control
            (0.0, 1.5, false),
        ] {
            assert_eq!(added_is_clear(&estimate(median, half)), expected, "{median} ± {half} µs");
        }
        for (median, half, expected) in
            [(1.0, 0.19, true), (1.0, 0.21, false), (-1.0, 0.0, false), (f64::NAN, 0.0, false)]
        {
            assert_eq!(ratio_is_clear(&estimate(median, half)), expected, "{median} ± {half}");
        }
    }
}
