//! Envoy's own access log, in the format that is shipped: its ids are those of the spans, however a stream ends.

use std::collections::BTreeMap;
use std::path::Path;

use meshspan_e2e::{DEADLINE, Mesh, each_envoy};
use meshspan_kit::client::{Connection, Request};
use meshspan_kit::config::EnvoyConfig;
use meshspan_kit::envoy::Options;
use meshspan_kit::receiver::ReceivedSpan;
use meshspan_kit::wait;
use serde_json::{Value, json};

use crate::support::wait_for_books;

/// The shipped configuration, its access log in `file`, with a filter before ours and routes that Envoy answers itself.
fn config(file: &Path) -> EnvoyConfig {
    let config = EnvoyConfig::shipped("access-log.yaml").unwrap().local().wasm_module_from_env().unwrap();
    let file = file.display().to_string();
    let config = config.schedule_delay(std::time::Duration::from_millis(100)).meshspan(|_, meshspan| {
        // Nothing is sampled but what the caller samples, so that it is known which lines have a span.
        meshspan["tracer_provider"]["sampler"] = json!({"parent_based": {"root": {"always_off": {}}}});
    });
    config.connection_managers(|_, manager| {
        manager["access_log"][0]["typed_config"]["path"] = file.as_str().into();
        let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().unwrap();
        routes.insert(0, json!({"match": {"path": "/direct"}, "direct_response": {"status": 503}}));
        let fault = json!({"name": "envoy.filters.http.fault", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
            "headers": [{"name": "x-abort", "present_match": true}],
            "abort": {"http_status": 500, "percentage": {"numerator": 100}}}});
        manager["http_filters"].as_array_mut().unwrap().insert(0, fault);
    })
}

/// The lines of the access log, once there are so many.
fn lines(file: &Path, count: usize) -> Vec<Value> {
    let read = || std::fs::read_to_string(file).unwrap_or_default();
    let found = wait::until(DEADLINE, "lines in the access log", || (read().lines().count() >= count).then(read));
    let text = found.unwrap_or_else(|_| panic!("not {count} lines: {}", read()));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn every_line_names_its_span() {
    let sampled = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let get = Request::get;
    // Request, status, whether a span is exported, why.
    let table = [
        (get("/fine"), 200, false, "not sampled"),
        (get("/fine").header(sampled.0, sampled.1), 200, true, "sampled by the caller"),
        (get("/status/503"), 503, true, "failed, and kept at the end"),
        (get("/direct"), 503, true, "Envoy answers behind the filter"),
        (get("/fine").header("x-abort", "1"), 500, true, "a filter before ours answers: only the end is seen"),
        (
            get("/fine").header("x-abort", "1").header(sampled.0, sampled.1),
            500,
            true,
            "the same, sampled by the caller",
        ),
    ];
    each_envoy(&[1], |envoy, concurrency| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("access.log");
        let options = Options { concurrency, ..Options::default() };
        let mesh = Mesh::start_with(envoy, &options, &config(&file));
        for (request, status, ..) in &table {
            assert_eq!(mesh.send("inbound", request).status, *status);
        }
        // Bytes that are no request, and a request that Envoy refuses: both end before any filter sees a head.
        let address = mesh.envoy.address("inbound").unwrap();
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"NONSENSE\r\n\r\n"] {
            let mut connection = Connection::open(address).unwrap();
            connection.write(bytes).unwrap();
            assert_eq!(connection.read_response(false).unwrap().status, 400);
        }
        let lines = lines(&file, table.len() + 2);
        let exported = table.iter().filter(|(_, _, exported, _)| *exported).count();
        wait_for_books(&mesh, "traces", exported.try_into().unwrap());
        let spans: BTreeMap<_, ReceivedSpan> =
            mesh.receiver.spans().into_iter().map(|span| (span.span_id(), span)).collect();
        for (line, (_, status, exported, why)) in lines.iter().zip(&table) {
            assert_eq!(line["response_code"], *status, "{why}: {line}");
            let (trace_id, span_id) = (line["trace_id"].as_str().unwrap(), line["span_id"].as_str().unwrap());
            assert_eq!((trace_id.len(), span_id.len()), (32, 16), "{why}: {line}");
            assert_eq!(line["sampled"], exported.to_string(), "{why}: {line}");
            let span = spans.get(span_id);
            assert_eq!(span.is_some(), *exported, "{why}: {line}");
            assert!(span.is_none_or(|span| span.trace_id() == trace_id), "{why}: {line}");
        }
        for line in lines.iter().skip(table.len()) {
            assert_eq!(line["response_code"], 400, "{line}");
            assert_eq!(line["trace_id"].as_str().map(str::len), Some(32), "{line}");
            assert_eq!(line["span_id"].as_str().map(str::len), Some(16), "{line}");
            assert_eq!(line["sampled"], "false", "a client's error: {line}");
        }
        mesh.stop();
    });
}
