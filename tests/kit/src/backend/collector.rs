//! An OpenTelemetry Collector: OTLP in, every span in a file, and every metric in another.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use serde_json::{Value, json};

use super::program::{Program, named, otlp_receiver, telemetry};
use crate::client::Request;
use crate::receiver::{Protocol, ReceivedSpan};
use crate::wait;

/// The environment variable that names the executable.
pub(super) const VARIABLE: &str = "MESHSPAN_COLLECTOR";

/// A running Collector. It answers an export only when the spans are in its file, so what it took is there even after
/// it was killed. Dropping it kills it.
pub struct Collector {
    program: Program,
}

impl Collector {
    /// The executable that the environment names (`MESHSPAN_COLLECTOR`).
    pub fn binary() -> Option<PathBuf> {
        named(VARIABLE)
    }

    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up, with its log.
    pub fn start(binary: &Path) -> anyhow::Result<Self> {
        Ok(Self { program: Program::start("collector", binary, None, 3, config)? })
    }

    /// Where it takes OTLP/gRPC.
    pub fn grpc(&self) -> SocketAddr {
        self.program.port(0)
    }

    /// Where it takes OTLP/HTTP.
    pub fn http(&self) -> SocketAddr {
        self.program.port(1)
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Asks it to end (SIGTERM), as an orderly update does, and waits until it has.
    ///
    /// # Errors
    /// When it takes too long, and is killed, or ends with an error.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.program.stop()
    }

    /// Starts it again on the same ports, and waits until it is ready. Where it runs, it is killed first.
    ///
    /// # Errors
    /// When it does not come up, with its log.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.program.start_again(config)
    }

    /// Every span that it took in all its lives, in the order in which it wrote them; `protocol` of each is
    /// [`Protocol::HttpJson`], the form in its file.
    ///
    /// # Errors
    /// When its files cannot be read, or hold what is not OTLP.
    pub fn spans(&self) -> anyhow::Result<Vec<ReceivedSpan>> {
        let exports: Vec<ExportTraceServiceRequest> = self.read("spans")?;
        Ok(exports.iter().flat_map(|export| ReceivedSpan::all_of(export, Protocol::HttpJson)).collect())
    }

    /// All metrics that it took in all its lives, as it wrote them: it may put several exports together.
    ///
    /// # Errors
    /// As [`Self::spans`].
    pub fn metrics(&self) -> anyhow::Result<Vec<ExportMetricsServiceRequest>> {
        self.read("metrics")
    }

    /// The lines of a file of each life.
    fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> anyhow::Result<Vec<T>> {
        let mut exports = Vec::new();
        for life in 1..=self.program.lives() {
            let text = std::fs::read_to_string(file(self.program.folder(), name, life)).unwrap_or_default();
            // A kill may leave a line without its end, which it had answered to nobody.
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            for line in whole.lines() {
                let export = serde_json::from_str(line);
                exports.push(export.with_context(|| format!("in the file {name} of life {life}: {line}"))?);
            }
        }
        Ok(exports)
    }

    /// Waits until it has taken at least `count` spans in all its lives, and gives them.
    ///
    /// # Errors
    /// At the deadline, with how many there were; and as [`Self::spans`].
    pub fn wait_for_spans(&self, count: usize, deadline: Duration) -> anyhow::Result<Vec<ReceivedSpan>> {
        let mut last = 0;
        wait::until(deadline, &format!("{count} spans at the Collector"), || match self.spans() {
            Ok(spans) => {
                last = spans.len();
                (last >= count).then_some(Ok(spans))
            }
            Err(error) => Some(Err(error)),
        })
        .with_context(|| format!("there were {last}; its log:\n{}", self.program.log()))?
    }

    /// How many spans its receiver says it accepted since it was last started, by transport: `grpc` and `http`.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn accepted(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        self.receiver_counts("otelcol_receiver_accepted_spans")
    }

    /// How many spans its receiver says it refused since it was last started, by transport.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn refused(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        self.receiver_counts("otelcol_receiver_refused_spans")
    }

    fn receiver_counts(&self, name: &str) -> anyhow::Result<BTreeMap<String, u64>> {
        let text = Request::get("/metrics").send(self.program.port(2))?.text();
        Ok(by_transport(&text, name))
    }

    /// What it has logged since it was last started.
    pub fn log(&self) -> String {
        self.program.log()
    }
}

fn config(folder: &Path, ports: &[SocketAddr], life: u32) -> Value {
    // With rotation, which is never reached, it writes without a buffer: what it has answered is in the file.
    let exporter = |name| json!({"path": file(folder, name, life), "rotation": {"max_megabytes": 4096}});
    json!({
        "receivers": otlp_receiver(ports[0], ports[1]),
        "exporters": {"file/spans": exporter("spans"), "file/metrics": exporter("metrics")},
        "service": {
            "telemetry": telemetry(ports[2]),
            "pipelines": {
                "traces": {"receivers": ["otlp"], "exporters": ["file/spans"]},
                "metrics": {"receivers": ["otlp"], "exporters": ["file/metrics"]},
            },
        },
    })
}

/// One for each life: a line that a kill cut off stays the last of its file.
fn file(folder: &Path, name: &str, life: u32) -> PathBuf {
    folder.join(format!("{name}-{life}.jsonl"))
}

/// A counter's values by its label `transport`, in Prometheus' text; with or without `_total` behind its name.
fn by_transport(text: &str, name: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(name) else { continue };
        let Some((labels, value)) = rest.strip_prefix("_total").unwrap_or(rest).rsplit_once(' ') else { continue };
        let transport = labels.split_once("transport=\"").and_then(|(_, rest)| rest.split_once('"'));
        // Small whole numbers, which Prometheus writes like any other.
        if let (Some((transport, _)), Ok(value)) = (transport, value.parse::<u64>()) {
            *counts.entry(transport.to_owned()).or_default() += value;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receivers_counts_are_read_by_transport() {
        let text = "# HELP otelcol_receiver_accepted_spans_total Number of spans\n\
            # TYPE otelcol_receiver_accepted_spans_total counter\n\
            otelcol_receiver_accepted_spans_total{receiver=\"otlp\",transport=\"grpc\"} 400\n\
            otelcol_receiver_accepted_spans_total{receiver=\"otlp\",transport=\"http\"} 12\n\
            otelcol_receiver_accepted_spans_total{receiver=\"other\",transport=\"http\"} 3\n\
            otelcol_receiver_accepted_spans_size_total{transport=\"http\"} x\n\
            otelcol_receiver_refused_spans_total{receiver=\"otlp\",transport=\"grpc\"} 1\n";
        let counts = by_transport(text, "otelcol_receiver_accepted_spans");
        assert_eq!(counts, BTreeMap::from([("grpc".to_owned(), 400), ("http".to_owned(), 15)]));
        assert_eq!(by_transport("", "otelcol_receiver_accepted_spans"), BTreeMap::new());
    }
}
