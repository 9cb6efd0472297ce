//! Alerts on objectives, and the plain one on a share of errors.

use crate::burn::{self, Burn};
use crate::file::{Kind, Protocol, Slo};
use crate::link::{Encoding, Search, TraceLink};
use crate::names::{ERROR_RATIO, SERVICE};
use crate::recording;
use crate::rule::{Group, Rule, literal, string};
use crate::window::Scale;

/// The share of errors above which the plain alert fires, as it stands in the rule, and in words.
const PLAIN_SHARE: (&str, &str) = ("0.05", "5 %");
/// The plain alert's `slo_id`, so that it is routed and grouped like the others.
const PLAIN_ID: &str = "error-rate";

/// An objective's records, then its alerts: one that pages and one that makes a ticket, each with two windows, so that
/// trouble which grows does not page twice.
pub(crate) fn of_slo(slo: &Slo, link: Option<&TraceLink>, scale: Scale) -> Group {
    let mut rules = recording::rules(slo, scale);
    let alerts = [
        ("page", "MeshspanErrorBudgetBurnsFast", burn::page(scale)),
        ("ticket", "MeshspanErrorBudgetBurns", burn::ticket(scale)),
    ];
    for (severity, name, burns) in alerts {
        rules.extend(alert(slo, link, severity, name, &burns));
    }
    Group { name: format!("meshspan-slo-{}", slo.id), rules }
}

fn alert(slo: &Slo, link: Option<&TraceLink>, severity: &str, name: &'static str, burns: &[Burn]) -> Option<Rule> {
    let possible: Vec<&Burn> = burns.iter().filter(|burn| burn.is_possible(slo.objective)).collect();
    let conditions: Vec<String> = possible.iter().map(|burn| condition(slo, burn)).collect();
    let windows: Vec<String> =
        possible.iter().map(|burn| format!("{} times too fast over {}", burn.rate, burn.long)).collect();
    if conditions.is_empty() {
        return None;
    }
    let mut labels = recording::labels(slo);
    labels.push(("severity", severity.to_owned()));
    let whose = slo.route.as_ref().map_or_else(|| slo.service.clone(), |route| format!("{} {route}", slo.service));
    let (goal, search_for) = match slo.kind {
        Kind::Availability => (format!("{} % succeed", slo.objective), None),
        Kind::Latency(edge) => (format!("{} % within {edge} ms", slo.objective), Some(edge)),
    };
    let mut annotations = vec![
        ("summary", literal(&format!("{whose} burns its error budget ({goal})"))),
        (
            "description",
            format!(
                "{{{{ $value | humanizePercentage }}}} of the requests to {} miss the objective ({goal}): the budget \
                 burns more than {}.",
                literal(&whose),
                windows.join(", or ")
            ),
        ),
    ];
    if let Some(link) = link {
        let route = slo.route.as_deref();
        let search = Search { service: &slo.service, route, protocol: slo.protocol, slower_than: search_for };
        annotations.push(("traces", literal(&link.to(&search, Encoding::Percent))));
    }
    Some(Rule::Alert { name, expression: conditions.join("\nor\n"), wait: None, labels, annotations })
}

fn condition(slo: &Slo, burn: &Burn) -> String {
    let over = |window| {
        let (id, budget) = (string(&slo.id), slo.objective.budget_decimal());
        format!("  {ERROR_RATIO}{window}{{slo_id={id}}} > {} * {budget}", burn.rate)
    };
    format!("(\n{}\nand\n{}\n)", over(burn.long), over(burn.short))
}

/// More than 5 % errors over half an hour, for ten minutes: for every service, with or without an objective.
pub(crate) fn plain(link: Option<&TraceLink>, scale: Scale) -> Group {
    let rules = [Protocol::Http, Protocol::Rpc].map(|protocol| plain_of(protocol, link, scale)).to_vec();
    Group { name: "meshspan-errors".to_owned(), rules }
}

fn plain_of(protocol: Protocol, link: Option<&TraceLink>, scale: Scale) -> Rule {
    let (share, words) = PLAIN_SHARE;
    let window = scale.minutes(30);
    let count = format!("{}_count", protocol.histogram());
    let failed = protocol.outcomes().failed;
    let expression = format!(
        "max by (service) (label_replace(\n  sum by ({SERVICE}) (rate({count}{{{failed}}}[{window}]))\n  /\n  \
         sum by ({SERVICE}) (rate({count}[{window}])),\n  \"service\", \"$1\", \"{SERVICE}\", \"(.*)\"\n)) > {share}"
    );
    let labels = [("slo_id", PLAIN_ID), ("severity", "page"), ("protocol", protocol.name())];
    let mut annotations = vec![
        ("summary", format!("more than {words} of the requests to {{{{ $labels.service }}}} fail")),
        (
            "description",
            format!(
                "{{{{ $value | humanizePercentage }}}} of the requests to {{{{ $labels.service }}}} failed over {window}."
            ),
        ),
    ];
    if let Some(link) = link {
        let search = Search { service: "{{ $labels.service | urlquery }}", route: None, protocol, slower_than: None };
        annotations.push(("traces", link.to(&search, Encoding::Template)));
    }
    Rule::Alert {
        name: "MeshspanErrorRate",
        expression,
        wait: Some(scale.minutes(10).to_string()),
        labels: labels.map(|(key, value)| (key, value.to_owned())).to_vec(),
        annotations,
    }
}
