//! The demo: a small mesh of real Envoys with the filter, callers of every kind, and the traces as waterfalls.
//!
//! ```text
//! caller → edge (gateway) → sidecar → checkout → its sidecar → sidecar → inventory
//! ```
//!
//! Exit code 0: every expected trace arrived with the expected parents. 1: something is missing, and the last
//! lines say what and where to look. 130: interrupted.

mod alerts;
mod apps;
mod backend;
mod calls;
mod expected;
mod figures;
mod mesh;
mod options;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context;
use meshspan_kit::envoy::{Envoy, EnvoyBinary, kill_all};
use meshspan_kit::receiver::ReceivedSpan;
use meshspan_kit::runtime;
use meshspan_kit::waterfall::{self, Style};

use backend::Backend;
use calls::{Answered, Call};
use figures::Figures;
use mesh::Mesh;
use options::Options;

/// How long spans may take to arrive after the last call.
const ARRIVAL: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error:#}\n\n{}", options::HELP);
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("\nThe demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs it all; true when everything expected arrived.
fn run(options: &Options) -> anyhow::Result<bool> {
    let (envoy, module) = (find_envoy()?, find_module()?);
    let folder = tempfile::Builder::new().prefix("meshspan-demo-").tempdir()?;
    let interrupted = watch_for_interrupt(options.keep, folder.path().to_owned());

    let backend = Backend::start(options.backend, folder.path())?;
    progress(&format!("Starting {}, two services and three Envoys ({})", backend.name(), envoy.version));
    let mesh = match Mesh::start(&envoy, &module, &backend, folder.path()) {
        Ok(mesh) => mesh,
        Err(error) => {
            let logs = folder.keep();
            return Err(error.context(format!("the mesh did not start; its logs are in {}", logs.display())));
        }
    };

    let calls = calls::all();
    let begun = Instant::now();
    let mut answered = Vec::new();
    for call in &calls {
        progress(&format!("Calling {:<9} as {}", call.path, call.caller));
        answered.push(call.make(mesh.edge)?);
    }
    let elapsed = begun.elapsed();
    progress("Waiting for the spans");
    backend.wait_for(&answered, ARRIVAL, |spans| problems(&calls, &answered, spans).is_empty());

    let spans = backend.spans(&answered)?;
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    println!("\n{}", waterfall::render(&spans, Style { colour, ..Style::default() }));
    if let Some(file) = &options.json {
        write_json(file, &spans)?;
        progress(&format!("The traces are in {}", file.display()));
    }
    let mut problems = problems(&calls, &answered, &spans);
    let figures = Figures::gather(&mesh, calls.len(), elapsed, ARRIVAL)?;
    figures.print(&spans);
    problems.extend(figures.problems(calls.len(), &spans));
    backend.print_addresses(&spans);
    summarize(&calls, &answered, &spans);
    let alerted = !options.alerts || alerts::show(&mesh)?;
    if options.keep {
        mesh.describe(&backend);
        println!("Everything keeps running; end it with Ctrl-C.");
        let _ = interrupted.recv();
    }
    drop(mesh);
    if problems.is_empty() {
        return Ok(alerted);
    }
    println!("\nNot as expected:");
    for problem in &problems {
        println!("  - {problem}");
    }
    let logs = folder.keep();
    println!("Next: look for `wasm` in the Envoys' logs, {}/*/envoy.log.", logs.display());
    Ok(false)
}

/// What is not as it should be, one line each.
fn problems(calls: &[Call], answered: &[Answered], spans: &[ReceivedSpan]) -> Vec<String> {
    let of = |(call, answer): (&Call, &Answered)| {
        expected::check(call, answer, spans).err().map(|problem| format!("{} as {}: {problem}", call.path, call.caller))
    };
    calls.iter().zip(answered).filter_map(of).collect()
}

fn summarize(calls: &[Call], answered: &[Answered], spans: &[ReceivedSpan]) {
    println!("Expected and arrived:");
    let mut good = 0;
    for (call, answer) in calls.iter().zip(answered) {
        let arrived = expected::check(call, answer, spans).is_ok();
        good += usize::from(arrived);
        let what = if call.sampled { "one trace of five spans" } else { "nothing: the caller chose not to sample" };
        println!("  {} {:<9} {:<34} {what}", if arrived { "✓" } else { "✗" }, call.path, call.caller);
    }
    let count = |service: &str| spans.iter().filter(|span| span.service() == service).count();
    println!(
        "{good} of {} as expected. Spans: edge {} (OTLP/HTTP, protobuf), checkout {} (OTLP/gRPC), inventory {} \
         (OTLP/HTTP, JSON).",
        calls.len(),
        count("edge"),
        count("checkout"),
        count("inventory"),
    );
}

fn find_envoy() -> anyhow::Result<EnvoyBinary> {
    let envoys = Envoy::versions();
    envoys.into_iter().next().context("no Envoy to run: use `cargo xtask demo`, or set ENVOY_BIN to an Envoy")
}

fn find_module() -> anyhow::Result<PathBuf> {
    let module = match std::env::var_os(meshspan_kit::config::MODULE_VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/dist/meshspan.wasm"),
    };
    anyhow::ensure!(module.is_file(), "no module at {}: run `cargo xtask build`", module.display());
    Ok(module)
}

/// On Ctrl-C or SIGTERM: with `keep` tells the main thread, which then ends in order; otherwise ends at once,
/// leaving neither process nor folder behind.
fn watch_for_interrupt(keep: bool, folder: PathBuf) -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel();
    runtime::handle().spawn(async move {
        let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
            return;
        };
        let mut times = 0;
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            times += 1;
            // A second one while the end in order takes its time, or one before anyone waits for it, ends at once.
            if keep && times == 1 && sender.send(()).is_ok() {
                continue;
            }
            kill_all();
            let _ = std::fs::remove_dir_all(&folder);
            eprintln!("\ninterrupted");
            std::process::exit(130);
        }
    });
    receiver
}

fn write_json(file: &Path, spans: &[ReceivedSpan]) -> anyhow::Result<()> {
    let mut traces: Vec<(String, Vec<serde_json::Value>)> = Vec::new();
    for span in spans {
        match traces.iter_mut().find(|(id, _)| *id == span.trace_id()) {
            Some((_, of_trace)) => of_trace.push(span.to_json()),
            None => traces.push((span.trace_id(), vec![span.to_json()])),
        }
    }
    let traces: Vec<_> =
        traces.into_iter().map(|(id, spans)| serde_json::json!({"trace_id": id, "spans": spans})).collect();
    let text = serde_json::to_string_pretty(&serde_json::json!({"traces": traces}))?;
    std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}

fn progress(line: &str) {
    println!("· {line}");
    let _ = std::io::stdout().flush();
}
