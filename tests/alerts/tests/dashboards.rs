//! The shipped dashboards: every query in them is run against a real Prometheus that has scraped the series and evaluates
//! the shipped rules, and has to come to something.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, ensure};
use meshspan_kit::monitoring::{Prometheus, PrometheusConfig, Source};
use meshspan_kit::wait;
use meshspan_slo::{DURATION_BUCKETS_MS, SERVICE_GRAPH_BUCKETS_MS, Scale};
use serde_json::Value;

use crate::live::scaled_rules;
use crate::{programs, shipped};

/// So long a query may come to nothing, because too little was scraped.
const PATIENCE: Duration = Duration::from_mins(1);

/// A page with every series that the dashboards look at, each of which grows from scrape to scrape.
fn page(scrape: u64) -> String {
    let mut text = String::new();
    let mut plain = |name: &str, kind: &str, series: &[&str], each: u64| {
        let _ = writeln!(text, "# TYPE {name} {kind}");
        for labels in series {
            let _ = writeln!(text, "{name}{{{labels}}} {}", if kind == "gauge" { each } else { each * scrape });
        }
    };
    let own = r#"service_name="checkout""#;
    let exporter = r#"exporter="collector:4317",signal="traces""#;
    let counters: &[(&str, &[&str])] = &[
        ("meshspan_streams_total", &[""]),
        ("meshspan_spans_started_total", &[""]),
        ("meshspan_spans_not_sampled_total", &[""]),
        ("meshspan_spans_dropped_no_log_total", &[""]),
        ("meshspan_attributes_dropped_total", &[""]),
        ("meshspan_host_calls_failed_total", &[""]),
        ("meshspan_masked_total", &[r#"detector="card""#]),
        ("meshspan_export_started_total", &[exporter]),
        ("meshspan_export_exported_total", &[exporter]),
        ("meshspan_export_dropped_total", &[&format!("{exporter},reason=\"queue_full\"")]),
        ("meshspan_export_requests_total", &[&format!("{exporter},answer=\"OK\"")]),
        ("meshspan_export_retried_total", &[exporter]),
        ("meshspan_export_uncompressed_bytes_total", &[exporter]),
        ("meshspan_export_compressed_bytes_total", &[exporter]),
        ("meshspan_flagged_responses_total", &[&format!("{own},flag_class=\"upstream\"")]),
        ("meshspan_upstream_retries_total", &[&format!("{own},http_request_method=\"GET\"")]),
        ("meshspan_rpc_rejected_streams_total", &[&format!("{own},rpc_system_name=\"grpc\"")]),
        (
            "meshspan_service_graph_request_total",
            &[r#"client="edge",server="checkout""#, r#"client="checkout",server="db",connection_type="database""#],
        ),
        ("meshspan_service_graph_request_failed_total", &[r#"client="edge",server="checkout""#]),
    ];
    for (name, series) in counters {
        plain(name, "counter", series, 7);
    }
    for name in
        ["meshspan_export_up", "meshspan_export_queued", "meshspan_export_in_flight", "meshspan_export_queue_bytes"]
    {
        plain(name, "gauge", &[exporter], 1);
    }
    plain("meshspan_http_server_active_requests", "gauge", &[own], 3);
    let mut histogram = |name: &str, edges: &[u32], series: &[&str]| {
        let _ = writeln!(text, "# TYPE {name} histogram");
        for labels in series {
            let mut below = 0;
            for edge in edges {
                below += scrape;
                let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{edge}\"}} {below}");
            }
            let _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {below}");
            let _ = writeln!(text, "{name}_count{{{labels}}} {below}\n{name}_sum{{{labels}}} {}", below * 50);
        }
    };
    let route = r#"http_request_method="GET",http_route="/orders/{id}""#;
    let fine = format!("{own},{route},http_response_status_code=\"200\"");
    let failed = format!("{own},{route},http_response_status_code=\"503\",error_type=\"503\"");
    for side in ["server", "client"] {
        histogram(
            &format!("meshspan_http_{side}_request_duration_milliseconds"),
            &DURATION_BUCKETS_MS,
            &[&fine, &failed],
        );
        histogram(
            &format!("meshspan_service_graph_request_{side}_milliseconds"),
            &SERVICE_GRAPH_BUCKETS_MS,
            &[r#"client="edge",server="checkout""#],
        );
    }
    for message in ["request", "response"] {
        histogram(&format!("meshspan_http_server_{message}_body_size_bytes"), &[256, 1024, 4096], &[&fine]);
    }
    let call = |status: &str| {
        format!("service_name=\"inventory\",rpc_method=\"shop.Stock/Get\",rpc_response_status_code=\"{status}\"")
    };
    histogram("meshspan_rpc_server_duration_milliseconds", &DURATION_BUCKETS_MS, &[&call("OK"), &call("INTERNAL")]);
    histogram("meshspan_export_request_duration_milliseconds", &[5, 10, 25], &[exporter]);
    text
}

/// A query of a dashboard, and where it stands.
struct Query {
    place: String,
    text: String,
}

/// What Grafana replaces, replaced: each variable by all of its values.
fn filled(query: &str, variables: &[String]) -> String {
    let mut names: Vec<&String> = variables.iter().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let query = query.replace("$__rate_interval", "10s");
    names.iter().fold(query, |query, name| query.replace(&format!("${name}"), ".*"))
}

fn dashboards() -> anyhow::Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(shipped("grafana"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            all.insert(name.clone(), serde_json::from_str(&std::fs::read_to_string(&path)?).context(name)?);
        }
    }
    Ok(all)
}

fn variables(dashboard: &Value) -> Vec<String> {
    let list = dashboard["templating"]["list"].as_array().into_iter().flatten();
    list.filter_map(|variable| variable["name"].as_str()).map(str::to_owned).collect()
}

fn queries(name: &str, dashboard: &Value) -> Vec<Query> {
    let variables = variables(dashboard);
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().into_iter().flatten() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let text = filled(target["expr"].as_str().unwrap_or_default(), &variables);
            queries.push(Query { place: format!("{name}, {}, {}", panel["title"], target["refId"]), text });
        }
    }
    queries
}

#[test]
fn dashboards_are_whole() -> anyhow::Result<()> {
    let all = dashboards()?;
    ensure!(
        all.keys().map(String::as_str).eq(["export.json", "requests.json", "service-graph.json", "slo.json"]),
        "{:?}",
        all.keys()
    );
    let uids: Vec<&Value> = all.values().map(|dashboard| &dashboard["uid"]).collect();
    ensure!(
        uids.iter().all(|uid| uid.is_string() && uids.iter().filter(|other| other == &uid).count() == 1),
        "{uids:?}"
    );
    for (name, dashboard) in &all {
        let panels: Vec<&Value> = dashboard["panels"].as_array().context("no panels")?.iter().collect();
        let mut covered = std::collections::BTreeSet::new();
        for panel in &panels {
            let own = |other: &&&Value| other["id"] == panel["id"];
            ensure!(panels.iter().filter(own).count() == 1, "{name}: two panels with the id {}", panel["id"]);
            let grid = |key: &str| panel["gridPos"][key].as_u64().context("no place");
            for x in grid("x")?..grid("x")? + grid("w")? {
                for y in grid("y")?..grid("y")? + grid("h")? {
                    ensure!(x < 24 && covered.insert((x, y)), "{name}: {} lies on another, or outside", panel["title"]);
                }
            }
        }
        for Query { place, text } in queries(name, dashboard) {
            ensure!(!text.is_empty() && !text.contains('$'), "{place}: a variable that there is not: {text}");
        }
    }
    Ok(())
}

/// The names in `text` that begin as the filter's do, without what a histogram adds.
fn names(text: &str) -> std::collections::BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let word = |(start, _): (usize, &str)| {
        let word = text[start..].split(|c| !is_part(c)).next().unwrap_or_default();
        ["_bucket", "_count", "_sum"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
    };
    text.match_indices("meshspan_").filter(|(start, _)| !text[..*start].ends_with(is_part)).map(word).collect()
}

#[test]
fn every_name_is_one_that_the_filter_has() -> anyhow::Result<()> {
    let read = |path: &str| std::fs::read_to_string(shipped(path)).context(path.to_owned());
    let documented = names(&(read("../docs/metrics.md")? + &read("../docs/operations.md")?));
    let mut used = names(&read("prometheus/meshspan.rules.yaml")?);
    for (name, dashboard) in dashboards()? {
        used.extend(queries(&name, &dashboard).iter().flat_map(|query| names(&query.text)));
    }
    ensure!(used.len() > 30, "found only {used:?}");
    let unknown: Vec<&String> = used.difference(&documented).collect();
    ensure!(unknown.is_empty(), "no document knows {unknown:?}");
    Ok(())
}

#[test]
fn every_query_comes_to_something() -> anyhow::Result<()> {
    let Some(programs) = programs("the queries of the dashboards") else { return Ok(()) };
    let mut scrape = 0;
    let source = Source::start(move || {
        scrape += 1;
        page(scrape)
    })?;
    let config = PrometheusConfig {
        targets: vec![("envoy".to_owned(), source.address(), "/metrics".to_owned())],
        rules: vec![scaled_rules(Scale::REAL)?],
        alertmanagers: Vec::new(),
        interval: "1s".to_owned(),
        ..PrometheusConfig::default()
    };
    let prometheus = Prometheus::start(&programs, &config)?;
    let mut count = 0;
    for (name, dashboard) in dashboards()? {
        for Query { place, text } in queries(&name, &dashboard) {
            count += 1;
            wait::until(PATIENCE, &format!("{place} to come to something: {text}"), || {
                // A query that is refused is not asked again.
                match prometheus.query(&text) {
                    Ok(series) => series.iter().any(|one| one.value.is_finite()).then_some(Ok(())),
                    Err(error) => Some(Err(error)),
                }
            })?
            .context(place)?;
        }
        // What the variables offer.
        let variables = dashboard["templating"]["list"].as_array().cloned().unwrap_or_default();
        for variable in variables.iter().filter(|variable| variable["type"] == "query") {
            let names: Vec<String> =
                variables.iter().filter_map(|other| other["name"].as_str().map(str::to_owned)).collect();
            let text = filled(variable["definition"].as_str().unwrap_or_default(), &names);
            let inner = text.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (of, label) = inner.and_then(|inner| inner.rsplit_once(", ")).context(text.clone())?;
            let values = prometheus.label_values(label, of)?;
            ensure!(!values.is_empty(), "{name}: {text} offers nothing");
        }
    }
    ensure!(count > 50, "only {count} queries were found");
    println!("{count} queries");
    Ok(())
}
