//! Samplers that are put together, from configuration to decision.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::attribute::AttributeValue;
use crate::config::Config;
use crate::shared_data::Alone;

/// A span's attributes, as a test states them.
pub(super) struct Attributes<'a>(pub(super) &'a [(StartAttribute, &'a str)]);

/// A span of which nothing is known.
pub(super) const NO_ATTRIBUTES: Attributes<'_> = Attributes(&[]);

impl StartAttributes for Attributes<'_> {
    fn any(&self, attribute: &StartAttribute, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.iter().any(|(name, value)| name == attribute && test(value.as_bytes()))
    }
}

/// Asks a sampler that shares nothing.
pub(super) trait Ask {
    fn ask(&mut self, input: &SamplingInput<'_>) -> Decision;
}

impl Ask for Sampler {
    fn ask(&mut self, input: &SamplingInput<'_>) -> Decision {
        self.decide(input, &mut Alone)
    }
}

/// A SERVER span to be.
pub(super) fn input<'a>(
    trace_id: u128,
    parent: Parent,
    trace_state: &'a str,
    attributes: &'a dyn StartAttributes,
) -> SamplingInput<'a> {
    SamplingInput {
        trace_id: TraceId::new(trace_id).unwrap(),
        parent,
        trace_state: OtelTraceState::parse(trace_state),
        kind: SpanKind::Server,
        attributes,
        now: 0,
    }
}

/// The sampler that a user's JSON asks for.
pub(super) fn sampler(json: &str, resource: &[Attribute]) -> Sampler {
    let text = format!(
        r#"{{"file_format": "1.1", "tracer_provider": {{"sampler": {json},
            "processors": [{{"batch": {{"exporter": {{"otlp_grpc": null}}}}}}]}}}}"#
    );
    match Config::from_json(text.as_bytes()) {
        Ok(config) => Sampler::new(&config.tracer.unwrap().sampler, resource),
        Err(errors) => panic!("{text}: {errors}"),
    }
}

pub(super) fn composite(json: &str) -> Sampler {
    sampler(&format!(r#"{{"composite/development": {json}}}"#), &[])
}

const SAMPLED: Parent = Parent::Remote(ParentDecision::Sampled);
const NOT_SAMPLED: Parent = Parent::Remote(ParentDecision::NotSampled);
const DEFERRED: Parent = Parent::Remote(ParentDecision::Deferred);

/// Randomness just below a half, and a half.
const LOW: u128 = 0xab_7f_ff_ff_ff_ff_ff_ff;
const HALF: u128 = 0xab_80_00_00_00_00_00_00;

#[test]
#[expect(clippy::type_complexity, reason = "a table")]
fn thresholds_and_what_goes_on() {
    let half = r#"{"probability/development": {"ratio": 0.5}}"#;
    let on = r#"{"composite/development": {"always_on": {}}}"#;
    let off = r#"{"composite/development": {"always_off": {}}}"#;
    let zero = r#"{"probability/development": {"ratio": 0}}"#;
    let follow = r#"{"composite/development": {"parent_threshold": {"root": {"probability": {"ratio": 0.5}}}}}"#;
    let plain = r#"{"parent_based": null}"#;
    let alone = r#"{"always_on": null}"#;
    let ratio = r#"{"trace_id_ratio_based": {"ratio": 1}}"#;
    // sampler, trace id, parent, trace state; sampled, and the threshold that goes on
    let table: &[(&str, u128, Parent, &str, bool, Option<&str>, &str)] = &[
        (half, LOW, Parent::None, "", false, None, "randomness below the threshold"),
        (half, HALF, Parent::None, "", true, Some("8"), "randomness at the threshold"),
        (half, LOW, SAMPLED, "th:0", false, None, "the parent does not count"),
        (half, HALF, NOT_SAMPLED, "", true, Some("8"), "the parent does not count"),
        (half, LOW, SAMPLED, "rv:80000000000000", true, Some("8"), "explicit randomness goes before the id"),
        (half, HALF, SAMPLED, "rv:7fffffffffffff", false, None, "explicit randomness goes before the id"),
        (half, HALF, SAMPLED, "rv:nothing", true, Some("8"), "malformed randomness is none"),
        (zero, HALF, SAMPLED, "rv:ffffffffffffff", false, None, "a ratio of 0 is always_off"),
        (on, LOW, NOT_SAMPLED, "th:8", true, Some("0"), "all, and it says so"),
        (off, HALF, SAMPLED, "th:0", false, None, "none"),
        (follow, HALF, Parent::None, "", true, Some("8"), "no parent: the root"),
        (follow, LOW, Parent::None, "", false, None, "no parent: the root"),
        (follow, HALF, DEFERRED, "", true, Some("8"), "ids, and nothing decided: as a root"),
        (follow, HALF, SAMPLED, "th:8", true, Some("8"), "the parent's threshold"),
        (follow, HALF, SAMPLED, "th:4;rv:40000000000000", true, Some("4"), "the parent's, with its randomness"),
        (follow, LOW, NOT_SAMPLED, "th:8", false, None, "not sampled, and consistent"),
        (follow, LOW, SAMPLED, "", true, None, "sampled by an unknown probability"),
        (follow, HALF, NOT_SAMPLED, "", false, None, "not sampled, whatever the root would say"),
        (follow, LOW, SAMPLED, "th:8", true, None, "a threshold that would not have sampled it: the flag counts"),
        (follow, HALF, NOT_SAMPLED, "th:8", false, None, "a threshold that would have sampled it: the flag counts"),
        (follow, LOW, Parent::Decided(ParentDecision::Sampled), "", true, None, "a decision alone binds"),
        (follow, HALF, Parent::Decided(ParentDecision::NotSampled), "", false, None, "a decision alone binds"),
        (follow, LOW, Parent::Local { sampled: true }, "th:4", true, Some("4"), "a gateway's own span"),
        (follow, HALF, Parent::Local { sampled: false }, "", false, None, "a gateway's own span"),
        (plain, HALF, Parent::None, "", true, None, "the plain samplers state no threshold"),
        (plain, HALF, SAMPLED, "th:8", true, Some("8"), "parent_based passes a consistent one on"),
        (plain, LOW, SAMPLED, "th:8", true, None, "and takes an inconsistent one away"),
        (plain, LOW, NOT_SAMPLED, "th:8", false, None, "not sampled: none"),
        (alone, HALF, SAMPLED, "th:8", true, None, "the parent's probability is not that of always_on"),
        (ratio, HALF, SAMPLED, "th:8", true, None, "nor that of a ratio"),
    ];
    for (json, id, parent, state, sampled, threshold, why) in table {
        let decision = sampler(json, &[]).ask(&input(*id, *parent, state, &NO_ATTRIBUTES));
        let threshold = threshold.map(|threshold| Threshold::parse(threshold.as_bytes()).unwrap());
        assert_eq!((decision.sampled, decision.threshold), (*sampled, threshold), "{json} {parent:?} {state:?}: {why}");
    }
}

#[test]
fn each_decision_tells_its_sampler_and_the_way_to_it() {
    let tree = r#"{"parent_threshold": {"root": {"rule_based": {"rules": [
        {"attribute_values": {"key": "url.path", "values": ["/healthz"]}, "sampler": {"always_off": {}}},
        {"attribute_values": {"key": "url.path", "values": ["/a", "/b", "/c"]}, "sampler": {"rule_based": {"rules": [
            {"attribute_values": {"key": "url.path", "values": ["/a"]}, "sampler": {"always_on": {}}},
            {"attribute_values": {"key": "url.path", "values": ["/b"]}, "sampler": {"probability": {"ratio": 1}}}]}}}]}}}}"#;
    let table = [
        ("/healthz", Parent::None, false, SamplerKind::AlwaysOff, "root.rules[0]", "the first rule"),
        ("/a", Parent::None, true, SamplerKind::AlwaysOn, "root.rules[1].rules[0]", "a rule in a rule"),
        ("/b", Parent::None, true, SamplerKind::Probability, "root.rules[1].rules[1]", "the second of them"),
        ("/c", Parent::None, false, SamplerKind::RuleBased, "root.rules[1]", "no rule of the inner list"),
        ("/d", Parent::None, false, SamplerKind::RuleBased, "root", "no rule of the outer list"),
        ("/healthz", SAMPLED, true, SamplerKind::ParentThreshold, "", "there is a parent"),
    ];
    let mut sampler = composite(tree);
    for (path, parent, sampled, kind, rule, why) in table {
        let attributes = [(StartAttribute::Path, path)];
        let decision = sampler.ask(&input(HALF, parent, "", &Attributes(&attributes)));
        let reason = sampler.reason(decision.reason).unwrap();
        assert_eq!((decision.sampled, reason.sampler, reason.rule.as_str()), (sampled, kind, rule), "{why}");
    }
}

/// A sampler in which the one rule with `conditions` samples.
fn rule(conditions: &str, resource: &[Attribute]) -> Sampler {
    let comma = if conditions.is_empty() { "" } else { ", " };
    let json = format!(
        r#"{{"composite/development": {{"rule_based": {{"rules": [
            {{{conditions}{comma}"sampler": {{"always_on": {{}}}}}}]}}}}}}"#
    );
    sampler(&json, resource)
}

#[test]
#[expect(clippy::type_complexity, reason = "a table")]
fn conditions() {
    use StartAttribute::{Header, Method, Path, ServerPort};
    let tenant = || Header("x-tenant".to_owned());
    let values = r#""attribute_values": {"key": "http.request.method", "values": ["PUT", "POST"]}"#;
    let included = r#""attribute_patterns": {"key": "url.path", "included": ["/api/*", "/v?/x"]}"#;
    let excluded = r#""attribute_patterns": {"key": "url.path", "excluded": ["*.css"]}"#;
    let both = r#""attribute_patterns": {"key": "url.path", "included": ["/api/*"], "excluded": ["*/health"]}"#;
    let port = r#""attribute_patterns": {"key": "server.port", "included": ["8*"]}"#;
    let lines = r#""attribute_values": {"key": "http.request.header.x-tenant", "values": ["b"]}"#;
    let two = r#""attribute_values": {"key": "http.request.method", "values": ["GET"]},
        "attribute_patterns": {"key": "url.path", "included": ["/a"]}"#;
    let table: &[(&str, &[(StartAttribute, &str)], bool, &str)] = &[
        ("", &[], true, "no condition"),
        (values, &[(Method, "POST")], true, "one of the values"),
        (values, &[(Method, "GET")], false, "none of them"),
        (values, &[(Method, "put")], false, "case counts"),
        (values, &[], false, "an attribute that is not there"),
        (included, &[(Path, "/api/users")], true, "a star"),
        (included, &[(Path, "/v2/x")], true, "a question mark"),
        (included, &[(Path, "/v22/x")], false, "one character"),
        (excluded, &[(Path, "/a.html")], true, "nothing included: all but what is excluded"),
        (excluded, &[(Path, "/a.css")], false, "excluded"),
        (excluded, &[], false, "an attribute that is not there"),
        (both, &[(Path, "/api/health")], false, "excluded goes before included"),
        (both, &[(Path, "/api/users")], true, "included and not excluded"),
        (port, &[(ServerPort, "8080")], true, "numbers as texts"),
        (lines, &[(tenant(), "a"), (tenant(), "b")], true, "any of several values"),
        (lines, &[(tenant(), "a,b")], false, "a line is one value"),
        (two, &[(Method, "GET"), (Path, "/a")], true, "both conditions"),
        (two, &[(Method, "GET"), (Path, "/b")], false, "one of two"),
        (two, &[(Method, "PUT"), (Path, "/a")], false, "one of two"),
    ];
    for (conditions, attributes, sampled, why) in table {
        let decision = rule(conditions, &[]).ask(&input(LOW, Parent::None, "", &Attributes(attributes)));
        assert_eq!(decision.sampled, *sampled, "{conditions}: {why}");
    }
}

#[test]
fn kinds_and_parents() {
    let parents = [Parent::None, Parent::Decided(ParentDecision::Sampled), SAMPLED, Parent::Local { sampled: false }];
    let table: &[(&str, SpanKind, [bool; 4], &str)] = &[
        (r#""span_kinds": ["server"]"#, SpanKind::Server, [true; 4], "the kind"),
        (r#""span_kinds": ["client", "consumer"]"#, SpanKind::Server, [false; 4], "other kinds"),
        (r#""span_kinds": ["client", "consumer"]"#, SpanKind::Client, [true; 4], "one of the kinds"),
        (r#""parent": ["none"]"#, SpanKind::Server, [true, true, false, false], "a decision alone is no parent"),
        (r#""parent": ["remote"]"#, SpanKind::Server, [false, false, true, false], "remote"),
        (r#""parent": ["local", "remote"]"#, SpanKind::Client, [false, false, true, true], "one of two"),
    ];
    for (conditions, kind, expected, why) in table {
        for (parent, sampled) in parents.into_iter().zip(expected) {
            let input = SamplingInput { kind: *kind, ..input(LOW, parent, "", &NO_ATTRIBUTES) };
            assert_eq!(rule(conditions, &[]).ask(&input).sampled, *sampled, "{why}: {parent:?}");
        }
    }
}

#[test]
fn the_resource_is_asked_once() {
    let attribute = |name: &str, value: AttributeValue| Attribute { name: name.to_owned(), value };
    let resource = [
        attribute("k8s.namespace.name", AttributeValue::String("shop".to_owned())),
        attribute("service.replicas", AttributeValue::Int(3)),
        attribute("service.zones", AttributeValue::StringArray(vec!["a".to_owned(), "b".to_owned()])),
    ];
    let table = [
        ("k8s.namespace.name", "shop", true, "what the node says"),
        ("k8s.namespace.name", "Shop", false, "case counts"),
        ("k8s.pod.name", "shop", false, "not said"),
        ("service.replicas", "3", true, "a number as text"),
        ("service.zones", "b", true, "one item of a list"),
    ];
    for (key, value, sampled, why) in table {
        let conditions = format!(r#""attribute_values": {{"key": "{key}", "values": ["{value}"]}}"#);
        let mut sampler = rule(&conditions, &resource);
        assert_eq!(sampler.ask(&input(LOW, Parent::None, "", &NO_ATTRIBUTES)).sampled, sampled, "{why}");
        sampler.each_attribute(&mut |attribute| panic!("{attribute:?} is not asked for each span"));
    }
}

#[test]
fn what_rules_ask_for_is_known_beforehand() {
    let asked = |sampler: &Sampler| {
        let mut asked = Vec::new();
        sampler.each_attribute(&mut |attribute| asked.push(attribute.clone()));
        asked
    };
    let text = r#"{"parent_based": {"root": {"composite/development": {"parent_threshold": {"root": {"rule_based": {
        "rules": [
            {"attribute_values": {"key": "http.route", "values": ["/"]},
             "attribute_patterns": {"key": "envoy.route.name"}, "sampler": {"rule_based": {"rules": [
                {"attribute_patterns": {"key": "http.request.header.a"}, "sampler": {"always_on": {}}}]}}}]}}}}}}}"#;
    let expected = [StartAttribute::Route, StartAttribute::RouteName, StartAttribute::Header("a".to_owned())];
    assert_eq!(asked(&sampler(text, &[])), expected);
    assert_eq!(asked(&sampler(r#"{"parent_based": null}"#, &[])), []);
}

#[test]
fn lookups_are_lazy() {
    struct Forbidden;
    impl StartAttributes for Forbidden {
        fn any(&self, attribute: &StartAttribute, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
            panic!("{attribute:?} was asked for")
        }
    }
    let condition = r#""attribute_values": {"key": "url.path", "values": ["/"]}"#;
    let mut client = rule(&format!(r#""span_kinds": ["client"], {condition}"#), &[]);
    assert!(!client.ask(&input(LOW, Parent::None, "", &Forbidden)).sampled, "the kind is looked at first");
    let mut follow = composite(&format!(
        r#"{{"parent_threshold": {{"root": {{"rule_based": {{"rules": [{{{condition}, "sampler": {{"always_on": {{}}}}}}]}}}}}}}}"#
    ));
    assert!(follow.ask(&input(LOW, SAMPLED, "", &Forbidden)).sampled, "a parent needs no rule");
}

#[test]
fn a_rate_stands_wherever_a_sampler_may() {
    let limit = r#"{"rate_limiting": {"spans_per_second": 1, "burst": 2}}"#;
    let table = [
        (limit.to_owned(), "", "alone"),
        (format!(r#"{{"parent_based": {{"root": {limit}}}}}"#), "root", "as a root"),
        (format!(r#"{{"composite/development": {limit}}}"#), "", "in a composite"),
        (
            format!(
                r#"{{"composite/development": {{"rule_based": {{"rules": [
                    {{"parent": ["remote"], "sampler": {{"always_on": {{}}}}}}, {{"sampler": {limit}}}]}}}}}}"#
            ),
            "rules[1]",
            "behind a rule",
        ),
    ];
    for (json, rule, why) in table {
        let mut sampler = sampler(&json, &[]);
        assert!(sampler.needs_time(), "{why}");
        let mut input = SamplingInput { now: 1 << 60, ..input(LOW, Parent::None, "", &NO_ATTRIBUTES) };
        for expected in [true, true, false] {
            let decision = sampler.ask(&input);
            assert_eq!((decision.sampled, decision.threshold), (expected, None), "{why}");
            let reason = sampler.reason(decision.reason).unwrap();
            assert_eq!((reason.sampler, reason.rule.as_str()), (SamplerKind::RateLimiting, rule), "{why}");
        }
        input.now += 1_000_000_000;
        assert!(sampler.ask(&input).sampled, "{why}: a second later");
    }
    assert!(!sampler(r#"{"parent_based": null}"#, &[]).needs_time());
}

#[test]
fn two_places_keep_two_rates_and_two_workers_one() {
    use crate::shared_data::testing::Store;
    let json = r#"{"composite/development": {"rule_based": {"rules": [
        {"span_kinds": ["server"], "sampler": {"rate_limiting": {"spans_per_second": 1}}},
        {"sampler": {"rate_limiting": {"spans_per_second": 1}}}]}}}"#;
    let mut store = Store::default();
    let mut workers = [sampler(json, &[]), sampler(json, &[])];
    let server = SamplingInput { now: 1 << 60, ..input(LOW, Parent::None, "", &NO_ATTRIBUTES) };
    let client = SamplingInput { kind: SpanKind::Client, ..server };
    let mut taken = Vec::new();
    for worker in &mut workers {
        taken.push([server, client].map(|input| worker.decide(&input, &mut store).sampled));
    }
    assert_eq!(taken, [[true, true], [false, false]]);
    assert!(store.values.keys().all(|key| key.starts_with("meshspan.")), "{:?}", store.values.keys());
}
