//! Whatever is called, the names of spans are few.

use std::collections::BTreeSet;

use meshspan_e2e::{DEADLINE, Mesh, bootstrap, each_envoy};
use meshspan_kit::axum::body::Bytes;
use meshspan_kit::axum::http::Request;
use meshspan_kit::client::Http2Client;
use meshspan_kit::envoy::Options;
use meshspan_kit::service::Service;
use serde_json::json;

use crate::support::service;

/// What the filter lets through: see `docs/spans.md`.
const MOST_HANDLED: usize = 1_000;

/// A server that answers any method at all, with any status, for once not grpcio: the kit's service.
#[test]
fn methods_that_nobody_knows_have_no_name() {
    each_envoy(&[1], |envoy, _| {
        let mut listed = service("listed");
        listed["distribution"] = json!({"meshspan": {"rpc": {"known_methods": ["grpc/0/shop.Cart/Get"]}}});
        let service_behind = Service::start().unwrap();
        let listeners = [("learnt", service("learnt")), ("listed", listed)];
        let config = bootstrap(&listeners)
            // The status is in trailers, which HTTP/1.1 loses.
            .add_cluster("answering", service_behind.address(), true)
            .connection_managers(|_, manager| {
                manager["route_config"]["virtual_hosts"][0]["routes"] =
                    json!([{"match": {"prefix": "/"}, "route": {"cluster": "answering"}}]);
            });
        let mesh = Mesh::start_with(envoy, &Options { concurrency: 1, ..Options::default() }, &config);
        let call = |listener: &str, count: usize, path: &dyn Fn(usize) -> String| {
            mesh.receiver.clear();
            let mut client = Http2Client::connect(mesh.envoy.address(listener).unwrap()).unwrap();
            for number in 0..count {
                let request = Request::post(format!("http://shop.example{}", path(number)));
                let request = request.header("content-type", "application/grpc").body(Bytes::new()).unwrap();
                assert_eq!(client.send(request).unwrap().status, 200);
            }
            let spans = mesh.receiver.wait_for_spans(count, DEADLINE).unwrap_or_else(|error| panic!("{error:#}"));
            assert_eq!(spans.len(), count);
            spans.iter().map(|span| span.name().to_owned()).collect::<BTreeSet<_>>()
        };

        let names = call("learnt", 300, &|number| format!("/grpc/12/shop.Cart/Nope{number}"));
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["grpc"], "none of them is the server's");
        // One that there is, before others fill the room.
        let names = call("learnt", 1, &|_| "/grpc/0/shop.Cart/Get".to_owned());
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["grpc/0/shop.Cart/Get"]);
        let names = call("learnt", 2_000, &|number| format!("/grpc/0/shop.Cart/Any{number}"));
        assert_eq!(names.len(), MOST_HANDLED, "those that there was room for, and `grpc` in place of the one before");
        let names = call("learnt", 1, &|_| "/grpc/0/shop.Cart/Get".to_owned());
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["grpc/0/shop.Cart/Get"], "it stays known");

        let names = call("listed", 10, &|number| format!("/grpc/0/shop.Cart/Any{number}"));
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["grpc"], "the list has none of them");
        let names = call("listed", 1, &|_| "/grpc/0/shop.Cart/Get".to_owned());
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["grpc/0/shop.Cart/Get"]);
        mesh.stop();
    });
}
