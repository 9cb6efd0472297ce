//! Prometheus: scrapes, evaluates, answers queries.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::Programs;
use super::program::{Program, folder_with};
use crate::backend::free_port;

/// What it is to do.
#[derive(Clone, Debug, Default)]
pub struct PrometheusConfig {
    /// Who is scraped: the job, the address and the page.
    pub targets: Vec<(String, SocketAddr, String)>,
    /// `metric_relabel_configs` of every job; null: none.
    pub relabelling: Value,
    /// Files of rules, by their text.
    pub rules: Vec<String>,
    /// Where alerts go.
    pub alertmanagers: Vec<SocketAddr>,
    /// How often it scrapes and evaluates, as Prometheus writes it.
    pub interval: String,
}

/// A running Prometheus. Dropping it kills it.
pub struct Prometheus {
    program: Program,
}

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its labels, `__name__` among them.
    pub labels: BTreeMap<String, String>,
    /// Its value now.
    pub value: f64,
}

impl Prometheus {
    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up, with its log.
    pub fn start(programs: &Programs, config: &PrometheusConfig) -> anyhow::Result<Self> {
        let names: Vec<String> = (0..config.rules.len()).map(|index| format!("{index}.rules.yaml")).collect();
        let scrapes: Vec<Value> = config
            .targets
            .iter()
            .map(|(job, address, page)| {
                json!({
                    "job_name": job,
                    "metrics_path": page,
                    "static_configs": [{"targets": [address]}],
                    "metric_relabel_configs": config.relabelling,
                })
            })
            .collect();
        let file = json!({
            "global": {"scrape_interval": config.interval, "evaluation_interval": config.interval},
            "rule_files": names,
            "scrape_configs": scrapes,
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": config.alertmanagers}]}]},
        })
        .to_string();
        let mut files: Vec<(&str, &str)> =
            names.iter().zip(&config.rules).map(|(name, text)| (name.as_str(), text.as_str())).collect();
        files.push(("prometheus.json", &file));
        let folder = folder_with("prometheus", &files)?;
        let address = free_port()?;
        let arguments = [
            format!("--config.file={}", folder.path().join("prometheus.json").display()),
            format!("--storage.tsdb.path={}", folder.path().join("data").display()),
            format!("--web.listen-address={address}"),
        ];
        let program = Program::start("prometheus", &programs.path("prometheus"), folder, address, &arguments)?;
        Ok(Self { program })
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.program.address()
    }

    /// What a query comes to now; a number without labels counts as one series.
    ///
    /// # Errors
    /// When it refuses the query, with its words.
    pub fn query(&self, query: &str) -> anyhow::Result<Vec<Series>> {
        let answer = self.program.get(&format!("/api/v1/query?query={}", encoded(query)))?;
        if answer["status"] != "success" {
            bail!("Prometheus refuses {query}: {}", answer["error"]);
        }
        let data = &answer["data"];
        match data["resultType"].as_str() {
            Some("scalar") => Ok(vec![Series { labels: BTreeMap::new(), value: number(&data["result"])? }]),
            _ => data["result"].as_array().context("no result")?.iter().map(series).collect(),
        }
    }

    /// The values that a label has among series that match.
    ///
    /// # Errors
    /// When it refuses to say.
    pub fn label_values(&self, label: &str, of: &str) -> anyhow::Result<Vec<String>> {
        let answer = self.program.get(&format!("/api/v1/label/{label}/values?match[]={}", encoded(of)))?;
        if answer["status"] != "success" {
            bail!("Prometheus refuses the label {label} of {of}: {}", answer["error"]);
        }
        let values = answer["data"].as_array().context("no values")?.iter();
        Ok(values.filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.program.log()
    }
}

fn series(result: &Value) -> anyhow::Result<Series> {
    let labels = serde_json::from_value(result["metric"].clone())?;
    Ok(Series { labels, value: number(&result["value"])? })
}

/// `[time, "value"]`.
fn number(value: &Value) -> anyhow::Result<f64> {
    let text = value[1].as_str().context("no value")?;
    text.parse().with_context(|| format!("{text:?} is no number"))
}

/// For use in the query of an address.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
