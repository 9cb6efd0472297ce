//! The help page.

use std::process::ExitCode;

/// Every command with its line in the help page.
pub(crate) const COMMANDS: &[(&str, &str)] = &[
    ("demo", "show the main job: traces through real Envoy, as waterfalls"),
    ("test", "run everything that has a test"),
    ("build", "compile the filter to target/dist/meshspan.wasm, and the lean module beside it"),
    ("setup", "find or get everything the other commands need"),
    ("bench", "measure the filter beside Envoy's own tracer"),
    ("slo", "make Prometheus rules of a file of service level objectives"),
    ("fuzz", "run the fuzz targets"),
    ("dist", "gather what a release holds in target/dist"),
    ("help", "this page"),
];

const DETAILS: &str = "\
setup
    Idempotent; a second run needs no network. `build`, `demo`, `test` and the others run the steps
    that they need by themselves.

build [--debug-symbols]
    --debug-symbols   keep the functions' names, for profiles and stack traces

demo [--keep] [--json FILE] [--backend embedded|jaeger] [--alerts] [...]
    Everything after `demo` goes to the demo itself; `cargo xtask demo --help` lists it.

test [--long] [--only PART]... [-- NAME...]
    --long            more cases for property tests, half a minute for each fault in Envoy and five for
                      the one that shows flat memory, as long for a load on `adaptive`, a minute for
                      each fuzz target
    --only PART       only this part, may be repeated; parts: PARTS
    -- NAME           only tests whose name contains NAME

bench [...]
    Everything after `bench` goes to the benchmark itself.

slo FILE [--output FILE]
    --output FILE     write the rules there instead of printing them; docs/alerts.md lists the file's keys

fuzz [--seconds N] [TARGET]
    --seconds N       how long each target runs (default 60)

ENVIRONMENT
    ENVOY_BIN             use this Envoy and no other
    MESHSPAN_HOME         the folder for what is fetched (default: .meshspan in the checkout)
    MESHSPAN_TOOLCHAIN    auto (default), rustup or debian: where the wasm targets come from
    MESHSPAN_COLLECTOR, MESHSPAN_JAEGER, MESHSPAN_GHZ
                          use this Collector, this Jaeger, this ghz, instead of building one with Go
    MESHSPAN_GRPCIO       use the grpcio in this folder, instead of installing one
    MESHSPAN_MONITORING   a folder with prometheus, promtool, alertmanager and amtool, instead of Debian's
    MESHSPAN_WRITE_DOCS   1 has `test` write what the faults in Envoy came to into docs/reliability.md

The programs that the commands start are told by environment:
    MESHSPAN_WASM         the module's path
    MESHSPAN_ENVOY_BINS   Envoys as VERSION=PATH, separated by commas
    MESHSPAN_COLLECTOR, MESHSPAN_JAEGER, MESHSPAN_GHZ
                          the paths of these programs, where there are any
    MESHSPAN_GRPCIO       the folder of grpcio, where there is one
    MESHSPAN_MONITORING   the folder with Prometheus and Alertmanager, where there is one
    MESHSPAN_LONG         1 for `test --long`
";

pub(crate) fn print() -> ExitCode {
    println!("meshspan's commands\n\nUSAGE\n    cargo xtask COMMAND [OPTIONS]\n\nCOMMANDS");
    for (name, line) in COMMANDS {
        println!("    {name:<8} {line}");
    }
    println!();
    print!("{}", DETAILS.replace("PARTS", &crate::test::part_names().join(", ")));
    ExitCode::SUCCESS
}
