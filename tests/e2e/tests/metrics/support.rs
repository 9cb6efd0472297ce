//! What the subjects here share: a configuration that measures, and a load of mixed outcomes that counts for itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use meshspan_e2e::{DEADLINE, Mesh, tracing};
use meshspan_kit::client::{Connection, Http2Client, Request};
use meshspan_kit::envoy::Samples;
use meshspan_kit::wait;
use serde_json::{Value, json};

/// Route and status, and how many requests had them.
pub(crate) type Counts = BTreeMap<(String, u64), u64>;

/// The templates of the load's paths.
pub(crate) const ROUTES: [&str; 3] = ["/status/{code}", "/orders/{id}", "/a-b/{c}/{d}"];

/// The server's histogram.
pub(crate) const DURATION: &str = "meshspan_http_server_request_duration_milliseconds";

/// A configuration that measures for Prometheus and samples one trace in a hundred.
pub(crate) fn measuring(meshspan: &Value) -> Value {
    let mut config = tracing(&["tracecontext"]);
    config["tracer_provider"]["sampler"] = json!({"trace_id_ratio_based": {"ratio": 0.01}});
    config["distribution"] = json!({"meshspan": {"routes": ROUTES, "metrics": {"prometheus": {}}}});
    let own = config["distribution"]["meshspan"].as_object_mut().unwrap();
    own.extend(meshspan.as_object().unwrap().clone());
    config
}

/// So many requests, mixed in path and outcome; and what their answers must count to.
pub(crate) fn mixed(count: u64) -> Vec<(String, u64, Option<&'static str>)> {
    (0..count)
        .map(|number| match number % 8 {
            0 => ("/status/500".to_owned(), 500, Some(ROUTES[0])),
            1 => ("/status/404?x=1".to_owned(), 404, Some(ROUTES[0])),
            2 => (format!("/a-b/{number}/x"), 200, Some(ROUTES[2])),
            3 => (format!("/unlisted/{number}"), 200, None),
            4 => ("/status/201".to_owned(), 201, Some(ROUTES[0])),
            _ => (format!("/orders/{number}"), 200, Some(ROUTES[1])),
        })
        .collect()
}

/// Sends them over several connections at once, half of each by HTTP/1.1 and HTTP/2, and counts the answers.
pub(crate) fn load(address: SocketAddr, requests: &[(String, u64, Option<&'static str>)]) -> Counts {
    const CONNECTIONS: usize = 8;
    let counts = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|sender| {
                scope.spawn(move || {
                    let own = requests.iter().skip(sender).step_by(CONNECTIONS);
                    if sender % 2 == 0 {
                        let mut connection = Connection::open(address).unwrap();
                        let answers =
                            own.map(|(path, ..)| u64::from(connection.request(&Request::get(path)).unwrap().status));
                        answers.collect::<Vec<_>>()
                    } else {
                        let mut client = Http2Client::connect(address).unwrap();
                        own.map(|(path, ..)| u64::from(client.get(path, &[]).unwrap().status)).collect()
                    }
                })
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect::<Vec<_>>()
    });
    let mut sums = Counts::new();
    for (sender, answers) in counts.into_iter().enumerate() {
        for ((_, expected, route), found) in requests.iter().skip(sender).step_by(CONNECTIONS).zip(answers) {
            assert_eq!(found, *expected);
            *sums.entry((route.unwrap_or_default().to_owned(), found)).or_default() += 1;
        }
    }
    sums
}

/// The requests that a histogram has counted, by route and status.
pub(crate) fn counted(samples: &Samples, histogram: &str) -> Counts {
    let mut counts = Counts::new();
    for sample in samples.of(&format!("{histogram}_count"), &[]) {
        let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
        let status = label("http_response_status_code").parse().unwrap_or(0);
        *counts.entry((label("http_route"), status)).or_default() += sample.count();
    }
    counts.retain(|_, count| *count > 0);
    counts
}

/// Waits until Prometheus would see so many requests of a histogram; one that has gone past it fails as well.
pub(crate) fn wait_for(mesh: &Mesh, histogram: &str, expected: u64) -> Samples {
    let mut last = 0;
    let arrived = wait::until(2 * DEADLINE, histogram, || {
        let samples = mesh.samples();
        last = samples.sum(&format!("{histogram}_count"), &[]);
        (last >= expected).then_some(samples)
    });
    assert_eq!(last, expected, "{histogram}; Envoy's log:\n{}", mesh.envoy.log());
    arrived.unwrap()
}
