//! Metrics at an OpenTelemetry Collector: two workers' streams come to what was sent, in both temporalities and both kinds
//! of histogram, with exemplars that point at traces, also through a Collector that was away.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use meshspan_e2e::{Mesh, bootstrap, each_envoy_with, tracing};
use meshspan_kit::backend::{COLLECTOR_VARIABLE, Collector};
use meshspan_kit::client::{Connection, Request};
use meshspan_kit::envoy::{EnvoyBinary, Options};
use meshspan_kit::metrics::{Stream, StreamKey, streams};
use meshspan_kit::wait;
use serde_json::{Value, json};

use crate::support::SETTLED;

const DURATION: &str = "http.server.request.duration";

/// Both temporalities, both kinds of histogram, and each encoding with and without gzip between them.
fn listeners() -> Vec<(&'static str, Value)> {
    let config = |name: &str, exporter: Value| {
        let mut config = tracing(&["tracecontext"]);
        config["resource"]["attributes"] = json!([
            {"name": "service.name", "value": name}, {"name": "service.instance.id", "value": "proxy"}]);
        config["tracer_provider"]["processors"] = json!([{"batch": {
            "schedule_delay": 100, "exporter": {"otlp_grpc": {"endpoint": "http://to-grpc:4317"}}}}]);
        config["meter_provider"] = json!({"readers": [{"periodic": {"interval": 300, "exporter": exporter}}]});
        config["distribution"] = json!({"meshspan": {"routes": ["/status/{code}"]}});
        (config["resource"]["attributes"][0]["value"].as_str().unwrap().to_owned(), config)
    };
    let grpc = json!({"otlp_grpc": {"endpoint": "http://to-grpc:4317", "compression": "gzip"}});
    let http = |encoding: &str, temporality: &str, histogram: &str| {
        json!({"otlp_http": {
            "endpoint": "http://to-http:4318/v1/metrics", "encoding": encoding,
            "temporality_preference": temporality, "default_histogram_aggregation": histogram,
        }})
    };
    vec![
        ("cumulative", config("cumulative", grpc).1),
        ("delta", config("delta", http("protobuf", "delta", "explicit_bucket_histogram")).1),
        ("fine", config("fine", http("json", "low_memory", "base2_exponential_bucket_histogram")).1),
        ("fine-sums", config("fine-sums", http("json", "cumulative", "base2_exponential_bucket_histogram")).1),
    ]
}

fn mesh(envoy: &EnvoyBinary, concurrency: u32, collector: &Collector) -> Mesh {
    let config = bootstrap(&listeners()).add_cluster("to-grpc", collector.grpc(), true).add_cluster(
        "to-http",
        collector.http(),
        false,
    );
    Mesh::start_with(envoy, &Options { concurrency, ..Options::default() }, &config)
}

/// Sends so many requests on connections of their own, so that every worker gets some; what was sent, by status.
fn send(mesh: &Mesh, listener: &str, rounds: usize) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut sent = BTreeMap::new();
    for _ in 0..8 {
        let mut connection = Connection::open(mesh.envoy.address(listener)?)?;
        for status in ["200", "404", "503"].iter().cycle().take(rounds) {
            let response = connection.request(&Request::get(&format!("/status/{status}")))?;
            ensure!(response.status.to_string() == *status, "answered {}", response.status);
            *sent.entry((*status).to_owned()).or_default() += 1;
        }
    }
    Ok(sent)
}

fn of_service(collector: &Collector, service: &str) -> anyhow::Result<BTreeMap<StreamKey, Stream>> {
    let mut streams = streams(&collector.metrics()?)?;
    streams.retain(|key, _| key.service == service);
    Ok(streams)
}

/// How many values the histogram of durations has by status, over all instances.
fn by_status(streams: &BTreeMap<StreamKey, Stream>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for (key, stream) in streams.iter().filter(|(key, _)| key.metric == DURATION) {
        *counts.entry(key.attributes["http.response.status_code"].clone()).or_default() += stream.count;
    }
    counts
}

/// Waits until the Collector has been told of exactly these requests.
fn settled(
    collector: &Collector,
    service: &str,
    sent: &BTreeMap<String, u64>,
) -> anyhow::Result<BTreeMap<StreamKey, Stream>> {
    let mut last = None;
    wait::until(SETTLED, "all requests in the metrics", || {
        let streams = match of_service(collector, service) {
            Ok(streams) => streams,
            Err(error) => return Some(Err(error)),
        };
        last = Some(by_status(&streams));
        let active = streams.iter().filter(|(key, _)| key.metric == "http.server.active_requests");
        let is_quiet = active.map(|(_, stream)| stream.sum).sum::<f64>() == 0.0;
        (last.as_ref() == Some(sent) && is_quiet).then_some(Ok(streams))
    })
    .with_context(|| format!("{service}: sent {sent:?}, told {last:?}; the Collector's log:\n{}", collector.log()))?
}

#[test]
fn workers_streams_come_to_what_was_sent() {
    each_envoy_with(Collector::binary().as_deref(), COLLECTOR_VARIABLE, &[2], |binary, envoy, concurrency| {
        let collector = Collector::start(binary).unwrap();
        let mesh = mesh(envoy, concurrency, &collector);
        for (name, _) in listeners() {
            let sent = send(&mesh, name, 30).unwrap();
            let streams = settled(&collector, name, &sent).unwrap();
            let instances: BTreeSet<_> = streams.keys().map(|key| key.instance.as_str()).collect();
            assert!((1..=2).contains(&instances.len()), "{name}: {instances:?}");
            for instance in instances {
                let worker = instance.strip_prefix("proxy/").unwrap_or_else(|| panic!("{name}: {instance}"));
                assert!(worker.len() == 16 && worker.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}: {worker}");
            }
            let durations: Vec<_> = streams.iter().filter(|(key, _)| key.metric == DURATION).collect();
            for (key, stream) in &durations {
                assert_eq!(key.attributes["http.request.method"], "GET", "{name}");
                assert_eq!(key.attributes["http.route"], "/status/{code}", "{name}: never the path");
                assert!(stream.sum > 0.0, "{name}: {stream:?}");
            }
            // Each exemplar points at a span that was exported.
            let spans: BTreeSet<_> = wait::until(SETTLED, "the spans", || {
                let spans = collector.spans().ok()?;
                let spans = spans.iter().filter(|span| span.service() == name);
                let ids: BTreeSet<_> = spans.map(|span| (span.trace_id(), span.span_id())).collect();
                (ids.len() as u64 == sent.values().sum::<u64>()).then_some(ids)
            })
            .unwrap();
            let exemplars: Vec<_> = durations.iter().flat_map(|(_, stream)| &stream.exemplars).collect();
            assert!(!exemplars.is_empty(), "{name}");
            for (trace_id, span_id, value) in exemplars {
                assert!(spans.contains(&(trace_id.clone(), span_id.clone())), "{name}: {trace_id} {span_id}");
                assert!(*value > 0.0 && *value < 60.0, "{name}: {value} seconds");
            }
        }
        let samples = mesh.samples();
        let books = |part: &str| samples.sum(&format!("meshspan_export_{part}"), &[("signal", "metrics")]);
        let dropped = samples.sums_by("meshspan_export_dropped_total", &[("signal", "metrics")], "reason");
        assert!(dropped.values().all(|count| *count == 0), "{dropped:?}; Envoy's log:\n{}", mesh.envoy.log());
        assert!(books("exported_total") > 0);
        assert_eq!(books("responses_malformed_total"), 0, "what it answers is understood");
        mesh.stop();
    });
}

#[test]
fn totals_are_right_after_a_collector_was_away() {
    each_envoy_with(Collector::binary().as_deref(), COLLECTOR_VARIABLE, &[2], |binary, envoy, concurrency| {
        let mut collector = Collector::start(binary).unwrap();
        let mesh = mesh(envoy, concurrency, &collector);
        let mut sent = BTreeMap::new();
        let call = |sent: &mut BTreeMap<&str, BTreeMap<String, u64>>| {
            for (name, _) in listeners() {
                for (status, count) in send(&mesh, name, 9).unwrap() {
                    *sent.entry(name).or_default().entry(status).or_default() += count;
                }
            }
        };
        call(&mut sent);
        // In order, so that it answers what it has written: a difference that it wrote and did not answer comes again.
        collector.stop().unwrap();
        call(&mut sent);
        let failed = || mesh.samples().sum("meshspan_export_retried_total", &[("signal", "metrics")]);
        wait::until(SETTLED, "retries", || (failed() > 0).then_some(())).unwrap();
        call(&mut sent);
        collector.restart().unwrap();
        for (name, sent) in &sent {
            settled(&collector, name, sent).unwrap();
        }
        mesh.stop();
    });
}
