//! Nothing sensitive leaves: ten thousand requests with secrets in every place that traffic reaches, and everything that
//! the filter let out is searched for them. That the search finds what is there, a listener without detectors proves.

mod scan;
mod traffic;

use std::collections::BTreeSet;
use std::path::Path;

use meshspan_e2e::{DEADLINE, Mesh, bootstrap, each_envoy, tracing};
use meshspan_kit::client::Request;
use meshspan_kit::config::EnvoyConfig;
use meshspan_kit::envoy::Options;
use meshspan_kit::receiver::Behaviour;
use serde_json::{Value, json};

use scan::{all_that_left, all_that_was_logged, shown};
use traffic::{secrets, send, send_with_trailers};

/// Requests on each of the two listeners that mask: over HTTP/1.1, and over HTTP/2 with trailers.
const REQUESTS: (usize, usize) = (4_000, 1_000);

/// Requests on the one that does not.
const UNMASKED: (usize, usize) = (500, 100);

/// What users print in an access log of what this filter knows, and of what Envoy does that no client has written.
const ACCESS_LOG: &str = "%START_TIME% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS% %PROTOCOL% %DURATION% \
                          %BYTES_RECEIVED% %UPSTREAM_HOST% %ROUTE_NAME% %FILTER_STATE(wasm.meshspan.traceparent:PLAIN)%\n";

/// The same with what clients write: Envoy's own, in which nothing is masked.
const OPEN_ACCESS_LOG: &str = "%REQ(:METHOD)% %REQ(:PATH)% %REQ(USER-AGENT)%\n";

/// A configuration that records all it can, says all it can, and exports by gRPC and by HTTP with JSON, compressed.
fn everything(detectors: &Value, inject: &str) -> Value {
    let mut config = tracing(&["tracecontext", "baggage"]);
    config["log_level"] = json!("trace");
    config["tracer_provider"]["processors"] = json!([
        {"batch": {"schedule_delay": 100, "max_queue_size": 20_000, "exporter":
            {"otlp_grpc": {"endpoint": "http://collector:4317", "compression": "gzip"}}}},
        {"batch": {"schedule_delay": 100, "max_queue_size": 20_000, "exporter":
            {"otlp_http": {"endpoint": "http://collector:4318/v1/traces", "compression": "gzip", "encoding": "json"}}}},
    ]);
    let captured = json!(["x-note", "referer", "baggage", "tracestate", "x-forwarded-for", "accept-language"]);
    config["instrumentation/development"] = json!({"general": {
        "http": {"server": {"request_captured_headers": captured, "response_captured_headers": ["x-note"]},
                 "client": {"request_captured_headers": captured, "response_captured_headers": ["x-note"]}},
        "stability_opt_in_list": "http/dup",
    }});
    config["distribution"] = json!({"meshspan": {
        "role": "gateway", "inject": inject, "baggage_attributes": ["user"],
        "clusters": {"collector:4318": "collector"},
        "limits": {"max_queue_bytes": 128 << 20},
        "masking": {"detectors": detectors},
    }});
    config
}

/// The same, and it measures and logs every stream in every way there is.
fn every_signal(detectors: &Value, inject: &str) -> Value {
    let mut config = everything(detectors, inject);
    let exporter = json!({"otlp_grpc": {"endpoint": "http://collector:4317"}});
    config["logger_provider"] = json!({"processors": [
        {"batch": {"schedule_delay": 100, "max_queue_size": 20_000, "exporter": exporter}}]});
    config["meter_provider"] = json!({"readers": [{"periodic": {"interval": 200, "exporter": exporter}}]});
    let meshspan = &mut config["distribution"]["meshspan"];
    meshspan["logs"] = json!({"when": "all", "json": {"lines_per_second": 100_000}, "filter_state": true});
    meshspan["metrics"] = json!({"prometheus": {}, "service_graph": {"tracestate": true}});
    config
}

/// Envoy with an access log for each listener in `folder`, and HTTP/2 to the service, so that trailers get there.
fn logged(listeners: &[(&str, Value)], folder: &Path, format: &str) -> EnvoyConfig {
    let folder = folder.to_owned();
    bootstrap(listeners)
        .connection_managers(|name, manager| {
            manager["access_log"] = json!([{"name": "file", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": folder.join(format!("{name}.log")).display().to_string(),
                "log_format": {"text_format_source": {"inline_string": format}}}}]);
        })
        .change(|root| {
            let clusters = root["static_resources"]["clusters"].as_array_mut().unwrap();
            let application = clusters.iter_mut().find(|cluster| cluster["name"] == "application").unwrap();
            let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
            application["typed_extension_protocol_options"] = json!({options: {
                "@type": format!("type.googleapis.com/{options}"),
                "explicit_http_config": {"http2_protocol_options": {}}}});
        })
}

fn options(concurrency: u32, folder: &Path) -> Options {
    Options {
        concurrency,
        component_log_level: "wasm:debug".to_owned(),
        folder: Some(folder.to_owned()),
        ..Options::default()
    }
}

#[test]
fn no_secret_leaves() {
    each_envoy(&[1], |envoy, concurrency| {
        let (secrets, folder) = (secrets(), tempfile::tempdir().unwrap());
        let redacting = json!({"cn_mobile_number": "redact", "payment_card": "redact"});
        let listeners =
            [("mask", every_signal(&json!({}), "headers")), ("redact", every_signal(&redacting, "filter_state"))];
        let config = logged(&listeners, folder.path(), ACCESS_LOG);
        let mesh = Mesh::start_with(envoy, &options(concurrency, folder.path()), &config);
        for (listener, _) in &listeners {
            send(&mesh, listener, &secrets, REQUESTS.0);
            send_with_trailers(&mesh, listener, &secrets, REQUESTS.1);
        }
        let texts = all_that_left(&mesh);
        assert!(texts.iter().any(|text| text.contains("139****")), "something was masked");
        let streams = u64::try_from((REQUESTS.0 + REQUESTS.1) * listeners.len()).unwrap();
        assert_eq!(mesh.counter("meshspan_streams_total"), streams, "every request had its spans");
        assert!(mesh.counter("meshspan_spans_started_total") >= streams);
        let samples = mesh.samples();
        for signal in ["traces", "logs", "metrics"] {
            let exported = samples.sum("meshspan_export_exported_total", &[("signal", signal)]);
            assert!(exported > 0, "no {signal} were exported: {:#?}", mesh.counters());
        }
        assert!(samples.sum("meshspan_service_graph_request_total", &[]) > 0, "nothing was measured");
        for detector in ["cn_mobile_number", "payment_card", "email", "jwt"] {
            let masked = samples.sum("meshspan_masked_total", &[("detector", detector)]);
            assert!(masked > 0, "nothing was counted for {detector}: {:#?}", mesh.counters());
        }
        assert_eq!(shown(&secrets, &texts), BTreeSet::new());
        for (name, text) in all_that_was_logged(mesh, folder.path()) {
            assert!(text.lines().count() > 10, "{name}: {text}");
            for line in text.lines() {
                assert_eq!(shown(&secrets, &[line.to_owned()]), BTreeSet::new(), "{name}: {line}");
            }
            if name == "redact.log" {
                assert!(text.contains(" 00-4bf92f3577b34da6a3ce929d0e"), "what the filter put there is looked at");
            }
        }
    });
}

#[test]
fn the_search_finds_what_is_there() {
    each_envoy(&[1], |envoy, concurrency| {
        let (secrets, folder) = (secrets(), tempfile::tempdir().unwrap());
        let off = json!({"cn_mobile_number": false, "payment_card": false, "email": false, "jwt": false,
            "aws_access_key": false, "http_credentials": false, "url_credentials": false, "cn_resident_id": false,
            "iban": false, "us_ssn": false});
        let config = logged(&[("open", every_signal(&off, "headers"))], folder.path(), OPEN_ACCESS_LOG);
        let mesh = Mesh::start_with(envoy, &options(concurrency, folder.path()), &config);
        send(&mesh, "open", &secrets, UNMASKED.0);
        send_with_trailers(&mesh, "open", &secrets, UNMASKED.1);
        assert_eq!(shown(&secrets, &all_that_left(&mesh)).len(), secrets.len(), "all of them");
        let logs = all_that_was_logged(mesh, folder.path());
        let access: Vec<_> = logs.into_iter().filter(|(name, _)| name == "open.log").map(|(_, text)| text).collect();
        assert_eq!(shown(&secrets, &access).len(), secrets.len(), "also in the access log");
    });
}

/// A backend can say in its error what a span told it, or anything else.
#[test]
fn what_a_backend_says_is_masked_in_envoys_log() {
    each_envoy(&[1], |envoy, concurrency| {
        let secrets = secrets();
        let said = secrets.join("%2C ");
        let open = json!({"cn_mobile_number": false, "payment_card": false, "email": false, "jwt": false,
            "aws_access_key": false});
        let mut config = tracing(&["tracecontext"]);
        config["distribution"]["meshspan"]["limits"]["max_retry_age"] = 0.into();
        let mut unmasked = config.clone();
        unmasked["distribution"]["meshspan"]["masking"]["detectors"] = open;
        let mesh = Mesh::start(envoy, concurrency, &[("mask", config), ("open", unmasked)]);
        for (listener, mark) in [("mask", "139****"), ("open", secrets[0].as_str())] {
            let before = mesh.envoy.log().len();
            mesh.receiver.script([
                Behaviour::grpc_status(13, &said),
                Behaviour::PartialSuccess { rejected: 1, message: said.clone() },
            ]);
            for line in ["failed: grpc-status 13: ", "rejected 1 spans: "] {
                let requests = mesh.receiver.requests().len();
                mesh.send(listener, &Request::get("/x"));
                mesh.receiver
                    .wait_for_requests(DEADLINE, |all| (all.len() > requests).then_some(()))
                    .unwrap_or_else(|error| panic!("{error:#}"));
                let told = meshspan_kit::wait::until(DEADLINE, line, || {
                    mesh.envoy.log()[before..].lines().find(|told| told.contains(line)).map(str::to_owned)
                });
                let told = told.unwrap_or_else(|error| panic!("{error:#}:\n{}", mesh.envoy.log()));
                assert!(told.contains(mark), "{told}");
                let shown = shown(&secrets, std::slice::from_ref(&told));
                assert_eq!(shown.is_empty(), listener == "mask", "{listener}: {told}");
            }
        }
        mesh.wait_for_counter("meshspan_export_dropped_total", 4);
        mesh.envoy.stop().unwrap();
    });
}
