//! The batching processor of spans, log records or metrics, with its exporter, as a state machine: push, poll, handle.

use std::collections::VecDeque;
use std::rc::Rc;

use super::code::Code;
use super::queue::{Batch, Caps, Importance, Queue};
use super::request::{ExportRequest, RequestTemplate};
use super::response::{ExportOutcome, ExportResponse};
use super::retry::{Backoff, Retry, SHORTEST_WAIT_MS};
use super::stats::{DropReason, ExporterStats};
use super::telling::{State, Telling};
use crate::config::{LimitsConfig, ProcessorConfig};
use crate::ledger::Held;
use crate::log_line::LogDraft;
use crate::otlp::Envelope;
use crate::signal::Signal;
use crate::stats::StatsHost;

/// When a processor wants to be polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeup {
    /// At the next regular tick.
    Tick,
    /// As soon as can be: a batch is full, or the queue nearly is.
    Soon,
}

/// Why the host could not send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DispatchError {
    /// The cluster does not exist on this proxy.
    NoCluster,
    /// Anything else, with the host's status.
    Host(i32),
}

/// A batching processor (OpenTelemetry specification, Trace SDK, "Batching processor") and its OTLP exporter.
///
/// So many requests are in flight at a time as is configured, and more for a flush. A batch whose request failed is
/// tried again where OTLP allows it, and until one succeeds there is one request at a time, with a wait before it that
/// grows: a backend that is away costs one request for each wait. A batch that is too old is dropped and counted.
#[derive(Clone, Debug)]
pub struct BatchProcessor {
    queue: Queue,
    template: RequestTemplate,
    stats: ExporterStats,
    delay_ns: u64,
    /// When a batch that is not full leaves; set by the first poll.
    due: Option<u64>,
    in_flight: Vec<InFlight>,
    most_in_flight: usize,
    /// Batches that are sent again, the oldest first.
    waiting: VecDeque<Attempt>,
    backoff: Backoff,
    /// Requests that failed in a row, whichever batch they carried: the wait grows with them.
    failures: u32,
    /// What is waited for since a failure.
    wait: Wait,
    /// How long after its first try a batch is tried again, ns.
    max_retry_age: u64,
    next_sequence: u64,
    /// Polls take what there is, due or not.
    flushing: bool,
    telling: Telling,
}

/// A request of one processor. Never the same twice, so a late answer is not taken for another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(u64);

/// A request that has not been answered.
#[derive(Clone, Debug)]
struct InFlight {
    id: RequestId,
    attempt: Attempt,
    sent: u64,
    /// From then on an answer is no longer waited for. The host times requests out itself; this is for an answer that
    /// it never delivers.
    lost_at: u64,
}

/// A batch on its way, and how that has gone so far.
#[derive(Clone, Debug)]
struct Attempt {
    batch: Batch,
    /// When it was sent for the first time, ns.
    first: u64,
    is_retry: bool,
}

/// A time in which nothing is sent.
#[derive(Clone, Copy, Debug, Default)]
struct Wait {
    since: u64,
    length: u64,
}

impl Wait {
    /// Also when the clock was set back meanwhile: then nobody knows how long it has been.
    const fn is_over(self, now: u64) -> bool {
        now < self.since || now.saturating_sub(self.since) >= self.length
    }
}

/// The longest wait that a backend can ask for, ms: five minutes.
const LONGEST_TOLD_WAIT_MS: u64 = 300_000;

/// Nanoseconds of a millisecond.
const MS: u64 = 1_000_000;

/// How long after its own timeout a request is taken for lost, ns.
const LOST_GRACE: u64 = 5_000_000_000;

/// The same for a request that has no timeout, ns.
const LOST_WITHOUT_TIMEOUT: u64 = 600_000_000_000;

impl BatchProcessor {
    /// From checked configuration. `envelope` is what stands around the items of each request, `name` the exporter's
    /// among all of its signal. `seed` is random, so that the waits of two workers differ.
    #[inline]
    pub fn new(
        signal: Signal,
        config: &ProcessorConfig,
        limits: LimitsConfig,
        envelope: Rc<Envelope>,
        name: &str,
        seed: u64,
    ) -> Self {
        let bytes = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        let caps = Caps {
            items: config.batch.max_queue_size,
            bytes: bytes(limits.max_queue_bytes),
            batch_items: config.batch.max_export_batch_size,
            batch_bytes: bytes(limits.max_request_size).saturating_sub(envelope.overhead()),
        };
        Self {
            queue: Queue::new(caps),
            template: RequestTemplate::new(signal, &config.exporter, config.batch.export_timeout_ms, envelope),
            stats: ExporterStats::new(signal, name, Code::success(config.exporter.protocol)),
            delay_ns: u64::from(config.batch.schedule_delay_ms).saturating_mul(MS),
            due: None,
            in_flight: Vec::new(),
            most_in_flight: usize::try_from(limits.max_in_flight).unwrap_or(usize::MAX),
            waiting: VecDeque::new(),
            backoff: Backoff::new(seed),
            failures: 0,
            wait: Wait::default(),
            max_retry_age: u64::from(limits.max_retry_age_ms).saturating_mul(MS),
            next_sequence: 0,
            flushing: false,
            telling: Telling::default(),
        }
    }

    /// Takes an encoded item (a field of its scope's message, such as `ScopeSpans.spans`). A full queue lets go of what
    /// matters least, and counts.
    pub fn push(&mut self, item: &[u8], importance: Importance) -> Wakeup {
        self.push_counted(item, 1, importance)
    }

    /// The same for an item that counts for `count`: a metric, for its data points.
    pub fn push_counted(&mut self, item: &[u8], count: u32, importance: Importance) -> Wakeup {
        self.stats.add_started(u64::from(count));
        let lost = self.queue.push(item, count, importance);
        if lost > 0 {
            self.stats.add_dropped(DropReason::QueueFull, None, lost);
        }
        let is_urgent = self.queue.has_full_batch() || self.queue.is_nearly_full();
        let may_leave = self.waiting.is_empty() && self.in_flight.len() < self.most_in_flight_now();
        if is_urgent && may_leave { Wakeup::Soon } else { Wakeup::Tick }
    }

    /// The next request, if one should leave at `now` (ns since the Unix epoch; a clock that is set back delays a batch
    /// by one schedule delay at most). The caller sends it and tells the result:
    /// [`handle_dispatch_error`](Self::handle_dispatch_error) at once, or
    /// [`handle_response`](Self::handle_response) later.
    #[inline]
    pub fn poll(&mut self, now: u64) -> Option<(RequestId, ExportRequest)> {
        self.give_up_lost(now);
        let attempt = self.next_attempt(now)?;
        let Some((request, uncompressed)) = self.template.request(&attempt.batch.bytes) else {
            self.stats.add_dropped(DropReason::Unsendable, None, u64::from(attempt.batch.items));
            return None;
        };
        self.stats.add_request(attempt.is_retry, uncompressed, request.body.len());
        let id = RequestId(self.next_sequence);
        self.next_sequence = self.next_sequence.wrapping_add(1);
        let patience = match request.timeout_ms {
            0 => LOST_WITHOUT_TIMEOUT,
            timeout => u64::from(timeout).saturating_mul(MS).saturating_add(LOST_GRACE),
        };
        self.in_flight.push(InFlight { id, attempt, sent: now, lost_at: now.saturating_add(patience) });
        Some((id, request))
    }

    /// How many requests may be under way: one, while it is not known whether the backend is there.
    const fn most_in_flight_now(&self) -> usize {
        if self.failures > 0 { 1 } else { self.most_in_flight }
    }

    /// The batch that should leave at `now`.
    #[inline]
    fn next_attempt(&mut self, now: u64) -> Option<Attempt> {
        if !self.flushing && self.in_flight.len() >= self.most_in_flight_now() {
            return None;
        }
        let may_try = self.failures == 0 || self.wait.is_over(now);
        if may_try && let Some(attempt) = self.waiting.pop_front() {
            return Some(attempt);
        }
        let next = now.saturating_add(self.delay_ns);
        let due = self.due.unwrap_or(next).min(next);
        self.due = Some(due);
        let is_time = now >= due || self.queue.has_full_batch() || self.queue.is_nearly_full();
        if !(self.flushing || may_try && is_time) {
            return None;
        }
        self.due = Some(next);
        Some(Attempt { batch: self.queue.pop()?, first: now, is_retry: false })
    }

    /// A request that [`poll`](Self::poll) gave could not be sent.
    #[inline]
    pub fn handle_dispatch_error(&mut self, id: RequestId, error: DispatchError, now: u64) -> Option<LogDraft> {
        let request = self.take_in_flight(id)?;
        let cluster = self.template.cluster();
        // A cluster may yet come through CDS, and a host that refuses may take the next one.
        let (code, state, reason) = match error {
            DispatchError::NoCluster => {
                let reason = format!(
                    "this proxy has no cluster \"{cluster}\"; add it, or map the endpoint to another one under \
                     distribution.meshspan.clusters"
                );
                (Code::NoCluster, State::NoCluster, reason)
            }
            DispatchError::Host(status) => {
                let reason = format!("the host refused the request (status {status}); has the cluster a healthy host?");
                (Code::NotSent, State::Failed, reason)
            }
        };
        self.conclude(
            request,
            code,
            state,
            ExportOutcome::Failed { reason, message: String::new(), retry: Retry::Backoff },
            now,
        )
    }

    /// The answer to a request in flight. One that is no longer waited for changes nothing.
    #[inline]
    pub fn handle_response(&mut self, id: RequestId, response: &ExportResponse<'_>, now: u64) -> Option<LogDraft> {
        let request = self.take_in_flight(id)?;
        let (code, outcome) = response.read(self.template.protocol(), now);
        self.conclude(request, code, State::Failed, outcome, now)
    }

    /// The one place where a request's outcome is judged: counts, decides what becomes of its batch, and says what there
    /// is to say.
    /// `failure` is how a failure is told.
    #[inline]
    fn conclude(
        &mut self,
        request: InFlight,
        code: Code,
        failure: State,
        outcome: ExportOutcome,
        now: u64,
    ) -> Option<LogDraft> {
        let items = u64::from(request.attempt.batch.items);
        let called = self.template.signal().items();
        let cluster = self.template.cluster();
        match outcome {
            ExportOutcome::Accepted { rejected, message, malformed } => {
                self.stats.add_answer(code, now.saturating_sub(request.sent) / MS, true);
                self.failures = 0;
                let rejected = rejected.min(items);
                self.stats.add_exported(items.saturating_sub(rejected));
                if rejected > 0 {
                    self.stats.add_dropped(DropReason::Rejected, Some(code), rejected);
                }
                if malformed {
                    self.stats.add_malformed();
                }
                if rejected > 0 || !message.is_empty() {
                    let text = format!("the backend at cluster \"{cluster}\" rejected {rejected} {called}: ");
                    return self.telling.tell(State::Rejecting, text, message, now);
                }
                let text = format!("exporting {called} to cluster \"{cluster}\" works again");
                self.telling.tell(State::Well, text, String::new(), now)
            }
            ExportOutcome::Failed { reason, message, retry } => {
                let text = format!("export of {items} {called} to cluster \"{cluster}\" failed: {reason}");
                self.fail(request, code, retry, now);
                self.telling.tell(failure, text, message, now)
            }
        }
    }

    /// A request failed: keeps its batch for another try, or drops it, and counts.
    #[inline]
    fn fail(&mut self, request: InFlight, code: Code, retry: Retry, now: u64) {
        let InFlight { attempt: Attempt { batch, first, .. }, sent, .. } = request;
        self.stats.add_answer(code, now.saturating_sub(sent) / MS, false);
        let items = u64::from(batch.items);
        if retry == Retry::InHalves {
            // No failure that others wait for: the halves are other requests.
            match batch.halves() {
                Some(halves) => {
                    self.waiting.extend(halves.map(|batch| Attempt { batch, first, is_retry: true }));
                }
                None => self.stats.add_dropped(DropReason::TooLarge, Some(code), items),
            }
            return;
        }
        // Of several that were under way together only the first makes the wait grow.
        if self.wait.is_over(now) {
            self.failures = self.failures.saturating_add(1);
        }
        let wait_ms = match retry {
            Retry::Never | Retry::InHalves => return self.stats.add_dropped(DropReason::Refused, Some(code), items),
            Retry::Backoff => self.backoff.wait_ms(self.failures),
            // A backend that says "at once" each time is not asked more often than one that says nothing.
            Retry::After(ms) => ms.max(SHORTEST_WAIT_MS),
        };
        let wait = wait_ms.min(LONGEST_TOLD_WAIT_MS).saturating_mul(MS);
        if self.max_retry_age > 0 {
            self.wait = Wait { since: now, length: wait };
        }
        if now.saturating_add(wait).saturating_sub(first) > self.max_retry_age {
            return self.stats.add_dropped(DropReason::Expired, Some(code), items);
        }
        self.waiting.push_back(Attempt { batch, first, is_retry: true });
    }

    /// Whether an answer to this request is still waited for.
    pub fn expects(&self, id: RequestId) -> bool {
        self.in_flight.iter().any(|request| request.id == id)
    }

    /// From now on a poll takes whatever is queued.
    #[inline]
    pub fn flush(&mut self) {
        self.flushing = true;
    }

    /// Nothing queued and nothing in flight.
    pub fn is_idle(&self) -> bool {
        self.queue.len() == 0 && self.in_flight.is_empty() && self.waiting.is_empty()
    }

    /// Gives up what is left and counts it.
    #[inline]
    pub fn abandon(&mut self) {
        self.let_waiting_go(DropReason::Shutdown);
        let in_flight = self.in_flight.drain(..).map(|request| u64::from(request.attempt.batch.items));
        let items = in_flight.fold(0, u64::saturating_add);
        self.stats.add_dropped(DropReason::Shutdown, None, items);
    }

    /// Gives up what waits, for its first or for another try, because what is pushed next says all of it and more.
    #[inline]
    pub fn supersede(&mut self) {
        self.let_waiting_go(DropReason::Superseded);
    }

    #[inline]
    fn let_waiting_go(&mut self, reason: DropReason) {
        let waiting = self.waiting.drain(..).map(|attempt| attempt.batch);
        let queued = core::iter::from_fn(|| self.queue.pop());
        let items = waiting.chain(queued).fold(0, |sum: u64, batch| sum.saturating_add(u64::from(batch.items)));
        if items > 0 {
            self.stats.add_dropped(reason, None, items);
        }
    }

    /// What has been counted so far.
    pub const fn stats(&self) -> &ExporterStats {
        &self.stats
    }

    /// Items that wait, for the first or for another try, and items that are on their way.
    #[inline]
    pub fn held(&self) -> (u64, u64) {
        let items = |attempts: &mut dyn Iterator<Item = &Attempt>| {
            attempts.fold(0_u64, |sum, attempt| sum.saturating_add(u64::from(attempt.batch.items)))
        };
        let waiting = items(&mut self.waiting.iter());
        let in_flight = items(&mut self.in_flight.iter().map(|request| &request.attempt));
        (u64::from(self.queue.len()).saturating_add(waiting), in_flight)
    }

    /// Bytes of the encoded items that wait.
    #[inline]
    pub fn held_bytes(&self) -> u64 {
        let waiting = self.waiting.iter().fold(0_usize, |sum, attempt| sum.saturating_add(attempt.batch.bytes.len()));
        u64::try_from(self.queue.bytes().saturating_add(waiting)).unwrap_or(u64::MAX)
    }

    /// Tells the host all that has been counted since the last time. How many series it refused.
    #[inline]
    pub fn flush_stats(&mut self, host: &mut impl StatsHost) -> usize {
        let (queued, in_flight) = self.held();
        self.stats.set_levels(queued, in_flight, self.held_bytes());
        self.stats.flush(host)
    }

    /// What the host was last told that is held here.
    #[inline]
    pub fn levels(&self) -> Held {
        self.stats.levels()
    }

    /// Counts items of this exporter that a failed machine held.
    #[inline]
    pub fn count_lost(&mut self, held: &Held) {
        self.stats.add_lost(held);
    }

    /// Sets right what another counted as lost while this machine was silent.
    #[inline]
    pub fn count_revived(&mut self, held: &Held) {
        self.stats.add_revived(held);
    }

    #[inline]
    fn take_in_flight(&mut self, id: RequestId) -> Option<InFlight> {
        let at = self.in_flight.iter().position(|request| request.id == id)?;
        Some(self.in_flight.swap_remove(at))
    }

    /// Fails the requests whose answers are no longer waited for.
    #[inline]
    fn give_up_lost(&mut self, now: u64) {
        while let Some(at) = self.in_flight.iter().position(|request| now >= request.lost_at) {
            let request = self.in_flight.swap_remove(at);
            self.fail(request, Code::NoAnswer, Retry::Backoff, now);
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod properties;
#[cfg(test)]
mod tests;
