//! Prometheus rules from a small file of service level objectives (SLOs).
//!
//! [`SloFile::parse`] reads and checks the file, with every mistake and its place; [`rules`] makes of it recording
//! rules, alerts by several windows and burn rates (the Site Reliability Workbook, chapter 5, section 6), the plain
//! alert for a share of errors, the rules that give the service graph the names that Grafana reads, and alerts on
//! meshspan's own export. [`yaml`] writes them as Prometheus reads them.
//!
//! ```
//! use meshspan_slo::{Scale, SloFile, rules, yaml};
//!
//! let file = SloFile::parse("slos: [{id: checkout, service: checkout, objective: 99.9, kind: availability}]")?;
//! let text = yaml("made of one objective", &rules(&file, Scale::REAL));
//! assert!(text.contains("14.4 * 0.001"));
//! # Ok::<(), meshspan_slo::Mistakes>(())
//! ```

mod alerts;
mod burn;
mod file;
mod health;
mod link;
mod names;
mod recording;
mod rule;
mod service_graph;
mod window;

pub use file::{Kind, Mistake, Mistakes, Objective, Protocol, Slo, SloFile};
pub use link::TraceLink;
pub use names::{DURATION_BUCKETS_MS, SERVICE_GRAPH_BUCKETS_MS};
pub use rule::{Group, Rule, yaml};
pub use window::Scale;

/// All groups of rules for a file, in the order in which they are written. With another scale than [`Scale::REAL`] every
/// window and wait is shorter, for a test that cannot wait for hours.
pub fn rules(file: &SloFile, scale: Scale) -> Vec<Group> {
    let mut groups: Vec<Group> =
        file.slos.iter().map(|slo| alerts::of_slo(slo, file.trace_link.as_ref(), scale)).collect();
    groups.push(alerts::plain(file.trace_link.as_ref(), scale));
    groups.push(service_graph::group());
    groups.push(health::group(scale));
    groups
}
