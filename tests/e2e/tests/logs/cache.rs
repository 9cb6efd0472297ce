//! A response that Envoy's own cache gave is marked, on span and log record.

use meshspan_e2e::{DEADLINE, Mesh, bootstrap, each_envoy};
use meshspan_kit::axum::Router;
use meshspan_kit::axum::routing::get;
use meshspan_kit::client::Request;
use meshspan_kit::envoy::Envoy;
use meshspan_kit::opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use meshspan_kit::receiver::Receiver;
use meshspan_kit::service::Service;
use serde_json::json;

use crate::support::logging;

const HIT: &str = "envoy.cache.hit";

#[test]
fn a_response_from_the_cache_says_so() {
    each_envoy(&[1], |envoy, _| {
        let router = Router::new().route("/cached", get(|| async { ([("cache-control", "max-age=60")], "body") }));
        let (receiver, service) = (Receiver::start().unwrap(), Service::start_with(router).unwrap());
        let config = logging(&json!({"always_on": {}}), &json!({"role": "server", "logs": {"when": "all"}}));
        let config = bootstrap(&[("cache", config)])
            .cluster("application", service.address())
            .cluster("collector", receiver.address())
            .connection_managers(|_, manager| {
                let cache = json!({"name": "envoy.filters.http.cache", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.cache.v3.CacheConfig",
                    "typed_config": {"@type":
                        "type.googleapis.com/envoy.extensions.http.cache.simple_http_cache.v3.SimpleHttpCacheConfig"}}});
                manager["http_filters"].as_array_mut().unwrap().insert(1, cache);
            });
        let envoy = Envoy::start(envoy, &config).unwrap_or_else(|error| panic!("{error:#}"));
        let mesh = Mesh { receiver, service, envoy };
        for count in 1..=3 {
            assert_eq!(mesh.send("cache", &Request::get("/cached")).text(), "body");
            mesh.spans_at("/cached", count);
        }
        assert_eq!(mesh.service.requests().len(), 1, "the others were answered by the cache");
        let spans = mesh.spans_at("/cached", 3);
        let records = mesh.receiver.wait_for_logs(DEADLINE, |logs| (logs.len() >= 3).then(|| logs.to_vec())).unwrap();
        for (number, span) in spans.iter().enumerate() {
            let record = records.iter().find(|record| record.trace_id() == span.trace_id()).unwrap();
            let expected = (number > 0).then_some(true);
            assert_eq!(span.boolean(HIT), expected, "request {number}: {:#}", span.to_json());
            assert_eq!(record.attribute(HIT), expected.map(Attribute::BoolValue).as_ref(), "request {number}");
        }
        mesh.stop();
    });
}
