//! What is expected of spans, and tables of such expectations.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};
use meshspan_kit::receiver::ReceivedSpan;
use serde_json::Value;

use crate::Mesh;

/// Makes sure that a span is as `expected`, which names any of `name`, `kind`, `status` (the code's name) and
/// `attributes`. Of the attributes those that are named count: `null` stands for absent, `{"begins": TEXT}` for any
/// text that begins so, and `{"kind": "double"}` for any double above zero.
pub fn expect(span: &ReceivedSpan, expected: &Value) -> anyhow::Result<()> {
    let found = span.to_json();
    let mut differences = Vec::new();
    let mut compare = |what: &str, found: &Value, expected: &Value| {
        let same = match expected {
            Value::Object(rule) if rule.contains_key("begins") => {
                let begins = rule["begins"].as_str().unwrap_or_default();
                found.as_str().is_some_and(|text| text.starts_with(begins))
            }
            Value::Object(rule) if rule.contains_key("kind") => found.is_f64() && found.as_f64() > Some(0.0),
            _ => found == expected,
        };
        if !same {
            differences.push(format!("{what} is {found}, not {expected}"));
        }
    };
    for (key, value) in expected.as_object().context("an expectation is an object")? {
        match key.as_str() {
            "attributes" => {
                for (key, value) in value.as_object().context("attributes are an object")? {
                    compare(key, &found["attributes"][key], value);
                }
            }
            "status" => compare(key, &found["status"]["code"], value),
            key => compare(key, &found[key], value),
        }
    }
    ensure!(differences.is_empty(), "{}\n    of {found}", differences.join("\n    "));
    Ok(())
}

/// A table of cases: each runs whether or not others fail, and all that failed are told.
#[derive(Default)]
pub struct Table {
    failures: Mutex<Vec<String>>,
}

impl Table {
    /// Runs a case, which is there for this reason.
    pub fn case(&self, why: &str, run: impl FnOnce() -> anyhow::Result<()>) {
        if let Err(error) = run() {
            self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(format!("- {why}: {error:#}"));
        }
    }

    /// # Panics
    ///
    /// When a case failed.
    pub fn finish(self, mesh: &Mesh) {
        let version = &mesh.envoy.binary().version;
        self.result().unwrap_or_else(|error| panic!("in Envoy {version}, {error:#}"));
    }

    /// # Errors
    ///
    /// When a case failed, with all that did.
    pub fn result(self) -> anyhow::Result<()> {
        let failures = self.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        ensure!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
        Ok(())
    }
}
