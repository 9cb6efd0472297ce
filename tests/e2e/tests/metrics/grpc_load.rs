//! A gRPC load by ghz: its own report is what a real Prometheus and an OTLP backend come to.

use std::collections::BTreeMap;

use meshspan_e2e::{DEADLINE, bootstrap, skipped};
use meshspan_kit::ghz::{self, Ghz};
use meshspan_kit::grpcio::{self, Grpcio};
use meshspan_kit::metrics::streams;
use meshspan_kit::wait;
use serde_json::{Value, json};

use crate::scraped::{Scraped, each_envoy_with_programs};
use crate::support::measuring;

const CALLS: u64 = 800;

/// Method and status, and how many calls had them.
type Calls = BTreeMap<[String; 2], u64>;

/// What ghz reports of mixed outcomes, each with the method that is to be counted.
fn load(ghz: &Ghz, address: std::net::SocketAddr) -> Calls {
    let mixed = json!([{}, {}, {}, {"status": 5}, {"status": 13}, {}, {"status": 8}, {}]);
    let mut calls = Calls::new();
    for (method, counted, count, messages) in [
        ("shop.Load.End", "shop.Load/End", CALLS, &mixed),
        // The server has no such method: so a client cannot make series of names that it thinks out.
        ("shop.Load.Missing", "_OTHER", CALLS / 8, &json!({})),
    ] {
        let report = ghz.run(address, method, count, messages).unwrap_or_else(|error| panic!("{error:#}"));
        calls.extend(report.into_iter().map(|(status, count)| ([counted.to_owned(), status], count)));
    }
    calls
}

#[test]
fn what_ghz_reports_is_what_both_ways_out_count() {
    let (Some(ghz), Some(grpcio)) = (Ghz::find(), Grpcio::find()) else {
        return skipped(&format!(
            "{} or {} does not name a program (set-up gets them)",
            ghz::VARIABLE,
            grpcio::VARIABLE
        ));
    };
    each_envoy_with_programs(|programs, envoy, concurrency| {
        let server = grpcio.server().unwrap_or_else(|error| panic!("{error:#}"));
        let mut config = measuring(&json!({}));
        config["meter_provider"] = json!({"readers": [{"periodic": {"interval": 300,
            "exporter": {"otlp_grpc": {"endpoint": "http://collector:4317"}}}}]});
        let config = bootstrap(&[("in", config)]).add_cluster("grpc", server.address(), true).connection_managers(
            |_, manager| {
                manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["cluster"] = "grpc".into();
            },
        );
        let scraped = Scraped::start(programs, envoy, concurrency, config, Value::Null);
        let reported = load(&ghz, scraped.mesh.envoy.address("in").unwrap());
        assert_eq!(reported.values().sum::<u64>(), CALLS + CALLS / 8);
        assert_eq!(reported.len(), 5, "{reported:?}");

        let mut by_prometheus = Calls::new();
        let arrived = wait::until(2 * DEADLINE, "all calls in Prometheus", || {
            let labels = ["rpc_method", "rpc_response_status_code"];
            by_prometheus = scraped.by(labels, "meshspan_rpc_server_duration_milliseconds_count");
            (by_prometheus.values().sum::<u64>() >= CALLS + CALLS / 8).then_some(())
        });
        assert_eq!(by_prometheus, reported, "Prometheus; {arrived:?}");

        let mut by_otlp = Calls::new();
        let arrived = wait::until(2 * DEADLINE, "all calls at the backend", || {
            by_otlp.clear();
            for (key, stream) in streams(&scraped.mesh.receiver.metrics()).unwrap() {
                let labels = ["rpc.method", "rpc.response.status_code"].map(|label| key.attributes.get(label).cloned());
                if let ("rpc.server.call.duration", [Some(method), Some(status)]) = (key.metric.as_str(), labels) {
                    *by_otlp.entry([method, status]).or_default() += stream.count;
                }
            }
            (by_otlp.values().sum::<u64>() >= CALLS + CALLS / 8).then_some(())
        });
        assert_eq!(by_otlp, reported, "OTLP; {arrived:?}");
        scraped.mesh.stop();
    });
}
