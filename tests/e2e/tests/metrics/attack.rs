//! A client that makes up whatever it can.

use meshspan_e2e::{Mesh, each_envoy};
use meshspan_kit::client::{Connection, Http2Client, Request};
use serde_json::json;

use crate::support::{DURATION, measuring, wait_for};

/// Requests of each kind.
const REQUESTS: u64 = 25_000;

/// Series of each metric and worker.
const CAP: usize = 20;

#[test]
fn a_hundred_thousand_names_stay_under_the_cap() {
    each_envoy(&[2], |envoy, concurrency| {
        let metrics = json!({"metrics": {"prometheus": {"max_series": CAP},
            "service_graph": {"tracestate": true}}});
        let mesh = Mesh::start(envoy, concurrency, &[("in", measuring(&metrics))]);
        let address = mesh.envoy.address("in").unwrap();
        let send = |kind: usize| {
            let mut connection = Connection::open(address).unwrap();
            for number in 0..REQUESTS {
                let request = match kind {
                    0 => Request::get(&format!("/made/up/{number}")).header("host", format!("host{number}.example")),
                    1 => Request::new(&format!("M{number}"), "/orders/7"),
                    // A caller that names itself, and so goes beyond what is bounded by construction.
                    _ => Request::get("/orders/7")
                        .header("traceparent", format!("00-{:032x}-{:016x}-00", number + 1, number + 1))
                        .header("tracestate", format!("meshspan=caller{number}")),
                };
                // Envoy may end a connection on a method that it does not know.
                if connection.request(&request).is_err() {
                    connection = Connection::open(address).unwrap();
                }
            }
        };
        let calls = || {
            let mut client = Http2Client::connect(address).unwrap();
            for number in 0..REQUESTS {
                let headers: [(&str, &[u8]); 2] = [("content-type", b"application/grpc"), ("te", b"trailers")];
                client.get(&format!("/made.Up{number}/Method{number}"), &headers).unwrap();
            }
        };
        // What Envoy and the filter need for this number of series is there before anything is measured.
        send(2);
        let before = mesh.envoy.resident_memory().unwrap();
        std::thread::scope(|scope| {
            for kind in 0..2 {
                scope.spawn(move || send(kind));
            }
            scope.spawn(calls);
        });
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
