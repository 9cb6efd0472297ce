//! A real Prometheus scrapes real Envoy, both ways that are shipped: labels by the bootstrap's `stats_tags`, and labels
//! taken from the names at the scrape, without a change of the bootstrap. And what promtool says to the page.

use std::collections::{BTreeMap, BTreeSet};

use meshspan_e2e::{DEADLINE, Mesh, bootstrap, each_envoy, skipped};
use meshspan_kit::client::Http2Client;
use meshspan_kit::config::{EnvoyConfig, shipped_folder};
use meshspan_kit::envoy::{EnvoyBinary, Options};
use meshspan_kit::monitoring::{MONITORING_VARIABLE, Programs, Prometheus, PrometheusConfig};
use meshspan_kit::wait;
use serde_json::{Value, json};

use crate::support::{Counts, DURATION, load, measuring, mixed, wait_for};

const REQUESTS: u64 = 800;

/// As [`each_envoy`], with two workers and Prometheus' programs.
pub(crate) fn each_envoy_with_programs(test: impl Fn(&Programs, &EnvoyBinary, u32)) {
    match Programs::from_env() {
        Some(programs) => each_envoy(&[2], |envoy, concurrency| test(&programs, envoy, concurrency)),
        None => skipped(&format!("{MONITORING_VARIABLE} does not name Prometheus' programs (set-up gets Debian's)")),
    }
}

/// A mesh with this bootstrap, and a Prometheus that scrapes it.
pub(crate) struct Scraped {
    pub(crate) mesh: Mesh,
    prometheus: Prometheus,
}

impl Scraped {
    pub(crate) fn start(
        programs: &Programs,
        envoy: &EnvoyBinary,
        concurrency: u32,
        bootstrap: EnvoyConfig,
        relabelling: Value,
    ) -> Self {
        // Envoy shows what a histogram has taken at each flush, every five seconds by default.
        let bootstrap = bootstrap.change(|root| root["stats_flush_interval"] = json!("0.5s"));
        let mesh = Mesh::start_with(envoy, &Options { concurrency, ..Options::default() }, &bootstrap);
        let config = PrometheusConfig {
            targets: vec![("envoy".to_owned(), mesh.envoy.admin(), "/stats/prometheus".to_owned())],
            relabelling,
            interval: "500ms".to_owned(),
            ..PrometheusConfig::default()
        };
        let prometheus = Prometheus::start(programs, &config).unwrap_or_else(|error| panic!("{error:#}"));
        Self { mesh, prometheus }
    }

    /// Sends the load of mixed outcomes.
    fn load(&self) -> Counts {
        load(self.mesh.envoy.address("in").unwrap(), &mixed(REQUESTS))
    }

    /// What a query comes to, by the values of these labels; empty where a series has none.
    pub(crate) fn by<const N: usize>(&self, labels: [&str; N], of: &str) -> BTreeMap<[String; N], u64> {
        let query = format!("sum by ({}) ({of})", labels.join(", "));
        let series = self.prometheus.query(&query).unwrap_or_else(|error| panic!("{error:#}"));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
        let sums = series
            .into_iter()
            .map(|one| (labels.map(|label| one.labels.get(label).cloned().unwrap_or_default()), one.value as u64));
        sums.filter(|(_, count)| *count > 0).collect()
    }

    /// Waits until Prometheus knows so many requests, and compares them by route and status.
    fn assert_counts(&self, expected: &Counts) {
        let count = format!("{DURATION}_count");
        let mut last = BTreeMap::new();
        let arrived = wait::until(2 * DEADLINE, "all requests in Prometheus", || {
            last = self.by(["http_route", "http_response_status_code"], &count);
            (last.values().sum::<u64>() >= REQUESTS).then_some(())
        });
        let found: Counts =
            last.iter().map(|([route, status], count)| ((route.clone(), status.parse().unwrap()), *count)).collect();
        assert_eq!(&found, expected, "{arrived:?}; Prometheus' log:\n{}", self.prometheus.log());
        let own = format!(
            "{count}{{job=\"envoy\",service_name=\"checkout\",http_request_method=\"GET\",url_scheme=\"http\"}}"
        );
        assert_eq!(self.by([], &own), BTreeMap::from([([], REQUESTS)]), "the other labels");
        let expected =
            [("1.1", REQUESTS / 2), ("2", REQUESTS / 2)].map(|(version, count)| ([version.to_owned()], count));
        assert_eq!(
            self.by(["network_protocol_version"], &count)
                .into_iter()
                .map(|([version], count)| ([version.replace('_', ".")], count))
                .collect::<BTreeMap<_, _>>(),
            expected.into()
        );
    }

    /// What an alert waits for, with the exporter's labels.
    fn assert_exporter(&self, exporter: &str) {
        let up = self.by(["signal", "exporter"], "meshspan_export_up");
        assert_eq!(up, BTreeMap::from([(["traces".to_owned(), exporter.to_owned()], 1)]));
    }
}

#[test]
fn prometheus_counts_what_the_load_generator_counts() {
    each_envoy_with_programs(|programs, envoy, concurrency| {
        let bootstrap = bootstrap(&[("in", measuring(&json!({})))]);
        let scraped = Scraped::start(programs, envoy, concurrency, bootstrap, Value::Null);
        scraped.assert_counts(&scraped.load());
        scraped.assert_exporter("collector:4317");
        // The boundaries of the bootstrap, so that quantiles and objectives are those of OTLP.
        let below = scraped.by(["le"], &format!("{DURATION}_bucket"));
        assert_eq!(below.len(), 15, "{below:?}");
        scraped.mesh.stop();
    });
}

#[test]
fn without_a_change_of_the_bootstrap_it_counts_the_same() {
    let text = std::fs::read_to_string(shipped_folder().join("prometheus/labels-from-names.yaml")).unwrap();
    let file = EnvoyConfig::parse(&text).unwrap().json().clone();
    let rules = &file["scrape_configs"][0]["metric_relabel_configs"];
    each_envoy_with_programs(|programs, envoy, concurrency| {
        let bootstrap = bootstrap(&[("in", measuring(&json!({})))]).change(|root| {
            root.as_object_mut().unwrap().remove("stats_config").expect("a stats_config");
        });
        let scraped = Scraped::start(programs, envoy, concurrency, bootstrap, rules.clone());
        // What is no letter and no digit is lost in Envoy's names.
        let as_name = |(route, status): (String, u64)| {
            (route.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect(), status)
        };
        let expected = scraped.load().into_iter().map(|(key, count)| (as_name(key), count)).collect();
        scraped.assert_counts(&expected);
        scraped.assert_exporter("collector_4317");
        scraped.mesh.stop();
    });
}

#[test]
fn promtool_finds_no_more_than_envoy_makes_unavoidable() {
    each_envoy_with_programs(|programs, envoy, concurrency| {
        let mut config = measuring(&json!({"role": "gateway", "metrics": {"prometheus": {}, "service_graph": {}}}));
        config["logger_provider"] = json!({"processors": [{"batch": {
            "exporter": {"otlp_grpc": {"endpoint": "http://collector:4317"}}}}]});
        let mesh = Mesh::start(envoy, concurrency, &[("in", config)]);
        let address = mesh.envoy.address("in").unwrap();
        load(address, &mixed(REQUESTS));
        let mut client = Http2Client::connect(address).unwrap();
        client.get("/shop.Cart/Get", &[("content-type", b"application/grpc"), ("te", b"trailers")]).unwrap();
        wait_for(&mesh, DURATION, REQUESTS + 1);
        let page = mesh.envoy.admin_get("/stats/prometheus").unwrap().text();
        let findings = programs.lint(&page).unwrap_or_else(|error| panic!("{error:#}"));
        // Those of Envoy's own series are Envoy's matter: its counters have no `_total`.
        let own = findings.into_iter().filter(|line| line.starts_with("meshspan_"));
        let (helpless, other): (Vec<_>, Vec<_>) = own.partition(|line| line.ends_with(" no help text"));
        // Envoy writes no help, which shows that the tool has looked at each.
        let names: BTreeSet<_> =
            page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let expected: Vec<_> = names
            .into_iter()
            .filter(|name| name.starts_with("meshspan_"))
            .map(|name| format!("{name} no help text"))
            .collect();
        assert_eq!(helpless, expected, "promtool looks at each series of the filter");
        assert!(helpless.len() > 40, "{helpless:?}");
        // Envoy's histograms are of integers.
        let unit = "milliseconds use base unit \"seconds\" instead of \"milliseconds\"";
        let others: Vec<_> = other.iter().filter(|line| !line.ends_with(unit)).collect();
        assert!(others.is_empty(), "{others:#?}");
        mesh.stop();
    });
}
