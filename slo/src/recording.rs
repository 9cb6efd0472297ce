//! What is recorded for each objective.
//!
//! Shares over windows up to six hours are taken from the counters as they are. Longer ones are sums of the recorded rates
//! of five minutes, errors by requests: the same share, weighted by traffic, and cheap however many series there are.

use crate::file::{Kind, Slo};
use crate::names::{BUDGET_LEFT, ERROR_RATIO, ERRORS, OBJECTIVE, REQUESTS, SERVICE};
use crate::rule::{Rule, literal, string};
use crate::window::{Scale, Window};

/// The rules of one objective, in the order in which they build on each other.
pub(crate) fn rules(slo: &Slo, scale: Scale) -> Vec<Rule> {
    let labels = labels(slo);
    let id = string(&slo.id);
    let base = scale.minutes(5);
    let record = |name: String, expression: String| Rule::Record { name, expression, labels: labels.clone() };
    let mut rules = vec![
        record(format!("{REQUESTS}{base}"), requests(slo, base)),
        record(format!("{ERRORS}{base}"), errors(slo, base)),
        record(
            format!("{ERROR_RATIO}{base}"),
            format!("{ERRORS}{base}{{slo_id={id}}} / {REQUESTS}{base}{{slo_id={id}}}"),
        ),
    ];
    for window in [scale.minutes(30), scale.hours(1), scale.hours(2), scale.hours(6)] {
        let expression = format!("(\n  {}\n)\n/\n{}", indented(&errors(slo, window)), requests(slo, window));
        rules.push(record(format!("{ERROR_RATIO}{window}"), expression));
    }
    let month = scale.days(30);
    for window in [scale.days(1), scale.days(3), month] {
        let sum = |name: &str| format!("sum_over_time({name}{base}{{slo_id={id}}}[{window}])");
        rules.push(record(format!("{ERROR_RATIO}{window}"), format!("{} / {}", sum(ERRORS), sum(REQUESTS))));
    }
    rules.push(record(OBJECTIVE.to_owned(), format!("vector({})", slo.objective.ratio_decimal())));
    let left = format!("1 - {ERROR_RATIO}{month}{{slo_id={id}}} / {}", slo.objective.budget_decimal());
    rules.push(record(BUDGET_LEFT.to_owned(), left));
    rules
}

/// Whose objective it is.
pub(crate) fn labels(slo: &Slo) -> Vec<(&'static str, String)> {
    let route = slo.route.as_ref().map(|route| ("route", literal(route)));
    [("slo_id", slo.id.clone()), ("service", literal(&slo.service))].into_iter().chain(route).collect()
}

/// Requests a second that count.
fn requests(slo: &Slo, window: Window) -> String {
    match slo.kind {
        Kind::Availability => rate(slo, "_count", &[], window),
        Kind::Latency(_) => rate(slo, "_count", &[slo.protocol.outcomes().other], window),
    }
}

/// Requests a second that miss the objective; 0 while there is no series of them.
fn errors(slo: &Slo, window: Window) -> String {
    match slo.kind {
        Kind::Availability => {
            let failed = slo.protocol.outcomes().failed;
            format!("{}\nor\n0 * {}", rate(slo, "_count", &[failed], window), rate(slo, "_count", &[], window))
        }
        Kind::Latency(threshold) => {
            let other = slo.protocol.outcomes().other;
            let in_time = rate(slo, "_bucket", &[other, &edge(threshold)], window);
            format!("{}\n-\n{in_time}", rate(slo, "_count", &[other], window))
        }
    }
}

fn rate(slo: &Slo, part: &str, more: &[&str], window: Window) -> String {
    let mut matchers = vec![format!("{SERVICE}={}", string(&slo.service))];
    if let Some(route) = &slo.route {
        matchers.push(format!("{}={}", slo.protocol.route_label(), string(route)));
    }
    matchers.extend(more.iter().map(|matcher| (*matcher).to_owned()));
    format!("sum(rate({}{part}{{{}}}[{window}]))", slo.protocol.histogram(), matchers.join(","))
}

/// A bucket's edge; Prometheus 3 writes `250.0` where Prometheus 2 keeps Envoy's `250`.
pub(crate) fn edge(milliseconds: u32) -> String {
    format!("le=~{}", string(&format!(r"{milliseconds}(\.0)?")))
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n  ")
}
