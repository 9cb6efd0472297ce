//! Files that are right, and files that are not, with every mistake and its place.

use meshspan_slo::{Kind, Protocol, SloFile, TraceLink};

const GOOD: &str = "{id: a, service: checkout, objective: 99.9, kind: availability}";

#[test]
fn a_file_may_be_yaml_or_json() {
    let yaml = "slos:\n- id: a\n  service: checkout\n  objective: 99\n  kind: latency\n  threshold: 0.25s\n  protocol: rpc\n  route: p.S/M\n";
    let json = r#"{"slos": [{"id": "a", "service": "checkout", "objective": 99.0, "kind": "latency", "threshold": "250ms",
                   "protocol": "rpc", "route": "p.S/M"}]}"#;
    let file = SloFile::parse(yaml).unwrap();
    assert_eq!(SloFile::parse(json).unwrap(), file);
    let slo = &file.slos[0];
    assert_eq!((slo.kind, slo.protocol, slo.route.as_deref()), (Kind::Latency(250), Protocol::Rpc, Some("p.S/M")));
}

#[test]
fn what_is_allowed() {
    for (change, why) in [
        (("99.9", "50"), "half is an objective, if a low one"),
        (("99.9", "99.9999"), "as is nearly everything"),
        (("id: a", "id: A-1_b"), "letters, digits, - and _"),
        (("checkout", "\"it's: {my} \\\"shop\\\" äöü\""), "a service may have any name on one line"),
        (("availability", "latency, threshold: 5"), "the lowest edge, as a number of milliseconds"),
        (("availability", "latency, threshold: 10s"), "the highest edge"),
        (("availability", "availability, route: '/a/{id}'"), "a route"),
    ] {
        let text = format!("slos: [{}]", GOOD.replace(change.0, change.1));
        assert!(SloFile::parse(&text).is_ok(), "{why}: {text}: {:?}", SloFile::parse(&text));
    }
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let slo = |from: &str, to: &str| format!("slos: [{GOOD}, {}]", GOOD.replace("id: a", "id: b").replace(from, to));
    let with_link = |link: &str| format!("{{slos: [{GOOD}], trace_link: {link}}}");
    let cases: Vec<(String, &[&str])> = vec![
        (String::new(), &["nothing stands here; it must be a mapping with slos and trace_link"]),
        ("[]".to_owned(), &["an empty list stands here; it must be a mapping with slos and trace_link"]),
        ("slos: {".to_owned(), &["this is not YAML: "]),
        ("slos: [{id: a, id: b}]".to_owned(), &["this is not YAML: slos[0]: duplicate entry with key \"id\""]),
        ("{}".to_owned(), &["slos: is missing; it is the list of SLOs"]),
        ("slos: []".to_owned(), &["slos: an empty list stands here; it must be a list of at least one SLO"]),
        ("slos: [7]".to_owned(), &["slos[0]: 7 stands here; it must be a mapping with id, "]),
        (format!("{{sloss: 1, slos: [{GOOD}]}}"), &["sloss: is not a known key; did you mean `slos`?"]),
        (slo("kind:", "treshold: 1, kind:"), &["slos[1].treshold: is not a known key; did you mean `threshold`?"]),
        (slo("kind:", "owner: me, kind:"), &["slos[1].owner: is not a known key; known are id, service, route, "]),
        (slo("id: b, ", ""), &["slos[1].id: is missing"]),
        (slo("id: b", "id: a"), &["slos[1].id: \"a\" is the id of another SLO above; ids must differ"]),
        (slo("id: b", "id: a b"), &["slos[1].id: \"a b\" stands here; an id is made of letters, digits, - and _"]),
        (slo("id: b", "id: 7"), &["slos[1].id: 7 stands here; it must be text on one line, and not empty"]),
        (slo("checkout", "''"), &["slos[1].service: \"\" stands here; it must be text on one line"]),
        (slo("checkout", "\"a\\nb\""), &["slos[1].service: \"a\\nb\" stands here; it must be text on one line"]),
        (slo("kind:", "route: [a], kind:"), &["slos[1].route: a list stands here; it must be text"]),
        (slo("99.9", "100"), &["slos[1].objective: 100 stands here; it must be a number of percent, greater than 0"]),
        (slo("99.9", "0"), &["slos[1].objective: 0 stands here"]),
        (slo("99.9", "-1"), &["slos[1].objective: -1 stands here"]),
        (slo("99.9", ".nan"), &["slos[1].objective: .nan stands here"]),
        (slo("99.9", "'99.9'"), &["slos[1].objective: \"99.9\" stands here; it must be a number"]),
        (
            slo("availability", "uptime"),
            &["slos[1].kind: \"uptime\" stands here; allowed are availability and latency"],
        ),
        (
            slo("availability", "availability, protocol: grpc"),
            &["slos[1].protocol: \"grpc\" stands here; allowed are http and rpc"],
        ),
        (slo("availability", "latency"), &["slos[1].threshold: is missing; a latency SLO needs the duration"]),
        (
            slo("availability", "availability, threshold: 5"),
            &["slos[1].threshold: only an SLO of kind latency has one"],
        ),
        (
            slo("availability", "latency, threshold: 300ms"),
            &[
                "slos[1].threshold: \"300ms\" stands here; it must be one of the histogram's edges, in milliseconds: 5, 10, 25",
            ],
        ),
        (slo("availability", "latency, threshold: 1m"), &["slos[1].threshold: \"1m\" stands here"]),
        (with_link("http://x"), &["trace_link: \"http://x\" stands here; it must be a mapping"]),
        (with_link("{}"), &["trace_link: nothing stands here; it must be one of jaeger, grafana and template"]),
        (with_link("{jaeger: 'http://x', template: 'http://x'}"), &["trace_link: jaeger and template stands here"]),
        (with_link("{jaeger: 'ftp://x'}"), &["trace_link.jaeger: \"ftp://x\" stands here; it must be an address"]),
        (with_link("{grafana: {url: 'http://x'}}"), &["trace_link.grafana.datasource: nothing stands here"]),
        // All of them, in order.
        (
            "slos: [{id: a, objective: 100, kind: x}, {id: a}]".to_owned(),
            &[
                "slos[0].service: is missing",
                "slos[0].objective: 100",
                "slos[0].kind: \"x\"",
                "slos[1].service: is missing",
                "slos[1].objective: is missing",
                "slos[1].kind: is missing",
                "slos[1].id: \"a\" is the id of another",
            ],
        ),
    ];
    let mut wrong = Vec::new();
    for (text, expected) in cases {
        let told: Vec<String> = match SloFile::parse(&text) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes.to_string().lines().skip(1).map(|line| line.trim_start().to_owned()).collect(),
        };
        let right =
            told.len() == expected.len() && told.iter().zip(expected).all(|(told, begin)| told.starts_with(begin));
        if !right {
            wrong.push(format!("{text}\n  told:     {told:#?}\n  expected: {expected:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_link_is_one_of_three() {
    for (link, expected) in [
        ("{jaeger: 'http://jaeger:16686/'}", TraceLink::Jaeger("http://jaeger:16686".to_owned())),
        (
            "{grafana: {url: 'https://g', datasource: tempo}}",
            TraceLink::Grafana { url: "https://g".to_owned(), datasource: "tempo".to_owned() },
        ),
        ("{template: 'https://x/?s={service}'}", TraceLink::Template("https://x/?s={service}".to_owned())),
    ] {
        let file = SloFile::parse(&format!("{{slos: [{GOOD}], trace_link: {link}}}")).unwrap();
        assert_eq!(file.trace_link, Some(expected));
    }
}
