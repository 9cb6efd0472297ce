//! Jaeger, with its store in a folder and its query API.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use serde_json::{Value, json};

use super::program::{Program, named, otlp_receiver, telemetry};
use crate::client::Request;
use crate::receiver::{Protocol, ReceivedSpan};

/// The environment variable that names the executable.
pub(super) const VARIABLE: &str = "MESHSPAN_JAEGER";

/// A running Jaeger. What it stored is there again when it was killed and started again. Dropping it kills it.
pub struct Jaeger {
    program: Program,
    /// What its remote sampling service answers, as its strategies file has it.
    strategies: Option<Value>,
}

/// A span as Jaeger's query API shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct JaegerSpan {
    /// 32 digits.
    pub trace_id: String,
    /// 16 digits.
    pub span_id: String,
    /// The span that it is a child of, 16 digits.
    pub parent_id: Option<String>,
    /// `service.name` of its resource.
    pub service: String,
    /// The span's name.
    pub operation: String,
    /// Its attributes and what Jaeger makes tags of (`span.kind`, `error`), by key.
    pub tags: serde_json::Map<String, Value>,
    /// The resource's other attributes, by key.
    pub process_tags: serde_json::Map<String, Value>,
    /// Microseconds since the Unix epoch.
    pub start: u64,
    /// Microseconds.
    pub duration: u64,
}

impl Jaeger {
    /// The executable that the environment names (`MESHSPAN_JAEGER`).
    pub fn binary() -> Option<PathBuf> {
        named(VARIABLE)
    }

    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up, with its log.
    pub fn start(binary: &Path) -> anyhow::Result<Self> {
        Self::launch(binary, None, None)
    }

    /// As [`Self::start`], with its configuration, store and log in a folder that stays.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_in(binary: &Path, folder: &Path) -> anyhow::Result<Self> {
        Self::launch(binary, Some(folder), None)
    }

    /// As [`Self::start`], with a remote sampling service that answers by these strategies, in the form of Jaeger's
    /// strategies file.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with_strategies(binary: &Path, strategies: Value) -> anyhow::Result<Self> {
        Self::launch(binary, None, Some(strategies))
    }

    fn launch(binary: &Path, folder: Option<&Path>, strategies: Option<Value>) -> anyhow::Result<Self> {
        let config = |folder: &Path, ports: &[SocketAddr], _| config(folder, ports, strategies.as_ref());
        let program = Program::start("jaeger", binary, folder, 7, config)?;
        Ok(Self { program, strategies })
    }

    /// Writes its strategies file, which it reads again each second.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_strategies(&self, strategies: &Value) -> anyhow::Result<()> {
        write_strategies(self.program.folder(), strategies)
    }

    /// Where its remote sampling service answers (HTTP), where it has one.
    pub fn sampling(&self) -> SocketAddr {
        self.program.port(5)
    }

    /// Where it takes OTLP/gRPC.
    pub fn grpc(&self) -> SocketAddr {
        self.program.port(0)
    }

    /// Where it takes OTLP/HTTP.
    pub fn http(&self) -> SocketAddr {
        self.program.port(1)
    }

    /// Where its query API answers (HTTP).
    pub fn query(&self) -> SocketAddr {
        self.program.port(3)
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

    /// Starts it again on the same ports with the same store, and waits until it is ready. Where it runs, it is
    /// killed first.
    ///
    /// # Errors
    /// When it does not come up, with its log.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let strategies = self.strategies.as_ref();
        self.program.start_again(|folder, ports, _| config(folder, ports, strategies))
    }

    /// What it has logged since it was last started.
    pub fn log(&self) -> String {
        self.program.log()
    }

    /// Asks its query API, and gives what stands under `data`.
    ///
    /// # Errors
    /// When it does not answer 200, or answers something else.
    pub fn ask(&self, path: &str) -> anyhow::Result<Value> {
        let response = Request::get(path).send(self.query())?;
        ensure!(response.status == 200, "{path}: {} {}", response.status, response.text());
        Ok(response.json()?["data"].take())
    }

    /// The services that it knows.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn services(&self) -> anyhow::Result<Vec<String>> {
        let services = self.ask("/api/services")?;
        Ok(services.as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }

    /// The spans of all traces that a query finds: `service=checkout`, with more parameters behind it as the API has
    /// them (`operation`, `tags`), all percent-encoded.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn find(&self, query: &str) -> anyhow::Result<Vec<JaegerSpan>> {
        let traces = self.ask(&format!("/api/traces?limit=100000&lookback=1h&{query}"))?;
        Ok(traces.as_array().into_iter().flatten().flat_map(spans_of).collect())
    }

    /// The spans of one trace; none where there is no such trace.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn trace(&self, trace_id: &str) -> anyhow::Result<Vec<JaegerSpan>> {
        let response = Request::get(&format!("/api/traces/{trace_id}")).send(self.query())?;
        if response.status == 404 {
            return Ok(Vec::new());
        }
        ensure!(response.status == 200, "{trace_id}: {} {}", response.status, response.text());
        Ok(response.json()?["data"].as_array().into_iter().flatten().flat_map(spans_of).collect())
    }

    /// The spans of one trace in OTLP's own form, as the third version of its query API gives them, without the
    /// remarks that Jaeger adds; none where there is no such trace. `protocol` of each is [`Protocol::HttpJson`].
    ///
    /// # Errors
    /// When it does not answer, or answers what is not OTLP.
    pub fn otlp(&self, trace_id: &str) -> anyhow::Result<Vec<ReceivedSpan>> {
        let path = format!("/api/v3/traces/{trace_id}");
        let response = Request::get(&path).send(self.query())?;
        if response.status == 404 {
            return Ok(Vec::new());
        }
        ensure!(response.status == 200, "{path}: {} {}", response.status, response.text());
        let export: ExportTraceServiceRequest = serde_json::from_value(response.json()?["result"].take())?;
        let mut spans = ReceivedSpan::all_of(&export, Protocol::HttpJson);
        for span in &mut spans {
            span.span.attributes.retain(|attribute| !attribute.key.starts_with("@jaeger@"));
        }
        Ok(spans)
    }
}

/// Whole or not at all: Jaeger may read it at any time.
fn write_strategies(folder: &Path, strategies: &Value) -> anyhow::Result<()> {
    let file = folder.join("strategies.json");
    let new = folder.join("strategies.new");
    std::fs::write(&new, strategies.to_string())?;
    std::fs::rename(new, file)?;
    Ok(())
}

fn config(folder: &Path, ports: &[SocketAddr], strategies: Option<&Value>) -> Value {
    let store = folder.join("store");
    let mut config = json!({
        "receivers": otlp_receiver(ports[0], ports[1]),
        "extensions": {
            "jaeger_storage": {"backends": {"store": {"badger": {
                "ephemeral": false,
                // What was answered is on the disk.
                "consistency": true,
                "directories": {"keys": store.join("keys"), "values": store.join("values")},
            }}}},
            "jaeger_query": {
                "storage": {"traces": "store"},
                "http": {"endpoint": ports[3]},
                "grpc": {"endpoint": ports[4]},
            },
        },
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "store"}},
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "telemetry": telemetry(ports[2]),
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
        },
    });
    if let Some(strategies) = strategies {
        let file = folder.join("strategies.json");
        if !file.exists() {
            // A file that cannot be written fails Jaeger's start, which says so.
            let _ = write_strategies(folder, strategies);
        }
        config["extensions"]["remote_sampling"] = json!({
            "file": {"path": file, "default_sampling_probability": 0, "reload_interval": "1s"},
            "http": {"endpoint": ports[5]},
            "grpc": {"endpoint": ports[6]},
        });
        config["service"]["extensions"] = json!(["jaeger_storage", "jaeger_query", "remote_sampling"]);
    }
    config
}

/// The spans of one trace of an answer.
fn spans_of(trace: &Value) -> Vec<JaegerSpan> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let spans = trace["spans"].as_array().into_iter().flatten();
    spans
        .map(|span| {
            let process = &trace["processes"][span["processID"].as_str().unwrap_or_default()];
            let references = span["references"].as_array().into_iter().flatten();
            let parent = references.into_iter().find(|reference| reference["refType"] == "CHILD_OF");
            JaegerSpan {
                trace_id: text(&span["traceID"]),
                span_id: text(&span["spanID"]),
                parent_id: parent.map(|reference| text(&reference["spanID"])),
                service: text(&process["serviceName"]),
                operation: text(&span["operationName"]),
                tags: tags(&span["tags"]),
                process_tags: tags(&process["tags"]),
                start: span["startTime"].as_u64().unwrap_or_default(),
                duration: span["duration"].as_u64().unwrap_or_default(),
            }
        })
        .collect()
}

fn tags(list: &Value) -> serde_json::Map<String, Value> {
    let tags = list.as_array().into_iter().flatten();
    tags.filter_map(|tag| Some((tag["key"].as_str()?.to_owned(), tag["value"].clone()))).collect()
}
