//! What the filter is to come to, and whether it does.

use serde_json::{Value, json};

use crate::latency::Latency;
use crate::memory::{Memory, Usage};
use crate::results::{Results, ratio_is_clear};
use crate::statistics::Estimate;
use crate::variant::Variant;

/// What one variant adds in CPU time, over what another adds.
#[derive(Debug, PartialEq)]
pub(crate) struct Comparison {
    pub(crate) name: &'static str,
    pub(crate) above: Variant,
    pub(crate) below: Variant,
    /// The ratio is to be no more than this,
    pub(crate) mark: f64,
    /// and at best this.
    pub(crate) hope: f64,
}

/// The ratios that have a mark.
pub(crate) static COMPARISONS: [Comparison; 7] = [
    Comparison {
        name: "100 % sampled, against the native tracer at 100 %",
        above: Variant::MESHSPAN,
        below: Variant::NATIVE,
        mark: 1.0,
        hope: 0.6,
    },
    Comparison {
        name: "1 % sampled, against the native tracer at 1 %",
        above: Variant::MESHSPAN_ONE_PERCENT,
        below: Variant::NATIVE_ONE_PERCENT,
        mark: 1.5,
        hope: 1.0,
    },
    Comparison {
        name: "1 % sampled, lean module, against the native tracer at 1 %",
        above: Variant::LEAN_ONE_PERCENT,
        below: Variant::NATIVE_ONE_PERCENT,
        mark: 1.5,
        hope: 1.0,
    },
    Comparison {
        name: "parent says no, against the native tracer at 1 %",
        above: Variant::MESHSPAN_PARENT,
        below: Variant::NATIVE_ONE_PERCENT,
        mark: 1.5,
        hope: 1.0,
    },
    Comparison {
        name: "parent says no, lean module, against the native tracer at 1 %",
        above: Variant::LEAN_PARENT,
        below: Variant::NATIVE_ONE_PERCENT,
        mark: 1.5,
        hope: 1.0,
    },
    Comparison {
        name: "metrics + spans at 100 %, against the native tracer at 100 %",
        above: Variant::MESHSPAN_METRICS,
        below: Variant::NATIVE,
        mark: 1.2,
        hope: 0.8,
    },
    Comparison {
        name: "three signals, against the native tracer at 100 % with Envoy's OTLP access log",
        above: Variant::MESHSPAN_ALL,
        below: Variant::NATIVE_LOGS,
        mark: 1.0,
        hope: 0.7,
    },
];

/// The module is to have no more bytes than this, and at best so many.
const MODULE: (u64, u64) = (600 << 10, 400 << 10);
/// The start is to take no longer than so many times an empty filter's.
const START: f64 = 2.0;
/// Linear memory of a worker, bytes: idle, and after the load.
const IDLE: u64 = 2 << 20;
const LOADED: u64 = 8 << 20;
/// Added latency is to stay below so many µs, and below the native tracer's.
const LATENCY: f64 = 86.0;
/// From 5 to 50 header lines the filter's own cost is to grow by no more than this factor.
const FLAT: f64 = 1.5;

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Mark {
    pub(crate) what: String,
    pub(crate) at_most: String,
    pub(crate) hope: Option<String>,
    pub(crate) measured: String,
    pub(crate) verdict: Verdict,
}

/// What a measurement says of its mark.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Met,
    /// The median meets it, and the interval reaches beyond.
    MetByMedian,
    /// How far beyond it is.
    Missed(String),
    /// The rounds disagree by too much to say.
    Unclear,
    /// How it is measured.
    NotMeasured(&'static str),
}

/// The columns' heads.
pub(crate) const HEADER: [&str; 5] = ["mark", "at most", "hope", "measured (95 % interval)", ""];

/// Those of the table on the project's first page.
pub(crate) const SHORT_HEADER: [&str; 4] = ["mark", "at most", "measured (95 % interval)", ""];

impl Mark {
    /// The cells.
    pub(crate) fn cells(&self) -> [String; 5] {
        [
            self.what.clone(),
            self.at_most.clone(),
            self.hope.clone().unwrap_or_default(),
            self.measured.clone(),
            match &self.verdict {
                Verdict::Met => "met".to_owned(),
                Verdict::MetByMedian => "met by the median".to_owned(),
                Verdict::Missed(distance) => format!("missed by {distance}"),
                Verdict::Unclear => "inconclusive: the rounds disagree".to_owned(),
                Verdict::NotMeasured(how) => format!("not measured: {how}"),
            },
        ]
    }

    pub(crate) fn json(&self) -> Value {
        json!({"what": self.what, "mark": self.at_most, "hope": self.hope, "measured": self.measured,
            "verdict": self.cells()[4]})
    }
}

/// All marks, with what a run of the main table found. `growth`: what the last run with `--growth` wrote.
pub(crate) fn of(results: &Results, growth: Option<&Value>) -> Vec<Mark> {
    let mut marks: Vec<_> = results
        .ratios
        .iter()
        .map(|ratio| Mark {
            what: format!("added CPU, {}", ratio.comparison.name),
            at_most: format!("{:.1}", ratio.comparison.mark),
            hope: Some(format!("{:.1}", ratio.comparison.hope)),
            measured: interval(&ratio.estimate, 2, ""),
            verdict: judge(&ratio.estimate, ratio.comparison.mark, 2, ""),
        })
        .collect();
    marks.extend(latency_marks(results.latency.as_ref()));
    marks.extend(memory_marks(&results.memory));
    marks.push(module_mark(results.module_bytes));
    marks.push(results.starts.as_ref().map_or_else(
        || not_measured("start of Envoy, against an empty Rust filter's", format!("{START:.1}"), "`--starts`"),
        |starts| Mark {
            what: "start of Envoy, against an empty Rust filter's (added time)".to_owned(),
            at_most: format!("{START:.1}"),
            hope: None,
            measured: interval(&starts.ratio, 1, ""),
            verdict: judge(&starts.ratio, START, 1, ""),
        },
    ));
    marks.extend(of_growth(growth));
    marks
}

fn latency_marks(latency: Option<&Latency>) -> Vec<Mark> {
    let what = "added p99 latency at half of saturation";
    let Some(latency) = latency else {
        return vec![not_measured(what, format!("{LATENCY} µs"), "`--rounds`")];
    };
    let added = |variant| latency.figures.iter().find(|figures| figures.variant == variant)?.added_p99;
    let (Some(native), Some(meshspan)) = (added(Variant::NATIVE), added(Variant::MESHSPAN)) else {
        return Vec::new();
    };
    let line = |mark: String, limit: f64| Mark {
        what: what.to_owned(),
        at_most: mark,
        hope: None,
        measured: interval(&meshspan, 0, " µs"),
        verdict: if meshspan.uncertainty().max(native.uncertainty()) > LATENCY / 2.0 {
            Verdict::Unclear
        } else {
            judge(&meshspan, limit, 0, " µs")
        },
    };
    vec![
        line(format!("the native tracer's, {}", interval(&native, 0, " µs")), native.median),
        line(format!("{LATENCY} µs"), LATENCY),
    ]
}

fn memory_marks(memory: &[Memory]) -> Vec<Mark> {
    let Some(first) = memory.first() else {
        return vec![not_measured("linear memory of a worker", "2 and 8 MiB".to_owned(), "`--seconds`")];
    };
    let line = |what: String, limit: u64, usage: Usage| Mark {
        what,
        at_most: format!("{} MiB", limit >> 20),
        hope: None,
        measured: format!("{:.2} MiB", mebibytes(usage.linear)),
        verdict: if usage.linear <= limit {
            Verdict::Met
        } else {
            Verdict::Missed(format!("{:.2} MiB", mebibytes(usage.linear - limit)))
        },
    };
    let mut marks = vec![line("linear memory of a worker, idle".to_owned(), IDLE, first.idle)];
    marks.extend(memory.iter().map(|memory| {
        let what = format!(
            "linear memory of a worker after {} s at full load; {}",
            memory.took.as_secs(),
            memory.variant.name()
        );
        line(what, LOADED, memory.after)
    }));
    marks
}

fn module_mark(bytes: u64) -> Mark {
    let (mark, hope) = MODULE;
    let kibibytes = |bytes: u64| format!("{} KiB", (bytes + 512) >> 10);
    Mark {
        what: "module".to_owned(),
        at_most: kibibytes(mark),
        hope: Some(kibibytes(hope)),
        measured: kibibytes(bytes),
        verdict: if bytes <= mark { Verdict::Met } else { Verdict::Missed(kibibytes(bytes - mark)) },
    }
}

/// What stands in the table before `--growth` was run.
pub(crate) const NO_GROWTH: &str = "growth of added CPU from 5 to 50 header lines";

/// What `--growth` found, as its JSON says it.
pub(crate) fn of_growth(growth: Option<&Value>) -> Vec<Mark> {
    let ratios = growth.and_then(|growth| growth["growth"].as_array()).map(Vec::as_slice).unwrap_or_default();
    let lines = ratios.iter().filter_map(|ratio| {
        let number = |value: &Value| value.as_f64();
        let estimate = &ratio["ratio"];
        let pair = |value: &Value| Some((number(&value[0])?, number(&value[1])?));
        let estimate = Estimate {
            median: number(&estimate["median"])?,
            quartiles: pair(&estimate["quartiles"])?,
            interval: pair(&estimate["interval_95"])?,
        };
        let (what, mark) = (ratio["what"].as_str()?, number(&ratio["mark"])?);
        Some(Mark {
            what: what.to_owned(),
            at_most: format!("{mark:.2}"),
            hope: None,
            measured: interval(&estimate, 2, ""),
            verdict: match judge(&estimate, mark, 2, "") {
                // Rounds that disagree still tell where all that they leave open is on one side of the mark.
                Verdict::MetByMedian if !ratio_is_clear(&estimate) => Verdict::Unclear,
                verdict => verdict,
            },
        })
    });
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() {
        return vec![not_measured(NO_GROWTH, format!("{FLAT:.1}"), "`--growth`")];
    }
    lines
}

fn not_measured(what: &str, mark: String, how: &'static str) -> Mark {
    Mark {
        what: what.to_owned(),
        at_most: mark,
        hope: None,
        measured: "–".to_owned(),
        verdict: Verdict::NotMeasured(how),
    }
}

fn judge(estimate: &Estimate, mark: f64, digits: usize, unit: &str) -> Verdict {
    if estimate.interval.1 <= mark {
        Verdict::Met
    } else if estimate.median <= mark {
        Verdict::MetByMedian
    } else {
        Verdict::Missed(format!("{:.digits$}{unit}", estimate.median - mark))
    }
}

fn interval(estimate: &Estimate, digits: usize, unit: &str) -> String {
    let Estimate { median, interval: (low, high), .. } = estimate;
    format!("{median:.digits$} ({low:.digits$} to {high:.digits$}){unit}")
}

#[allow(clippy::cast_precision_loss, reason = "a size")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_met_when_the_whole_interval_meets_it() {
        let estimate =
            |low: f64, median: f64, high: f64| Estimate { median, quartiles: (low, high), interval: (low, high) };
        for (found, expected) in [
            (estimate(0.8, 0.9, 1.0), Verdict::Met),
            (estimate(0.9, 1.0, 1.1), Verdict::MetByMedian),
            (estimate(1.0, 1.03, 1.06), Verdict::Missed("0.03".to_owned())),
        ] {
            assert_eq!(judge(&found, 1.0, 2, ""), expected, "{found:?}");
        }
        assert_eq!(module_mark(600 << 10).verdict, Verdict::Met);
        assert_eq!(module_mark(700 << 10).verdict, Verdict::Missed("100 KiB".to_owned()));
    }

    #[test]
    fn what_is_compared_is_measured() {
        for Comparison { name, above, below, mark, hope } in &COMPARISONS {
            assert!(Variant::TRACERS.contains(above) && Variant::TRACERS.contains(below), "{name}");
            assert!(hope < mark, "{name}");
        }
    }
}
