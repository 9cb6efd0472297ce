//! What the subjects here share: the example files, an Envoy whose workers all get connections, many requests at once,
//! and the books of decisions.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use meshspan_e2e::{DEADLINE, Mesh, bootstrap};
use meshspan_kit::client::{Connection, Request, Response};
use meshspan_kit::config::EnvoyConfig;
use meshspan_kit::envoy::{Envoy, EnvoyBinary, Options};
use meshspan_kit::receiver::{ReceivedSpan, Receiver};
use meshspan_kit::service::Service;
use meshspan_kit::wait;
use serde_json::{Value, json};

/// Worker threads of each Envoy.
pub(crate) const WORKERS: u32 = 2;

/// A file of `examples/sampling`, which exports soon here.
pub(crate) fn example(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/sampling");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["tracer_provider"]["processors"][0]["batch"]["schedule_delay"] = 100.into();
    config
}

/// An Envoy with these listeners, whose connections are dealt out to its workers evenly. Beside `application` there are
/// the clusters `rpc`, the same service by HTTP/2 with routes for gRPC requests, `side`, the same again, and `gone`,
/// where nobody listens.
pub(crate) fn start(
    envoy: &EnvoyBinary,
    listeners: &[(&str, Value)],
    change: impl FnOnce(EnvoyConfig) -> EnvoyConfig,
) -> Mesh {
    let (receiver, service) = (Receiver::start().unwrap(), Service::start().unwrap());
    let config = bootstrap(listeners)
        .cluster("application", service.address())
        .cluster("collector", receiver.address())
        .add_cluster("rpc", service.address(), true)
        .add_cluster("side", service.address(), false)
        .add_cluster("gone", SocketAddr::from(([127, 0, 0, 1], 1)), false)
        .connection_managers(|_, manager| {
            let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().unwrap();
            let own = [
                json!({"match": {"prefix": "/", "grpc": {}}, "route": {"cluster": "rpc"}}),
                json!({"match": {"prefix": "/side/"}, "route": {"cluster": "side"}}),
                json!({"match": {"prefix": "/gone"}, "route": {"cluster": "gone"}}),
                json!({"name": "named", "match": {"prefix": "/named/"}, "route": {"cluster": "application"}}),
            ];
            routes.splice(0..0, own);
        })
        .change(|root| {
            for listener in root["static_resources"]["listeners"].as_array_mut().unwrap() {
                listener["connection_balance_config"] = json!({"exact_balance": {}});
            }
        });
    let options = Options { concurrency: WORKERS, ..Options::default() };
    let envoy = Envoy::start_with(envoy, &change(config), &options).unwrap_or_else(|error| panic!("{error:#}"));
    Mesh { receiver, service, envoy }
}

/// Connections at the same time, all workers among them: each gets as many as the others, whatever a connection that is
/// just ending may add.
pub(crate) fn connections_to_all_workers(mesh: &Mesh, listener: &str) -> Vec<Connection> {
    let address = mesh.envoy.address(listener).unwrap();
    (0..2 * WORKERS).map(|_| Connection::open(address).unwrap()).collect()
}

/// What came of a request.
pub(crate) struct Answered {
    /// The response; `None` where there was no whole head.
    pub(crate) response: Option<Response>,
    /// From before the first byte was sent to after the last one was read.
    pub(crate) time: Duration,
}

/// Sends these requests, so many at a time on as many connections, and gives what came of each, in their order.
pub(crate) fn send_all(address: SocketAddr, requests: &[Request], connections: usize) -> Vec<Answered> {
    let next = Mutex::new(requests.iter().enumerate());
    let answers = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut connection = None;
                loop {
                    let Some((number, request)) = next.lock().unwrap_or_else(PoisonError::into_inner).next() else {
                        break;
                    };
                    let mut open = connection.take().unwrap_or_else(|| Connection::open(address).unwrap());
                    let begun = Instant::now();
                    let response = open.request(request).ok();
                    let answered = Answered { time: begun.elapsed(), response };
                    // One that broke off is not used again.
                    connection = answered.response.as_ref().is_some_and(|whole| !whole.truncated).then_some(open);
                    answers.lock().unwrap_or_else(PoisonError::into_inner).insert(number, answered);
                }
            });
        }
    });
    answers.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// Decisions by sampler: to sample, and not to.
pub(crate) type Decisions = BTreeMap<String, (u64, u64)>;

/// The decisions that Envoy tells of.
pub(crate) fn decisions(mesh: &Mesh) -> Decisions {
    let mut decisions = Decisions::new();
    for (name, count) in mesh.counters() {
        let Some(rest) = name.strip_prefix("meshspan_sampling_").and_then(|rest| rest.strip_suffix("_total")) else {
            continue;
        };
        if let Some(sampler) = rest.strip_suffix("_sampled") {
            decisions.entry(sampler.to_owned()).or_default().0 += count;
        } else if let Some(sampler) = rest.strip_suffix("_dropped") {
            decisions.entry(sampler.to_owned()).or_default().1 += count;
        }
    }
    decisions
}

/// Waits until so many streams of one span each are in the books, and every span has arrived; makes sure that all says
/// why it is there and that the decisions add up, and gives both.
pub(crate) fn settled(mesh: &Mesh, streams: u64) -> (Vec<ReceivedSpan>, Decisions) {
    let mut last = String::new();
    let all = wait::until(3 * DEADLINE, "books that add up", || {
        let (counters, decisions, spans) = (mesh.counters(), decisions(mesh), mesh.receiver.spans());
        let counter = |name: &str| counters.get(name).copied().unwrap_or(0);
        let mut by_sampler: BTreeMap<String, u64> = BTreeMap::new();
        for span in &spans {
            *by_sampler.entry(span.text("meshspan.sampling.sampler").unwrap_or("none").to_owned()).or_default() += 1;
        }
        let sampled: BTreeMap<String, u64> =
            decisions.iter().map(|(sampler, (yes, _))| (sampler.clone(), *yes)).filter(|(_, yes)| *yes > 0).collect();
        // Each stream is decided once at its start; a request that asks in vain is decided by the sampler, and what is
        // kept was dropped before.
        let at_start: u64 = decisions
            .iter()
            .map(|(sampler, (yes, no))| match sampler.as_str() {
                "keep" => 0,
                "force" => *yes,
                _ => yes + no,
            })
            .sum();
        last = format!(
            "{streams} streams, {at_start} decided at the start, decisions {decisions:?}, spans by sampler \
             {by_sampler:?}; {counters:#?}"
        );
        let started = counter("meshspan_spans_started_total");
        // What is decided in the end is known when all have ended.
        let ended = started + counter("meshspan_spans_not_sampled_total") == streams;
        let arrived = [started, counter("meshspan_export_exported_total")] == [spans.len() as u64; 2];
        let done = ended && arrived && at_start == streams && counter("meshspan_streams_total") == streams;
        (done && by_sampler == sampled).then_some((spans, decisions))
    });
    all.unwrap_or_else(|error| panic!("{error:#}: {last}"))
}

/// Makes sure that each worker had connections of a listener that is the only one.
pub(crate) fn assert_all_workers_had_connections(mesh: &Mesh) {
    let stats = mesh.envoy.admin_get("/stats?filter=worker_.*downstream_cx_total").unwrap().text();
    let totals: Vec<_> = stats.lines().filter(|line| !line.contains("admin")).collect();
    let served = totals.iter().filter(|line| !line.ends_with(": 0")).count();
    assert!(served == WORKERS as usize, "connections by worker: {totals:?}");
}

/// Why a span is there: sampler and rule.
pub(crate) fn reason(span: &ReceivedSpan) -> (&str, &str) {
    (span.text("meshspan.sampling.sampler").unwrap_or(""), span.text("meshspan.sampling.rule").unwrap_or(""))
}

/// Nanoseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}
