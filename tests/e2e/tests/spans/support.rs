//! What the subjects here share: callers with traces of their own, expectations on spans, tables that tell all that
//! failed, and changes to an Envoy configuration.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use meshspan_e2e::{DEADLINE, Mesh, tracing};
pub(crate) use meshspan_e2e::{Table, expect};
use meshspan_kit::client::Request;
use meshspan_kit::receiver::{ReceivedSpan, Receiver};
use meshspan_kit::wait;
use serde_json::{Value, json};

/// A caller that traces: each has a trace of its own, by which the spans of its request are found.
pub(crate) struct Caller {
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    /// Nanoseconds since the Unix epoch, when it began.
    began: u64,
}

impl Caller {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let trace_id = format!("{:08x}{:08x}{count:016x}", std::process::id(), 0x5eed_u32);
        Self { trace_id, span_id: format!("{:016x}", count + 0xca11_0000), began: now() }
    }

    /// Its `traceparent`, sampled.
    pub(crate) fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }

    /// The request with its `traceparent`.
    pub(crate) fn request(&self, request: Request) -> Request {
        request.header("traceparent", self.traceparent())
    }

    /// A GET with its `traceparent`.
    pub(crate) fn get(&self, target: &str) -> Request {
        self.request(Request::get(target))
    }

    /// Waits for the spans of its trace: exactly so many. They must lie within the time since it began.
    pub(crate) fn spans(&self, receiver: &Receiver, count: usize) -> anyhow::Result<Vec<ReceivedSpan>> {
        let spans = receiver.wait_for(DEADLINE, |spans| {
            let own: Vec<_> = spans.iter().filter(|span| span.trace_id() == self.trace_id).cloned().collect();
            (own.len() >= count).then_some(own)
        })?;
        ensure!(spans.len() == count, "{} spans and not {count}: {spans:#?}", spans.len());
        let now = now();
        for span in &spans {
            let (start, end) = (span.span.start_time_unix_nano, span.span.end_time_unix_nano);
            // Envoy gives the start in whole microseconds.
            ensure!(start + 1_000 >= self.began, "it starts {} ns before the request", self.began - start);
            ensure!(end >= start, "it ends before it starts");
            ensure!(end <= now, "it ends {} ns after it was received", end.saturating_sub(now));
        }
        Ok(spans)
    }

    /// Waits for the one span of its trace, a child of its own.
    pub(crate) fn span(&self, receiver: &Receiver) -> anyhow::Result<ReceivedSpan> {
        let span = self.spans(receiver, 1)?.remove(0);
        ensure!(span.parent_id().as_deref() == Some(&self.span_id), "the parent is not the caller: {span}");
        Ok(span)
    }
}

/// Nanoseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}

/// Makes sure that every span that was begun has arrived at the mesh's receiver, and none of them twice.
///
/// # Panics
/// At the deadline.
pub(crate) fn assert_all_arrived_once(mesh: &Mesh) {
    let arrived = wait::until(DEADLINE, "every span", || {
        let (counters, received) = (mesh.counters(), mesh.receiver.spans());
        let count = |name: &str| counters.get(name).copied().unwrap_or(0);
        let started = count("meshspan_spans_started_total");
        let all = started == count("meshspan_export_exported_total") && started == received.len() as u64;
        all.then_some(received)
    });
    let arrived = arrived
        .unwrap_or_else(|error| panic!("{error:#}; {} received; {:#?}", mesh.receiver.spans().len(), mesh.counters()));
    let ids: BTreeSet<_> = arrived.iter().map(ReceivedSpan::span_id).collect();
    assert_eq!(ids.len(), arrived.len(), "two spans have the same id");
}

/// A configuration that reads and writes W3C trace context, exports soon, and calls its service so.
pub(crate) fn service(name: &str) -> Value {
    with(tracing(&["tracecontext"]), json!({"resource": {"attributes": [{"name": "service.name", "value": name}]}}))
}

/// [`service`] with more settings.
pub(crate) fn service_with(name: &str, more: Value) -> Value {
    with(service(name), more)
}

/// `base` with the members of `more`: objects are merged, everything else is replaced.
pub(crate) fn with(mut base: Value, more: Value) -> Value {
    merge(&mut base, more);
    base
}

fn merge(base: &mut Value, more: Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, more) => *base = more,
    }
}

/// Puts these routes in front of a connection manager's own.
pub(crate) fn add_routes(manager: &mut Value, routes: &[Value]) {
    let own = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().unwrap();
    own.splice(0..0, routes.iter().cloned());
}

/// Puts an HTTP filter first.
pub(crate) fn add_first_filter(manager: &mut Value, filter: Value) {
    manager["http_filters"].as_array_mut().unwrap().insert(0, filter);
}

/// Puts an HTTP filter between meshspan and the router.
pub(crate) fn add_filter_after(manager: &mut Value, filter: Value) {
    manager["http_filters"].as_array_mut().unwrap().insert(1, filter);
}

/// Sets a listener's traffic direction.
pub(crate) fn set_direction(root: &mut Value, listener: &str, direction: &str) {
    let listeners = root["static_resources"]["listeners"].as_array_mut().unwrap();
    for entry in listeners.iter_mut().filter(|entry| entry["name"] == listener) {
        entry["traffic_direction"] = direction.into();
    }
}
