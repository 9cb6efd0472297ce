//! The page of metrics, Envoy's `stats_config` and Prometheus' relabelling are what the code does. `UPDATE_DOCS=1`
//! writes them anew.
#![cfg(not(target_arch = "wasm32"))]

#[path = "metrics/generated.rs"]
mod generated;

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Checks that a file is what `make` makes of it, or makes it so.
fn check(name: &str, make: impl Fn(&str) -> String) {
    let path = root().join(name);
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let expected = make(&found);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, expected).expect("it can be written");
        return;
    }
    assert!(found == expected, "{name} is not what the code does: run again with UPDATE_DOCS=1");
}

#[test]
fn the_page_lists_every_metric() {
    check("docs/metrics.md", |page| {
        let (begin, end) = ("<!-- metrics: written by core/tests/metrics.rs -->\n", "<!-- end of metrics -->");
        let (head, rest) = page.split_once(begin).expect("the page has a place for the table");
        let (_, tail) = rest.split_once(end).expect("the table has an end");
        format!("{head}{begin}\n{}\n{end}{tail}", generated::tables())
    });
}

#[test]
fn shipped_bootstraps_take_every_label_apart() {
    for name in ["server-minimal", "sidecar", "gateway", "keep-routing"] {
        check(&format!("envoy-config/{name}.yaml"), |file| {
            let begin = file.find("stats_config:\n").expect("a stats_config");
            let (head, rest) = file.split_at(begin);
            let (_, tail) = rest.split_once("\n\n").expect("something behind it");
            format!("{head}{}\n{tail}", generated::stats_config())
        });
    }
}

#[test]
fn istio_is_told_every_label() {
    check("envoy-config/istio.yaml", |file| {
        let begin = "          extraStatTags: [";
        let (head, rest) = file.split_once(begin).expect("extraStatTags");
        let (_, tail) = rest.split_once("]\n").expect("an end");
        format!("{head}{begin}{}]\n{tail}", generated::labels_of_all().join(", "))
    });
}

#[test]
fn prometheus_can_take_names_apart() {
    check("envoy-config/prometheus/labels-from-names.yaml", |_| generated::relabelling());
}
