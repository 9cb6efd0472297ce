//! What one exporter counts, of its items (spans, log records, data points). The books balance at any moment: started = exported + dropped + queued + in flight.

use super::code::Code;
use crate::ledger::Held;
use crate::signal::Signal;
use crate::stats::{self, Series, StatKind, StatsHost};

/// Why an item was not exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// The queue had no room for it, or made room for one that matters more.
    QueueFull,
    /// The backend's answer says that it would refuse it again.
    Refused,
    /// It could not be exported within `limits.max_retry_age`.
    Expired,
    /// The backend took the rest of its batch and not this one (partial success).
    Rejected,
    /// The backend found it too large by itself.
    TooLarge,
    /// The filter had to go before it was exported.
    Shutdown,
    /// It could not be framed or converted.
    Unsendable,
    /// A newer collection of metrics says all of it, and more.
    Superseded,
    /// The virtual machine that held it failed.
    VmFailure,
}

impl DropReason {
    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::TooLarge => "too_large",
            Self::Shutdown => "shutdown",
            Self::Unsendable => "unsendable",
            Self::Superseded => "superseded",
            Self::VmFailure => "vm_failure",
        }
    }
}

/// The series of one exporter, labelled with the signal and the exporter's endpoint.
#[derive(Clone, Debug)]
pub struct ExporterStats {
    signal: Signal,
    exporter: String,
    started: Series,
    exported: Series,
    /// Few, so they are looked through.
    dropped: Vec<((DropReason, Option<Code>), Series)>,
    requests: Vec<(Code, Series)>,
    retried: Series,
    malformed: Series,
    uncompressed_bytes: Series,
    compressed_bytes: Series,
    queued: Series,
    in_flight: Series,
    queue_bytes: Series,
    up: Series,
    request_duration: Series,
}

impl ExporterStats {
    /// All at 0. `exporter` is the label's value, different for each exporter of a signal; `success` is what the backend
    /// answers to a request that it takes.
    #[inline]
    pub(super) fn new(signal: Signal, exporter: &str, success: Code) -> Self {
        let labels = [("signal", signal.as_str()), ("exporter", exporter)];
        let series = |kind, name| Series::new(kind, stats::name(name, &labels));
        let mut stats = Self {
            signal,
            exporter: exporter.to_owned(),
            started: series(StatKind::Counter, "export_started_total"),
            exported: series(StatKind::Counter, "export_exported_total"),
            dropped: Vec::new(),
            requests: Vec::new(),
            retried: series(StatKind::Counter, "export_retried_total"),
            malformed: series(StatKind::Counter, "export_responses_malformed_total"),
            uncompressed_bytes: series(StatKind::Counter, "export_uncompressed_bytes_total"),
            compressed_bytes: series(StatKind::Counter, "export_compressed_bytes_total"),
            queued: series(StatKind::SummedGauge, "export_queued"),
            in_flight: series(StatKind::SummedGauge, "export_in_flight"),
            queue_bytes: series(StatKind::SummedGauge, "export_queue_bytes"),
            up: series(StatKind::LastGauge, "export_up"),
            request_duration: series(StatKind::Histogram, "export_request_duration_milliseconds"),
        };
        // What an alert waits for has to be there before it first happens.
        for reason in [DropReason::QueueFull, DropReason::Expired, DropReason::Shutdown] {
            stats.add_dropped(reason, None, 0);
        }
        stats.count_request(success, 0);
        stats
    }

    #[inline]
    fn count_request(&mut self, code: Code, by: u64) {
        let labels = [("signal", self.signal.as_str()), ("exporter", self.exporter.as_str())];
        add_to(&mut self.requests, code, by, || {
            let [signal, exporter] = labels;
            stats::name("export_requests_total", &[signal, exporter, ("answer", &code.to_string())])
        });
    }

    pub(super) fn add_started(&mut self, items: u64) {
        self.started.add(items);
    }

    pub(super) fn add_exported(&mut self, items: u64) {
        self.exported.add(items);
    }

    /// Items that will not be exported; `code` is the last answer, where one decided it.
    pub(super) fn add_dropped(&mut self, reason: DropReason, code: Option<Code>, items: u64) {
        let labels = [("signal", self.signal.as_str()), ("exporter", self.exporter.as_str())];
        add_to(&mut self.dropped, (reason, code), items, || {
            let code = code.map(|code| code.to_string());
            let mut labels = Vec::from(labels);
            labels.push(("reason", reason.as_str()));
            labels.extend(code.as_deref().map(|code| ("answer", code)));
            stats::name("export_dropped_total", &labels)
        });
    }

    /// A request left, with these sizes of its message before and after compression, bytes.
    #[inline]
    pub(super) fn add_request(&mut self, is_retry: bool, uncompressed: usize, compressed: usize) {
        self.retried.add(u64::from(is_retry));
        self.uncompressed_bytes.add(u64::try_from(uncompressed).unwrap_or(u64::MAX));
        self.compressed_bytes.add(u64::try_from(compressed).unwrap_or(u64::MAX));
    }

    /// A request ended so, after so many ms.
    #[inline]
    pub(super) fn add_answer(&mut self, code: Code, duration_ms: u64, is_up: bool) {
        self.count_request(code, 1);
        self.request_duration.record(duration_ms);
        self.up.set(u64::from(is_up));
    }

    pub(super) fn add_malformed(&mut self) {
        self.malformed.add(1);
    }

    /// Where items are now: waiting, and on their way; and the bytes of those that wait.
    pub(super) fn set_levels(&mut self, queued: u64, in_flight: u64, queue_bytes: u64) {
        self.queued.set(queued);
        self.in_flight.set(in_flight);
        self.queue_bytes.set(queue_bytes);
    }

    /// What is exported.
    pub const fn signal(&self) -> Signal {
        self.signal
    }

    /// The exporter's name, as the label has it.
    pub fn exporter(&self) -> &str {
        &self.exporter
    }

    /// Whether a note is about this exporter.
    pub fn is_of(&self, held: &Held) -> bool {
        held.signal == self.signal && held.exporter == self.exporter
    }

    /// Counts for a machine that failed with this exporter's items, and takes its levels out of the sums.
    #[inline]
    pub(super) fn add_lost(&mut self, held: &Held) {
        self.add_dropped(DropReason::VmFailure, None, held.queued.saturating_add(held.in_flight));
        self.queued.take_over(held.queued);
        self.in_flight.take_over(held.in_flight);
        self.queue_bytes.take_over(held.queue_bytes);
    }

    /// Another counted these as lost and they are not: they are started once more, and stand in the sums again.
    #[inline]
    pub(super) fn add_revived(&mut self, held: &Held) {
        self.started.add(held.queued.saturating_add(held.in_flight));
        self.queued.tell_again(held.queued);
        self.in_flight.tell_again(held.in_flight);
        self.queue_bytes.tell_again(held.queue_bytes);
    }

    /// What the host was last told of the levels.
    #[inline]
    pub(super) fn levels(&self) -> Held {
        Held {
            exporter: self.exporter.clone(),
            queued: self.queued.value(),
            in_flight: self.in_flight.value(),
            queue_bytes: self.queue_bytes.value(),
            signal: self.signal,
        }
    }

    /// Tells the host all that is new. How many series it refused.
    #[inline]
    pub(super) fn flush(&mut self, host: &mut impl StatsHost) -> usize {
        // Who reads between two of these sees requests before what became of their items, and items before their end:
        // books in which nothing is open yet are complete.
        let first = [
            &mut self.up,
            &mut self.request_duration,
            &mut self.retried,
            &mut self.malformed,
            &mut self.uncompressed_bytes,
            &mut self.compressed_bytes,
            &mut self.queued,
            &mut self.in_flight,
            &mut self.queue_bytes,
        ];
        let all = self.requests.iter_mut().map(|(_, series)| series).chain(first).chain([&mut self.started]);
        let all = all.chain(self.dropped.iter_mut().map(|(_, series)| series)).chain([&mut self.exported]);
        all.map(|series| series.flush(host)).filter(|told| !told).count()
    }

    /// Items that were pushed.
    pub fn started(&self) -> u64 {
        self.started.value()
    }

    /// Items that the backend took.
    pub fn exported(&self) -> u64 {
        self.exported.value()
    }

    /// Items dropped for a reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.iter().filter(|((of, _), _)| *of == reason).map(|(_, series)| series.value()).sum()
    }

    /// Items dropped for any reason.
    pub fn all_dropped(&self) -> u64 {
        self.dropped.iter().map(|(_, series)| series.value()).sum()
    }

    /// Requests that ended, however that was.
    pub fn requests(&self) -> u64 {
        self.requests.iter().map(|(_, series)| series.value()).sum()
    }

    /// Requests that ended so.
    pub fn requests_with(&self, code: Code) -> u64 {
        self.requests.iter().filter(|(of, _)| *of == code).map(|(_, series)| series.value()).sum()
    }

    /// Requests that were another try.
    pub fn retried(&self) -> u64 {
        self.retried.value()
    }

    /// Answers of success that could not be read.
    pub fn malformed(&self) -> u64 {
        self.malformed.value()
    }

    /// Bytes of the messages before and after compression.
    pub fn bytes(&self) -> (u64, u64) {
        (self.uncompressed_bytes.value(), self.compressed_bytes.value())
    }

    /// Whether the last request was answered with success; `None` before the first answer.
    pub fn is_up(&self) -> Option<bool> {
        (self.requests() > 0).then_some(self.up.value() > 0)
    }
}

/// Adds to the series of this key, which is made when it first counts.
fn add_to<K: PartialEq>(all: &mut Vec<(K, Series)>, key: K, by: u64, name: impl FnOnce() -> String) {
    if let Some((_, series)) = all.iter_mut().find(|(of, _)| *of == key) {
        series.add(by);
    } else {
        let mut series = Series::new(StatKind::Counter, name());
        series.add(by);
        all.push((key, series));
    }
}
