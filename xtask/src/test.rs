//! `cargo xtask test`: everything that has a test, part by part, counted.

use crate::build::{self, Guest, build, build_guest};
use crate::envoy;
use crate::fuzz;
use crate::go_program::{self, GoProgram};
use crate::grpcio;
use crate::monitoring;
use crate::options::{Options, did_you_mean};
use crate::places::{Places, cargo};
use crate::process::{output_of, run_open, shown};
use crate::progress::Steps;
use crate::run::tell;
use crate::setup::{Need, Ready, setup_what_can_be};
use crate::tally::Tally;
use crate::wasm_toolchain::{NODE, WASI, WasmToolchain};
use anyhow::{Result, anyhow, bail};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// One part of the tests.
struct Part {
    name: &'static str,
    about: &'static str,
    needs: &'static [Need],
    /// Whether it reads the module that the part `build` leaves.
    reads_module: bool,
    run: fn(&Run) -> Result<Outcome>,
}

/// What came of a part that ran to its end.
enum Outcome {
    Tests(Tally),
    /// It could not be run here, and why.
    Skipped(String),
}

/// What the parts work with.
struct Run {
    places: Places,
    ready: Ready,
    long: bool,
    /// Names of tests, to run only those that contain one.
    names: Vec<String>,
}

/// What stands in the table at the end.
struct Row {
    name: &'static str,
    tally: Tally,
    note: String,
    elapsed: Duration,
}

const E2E: [Need; 8] = [
    Need::WasiTarget,
    Need::Envoy(envoy::NEWEST),
    Need::Envoy(envoy::OLDEST),
    Need::GoProgram(GoProgram::Collector),
    Need::GoProgram(GoProgram::Jaeger),
    Need::GoProgram(GoProgram::Ghz),
    Need::Grpcio,
    Need::Monitoring,
];

const PARTS: [Part; 11] = [
    Part { name: "fmt", about: "the code's format", needs: &[], reads_module: false, run: fmt },
    Part {
        name: "clippy",
        about: "lints, natively and for wasm",
        needs: &[Need::WasiTarget],
        reads_module: false,
        run: clippy,
    },
    Part {
        name: "deny",
        about: "licences, advisories and sources of the dependencies",
        needs: &[],
        reads_module: false,
        run: deny,
    },
    Part { name: "native", about: "the logic and the commands", needs: &[], reads_module: false, run: native },
    Part {
        name: "node",
        about: "the logic as wasm, in Node",
        needs: &[Need::AllTargets, Need::TestRunner],
        reads_module: false,
        run: node,
    },
    Part { name: "build", about: "the module", needs: &build::NEEDS, reads_module: false, run: module },
    Part {
        name: "module",
        about: "the module in a deterministic host",
        needs: &[Need::WasiTarget],
        reads_module: true,
        run: in_host,
    },
    Part { name: "e2e", about: "the module in Envoy", needs: &E2E, reads_module: true, run: in_envoy },
    Part {
        name: "alerts",
        about: "rules, alerts and dashboards on a real Prometheus",
        needs: &[Need::WasiTarget, Need::Envoy(envoy::NEWEST), Need::Monitoring],
        reads_module: true,
        run: alerts,
    },
    Part {
        name: "demo",
        about: "the demo ends well",
        needs: &[Need::WasiTarget, Need::Envoy(envoy::NEWEST)],
        reads_module: true,
        run: demo,
    },
    Part { name: "fuzz", about: "each fuzz target, briefly", needs: &[], reads_module: false, run: fuzz_targets },
];

pub(crate) fn part_names() -> Vec<&'static str> {
    PARTS.iter().map(|part| part.name).collect()
}

pub(crate) fn command(arguments: &[String]) -> Result<ExitCode> {
    let mut long = false;
    let mut only = Vec::new();
    let mut names = Vec::new();
    let mut options = Options::of("test", arguments);
    while let Some((name, joined)) = options.next() {
        match name {
            "--long" => long = true,
            "--only" => only.push(known_part(options.value(name, joined)?)?),
            "--" => names = options.remaining(),
            other => return options.unknown(other, &["--long", "--only"]),
        }
    }
    let chosen = choose(&only);
    let places = Places::find()?;
    let ready = setup_what_can_be(&places, &needs_of(&chosen));
    let run = Run { places, ready, long, names };
    let rows = run_parts(&chosen, &run);
    Ok(sum_up(&rows))
}

fn known_part(name: &str) -> Result<&'static str> {
    match part_names().into_iter().find(|part| *part == name) {
        Some(part) => Ok(part),
        None => bail!(
            "there is no part `{name}`{}; the parts are {}",
            did_you_mean(name, part_names().into_iter()),
            part_names().join(", ")
        ),
    }
}

/// The parts to run, in their order: all, or those named and the build where one of them reads the module.
fn choose(only: &[&str]) -> Vec<&'static Part> {
    let named = |part: &Part| only.is_empty() || only.contains(&part.name);
    let module_is_read = PARTS.iter().any(|part| named(part) && part.reads_module);
    PARTS.iter().filter(|part| named(part) || (part.name == "build" && module_is_read)).collect()
}

/// What the parts need, each once, the larger in place of the smaller.
fn needs_of(parts: &[&Part]) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    for need in parts.iter().flat_map(|part| part.needs) {
        if !needs.contains(need) {
            needs.push(*need);
        }
    }
    if needs.contains(&Need::AllTargets) {
        needs.retain(|need| *need != Need::WasiTarget);
    }
    needs
}

fn run_parts(parts: &[&Part], run: &Run) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut module_failed = false;
    for part in parts {
        println!("\n=== {}: {}", part.name, part.about);
        let _ = std::io::stdout().flush();
        let begun = Instant::now();
        let outcome = if part.reads_module && module_failed {
            Ok(Outcome::Skipped("there is no module, as the part `build` failed".to_owned()))
        } else {
            (part.run)(run)
        };
        let (tally, note) = match outcome {
            Ok(Outcome::Tests(tally)) => (tally, String::new()),
            Ok(Outcome::Skipped(why)) => (Tally { skipped: 1, ..Tally::default() }, why),
            Err(error) => {
                eprintln!("{}", crate::describe(&error));
                module_failed |= part.name == "build";
                let first_line = error.to_string().lines().next().unwrap_or_default().to_owned();
                (Tally { failed: 1, ..Tally::default() }, first_line)
            }
        };
        let row = Row { name: part.name, tally, note, elapsed: begun.elapsed() };
        println!("--- {}: {}, {:.1} s{}", row.name, row.result(), row.elapsed.as_secs_f64(), row.note_after(": "));
        rows.push(row);
    }
    rows
}

impl Row {
    fn result(&self) -> &'static str {
        match self.tally {
            Tally { failed, .. } if failed > 0 => "FAILED",
            Tally { passed: 0, skipped, .. } if skipped > 0 => "skipped",
            _ => "passed",
        }
    }

    fn note_after(&self, before: &str) -> String {
        if self.note.is_empty() { String::new() } else { format!("{before}{}", self.note) }
    }
}

fn sum_up(rows: &[Row]) -> ExitCode {
    let mut all = Tally::default();
    println!("\n{:<8} {:<8} {:>7} {:>7} {:>7} {:>9}", "part", "result", "passed", "failed", "skipped", "time");
    for row in rows {
        let Tally { passed, failed, skipped } = row.tally;
        let seconds = format!("{:.1} s", row.elapsed.as_secs_f64());
        println!(
            "{:<8} {:<8} {passed:>7} {failed:>7} {skipped:>7} {seconds:>9}{}",
            row.name,
            row.result(),
            row.note_after("  ")
        );
        all.add(row.tally);
    }
    println!("\n{all}");
    if all.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fmt(run: &Run) -> Result<Outcome> {
    if let Some(skipped) = without("fmt", "rustfmt") {
        return Ok(skipped);
    }
    check(run.cargo().args(["fmt", "--all", "--check"])).map_err(|error| error.context("`cargo fmt` puts it right"))
}

fn clippy(run: &Run) -> Result<Outcome> {
    if let Some(skipped) = without("clippy", "clippy") {
        return Ok(skipped);
    }
    check(run.cargo().args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    match run.ready.toolchain()? {
        toolchain @ WasmToolchain::Installed => {
            let mut command = toolchain.cargo(&run.places, "clippy", WASI);
            command.args([
                "--package",
                "meshspan-config",
                "--package",
                "meshspan-core",
                "--package",
                "meshspan-host",
                "--package",
                "meshspan-upkeep",
                "--package",
                "meshspan-filter",
            ]);
            check(command.args(["--", "-D", "warnings"]))
        }
        WasmToolchain::Debian { .. } => {
            println!(
                "for wasm: not checked, as Debian's Rust comes without clippy for it; the compiler's own lints apply in the build"
            );
            Ok(Outcome::Tests(Tally::default()))
        }
    }
}

fn deny(run: &Run) -> Result<Outcome> {
    let own = run.places.home.join("tools/bin/cargo-deny");
    let program = if own.is_file() { Some(own) } else { crate::places::on_path("cargo-deny") };
    let Some(program) = program else {
        return Ok(Outcome::Skipped("no cargo-deny here; `cargo install --locked cargo-deny` gets it".to_owned()));
    };
    let checking = |what: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(&run.places.root).arg("check").args(what);
        command
    };
    check(&mut checking(&["bans", "licenses", "sources"]))?;
    // The advisories come from a database of their own, which not every machine can fetch.
    let advisories = checking(&["advisories"]).output()?;
    let said = String::from_utf8_lossy(&advisories.stderr);
    eprint!("{said}");
    if advisories.status.success() {
        return Ok(Outcome::Tests(Tally::default()));
    }
    if said.contains("failed to fetch advisory database") {
        let why = "licences, sources and bans are well; the advisory database cannot be fetched here";
        return Ok(Outcome::Skipped(why.to_owned()));
    }
    bail!("a dependency has an advisory against it; cargo-deny's words stand above")
}

fn native(run: &Run) -> Result<Outcome> {
    let mut logic = run.cargo();
    logic.args(["test", "--locked", "--no-fail-fast", "--package", "meshspan-config", "--package", "meshspan-core"]);
    if run.long {
        logic.env("PROPTEST_CASES", "20000");
    }
    let mut tally = run.counted(&mut logic)?;
    let mut commands = run.cargo();
    // In the profile that the commands themselves were compiled in.
    commands.args(["test", "--locked", "--no-fail-fast", "--profile", "quick", "--package", "xtask"]);
    commands.args(["--package", "meshspan-slo"]);
    tally.add(run.counted(&mut commands)?);
    Ok(Outcome::Tests(tally))
}

fn node(run: &Run) -> Result<Outcome> {
    let runner = run.ready.test_runner()?;
    let mut command = run.ready.toolchain()?.cargo(&run.places, "test", NODE);
    command
        .args(["--package", "meshspan-config", "--package", "meshspan-core", "--lib", "--no-fail-fast"])
        .args(["--profile", "quick"])
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", &runner.binary);
    run.counted(&mut command).map(Outcome::Tests)
}

fn module(run: &Run) -> Result<Outcome> {
    build(&run.places, &run.ready, false)?;
    Ok(Outcome::Tests(Tally::default()))
}

fn in_host(run: &Run) -> Result<Outcome> {
    let mut command = run.cargo();
    command.args(["test", "--locked", "--no-fail-fast", "--package", "meshspan-module-tests"]);
    for (name, guest) in [("MESHSPAN_REGEX_WASM", Guest::Regex), ("MESHSPAN_EMPTY_WASM", Guest::Empty)] {
        command.env(name, build_guest(&run.places, run.ready.toolchain()?, guest)?);
    }
    run.counted(tell(&mut command, &run.places, run.ready.envoys())).map(Outcome::Tests)
}

fn in_envoy(run: &Run) -> Result<Outcome> {
    let mut tally = Tally::default();
    if run.ready.envoys().is_empty() {
        bail!("set-up found no Envoy (see above)");
    }
    for envoy in run.ready.envoys() {
        println!("in Envoy {}", envoy.version);
        let mut command = run.cargo();
        command.args(["test", "--locked", "--no-fail-fast", "--package", "meshspan-kit", "--package", "meshspan-e2e"]);
        go_program::tell(&mut command, run.ready.go_programs());
        grpcio::tell(&mut command, run.ready.grpcio());
        monitoring::tell(&mut command, run.ready.monitoring());
        tally.add(run.counted(tell(&mut command, &run.places, std::slice::from_ref(envoy)))?);
    }
    Ok(Outcome::Tests(tally))
}

fn alerts(run: &Run) -> Result<Outcome> {
    let Some(folder) = run.ready.monitoring() else {
        return Ok(Outcome::Skipped("no Prometheus and Alertmanager here (see above)".to_owned()));
    };
    let mut command = run.cargo();
    command.args(["test", "--locked", "--no-fail-fast", "--package", "meshspan-alerts-tests"]);
    monitoring::tell(&mut command, Some(folder));
    run.counted(tell(&mut command, &run.places, run.ready.envoys())).map(Outcome::Tests)
}

fn demo(run: &Run) -> Result<Outcome> {
    if run.ready.envoys().is_empty() {
        bail!("set-up found no Envoy (see above)");
    }
    let mut command = run.cargo();
    command.args(["run", "--locked", "--package", "meshspan-demo"]).stdin(Stdio::null());
    check(tell(&mut command, &run.places, run.ready.envoys()))?;
    Ok(Outcome::Tests(Tally { passed: 1, ..Tally::default() }))
}

fn fuzz_targets(run: &Run) -> Result<Outcome> {
    if !fuzz::has_compiler() {
        return Ok(Outcome::Skipped(
            "no C++ compiler here for libFuzzer; on Debian, `apt-get install g++` gets it".to_owned(),
        ));
    }
    let seconds = if run.long { 60 } else { 3 };
    let mut tally = Tally::default();
    let targets = fuzz::targets(&run.places)?;
    fuzz::build(&run.places)?;
    let mut steps = Steps::new(targets.len());
    for target in &targets {
        match fuzz::fuzz(&run.places, target, seconds, &mut steps) {
            Ok(()) => tally.passed += 1,
            Err(error) => {
                eprintln!("{}", crate::describe(&error));
                tally.failed += 1;
            }
        }
    }
    Ok(Outcome::Tests(tally))
}

impl Run {
    fn cargo(&self) -> Command {
        let mut command = Command::new(cargo());
        command.current_dir(&self.places.root);
        command
    }

    /// Runs tests with their output in the open, and counts them. That they do not compile, or end before
    /// their sum, counts as one that failed.
    fn counted(&self, command: &mut Command) -> Result<Tally> {
        if !self.names.is_empty() {
            command.arg("--").args(&self.names);
        }
        if self.long {
            command.env("MESHSPAN_LONG", "1");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| anyhow!("cannot start `{}`: {error}", shown(command)))?;
        let mut tally = Tally::default();
        if let Some(output) = child.stdout.take() {
            let mut lines = BufReader::new(output);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line)? > 0 {
                let mut screen = std::io::stdout().lock();
                screen.write_all(&line)?;
                screen.flush()?;
                tally.take(&String::from_utf8_lossy(&line));
                line.clear();
            }
        }
        if !child.wait()?.success() && tally.failed == 0 {
            tally.failed = 1;
        }
        Ok(tally)
    }
}

/// Runs a program whose exit code is all that counts.
fn check(command: &mut Command) -> Result<Outcome> {
    let status = run_open(command)?;
    if status.success() {
        Ok(Outcome::Tests(Tally::default()))
    } else {
        bail!("`{}` ended with {status}", shown(command))
    }
}

/// That a part is skipped, when cargo lacks the sub-command.
fn without(subcommand: &str, component: &str) -> Option<Outcome> {
    let present = output_of(Command::new(cargo()).args([subcommand, "--version"])).is_some();
    (!present)
        .then(|| Outcome::Skipped(format!("no `cargo {subcommand}` here; `rustup component add {component}` gets it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(parts: &[&Part]) -> Vec<&'static str> {
        parts.iter().map(|part| part.name).collect()
    }

    #[test]
    fn a_chosen_part_brings_the_build_that_it_reads() {
        assert_eq!(names(&choose(&[])), part_names());
        assert_eq!(names(&choose(&["native", "fmt"])), ["fmt", "native"]);
        assert_eq!(names(&choose(&["e2e"])), ["build", "e2e"]);
    }

    #[test]
    fn only_what_the_parts_need_is_set_up() {
        assert_eq!(needs_of(&choose(&["fmt", "deny", "native"])), []);
        assert_eq!(needs_of(&choose(&["module"])), build::NEEDS);
        assert_eq!(needs_of(&choose(&["clippy", "node"])), [Need::AllTargets, Need::TestRunner]);
        let mut all = needs_of(&choose(&[]));
        all.sort_by_key(|need| format!("{need:?}"));
        let mut everything = crate::setup::EVERYTHING.to_vec();
        everything.sort_by_key(|need| format!("{need:?}"));
        assert_eq!(all, everything);
    }

    #[test]
    fn an_unknown_part_is_refused_with_the_nearest() {
        let error = known_part("clipy").unwrap_err().to_string();
        assert!(error.contains("did you mean `clippy`?"), "{error}");
    }

    #[test]
    fn a_row_says_what_counts_most() {
        let row = |passed, failed, skipped| {
            let tally = Tally { passed, failed, skipped };
            Row { name: "x", tally, note: String::new(), elapsed: Duration::ZERO }.result()
        };
        assert_eq!(row(3, 1, 1), "FAILED");
        assert_eq!(row(3, 0, 1), "passed"); // some tests were
        assert_eq!(row(0, 0, 1), "skipped");
        assert_eq!(row(0, 0, 0), "passed"); // a part without tests of its own
    }
}
