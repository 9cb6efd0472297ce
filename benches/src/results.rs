//! What the rounds say, and whether they say it clearly enough.

use serde_json::{Value, json};

use crate::load::header_lines;
use crate::machine::Machine;
use crate::options::Options;
use crate::rounds::Measured;
use crate::start::StartPair;
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
    /// CPU µs a request over the first variant in the same round; not for that one itself.
    pub(crate) added: Option<Estimate>,
    /// The same in the variant's own turns only.
    pub(crate) added_in_own_turn: Option<Estimate>,
    /// Medians of the rounds' latencies, µs.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Resident memory before the first request and after the last, bytes.
    pub(crate) memory: (u64, u64),
    pub(crate) requests: usize,
    pub(crate) spans: usize,
}

/// The filter's added cost over the native tracer's at the same rate.
pub(crate) struct Ratio {
    pub(crate) percent: f64,
    pub(crate) estimate: Estimate,
}

/// Medians over the starts, milliseconds; the added ones are of pairs.
pub(crate) struct Starts {
    pub(crate) filterless_wall: f64,
    pub(crate) added_wall: Estimate,
    pub(crate) added_cpu: Estimate,
}

impl Results {
    pub(crate) fn of(
        options: Options,
        machine: Machine,
        module_bytes: u64,
        subjects: &[Subject],
        measured: Measured,
        starts: &[StartPair],
    ) -> anyhow::Result<Self> {
        let figures = subjects
            .iter()
            .enumerate()
            .map(|(index, subject)| figures(index, subject, &measured))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut results = Self {
            ratios: ratios(subjects, &measured),
            starts: (!starts.is_empty()).then(|| Starts::of(starts)),
            doubts: Vec::new(),
            options,
            machine,
            module_bytes,
            figures,
            measured,
        };
        results.doubts = results.find_doubts();
        Ok(results)
    }

    /// Everything, with the rounds as they were, so that others can compute from them.
    pub(crate) fn json(&self) -> Value {
        let per_variant = self.figures.iter().enumerate().map(|(index, figures)| {
            let rounds = |pick: &dyn Fn(usize) -> f64| (0..self.measured.rounds.len()).map(pick).collect::<Vec<_>>();
            let round = |at: usize| &self.measured.rounds[at];
            json!({
                "name": figures.variant.name(),
                "cpu_us": estimate_json(&figures.cpu),
                "added_cpu_us": figures.added.as_ref().map(estimate_json),
                "added_cpu_us_in_own_turn": figures.added_in_own_turn.as_ref().map(estimate_json),
                "latency_us": {"p50": figures.p50, "p99": figures.p99},
                "resident_memory_bytes": {"idle": figures.memory.0, "after": figures.memory.1},
                "requests": figures.requests,
                "spans": figures.spans,
                "rounds": {
                    "cpu_us": rounds(&|at| round(at).cpu[index]),
                    "cpu_us_in_own_turn": rounds(&|at| round(at).own_turn[index]),
                    "p50_us": rounds(&|at| round(at).p50[index]),
                    "p99_us": rounds(&|at| round(at).p99[index]),
                },
            })
        });
        let machine = &self.machine;
        json!({
            "conclusive": self.doubts.is_empty(),
            "doubts": self.doubts,
            "machine": {
                "processor": machine.processor, "cores": machine.cores, "memory_gib": machine.memory,
                "kernel": machine.kernel, "envoy": machine.envoy, "date": machine.date, "commit": machine.commit,
                "used_by_others": self.measured.others, "stolen": self.measured.stolen,
            },
            "method": {
                "rounds": self.options.rounds, "warm_up_rounds": self.options.warm_up,
                "requests_a_round": self.options.requests, "connections": self.options.connections, "pinned": self.options.pin,
                "request_header_lines": header_lines(), "seconds": self.measured.took.as_secs_f64(),
            },
            "variants": per_variant.collect::<Vec<_>>(),
            "ratios": self.ratios.iter().map(|ratio| json!({
                "percent": ratio.percent, "meshspan_over_native": estimate_json(&ratio.estimate),
            })).collect::<Vec<_>>(),
            "module_bytes": self.module_bytes,
            "start_ms": self.starts.as_ref().map(|starts| json!({
                "filterless": starts.filterless_wall,
                "added": estimate_json(&starts.added_wall),
                "added_cpu": estimate_json(&starts.added_cpu),
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
                    "the ratio at {} %: the rounds disagree, {median:.2} ({:.2} to {:.2})",
                    ratio.percent, interval.0, interval.1
                ));
            }
        }
        doubts
    }
}

impl Starts {
    fn of(pairs: &[StartPair]) -> Self {
        let estimate = |added: &dyn Fn(&StartPair) -> f64| Estimate::of(&pairs.iter().map(added).collect::<Vec<_>>());
        Self {
            filterless_wall: median(pairs.iter().map(|pair| pair.filterless.wall)),
            added_wall: estimate(&|pair| pair.meshspan.wall - pair.filterless.wall),
            added_cpu: estimate(&|pair| pair.meshspan.cpu - pair.filterless.cpu),
        }
    }
}

/// Whether an added cost is known well enough.
fn added_is_clear(added: &Estimate) -> bool {
    added.uncertainty() <= COST.0.max(COST.1 * added.median)
}

/// Whether a ratio is known well enough; one with a median that is not above 0 is none.
fn ratio_is_clear(ratio: &Estimate) -> bool {
    ratio.median > 0.0 && ratio.uncertainty() <= RATIO * ratio.median
}

fn figures(index: usize, subject: &Subject, measured: &Measured) -> anyhow::Result<Figures> {
    let rounds = &measured.rounds;
    let over_filterless = |pick: &dyn Fn(usize) -> f64| {
        (index > 0).then(|| Estimate::of(&(0..rounds.len()).map(pick).collect::<Vec<_>>()))
    };
    Ok(Figures {
        variant: subject.variant,
        cpu: Estimate::of(&rounds.iter().map(|round| round.cpu[index]).collect::<Vec<_>>()),
        added: over_filterless(&|at| rounds[at].cpu[index] - rounds[at].cpu[0]),
        added_in_own_turn: over_filterless(&|at| rounds[at].own_turn[index] - rounds[at].own_turn[0]),
        p50: median(rounds.iter().map(|round| round.p50[index])),
        p99: median(rounds.iter().map(|round| round.p99[index])),
        memory: (subject.idle_memory, subject.memory()?),
        requests: subject.load.sent(),
        spans: subject.spans(),
    })
}

fn ratios(subjects: &[Subject], measured: &Measured) -> Vec<Ratio> {
    let added = |wanted: Variant| {
        let index = subjects.iter().position(|subject| subject.variant == wanted)?;
        Some(measured.rounds.iter().map(|round| round.cpu[index] - round.cpu[0]).collect::<Vec<_>>())
    };
    let of = |subject: &Subject| match subject.variant {
        Variant::Native { percent } => {
            let estimate = Estimate::of_ratio(&added(Variant::Meshspan { percent })?, &added(subject.variant)?);
            Some(Ratio { percent, estimate })
        }
        _ => None,
    };
    subjects.iter().filter_map(of).collect()
}

fn estimate_json(estimate: &Estimate) -> Value {
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
