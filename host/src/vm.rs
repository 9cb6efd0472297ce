//! The contexts of one VM, and what each callback does with them.

use std::cell::RefCell;

use meshspan_core::config::Config;
use meshspan_core::counter::Counter;
use meshspan_core::export::Wakeup;
use meshspan_core::http::Exchange;
use meshspan_core::recent_map::RecentMap;

use crate::calls::{self, BufferType, HostError, LogLevel, MapType};
use crate::root::Root;

thread_local! {
    static VM: RefCell<Vm> = const { RefCell::new(Vm::new()) };
}

/// Runs `f` on the VM's state. `None` when the host calls back while a callback still runs: no host does, and none
/// shall make us trap.
pub(crate) fn with<T>(f: impl FnOnce(&mut Vm) -> T) -> Option<T> {
    VM.with(|vm| vm.try_borrow_mut().ok().map(|mut vm| f(&mut vm)))
}

/// All contexts of this VM. Several plugins, old and new configurations among them, can share one.
pub(crate) struct Vm {
    /// One or two: a plugin's, and while a listener is updated the old one's too. Others where several plugins share the
    /// machine.
    roots: Vec<(u32, Root)>,
    streams: RecentMap<Stream>,
    /// Whether any plugin may want to see responses.
    hears_responses: bool,
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
    const fn new() -> Self {
        Self { roots: Vec::new(), streams: RecentMap::new(), hears_responses: false }
    }

    #[inline]
    pub(crate) fn create_root(&mut self, context: u32) {
        self.forget(context);
        self.roots.push((context, Root::default()));
    }

    pub(crate) fn create_stream(&mut self, context: u32, root: u32) {
        self.streams.insert(context, Stream { root, phase: Phase::New, is_bodiless: false });
    }

    #[inline]
    pub(crate) fn handle_configure(&mut self, context: u32, hears_responses: bool) -> bool {
        let text = match calls::buffer(BufferType::PluginConfiguration, usize::MAX) {
            Ok(text) => text,
            // No configuration at all; the parser knows what to say.
            Err(HostError::NOT_FOUND) => Vec::new(),
            Err(HostError(status)) => {
                let text = format!("meshspan: the host does not give the configuration (status {status})");
                calls::log(LogLevel::Critical, &text);
                return false;
            }
        };
        match Config::from_plugin_configuration(&text) {
            Ok(config) => {
                let started = self.root(context).is_some_and(|root| root.start(&config, hears_responses));
                self.hears_responses = self.roots.iter().any(|(_, root)| root.may_need_responses());
                started
            }
            Err(errors) => {
                calls::log(LogLevel::Critical, &format!("meshspan: configuration refused: {errors}"));
                false
            }
        }
    }

    #[inline]
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
            match calls::header(MapType::HttpResponseTrailers, "grpc-status") {
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

    /// Whether it was a stream. Nothing comes after this but the context's deletion, which is not listened to: each
    /// callback costs its call.
    pub(crate) fn end_stream(&mut self, context: u32) -> bool {
        let Some(stream) = self.streams.remove(context) else { return false };
        if let Phase::Open(exchange) = &stream.phase
            && let Some(plugin) = self.root(stream.root).and_then(Root::plugin)
        {
            plugin.handle_lost(exchange);
        }
        true
    }

    /// Whether the root context can go.
    #[inline]
    pub(crate) fn end_root(&mut self, context: u32) -> bool {
        let goes = self.root(context).is_none_or(Root::handle_done);
        if goes {
            self.forget(context);
        }
        goes
    }

    /// The root context goes, and has told all that it counted.
    #[inline]
    fn forget(&mut self, context: u32) {
        self.roots.retain(|(id, _)| *id != context);
    }

    #[inline]
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
