//! Labels without a change of the bootstrap: Prometheus takes the names apart, as the shipped file says.

use std::collections::BTreeMap;

use meshspan_e2e::{Mesh, bootstrap, each_envoy};
use meshspan_kit::config::shipped_folder;
use meshspan_kit::envoy::{Options, Samples};
use regex::Regex;
use serde_json::{Value, json};

use crate::support::{Counts, DURATION, counted, load, measuring, mixed};

/// What Prometheus does with `metric_relabel_configs` whose action is `replace`: the first capture goes to the target.
fn relabel(samples: &Samples, rules: &Value) -> Samples {
    let rules: Vec<(Regex, String, String)> = rules
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            assert_eq!(rule["source_labels"], json!(["__name__"]));
            let regex = Regex::new(&format!("^(?s:{})$", rule["regex"].as_str().unwrap())).unwrap();
            let replacement = rule["replacement"].as_str().unwrap_or("$1").to_owned();
            (regex, rule["target_label"].as_str().unwrap().to_owned(), replacement)
        })
        .collect();
    let mut samples = samples.clone();
    for sample in &mut samples.0 {
        for (regex, target, replacement) in &rules {
            let Some(found) = regex.captures(&sample.name) else { continue };
            let mut value = String::new();
            found.expand(replacement, &mut value);
            if target == "__name__" {
                sample.name = value;
            } else {
                sample.labels.insert(target.clone(), value);
            }
        }
    }
    samples
}

#[test]
fn names_are_taken_apart_at_the_scrape() {
    let text = std::fs::read_to_string(shipped_folder().join("prometheus/labels-from-names.yaml")).unwrap();
    let file = meshspan_kit::config::EnvoyConfig::parse(&text).unwrap().json().clone();
    let rules = &file["scrape_configs"][0]["metric_relabel_configs"];
    each_envoy(&[2], |envoy, concurrency| {
        let config = bootstrap(&[("in", measuring(&json!({})))]).change(|root| {
            root.as_object_mut().unwrap().remove("stats_config").expect("a stats_config");
        });
        let mesh = Mesh::start_with(envoy, &Options { concurrency, ..Options::default() }, &config);
        let sent = load(mesh.envoy.address("in").unwrap(), &mixed(800));
        let as_labels = |(route, status): &(String, u64)| {
            (route.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect::<String>(), *status)
        };
        let expected: Counts = sent.iter().map(|(key, count)| (as_labels(key), *count)).collect();
        let found = meshspan_kit::wait::until(2 * meshspan_e2e::DEADLINE, "all requests", || {
            let samples = relabel(&mesh.samples(), rules);
            (samples.sum(&format!("{DURATION}_count"), &[]) >= 800).then_some(samples)
        });
        let found = found.unwrap_or_else(|error| panic!("{error:#}: {:#?}", mesh.counters()));
        assert_eq!(counted(&found, DURATION), expected, "but for what is no letter and no digit, all is there");
        let labels = [("service_name", "checkout"), ("http_request_method", "GET"), ("url_scheme", "http")];
        assert_eq!(found.sum(&format!("{DURATION}_count"), &labels), 800);
        let of_exporter = found.sums_by("meshspan_export_up", &[], "exporter");
        assert_eq!(of_exporter, BTreeMap::from([("collector_4317".to_owned(), 1)]));
        mesh.stop();
    });
}
