//! The service graph of two proxies: an edge with a sidecar for the one called.

use meshspan_e2e::{Mesh, bootstrap, each_envoy};
use meshspan_kit::backend::free_port;
use meshspan_kit::client::Request;
use meshspan_kit::envoy::Options;
use serde_json::{Value, json};

use crate::support::{measuring, wait_for};

/// A configuration for this service, which measures the graph.
fn graph(service: &str, role: &str, upstreams: &Value) -> Value {
    let mut config = measuring(&json!({"role": role, "metrics": {"prometheus": {},
        "service_graph": {"tracestate": true, "upstreams": upstreams}}}));
    config["resource"]["attributes"][0]["value"] = service.into();
    config
}

#[test]
fn an_edge_is_counted_once() {
    each_envoy(&[2], |envoy, concurrency| {
        let listeners = [
            ("web", graph("web", "gateway", &json!([{"cluster": "shop", "kind": "service"}, {"cluster": "gone"}]))),
            ("shop", graph("shop", "server", &json!([]))),
        ];
        // The listener `web` has `shop` behind it, at an address that has to be known before.
        let address = free_port().unwrap();
        let config = bootstrap(&listeners)
            .listener_address("shop", address)
            .add_cluster("shop", address, false)
            .add_cluster("gone", std::net::SocketAddr::from(([127, 0, 0, 1], 1)), false)
            .connection_managers(|name, manager| {
                if name == "web" {
                    let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().unwrap();
                    *routes = vec![
                        json!({"match": {"prefix": "/gone"}, "route": {"cluster": "gone"}}),
                        json!({"match": {"prefix": "/"}, "route": {"cluster": "shop"}}),
                    ];
                }
            });
        let mesh = Mesh::start_with(envoy, &Options { concurrency, ..Options::default() }, &config);
        for _ in 0..10 {
            assert_eq!(mesh.send("web", &Request::get("/orders/7")).status, 200);
            assert_eq!(mesh.send("web", &Request::get("/status/500")).status, 500);
            assert_eq!(mesh.send("web", &Request::get("/gone")).status, 503);
        }
        let samples = wait_for(&mesh, "meshspan_service_graph_request_client_milliseconds", 30);
        let edge = |metric: &str, client: &str, server: &str| {
            let labels = [("client", client), ("server", server)];
            samples.sum(&format!("meshspan_service_graph_request_{metric}"), &labels)
        };
        for (client, server, total, failed, by_server, by_client) in
            [("user", "web", 30, 20, 30, 0), ("web", "shop", 20, 10, 20, 20), ("web", "gone", 10, 10, 10, 10)]
        {
            let found = [
                edge("total", client, server),
                edge("failed_total", client, server),
                edge("server_milliseconds_count", client, server),
                edge("client_milliseconds_count", client, server),
            ];
            assert_eq!(found, [total, failed, by_server, by_client], "{client} calls {server}");
        }
        let virtual_nodes = [("connection_type", "virtual_node")];
        assert_eq!(samples.sum("meshspan_service_graph_request_total", &virtual_nodes), 40);
        mesh.stop();
    });
}
