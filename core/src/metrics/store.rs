//! Where measurements go: for each reader the series of each of its streams.

use super::{AttributeSet, Instrument};
use crate::trace::{SpanId, TraceId};

/// In what context something was measured: what an exemplar of the measurement points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// When, ns since the Unix epoch.
    pub time: u64,
    /// The stream's trace.
    pub trace_id: TraceId,
    /// Its span.
    pub span_id: SpanId,
    /// Whether that span is exported.
    pub sampled: bool,
}

/// All that was measured and is not forgotten: for each reader of the configuration, the series of its streams.
#[derive(Clone, Debug, Default)]
pub struct MetricStore {}

impl MetricStore {
    /// Whether anything becomes of an instrument's measurements.
    pub fn takes(&self, _instrument: Instrument) -> bool {
        true
    }

    /// Adds to the sum of a counter (`by` at least 0) or an up-down counter.
    pub fn add(&mut self, _instrument: Instrument, _set: &AttributeSet<'_>, _by: i64, _exemplar: Option<&Exemplar>) {}

    /// Records a value of a histogram, in the instrument's unit. One that is negative or not finite is left out.
    pub fn record(
        &mut self,
        _instrument: Instrument,
        _set: &AttributeSet<'_>,
        _value: f64,
        _exemplar: Option<&Exemplar>,
    ) {
    }
}

/// Nanoseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "nanoseconds above 2^53 do not matter")]
pub fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
