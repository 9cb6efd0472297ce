//! meshspan in real Envoy, read as a backend reads it.
//!
//! A test names the listeners that it needs, each with the filter's configuration, and gets one Envoy with all of
//! them, a service behind it and a receiver beside it:
//!
//! ```no_run
//! use meshspan_e2e::{Mesh, each_envoy, tracing};
//! use meshspan_kit::client::Request;
//!
//! each_envoy(&[1, 2], |envoy, concurrency| {
//!     let mesh = Mesh::start(envoy, concurrency, &[("w3c", tracing(&["tracecontext"]))]);
//!     let (_, upstream) = mesh.exchange("w3c", &Request::get("/one"));
//!     let span = mesh.span_at("/one");
//!     assert!(upstream.header("traceparent").unwrap().contains(&span.span_id()));
//! });
//! ```
//!
//! Several listeners with different configurations share one Envoy, since starting one costs a second or two.
//! A request's path names the case: by it the head that the service got and the span are found again.

mod expect;

pub use expect::{Table, expect};

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use meshspan_kit::client::{Request, Response};
use meshspan_kit::config::{EnvoyConfig, MODULE_VARIABLE};
use meshspan_kit::envoy::{Envoy, EnvoyBinary, Options, Sample, Samples};
use meshspan_kit::receiver::{ReceivedSpan, Receiver};
use meshspan_kit::service::{ReceivedHead, Service};
use meshspan_kit::wait;
use prost::Message;
use serde_json::{Value, json};

/// How long anything that has to happen may take.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The oldest version that is to work.
pub const OLDEST: &str = "1.36.4";

/// The versions that every test is to run on.
const VERSIONS: &[&str] = &["1.40.0", OLDEST];

/// Runs `test` on every Envoy that the environment names, at each of these concurrencies. What is missing is said,
/// past the test harness's capture, so that nothing is skipped in silence.
pub fn each_envoy(concurrencies: &[u32], test: impl Fn(&EnvoyBinary, u32)) {
    let envoys = Envoy::versions();
    if envoys.is_empty() {
        return skipped("neither MESHSPAN_ENVOY_BINS nor ENVOY_BIN names an Envoy");
    }
    if std::env::var_os(MODULE_VARIABLE).is_none() {
        return skipped(&format!("{MODULE_VARIABLE} does not name the compiled module"));
    }
    for version in VERSIONS.iter().filter(|version| envoys.iter().all(|envoy| envoy.version != **version)) {
        skipped(&format!("no Envoy {version}"));
    }
    for envoy in &envoys {
        for concurrency in concurrencies {
            // Shown when the test fails.
            eprintln!("on Envoy {} with {concurrency} worker(s)", envoy.version);
            test(envoy, *concurrency);
        }
    }
}

/// As [`each_envoy`], with the executable of a real backend, which a machine without a Go toolchain cannot have:
/// `None`, and what is missing is said.
pub fn each_envoy_with(
    backend: Option<&Path>,
    variable: &str,
    concurrencies: &[u32],
    test: impl Fn(&Path, &EnvoyBinary, u32),
) {
    match backend {
        Some(backend) => each_envoy(concurrencies, |envoy, concurrency| test(backend, envoy, concurrency)),
        None => skipped(&format!("{variable} does not name a backend (set-up builds it where there is Go)")),
    }
}

/// Says what a test leaves out, past the test harness's capture.
pub fn skipped(what: &str) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    // Not a macro: the harness would keep what those print of tests that pass.
    let _ = writeln!(std::io::stderr(), "skipped: {name}: {what}; run `cargo xtask test`, which sets all up");
}

/// A configuration with these propagators that exports all spans soon, by gRPC, to the receiver.
pub fn tracing(propagators: &[&str]) -> Value {
    let propagators: Vec<Value> = propagators.iter().map(|name| json!({*name: {}})).collect();
    let mut config = json!({
        "file_format": "1.1",
        "resource": {"attributes": [{"name": "service.name", "value": "checkout"}]},
        "tracer_provider": {"processors": [{"batch": {
            "schedule_delay": 100,
            "exporter": {"otlp_grpc": {"endpoint": "http://collector:4317"}},
        }}]},
    });
    if !propagators.is_empty() {
        config["propagator"] = json!({"composite": propagators});
    }
    config
}

/// The bootstrap: one listener for each entry, with this configuration of the filter as text, in front of the
/// cluster `application`, and with the cluster `collector`; [`Mesh::start_with`] fills in the addresses.
/// `Value::Null`: a listener without the filter.
pub fn bootstrap(listeners: &[(&str, Value)]) -> EnvoyConfig {
    let config = EnvoyConfig::shipped("server-minimal.yaml").unwrap().local().wasm_module_from_env().unwrap();
    config.change(|root| {
        let template = root["static_resources"]["listeners"][0].clone();
        let listeners = listeners.iter().map(|(name, meshspan)| {
            let mut listener = template.clone();
            listener["name"] = (*name).into();
            let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
            manager["stat_prefix"] = (*name).into();
            if meshspan.is_null() {
                manager["http_filters"].as_array_mut().unwrap().remove(0);
            } else {
                let plugin = &mut manager["http_filters"][0]["typed_config"]["config"];
                plugin["configuration"]["value"] = meshspan.to_string().into();
                // What fails must be seen.
                plugin["failure_policy"] = "FAIL_CLOSED".into();
            }
            listener
        });
        root["static_resources"]["listeners"] = listeners.collect();
    })
}

/// One Envoy with the filter, a service behind it, and a receiver for what it exports.
pub struct Mesh {
    /// Where spans go.
    pub receiver: Receiver,
    /// What stands behind Envoy.
    pub service: Service,
    /// The proxy.
    pub envoy: Envoy,
}

impl Mesh {
    /// Starts one with these listeners, by name and the filter's configuration.
    pub fn start(envoy: &EnvoyBinary, concurrency: u32, listeners: &[(&str, Value)]) -> Self {
        Self::start_with(envoy, &Options { concurrency, ..Options::default() }, &bootstrap(listeners))
    }

    /// Starts one with any bootstrap that has the clusters `application` and `collector`.
    pub fn start_with(envoy: &EnvoyBinary, options: &Options, config: &EnvoyConfig) -> Self {
        let receiver = Receiver::start().unwrap();
        let service = Service::start().unwrap();
        let config = addressed(config, service.address(), receiver.address());
        let envoy = Envoy::start_with(envoy, &config, options).unwrap_or_else(|error| panic!("{error:#}"));
        Self { receiver, service, envoy }
    }

    /// This configuration with this mesh's service and receiver, for an update of the listeners.
    pub fn addressed(&self, config: &EnvoyConfig) -> EnvoyConfig {
        addressed(config, self.service.address(), self.receiver.address())
    }

    /// Sends a request to a listener, on a connection of its own.
    pub fn send(&self, listener: &str, request: &Request) -> Response {
        let address = self.envoy.address(listener).unwrap();
        request.send(address).unwrap_or_else(|error| panic!("{error:#}; Envoy's log:\n{}", self.envoy.log()))
    }

    /// Sends a request that must be answered 200 by the service, and gives the head that the service got: the last
    /// one with this target.
    pub fn exchange(&self, listener: &str, request: &Request) -> (Response, ReceivedHead) {
        let response = self.send(listener, request);
        assert_eq!(response.status, 200, "{listener}: {request:?}");
        let target = response.json().unwrap()["target"].as_str().unwrap_or_default().to_owned();
        let heads = self.service.requests();
        let head = heads.into_iter().rev().find(|head| head.target == target);
        (response, head.unwrap_or_else(|| panic!("the service got no request for {target}")))
    }

    /// Waits for the span of the request to `path`.
    pub fn span_at(&self, path: &str) -> ReceivedSpan {
        self.spans_at(path, 1).remove(0)
    }

    /// Waits for so many spans of requests to `path`.
    pub fn spans_at(&self, path: &str, count: usize) -> Vec<ReceivedSpan> {
        let found = self.receiver.wait_for(DEADLINE, |spans| {
            let spans: Vec<_> = spans.iter().filter(|span| span.text("url.path") == Some(path)).cloned().collect();
            (spans.len() >= count).then_some(spans)
        });
        found.unwrap_or_else(|error| panic!("{path}: {error:#}; Envoy's log:\n{}", self.envoy.log()))
    }

    /// What a Prometheus server would scrape.
    pub fn samples(&self) -> Samples {
        self.envoy.samples().unwrap()
    }

    /// The filter's counters and gauges that are not zero, by their names in Prometheus, summed over their labels.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let samples = self.samples();
        let own = samples.0.iter().filter(|sample| sample.name.starts_with("meshspan_") && !is_of_histogram(sample));
        let names: BTreeSet<&str> = own.map(|sample| sample.name.as_str()).collect();
        let sums = names.into_iter().map(|name| (name.to_owned(), samples.sum(name, &[])));
        sums.filter(|(_, value)| *value > 0).collect()
    }

    /// One of the filter's counters.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters().get(name).copied().unwrap_or(0)
    }

    /// Waits until a counter is at `expected`; one that has gone past it fails as well.
    pub fn wait_for_counter(&self, name: &str, expected: u64) {
        let mut last = 0;
        let arrived = wait::until(DEADLINE, name, || {
            last = self.counter(name);
            (last >= expected).then_some(())
        });
        assert!(arrived.is_ok() && last == expected, "{name} is {last}, not {expected}: {:#?}", self.counters());
    }

    /// Waits until every one of so many streams of one span each has been judged and its span, where there is one, has
    /// been exported.
    pub fn wait_until_all_are_exported(&self, streams: u64) {
        let mut last = (0, 0, 0);
        let arrived = wait::until(DEADLINE, "every stream's end", || {
            let counters = self.counters();
            let counter = |name: &str| counters.get(name).copied().unwrap_or(0);
            let started = counter("meshspan_spans_started_total");
            last = (
                started + counter("meshspan_spans_not_sampled_total"),
                started,
                self.samples().sum("meshspan_export_exported_total", &[("signal", "traces")]),
            );
            (last.0 >= streams && last.1 == last.2).then_some(())
        });
        assert!(arrived.is_ok() && last.0 == streams, "{streams} streams; judged, started, exported: {last:?}");
    }

    /// Waits until the ends of so many streams of one span each have been judged.
    pub fn wait_until_all_are_judged(&self, streams: u64) {
        let mut last = 0;
        let arrived = wait::until(DEADLINE, "every stream's end", || {
            last = self.counter("meshspan_spans_started_total") + self.counter("meshspan_spans_not_sampled_total");
            (last >= streams).then_some(())
        });
        assert!(
            arrived.is_ok() && last == streams,
            "{last} streams were judged, not {streams}: {:#?}",
            self.counters()
        );
    }

    /// Ends Envoy in order, and makes sure that the filter neither trapped nor complained.
    ///
    /// # Panics
    /// When it did, with the log's lines.
    pub fn stop(self) {
        assert_no_failure(&self.envoy.log());
        let failed = self.counter("meshspan_host_calls_failed_total");
        assert_eq!(failed, 0, "host calls failed");
        self.envoy.stop().unwrap();
    }
}

/// Makes sure that a log tells of no trap, no panic and no failed filter.
///
/// # Panics
/// When it does, with the lines.
pub fn assert_no_failure(log: &str) {
    let bad = ["Function: ", "wasm trap", "panicked", "RuntimeError", "Uncaught", "VM failed", "Failed to"];
    let lines: Vec<_> = log.lines().filter(|line| bad.iter().any(|word| line.contains(word))).collect();
    assert!(lines.is_empty(), "Envoy's log: {lines:#?}");
}

fn is_of_histogram(sample: &Sample) -> bool {
    ["_bucket", "_sum", "_count"].iter().any(|part| sample.name.ends_with(part))
}

fn addressed(config: &EnvoyConfig, service: SocketAddr, receiver: SocketAddr) -> EnvoyConfig {
    config.clone().cluster("application", service).cluster("collector", receiver)
}

/// `grpc-status-details-bin` before its base64: a `google.rpc.Status` of `RESOURCE_EXHAUSTED` with a `RetryInfo` of so
/// many ms.
pub fn retry_info(ms: u32) -> Vec<u8> {
    #[derive(Clone, PartialEq, Message)]
    struct RetryInfo {
        #[prost(message, optional, tag = "1")]
        retry_delay: Option<prost_types::Duration>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Status {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(message, repeated, tag = "3")]
        details: Vec<prost_types::Any>,
    }
    let nanos = i32::try_from(ms % 1_000).unwrap() * 1_000_000;
    let info = RetryInfo { retry_delay: Some(prost_types::Duration { seconds: i64::from(ms / 1_000), nanos }) };
    let any = prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: info.encode_to_vec(),
    };
    Status { code: 8, details: vec![any] }.encode_to_vec()
}
