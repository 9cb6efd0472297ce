//! What the calls came to in figures: requests by route, who calls whom, and the lines of the proxies' logs that belong to
//! the traces. The figures are those that Prometheus scrapes.

use std::collections::BTreeMap;
use std::time::Duration;

use meshspan_kit::envoy::Samples;
use meshspan_kit::receiver::ReceivedSpan;
use meshspan_kit::wait;
use serde_json::Value;

use crate::mesh::Mesh;

const DURATION: &str = "meshspan_http_server_request_duration_milliseconds";
const EDGES: &str = "meshspan_service_graph_request_total";
const FAILED_EDGES: &str = "meshspan_service_graph_request_failed_total";
const EDGE_DURATION: &str = "meshspan_service_graph_request_server_milliseconds";

/// How many lines of the logs are shown.
const MOST_LINES: usize = 6;

/// What the proxies say after all calls.
pub(crate) struct Figures {
    samples: Vec<Samples>,
    lines: Vec<Line>,
    elapsed: Duration,
}

/// A line of JSON in a proxy's log.
struct Line {
    proxy: String,
    json: Value,
}

impl Line {
    fn text(&self, key: &str) -> &str {
        self.json[key].as_str().unwrap_or_default()
    }
}

/// Requests of one route at one service.
#[derive(Default)]
struct Row {
    requests: u64,
    failed: u64,
    /// How many took at most so long, by the boundary as Prometheus has it.
    buckets: Buckets,
}

/// Cumulative counts by upper boundary, ms.
#[derive(Default)]
struct Buckets(Vec<(f64, u64)>);

impl Buckets {
    fn add(&mut self, boundary: f64, count: u64) {
        match self.0.iter_mut().find(|(other, _)| other.total_cmp(&boundary).is_eq()) {
            Some((_, sum)) => *sum += count,
            None => self.0.push((boundary, count)),
        }
    }

    /// The least boundary that so many of a hundred are within.
    fn quantile(&self, percent: u64) -> String {
        let mut buckets = self.0.clone();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        let all = buckets.last().map_or(0, |(_, count)| *count);
        let within = buckets.iter().find(|(_, count)| count * 100 >= all * percent && all > 0);
        match within {
            Some((boundary, _)) if boundary.is_finite() => format!("≤ {boundary} ms"),
            Some(_) => "longer".to_owned(),
            None => "–".to_owned(),
        }
    }
}

impl Figures {
    /// Waits until the edge has counted so many requests, and reads all proxies.
    pub(crate) fn gather(mesh: &Mesh, calls: usize, elapsed: Duration, patience: Duration) -> anyhow::Result<Self> {
        let count = format!("{DURATION}_count");
        let samples = wait::until(patience, "the proxies' statistics", || {
            let samples = mesh.samples().ok()?;
            let counted: u64 = samples.iter().map(|one| one.sum(&count, &[("service_name", "edge")])).sum();
            let arrived: u64 = samples.iter().map(|one| one.sum(EDGES, &[("server", "inventory")])).sum();
            (counted >= calls as u64 && arrived > 0).then_some(samples)
        })?;
        let lines = mesh.logs().into_iter().flat_map(|(proxy, log)| lines_of(&proxy, &log)).collect();
        Ok(Self { samples, lines, elapsed })
    }

    /// Prints it all; log lines only of the traces of `spans`.
    pub(crate) fn print(&self, spans: &[ReceivedSpan]) {
        println!("Requests, as Prometheus sees them:");
        println!(
            "  {:<10} {:<18} {:>8} {:>9} {:>7}  {:<9} p99",
            "service", "route", "requests", "a second", "failed", "p50"
        );
        for ((service, route), row) in &self.rows() {
            #[allow(clippy::cast_precision_loss, reason = "a few requests")]
            let (rate, share) =
                (row.requests as f64 / self.elapsed.as_secs_f64(), 100.0 * row.failed as f64 / row.requests as f64);
            println!(
                "  {service:<10} {route:<18} {:>8} {rate:>9.1} {share:>5.0} %  {:<9} {}",
                row.requests,
                row.buckets.quantile(50),
                row.buckets.quantile(99),
            );
        }
        println!("\nWho calls whom:");
        for ((client, server), row) in &self.edges() {
            let failed = if row.failed > 0 { format!(", {} failed", row.failed) } else { String::new() };
            println!(
                "  {client:<10} → {server:<10} {} requests{failed}, p99 {}",
                row.requests,
                row.buckets.quantile(99)
            );
        }
        println!("\nLog lines of these traces:");
        let known = |line: &&Line| spans.iter().any(|span| span.trace_id() == line.text("trace_id"));
        for line in self.lines.iter().filter(known).take(MOST_LINES) {
            let (level, message) = (line.text("level"), line.text("msg"));
            println!("  {:<20} {level:<5} {message:<24} trace_id={}", line.proxy, line.text("trace_id"));
        }
        println!();
    }

    /// What is not as it should be: each request counted once at the edge, and each logged error in a trace that arrived.
    pub(crate) fn problems(&self, calls: usize, spans: &[ReceivedSpan]) -> Vec<String> {
        let mut problems = Vec::new();
        let at_edge: u64 =
            self.rows().iter().filter(|((service, _), _)| service == "edge").map(|(_, row)| row.requests).sum();
        if at_edge != calls as u64 {
            problems.push(format!("the edge counted {at_edge} requests of {calls}"));
        }
        if self.lines.is_empty() {
            problems.push("no proxy logged the failed requests".to_owned());
        }
        for line in &self.lines {
            let (trace, span) = (line.text("trace_id"), line.text("span_id"));
            if !spans.iter().any(|one| one.trace_id() == trace && one.span_id() == span) {
                problems.push(format!(
                    "{} logged \"{}\" with a span that did not arrive",
                    line.proxy,
                    line.text("msg")
                ));
            }
        }
        let edges = self.edges();
        for (client, server) in [("edge", "checkout"), ("checkout", "inventory")] {
            if !edges.contains_key(&(client.to_owned(), server.to_owned())) {
                problems.push(format!("nobody counted {client} calling {server}"));
            }
        }
        problems
    }

    fn rows(&self) -> BTreeMap<(String, String), Row> {
        let (count, bucket) = (format!("{DURATION}_count"), format!("{DURATION}_bucket"));
        let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
        for sample in self.samples.iter().flat_map(|samples| &samples.0) {
            if sample.name != count && sample.name != bucket {
                continue;
            }
            let label = |key: &str| sample.labels.get(key).cloned().unwrap_or_default();
            let route = format!("{} {}", label("http_request_method"), label("http_route"));
            let row = rows.entry((label("service_name"), route)).or_default();
            if sample.name == bucket {
                row.buckets.add(boundary(&label("le")), sample.count());
            } else {
                row.requests += sample.count();
                row.failed += if label("error_type").is_empty() { 0 } else { sample.count() };
            }
        }
        rows.retain(|_, row| row.requests > 0);
        rows
    }

    fn edges(&self) -> BTreeMap<(String, String), Row> {
        let bucket = format!("{EDGE_DURATION}_bucket");
        let mut edges: BTreeMap<(String, String), Row> = BTreeMap::new();
        for sample in self.samples.iter().flat_map(|samples| &samples.0) {
            if ![EDGES, FAILED_EDGES, &bucket].contains(&sample.name.as_str()) {
                continue;
            }
            let label = |key: &str| sample.labels.get(key).cloned().unwrap_or_default();
            let row = edges.entry((label("client"), label("server"))).or_default();
            match sample.name.as_str() {
                EDGES => row.requests += sample.count(),
                FAILED_EDGES => row.failed += sample.count(),
                _ => row.buckets.add(boundary(&label("le")), sample.count()),
            }
        }
        edges.retain(|_, row| row.requests > 0);
        edges
    }
}

/// The filter's lines of JSON among those of a proxy's log.
fn lines_of(proxy: &str, log: &str) -> Vec<Line> {
    let json = |line: &str| serde_json::from_str(line.get(line.find("{\"trace_id\"")?..)?).ok();
    log.lines().filter_map(json).map(|json| Line { proxy: proxy.to_owned(), json }).collect()
}

fn boundary(le: &str) -> f64 {
    le.parse().unwrap_or(f64::INFINITY)
}
