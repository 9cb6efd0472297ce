//! What Prometheus sees is what the load generator counted.

use std::collections::BTreeMap;

use meshspan_e2e::{Mesh, each_envoy};
use meshspan_kit::client::{Http2Client, Request};
use serde_json::json;

use crate::support::{DURATION, counted, load, measuring, mixed, wait_for};

const REQUESTS: u64 = 4_000;

#[test]
fn counts_by_route_and_status_are_the_load_generators() {
    each_envoy(&[2], |envoy, concurrency| {
        let mesh = Mesh::start(envoy, concurrency, &[("in", measuring(&json!({})))]);
        let sent = load(mesh.envoy.address("in").unwrap(), &mixed(REQUESTS));
        assert_eq!(sent.values().sum::<u64>(), REQUESTS);
        let samples = wait_for(&mesh, DURATION, REQUESTS);
        assert_eq!(counted(&samples, DURATION), sent);
        for size in ["request", "response"] {
            let name = format!("meshspan_http_server_{size}_body_size_bytes");
            assert_eq!(counted(&samples, &name), sent, "{name}");
        }
        let by_version = samples.sums_by(&format!("{DURATION}_count"), &[], "network_protocol_version");
        assert_eq!(by_version, BTreeMap::from([("1.1".to_owned(), REQUESTS / 2), ("2".to_owned(), REQUESTS / 2)]));
        let errors = samples.sums_by(&format!("{DURATION}_count"), &[], "error_type");
        assert_eq!(errors["500"], REQUESTS / 8, "404 is none of the server's");
        let labels = [("service_name", "checkout"), ("http_request_method", "GET"), ("url_scheme", "http")];
        assert_eq!(samples.sum(&format!("{DURATION}_count"), &labels), REQUESTS);
        let boundaries: Vec<&str> = ["0.5", "5", "7500", "10000", "+Inf"].to_vec();
        let has = |le: &str| samples.of(&format!("{DURATION}_bucket"), &[("le", le)]).next().is_some();
        assert_eq!(boundaries.into_iter().filter(|le| has(le)).collect::<Vec<_>>(), ["5", "7500", "10000", "+Inf"]);
        assert_eq!(samples.sum("meshspan_http_server_active_requests", &[]), 0, "all have ended");
        assert!(mesh.counter("meshspan_spans_started_total") < REQUESTS / 10, "few are sampled");
        assert_eq!(mesh.counter("meshspan_metrics_overflowed_total"), 0);
        mesh.stop();
    });
}

#[test]
fn a_request_under_way_is_active() {
    each_envoy(&[2], |envoy, concurrency| {
        let mesh = Mesh::start(envoy, concurrency, &[("in", measuring(&json!({})))]);
        let address = mesh.envoy.address("in").unwrap();
        let active = || mesh.samples().sum("meshspan_http_server_active_requests", &[("http_request_method", "GET")]);
        std::thread::scope(|scope| {
            let slow = scope.spawn(move || Request::get("/slow?ms=3000").send(address).unwrap().status);
            meshspan_kit::wait::until(meshspan_e2e::DEADLINE, "an active request", || (active() == 1).then_some(()))
                .unwrap();
            assert_eq!(slow.join().unwrap(), 200);
        });
        meshspan_kit::wait::until(meshspan_e2e::DEADLINE, "none", || (active() == 0).then_some(())).unwrap();
        mesh.stop();
    });
}

#[test]
fn calls_are_counted_by_method_and_status() {
    each_envoy(&[2], |envoy, concurrency| {
        let service_over_http2 = |config: meshspan_kit::config::EnvoyConfig| {
            config.change(|root| {
                let clusters = root["static_resources"]["clusters"].as_array_mut().unwrap();
                let collector = clusters.iter().find(|cluster| cluster["name"] == "collector").unwrap();
                let options = collector["typed_extension_protocol_options"].clone();
                for cluster in clusters.iter_mut().filter(|cluster| cluster["name"] == "application") {
                    cluster["typed_extension_protocol_options"] = options.clone();
                }
            })
        };
        let config = service_over_http2(meshspan_e2e::bootstrap(&[("in", measuring(&json!({})))]));
        let options = meshspan_kit::envoy::Options { concurrency, ..Default::default() };
        let mesh = Mesh::start_with(envoy, &options, &config);
        let mut client = Http2Client::connect(mesh.envoy.address("in").unwrap()).unwrap();
        // The kit's service takes the status from the path's first segments; the rest is the method.
        let calls =
            [("/grpc/0/Get", "OK", 30), ("/grpc/5/Get", "NOT_FOUND", 20), ("/grpc/12/Nope", "UNIMPLEMENTED", 10)];
        for (path, _, count) in calls {
            for _ in 0..count {
                client.get(path, &[("content-type", b"application/grpc"), ("te", b"trailers")]).unwrap();
            }
        }
        let name = "meshspan_rpc_server_duration_milliseconds";
        let samples = wait_for(&mesh, name, 60);
        let by = samples.sums_by(&format!("{name}_count"), &[], "rpc_response_status_code");
        assert_eq!(by, calls.iter().map(|(_, status, count)| ((*status).to_owned(), *count)).collect());
        let methods = samples.sums_by(&format!("{name}_count"), &[], "rpc_method");
        let expected = [("grpc/0/Get", 30), ("grpc/5/Get", 20), ("_OTHER", 10)];
        assert_eq!(methods, expected.map(|(method, count)| (method.to_owned(), count)).into());
        mesh.stop();
    });
}
