//! A client that makes up whatever it can.

use std::net::SocketAddr;

use axum::body::Bytes;
use axum::http::Request;
use meshspan_e2e::{Mesh, each_envoy};
use meshspan_kit::client::Http2Client;
use serde_json::json;

use crate::support::{DURATION, measuring, wait_for};

/// Requests of each kind.
const REQUESTS: u64 = 25_000;

/// Connections at once.
const SENDERS: u64 = 8;

/// Series of each metric and worker.
const CAP: usize = 20;

/// A request that nobody has made before.
fn made_up(address: SocketAddr, kind: usize, number: u64) -> Request<Bytes> {
    let request = match kind {
        0 => Request::get(format!("http://host{number}.example/made/up/{number}")),
        1 => Request::builder().method(format!("M{number}").as_str()).uri(format!("http://{address}/orders/7")),
        2 => Request::post(format!("http://{address}/made.Up{number}/Method{number}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers"),
        // A caller that names itself, and so goes beyond what is bounded by construction.
        _ => Request::get(format!("http://{address}/orders/7"))
            .header("traceparent", format!("00-{:032x}-{:016x}-00", number + 1, number + 1))
            .header("tracestate", format!("meshspan=caller{number}")),
    };
    request.body(Bytes::new()).unwrap()
}

#[test]
fn a_hundred_thousand_names_stay_under_the_cap() {
    each_envoy(&[2], |envoy, concurrency| {
        let metrics = json!({"metrics": {"prometheus": {"max_series": CAP},
            "service_graph": {"tracestate": true}}});
        let mesh = Mesh::start(envoy, concurrency, &[("in", measuring(&metrics))]);
        let address = mesh.envoy.address("in").unwrap();
        // Each kind over several connections, of which both workers have some.
        let attack = |kind: usize| {
            std::thread::scope(|scope| {
                for sender in 0..SENDERS {
                    scope.spawn(move || {
                        let mut client = Http2Client::connect(address).unwrap();
                        for number in (0..REQUESTS).filter(|number| number % SENDERS == sender) {
                            client.send(made_up(address, kind, number)).unwrap();
                        }
                    });
                }
            });
        };
        // What Envoy and the filter need for this number of series is there before memory is measured.
        attack(3);
        let before = mesh.envoy.resident_memory().unwrap();
        (0..3).for_each(attack);
        let name = format!("{DURATION}_count");
        let samples = wait_for(&mesh, DURATION, 4 * REQUESTS);
        let most = CAP * concurrency as usize;
        for metric in [
            name.as_str(),
            "meshspan_rpc_server_duration_milliseconds_count",
            "meshspan_http_server_active_requests",
            "meshspan_service_graph_request_total",
        ] {
            let series = samples.of(metric, &[]).count();
            assert!((1..=most).contains(&series), "{metric}: {series} series");
        }
        let graph = samples.sum("meshspan_service_graph_request_total", &[]);
        assert_eq!(graph, 4 * REQUESTS, "nothing is lost");
        let overflow = [("otel_metric_overflow", "true")];
        assert!(samples.sum("meshspan_service_graph_request_total", &overflow) > 0);
        assert_eq!(samples.sum(&name, &overflow), 0, "what is bounded by construction has room");
        let grown = mesh.envoy.resident_memory().unwrap().saturating_sub(before);
        println!("Envoy {}: {grown} bytes more after the attack", envoy.version);
        assert!(grown < 32 << 20, "{grown} bytes more");
        mesh.stop();
    });
}
