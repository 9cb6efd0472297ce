//! What is written from the list of instruments.

use std::collections::BTreeMap;
use std::fmt::Write;

use meshspan_core::metrics::{Instrument, InstrumentKind, OVERFLOW_LABEL, SERVICE_LABEL, label, stat_name};

/// Labels of the statistics about exporters and masking.
const OWN_LABELS: [&str; 6] = ["signal", "exporter", "reason", "answer", "detector", "attribute"];

/// Names of those statistics, as an expression.
const OWN_NAMES: &str = "export_[a-z_]+|masked_total|would_mask_total";

/// Labels of measurements: whose, their attributes, and that of what has no room.
fn labels() -> Vec<String> {
    let mut keys: Vec<&str> = Instrument::ALL.iter().flat_map(|known| known.definition().attributes).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    let attributes = keys.into_iter().map(label);
    [SERVICE_LABEL.to_owned()].into_iter().chain(attributes).chain([OVERFLOW_LABEL.to_owned()]).collect()
}

/// All labels of the filter's statistics.
pub(crate) fn labels_of_all() -> Vec<String> {
    OWN_LABELS.into_iter().map(str::to_owned).chain(labels()).collect()
}

/// Upper bounds of Envoy's buckets: of durations in milliseconds. None is 0, which Envoy does not take.
fn buckets(instrument: Instrument) -> Vec<u64> {
    let definition = instrument.definition();
    let scale = if definition.unit == "s" { 1_000.0 } else { 1.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and not negative")]
    let scaled = definition.boundaries.iter().map(|bound| (bound * scale).round() as u64);
    scaled.filter(|bound| *bound > 0).collect()
}

/// Markdown: a table of all metrics, and one of the boundaries.
pub(crate) fn tables() -> String {
    let mut text = String::from("| OTLP | kind, unit | Prometheus | attributes |\n|---|---|---|---|\n");
    for instrument in Instrument::ALL {
        let definition = instrument.definition();
        let kind = match definition.kind {
            InstrumentKind::Counter => "counter",
            InstrumentKind::UpDownCounter => "up-down counter",
            InstrumentKind::Histogram => "histogram",
        };
        let unit = if definition.unit.is_empty() { String::new() } else { format!(", `{}`", definition.unit) };
        let attributes: Vec<String> = definition.attributes.iter().map(|key| format!("`{key}`")).collect();
        let _ = writeln!(
            text,
            "| `{}`<br>{} | {kind}{unit} | `meshspan_{}` | {} |",
            definition.name,
            definition.description,
            stat_name(*instrument),
            attributes.join(", ")
        );
    }
    text.push_str("\n| boundaries | of |\n|---|---|\n");
    for (bounds, names) in by_buckets(|instrument| format!("`{}`", instrument.definition().name)) {
        let _ = writeln!(text, "| {} | {} |", join(&bounds), names.join(", "));
    }
    text
}

/// Envoy's, for the bootstrap.
pub(crate) fn stats_config() -> String {
    let mut text = String::from("stats_config:\n  stats_tags:\n");
    for label in labels_of_all() {
        let _ = writeln!(
            text,
            r"  - {{tag_name: {label}, regex: '^wasmcustom\.meshspan_(?:.*?;\.;)??({label}=\.=(.*?);\.;)'}}"
        );
    }
    text.push_str("  # The boundaries that OpenTelemetry advises, for what requests take and carry.\n");
    text.push_str("  histogram_bucket_settings:\n");
    for (bounds, names) in by_buckets(|instrument| stat_name(instrument).to_owned()) {
        let _ = writeln!(text, "  - match: {{safe_regex: {{regex: 'wasmcustom\\.meshspan_.*({})'}}}}", names.join("|"));
        let _ = writeln!(text, "    buckets: [{}]", join(&bounds));
    }
    text
}

/// Prometheus' `metric_relabel_configs`.
pub(crate) fn relabelling() -> String {
    let mut text = String::from(
        "# Labels from names, for an Envoy whose bootstrap has no `stats_tags` for meshspan: a job of Prometheus.\n\
         #\n\
         # Without those, Envoy writes `KEY=.=VALUE;.;` as `KEY___VALUE___` into a metric's name, and every character of a\n\
         # value that is neither a letter, a digit nor `_` as `_`: http_route=\"/users/{id}\" becomes \"_users__id_\". Two\n\
         # values that differ in such characters alone are one series, or two of one name, of which Prometheus keeps one.\n\
         # Histograms have Envoy's own boundaries. What can set `stats_tags` should.\n\
         #\n\
         # Written by core/tests/metrics.rs. Change: the targets.\n\
         scrape_configs:\n\
         - job_name: envoy\n\
         \x20 metrics_path: /stats/prometheus\n\
         \x20 static_configs:\n\
         \x20 - targets: [localhost:9901]\n\
         \x20 metric_relabel_configs:\n",
    );
    let labels = labels_of_all();
    let mut names: Vec<&str> = Instrument::ALL.iter().map(|instrument| stat_name(*instrument)).collect();
    names.push(OWN_NAMES);
    let names = names.join("|");
    let parts = "(?:_bucket|_sum|_count)?";
    let next = format!("(?:(?:{})___.*|(?:{names}){parts})", labels.join("|"));
    for label in &labels {
        let _ = writeln!(text, "  - source_labels: [__name__]");
        let _ = writeln!(text, "    regex: 'meshspan_(?:.+?___)??{label}___(.+?)___{next}'");
        let _ = writeln!(text, "    target_label: {label}");
    }
    let _ = writeln!(text, "  - source_labels: [__name__]");
    let _ = writeln!(text, "    regex: 'meshspan_.+?___((?:{names}){parts})'");
    text.push_str("    target_label: __name__\n    replacement: meshspan_$1\n");
    text
}

/// Histograms by their boundaries.
fn by_buckets(name: impl Fn(Instrument) -> String) -> BTreeMap<Vec<u64>, Vec<String>> {
    let mut all: BTreeMap<Vec<u64>, Vec<String>> = BTreeMap::new();
    for instrument in Instrument::ALL.iter().filter(|known| known.definition().kind == InstrumentKind::Histogram) {
        all.entry(buckets(*instrument)).or_default().push(name(*instrument));
    }
    all
}

fn join(bounds: &[u64]) -> String {
    bounds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}
