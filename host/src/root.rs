//! One plugin configuration on one machine, and what no stream waits for: its start, its ticks, its requests to backends and
//! their answers, its end. What is `#[inline]` here is compiled for size, where the crate `upkeep` calls it.

use meshspan_core::config::Config;
use meshspan_core::counter::{Counter, Counters};
use meshspan_core::export::{DispatchError, ExportResponse};
use meshspan_core::header::pairs::{self, Pairs};
use meshspan_core::plugin::{ExportId, Plugin, SamplerId};

use crate::calls::{self, BufferType, HostError, LogLevel, MapType};
use crate::facts::Properties;
use crate::log::write;
use crate::maps::header_map;
use crate::metrics::{HostStats, Metrics};
use crate::shared::HostData;

/// How many ticks a root context that has to go waits for its last answers: five seconds.
const SHUTDOWN_TICKS: u32 = 100;

/// What the lean module says of a configuration that needs response headers.
const NEEDS_RESPONSES: &str = "meshspan: configuration refused: $.distribution.meshspan: `response` and \
    `keep.traceresponse` need the callback for response headers, which the lean module does not have; load meshspan.wasm, or \
    leave them out";

/// The tick period while the root context is going, ms.
const SHUTDOWN_TICK_MS: u32 = 50;

/// What is read of a sampling strategy: a thousand operations have room in it.
const MAX_STRATEGY: usize = 1 << 20;

/// What is read of a backend's answer. An OTLP answer is small; a backend's HTML page need not fill our memory.
const MAX_ANSWER: usize = 64 << 10;

/// A root context: one plugin configuration.
#[derive(Default)]
pub(crate) struct Root {
    pub(crate) plugin: Option<Plugin>,
    metrics: Metrics,
    /// Requests without an answer. One for each processor at most, but for the flush at the end.
    in_flight: Vec<(u32, ExportId)>,
    /// Questions of samplers without an answer.
    questions: Vec<(u32, SamplerId)>,
    /// The tick has been brought forward.
    pub(crate) hurried: bool,
    /// Set when the context has to go: how many more ticks it waits.
    going: Option<u32>,
}

impl Root {
    /// What is configured, once it is.
    pub(crate) const fn plugin(&mut self) -> Option<&mut Plugin> {
        self.plugin.as_mut()
    }

    #[inline]
    pub(crate) fn may_need_responses(&self) -> bool {
        self.plugin.as_ref().is_some_and(Plugin::may_need_responses)
    }

    /// Whether it is configured now; if not, the log says why. `hears_responses`: the module has the callback for them.
    #[inline]
    pub(crate) fn start(&mut self, config: &Config, hears_responses: bool) -> bool {
        let mut seed = [0; 32];
        let seeded = calls::random(&mut seed);
        // Without ids there are no traces: a host without randomness cannot run the filter.
        if let Err(HostError(status)) = seeded {
            let text = format!("meshspan: the host gives no randomness (status {status})");
            calls::log(LogLevel::Critical, &text);
            return false;
        }
        let mut counters = Counters::default();
        let node = Properties(&mut counters).node();
        let mut plugin = Plugin::new(config, &node, seed);
        if plugin.may_need_responses() && !hears_responses {
            calls::log(LogLevel::Critical, NEEDS_RESPONSES);
            return false;
        }
        plugin.counters = counters;
        let set_up = calls::set_tick_period(plugin.tick_period_ms()).and_then(|()| self.metrics.define());
        if set_up.is_err() {
            plugin.counters.increment(Counter::HostCallsFailed);
        }
        self.give_up();
        self.plugin = Some(plugin);
        // Every series can be read from now on, be it as 0.
        self.flush_counters();
        // Nothing is queued yet: this first poll sets when the first batch is due.
        self.export();
        true
    }

    pub(crate) fn count(&mut self, counter: Counter) {
        if let Some(plugin) = &mut self.plugin {
            plugin.counters.increment(counter);
        }
    }

    /// Whether the context goes with that.
    #[inline]
    pub(crate) fn handle_tick(&mut self) -> bool {
        let Some(plugin) = &self.plugin else { return false };
        if core::mem::take(&mut self.hurried) {
            let period = if self.going.is_some() { SHUTDOWN_TICK_MS } else { plugin.tick_period_ms() };
            if calls::set_tick_period(period).is_err() {
                self.count(Counter::HostCallsFailed);
            }
        }
        self.export();
        self.ask_samplers();
        self.tell_doubts();
        self.flush_counters();
        self.keep_ledger();
        if let Some(ticks) = &mut self.going {
            *ticks = ticks.saturating_sub(1);
        }
        self.leave_if_done()
    }

    /// Sends every request that should leave now.
    #[inline]
    fn export(&mut self) {
        let Some(plugin) = &mut self.plugin else { return };
        let Ok(now) = calls::now() else {
            plugin.counters.increment(Counter::HostCallsFailed);
            return;
        };
        while let Some((id, request)) = plugin.poll(now) {
            let sent = send(&request.cluster, &request.headers, &request.body, request.timeout_ms);
            match sent {
                Ok(token) => {
                    // Those that the host never answered were given up meanwhile.
                    self.in_flight.retain(|(_, id)| plugin.expects(*id));
                    self.in_flight.push((token, id));
                }
                Err(error) => {
                    let error = match error {
                        HostError::BAD_ARGUMENT => DispatchError::NoCluster,
                        HostError(status) => DispatchError::Host(status),
                    };
                    write(plugin.handle_dispatch_error(id, error, now));
                }
            }
        }
    }

    /// Sends the questions of samplers that are told from outside what to do.
    #[inline]
    fn ask_samplers(&mut self) {
        let Some(plugin) = self.plugin.as_mut().filter(|plugin| plugin.asks_samplers()) else { return };
        let Ok(now) = calls::now() else { return };
        while let Some((id, request)) = plugin.poll_sampling(now, &mut HostData) {
            match send(&request.cluster, &request.headers, &[], request.timeout_ms) {
                Ok(token) => self.questions.push((token, id)),
                Err(_) => write(plugin.handle_sampling_response(id, None, now, &mut HostData)),
            }
        }
    }

    /// Says what is to be doubted of the sampler's decisions.
    #[inline]
    fn tell_doubts(&mut self) {
        let Some(plugin) = &mut self.plugin else { return };
        while let Some(line) = plugin.next_doubt(&mut HostData) {
            write(Some(line));
        }
    }

    /// Whether the answer was one to a sampler's question.
    #[inline]
    fn handle_sampling_response(&mut self, token: u32) -> bool {
        let Some(at) = self.questions.iter().position(|(waiting, _)| *waiting == token) else { return false };
        let (_, id) = self.questions.swap_remove(at);
        let Some(plugin) = &mut self.plugin else { return true };
        let headers = header_map(plugin, MapType::HttpCallResponseHeaders);
        let status = Pairs::parse(&headers).and_then(|lines| {
            let (_, status) = lines.iter().find(|(name, _)| *name == b":status")?;
            core::str::from_utf8(status).ok()?.parse().ok()
        });
        let body = calls::buffer(BufferType::HttpCallResponseBody, MAX_STRATEGY).unwrap_or_default();
        let answer = status.map(|status| (status, body.as_slice()));
        write(plugin.handle_sampling_response(id, answer, calls::now().unwrap_or(0), &mut HostData));
        true
    }

    /// Whether the context goes with that.
    #[inline]
    pub(crate) fn handle_http_call_response(&mut self, token: u32) -> bool {
        if self.handle_sampling_response(token) {
            return false;
        }
        let Some(at) = self.in_flight.iter().position(|(waiting, _)| *waiting == token) else { return false };
        let (_, id) = self.in_flight.swap_remove(at);
        let Some(plugin) = &mut self.plugin else { return false };
        // A request that failed on the way has none of these.
        let headers = header_map(plugin, MapType::HttpCallResponseHeaders);
        let trailers = header_map(plugin, MapType::HttpCallResponseTrailers);
        let body = calls::buffer(BufferType::HttpCallResponseBody, MAX_ANSWER).unwrap_or_default();
        let lines = |map| Pairs::parse(map).map(|lines| lines.iter().collect::<Vec<_>>()).unwrap_or_default();
        let response = ExportResponse { headers: &lines(&headers), body: &body, trailers: &lines(&trailers) };
        let now = calls::now().unwrap_or(0);
        write(plugin.handle_response(id, &response, now));
        // The next batch may be waiting for this answer.
        self.export();
        self.leave_if_done()
    }

    #[inline]
    pub(crate) fn handle_done(&mut self) -> bool {
        let Some(plugin) = &mut self.plugin else { return true };
        plugin.flush();
        self.export();
        let idle = self.plugin.as_ref().is_none_or(Plugin::is_idle);
        // Without ticks nothing would end the wait for an answer that never comes.
        if idle || calls::set_tick_period(SHUTDOWN_TICK_MS).is_err() {
            self.give_up();
            return true;
        }
        self.going = Some(SHUTDOWN_TICKS);
        self.hurried = false;
        false
    }

    /// Tells the host that the context can go, once nothing is waited for any more. Returns whether it does.
    #[inline]
    fn leave_if_done(&mut self) -> bool {
        let Some(ticks) = self.going else { return false };
        let idle = self.plugin.as_ref().is_none_or(Plugin::is_idle);
        if !idle && ticks > 0 {
            return false;
        }
        self.going = None;
        self.give_up();
        if calls::done().is_err() {
            self.count(Counter::HostCallsFailed);
            self.flush_counters();
        }
        true
    }

    /// Counts what is left as lost, and tells the host all that was counted.
    #[inline]
    fn give_up(&mut self) {
        if let Some(plugin) = &mut self.plugin {
            plugin.abandon();
        }
        self.in_flight.clear();
        self.settle_up();
    }

    /// Tells all that was counted, takes the note away, and tells what that look at the notes has shown.
    #[inline]
    fn settle_up(&mut self) {
        self.flush_counters();
        self.keep_ledger();
        self.flush_counters();
    }

    /// Notes for the other machines what this one holds.
    #[inline]
    fn keep_ledger(&mut self) {
        if let (Some(plugin), Ok(now)) = (&mut self.plugin, calls::now()) {
            plugin.keep_ledger(now, &mut HostData);
        }
    }

    #[inline]
    fn flush_counters(&mut self) {
        if let Some(plugin) = &mut self.plugin {
            self.metrics.flush(&mut plugin.counters);
            let refused = plugin.flush_stats(&mut HostStats);
            plugin.counters.add(Counter::HostCallsFailed, u64::try_from(refused).unwrap_or(u64::MAX));
        }
    }
}

/// Sends a request from the effective context. Returns the token that its answer will name.
#[inline]
fn send(cluster: &str, headers: &[(String, String)], body: &[u8], timeout_ms: u32) -> Result<u32, HostError> {
    let lines = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let headers = pairs::serialize(lines).ok_or(HostError::SERIALIZATION_FAILURE)?;
    calls::http_call(cluster, &headers, body, timeout_ms)
}
