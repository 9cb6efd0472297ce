//! Latency below saturation: requests come at a fixed rate, whether or not earlier ones are answered, and each one's
//! time counts from when it was due.

use std::time::{Duration, Instant};

use crate::cpu::Division;
use crate::load::{Load, Protocol};
use crate::options::Options;
use crate::progress::Progress;
use crate::statistics::{Estimate, Random, median, quantile};
use crate::subject::Subject;
use crate::variant::Variant;
use crate::witness::Witnesses;

/// Connections that share the rate, and that saturate the proxies before.
const CONNECTIONS: usize = 16;
/// How long one variant's turn in a round is, seconds.
pub(crate) const TURN: f64 = 0.25;
/// A turn in which the machine stood still for so long is given again. Longer than the time for which the kernel leaves
/// a core to one thread while another waits (3 ms), so that nothing that a proxy does can have a turn given again.
pub(crate) const STILL: Duration = Duration::from_millis(4);
/// How often at most.
const TRIES: usize = 8;
/// So many requests find out what a saturated proxy does, in each of so many tries.
const SATURATING: (usize, usize) = (10_000, 5);

/// What is compared: the first is what latency is added to.
pub(crate) const COMPARED: [Variant; 3] = [Variant::FILTERLESS, Variant::NATIVE, Variant::MESHSPAN];

/// What was found.
pub(crate) struct Latency {
    /// Requests a second that came: half of what the one that serves the fewest serves when it is saturated, so that
    /// none is so busy that its latency is that of a queue.
    pub(crate) rate: f64,
    pub(crate) rounds: usize,
    /// One for each of [`COMPARED`].
    pub(crate) figures: Vec<Figures>,
}

/// What was found of one variant, µs.
pub(crate) struct Figures {
    pub(crate) variant: Variant,
    /// Requests a second that it serves when it is saturated.
    pub(crate) saturated: f64,
    /// Turns that were given again.
    pub(crate) again: usize,
    /// Medians of the rounds' percentiles.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Over the filterless proxy in the same round; not for that one itself.
    pub(crate) added_p50: Option<Estimate>,
    pub(crate) added_p99: Option<Estimate>,
}

/// Measures those of [`COMPARED`], which are all among `subjects`.
pub(crate) fn measure(
    subjects: &mut [Subject],
    options: &Options,
    division: Option<&Division>,
) -> anyhow::Result<Latency> {
    let places: Vec<usize> =
        COMPARED.iter().filter_map(|variant| subjects.iter().position(|subject| subject.variant == *variant)).collect();
    anyhow::ensure!(places.len() == COMPARED.len(), "not all that latency is measured of is running");
    let mut loads = places
        .iter()
        .map(|place| subjects[*place].connect(CONNECTIONS, Protocol::Http1))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let saturated = saturate(&mut loads)?;
    let rate = saturated.iter().copied().fold(f64::INFINITY, f64::min) / 2.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let count = (rate * TURN) as usize;
    let mut random = Random::new(2);
    let mut order: Vec<usize> = (0..loads.len()).collect();
    let witnesses = Witnesses::start(division);
    let mut again = vec![0; loads.len()];
    let mut progress = Progress::of("rounds at half of saturation", options.rounds);
    // Each has the median and the 99th percentile of each variant.
    let mut rounds: Vec<Vec<(f64, f64)>> = Vec::new();
    for number in 0..options.warm_up + options.rounds {
        let mut round = vec![(0.0, 0.0); loads.len()];
        random.shuffle(&mut order);
        for &index in &order {
            let (times, repeated) = turn(&mut loads[index], rate, count, &witnesses)?;
            again[index] += if number < options.warm_up { 0 } else { repeated };
            round[index] = (quantile(&times, 0.5), quantile(&times, 0.99));
        }
        if number >= options.warm_up {
            rounds.push(round);
            progress.step("");
        }
    }
    for (place, load) in places.iter().zip(&loads) {
        subjects[*place].sent_besides(load.sent());
    }
    let figures = COMPARED
        .iter()
        .enumerate()
        .map(|(index, variant)| Figures { again: again[index], ..figures(*variant, saturated[index], index, &rounds) });
    Ok(Latency { rate, rounds: rounds.len(), figures: figures.collect() })
}

/// The times of one variant's turn, µs, and how often it was given again because the machine stood still.
fn turn(load: &mut Load, rate: f64, count: usize, witnesses: &Witnesses) -> anyhow::Result<(Vec<f64>, usize)> {
    let mut repeated = 0;
    loop {
        witnesses.latest();
        let times = load.run_at(rate, count)?;
        if witnesses.latest() < STILL || repeated + 1 == TRIES {
            #[allow(clippy::cast_precision_loss, reason = "far below 2^52 ns")]
            return Ok((times.into_iter().map(|ns| ns as f64 / 1e3).collect(), repeated));
        }
        repeated += 1;
    }
}

/// Requests a second of each when the next one follows every answer at once: the median of the tries.
fn saturate(loads: &mut [Load]) -> anyhow::Result<Vec<f64>> {
    let (count, tries) = SATURATING;
    let mut found = vec![Vec::new(); loads.len()];
    for _ in 0..tries {
        for (load, found) in loads.iter_mut().zip(&mut found) {
            let begun = Instant::now();
            load.run(count)?;
            #[allow(clippy::cast_precision_loss, reason = "a count")]
            found.push(count as f64 / begun.elapsed().as_secs_f64());
        }
    }
    Ok(found.into_iter().map(|each| median(each.into_iter())).collect())
}

fn figures(variant: Variant, saturated: f64, index: usize, rounds: &[Vec<(f64, f64)>]) -> Figures {
    let added = |pick: &dyn Fn(&(f64, f64)) -> f64| {
        let added = rounds.iter().map(|round| pick(&round[index]) - pick(&round[0]));
        (index > 0).then(|| Estimate::of(&added.collect::<Vec<_>>()))
    };
    Figures {
        variant,
        saturated,
        again: 0,
        p50: median(rounds.iter().map(|round| round[index].0)),
        p99: median(rounds.iter().map(|round| round[index].1)),
        added_p50: added(&|percentiles| percentiles.0),
        added_p99: added(&|percentiles| percentiles.1),
    }
}
