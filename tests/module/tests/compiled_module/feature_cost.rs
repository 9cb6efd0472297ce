//! What single features cost a stream, for `docs/benchmarks.md`: each sampler a stream that it does not record, and
//! masking one that is recorded. The tables there are checked here; `UPDATE_FUEL=1` writes them anew.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use meshspan_module_tests::{Cost, HttpResponse, Scanner, Vm};
use serde_json::{Value, json};

use crate::cost::{assert_instructions, calls, figures_file, rounded, steady};
use crate::page::assert_page;
use crate::world::{REQUEST, UNSAMPLED, configuration, configured_with, exchange, exchange_and_forget, request_with};

const FUEL: &str = "feature_fuel.txt";
const REGEX_FUEL: &str = "regex_fuel.txt";

/// Where the crate `regex` stands as a wasm guest; `cargo xtask test` says.
const SCANNER: &str = "MESHSPAN_REGEX_WASM";

/// A name, and a cost.
type Case = (&'static str, Cost);

/// The same, and the request's query.
type Query = (&'static str, &'static str, Cost);

/// Every sampler, with what comes of a stream that it does not record.
fn samplers() -> Vec<Case> {
    let rule = json!({"composite/development": {"rule_based": {"rules": [
        {"attribute_patterns": {"key": "url.path", "included": ["/carts/*"]}, "sampler": {"always_off": {}}},
        {"sampler": {"always_on": {}}}]}}});
    let remote = json!({"jaeger_remote/development": {
        "endpoint": "http://collector:5778/sampling", "initial_sampler": {"always_off": {}}}});
    let probability = json!({"composite/development": {"probability": {"ratio": 0}}});
    let keep = json!({"keep": {"errors": true, "slower_than": 1000, "slower_than_route_p95": true}});
    let force = json!({"force": {"trusted": {"internal": true}}});
    let (off, none) = (json!({"always_off": {}}), json!({}));
    let case = |name, sampler: &Value, distribution: &Value| (name, unsampled(sampler, distribution, REQUEST));
    vec![
        case("always_off", &off, &none),
        (
            "parent_based, unsampled parent",
            unsampled(&json!({"parent_based": {}}), &none, &request_with(&[("traceparent", UNSAMPLED)])),
        ),
        case("trace_id_ratio_based, 0", &json!({"trace_id_ratio_based": {"ratio": 0}}), &none),
        case("probability/development, 0", &json!({"probability/development": {"ratio": 0}}), &none),
        case("composite: probability, 0", &probability, &none),
        case("composite: a rule on the path", &rule, &none),
        case("rate_limiting, over its rate", &json!({"rate_limiting": {"spans_per_second": 1, "burst": 1}}), &none),
        case("jaeger_remote, told 0", &remote, &none),
        case("adaptive, over its rate", &json!({"adaptive": {"traces_per_second": 1, "floor": 0}}), &none),
        case("always_off and keep", &off, &keep),
        case("always_off and force", &off, &force),
    ]
}

/// The cost of a stream that this sampler does not record, once it has seen a hundred.
fn unsampled(sampler: &Value, distribution: &Value, request: &[(&str, &str)]) -> Cost {
    let mut configuration = configuration();
    configuration["tracer_provider"]["sampler"] = sampler.clone();
    configuration["distribution"]["meshspan"] = distribution.clone();
    let vm = configured_with(&configuration.to_string());
    tell(&vm);
    // What adapts does so from one second to the next.
    for _ in 0..10 {
        (0..10).try_for_each(|_| exchange_and_forget(&vm, request)).unwrap();
        vm.advance(Duration::from_millis(500));
        vm.tick().unwrap();
        tell(&vm);
    }
    exchange_and_forget(&vm, request).unwrap();
    vm.take_cost();
    let stream = exchange(&vm, request).unwrap();
    let context = stream.upstream_header("traceparent").remove(0);
    stream.delete().unwrap();
    let flags = u8::from_str_radix(&context[context.len() - 2..], 16).unwrap();
    assert_eq!(flags & 1, 0, "{sampler}: the stream is not sampled, as {context} says");
    vm.take_cost()
}

/// Answers a remote sampler's question: no trace at all. Other calls stay without an answer.
fn tell(vm: &Vm) {
    vm.tick().unwrap();
    for call in vm.take_http_calls() {
        let body = br#"{"strategyType":"PROBABILISTIC","probabilisticSampling":{"samplingRate":0}}"#.to_vec();
        let headers = vec![(b":status".to_vec(), b"200".to_vec())];
        if call.header(":path").is_some_and(|path| path.starts_with("/sampling")) {
            vm.respond(call.token, HttpResponse { headers, body, ..HttpResponse::default() }).unwrap();
        }
    }
}

/// A recorded stream, with a query of one length that says different things to masking.
fn masking() -> Vec<Query> {
    let off: serde_json::Map<String, Value> = DETECTORS.iter().map(|name| ((*name).to_owned(), false.into())).collect();
    let off = json!({"detectors": off});
    let hash = json!({"detectors": {"cn_mobile_number": "hash"}, "hash_key": "a key of sixteen"});
    let pattern = json!({"patterns": [{"name": "employee", "regex": "EMP-[0-9]{6}"}]});
    let field = json!({"fields": [{"query_parameters": ["tel"]}]});
    let case = |name, masking: &Value, query| (name, query, recorded(masking, query));
    vec![
        case("no detector on", &off, "tel=shop-page-a"),
        case("nothing found", &json!({}), "tel=shop-page-a"),
        case("nothing found, percent-encoded", &json!({}), "tel=shop%20pagea"),
        case("a long number that is none", &json!({}), "tel=10000000001"),
        case("a mobile number", &json!({}), "tel=13812345678"),
        case("a mobile number, hashed", &hash, "tel=13812345678"),
        case("a mobile number, percent-encoded", &json!({}), "tel=%313812345678"),
        case("an e-mail address", &json!({}), "tel=a.b@shop.com"),
        case("a field by its name", &field, "tel=shop-page-a"),
        case("a pattern that fits nothing", &pattern, "tel=shop-page-a"),
        case("a pattern that fits", &pattern, "tel=EMP-1234567"),
    ]
}

/// As configuration has them.
const DETECTORS: &[&str] = &[
    "private_key",
    "url_credentials",
    "http_credentials",
    "jwt",
    "aws_access_key",
    "gcp_key",
    "github_token",
    "slack_token",
    "stripe_key",
    "email",
    "iban",
    "cn_resident_id",
    "payment_card",
    "cn_mobile_number",
    "us_ssn",
];

fn recorded(masking: &Value, query: &str) -> Cost {
    let mut configuration = configuration();
    configuration["distribution"]["meshspan"]["masking"] = masking.clone();
    let vm = configured_with(&configuration.to_string());
    let target = format!("/carts/17?{query}");
    let lines: Vec<_> =
        REQUEST.iter().map(|(name, value)| (*name, if *name == ":path" { &*target } else { *value })).collect();
    steady(&vm, |vm| exchange_and_forget(vm, &lines).map(|()| true)).cost
}

#[test]
fn calls_of_each_sampler() {
    insta::assert_snapshot!(calls(&samplers()));
}

#[test]
fn the_page_says_what_features_cost() {
    let (samplers, masking) = (samplers(), masking());
    let key = |name: &str| name.replace([' ', ','], "_");
    let mut all: Vec<_> = samplers.iter().map(|(name, cost)| (key(name), cost.fuel)).collect();
    all.extend(masking.iter().map(|(name, _, cost)| (key(name), cost.fuel)));
    assert_instructions(FUEL, &all);
    let of_regex = |query: &str| format!("regex:{query}");
    match std::env::var_os(SCANNER) {
        Some(file) => {
            let found = scanned(Path::new(&file), &masking);
            assert_instructions(REGEX_FUEL, &found.map(|(query, fuel)| (of_regex(query), fuel)).collect::<Vec<_>>());
        }
        None => eprintln!("skipped: no {SCANNER}, so the crate regex is not measured; cargo xtask test builds it"),
    }
    let (known, known_of_regex) = (figures_file(FUEL), figures_file(REGEX_FUEL));
    let fuel = |name: &str| known[&key(name)];
    let mut expected = [(
        "sampler instructions",
        "| sampler | host calls | of them, into shared data | instructions | over `always_off` |\n|---|---:|---:|---:|---:|\n"
            .to_owned(),
    ), ("masking instructions", "| the request's query | instructions | over no detector | `RegexSet` on the query alone |\n|---|---:|---:|---:|\n".to_owned())];
    for (name, cost) in &samplers {
        let shared: u64 = cost.host_calls.iter().filter(|(call, _)| call.contains("shared_data")).map(|(_, n)| n).sum();
        let over = signed(fuel(name), fuel("always_off"));
        let _ =
            writeln!(expected[0].1, "| {name} | {} | {shared} | {} | {over} |", cost.total_host_calls(), fuel(name));
    }
    for (name, query, _) in &masking {
        let over = signed(fuel(name), fuel("no detector on"));
        let regex = known_of_regex[&of_regex(query)];
        let _ = writeln!(expected[1].1, "| {name} | {} | {over} | {regex} |", fuel(name));
    }
    for (section, table) in &expected {
        assert_page(section, table);
    }
}

/// The instructions that the crate `regex` takes for each query once.
fn scanned(file: &Path, masking: &[Query]) -> impl Iterator<Item = (&'static str, u64)> {
    let mut scanner = Scanner::start(file).unwrap();
    let finds = scanner.matches("tel=13812345678").unwrap().0;
    assert!(finds > 0 && finds < 10, "it finds a mobile number: {finds}");
    let queries: std::collections::BTreeSet<_> = masking.iter().map(|(_, query, _)| *query).collect();
    queries.into_iter().map(move |query| {
        scanner.matches(query).unwrap();
        (query, scanner.matches(query).unwrap().1)
    })
}

/// A difference with its sign.
fn signed(fuel: u64, base: u64) -> String {
    match (fuel.checked_sub(base), base.checked_sub(fuel)) {
        (Some(0), _) => "–".to_owned(),
        (Some(more), _) => format!("+{}", rounded(more, 2)),
        (_, Some(less)) => format!("-{}", rounded(less, 2)),
        (None, None) => unreachable!("one of two is not the smaller"),
    }
}
