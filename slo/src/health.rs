//! Alerts on meshspan's own export.

use crate::rule::{Group, Rule};
use crate::window::Scale;

/// What names an exporter of one proxy.
const EXPORTER: &str = "job, instance, signal, exporter";

/// An exporter whose backend does not answer, and one that drops.
pub(crate) fn group(scale: Scale) -> Group {
    let alert = |name, expression: &str, wait: String, summary: &str| Rule::Alert {
        name,
        expression: expression.to_owned(),
        wait: Some(wait),
        labels: vec![("severity", "ticket".to_owned())],
        annotations: vec![("summary", summary.to_owned())],
    };
    let window = scale.minutes(5);
    let up = alert(
        "MeshspanExporterDown",
        // An exporter that never had anything to send is not up either.
        &format!(
            "meshspan_export_up == 0\nand on ({EXPORTER})\nsum by ({EXPORTER}) (rate(meshspan_export_requests_total[{window}])) > 0"
        ),
        scale.minutes(5).to_string(),
        "{{ $labels.instance }} gets no answer from {{ $labels.exporter }} for its {{ $labels.signal }}",
    );
    let dropped = alert(
        "MeshspanExporterDrops",
        &format!("sum by ({EXPORTER}, reason) (rate(meshspan_export_dropped_total[{window}])) > 0"),
        scale.minutes(15).to_string(),
        "{{ $labels.instance }} drops {{ $labels.signal }} for {{ $labels.exporter }} ({{ $labels.reason }})",
    );
    Group { name: "meshspan-export".to_owned(), rules: vec![up, dropped] }
}
