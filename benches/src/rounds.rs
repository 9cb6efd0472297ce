//! The rounds: the variants get their requests in turn, in an order drawn anew, and all clocks are read about it.

use std::time::{Duration, Instant};

use crate::cpu::{MachineTime, ProcessClock};
use crate::options::Options;
use crate::progress::Progress;
use crate::statistics::{Random, median, quantile};
use crate::subject::{Subject, Upstream};
use crate::variant::Variant;

/// So many requests go to one variant before the next has its turn: some 20 ms.
pub(crate) const SLICE: usize = 200;

/// One round; each list has a value for each variant, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    /// CPU µs a request in the whole round, all variants' turns and idle time included: an export that runs when
    /// the variant's turn is over is counted, and the interval is the same for all.
    pub(crate) cpu: Vec<f64>,
    /// CPU µs a request in the variant's own turns only.
    pub(crate) own_turn: Vec<f64>,
    /// Median latency, µs.
    pub(crate) p50: Vec<f64>,
    /// Latency that 99 of 100 requests stay under, µs.
    pub(crate) p99: Vec<f64>,
}

/// All rounds, and how busy the machine was meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) rounds: Vec<Round>,
    /// The rounds took so long.
    pub(crate) took: Duration,
    /// The share of the machine, 0 to 1, that programs other than this benchmark used.
    pub(crate) others: f64,
    /// The share that the hypervisor took.
    pub(crate) stolen: f64,
}

/// Warms up, then measures.
pub(crate) fn measure(subjects: &mut [Subject], upstream: &Upstream, options: &Options) -> anyhow::Result<Measured> {
    let mut random = Random::new(1);
    let mut progress = Progress::of("warm-up rounds", options.warm_up);
    for _ in 0..options.warm_up {
        round(subjects, options.requests, &mut random)?;
        progress.step("");
    }

    let mut clocks: Vec<ProcessClock> = subjects.iter().map(|subject| subject.clock).collect();
    clocks.push(upstream.clock()?);
    clocks.push(ProcessClock::of(std::process::id())?);
    let own = || clocks.iter().map(|clock| Ok(clock.read()?.as_secs_f64())).sum::<anyhow::Result<f64>>();
    let (machine, own_before, begun) = (MachineTime::read()?, own()?, Instant::now());

    let mut progress = Progress::of("rounds", options.rounds);
    let mut rounds = Vec::with_capacity(options.rounds);
    for _ in 0..options.rounds {
        rounds.push(round(subjects, options.requests, &mut random)?);
        progress.step(&so_far(subjects, &rounds));
    }

    let took = begun.elapsed();
    let (busy, stolen) = MachineTime::read()?.shares_since(machine);
    #[allow(clippy::cast_precision_loss, reason = "a few cores")]
    let capacity = took.as_secs_f64() * machine.cores as f64;
    let others = (busy - (own()? - own_before) / capacity).max(0.0);
    Ok(Measured { rounds, took, others, stolen })
}

/// One round: the requests of each variant in slices, so that what happens on the machine for a moment meets all.
fn round(subjects: &mut [Subject], requests: usize, random: &mut Random) -> anyhow::Result<Round> {
    let mut order: Vec<usize> = (0..subjects.len()).collect();
    let mut own_turn = vec![Duration::ZERO; subjects.len()];
    let mut times: Vec<Vec<f64>> = vec![Vec::with_capacity(requests); subjects.len()];
    let before = read_all(subjects)?;
    let mut left = requests;
    while left > 0 {
        let slice = SLICE.min(left);
        left -= slice;
        random.shuffle(&mut order);
        for &index in &order {
            let subject = &mut subjects[index];
            let begun = subject.clock.read()?;
            let taken = subject.load.run(slice).map_err(|error| error.context(subject.variant.name()))?;
            own_turn[index] += subject.clock.read()?.saturating_sub(begun);
            #[allow(clippy::cast_precision_loss, reason = "far below 2^52 ns")]
            times[index].extend(taken.into_iter().map(|nanoseconds| nanoseconds as f64 / 1e3));
        }
    }
    let after = read_all(subjects)?;
    let whole = before.iter().zip(after).map(|(before, after)| after.saturating_sub(*before));
    Ok(Round {
        cpu: whole.map(|time| per_request(time, requests)).collect(),
        own_turn: own_turn.into_iter().map(|time| per_request(time, requests)).collect(),
        p50: times.iter().map(|times| quantile(times, 0.5)).collect(),
        p99: times.iter().map(|times| quantile(times, 0.99)).collect(),
    })
}

fn read_all(subjects: &[Subject]) -> anyhow::Result<Vec<Duration>> {
    subjects.iter().map(|subject| subject.clock.read()).collect()
}

#[allow(clippy::cast_precision_loss, reason = "a count")]
fn per_request(time: Duration, requests: usize) -> f64 {
    time.as_secs_f64() * 1e6 / requests as f64
}

/// What the rounds so far say, for the progress line.
fn so_far(subjects: &[Subject], rounds: &[Round]) -> String {
    let variants: Vec<_> = subjects.iter().map(|subject| subject.variant).collect();
    let added = |index: usize| {
        let base = Variant::base_of(&variants, index)?;
        let added = median(rounds.iter().map(|round| round.cpu[index] - round.cpu[base]));
        (!variants[index].is_control()).then(|| format!("{} {added:+.1}", variants[index].name()))
    };
    let parts: Vec<String> = (0..variants.len()).filter_map(added).collect();
    format!("added CPU µs: {}", parts.join("; "))
}
