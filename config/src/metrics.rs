//! `distribution.meshspan.metrics`: which measurements Envoy's statistics show, and the service graph.

use crate::Instrument;
use crate::Problem;
use crate::reader::{Key, Reader, built};

/// `metrics`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricsConfig {
    /// `prometheus`: measurements as statistics of Envoy's own; `None`: none.
    pub prometheus: Option<PrometheusConfig>,
    /// `service_graph`: who calls whom; `None`: not measured.
    pub service_graph: Option<ServiceGraphConfig>,
}

/// `metrics.prometheus`.
#[derive(Clone, Debug, PartialEq)]
pub struct PrometheusConfig {
    /// `max_series`: of each metric on one worker, with the one for what has no room; default 1000.
    pub max_series: u32,
    /// `labels`: the attributes that become labels; `None`: all.
    pub labels: Option<Vec<&'static str>>,
    /// `metrics`: which there are; `None`: all.
    pub metrics: Option<Vec<Instrument>>,
}

impl Default for PrometheusConfig {
    fn default() -> Self {
        Self { max_series: 1_000, labels: None, metrics: None }
    }
}

impl PrometheusConfig {
    /// Whether this metric is shown.
    pub fn takes(&self, instrument: Instrument) -> bool {
        self.metrics.as_ref().is_none_or(|metrics| metrics.contains(&instrument))
    }

    /// Whether this attribute becomes a label.
    pub fn has_label(&self, key: &str) -> bool {
        self.labels.as_ref().is_none_or(|labels| labels.contains(&key))
    }
}

/// `metrics.service_graph`.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceGraphConfig {
    /// `istio_peer_metadata` (default true): a peer is who Istio's peer metadata says it is.
    pub istio_peer_metadata: bool,
    /// `spiffe_id` (default true): else, the service account of its certificate.
    pub spiffe_id: bool,
    /// `tracestate` (default false): else, a caller is who our member of its tracestate says; and upstreams are told
    /// who calls.
    pub tracestate: bool,
    /// `upstreams`: what is known of clusters.
    pub upstreams: Vec<UpstreamConfig>,
}

impl Default for ServiceGraphConfig {
    fn default() -> Self {
        Self { istio_peer_metadata: true, spiffe_id: true, tracestate: false, upstreams: Vec::new() }
    }
}

/// One entry of `upstreams`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// `cluster`: the cluster's name.
    pub cluster: String,
    /// `name`: the node's name in the graph; default: the cluster's.
    pub name: Option<String>,
    /// `kind`.
    pub kind: UpstreamKind,
}

/// What is behind a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamKind {
    /// `service`: a service whose own proxy counts what it is asked.
    Service,
    /// `database`
    Database,
    /// `external`: something that nobody else counts. The default.
    External,
}

const KEYS: &[Key] = &[built("prometheus"), built("service_graph")];

const PROMETHEUS_KEYS: &[Key] = &[built("max_series"), built("labels"), built("metrics")];

const SERVICE_GRAPH_KEYS: &[Key] =
    &[built("istio_peer_metadata"), built("spiffe_id"), built("tracestate"), built("upstreams")];

const UPSTREAM_KEYS: &[Key] = &[built("cluster"), built("name"), built("kind")];

const UPSTREAM_KINDS: &[(&str, UpstreamKind)] =
    &[("service", UpstreamKind::Service), ("database", UpstreamKind::Database), ("external", UpstreamKind::External)];

/// How many series of one metric a worker may have. One is for what has no room.
const SERIES: core::ops::RangeInclusive<u32> = 2..=100_000;

/// Reads `metrics`.
pub(crate) fn read(reader: &Reader<'_>) -> MetricsConfig {
    let Some(object) = reader.object(KEYS) else { return MetricsConfig::default() };
    MetricsConfig {
        // Present without a value is present: all of it has defaults.
        prometheus: object.optional("prometheus").map(|section| read_prometheus(&section)),
        service_graph: object.optional("service_graph").map(|section| read_service_graph(&section)),
    }
}

fn read_prometheus(reader: &Reader<'_>) -> PrometheusConfig {
    let default = PrometheusConfig::default();
    let Some(object) = reader.object_or_null(PROMETHEUS_KEYS) else { return default };
    let instruments: Vec<_> = Instrument::ALL.iter().map(|known| (known.definition().name, *known)).collect();
    let mut labels: Vec<(&str, &str)> = Vec::new();
    for key in Instrument::ALL.iter().flat_map(|known| known.definition().attributes) {
        if let Err(place) = labels.binary_search(&(key, key)) {
            labels.insert(place, (key, key));
        }
    }
    PrometheusConfig {
        max_series: object.integer("max_series", SERIES).unwrap_or(default.max_series),
        labels: object.nullable("labels").and_then(|list| read_words(&list, &labels)),
        metrics: object.nullable("metrics").and_then(|list| read_words(&list, &instruments)),
    }
}

fn read_words<T: Copy>(list: &Reader<'_>, words: &[(&'static str, T)]) -> Option<Vec<T>> {
    Some(list.list(0)?.iter().filter_map(|item| item.one_of(words)).collect())
}

fn read_service_graph(reader: &Reader<'_>) -> ServiceGraphConfig {
    let default = ServiceGraphConfig::default();
    let Some(object) = reader.object_or_null(SERVICE_GRAPH_KEYS) else { return default };
    let truth = |key, default| object.nullable(key).and_then(|value| value.boolean()).unwrap_or(default);
    ServiceGraphConfig {
        istio_peer_metadata: truth("istio_peer_metadata", default.istio_peer_metadata),
        spiffe_id: truth("spiffe_id", default.spiffe_id),
        tracestate: truth("tracestate", default.tracestate),
        upstreams: object.nullable("upstreams").map(|list| read_upstreams(&list)).unwrap_or_default(),
    }
}

fn read_upstreams(list: &Reader<'_>) -> Vec<UpstreamConfig> {
    let mut upstreams: Vec<UpstreamConfig> = Vec::new();
    for item in list.list(0).unwrap_or_default() {
        let Some(object) = item.object(UPSTREAM_KEYS) else { continue };
        let cluster = object.required("cluster", "the name of a cluster").and_then(|name| name.non_empty_text());
        let name = object.nullable("name").and_then(|name| name.non_empty_text());
        let kind = object.nullable("kind").and_then(|kind| kind.one_of(UPSTREAM_KINDS));
        let Some(cluster) = cluster else { continue };
        if let Some(first) = upstreams.iter().position(|known| known.cluster == cluster) {
            item.report(Problem::DuplicateItem { found: item.found(), first });
            continue;
        }
        upstreams.push(UpstreamConfig { cluster, name, kind: kind.unwrap_or(UpstreamKind::External) });
    }
    upstreams
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::semconv;
    use crate::testing::{accepted, rejected_for};

    fn with(metrics: &str) -> String {
        format!(r#""distribution": {{"meshspan": {{"metrics": {metrics}}}}}"#)
    }

    fn read(metrics: &str) -> MetricsConfig {
        accepted(&with(metrics)).meshspan.metrics
    }

    #[test]
    fn a_section_that_is_there_switches_on() {
        assert_eq!(read("{}"), MetricsConfig::default(), "nothing is shown that was not asked for");
        assert_eq!(read("null"), MetricsConfig::default());
        for text in [r#"{"prometheus": {}}"#, r#"{"prometheus": null}"#] {
            let expected = MetricsConfig { prometheus: Some(PrometheusConfig::default()), service_graph: None };
            assert_eq!(read(text), expected, "{text}");
        }
        let graph = read(r#"{"service_graph": {}}"#).service_graph;
        assert_eq!(graph, Some(ServiceGraphConfig::default()));
        let prometheus = read(
            r#"{"prometheus": {"max_series": 50, "labels": ["http.route", "http.response.status_code"],
                "metrics": ["http.server.request.duration"]}}"#,
        );
        let prometheus = prometheus.prometheus.unwrap();
        let expected = PrometheusConfig {
            max_series: 50,
            labels: Some(vec![semconv::HTTP_ROUTE, semconv::HTTP_RESPONSE_STATUS_CODE]),
            metrics: Some(vec![Instrument::HttpServerRequestDuration]),
        };
        assert_eq!(prometheus, expected);
        assert!(prometheus.takes(Instrument::HttpServerRequestDuration));
        assert!(!prometheus.takes(Instrument::UpstreamRetries) && !prometheus.has_label(semconv::ERROR_TYPE));
        let graph = read(
            r#"{"service_graph": {"istio_peer_metadata": false, "spiffe_id": false, "tracestate": true, "upstreams": [
                {"cluster": "db", "kind": "database", "name": "orders"}, {"cluster": "mail"},
                {"cluster": "inventory", "kind": "service"}]}}"#,
        );
        let upstream = |cluster: &str, name: Option<&str>, kind| UpstreamConfig {
            cluster: cluster.to_owned(),
            name: name.map(str::to_owned),
            kind,
        };
        let expected = ServiceGraphConfig {
            istio_peer_metadata: false,
            spiffe_id: false,
            tracestate: true,
            upstreams: vec![
                upstream("db", Some("orders"), UpstreamKind::Database),
                upstream("mail", None, UpstreamKind::External),
                upstream("inventory", None, UpstreamKind::Service),
            ],
        };
        assert_eq!(graph.service_graph, Some(expected));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            (r#"{"prometheus": {"max_series": 0}}"#, ".prometheus.max_series", "from 2 to 100000", "no room at all"),
            (r#"{"prometheus": {"max_series": 1}}"#, ".prometheus.max_series", "from 2", "room for no series"),
            (r#"{"prometheus": true}"#, ".prometheus", "an object or null", "a truth"),
            (r#"{"prometheus": {"labels": ["http.rout"]}}"#, ".prometheus.labels[0]", "http.route", "no attribute"),
            (r#"{"prometheus": {"labels": ["http_route"]}}"#, ".prometheus.labels[0]", "http.route", "a label"),
            (
                r#"{"prometheus": {"metrics": ["http.server.duration"]}}"#,
                ".prometheus.metrics[0]",
                "http.server.request.duration",
                "an old name",
            ),
            (r#"{"service_graph": {"tracestate": "yes"}}"#, ".service_graph.tracestate", "true or false", "text"),
            (r#"{"service_graph": {"upstreams": {}}}"#, ".service_graph.upstreams", "a list", "an object"),
            (r#"{"service_graph": {"upstreams": [{}]}}"#, ".service_graph.upstreams[0]", "cluster", "no cluster"),
            (
                r#"{"service_graph": {"upstreams": [{"cluster": "a"}, {"cluster": "a"}]}}"#,
                ".service_graph.upstreams[1]",
                "the same as item [0]",
                "twice",
            ),
            (
                r#"{"service_graph": {"upstreams": [{"cluster": "a", "kind": "db"}]}}"#,
                ".service_graph.upstreams[0].kind",
                "database, external",
                "no kind",
            ),
            (r#"{"prometeus": {}}"#, ".prometeus", "did you mean", "misspelt"),
        ];
        for (text, place, words, why) in cases {
            rejected_for(&with(text), &format!("$.distribution.meshspan.metrics{place}"), words, why);
        }
    }
}
