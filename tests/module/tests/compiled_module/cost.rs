//! What a request costs. Calls, bytes and allocations are exact and stand in a snapshot: whoever makes the module
//! dearer sees it in review. Instructions depend on the compiler too (two toolchains can build the module), so they
//! stand in `fuel.txt`, rounded, and may differ from it by a fifth; `UPDATE_FUEL=1` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meshspan_module_tests::{Cost, Trap, Vm};
use serde_json::json;

use crate::world::{
    REQUEST, SAMPLED, UNSAMPLED, accept, configuration, configured, configured_with, exchange_and_forget, exported,
    flush, request_with,
};

/// How far from `fuel.txt` a build may be, in percent.
const TOLERANCE: u64 = 20;

/// The cost of one such request, from its headers to the deletion of its context.
fn request(vm: &Vm, lines: &[(&str, &str)]) -> Cost {
    warm(vm, |vm| exchange_and_forget(vm, lines))
}

/// The cost of `act` once it is warm: of the second time, when all that is made once has been made.
fn warm(vm: &Vm, act: impl Fn(&Vm) -> Result<(), Trap>) -> Cost {
    act(vm).unwrap();
    vm.take_cost();
    act(vm).unwrap();
    vm.take_cost()
}

fn full_request() -> Vec<(&'static str, &'static str)> {
    request_with(&[
        ("traceparent", SAMPLED),
        ("tracestate", "vendor=abc123,other@system=opaque:value,third=1"),
        ("baggage", "tenant=blue,session=8f2c;ttl=60,region=north"),
        ("x-tenant", "blue"),
        ("x-request-id", "0f2b6f3e-6a49-4a5c-9d1e-2f7c1f3f6a11"),
        ("accept-encoding", "gzip, deflate, br"),
        ("accept-language", "en"),
        ("cache-control", "no-cache"),
        ("cookie", "a=1; b=2; c=3"),
        ("referer", "http://shop.example/carts"),
        ("x-forwarded-for", "192.0.2.10"),
        ("x-envoy-internal", "true"),
        ("content-type", "application/json"),
    ])
}

fn full_configuration() -> String {
    let mut configuration = configuration();
    configuration["instrumentation/development"] = json!({"general": {"http": {"server": {
        "request_captured_headers": ["x-tenant", "x-request-id"],
        "response_captured_headers": ["content-type"]}}}});
    configuration["distribution"] = json!({"meshspan": {
        "routes": ["/users/{id}", "/carts/{id}"], "baggage_attributes": ["tenant"]}});
    configuration.to_string()
}

fn cases() -> Vec<(&'static str, Cost)> {
    let unsampled = request_with(&[("traceparent", UNSAMPLED)]);
    let sampled = request_with(&[("traceparent", SAMPLED)]);
    let full = full_request();
    vec![
        ("unsampled", request(&configured(), &unsampled)),
        ("root", request(&configured(), REQUEST)),
        ("sampled", request(&configured(), &sampled)),
        ("sampled_full", request(&configured_with(&full_configuration()), &full)),
        ("log_alone", warm(&configured(), |vm| vm.stream()?.finish())),
        ("idle_tick", warm(&configured(), Vm::tick)),
        ("export_of_100", export_of(100, &sampled)),
    ]
}

/// The tick that sends a batch of so many spans, and the answer to it.
fn export_of(count: usize, lines: &[(&str, &str)]) -> Cost {
    let vm = configured();
    let fill = || (0..count).try_for_each(|_| exchange_and_forget(&vm, lines)).unwrap();
    fill();
    accept(&vm, &flush(&vm).unwrap()).unwrap();
    fill();
    vm.advance(Duration::from_secs(2));
    vm.take_cost();
    vm.tick().unwrap();
    let calls = vm.take_http_calls();
    assert_eq!(exported(&calls).len(), count);
    accept(&vm, &calls).unwrap();
    vm.take_cost()
}

#[test]
fn calls_bytes_and_allocations() {
    insta::assert_snapshot!(calls(&cases()));
}

/// All of a cost that is exact.
pub(crate) fn calls(cases: &[(&str, Cost)]) -> String {
    let mut text = String::new();
    for (name, cost) in cases {
        writeln!(text, "{name}: {} host calls in {} callbacks", cost.total_host_calls(), cost.callbacks).unwrap();
        for (function, count) in &cost.host_calls {
            writeln!(text, "  {count} x {function}").unwrap();
        }
        writeln!(text, "  bytes in {}, bytes out {}, allocations {}", cost.bytes_in, cost.bytes_out, cost.allocations)
            .unwrap();
    }
    text
}

#[test]
fn instructions() {
    let now: Vec<_> = cases().into_iter().map(|(name, cost)| (name.to_owned(), cost.fuel)).collect();
    assert_instructions("fuel.txt", &now);
}

/// Compares with a file beside this one, or writes it, to three digits that count.
pub(crate) fn assert_instructions(file: &str, now: &[(String, u64)]) {
    let now: BTreeMap<&str, u64> = now.iter().map(|(name, fuel)| (name.as_str(), *fuel)).collect();
    if std::env::var_os("UPDATE_FUEL").is_some() {
        let text = now.iter().fold(String::new(), |text, (name, fuel)| format!("{text}{name} {}\n", rounded(*fuel, 3)));
        std::fs::write(fuel_path(file), text).unwrap();
    }
    let before = fuel_file(file);
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        now.keys().collect::<Vec<_>>(),
        "the cases of {file}: UPDATE_FUEL=1 writes it anew"
    );
    for (name, &fuel) in &now {
        let wanted = before[*name];
        assert!(
            fuel.abs_diff(wanted) * 100 <= wanted * TOLERANCE,
            "{name}: {fuel} instructions, {wanted} in {file}; UPDATE_FUEL=1 accepts: {now:#?}"
        );
    }
}

fn fuel_path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compiled_module").join(file)
}

/// What such a file says.
pub(crate) fn fuel_file(file: &str) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(fuel_path(file))
        .unwrap_or_else(|error| panic!("{file}: {error}; UPDATE_FUEL=1 writes it"));
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(name, fuel)| (name.to_owned(), fuel.parse().expect("a number behind the name"))).collect()
}

/// To so many digits that count.
pub(crate) fn rounded(fuel: u64, digits: u32) -> u64 {
    let unit = 10_u64.pow((fuel.max(1).ilog10() + 1).saturating_sub(digits));
    (fuel + unit / 2) / unit * unit
}
