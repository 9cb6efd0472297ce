//! Where a measurement goes: to the store of the OTLP readers, to Envoy's statistics, or to both.

use super::{AttributeSet, Exemplar, Instrument, InstrumentKind, MetricStore, RequestStats, seconds};

/// What takes measurements. Without either nothing is kept.
#[derive(Debug, Default)]
pub struct Outlets<'a> {
    /// For OTLP.
    pub store: Option<&'a mut MetricStore>,
    /// For Prometheus.
    pub stats: Option<&'a mut RequestStats>,
}

impl Outlets<'_> {
    /// Adds to a counter or to a level.
    pub fn add(&mut self, instrument: Instrument, set: &AttributeSet<'_>, by: i64, exemplar: Option<&Exemplar>) {
        if let Some(store) = &mut self.store {
            store.add(instrument, set, by, exemplar);
        }
        if let Some(stats) = &mut self.stats {
            stats.add(instrument, set, by);
        }
    }

    /// Records how long something took, ns. Envoy's statistics get whole milliseconds, [rounded up](for_envoy).
    pub fn record_duration(
        &mut self,
        instrument: Instrument,
        set: &AttributeSet<'_>,
        nanoseconds: u64,
        exemplar: Option<&Exemplar>,
    ) {
        debug_assert_eq!(
            (instrument.definition().kind, instrument.definition().unit),
            (InstrumentKind::Histogram, "s")
        );
        if let Some(store) = &mut self.store {
            store.record(instrument, set, seconds(nanoseconds), exemplar);
        }
        if let Some(stats) = &mut self.stats {
            stats.record(instrument, set, for_envoy(nanoseconds, instrument.definition().boundaries));
        }
    }

    /// Records how large something was, bytes.
    #[expect(clippy::cast_precision_loss, reason = "bytes above 2^53 do not matter")]
    pub fn record_size(
        &mut self,
        instrument: Instrument,
        set: &AttributeSet<'_>,
        bytes: u64,
        exemplar: Option<&Exemplar>,
    ) {
        if let Some(store) = &mut self.store {
            store.record(instrument, set, bytes as f64, exemplar);
        }
        if let Some(stats) = &mut self.stats {
            stats.record(instrument, set, bytes);
        }
    }
}

/// Nanoseconds as milliseconds, rounded up to two significant digits.
///
/// Envoy's histograms keep two of them: all from 1000 to below 1100 is one bin to it. Seen on 1.40, a boundary counts
/// its own bin as below it, and on 1.36 it does not. So nothing may stand in a boundary's bin: what is above it is rounded
/// up out of it, and what would be rounded to it stands one millisecond below. Then each duration counts below the same
/// boundaries as the exact one does, where those have two significant digits as the conventions' have. `boundaries` are
/// in seconds.
fn for_envoy(nanoseconds: u64, boundaries: &[f64]) -> u64 {
    let ms = nanoseconds.div_ceil(1_000_000);
    let mut step: u64 = 1;
    while ms.checked_div(step).is_some_and(|digits| digits >= 100) {
        step = step.saturating_mul(10);
    }
    let rounded = ms.div_ceil(step).saturating_mul(step);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and not negative")]
    let is_boundary = boundaries.iter().any(|bound| (bound * 1e3).round() as u64 == rounded);
    if is_boundary { rounded.saturating_sub(1) } else { rounded }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::for_envoy;

    #[test]
    fn nothing_counts_below_a_boundary_that_it_is_above() {
        let bounds = crate::metrics::Instrument::HttpServerRequestDuration.definition().boundaries;
        let table = [
            (0, 0, "nothing"),
            (1, 1, "less than a millisecond"),
            (4_000_001, 4, "rounded to a boundary: below it"),
            (5_000_000, 4, "a boundary: not above it"),
            (5_000_001, 6, "just above it"),
            (99_000_001, 99, "rounded to a boundary"),
            (100_000_001, 110, "above 100: the next of two digits"),
            (250_000_000, 249, "a boundary"),
            (250_000_001, 260, "just above it"),
            (1_000_000_001, 1_100, "above 1000"),
            (7_499_999_999, 7_499, "below a boundary"),
            (u64::MAX, 19_000_000_000_000, "the longest"),
        ];
        for (nanoseconds, ms, why) in table {
            assert_eq!(for_envoy(nanoseconds, bounds), ms, "{why}");
        }
        // The first two digits, as Envoy's bins have them.
        let bin = |ms: u64| {
            ms.to_string().chars().take(2).collect::<String>() + &"0".repeat(ms.to_string().len().saturating_sub(2))
        };
        for instrument in crate::metrics::Instrument::ALL.iter().filter(|known| known.definition().unit == "s") {
            let bounds = instrument.definition().boundaries;
            for nanoseconds in (0..12_000).map(|step| step * 997_001) {
                let ms = for_envoy(nanoseconds, bounds);
                for bound in bounds.iter().map(|bound| (bound * 1e3).round().to_string().parse::<u64>().unwrap()) {
                    assert_ne!(bin(ms), bin(bound), "{nanoseconds} is in the bin of {bound}");
                    assert_eq!(ms < bound, nanoseconds <= bound * 1_000_000, "{nanoseconds} and {bound}");
                }
            }
        }
    }
}
