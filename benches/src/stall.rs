//! How long an Envoy's worker is away from its events at a time: what stalls it, a batch that leaves among it, holds up
//! all that has come in meanwhile. Envoy measures it (`enable_dispatcher_stats`, `dispatcher.loop_duration_us`).

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use meshspan_kit::envoy::{Envoy, EnvoyBinary};
use serde_json::{Value, json};

use crate::cpu::Division;
use crate::load::Protocol;
use crate::progress::Progress;
use crate::subject::{Subject, Upstream};
use crate::variant::Variant;

/// What is compared.
pub(crate) const COMPARED: [Variant; 4] =
    [Variant::FILTERLESS, Variant::NATIVE, Variant::MESHSPAN, Variant::MESHSPAN_ALL];

/// Connections that keep the proxy busy.
const CONNECTIONS: usize = 16;
/// Requests between two looks at the clock.
const SLICE: usize = 1_000;
/// How often Envoy adds up its histograms: often, as they are waited for.
const FLUSH: &str = "0.5s";
/// How long that may take.
const LAST: Duration = Duration::from_secs(30);

/// Passes of a worker's loop over its events.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stall {
    pub(crate) variant: Variant,
    /// Of 100 passes 99 are no longer, µs.
    pub(crate) p99: f64,
    /// Of 1000 passes 999 are no longer, µs.
    pub(crate) p999: f64,
}

/// Puts an Envoy of each kind under full load for so long.
///
/// # Errors
/// When an answer was not 200, or Envoy does not tell.
pub(crate) fn measure(
    binary: &EnvoyBinary,
    upstream: &Upstream,
    time: Duration,
    division: Option<&Division>,
) -> anyhow::Result<Vec<Stall>> {
    let mut progress = Progress::of("workers watched", COMPARED.len());
    let mut stalls = Vec::new();
    for variant in COMPARED {
        let subject = Subject::start_watched(variant, binary, upstream, |root| {
            root["enable_dispatcher_stats"] = true.into();
            root["stats_flush_interval"] = FLUSH.into();
        })?;
        if let Some(division) = division {
            division.pin_measured(subject.process_id())?;
        }
        let mut load = subject.connect(CONNECTIONS, Protocol::Http1)?;
        let begun = Instant::now();
        while begun.elapsed() < time {
            load.run(SLICE)?;
        }
        let (p99, p999) = last(&subject.envoy).with_context(|| variant.name())?;
        stalls.push(Stall { variant, p99, p999 });
        progress.step("");
    }
    Ok(stalls)
}

/// The two quantiles once they stay: the last passes under load have been added up then.
fn last(envoy: &Envoy) -> anyhow::Result<(f64, f64)> {
    let end = Instant::now() + LAST;
    let mut before = None;
    loop {
        let answer = envoy.admin_get("/stats?format=json&filter=worker_0.dispatcher.loop_duration_us")?;
        let now = quantiles(&serde_json::from_slice(&answer.body)?);
        if now.is_some() && now == before {
            return now.context("just seen");
        }
        ensure!(Instant::now() < end, "/stats does not settle on the worker's loop: {now:?} after {before:?}");
        before = now;
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// P99 and P99.9 over the process's life, as `/stats?format=json` has them.
fn quantiles(stats: &Value) -> Option<(f64, f64)> {
    let histograms =
        stats["stats"].as_array()?.iter().map(|stat| &stat["histograms"]).find(|found| found.is_object())?;
    let names = histograms["supported_quantiles"].as_array()?;
    let values = histograms["computed_quantiles"].as_array()?.first()?["values"].as_array()?;
    let of = |quantile: f64| {
        let at = names.iter().position(|name| name.as_f64() == Some(quantile))?;
        values.get(at)?["cumulative"].as_f64()
    };
    of(99.0).zip(of(99.9))
}

/// A line for each.
pub(crate) fn lines(stalls: &[Stall]) -> impl Iterator<Item = String> {
    stalls.iter().map(|Stall { variant, p99, p999 }| {
        let name = variant.name();
        format!("a worker's loop under full load, {name}: 99 passes of 100 take at most {p99:.0} µs, 999 of 1000 {p999:.0} µs")
    })
}

/// For the file of figures.
pub(crate) fn json(stalls: &[Stall]) -> Value {
    stalls
        .iter()
        .map(|Stall { variant, p99, p999 }| json!({"name": variant.name(), "p99_us": p99, "p99_9_us": p999}))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_read_as_envoy_writes_them() {
        let value = |cumulative: f64| json!({"interval": null, "cumulative": cumulative});
        let stats = |quantiles: Value, values: Value| {
            json!({"stats": [{"histograms": {"supported_quantiles": quantiles,
                "computed_quantiles": [{"name": "listener_manager.worker_0.dispatcher.loop_duration_us",
                "values": values}]}}]})
        };
        let full = stats(json!([50, 99, 99.9]), json!([value(1.0), value(420.5), value(705.0)]));
        assert_eq!(quantiles(&full), Some((420.5, 705.0)));
        for (why, broken) in [
            ("a quantile is missing", stats(json!([50, 99]), json!([value(1.0), value(420.5)]))),
            ("nothing was added up yet", stats(json!([99, 99.9]), json!([{"cumulative": null}, {"cumulative": null}]))),
            ("no such statistic", json!({"stats": []})),
        ] {
            assert_eq!(quantiles(&broken), None, "{why}");
        }
    }
}
