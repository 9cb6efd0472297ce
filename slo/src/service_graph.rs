//! The service graph under the names that Grafana's node graph and the Collector's connector `servicegraph` use. Envoy's
//! histograms count in whole milliseconds, the graph in seconds.

use crate::names::SERVICE_GRAPH_BUCKETS_MS;
use crate::recording::edge;
use crate::rule::{Group, Rule};

/// Records of all series, instance by instance: they stay counters, and `rate` of them stays right at a restart.
pub(crate) fn group() -> Group {
    let record = |name: String, expression: String| Rule::Record { name, expression, labels: Vec::new() };
    let mut rules: Vec<Rule> = ["request_total", "request_failed_total"]
        .map(|name| record(format!("traces_service_graph_{name}"), format!("meshspan_service_graph_{name}")))
        .to_vec();
    for side in ["server", "client"] {
        let from = format!("meshspan_service_graph_request_{side}_milliseconds");
        let to = format!("traces_service_graph_request_{side}_seconds");
        rules.push(record(format!("{to}_count"), format!("{from}_count")));
        rules.push(record(format!("{to}_sum"), format!("{from}_sum / 1000")));
        let mut edges: Vec<String> = SERVICE_GRAPH_BUCKETS_MS
            .iter()
            .map(|milliseconds| {
                let seconds = f64::from(*milliseconds) / 1000.0;
                format!("label_replace({from}_bucket{{{}}}, \"le\", \"{seconds}\", \"\", \"\")", edge(*milliseconds))
            })
            .collect();
        edges.push(format!("{from}_bucket{{le=\"+Inf\"}}"));
        rules.push(record(format!("{to}_bucket"), edges.join("\nor\n")));
    }
    Group { name: "meshspan-service-graph".to_owned(), rules }
}
