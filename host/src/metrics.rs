//! The plugin's counters as the host's metrics.

use meshspan_core::counter::{Counter, Counters, Series};
use meshspan_core::stats::{StatChange, StatKind, StatsHost};

use crate::calls::{self, HostError, MetricType};

/// The host's ids of the series that have been counted so far.
#[derive(Default)]
pub(crate) struct Metrics {
    ids: Vec<Option<u32>>,
}

impl Metrics {
    /// Defines every plain counter, so that each can be read as 0 before it first counts.
    pub(crate) fn define(&mut self) -> Result<(), HostError> {
        Counter::ALL.iter().try_for_each(|counter| self.id(Series::Counter(*counter)).map(drop))
    }

    /// Hands all increments to the host. What the host refuses is kept for the next time.
    pub(crate) fn flush(&mut self, counters: &mut Counters) {
        let mut refused = Vec::new();
        for (series, by) in counters.take() {
            let by = i64::try_from(by).unwrap_or(i64::MAX);
            if self.id(series).and_then(|id| calls::increment_metric(id, by)).is_err() {
                refused.push((series, by.unsigned_abs()));
            }
        }
        for (series, by) in refused {
            counters.add_series(series, by);
        }
    }

    fn id(&mut self, series: Series) -> Result<u32, HostError> {
        if self.ids.is_empty() {
            self.ids.resize(Series::COUNT, None);
        }
        let known = self.ids.get_mut(series.index());
        if let Some(Some(id)) = known {
            return Ok(*id);
        }
        let id = calls::define_metric(MetricType::Counter, &series.name())?;
        if let Some(slot) = known {
            *slot = Some(id);
        }
        Ok(id)
    }
}

/// The host as the place where the exporters' series are shown.
pub(crate) struct HostStats;

impl StatsHost for HostStats {
    fn define(&mut self, kind: StatKind, name: &str) -> Option<u32> {
        let kind = match kind {
            StatKind::Counter => MetricType::Counter,
            StatKind::SummedGauge | StatKind::LastGauge => MetricType::Gauge,
            StatKind::Histogram => MetricType::Histogram,
        };
        calls::define_metric(kind, name).ok()
    }

    fn tell(&mut self, id: u32, change: StatChange) -> bool {
        match change {
            StatChange::Add(by) => calls::increment_metric(id, by).is_ok(),
            StatChange::Record(value) => calls::record_metric(id, value).is_ok(),
        }
    }
}
