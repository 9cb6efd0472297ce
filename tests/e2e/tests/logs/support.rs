//! What the subjects here share.

use std::collections::BTreeSet;

use meshspan_e2e::{DEADLINE, Mesh, tracing};
use meshspan_kit::wait;
use serde_json::{Value, json};

/// A phone number, which masking knows.
pub(crate) const SECRET: &str = "13812345678";

/// A configuration that exports spans and log records soon, with this sampler and these members of
/// `distribution.meshspan`.
pub(crate) fn logging(sampler: &Value, meshspan: &Value) -> Value {
    let mut config = tracing(&["tracecontext"]);
    config["tracer_provider"]["sampler"] = sampler.clone();
    config["logger_provider"] = json!({"processors": [{"batch": {
        "schedule_delay": 100,
        "exporter": {"otlp_grpc": {"endpoint": "http://collector:4317"}},
    }}]});
    config["distribution"] = json!({ "meshspan": meshspan });
    config
}

/// Waits until the books of this signal balance with this many items exported, and nothing dropped or held.
pub(crate) fn wait_for_books(mesh: &Mesh, signal: &str, exported: u64) {
    let mut last = Vec::new();
    let arrived = wait::until(DEADLINE, "balanced books", || {
        let samples = mesh.samples();
        let names = ["started_total", "exported_total", "dropped_total", "queued", "in_flight"];
        last = names.map(|name| samples.sum(&format!("meshspan_export_{name}"), &[("signal", signal)])).to_vec();
        (last == [exported, exported, 0, 0, 0]).then_some(())
    });
    assert!(arrived.is_ok(), "{signal}: started, exported, dropped, queued, in flight: {last:?}, expected {exported}");
}

/// The trace ids of all exported spans.
pub(crate) fn exported_traces(mesh: &Mesh) -> BTreeSet<String> {
    mesh.receiver.spans().iter().map(meshspan_kit::receiver::ReceivedSpan::trace_id).collect()
}

/// The lines of JSON that the filter wrote to Envoy's log.
pub(crate) fn json_lines(log: &str) -> Vec<Value> {
    let texts = log.lines().filter_map(|line| Some(line.split_once("wasm log")?.1));
    // The host's own prefix ends with a colon: what follows is the line.
    let texts = texts.filter_map(|text| text.find(": {").and_then(|at| text.get(at + 2..)));
    texts.map(|text| serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))).collect()
}
