//! The books that an exporter keeps about spans, as Prometheus gets them.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use meshspan_kit::envoy::Envoy;

/// What became of spans: since Envoy started, or since an earlier look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    /// Spans that the exporter was given.
    pub(crate) started: u64,
    /// Spans that the backend took.
    pub(crate) exported: u64,
    /// Spans dropped, by reason.
    pub(crate) dropped: BTreeMap<String, u64>,
    /// Spans that wait, now.
    pub(crate) queued: u64,
    /// Spans in requests that are not answered, now.
    pub(crate) in_flight: u64,
    /// Export requests that ended, by how.
    pub(crate) requests: BTreeMap<String, u64>,
    /// Export requests that were another try.
    pub(crate) retried: u64,
    /// Answers of success that could not be read.
    pub(crate) malformed_answers: u64,
}

/// How often the books are read for one look: a reading may fall between two of a worker's updates.
const READINGS: u32 = 5;

impl Books {
    /// As they stand.
    pub(crate) fn read(envoy: &Envoy) -> anyhow::Result<Self> {
        let samples = envoy.samples()?;
        let sum = |name: &str| samples.sum(&format!("meshspan_export_{name}"), &[]);
        let by = |name: &str, label: &str| samples.sums_by(&format!("meshspan_export_{name}"), &[], label);
        Ok(Self {
            started: sum("started_total"),
            exported: sum("exported_total"),
            dropped: by("dropped_total", "reason"),
            queued: sum("queued"),
            in_flight: sum("in_flight"),
            requests: by("requests_total", "answer"),
            retried: sum("retried_total"),
            malformed_answers: sum("responses_malformed_total"),
        })
    }

    /// Reads them and makes sure that they balance: what is neither exported nor dropped waits or is in flight, and no
    /// more than `room` can.
    ///
    /// # Errors
    /// When they do not, however often they are read.
    pub(crate) fn balanced(envoy: &Envoy, room: u64) -> anyhow::Result<Self> {
        let mut last = Err(anyhow::anyhow!("never read"));
        for _ in 0..READINGS {
            let books = Self::read(envoy)?;
            last = books.check(room).map(|()| books);
            if last.is_ok() {
                break;
            }
        }
        last.with_context(|| format!("{READINGS} readings"))
    }

    fn check(&self, room: u64) -> anyhow::Result<()> {
        let left = self.queued + self.in_flight;
        ensure!(self.started == self.ended() + left, "the books do not balance: {self:?}");
        ensure!(left <= room, "{left} spans are held, and there is room for {room}: {self:?}");
        Ok(())
    }

    /// What has been added since an earlier look.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            started: self.started - before.started,
            exported: self.exported - before.exported,
            dropped: grown(&self.dropped, &before.dropped),
            queued: self.queued,
            in_flight: self.in_flight,
            requests: grown(&self.requests, &before.requests),
            retried: self.retried - before.retried,
            malformed_answers: self.malformed_answers - before.malformed_answers,
        }
    }

    /// Spans dropped, whatever the reason.
    pub(crate) fn all_dropped(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Spans whose life has ended.
    pub(crate) fn ended(&self) -> u64 {
        self.exported + self.all_dropped()
    }
}

fn grown(now: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let grown = now.iter().map(|(key, count)| (key.clone(), count - before.get(key).copied().unwrap_or(0)));
    grown.filter(|(_, count)| *count > 0).collect()
}
