//! What a stream costs, by what is configured and what it is: host calls by phase, bytes over the boundary, instructions,
//! allocations and memory. The table in `docs/benchmarks.md` is checked here.

use std::fmt::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use meshspan_module_tests::{Action, CallbackCost, HttpCall, Module, Trap, Vm};
use serde_json::{Value, json};

use crate::cost::{
    MEASURED, Steady, Tolerance, assert_figures, assert_instructions, counted, figures_file, rounded, steady,
};
use crate::page::assert_page;
use crate::world::{
    REQUEST, SAMPLED, UNSAMPLED, accept, configuration, configured_on, exchange, exchange_and_forget, exported, flush,
    lean_module, module, request_with,
};

const FUEL: &str = "fuel.txt";
const PAGES: &str = "pages.txt";
const START_FUEL: &str = "start_fuel.txt";
const START_PAGES: &str = "start_pages.txt";

/// Where the filter stands that does nothing; `cargo xtask test` says.
const EMPTY: &str = "MESHSPAN_EMPTY_WASM";

/// A page of wasm's memory.
const PAGE: usize = 65_536;

/// One row: what was counted of what.
struct Row {
    name: &'static str,
    /// How many streams (or other things) the allocations are of.
    times: u64,
    counted: Steady,
    /// Whether it sends compressed bytes. Their number moves with each commit, whose name is in every batch.
    compressed: bool,
}

impl Row {
    /// Bytes to the host: exact, or two digits that count.
    fn bytes_out(&self) -> u64 {
        let bytes = self.counted.cost.bytes_out;
        if self.compressed { rounded(bytes, 2) } else { bytes }
    }
}

/// The module with a counter in its allocator, compiled once.
fn counting() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| module().counting().unwrap_or_else(|error| panic!("{error}")))
}

/// Counts on the module as it is, and allocations on the one that counts them. `act` gets a machine that is configured.
fn row(name: &'static str, times: u64, configuration: &Value, act: impl Fn(&Vm) -> Steady) -> Row {
    let configuration = configuration.to_string();
    row_on((module(), counting()), name, times, |module| act(&configured_on(module, &configuration)))
}

fn row_on(modules: (&Module, &Module), name: &'static str, times: u64, act: impl Fn(&Module) -> Steady) -> Row {
    let (mut counted, with_allocations) = (act(modules.0), act(modules.1));
    let callbacks = counted.callbacks.iter_mut().zip(&with_allocations.callbacks);
    let pairs = callbacks.map(|(callback, with)| (&mut callback.cost, &with.cost));
    for (cost, with) in pairs.chain([(&mut counted.cost, &with_allocations.cost)]) {
        cost.allocations = with.allocations;
        cost.allocated_bytes = with.allocated_bytes;
    }
    Row { name, times, counted, compressed: false }
}

/// A stream after a hundred others.
fn stream(name: &'static str, configuration: &Value, act: impl Fn(&Vm) -> Result<(), Trap>) -> Row {
    row(name, MEASURED, configuration, |vm| steady(vm, |vm| act(vm).map(|()| true)))
}

/// Something that happens to the whole machine.
fn occasion(name: &'static str, configuration: &Value, before: impl Fn(&Vm), act: impl Fn(&Vm)) -> Row {
    row(name, 1, configuration, |vm| {
        before(vm);
        vm.take_cost();
        act(vm);
        counted(vm)
    })
}

/// No sampler that decides, every header that there is as an attribute, and what else can be recorded.
fn everything() -> Value {
    let mut configuration = configuration();
    let names: Vec<_> = full_request().iter().map(|(name, _)| *name).filter(|name| !name.starts_with(':')).collect();
    configuration["instrumentation/development"] = json!({"general": {"http": {"server": {
        "request_captured_headers": names, "response_captured_headers": ["content-type", "content-length"]}}}});
    configuration["distribution"] = json!({"meshspan": {
        "routes": ["/users/{id}", "/carts/{id}"], "baggage_attributes": ["tenant", "session", "region"]}});
    configuration
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

/// What stands in the masked stream and must not leave.
const SECRETS: [&str; 3] = ["13812345678", "a.b@shop.com", "EMP-123456"];

/// A query, a header and a custom pattern, each with something to hide.
fn masked() -> Row {
    let mut configuration = configuration();
    configuration["instrumentation/development"] =
        json!({"general": {"http": {"server": {"request_captured_headers": ["x-contact", "x-employee"]}}}});
    configuration["distribution"] = json!({"meshspan": {
        "masking": {"patterns": [{"name": "employee", "regex": "EMP-[0-9]{6}"}]}}});
    let target = format!("/carts/17?tel={}", SECRETS[0]);
    let lines = request_with(&[("traceparent", SAMPLED), ("x-contact", SECRETS[1]), ("x-employee", SECRETS[2])]);
    let lines: Vec<_> =
        lines.into_iter().map(|(name, value)| (name, if name == ":path" { &*target } else { value })).collect();
    let act = |vm: &Vm| exchange_and_forget(vm, &lines);
    let vm = configured_on(module(), &configuration.to_string());
    act(&vm).unwrap();
    let span = format!("{:?}", exported(&flush(&vm).unwrap()));
    assert!(SECRETS.iter().all(|secret| !span.contains(secret)), "{span}");
    stream("sampled, three values masked", &configuration, act)
}

/// A unary gRPC call that ends well.
fn grpc_call(vm: &Vm) -> Result<(), Trap> {
    let stream = vm.stream()?.property(&["request", "protocol"], "HTTP/2");
    let request = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "shop.example"),
        (":path", "/shop.Cart/Get"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", "grpc-go/1.71.0"),
        ("traceparent", SAMPLED),
    ];
    assert_eq!(stream.request_headers(&request)?, Action::Continue);
    assert_eq!(stream.response_headers(&[(":status", "200"), ("content-type", "application/grpc")])?, Action::Continue);
    assert_eq!(stream.response_trailers(&[("grpc-status", "0"), ("grpc-message", "")])?, Action::Continue);
    stream.finish()
}

/// The signals that are exported.
fn signals(traces: bool, metrics: bool, logs: bool) -> Value {
    let mut configuration = configuration();
    let exporter = configuration["tracer_provider"]["processors"][0]["batch"]["exporter"].clone();
    if metrics {
        configuration["meter_provider"] =
            json!({"readers": [{"periodic": {"interval": 60_000, "exporter": exporter}}]});
    }
    if logs {
        configuration["logger_provider"] = json!({"processors": [{"batch": {"exporter": exporter}}]});
    }
    if !traces && let Some(configuration) = configuration.as_object_mut() {
        configuration.remove("tracer_provider");
    }
    configuration
}

/// A stream that begins a trace, of which one in a hundred is sampled; the others are measured.
fn one_percent(name: &'static str, modules: (&Module, &Module)) -> Row {
    let mut configuration = configuration();
    configuration["tracer_provider"]["sampler"] =
        json!({"parent_based": {"root": {"trace_id_ratio_based": {"ratio": 0.01}}}});
    let configuration = configuration.to_string();
    row_on(modules, name, MEASURED, |module| {
        steady(&configured_on(module, &configuration), |vm| {
            let stream = exchange(vm, REQUEST)?;
            let context = stream.upstream_header("traceparent").remove(0);
            stream.delete()?;
            let flags = u8::from_str_radix(&context[context.len() - 2..], 16).expect("flags are hexadecimal");
            Ok(flags & 1 == 0)
        })
    })
}

/// So many spans, that wait.
fn fill(vm: &Vm, count: usize) {
    let sampled = request_with(&[("traceparent", SAMPLED)]);
    (0..count).try_for_each(|_| exchange_and_forget(vm, &sampled)).unwrap();
}

/// How many spans are exported at once.
const BATCH: usize = 512;

/// The tick that sends a batch, and the answer to it.
fn export(name: &'static str, compression: &str, check: impl Fn(&[HttpCall])) -> Row {
    let before = |vm: &Vm| {
        fill(vm, BATCH);
        accept(vm, &flush(vm).unwrap()).unwrap();
        fill(vm, BATCH);
        vm.advance(Duration::from_secs(2));
    };
    let exporter = json!({"otlp_grpc": {"endpoint": "http://collector:4317", "compression": compression}});
    let mut configuration = configuration();
    configuration["tracer_provider"]["processors"][0]["batch"]["exporter"] = exporter;
    occasion(name, &configuration, before, |vm| {
        vm.tick().unwrap();
        let calls = vm.take_http_calls();
        check(&calls);
        accept(vm, &calls).unwrap();
    })
}

/// One call, whose message is compressed, as its frame says.
fn is_compressed(calls: &[HttpCall]) {
    let [call] = calls else { panic!("{} calls", calls.len()) };
    assert_eq!((call.body.first(), call.body.get(5..7)), (Some(&1), Some(&[0x1f, 0x8b][..])));
}

fn rows() -> Vec<Row> {
    let spans = signals(true, false, false);
    let with = |context| request_with(&[("traceparent", context)]);
    let (sampled, unsampled, full) = (with(SAMPLED), with(UNSAMPLED), full_request());
    let usual = |vm: &Vm| exchange_and_forget(vm, &sampled);
    let lean_counting = lean_module().counting().unwrap_or_else(|error| panic!("{error}"));
    vec![
        one_percent("not sampled: begins a trace, 1 %", (module(), counting())),
        one_percent("not sampled: begins a trace, 1 %, lean module", (lean_module(), &lean_counting)),
        stream("not sampled: the parent says no", &spans, |vm| exchange_and_forget(vm, &unsampled)),
        stream("sampled", &spans, usual),
        stream("sampled, begins a trace", &spans, |vm| exchange_and_forget(vm, REQUEST)),
        stream("sampled, everything captured", &everything(), |vm| exchange_and_forget(vm, &full)),
        stream("sampled, unary gRPC", &spans, grpc_call),
        masked(),
        stream("sampled, local reply: log callback alone", &spans, |vm| vm.stream()?.finish()),
        stream("metrics alone", &signals(false, true, false), usual),
        stream("logs alone", &signals(false, false, true), usual),
        stream("spans, metrics and logs", &signals(true, true, true), usual),
        occasion("a tick without anything to do", &spans, |vm| vm.tick().unwrap(), |vm| vm.tick().unwrap()),
        export("export of 512 spans, and its answer", "none", |calls| assert_eq!(exported(calls).len(), BATCH)),
        Row { compressed: true, ..export("the same, gzip", "gzip", is_compressed) },
    ]
}

/// From nothing to a configured machine, which has served no stream yet; the same of the filter that does nothing, and
/// what a stream costs that.
fn starts(empty: (&Module, &Module)) -> Vec<Row> {
    let start = |module: &Module| counted(&configured_on(module, &configuration().to_string()));
    vec![
        row_on((module(), counting()), "start and configuration", 1, start),
        row_on(empty, "start and configuration, empty Rust filter", 1, start),
        row_on(empty, "a stream, empty Rust filter", MEASURED, |module| {
            let vm = configured_on(module, &configuration().to_string());
            steady(&vm, |vm| exchange_and_forget(vm, REQUEST).map(|()| true))
        }),
    ]
}

/// All rows, counted once for all tests.
fn counted_rows() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    ROWS.get_or_init(rows)
}

#[test]
fn calls_bytes_and_allocations() {
    insta::assert_snapshot!(exact(counted_rows()));
}

#[test]
fn instructions_memory_and_the_page() {
    assert_rows(counted_rows(), FUEL, PAGES);
    assert_page("stream costs", &table(counted_rows(), FUEL, PAGES));
}

#[test]
fn a_start_costs_what_it_must() {
    let Some(file) = std::env::var_os(EMPTY) else {
        eprintln!("skipped: no {EMPTY}, so there is no empty filter to measure beside; cargo xtask test builds it");
        return;
    };
    let file = Path::new(&file);
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let empty = Module::compile(file, &bytes).unwrap();
    let empty = (empty.clone(), empty.counting().unwrap());
    let rows = starts((&empty.0, &empty.1));
    insta::assert_snapshot!(exact(&rows));
    assert_rows(&rows, START_FUEL, START_PAGES);
    assert_page("start costs", &table(&rows, START_FUEL, START_PAGES));
}

#[test]
fn allocations_are_counted_where_the_module_allocates() {
    let vm = configured_on(counting(), &configuration().to_string());
    for size in [1, 100, 70_001] {
        vm.take_cost();
        let address = vm.call("proxy_on_memory_allocate", &[size]).unwrap();
        let cost = vm.take_cost();
        assert!(address.is_some_and(|address| address != 0));
        assert_eq!(
            (cost.allocations, cost.allocated_bytes),
            (1, u64::from(size)),
            "the function that was found allocates"
        );
    }
}

fn assert_rows(rows: &[Row], fuel: &str, pages: &str) {
    let of = |figure: fn(&Row) -> u64| rows.iter().map(|row| (row.name.to_owned(), figure(row))).collect::<Vec<_>>();
    assert_instructions(fuel, &of(|row| row.counted.cost.fuel));
    assert_figures(pages, &of(|row| (row.counted.memory / PAGE) as u64), Tolerance::Absolute(1));
}

/// All of the rows that is exact.
fn exact(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let cost = &row.counted.cost;
        writeln!(text, "{}: {} host calls in {} callbacks", row.name, cost.total_host_calls(), cost.callbacks).unwrap();
        for CallbackCost { callback, cost } in &row.counted.callbacks {
            let calls = cost.host_calls.iter().map(|(function, count)| format!("{count} x {function}"));
            let allocated = (cost.allocations > 0)
                .then(|| format!("{} allocations of {} bytes", cost.allocations, cost.allocated_bytes));
            let all: Vec<_> = calls.chain(allocated).collect();
            if !all.is_empty() {
                writeln!(text, "  {callback}: {}", all.join(", ")).unwrap();
            }
        }
        writeln!(
            text,
            "  bytes in {}, in {} answers; bytes out {}",
            cost.bytes_in,
            cost.memory_requests,
            row.bytes_out()
        )
        .unwrap();
        let times = if row.times == 1 { String::new() } else { format!(", {} times", row.times) };
        writeln!(text, "  allocations {}, bytes {}{times}", cost.allocations, cost.allocated_bytes).unwrap();
    }
    text
}

/// The table of the page: instructions and memory as the files have them, and the rest as it is.
fn table(rows: &[Row], fuel: &str, pages: &str) -> String {
    let (fuel, pages) = (figures_file(fuel), figures_file(pages));
    let mut text =
        "| | host calls: request headers | response headers, trailers | log | others | bytes in | bytes out | \
                    instructions | allocations | bytes allocated | pages of memory |\n\
                    |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
            .to_owned();
    for row in rows {
        let cost = &row.counted.cost;
        let mut phases = [0; 4];
        for CallbackCost { callback, cost } in &row.counted.callbacks {
            let phase = match callback.as_str() {
                "proxy_on_request_headers" => 0,
                "proxy_on_response_headers" | "proxy_on_response_trailers" => 1,
                "proxy_on_log" => 2,
                _ => 3,
            };
            phases[phase] += cost.total_host_calls();
        }
        let [request, response, log, others] = phases;
        writeln!(
            text,
            "| {} | {request} | {response} | {log} | {others} | {} | {} | {} | {} | {} | {} |",
            row.name,
            cost.bytes_in,
            row.bytes_out(),
            fuel[row.name],
            mean(cost.allocations, row.times),
            (cost.allocated_bytes + row.times / 2) / row.times,
            pages[row.name],
        )
        .unwrap();
    }
    text
}

/// A mean with two decimals, or none where there is no need.
fn mean(sum: u64, times: u64) -> String {
    let hundredths = (sum * 100 + times / 2) / times;
    match (hundredths / 100, hundredths % 100) {
        (whole, 0) => whole.to_string(),
        (whole, rest) => format!("{whole}.{rest:02}"),
    }
}
