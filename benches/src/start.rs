//! What a filter adds to Envoy's start: from the process's beginning until it serves.

use std::time::Instant;

use meshspan_kit::envoy::EnvoyBinary;

use crate::cpu::ProcessClock;
use crate::progress::Progress;
use crate::subject::{Upstream, start};
use crate::variant::Variant;

/// One start each: without a filter, with one that does nothing, and with meshspan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartRound {
    pub(crate) filterless: Start,
    pub(crate) empty: Start,
    pub(crate) meshspan: Start,
}

/// Until Envoy serves, milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// By the clock on the wall, to within the 5 ms at which readiness is asked for.
    pub(crate) wall: f64,
    /// CPU time of all threads.
    pub(crate) cpu: f64,
}

/// Starts Envoy by turns, so many times each, while nothing else of the benchmark works.
pub(crate) fn measure(binary: &EnvoyBinary, upstream: &Upstream, count: usize) -> anyhow::Result<Vec<StartRound>> {
    let mut progress = Progress::of("starts", count);
    let once = |variant: Variant| {
        let config = variant.proxy.config(upstream, upstream.address()?, upstream.address()?)?;
        let begun = Instant::now();
        let envoy = start(binary, &config)?;
        let wall = begun.elapsed().as_secs_f64() * 1e3;
        let cpu = ProcessClock::of(envoy.process_id())?.read()?.as_secs_f64() * 1e3;
        anyhow::Ok(Start { wall, cpu })
    };
    // Not counted: files come into the page cache.
    once(Variant::MESHSPAN)?;
    once(Variant::EMPTY)?;
    (0..count)
        .map(|_| {
            let filterless = once(Variant::FILTERLESS)?;
            let empty = once(Variant::EMPTY)?;
            let meshspan = once(Variant::MESHSPAN)?;
            progress.step(&format!(
                "{:.0} ms without a filter, {:.0} ms with an empty one, {:.0} ms with meshspan",
                filterless.wall, empty.wall, meshspan.wall
            ));
            Ok(StartRound { filterless, empty, meshspan })
        })
        .collect()
}
