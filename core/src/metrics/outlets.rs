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
            stats.record(instrument, set, for_envoy(nanoseconds));
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
/// Envoy's histograms keep two of them: all from 1000 to below 1100 is one bin to it, and counts as up to 1000. So what
/// is above a boundary must not share its bin with it. Rounded up, each duration counts below the same boundaries as
/// the exact one does, where those have two significant digits as the conventions' have.
fn for_envoy(nanoseconds: u64) -> u64 {
    let ms = nanoseconds.div_ceil(1_000_000);
    let mut step: u64 = 1;
    while ms.checked_div(step).is_some_and(|digits| digits >= 100) {
        step = step.saturating_mul(10);
    }
    ms.div_ceil(step).saturating_mul(step)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::for_envoy;

    #[test]
    fn nothing_counts_below_a_boundary_that_it_is_above() {
        let table = [
            (0, 0, "nothing"),
            (1, 1, "less than a millisecond"),
            (5_000_000, 5, "a boundary"),
            (5_000_001, 6, "just above it"),
            (99_000_001, 100, "to a boundary"),
            (100_000_001, 110, "above 100: the next of two digits"),
            (250_000_000, 250, "a boundary"),
            (250_000_001, 260, "just above it"),
            (1_000_000_001, 1_100, "above 1000"),
            (7_499_999_999, 7_500, "below a boundary"),
            (u64::MAX, 19_000_000_000_000, "the longest"),
        ];
        for (nanoseconds, ms, why) in table {
            assert_eq!(for_envoy(nanoseconds), ms, "{why}");
        }
        for instrument in crate::metrics::Instrument::ALL.iter().filter(|known| known.definition().unit == "s") {
            for bound in instrument.definition().boundaries {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and not negative")]
                let nanoseconds = (bound * 1e9).round() as u64;
                assert_eq!(for_envoy(nanoseconds), nanoseconds / 1_000_000, "{bound}: two digits are enough");
            }
        }
    }
}
