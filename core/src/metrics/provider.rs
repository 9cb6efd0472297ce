//! A store and its periodic readers (Metrics SDK, "Periodic exporting MetricReader").

use std::rc::Rc;

use super::MetricStore;
use crate::config::{BatchConfig, LimitsConfig, MeterConfig, MetricReaderConfig, ProcessorConfig};
use crate::export::{BatchProcessor, ExportRequest, Importance, RequestId};
use crate::otlp::Envelope;
use crate::signal::Signal;

/// What is measured, and its way out.
#[derive(Clone, Debug)]
pub struct MeterProvider {
    store: MetricStore,
    readers: Vec<PeriodicReader>,
}

/// One reader: collects its part of the store once an interval, and exports that.
///
/// A collection waits for the answer to the one before it. What tells all since the start supersedes what has not
/// left yet; what tells differences waits until everything is out, and the measurements add up meanwhile. So a
/// reader holds one collection at most, however long its backend is away.
#[derive(Clone, Debug)]
struct PeriodicReader {
    interval_ns: u64,
    /// When the next collection is due, ns; set by the first poll.
    due: Option<u64>,
    /// In one piece of a metric that is handed to the exporter.
    most_bytes: usize,
    most_points: u32,
    exporter: BatchProcessor,
    flush: Flush,
}

/// How far a reader's last collection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    No,
    Asked,
    Collected,
}

/// Nanoseconds of a millisecond.
const MS: u64 = 1_000_000;

/// A piece of a metric is at most so long, so that a request that a backend finds too large can be halved, bytes.
const MOST_PIECE: usize = 64 << 10;

impl MeterProvider {
    /// From checked configuration. `envelope` is what stands around the metrics of each request: of a resource that no
    /// other worker's metrics have. `names` are the exporters', in the order of the readers. `seed` is random.
    pub fn new(
        config: &MeterConfig,
        limits: LimitsConfig,
        envelope: &Rc<Envelope>,
        names: impl Iterator<Item = String>,
        seed: u64,
    ) -> Self {
        let readers = config.readers.iter().zip(names);
        let readers =
            readers.map(|(reader, name)| PeriodicReader::new(reader, limits, Rc::clone(envelope), &name, seed));
        Self { store: MetricStore::new(config, seed), readers: readers.collect() }
    }

    /// Where to measure.
    pub const fn store(&mut self) -> &mut MetricStore {
        &mut self.store
    }

    /// The next export request that should leave at `now` (ns since the Unix epoch), and the place of its exporter. Call
    /// until `None`, as of a [`BatchProcessor`].
    pub fn poll(&mut self, now: u64) -> Option<(usize, RequestId, ExportRequest)> {
        self.store.begin(now);
        let store = &mut self.store;
        self.readers.iter_mut().enumerate().find_map(|(place, reader)| {
            let (id, request) = reader.poll(place, now, store)?;
            Some((place, id, request))
        })
    }

    /// The readers' exporters, in the order of the configuration.
    pub fn exporters(&self) -> impl Iterator<Item = &BatchProcessor> {
        self.readers.iter().map(|reader| &reader.exporter)
    }

    /// The same, to be told of answers.
    pub fn exporters_mut(&mut self) -> impl Iterator<Item = &mut BatchProcessor> {
        self.readers.iter_mut().map(|reader| &mut reader.exporter)
    }

    /// The plugin is about to go: the next polls collect once more and give everything there is.
    pub fn flush(&mut self) {
        for reader in &mut self.readers {
            if reader.flush == Flush::No {
                reader.flush = Flush::Asked;
            }
            reader.exporter.flush();
        }
    }

    /// Nothing is left to collect after [`flush`](Self::flush), nothing is queued, and nothing in flight.
    pub fn is_idle(&self) -> bool {
        self.readers.iter().all(|reader| reader.flush != Flush::Asked && reader.exporter.is_idle())
    }
}

impl PeriodicReader {
    fn new(config: &MetricReaderConfig, limits: LimitsConfig, envelope: Rc<Envelope>, name: &str, seed: u64) -> Self {
        let most_points = config.max_export_batch_size.unwrap_or(u32::MAX);
        let batch = BatchConfig {
            schedule_delay_ms: 0,
            export_timeout_ms: config.timeout_ms,
            max_queue_size: u32::MAX,
            max_export_batch_size: most_points,
        };
        let room = usize::try_from(limits.max_request_size).unwrap_or(usize::MAX).saturating_sub(envelope.overhead());
        // One collection has to fit, and there is never more than one: the number of series bounds it.
        let limits = LimitsConfig { max_queue_bytes: u32::MAX, ..limits };
        let processor = ProcessorConfig { batch, exporter: config.exporter.clone() };
        Self {
            interval_ns: u64::from(config.interval_ms).saturating_mul(MS),
            due: None,
            most_bytes: MOST_PIECE.min(room / 2),
            most_points,
            exporter: BatchProcessor::new(Signal::Metrics, &processor, limits, envelope, name, seed),
            flush: Flush::No,
        }
    }

    fn poll(&mut self, place: usize, now: u64, store: &mut MetricStore) -> Option<(RequestId, ExportRequest)> {
        let next = now.saturating_add(self.interval_ns);
        // A clock that was set back delays a collection by one interval at most.
        let due = self.due.unwrap_or(next).min(next);
        self.due = Some(due);
        let is_cumulative = store.is_cumulative(place);
        let is_out = self.exporter.is_idle() || is_cumulative && self.exporter.held().1 == 0;
        if self.flush == Flush::Asked && is_out || self.flush == Flush::No && now >= due && is_out {
            if self.flush == Flush::Asked {
                self.flush = Flush::Collected;
            }
            // In step with the intervals, unless one was missed.
            let in_step = due.saturating_add(self.interval_ns);
            self.due = Some(if in_step > now { in_step } else { next });
            if is_cumulative {
                self.exporter.supersede();
            }
            let exporter = &mut self.exporter;
            store.collect(place, now, self.most_bytes, self.most_points, |metric| {
                exporter.push_counted(metric.bytes, metric.points, Importance::ErrorOrSlow);
            });
        }
        self.exporter.poll(now)
    }
}

#[cfg(test)]
mod tests;
