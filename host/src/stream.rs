//! What a root context does for its streams: the facts in, the edits out. Compiled for speed.

use std::cell::Cell;

use meshspan_core::config::Inject;
use meshspan_core::counter::Counter;
use meshspan_core::export::Wakeup;
use meshspan_core::header::pairs::{Lines, Pairs};
use meshspan_core::header::{HeaderEdit, HeaderLine, HeaderLookup};
use meshspan_core::http::{Exchange, HttpTracer, RequestHead, ResponseHead, TrafficDirection};
use meshspan_core::log::StreamLine;
use meshspan_core::plugin::Plugin;
use meshspan_core::propagation::TRACE_RESPONSE;

use crate::calls::{self, HostError, MapType};
use crate::facts::{EndFacts, Properties, direction};
use crate::log::level_of;
use crate::maps::header_map;
use crate::metrics::HostStats;
use crate::root::Root;
use crate::shared::HostData;

/// The tick period while something is waited for, ms: as soon as can be.
const SOON_MS: u32 = 1;

impl Root {
    /// Reads the request's head and begins the exchange. `live`: the request is still to be forwarded, so that
    /// header edits have a meaning.
    pub(crate) fn begin(&mut self, live: bool) -> Option<Exchange> {
        let plugin = self.plugin.as_mut()?;
        if live && let Some((exchange, edits)) = plugin.handle_early(&mut look_up, &mut HostData) {
            apply_all(plugin, &edits);
            tell_access_log(plugin, &exchange);
            return Some(exchange);
        }
        let needs = plugin.head_needs()?;
        let map = match calls::header_map(MapType::HttpRequestHeaders) {
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
        let now = if needs.time || may_be_forced { calls::now().ok() } else { None };
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

    pub(crate) fn is_done_with(&self, exchange: &Exchange) -> bool {
        self.plugin.as_ref().is_none_or(|plugin| plugin.is_done_with(exchange))
    }

    /// Tells the caller about the trace, and hears what the upstream tells, where either is asked for.
    pub(crate) fn respond(&mut self, exchange: &mut Exchange) {
        let Some(plugin) = &mut self.plugin else { return };
        let Some(needs) = plugin.response_needs(exchange) else { return };
        let mut header = |name| {
            calls::header(MapType::HttpResponseHeaders, name).unwrap_or_else(|_| {
                plugin.counters.increment(Counter::HostCallsFailed);
                None
            })
        };
        let trace_response = if needs.trace_response { header(TRACE_RESPONSE) } else { None };
        let status = if needs.status { header(":status") } else { None };
        let head = ResponseHead {
            status: status.and_then(|status| core::str::from_utf8(&status).ok()?.parse().ok()),
            trace_response: trace_response.as_deref(),
            now: if needs.status { calls::now().unwrap_or(0) } else { 0 },
        };
        for edit in plugin.handle_response_headers(exchange, &head, &mut HostData) {
            if apply_to(MapType::HttpResponseHeaders, &edit).is_err() {
                plugin.counters.increment(Counter::HostCallsFailed);
            }
        }
    }

    pub(crate) fn end(&mut self, exchange: Exchange, is_bodiless: bool) -> Wakeup {
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
                map = header_map(plugin, MapType::HttpResponseHeaders);
            }
        }
        let lines: Vec<HeaderLine<'_>> = Pairs::parse(&map).map(|lines| lines.iter().collect()).unwrap_or_default();
        let wakeup = plugin.handle_end(exchange, &facts.stream_end(&lines));
        if let Some(StreamLine { level, json }) = plugin.take_line() {
            calls::log(level_of(level), &json);
        }
        if plugin.has_full_stats() {
            let refused = plugin.flush_values(&mut HostStats);
            plugin.counters.add(Counter::HostCallsFailed, u64::try_from(refused).unwrap_or(u64::MAX));
        }
        wakeup
    }

    /// Brings the next tick forward: exports leave from the root context, never from a stream.
    pub(crate) fn hurry(&mut self, own: u32, stream: u32) {
        if self.hurried {
            return;
        }
        let set = calls::set_effective_context(own).and_then(|()| calls::set_tick_period(SOON_MS));
        let back = calls::set_effective_context(stream);
        if set.and(back).is_ok() {
            self.hurried = true;
        } else {
            self.count(Counter::HostCallsFailed);
        }
    }
}

/// The first line of a header of the request.
fn look_up(name: &'static str) -> HeaderLookup {
    match calls::header(MapType::HttpRequestHeaders, name) {
        Ok(Some(value)) => HeaderLookup::There(value),
        Ok(None) => HeaderLookup::Absent,
        Err(_) => HeaderLookup::Unknown,
    }
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
            calls::set_property(format!("meshspan.{name}").as_bytes(), value.as_bytes())
        }
        _ => apply_to(MapType::HttpRequestHeaders, edit),
    }
}

/// Carries an edit out on a header map.
fn apply_to(map: MapType, edit: &HeaderEdit) -> Result<(), HostError> {
    match edit {
        HeaderEdit::Set { name, value } => calls::set_header(map, name, value),
        HeaderEdit::Add { name, value } => calls::add_header(map, name, value),
        HeaderEdit::Remove { name } => calls::remove_header(map, name),
    }
}

/// Names the stream's trace to the proxy's access log, where that is asked for.
fn tell_access_log(plugin: &mut Plugin, exchange: &Exchange) {
    for (key, value) in plugin.filter_state(exchange) {
        if calls::set_property(key.as_bytes(), value.as_bytes()).is_err() {
            plugin.counters.increment(Counter::HostCallsFailed);
        }
    }
}
