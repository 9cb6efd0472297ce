//! A store and its periodic readers (Metrics SDK, "Periodic exporting `MetricReader`").

use std::rc::Rc;

use super::MetricStore;
use crate::config::{BatchConfig, LimitsConfig, MeterConfig, MetricReaderConfig, ProcessorConfig};
use crate::export::{BatchProcessor, Importance};
use crate::otlp::Envelope;
use crate::signal::Signal;

/// What is measured, and when it is collected. The exporters stand beside it, with those of the other signals: one for
/// each reader, in the order of the configuration.
#[derive(Clone, Debug)]
pub struct MeterProvider {
    store: MetricStore,
    readers: Vec<PeriodicReader>,
}

/// One reader: hands its part of the store to its exporter, once an interval.
///
/// A collection waits for the answer to the one before it. What tells all since the start supersedes what has not
/// left yet; what tells differences waits until everything is out, and the measurements add up meanwhile. So an
/// exporter holds one collection at most, however long its backend is away.
#[derive(Clone, Debug)]
struct PeriodicReader {
    interval_ns: u64,
    /// When the next collection is due, ns; set the first time.
    due: Option<u64>,
    /// In one piece of a metric.
    most_bytes: usize,
    most_points: u32,
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
    /// From checked configuration, with the exporters. `envelope` is what stands around the metrics of each request: of a
    /// resource that no other worker's metrics have. `names` are the exporters', in the order of the readers. `seed` is
    /// random.
    #[inline]
    pub fn new(
        config: &MeterConfig,
        limits: LimitsConfig,
        envelope: &Rc<Envelope>,
        names: impl Iterator<Item = String>,
        seed: u64,
    ) -> (Self, Vec<BatchProcessor>) {
        let exporters = config.readers.iter().zip(names);
        let exporters = exporters.map(|(reader, name)| exporter(reader, limits, Rc::clone(envelope), &name, seed));
        let room = usize::try_from(limits.max_request_size).unwrap_or(usize::MAX).saturating_sub(envelope.overhead());
        let readers = config.readers.iter().map(|reader| PeriodicReader {
            interval_ns: u64::from(reader.interval_ms).saturating_mul(MS),
            due: None,
            most_bytes: MOST_PIECE.min(room / 2),
            most_points: reader.max_export_batch_size.unwrap_or(u32::MAX),
            flush: Flush::No,
        });
        (Self { store: MetricStore::new(config, seed), readers: readers.collect() }, exporters.collect())
    }

    /// Where to measure.
    pub const fn store(&mut self) -> &mut MetricStore {
        &mut self.store
    }

    /// Hands the exporters what is due at `now` (ns since the Unix epoch). For each time that they are polled, before
    /// that; with the first, measuring begins.
    #[inline]
    pub fn collect(&mut self, now: u64, exporters: &mut [BatchProcessor]) {
        self.store.begin(now);
        for (place, (reader, exporter)) in self.readers.iter_mut().zip(exporters).enumerate() {
            reader.collect(place, now, &mut self.store, exporter);
        }
    }

    /// The plugin is about to go: the next call collects once more, due or not.
    #[inline]
    pub fn flush(&mut self) {
        for reader in &mut self.readers {
            if reader.flush == Flush::No {
                reader.flush = Flush::Asked;
            }
        }
    }

    /// Whether all that was asked for by [`flush`](Self::flush) was handed over.
    pub fn is_idle(&self) -> bool {
        self.readers.iter().all(|reader| reader.flush != Flush::Asked)
    }
}

#[inline]
fn exporter(
    reader: &MetricReaderConfig,
    limits: LimitsConfig,
    envelope: Rc<Envelope>,
    name: &str,
    seed: u64,
) -> BatchProcessor {
    let batch = BatchConfig {
        schedule_delay_ms: 0,
        export_timeout_ms: reader.timeout_ms,
        max_queue_size: u32::MAX,
        max_export_batch_size: reader.max_export_batch_size.unwrap_or(u32::MAX),
    };
    // A collection has to fit as a whole. There is never more than one, and the caps on series bound that.
    let limits = LimitsConfig { max_queue_bytes: u32::MAX, ..limits };
    let processor = ProcessorConfig { batch, exporter: reader.exporter.clone() };
    BatchProcessor::new(Signal::Metrics, &processor, limits, envelope, name, seed)
}

impl PeriodicReader {
    #[inline]
    fn collect(&mut self, place: usize, now: u64, store: &mut MetricStore, exporter: &mut BatchProcessor) {
        let next = now.saturating_add(self.interval_ns);
        // A clock that was set back delays a collection by one interval at most.
        let due = self.due.unwrap_or(next).min(next);
        self.due = Some(due);
        let is_time = match self.flush {
            Flush::No => now >= due,
            Flush::Asked => true,
            Flush::Collected => false,
        };
        let is_cumulative = store.is_cumulative(place);
        let is_out = exporter.is_idle() || is_cumulative && exporter.held().1 == 0;
        if !is_time || !is_out {
            return;
        }
        if self.flush == Flush::Asked {
            self.flush = Flush::Collected;
        }
        // In step with the intervals, unless one was missed.
        let in_step = due.saturating_add(self.interval_ns);
        self.due = Some(if in_step > now { in_step } else { next });
        if is_cumulative {
            exporter.supersede();
        }
        store.collect(place, now, self.most_bytes, self.most_points, |metric| {
            exporter.push_counted(metric.bytes, metric.points, Importance::ErrorOrSlow);
        });
    }
}

#[cfg(test)]
mod tests;
