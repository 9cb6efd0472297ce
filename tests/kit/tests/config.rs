//! Changing configurations in structure.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use meshspan_kit::config::EnvoyConfig;
use serde_json::{Value, json};

const ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 4317);
const PLUGIN: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config";

fn at(config: &EnvoyConfig, path: &str) -> Value {
    config.json().pointer(path).cloned().unwrap_or_else(|| panic!("nothing at {path}"))
}

/// meshspan's own configuration, whichever form it has.
fn meshspan(config: &EnvoyConfig) -> Value {
    match at(config, &format!("{PLUGIN}/configuration/value")) {
        Value::String(text) => serde_json::from_str(&text).unwrap(),
        value => value,
    }
}

#[test]
fn placeholders_are_filled_and_none_is_left() {
    let text = "{a: '{{module}}', b: '{{port:ingress}}', c: '{{module}}'}";
    let config = EnvoyConfig::fill(text, &[("module", "m.wasm")]).unwrap();
    assert_eq!(config.json(), &json!({"a": "m.wasm", "b": "0", "c": "m.wasm"}));
    let cases = [
        ("a: '{{unknown}}'", "unknown"),
        ("a: '{{module'", "without its end"),
        ("- a list", "mapping"),
        ("a: [", "neither YAML nor JSON"),
    ];
    for (text, part) in cases {
        let error = EnvoyConfig::fill(text, &[("module", "m.wasm")]).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn every_shipped_file_fails_open_and_takes_the_changes() {
    for name in ["server-minimal.yaml", "sidecar.yaml", "gateway.yaml"] {
        let shipped = EnvoyConfig::shipped(name).unwrap();
        let policies = shipped.json().to_string().matches(r#""failure_policy":"FAIL_OPEN""#).count();
        let plugins = shipped.json().to_string().matches("envoy.wasm.runtime.v8").count();
        assert_eq!(policies, plugins, "{name}: each plugin fails open");

        let form = at(&shipped, &format!("{PLUGIN}/configuration/@type"));
        let config = shipped
            .local()
            .wasm_module(Path::new("/m.wasm"))
            .schedule_delay(Duration::from_millis(70))
            .service_name("renamed");
        assert_eq!(at(&config, &format!("{PLUGIN}/configuration/@type")), form, "{name}: the form is kept");
        assert_eq!(at(&config, &format!("{PLUGIN}/vm_config/code/local/filename")), "/m.wasm");
        assert_eq!(at(&config, "/static_resources/listeners/0/address/socket_address/port_value"), 0);
        let meshspan = meshspan(&config);
        assert_eq!(meshspan["tracer_provider"]["processors"][0]["batch"]["schedule_delay"], 70, "{name}");
        let names = json!([{"name": "service.name", "value": "renamed"}]);
        assert_eq!(meshspan["resource"]["attributes"], names, "{name}");

        assert_eq!(self::meshspan(&config.clone().meshspan_as_text()), meshspan, "{name}: text says the same");
        let bare = config.without_filter().json().to_string();
        assert!(!bare.contains("wasm.v3.Wasm") && bare.contains("envoy.filters.http.router"), "{name}");
    }
}

#[test]
fn a_cluster_moves_and_keeps_its_protocol() {
    let config = EnvoyConfig::shipped("server-minimal.yaml").unwrap().cluster("collector", SocketAddr::from(ADDRESS));
    let clusters = at(&config, "/static_resources/clusters");
    let collector = clusters.as_array().unwrap().iter().find(|cluster| cluster["name"] == "collector").unwrap();
    assert_eq!(collector["type"], "STATIC");
    assert!(collector.to_string().contains("http2_protocol_options"));
    assert!(collector.to_string().contains(r#""address":"127.0.0.1","port_value":4317"#));
    let more = config.add_cluster("other", SocketAddr::from(ADDRESS), true);
    let other = at(&more, "/static_resources/clusters").as_array().unwrap().last().unwrap().clone();
    assert!(other["name"] == "other" && other.to_string().contains("http2_protocol_options"));
}
