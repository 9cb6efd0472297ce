//! The contexts of one VM, and what each callback does with them.

use std::cell::{Cell, RefCell};

use meshspan_core::config::{Config, Inject};
use meshspan_core::counter::Counter;
use meshspan_core::export::{DispatchError, ExportResponse, Wakeup};
use meshspan_core::header::pairs::{self, Lines, Pairs};
use meshspan_core::header::{HeaderEdit, HeaderLine};
use meshspan_core::http::{Exchange, HttpTracer, RequestHead, ResponseHead, TrafficDirection};
use meshspan_core::log::StreamLine;
use meshspan_core::log_line::LogLine;
use meshspan_core::plugin::{ExportId, Plugin, SamplerId};
use meshspan_core::propagation::TRACE_RESPONSE;
use meshspan_core::recent_map::RecentMap;

use crate::facts::{EndFacts, Properties, direction};
use crate::host::{self, BufferType, HostError, LogLevel, MapType};
use crate::metrics::{HostStats, Metrics};
use crate::shared::HostData;

/// How many ticks a root context that has to go waits for its last answers: five seconds.
const SHUTDOWN_TICKS: u32 = 100;

/// The tick period while something is waited for, ms: as soon as can be.
const SOON_MS: u32 = 1;

/// The tick period while the root context is going, ms.
const SHUTDOWN_TICK_MS: u32 = 50;

/// What is read of a sampling strategy: a thousand operations have room in it.
const MAX_STRATEGY: usize = 1 << 20;

/// What is read of a backend's answer. An OTLP answer is small; a backend's HTML page need not fill our memory.
const MAX_ANSWER: usize = 64 << 10;

thread_local! {
    static VM: RefCell<Vm> = RefCell::default();
}

/// Runs `f` on the VM's state. `None` when the host calls back while a callback still runs: no host does, and none
/// shall make us trap.
pub(crate) fn with<T>(f: impl FnOnce(&mut Vm) -> T) -> Option<T> {
    VM.with(|vm| vm.try_borrow_mut().ok().map(|mut vm| f(&mut vm)))
}

/// A panic is a bug of ours; say where it was before the trap. Of its message only a literal is shown: one that was
/// formatted can quote a text from traffic.
pub(crate) fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |place| format!(" at {place}"));
        let message = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("(not shown)");
        host::log(LogLevel::Critical, &format!("meshspan: panicked{place}: {message}"));
    }));
}

/// All contexts of this VM. Several plugins, old and new configurations among them, can share one.
#[derive(Default)]
pub(crate) struct Vm {
    /// One or two: a plugin's, and while a listener is updated the old one's too. Others where several plugins share the
    /// machine.
    roots: Vec<(u32, Root)>,
    streams: RecentMap<Stream>,
    /// Whether any plugin may want to see responses.
    hears_responses: bool,
}

/// A root context: one plugin configuration.
#[derive(Default)]
struct Root {
    plugin: Option<Plugin>,
    metrics: Metrics,
    /// Requests without an answer. One for each processor at most, but for the flush at the end.
    in_flight: Vec<(u32, ExportId)>,
    /// Questions of samplers without an answer.
    questions: Vec<(u32, SamplerId)>,
    /// The tick has been brought forward.
    hurried: bool,
    /// Set when the context has to go: how many more ticks it waits.
    going: Option<u32>,
}

/// A stream context.
struct Stream {
    root: u32,
    phase: Phase,
    /// The request was its headers alone.
    is_bodiless: bool,
}

/// How far a stream has come.
enum Phase {
    /// Nothing has been seen of it.
    New,
    /// Its request headers have been seen.
    Open(Exchange),
    /// Its end has been seen, or it was not to be traced.
    Closed,
}

impl Vm {
    pub(crate) fn handle_create(&mut self, context: u32, root: u32) {
        if root == 0 {
            self.roots.retain(|(id, _)| *id != context);
            self.roots.push((context, Root::default()));
        } else {
            self.streams.insert(context, Stream { root, phase: Phase::New, is_bodiless: false });
        }
    }

    pub(crate) fn handle_configure(&mut self, context: u32) -> bool {
        let text = match host::buffer(BufferType::PluginConfiguration, usize::MAX) {
            Ok(text) => text,
            // No configuration at all; the parser knows what to say.
            Err(HostError::NOT_FOUND) => Vec::new(),
            Err(HostError(status)) => {
                let text = format!("meshspan: the host does not give the configuration (status {status})");
                host::log(LogLevel::Critical, &text);
                return false;
            }
        };
        match Config::from_plugin_configuration(&text) {
            Ok(config) => {
                let started = self.root(context).is_some_and(|root| root.start(&config));
                let hears = |(_, root): &(u32, Root)| root.plugin.as_ref().is_some_and(Plugin::may_need_responses);
                self.hears_responses = self.roots.iter().any(hears);
                started
            }
            Err(errors) => {
                host::log(LogLevel::Critical, &format!("meshspan: configuration refused: {errors}"));
                false
            }
        }
    }

    pub(crate) fn handle_tick(&mut self, context: u32) {
        if self.root(context).is_some_and(Root::handle_tick) {
            self.forget(context);
        }
    }

    pub(crate) fn handle_request_headers(&mut self, context: u32, is_bodiless: bool) {
        let Some((stream, root)) = self.stream(context) else { return };
        stream.is_bodiless = is_bodiless;
        // Once a stream: a host that calls again gets the same trace and no second span.
        if matches!(stream.phase, Phase::New) {
            let exchange = root.begin(true);
            // What is not waited for needs no room.
            stream.phase = exchange.filter(|exchange| !root.is_done_with(exchange)).map_or(Phase::Closed, Phase::Open);
        }
    }

    pub(crate) fn handle_response_headers(&mut self, context: u32) {
        if !self.hears_responses {
            return;
        }
        let Some((stream, root)) = self.stream(context) else { return };
        if let Phase::Open(exchange) = &mut stream.phase {
            root.respond(exchange);
        }
    }

    pub(crate) fn handle_response_trailers(&mut self, context: u32) {
        let Some((stream, root)) = self.stream(context) else { return };
        let Phase::Open(exchange) = &mut stream.phase else { return };
        if exchange.needs_trailer_status() {
            match host::header(MapType::HttpResponseTrailers, "grpc-status") {
                Ok(Some(status)) => exchange.set_trailer_status(&status),
                Ok(None) => {}
                Err(_) => root.count(Counter::HostCallsFailed),
            }
        }
    }

    pub(crate) fn handle_log(&mut self, context: u32) {
        let Some((stream, root)) = self.stream(context) else { return };
        let exchange = match core::mem::replace(&mut stream.phase, Phase::Closed) {
            Phase::Open(exchange) => Some(exchange),
            // The end is all that is seen of this stream: a local reply before this filter, or a protocol error.
            Phase::New => root.begin(false).inspect(|_| root.count(Counter::StreamsLogOnly)),
            Phase::Closed => None,
        };
        let wakeup = exchange.map_or(Wakeup::Tick, |exchange| root.end(exchange, stream.is_bodiless));
        let root_context = stream.root;
        if wakeup == Wakeup::Soon {
            root.hurry(root_context, context);
        }
    }

    /// Nothing comes after this but the context's deletion, which is not listened to: each callback costs its call.
    pub(crate) fn handle_done(&mut self, context: u32) -> bool {
        if let Some(stream) = self.streams.remove(context) {
            if let Phase::Open(exchange) = &stream.phase
                && let Some(plugin) = self.root(stream.root).and_then(|root| root.plugin.as_mut())
            {
                plugin.handle_lost(exchange);
            }
            return true;
        }
        if self.root(context).is_none_or(Root::handle_done) {
            self.forget(context);
            return true;
        }
        false
    }

    /// The root context goes, and has told all that it counted.
    fn forget(&mut self, context: u32) {
        self.roots.retain(|(id, _)| *id != context);
    }

    pub(crate) fn handle_http_call_response(&mut self, context: u32, token: u32) {
        if self.root(context).is_some_and(|root| root.handle_http_call_response(token)) {
            self.forget(context);
        }
    }

    fn stream(&mut self, context: u32) -> Option<(&mut Stream, &mut Root)> {
        let stream = self.streams.get_mut(context)?;
        let (_, root) = self.roots.iter_mut().find(|(id, _)| *id == stream.root)?;
        Some((stream, root))
    }

    fn root(&mut self, context: u32) -> Option<&mut Root> {
        self.roots.iter_mut().find(|(id, _)| *id == context).map(|(_, root)| root)
    }
}

impl Root {
    fn start(&mut self, config: &Config) -> bool {
        let mut seed = [0; 32];
        let seeded = host::random(&mut seed);
        // Without ids there are no traces: a host without randomness cannot run the filter.
        if let Err(HostError(status)) = seeded {
            let text = format!("meshspan: the host gives no randomness (status {status})");
            host::log(LogLevel::Critical, &text);
            return false;
        }
        let mut counters = meshspan_core::counter::Counters::default();
        let node = Properties(&mut counters).node();
        let mut plugin = Plugin::new(config, &node, seed);
        plugin.counters = counters;
        let set_up = host::set_tick_period(plugin.tick_period_ms()).and_then(|()| self.metrics.define());
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

    fn count(&mut self, counter: Counter) {
        if let Some(plugin) = &mut self.plugin {
            plugin.counters.increment(counter);
        }
    }

    /// Reads the request's head and begins the exchange. `live`: the request is still to be forwarded, so that
    /// header edits have a meaning.
    fn begin(&mut self, live: bool) -> Option<Exchange> {
        let plugin = self.plugin.as_mut()?;
        if live
            && plugin.decisive_headers().is_some_and(has_none_of)
            && let Some((exchange, edits)) = plugin.handle_root(&mut HostData)
        {
            apply_all(plugin, &edits);
            tell_access_log(plugin, &exchange);
            return Some(exchange);
        }
        let needs = plugin.head_needs()?;
        let map = match host::header_map(MapType::HttpRequestHeaders) {
            Ok(map) => map,
            // At the end of a stream that was never parsed there may be no headers.
            Err(_) if !live => Vec::new(),
            Err(_) => {
                plugin.counters.increment(Counter::HostCallsFailed);
                return None;
            }
        };
        let mut lines = Lines::of(&map);
        let head = lines.as_mut().map(|lines| RequestHead::collect(lines, needs.header_lines));
        let Some(head) = head.filter(|_| lines.is_some_and(|lines| lines.is_whole())) else {
            plugin.counters.increment(Counter::HeaderMapsMalformed);
            return None;
        };
        // What one request in very many needs is asked for then.
        let (may_be_forced, needs_identity) =
            plugin.http().map_or((false, false), |tracer| (tracer.may_be_forced(&head), tracer.needs_identity()));
        let mut properties = Properties(&mut plugin.counters);
        let cluster = if needs.cluster { properties.cluster() } else { Vec::new() };
        let route_name = if needs.route_name { properties.route_name() } else { Vec::new() };
        let identity = if may_be_forced && needs_identity { properties.peer_identity() } else { Vec::new() };
        let head = head.with_routing(&cluster, &route_name).with_identity(&identity);
        let refused = Cell::new(0_u64);
        let mut direction = || {
            direction().unwrap_or_else(|_| {
                refused.set(refused.get().saturating_add(1));
                TrafficDirection::Unspecified
            })
        };
        let now = if needs.time || may_be_forced { host::now().ok() } else { None };
        let begun = plugin.handle_request_headers_sharing(&head, &mut direction, now, &mut HostData);
        plugin.counters.add(Counter::HostCallsFailed, refused.get());
        let (mut exchange, edits) = begun?;
        if live {
            apply_all(plugin, &edits);
        } else {
            exchange.forget_request_time();
        }
        tell_access_log(plugin, &exchange);
        plugin.hold(&mut exchange, map);
        Some(exchange)
    }

    fn is_done_with(&self, exchange: &Exchange) -> bool {
        self.plugin.as_ref().is_none_or(|plugin| plugin.is_done_with(exchange))
    }

    /// Tells the caller about the trace, and hears what the upstream tells, where either is asked for.
    fn respond(&mut self, exchange: &mut Exchange) {
        let Some(plugin) = &mut self.plugin else { return };
        let Some(needs) = plugin.response_needs(exchange) else { return };
        let mut header = |name| {
            host::header(MapType::HttpResponseHeaders, name).unwrap_or_else(|_| {
                plugin.counters.increment(Counter::HostCallsFailed);
                None
            })
        };
        let trace_response = if needs.trace_response { header(TRACE_RESPONSE) } else { None };
        let status = if needs.status { header(":status") } else { None };
        let head = ResponseHead {
            status: status.and_then(|status| core::str::from_utf8(&status).ok()?.parse().ok()),
            trace_response: trace_response.as_deref(),
            now: if needs.status { host::now().unwrap_or(0) } else { 0 },
        };
        for edit in plugin.handle_response_headers(exchange, &head, &mut HostData) {
            if apply_to(MapType::HttpResponseHeaders, &edit).is_err() {
                plugin.counters.increment(Counter::HostCallsFailed);
            }
        }
    }

    fn end(&mut self, exchange: Exchange, is_bodiless: bool) -> Wakeup {
        let Some(plugin) = &mut self.plugin else { return Wakeup::Tick };
        let Some(needs) = plugin.outcome_needs(&exchange) else { return Wakeup::Tick };
        let mut facts = EndFacts::read_outcome(needs, is_bodiless, &mut plugin.counters);
        let was_recorded = exchange.is_recorded();
        let exchange = plugin.handle_outcome(exchange, &facts.stream_end(&[]), &mut HostData);
        if exchange.is_recorded() && !was_recorded {
            tell_access_log(plugin, &exchange);
        }
        let mut map = Vec::new();
        if plugin.needs_details(&exchange) {
            facts.read_details(needs, &mut plugin.counters);
            if plugin.http().is_some_and(HttpTracer::captures_response_headers) {
                map = plugin_map(plugin, MapType::HttpResponseHeaders);
            }
        }
        let lines: Vec<HeaderLine<'_>> = Pairs::parse(&map).map(|lines| lines.iter().collect()).unwrap_or_default();
        let wakeup = plugin.handle_end(exchange, &facts.stream_end(&lines));
        if let Some(StreamLine { level, json }) = plugin.take_line() {
            host::log(level_of(level), &json);
        }
        if plugin.has_full_stats() {
            let refused = plugin.flush_values(&mut HostStats);
            plugin.counters.add(Counter::HostCallsFailed, u64::try_from(refused).unwrap_or(u64::MAX));
        }
        wakeup
    }

    /// Brings the next tick forward: exports leave from the root context, never from a stream.
    fn hurry(&mut self, own: u32, stream: u32) {
        if self.hurried {
            return;
        }
        let set = host::set_effective_context(own).and_then(|()| host::set_tick_period(SOON_MS));
        let back = host::set_effective_context(stream);
        if set.and(back).is_ok() {
            self.hurried = true;
        } else {
            self.count(Counter::HostCallsFailed);
        }
    }

    /// Whether the context goes with that.
    fn handle_tick(&mut self) -> bool {
        let Some(plugin) = &self.plugin else { return false };
        if core::mem::take(&mut self.hurried) {
            let period = if self.going.is_some() { SHUTDOWN_TICK_MS } else { plugin.tick_period_ms() };
            if host::set_tick_period(period).is_err() {
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
    fn export(&mut self) {
        let Some(plugin) = &mut self.plugin else { return };
        let Ok(now) = host::now() else {
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
    fn ask_samplers(&mut self) {
        let Some(plugin) = self.plugin.as_mut().filter(|plugin| plugin.asks_samplers()) else { return };
        let Ok(now) = host::now() else { return };
        while let Some((id, request)) = plugin.poll_sampling(now, &mut HostData) {
            match send(&request.cluster, &request.headers, &[], request.timeout_ms) {
                Ok(token) => self.questions.push((token, id)),
                Err(_) => write(plugin.handle_sampling_response(id, None, now, &mut HostData)),
            }
        }
    }

    /// Says what is to be doubted of the sampler's decisions.
    fn tell_doubts(&mut self) {
        let Some(plugin) = &mut self.plugin else { return };
        while let Some(line) = plugin.next_doubt(&mut HostData) {
            write(Some(line));
        }
    }

    /// Whether the answer was one to a sampler's question.
    fn handle_sampling_response(&mut self, token: u32) -> bool {
        let Some(at) = self.questions.iter().position(|(waiting, _)| *waiting == token) else { return false };
        let (_, id) = self.questions.swap_remove(at);
        let Some(plugin) = &mut self.plugin else { return true };
        let headers = plugin_map(plugin, MapType::HttpCallResponseHeaders);
        let status = Pairs::parse(&headers).and_then(|lines| {
            let (_, status) = lines.iter().find(|(name, _)| *name == b":status")?;
            core::str::from_utf8(status).ok()?.parse().ok()
        });
        let body = host::buffer(BufferType::HttpCallResponseBody, MAX_STRATEGY).unwrap_or_default();
        let answer = status.map(|status| (status, body.as_slice()));
        write(plugin.handle_sampling_response(id, answer, host::now().unwrap_or(0), &mut HostData));
        true
    }

    /// Whether the context goes with that.
    fn handle_http_call_response(&mut self, token: u32) -> bool {
        if self.handle_sampling_response(token) {
            return false;
        }
        let Some(at) = self.in_flight.iter().position(|(waiting, _)| *waiting == token) else { return false };
        let (_, id) = self.in_flight.swap_remove(at);
        let Some(plugin) = &mut self.plugin else { return false };
        // A request that failed on the way has none of these.
        let headers = plugin_map(plugin, MapType::HttpCallResponseHeaders);
        let trailers = plugin_map(plugin, MapType::HttpCallResponseTrailers);
        let body = host::buffer(BufferType::HttpCallResponseBody, MAX_ANSWER).unwrap_or_default();
        let lines = |map| Pairs::parse(map).map(|lines| lines.iter().collect::<Vec<_>>()).unwrap_or_default();
        let response = ExportResponse { headers: &lines(&headers), body: &body, trailers: &lines(&trailers) };
        let now = host::now().unwrap_or(0);
        write(plugin.handle_response(id, &response, now));
        // The next batch may be waiting for this answer.
        self.export();
        self.leave_if_done()
    }

    fn handle_done(&mut self) -> bool {
        let Some(plugin) = &mut self.plugin else { return true };
        plugin.flush();
        self.export();
        let idle = self.plugin.as_ref().is_none_or(Plugin::is_idle);
        // Without ticks nothing would end the wait for an answer that never comes.
        if idle || host::set_tick_period(SHUTDOWN_TICK_MS).is_err() {
            self.give_up();
            return true;
        }
        self.going = Some(SHUTDOWN_TICKS);
        self.hurried = false;
        false
    }

    /// Tells the host that the context can go, once nothing is waited for any more. Returns whether it does.
    fn leave_if_done(&mut self) -> bool {
        let Some(ticks) = self.going else { return false };
        let idle = self.plugin.as_ref().is_none_or(Plugin::is_idle);
        if !idle && ticks > 0 {
            return false;
        }
        self.going = None;
        self.give_up();
        if host::done().is_err() {
            self.count(Counter::HostCallsFailed);
            self.flush_counters();
        }
        true
    }

    /// Counts what is left as lost, and tells the host all that was counted.
    fn give_up(&mut self) {
        if let Some(plugin) = &mut self.plugin {
            plugin.abandon();
        }
        self.in_flight.clear();
        self.settle_up();
    }

    /// Tells all that was counted, takes the note away, and tells what that look at the notes has shown.
    fn settle_up(&mut self) {
        self.flush_counters();
        self.keep_ledger();
        self.flush_counters();
    }

    /// Notes for the other machines what this one holds.
    fn keep_ledger(&mut self) {
        if let (Some(plugin), Ok(now)) = (&mut self.plugin, host::now()) {
            plugin.keep_ledger(now, &mut HostData);
        }
    }

    fn flush_counters(&mut self) {
        if let Some(plugin) = &mut self.plugin {
            self.metrics.flush(&mut plugin.counters);
            let refused = plugin.flush_stats(&mut HostStats);
            plugin.counters.add(Counter::HostCallsFailed, u64::try_from(refused).unwrap_or(u64::MAX));
        }
    }
}

/// Sends a request from the effective context. Returns the token that its answer will name.
fn send(cluster: &str, headers: &[(String, String)], body: &[u8], timeout_ms: u32) -> Result<u32, HostError> {
    let lines = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let headers = pairs::serialize(lines).ok_or(HostError::SERIALIZATION_FAILURE)?;
    host::http_call(cluster, &headers, body, timeout_ms)
}

/// A header map, empty when the host does not give it; that is counted.
fn plugin_map(plugin: &mut Plugin, map: MapType) -> Vec<u8> {
    match host::header_map(map) {
        Ok(lines) => lines,
        Err(error) => {
            if error != HostError::NOT_FOUND {
                plugin.counters.increment(Counter::HostCallsFailed);
            }
            Vec::new()
        }
    }
}

/// Whether the request has none of these headers. A host that does not say is asked for all of them.
fn has_none_of(names: &[&str]) -> bool {
    names.iter().all(|name| host::header(MapType::HttpRequestHeaders, name) == Ok(None))
}

/// Carries out all edits to the request.
fn apply_all(plugin: &mut Plugin, edits: &[HeaderEdit]) {
    for edit in edits {
        if apply(edit, plugin.inject()).is_err() {
            plugin.counters.increment(Counter::HostCallsFailed);
        }
    }
}

/// Carries an edit out. There is no filter state that takes a header away, so that is always done to the request.
fn apply(edit: &HeaderEdit, inject: Inject) -> Result<(), HostError> {
    match (edit, inject) {
        (HeaderEdit::Set { name, value } | HeaderEdit::Add { name, value }, Inject::FilterState) => {
            host::set_property(format!("meshspan.{name}").as_bytes(), value.as_bytes())
        }
        _ => apply_to(MapType::HttpRequestHeaders, edit),
    }
}

/// Carries an edit out on a header map.
fn apply_to(map: MapType, edit: &HeaderEdit) -> Result<(), HostError> {
    match edit {
        HeaderEdit::Set { name, value } => host::set_header(map, name, value),
        HeaderEdit::Add { name, value } => host::add_header(map, name, value),
        HeaderEdit::Remove { name } => host::remove_header(map, name),
    }
}

/// Names the stream's trace to the proxy's access log, where that is asked for.
fn tell_access_log(plugin: &mut Plugin, exchange: &Exchange) {
    for (key, value) in plugin.filter_state(exchange) {
        if host::set_property(key.as_bytes(), value.as_bytes()).is_err() {
            plugin.counters.increment(Counter::HostCallsFailed);
        }
    }
}

/// Writes the logic's line to the host's log.
fn write(line: Option<LogLine>) {
    let Some(LogLine { level, text }) = line else { return };
    host::log(level_of(level), &format!("meshspan: {}", text.as_str()));
}

/// The host's name for a level.
const fn level_of(level: meshspan_core::config::LogLevel) -> LogLevel {
    use meshspan_core::config::LogLevel as Level;
    match level {
        Level::Trace => LogLevel::Trace,
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warn => LogLevel::Warn,
        Level::Error => LogLevel::Error,
        Level::Critical => LogLevel::Critical,
    }
}
