//! When the shipped alerts fire and when they do not, through each of their windows, by `promtool test rules`.

use crate::history::{Phase, counter};
use crate::{programs, shipped};
use meshspan_kit::monitoring::Programs;
use meshspan_slo::{Group, Scale, SloFile, rules, yaml};
use serde_json::{Value, json};

const HOUR: u64 = 60;
const DAY: u64 = 24 * HOUR;

/// Thousand requests a minute, of which so many percent are bad, for so long.
fn phase(percent: f64, minutes: u64) -> Phase {
    Phase { minutes, good: 1000.0 - percent * 10.0, bad: percent * 10.0 }
}

/// What happened, and which alerts fire at its end: the severities, in the alphabet's order.
type Case = (&'static str, Vec<Phase>, &'static str);

/// Of a budget of 0.1 %, so that 1.44 %, 0.6 %, 0.3 % and 0.1 % are the edges.
fn cases() -> Vec<Case> {
    let clean = |minutes| phase(0.0, minutes);
    vec![
        ("nothing is wrong", vec![clean(6 * HOUR)], ""),
        ("nobody calls", vec![Phase { minutes: HOUR, good: 0.0, bad: 0.0 }], ""),
        ("half of the budget is used", vec![phase(0.05, 3 * DAY)], ""),
        // 14.4 over 1h and 5m; over six hours it comes to 0.34 %.
        ("2 % for an hour", vec![clean(5 * HOUR), phase(2.0, HOUR)], "page, ticket"),
        ("2 % for an hour, over for ten minutes", vec![clean(5 * HOUR), phase(2.0, HOUR), clean(10)], "ticket"),
        ("2 % for twenty minutes of an hour", vec![clean(3 * DAY), phase(2.0, 20)], ""),
        // 6 over 6h and 30m: an hour of it is below 1.44 %.
        ("1 % for six hours", vec![clean(HOUR), phase(1.0, 6 * HOUR)], "page, ticket"),
        ("1 % for six hours, over for 40 minutes", vec![phase(1.0, 6 * HOUR), clean(40)], "ticket"),
        ("1 % for an hour", vec![clean(3 * DAY), phase(1.0, HOUR)], ""),
        // 3 over 1d and 2h.
        ("0.5 % for a day", vec![clean(2 * DAY), phase(0.5, DAY)], "ticket"),
        ("0.4 % for a day, over for eight hours", vec![clean(2 * DAY), phase(0.4, DAY), clean(8 * HOUR)], ""),
        // 1 over 3d and 6h: a day of it is below 0.3 %.
        ("0.2 % for three days", vec![phase(0.2, 3 * DAY)], "ticket"),
        ("0.2 % for three days, over for seven hours", vec![phase(0.2, 3 * DAY), clean(7 * HOUR)], ""),
        ("0.2 % for a day", vec![clean(3 * DAY), phase(0.2, DAY)], ""),
        ("everything fails", vec![phase(100.0, HOUR)], "page, ticket"),
    ]
}

/// Which objective, and which series a history is counted in.
struct Subject {
    slo_id: &'static str,
    /// So many times the share of bad requests of a case: other budgets are larger.
    factor: f64,
    series: fn(&[Phase]) -> Vec<(String, String)>,
}

const HTTP: &str = "meshspan_http_server_request_duration_milliseconds";
const RPC: &str = "meshspan_rpc_server_duration_milliseconds";

fn good(phase: &Phase) -> f64 {
    phase.good
}

fn bad(phase: &Phase) -> f64 {
    phase.bad
}

/// Bad is what is answered 5xx, whatever the route.
const AVAILABILITY: Subject = Subject {
    slo_id: "checkout-availability",
    factor: 1.0,
    series: |phases| {
        let of = |labels: &str| format!("{HTTP}_count{{{labels}}}");
        let own = |status: u16| of(&format!("service_name=\"checkout\",http_response_status_code=\"{status}\""));
        let with = |status: &str, error: &str| {
            of(&format!("service_name=\"checkout\",http_response_status_code=\"{status}\",error_type=\"{error}\""))
        };
        vec![
            (own(200), counter(phases, |phase| phase.good / 2.0)),
            // The caller's fault.
            (own(404), counter(phases, |phase| phase.good / 4.0)),
            (with("200", "DownstreamConnectionTermination"), counter(phases, |phase| phase.good / 4.0)),
            // An answer that failed, and one that began well.
            (with("503", "503"), counter(phases, |phase| phase.bad / 2.0)),
            (with("200", "UpstreamConnectionTermination"), counter(phases, |phase| phase.bad / 2.0)),
            // Another service, which fails all the time.
            (of("service_name=\"other\",error_type=\"503\""), counter(phases, |_| 1000.0)),
        ]
    },
};

/// Bad is what takes longer than 250 ms; what fails does not count at all.
const LATENCY: Subject = Subject {
    slo_id: "checkout-latency",
    factor: 10.0,
    series: |phases| {
        let own = |part: &str, more: &str| format!("{HTTP}_{part}{{service_name=\"checkout\",{more}}}");
        vec![
            (own("count", "http_response_status_code=\"200\""), counter(phases, |phase| phase.good + phase.bad)),
            (own("bucket", "http_response_status_code=\"200\",le=\"250\""), counter(phases, good)),
            (
                own("bucket", "http_response_status_code=\"200\",le=\"500\""),
                counter(phases, |phase| phase.good + phase.bad),
            ),
            (own("count", "error_type=\"503\""), counter(phases, |_| 500.0)),
            (own("bucket", "error_type=\"503\",le=\"250\""), counter(phases, |_| 0.0)),
        ]
    },
};

/// As [`LATENCY`], with edges as Prometheus 3 writes them.
const LATENCY_3: Subject = Subject {
    slo_id: "checkout-latency",
    factor: 10.0,
    series: |phases| {
        let own = |part: &str, more: &str| format!("{HTTP}_{part}{{service_name=\"checkout\"{more}}}");
        vec![
            (own("count", ""), counter(phases, |phase| phase.good + phase.bad)),
            (own("bucket", ",le=\"250.0\""), counter(phases, good)),
        ]
    },
};

/// Bad is what is answered 5xx on its route; other routes do not count.
const ROUTE: Subject = Subject {
    slo_id: "checkout-place-order",
    factor: 5.0,
    series: |phases| {
        let own =
            |route: &str, more: &str| format!("{HTTP}_count{{service_name=\"checkout\",http_route=\"{route}\"{more}}}");
        vec![
            (own("/orders/{id}", ""), counter(phases, good)),
            (own("/orders/{id}", ",error_type=\"500\""), counter(phases, bad)),
            (own("/other", ",error_type=\"500\""), counter(phases, |_| 1000.0)),
        ]
    },
};

/// Bad are the statuses that blame the server.
const CALLS: Subject = Subject {
    slo_id: "inventory-availability",
    factor: 1.0,
    series: |phases| {
        let own =
            |status: &str| format!("{RPC}_count{{service_name=\"inventory\",rpc_response_status_code=\"{status}\"}}");
        vec![
            (own("OK"), counter(phases, |phase| phase.good / 2.0)),
            (own("NOT_FOUND"), counter(phases, |phase| phase.good / 2.0)),
            (own("INTERNAL"), counter(phases, |phase| phase.bad / 2.0)),
            (own("UNAVAILABLE"), counter(phases, |phase| phase.bad / 2.0)),
        ]
    },
};

/// A test of promtool: the history of a case, and the severities that fire at its end.
fn test(subject: &Subject, (name, phases, severities): &Case) -> Value {
    let more = |phase: &Phase| {
        let bad = phase.bad * subject.factor;
        Phase { good: phase.good + phase.bad - bad, bad, ..*phase }
    };
    // Where nobody calls, nobody fails.
    let phases: Vec<Phase> = phases.iter().map(|phase| if phase.good > 0.0 { more(phase) } else { *phase }).collect();
    let minutes: u64 = phases.iter().map(|phase| phase.minutes).sum();
    let series = (subject.series)(&phases);
    let input: Vec<Value> = series.iter().map(|(series, values)| json!({"series": series, "values": values})).collect();
    let expected: Vec<Value> = severities
        .split(", ")
        .filter(|severity| !severity.is_empty())
        .map(|severity| json!({"labels": format!("{{severity=\"{severity}\"}}"), "value": 1}))
        .collect();
    let query = format!("count by (severity) (ALERTS{{alertstate=\"firing\",slo_id=\"{}\"}})", subject.slo_id);
    json!({
        "name": format!("{}: {name}", subject.slo_id),
        "interval": "1m",
        "input_series": input,
        // A time at which rules are evaluated: promtool forgets alerts after five minutes.
        "promql_expr_test": [{"expr": query, "eval_time": format!("{minutes}m"), "exp_samples": expected}],
    })
}

/// Runs the cases with the objective's part of the shipped rules; the long ones with an evaluation every ten minutes, as
/// promtool takes its time.
fn run(subject: &Subject, cases: Vec<Case>) -> anyhow::Result<()> {
    let Some(programs) = programs(subject.slo_id) else { return Ok(()) };
    let minutes = |phases: &[Phase]| phases.iter().map(|phase| phase.minutes).sum::<u64>();
    let (short, long): (Vec<Case>, Vec<Case>) =
        cases.into_iter().partition(|(_, phases, _)| minutes(phases) < 10 * HOUR);
    for (interval, cases) in [("1m", short), ("10m", long)] {
        let tests: Vec<Value> = cases.iter().map(|case| test(subject, case)).collect();
        test_rules(&programs, &format!("meshspan-slo-{}", subject.slo_id), interval, &tests)?;
    }
    Ok(())
}

/// Runs promtool's tests with one group of the shipped rules.
fn test_rules(programs: &Programs, group: &str, interval: &str, tests: &[Value]) -> anyhow::Result<()> {
    let objectives = SloFile::parse(&std::fs::read_to_string(shipped("prometheus/slo.yaml"))?)?;
    let groups: Vec<Group> = rules(&objectives, Scale::REAL).into_iter().filter(|found| found.name == group).collect();
    anyhow::ensure!(groups.len() == 1, "there is one group {group}");
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("rules.yaml"), yaml("A part of the shipped rules.", &groups))?;
    let file = json!({"rule_files": ["rules.yaml"], "evaluation_interval": interval, "tests": tests});
    let path = folder.path().join("test.json");
    std::fs::write(&path, file.to_string())?;
    programs.run("promtool", &["test", "rules", &path.display().to_string()])?;
    Ok(())
}

#[test]
fn availability_alerts_through_each_window() -> anyhow::Result<()> {
    run(&AVAILABILITY, cases())
}

#[test]
fn others_alert_by_the_same_windows() -> anyhow::Result<()> {
    for subject in [&LATENCY, &LATENCY_3, &ROUTE, &CALLS] {
        let wanted = ["nothing is wrong", "nobody calls", "2 % for an hour", "1 % for six hours"];
        run(subject, cases().into_iter().filter(|(name, ..)| wanted.contains(name)).collect())?;
    }
    Ok(())
}

#[test]
fn the_plain_alert_takes_five_percent_over_half_an_hour_for_ten_minutes() -> anyhow::Result<()> {
    let Some(programs) = programs("the plain alert") else { return Ok(()) };
    let labels = "alertname=\"MeshspanErrorRate\",service=\"shop\",severity=\"page\",slo_id=\"error-rate\"";
    let tests: Vec<Value> = [
        ("6 %, since 38 minutes: not for ten minutes above 5 % over 30", vec![phase(0.0, HOUR), phase(6.0, 33)], false),
        ("6 %, since 40 minutes", vec![phase(0.0, HOUR), phase(6.0, 40)], true),
        ("4.9 %, for hours", vec![phase(4.9, 3 * HOUR)], false),
        ("all of it, for six minutes: over 30 minutes more than 5 % for longer than ten", vec![phase(0.0, HOUR), phase(100.0, 6), phase(0.0, 12)], true),
        ("all of it, a minute long, is not 5 %", vec![phase(0.0, HOUR), phase(100.0, 1), phase(0.0, 20)], false),
        ("10 %, over since half an hour", vec![phase(10.0, HOUR), phase(0.0, 31)], false),
    ]
    .into_iter()
    .flat_map(|(name, phases, fires)| {
        [
            (format!("{HTTP}_count{{service_name=\"shop\",http_request_method=\"GET\",error_type"), ["", "500"], "http"),
            (format!("{RPC}_count{{service_name=\"shop\",rpc_response_status_code"), ["OK", "UNKNOWN"], "rpc"),
        ]
        .map(|(series, [fine, failed], protocol)| {
            let minutes: u64 = phases.iter().map(|phase| phase.minutes).sum();
            let expected = format!("{{alertstate=\"firing\",protocol=\"{protocol}\",__name__=\"ALERTS\",{labels}}}");
            let expected = if fires { json!([{"labels": expected, "value": 1}]) } else { json!([]) };
            json!({
                "name": format!("{protocol}: {name}"),
                "interval": "1m",
                "input_series": [
                    {"series": format!("{series}=\"{fine}\"}}"), "values": counter(&phases, good)},
                    {"series": format!("{series}=\"{failed}\"}}"), "values": counter(&phases, bad)},
                ],
                "promql_expr_test": [{
                    "expr": "ALERTS{alertstate=\"firing\"}", "eval_time": format!("{minutes}m"), "exp_samples": expected,
                }],
            })
        })
    })
    .collect();
    test_rules(&programs, "meshspan-errors", "1m", &tests)
}

/// As it reaches people, to the letter.
#[test]
fn an_alert_says_what_happens_and_leads_to_the_traces() -> anyhow::Result<()> {
    let Some(programs) = programs("an alert's words") else { return Ok(()) };
    let series: Vec<Value> = (AVAILABILITY.series)(&[phase(2.0, HOUR)])
        .iter()
        .map(|(series, values)| json!({"series": series, "values": values}))
        .collect();
    let alert = json!({
        "exp_labels": {"slo_id": "checkout-availability", "service": "checkout", "severity": "page"},
        "exp_annotations": {
            "summary": "checkout burns its error budget (99.9 % succeed)",
            "description": "2% of the requests to checkout miss the objective (99.9 % succeed): the budget burns more than \
                            14.4 times too fast over 1h, or 6 times too fast over 6h.",
            "traces": "http://localhost:16686/search?service=checkout&lookback=1h&limit=20&tags=%7B%22error%22%3A%22true%22%7D",
        },
    });
    let test = json!({
        "interval": "1m",
        "input_series": series,
        "alert_rule_test": [{"eval_time": "1h", "alertname": "MeshspanErrorBudgetBurnsFast", "exp_alerts": [alert]}],
    });
    test_rules(&programs, "meshspan-slo-checkout-availability", "1m", &[test])
}

#[test]
fn the_service_graph_gets_grafanas_names_and_seconds() -> anyhow::Result<()> {
    let Some(programs) = programs("the service graph's names") else { return Ok(()) };
    let edge = "client=\"a\",server=\"b\"";
    let input: Vec<Value> = [
        ("total", "", 7.0),
        ("failed_total", "", 2.0),
        ("server_milliseconds_count", "", 7.0),
        ("server_milliseconds_sum", "", 900.0),
        ("server_milliseconds_bucket", ",le=\"10\"", 3.0),
        ("server_milliseconds_bucket", ",le=\"500\"", 6.0),
        ("server_milliseconds_bucket", ",le=\"+Inf\"", 7.0),
        ("client_milliseconds_bucket", ",le=\"2000.0\"", 5.0),
    ]
    .map(|(name, le, value)| {
        json!({"series": format!("meshspan_service_graph_request_{name}{{{edge}{le}}}"), "values": format!("{value}x5")})
    })
    .to_vec();
    let expected = [
        ("failed_total", "", 2.0),
        ("server_seconds_bucket", ",le=\"+Inf\"", 7.0),
        ("server_seconds_bucket", ",le=\"0.01\"", 3.0),
        ("server_seconds_bucket", ",le=\"0.5\"", 6.0),
        ("server_seconds_count", "", 7.0),
        ("server_seconds_sum", "", 0.9),
        ("client_seconds_bucket", ",le=\"2\"", 5.0),
        ("total", "", 7.0),
    ]
    .map(|(name, le, value)| json!({"labels": format!("traces_service_graph_request_{name}{{{edge}{le}}}"), "value": value}));
    let test = json!({
        "interval": "1m",
        "input_series": input,
        "promql_expr_test": [{"expr": "{__name__=~\"traces_service_graph_.+\"}", "eval_time": "2m", "exp_samples": expected}],
    });
    test_rules(&programs, "meshspan-service-graph", "1m", &[test])
}

#[test]
fn an_exporter_that_gets_no_answer_or_drops_makes_a_ticket() -> anyhow::Result<()> {
    let Some(programs) = programs("the exporters' alerts") else { return Ok(()) };
    let labels = "exporter=\"collector:4317\",instance=\"i\",job=\"envoy\"";
    let tests = [
        ("1x20", "0+2x20", "0x20", &[][..]),
        ("0x20", "0x20", "0x20", &[]),         // nothing to send yet
        ("0x3 1x17", "0+2x20", "0x20", &[]), // back within five minutes
        ("1x3 0x17", "0+2x20", "0x20", &["MeshspanExporterDown"]),
        ("1x20", "0+2x20", "0+5x20", &["MeshspanExporterDrops"]),
    ]
    .map(|(up, requests, dropped, alerts)| {
        let expected: Vec<Value> =
            alerts.iter().map(|name| json!({"labels": format!("{{alertname=\"{name}\"}}"), "value": 1})).collect();
        json!({
            "interval": "1m",
            "input_series": [
                {"series": format!("meshspan_export_up{{{labels},signal=\"traces\"}}"), "values": up},
                {"series": format!("meshspan_export_requests_total{{{labels},answer=\"UNAVAILABLE\",signal=\"traces\"}}"), "values": requests},
                {"series": format!("meshspan_export_dropped_total{{{labels},reason=\"queue_full\",signal=\"traces\"}}"), "values": dropped},
            ],
            "promql_expr_test": [{
                "expr": "count by (alertname) (ALERTS{alertstate=\"firing\"})", "eval_time": "20m", "exp_samples": expected,
            }],
        })
    });
    test_rules(&programs, "meshspan-export", "1m", &tests)
}
