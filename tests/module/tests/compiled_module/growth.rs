//! How a request's cost grows: with its header lines, with the attributes that are exported of them, and with the
//! number of route templates. The table in `docs/benchmarks.md` is checked here; `UPDATE_FUEL=1` writes it anew.

use std::fmt::Write;
use std::sync::OnceLock;

use meshspan_module_tests::Cost;
use serde_json::{Value, json};

use crate::cost::{assert_instructions, figures_file, steady};
use crate::page::assert_page;
use crate::world::{REQUEST, SAMPLED, UNSAMPLED, configuration, configured_with, exchange_and_forget};

const FUEL: &str = "growth_fuel.txt";

/// One request of a table: in which table and row it stands, and what it cost.
struct Case {
    table: &'static str,
    count: usize,
    cost: Cost,
}

impl Case {
    fn name(&self) -> String {
        format!("{}:{}", self.table, self.count)
    }
}

/// Instructions that a header line may cost that nothing is about.
const LINE: u64 = 200;

/// What a request with 50 header lines may cost, in percent of one with 5.
const FLAT: u64 = 150;

/// Header lines beside the pseudo-headers, the context's among them.
const LINES: [usize; 4] = [5, 10, 20, 50];
/// Header lines that become an attribute each.
const CAPTURED: [usize; 4] = [0, 10, 20, 40];
/// The same of headers whose names are as long as each other.
const ALIKE: [usize; 2] = [0, 40];
/// Templates, of which the request follows the last.
const ROUTES: [usize; 3] = [1, 100, 10_000];

fn cases() -> Vec<Case> {
    let lines = |count, context| measured(&configuration(), &request(count, context, header_name));
    let captured = |count, name: fn(usize) -> String| {
        let mut configuration = configuration();
        if count > 0 {
            let names: Vec<String> = (0..count).map(name).collect();
            configuration["instrumentation/development"] =
                json!({"general": {"http": {"server": {"request_captured_headers": names}}}});
        }
        measured(&configuration, &request(50, SAMPLED, name))
    };
    let routes = |count, context| {
        let mut configuration = configuration();
        // Half of them begin with a segment of their own, so that there are thousands where the request begins.
        let template = |n: usize| match n % 2 {
            0 => format!("/service-{}/area-{n}/{{id}}", n % 50),
            _ => format!("/section-{n}/{{id}}"),
        };
        let mut templates: Vec<String> = (1..count).map(template).collect();
        templates.push("/carts/{id}".to_owned());
        configuration["distribution"] = json!({"meshspan": {"routes": templates}});
        measured(&configuration, &request(10, context, header_name))
    };
    let case = |table, count, cost| Case { table, count, cost };
    let mut cases = Vec::new();
    cases.extend(LINES.map(|count| case("unsampled", count, lines(count, UNSAMPLED))));
    cases.extend(LINES.map(|count| case("sampled", count, lines(count, SAMPLED))));
    cases.extend(CAPTURED.map(|count| case("captured", count, captured(count, header_name))));
    cases.extend(ALIKE.map(|count| case("captured_differ_first", count, captured(count, differs_first))));
    cases.extend(ALIKE.map(|count| case("captured_differ_last", count, captured(count, differs_last))));
    cases.extend(ROUTES.map(|count| case("routes_unsampled", count, routes(count, UNSAMPLED))));
    cases.extend(ROUTES.map(|count| case("routes_sampled", count, routes(count, SAMPLED))));
    cases
}

/// What a request costs under such a configuration.
fn measured(configuration: &Value, request: &[(String, String)]) -> Cost {
    let vm = configured_with(&configuration.to_string());
    steady(&vm, |vm| exchange_and_forget(vm, request).map(|()| true)).cost
}

/// The usual request with a context, and so many header lines in all beside its four pseudo-headers.
fn request(count: usize, context: &str, name: fn(usize) -> String) -> Vec<(String, String)> {
    let owned = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut lines: Vec<_> = REQUEST.iter().map(|(name, value)| owned(name, value)).collect();
    lines.push(owned("traceparent", context));
    let pseudo = lines.iter().filter(|(name, _)| name.starts_with(':')).count();
    let more = pseudo + count - lines.len();
    lines.extend((0..more).map(|n| (name(n), format!("value-{n}-of-some-length"))));
    lines
}

/// A header that nothing but capturing is about. Their lengths differ as those of real ones do.
fn header_name(number: usize) -> String {
    const WORDS: [&str; 7] = ["id", "tenant", "page", "currency", "experiment", "zone", "client-version"];
    format!("x-{}-{number:02}", WORDS[number % WORDS.len()])
}

/// Names that two bytes at the beginning tell apart.
fn differs_first(number: usize) -> String {
    format!("x-{number:02}-of-the-shop-s-own-headers")
}

/// Names that two bytes at the end tell apart.
fn differs_last(number: usize) -> String {
    format!("x-of-the-shop-s-own-headers-{number:02}")
}

/// All cases, measured once for all tests.
fn measured_cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(cases)
}

/// The instructions of one case.
fn instructions(table: &str, count: usize) -> u64 {
    measured_cases().iter().find(|case| (case.table, case.count) == (table, count)).unwrap().cost.fuel
}

/// The instructions that each one more costs.
fn each(table: &str, from: usize, to: usize) -> u64 {
    instructions(table, to).saturating_sub(instructions(table, from)) / u64::try_from(to - from).unwrap()
}

#[test]
fn host_calls_do_not_grow() {
    for case in measured_cases() {
        let base = &measured_cases().iter().find(|base| base.table == case.table).unwrap().cost;
        assert_eq!(case.cost.host_calls, base.host_calls, "{}: the same calls, whatever it is", case.name());
        assert_eq!(case.cost.memory_requests, base.memory_requests, "{}: the same number of answers", case.name());
    }
}

#[test]
fn a_header_that_nothing_is_about_is_read_past() {
    for table in ["unsampled", "sampled"] {
        let line = each(table, LINES[0], LINES[3]);
        assert!(line <= LINE, "{table}: {line} instructions for each header line, at most {LINE}");
        let (few, many) = (instructions(table, LINES[0]), instructions(table, LINES[3]));
        assert!(many * 100 <= few * FLAT, "{table}: {many} instructions with 50 header lines, {few} with 5");
    }
}

#[test]
fn no_attribute_makes_another_one_dearer() {
    let (few, many) = (each("captured", 0, 10), each("captured", 20, 40));
    assert!(many * 100 <= few * 120, "each of the last twenty attributes costs {many}, each of the first ten {few}");
}

#[test]
fn names_that_begin_alike_cost_what_others_do() {
    let (first, last) = (each("captured_differ_first", 0, 40), each("captured_differ_last", 0, 40));
    assert!(
        last * 100 <= first * 120,
        "each attribute costs {last} where headers' names differ at the end, {first} where they differ at the beginning"
    );
}

#[test]
fn ten_thousand_routes_cost_what_one_does() {
    for table in ["routes_unsampled", "routes_sampled"] {
        let (one, most) = (instructions(table, 1), instructions(table, 10_000));
        assert!(most * 100 <= one * 105, "{table}: {most} instructions with 10,000 templates, {one} with one");
    }
}

#[test]
fn the_page_says_how_cost_grows() {
    let cases = measured_cases();
    let now: Vec<_> = cases.iter().map(|case| (case.name(), case.cost.fuel)).collect();
    assert_instructions(FUEL, &now);
    assert_page("growth instructions", &table(cases));
}

/// The table of the page: the instructions of [`FUEL`], and the rest as it is.
fn table(cases: &[Case]) -> String {
    let fuel = figures_file(FUEL);
    let mut text = "| a request | | host calls | bytes copied in | instructions | times the first |\n\
                    |---|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for case in cases {
        let base = cases.iter().find(|base| base.table == case.table).unwrap();
        let (what, unit) = match case.table {
            "unsampled" => ("unsampled", "header lines"),
            "sampled" => ("sampled", "header lines"),
            "captured" => ("sampled, 50 header lines", "of them captured"),
            "captured_differ_first" => ("the same, names differ at the beginning", "of them captured"),
            "captured_differ_last" => ("the same, names differ at the end", "of them captured"),
            "routes_unsampled" => ("unsampled", "templates"),
            _ => ("sampled", "templates"),
        };
        let (now, first) = (fuel[&case.name()], fuel[&base.name()]);
        let times = (now * 100 + first / 2) / first;
        writeln!(
            text,
            "| {what} | {} {unit} | {} | {} | {now} | {}.{:02} |",
            case.count,
            case.cost.total_host_calls(),
            case.cost.bytes_in,
            times / 100,
            times % 100
        )
        .unwrap();
    }
    text
}
