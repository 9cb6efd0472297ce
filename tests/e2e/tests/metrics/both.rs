//! Both ways out show the same numbers: Prometheus' page of Envoy, and what a Collector was sent.

use std::collections::BTreeMap;

use meshspan_e2e::{DEADLINE, Mesh, bootstrap, each_envoy_with};
use meshspan_kit::backend::{COLLECTOR_VARIABLE, Collector};
use meshspan_kit::client::Request;
use meshspan_kit::envoy::{Options, Samples};
use meshspan_kit::metrics::{Stream, StreamKey, streams};
use meshspan_kit::wait;
use serde_json::json;

use crate::support::{Counts, DURATION, counted, load, measuring, mixed, wait_for};

const REQUESTS: u64 = 800;

/// Upper bounds of the buckets of durations, ms.
const BOUNDS: [&str; 14] =
    ["5", "10", "25", "50", "75", "100", "250", "500", "750", "1000", "2500", "5000", "7500", "10000"];

/// How many requests of a status fell in each bucket, as Prometheus sees it; the last is beyond all bounds.
fn buckets(samples: &Samples, status: &str) -> Vec<u64> {
    let up_to = |le: &str| {
        let labels = [("le", le), ("http_response_status_code", status)];
        samples.sum(&format!("{DURATION}_bucket"), &labels)
    };
    let mut below = 0;
    let bounds = BOUNDS.iter().copied().chain(["+Inf"]);
    bounds.map(|le| up_to(le) - std::mem::replace(&mut below, up_to(le))).collect()
}

fn of<'a>(
    streams: &'a BTreeMap<StreamKey, Stream>,
    metric: &'a str,
) -> impl Iterator<Item = (&'a BTreeMap<String, String>, &'a Stream)> {
    streams.iter().filter(move |(key, _)| key.metric == metric).map(|(key, stream)| (&key.attributes, stream))
}

#[test]
fn prometheus_and_otlp_agree() {
    each_envoy_with(Collector::binary().as_deref(), COLLECTOR_VARIABLE, &[2], |binary, envoy, concurrency| {
        let collector = Collector::start(binary).unwrap();
        let mut config = measuring(&json!({}));
        config["meter_provider"] = json!({"readers": [{"periodic": {"interval": 300,
            "exporter": {"otlp_grpc": {"endpoint": "http://collector:4317"}}}}]});
        let config = bootstrap(&[("in", config)]).cluster("collector", collector.grpc());
        let options = Options { concurrency, ..Options::default() };
        let mesh = {
            // The mesh's own receiver takes nothing here.
            let mut mesh = Mesh::start_with(envoy, &options, &config.clone());
            let config = config.cluster("application", mesh.service.address());
            mesh.envoy = meshspan_kit::envoy::Envoy::start_with(envoy, &config, &options).unwrap();
            mesh
        };
        let address = mesh.envoy.address("in").unwrap();
        let mut sent = load(address, &mixed(REQUESTS));
        // On both sides of most boundaries.
        for ms in [2, 4, 6, 9, 11, 23, 30, 60, 80, 110, 260, 510, 760, 1_010] {
            let status = u64::from(Request::get(&format!("/slow?ms={ms}")).send(address).unwrap().status);
            *sent.entry((String::new(), status)).or_default() += 1;
        }
        let total = sent.values().sum::<u64>();
        let samples = wait_for(&mesh, DURATION, total);
        assert_eq!(counted(&samples, DURATION), sent);
        let exported = wait::until(2 * DEADLINE, "all requests at the Collector", || {
            let streams = streams(&collector.metrics().ok()?).unwrap();
            let count: u64 = of(&streams, "http.server.request.duration").map(|(_, stream)| stream.count).sum();
            (count >= total).then_some(streams)
        })
        .unwrap();
        let mut by_route_and_status = Counts::new();
        let mut by_status: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (attributes, stream) in of(&exported, "http.server.request.duration") {
            let status = attributes["http.response.status_code"].clone();
            let route = attributes.get("http.route").cloned().unwrap_or_default();
            *by_route_and_status.entry((route, status.parse().unwrap())).or_default() += stream.count;
            let all = by_status.entry(status).or_insert_with(|| vec![0; BOUNDS.len() + 1]);
            all.iter_mut().zip(&stream.buckets).for_each(|(all, more)| *all += more);
        }
        assert_eq!(by_route_and_status, sent);
        for (status, expected) in by_status {
            assert_eq!(buckets(&samples, &status), expected, "the buckets of {status}");
        }
        mesh.envoy.stop().unwrap();
    });
}
