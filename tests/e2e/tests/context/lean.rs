//! The module without a callback for response headers: what needs none is as it is with the other one, and what needs one
//! is refused.

use std::net::SocketAddr;

use meshspan_e2e::{Mesh, bootstrap, each_envoy, tracing};
use meshspan_kit::client::Request;
use meshspan_kit::envoy::Options;
use serde_json::json;

use crate::configuration::refused;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

#[test]
fn the_lean_module_traces() {
    let mut kept = tracing(&["tracecontext", "baggage"]);
    kept["tracer_provider"]["sampler"] = json!({"always_off": {}});
    kept["distribution"] = json!({"meshspan": {"keep": {"errors": true}}});
    let listeners = [("sampled", tracing(&["tracecontext", "baggage"])), ("kept", kept)];
    each_envoy(&[1, 2], |envoy, concurrency| {
        let config = bootstrap(&listeners).lean_module_from_env().unwrap();
        let mesh = Mesh::start_with(envoy, &Options { concurrency, ..Options::default() }, &config);
        for (path, caller, flags, sampled) in
            [("/root", None, "03", true), ("/yes", Some("01"), "01", true), ("/no", Some("00"), "00", false)]
        {
            let request = Request::get(path);
            let request = match caller {
                Some(flags) => request.header("traceparent", format!("00-{TRACE}-{PARENT}-{flags}")),
                None => request,
            };
            let (response, upstream) = mesh.exchange("sampled", &request);
            assert_eq!(response.status, 200, "{path}");
            let traceparent = upstream.values("traceparent").join(" and ");
            let fields: Vec<&str> = traceparent.split('-').collect();
            let [_, trace_id, span_id, told] = fields[..] else { panic!("{path}: {traceparent}") };
            assert_eq!((trace_id == TRACE, told), (caller.is_some(), flags), "{path}");
            if sampled {
                let span = mesh.span_at(path);
                assert_eq!((span.trace_id().as_str(), span.span_id().as_str()), (trace_id, span_id), "{path}");
                assert_eq!(span.integer("http.response.status_code"), Some(200), "{path}: known at the end");
            }
        }
        let failed = mesh.send("kept", &Request::get("/status/503"));
        assert_eq!(failed.status, 503);
        assert_eq!(mesh.span_at("/status/503").integer("http.response.status_code"), Some(503), "an error is kept");
        mesh.wait_for_counter("meshspan_export_exported_total", 3);
        mesh.stop();
    });
}

#[test]
fn the_lean_module_refuses_what_needs_response_headers() {
    let mut config = tracing(&["tracecontext"]);
    config["distribution"] = json!({"meshspan": {"response": {"traceresponse": true}}});
    let collector = SocketAddr::from(([127, 0, 0, 1], 9));
    each_envoy(&[1], |envoy, _| {
        let config = bootstrap(&[("inbound", config.clone())]).cluster("collector", collector);
        let log = refused(envoy, &config.lean_module_from_env().unwrap(), "lean");
        for said in ["configuration refused: $.distribution.meshspan: `response`", "load meshspan.wasm"] {
            assert!(log.contains(said), "{said} in: {log}");
        }
    });
}
