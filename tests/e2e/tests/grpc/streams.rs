//! Streams that stay: one span each, as long as the stream, and nothing else waits for it.

use std::time::Duration;

use meshspan_e2e::DEADLINE;
use serde_json::json;

use crate::support::{Stage, Trace, each_envoy_with_grpcio, expect, route_to_grpc, service};

/// Seconds for the long stream: a few; ten minutes with `--long`; any number by this variable (3600 for an hour).
const VARIABLE: &str = "MESHSPAN_STREAM_SECONDS";

fn seconds() -> u64 {
    let asked = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok());
    let long = std::env::var_os("MESHSPAN_LONG").is_some_and(|value| value == "1");
    asked.unwrap_or(if long { 600 } else { 4 })
}

#[test]
fn a_long_stream_is_one_long_span() {
    each_envoy_with_grpcio(&[1], |grpcio, envoy, _| {
        let stage = Stage::start(grpcio, envoy, 1, &[("server", service("server"))], |config| {
            config.connection_managers(|_, manager| route_to_grpc(manager, &[]))
        });
        let lasts = Duration::from_secs(seconds());
        let (long, mut client) = (Trace::new(), stage.client("server"));
        // A message each 10 ms.
        let messages = seconds() * 100;
        let watch = json!({"method": "/shop.Cart/Watch", "kind": "unary_stream", "messages": ["-1"],
            "cancel_after": messages, "metadata": [["traceparent", long.traceparent()]]});
        std::thread::scope(|scope| {
            let stream = scope.spawn(|| client.call_within(lasts * 3 + Duration::from_mins(1), &watch));
            let mut others = stage.client("server");
            let mut count = 0;
            while !stream.is_finished() {
                let trace = Trace::new();
                trace.call(&mut others, &json!({"method": "/shop.Cart/Get"}), "OK").unwrap();
                trace.span(&stage.mesh).unwrap_or_else(|error| panic!("beside the stream: {error:#}"));
                count += 1;
            }
            assert!(count > 0, "other calls came to their end beside it");
            let answer = stream.join().unwrap().unwrap();
            assert_eq!(answer["messages"].as_array().map(Vec::len), usize::try_from(messages).ok());
        });
        let span = long.span(&stage.mesh).unwrap();
        let expected = json!({"name": "shop.Cart/Watch", "status": "UNSET",
            "attributes": {"rpc.response.status_code": "CANCELLED"}});
        expect(&span, &expected).unwrap();
        assert!(span.duration() >= lasts, "it lasted {:?}, not {lasts:?}", span.duration());
        stage.mesh.stop();
    });
}

#[test]
fn a_stream_whose_server_dies_says_what_the_proxy_saw() {
    each_envoy_with_grpcio(&[1], |grpcio, envoy, _| {
        let mut stage = Stage::start(grpcio, envoy, 1, &[("server", service("server"))], |config| {
            config.connection_managers(|_, manager| route_to_grpc(manager, &[]))
        });
        let server = stage.server.take();
        let (trace, mut client) = (Trace::new(), stage.client("server"));
        let watch = json!({"method": "/shop.Cart/Watch", "kind": "unary_stream", "messages": ["-1"],
            "metadata": [["traceparent", trace.traceparent()]]});
        let answer = std::thread::scope(|scope| {
            let stream = scope.spawn(|| client.call(&watch));
            // More than the connection's beginning and the answer's head.
            let received = "cluster.grpc.upstream_cx_rx_bytes_total";
            stage.mesh.envoy.wait_for_stat(received, DEADLINE, |bytes| bytes > 1_000).unwrap();
            drop(server);
            stream.join().unwrap().unwrap()
        });
        assert_ne!(answer["status"], "OK");
        let expected = json!({"name": "shop.Cart/Watch", "status": "ERROR", "attributes": {
            "error.type": "UpstreamConnectionTermination", "rpc.response.status_code": "UNKNOWN",
        }});
        expect(&trace.span(&stage.mesh).unwrap(), &expected).unwrap();
        stage.mesh.stop();
    });
}
