//! What the rules of an objective say.

use meshspan_slo::{Group, Rule, Scale, SloFile, rules, yaml};

fn groups(slo: &str, link: &str, scale: Scale) -> Vec<Group> {
    let file = SloFile::parse(&format!("{{slos: [{slo}], trace_link: {link}}}")).unwrap();
    rules(&file, scale)
}

const CHECKOUT: &str = "{id: a, service: checkout, route: '/orders/{id}', objective: 99.9, kind: availability}";
const JAEGER: &str = "{jaeger: 'http://j'}";

/// Name, expression, annotations.
type Alert = (&'static str, String, Vec<(&'static str, String)>);

/// The alerts of the first group.
fn alerts(groups: &[Group]) -> Vec<Alert> {
    let alert = |rule: &Rule| match rule {
        Rule::Alert { name, expression, annotations, .. } => Some((*name, expression.clone(), annotations.clone())),
        Rule::Record { .. } => None,
    };
    groups[0].rules.iter().filter_map(alert).collect()
}

fn link(slo: &str, link: &str) -> String {
    let alerts = alerts(&groups(slo, link, Scale::REAL));
    alerts[0].2.iter().find(|(key, _)| *key == "traces").map(|(_, text)| text.clone()).unwrap_or_default()
}

/// The shipped rules are what the shipped file of objectives makes.
#[test]
fn the_shipped_rules_are_made_of_the_shipped_objectives() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../envoy-config/prometheus");
    let read = |name: &str| std::fs::read_to_string(format!("{folder}/{name}")).unwrap();
    let comment = "Made from slo.yaml by meshspan-slo (`cargo xtask slo`): change that file, and make this one again.";
    let made = yaml(comment, &rules(&SloFile::parse(&read("slo.yaml")).unwrap(), Scale::REAL));
    assert!(made == read("meshspan.rules.yaml"), "run `cargo xtask slo` as slo.yaml's first comment says");
}

#[test]
fn an_alert_has_its_windows_and_rates() {
    for (scale, page, ticket) in [
        (Scale::REAL, [("1h", "5m", "14.4"), ("6h", "30m", "6")], [("1d", "2h", "3"), ("3d", "6h", "1")]),
        (Scale::shorter_by(60), [("1m", "5s", "14.4"), ("6m", "30s", "6")], [("24m", "2m", "3"), ("72m", "6m", "1")]),
    ] {
        let alerts = alerts(&groups(CHECKOUT, JAEGER, scale));
        let named = [("MeshspanErrorBudgetBurnsFast", page), ("MeshspanErrorBudgetBurns", ticket)];
        assert_eq!(alerts.len(), named.len());
        for ((name, expression, _), (expected, burns)) in alerts.iter().zip(named) {
            let conditions = burns.map(|(long, short, rate)| {
                let over = |window| format!("slo:error_ratio:rate{window}{{slo_id=\"a\"}} > {rate} * 0.001");
                format!("(\n  {}\nand\n  {}\n)", over(long), over(short))
            });
            assert_eq!((*name, expression.as_str()), (expected, conditions.join("\nor\n").as_str()));
        }
    }
}

#[test]
fn a_rate_that_no_share_of_errors_can_reach_is_left_out() {
    for (objective, names) in [
        ("99", "14.4 6 | 3 1"),
        ("93", "6 | 3 1"), // 14.4 times 7 % is more than all
        ("80", "3 1"),     // as is 6 times 20 %: nothing pages
        ("60", "1"),
    ] {
        let slo = CHECKOUT.replace("99.9", objective);
        let rates = |expression: &str| {
            let found =
                ["14.4", "6", "3", "1"].into_iter().filter(|rate| expression.contains(&format!("> {rate} * 0.")));
            found.collect::<Vec<_>>().join(" ")
        };
        let alerts = alerts(&groups(&slo, JAEGER, Scale::REAL));
        let found: Vec<String> = alerts.iter().map(|(_, expression, _)| rates(expression)).collect();
        assert_eq!(found.join(" | "), names, "objective {objective}");
    }
}

#[test]
fn names_are_quoted_wherever_they_go() {
    let slo = r#"{id: a, service: 'it''s "x" {{y}}', objective: 99.9, kind: availability}"#;
    let text = yaml("x", &groups(slo, "{jaeger: 'http://j'}", Scale::REAL));
    assert!(text.contains(r#"{service_name="it's \"x\" {{y}}"}"#), "PromQL escapes the quotes");
    assert!(text.contains(r#"service: 'it''s "x" {{ "{{" }}y}}'"#), "a label is a template, in YAML");
    assert!(text.contains("service=it%27s%20%22x%22%20%7B%7By%7D%7D&"), "an address is encoded");
}

#[test]
fn a_link_opens_the_traces_of_those_requests() {
    let latency = CHECKOUT.replace("availability", "latency, threshold: 250");
    let rpc = CHECKOUT.replace("'/orders/{id}'", "p.S/M, protocol: rpc");
    let grafana = "{grafana: {url: 'http://g', datasource: tempo}}";
    let template = "{template: 'http://x?s={service}&r={route}&d={min_duration}'}";
    let decoded = |text: &str| {
        let (begin, rest) = text.split_once('%').unwrap_or((text, ""));
        let mut bytes = begin.as_bytes().to_vec();
        for part in rest.split('%').filter(|part| !part.is_empty()) {
            bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
            bytes.extend_from_slice(&part.as_bytes()[2..]);
        }
        String::from_utf8(bytes).unwrap()
    };
    for (slo, target, expected) in [
        (
            CHECKOUT,
            JAEGER,
            r#"http://j/search?service=checkout&lookback=1h&limit=20&tags={"error":"true","http.route":"/orders/{id}"}"#,
        ),
        (
            &latency,
            JAEGER,
            r#"http://j/search?service=checkout&lookback=1h&limit=20&tags={"http.route":"/orders/{id}"}&minDuration=250ms"#,
        ),
        (
            &rpc,
            JAEGER,
            r#"http://j/search?service=checkout&lookback=1h&limit=20&tags={"error":"true","rpc.method":"p.S/M"}"#,
        ),
        (
            CHECKOUT,
            grafana,
            r#"http://g/explore?schemaVersion=1&panes={"a":{"datasource":"tempo","queries":[{"refId":"A","datasource":{"type":"tempo","uid":"tempo"},"queryType":"traceql","query":"{resource.service.name=\"checkout\" && span.http.route=\"/orders/{id}\" && status=error}"}],"range":{"from":"now-1h","to":"now"}}}"#,
        ),
        (CHECKOUT, template, "http://x?s=checkout&r=/orders/{id}&d="),
        (&latency, template, "http://x?s=checkout&r=/orders/{id}&d=250ms"),
    ] {
        assert_eq!(decoded(&link(slo, target)), expected);
    }
    assert!(!link(CHECKOUT, JAEGER).contains(['{', '"', ' ']), "nothing is left that an address cannot hold");
}

#[test]
fn without_a_link_there_is_none() {
    let file = SloFile::parse(&format!("slos: [{CHECKOUT}]")).unwrap();
    assert!(!yaml("x", &rules(&file, Scale::REAL)).contains("traces:"));
}
