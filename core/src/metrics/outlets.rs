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

    /// Records how long something took, ns. Envoy's statistics get whole milliseconds, cut off: their buckets are
    /// below a boundary, the conventions' up to it, and so both have the same counts.
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
            stats.record(instrument, set, nanoseconds / 1_000_000);
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
