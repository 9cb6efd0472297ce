//! meshspan against Envoy's own OpenTelemetry tracer, in one run: `cargo xtask bench`.
//!
//! Every variant is an Envoy process of its own, all alive at once behind the same load, in many short rounds whose
//! order is drawn anew each time. What a variant costs is its process's CPU time less that of the filterless Envoy
//! *in the same round*, so that what the machine does meanwhile meets both. The run fails when it did not measure
//! what it says (a failed request, a missing span), and refuses to conclude when the rounds disagree.

mod collector;
mod cpu;
mod load;
mod machine;
mod markdown;
mod marks;
mod masking;
mod options;
mod progress;
mod proxy;
mod results;
mod rounds;
mod sampler;
mod start;
mod statistics;
mod subject;
mod table;
mod variant;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use meshspan_kit::config::MODULE_VARIABLE;
use meshspan_kit::envoy::Envoy;

use machine::Machine;
use options::{Asked, Options};
use results::Results;
use subject::{Subject, Upstream};
use variant::Variant;

fn main() -> ExitCode {
    let options = match options::read(std::env::args().skip(1)) {
        Ok(Asked::Run(options)) => options,
        Ok(Asked::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures, checks, shows, writes.
fn run(options: &Options) -> anyhow::Result<()> {
    let binary = Envoy::versions()
        .into_iter()
        .next()
        .context("MESHSPAN_ENVOY_BINS names no Envoy: start this as `cargo xtask bench`")?;
    let module = std::env::var_os(MODULE_VARIABLE)
        .map(PathBuf::from)
        .with_context(|| format!("{MODULE_VARIABLE} names no module: start this as `cargo xtask bench`"))?;
    let module_bytes = std::fs::metadata(&module).with_context(|| format!("no module at {}", module.display()))?.len();
    let machine = Machine::describe(&binary.version);
    eprintln!("{machine}");

    let masked = if options.samplers { Vec::new() } else { masking::measure(each_text(options))? };
    let upstream = Upstream::start(&binary)?;
    let starts = if options.samplers { Vec::new() } else { start::measure(&binary, &upstream, options.starts)? };
    let variants = if options.samplers { Variant::samplers() } else { Variant::TRACERS.to_vec() };
    let mut subjects = variants
        .iter()
        .map(|variant| Subject::start(*variant, &binary, &upstream, options.connections))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if options.pin {
        pin(&subjects, &upstream)?;
    }
    let measured = rounds::measure(&mut subjects, &upstream, options)?;
    eprintln!("waiting for what is still to be exported, then counting it");
    for subject in &subjects {
        subject.check()?;
    }

    let results = Results::of(*options, machine, module_bytes, &subjects, measured, &starts)?;
    println!("\n{}", table::text(&results));
    if !masked.is_empty() {
        println!("{}", table::aligned(&masking::HEADER, masked.iter().map(masking::Row::cells)));
    }
    if options.write {
        let root = root()?;
        let name = if options.samplers { "target/bench-samplers.json" } else { "target/bench.json" };
        write(&root.join(name), &format!("{:#}\n", results.json()))?;
        // What a few rounds say is not worth a page.
        if !options.quick {
            let page = root.join("docs/benchmarks.md");
            let text = std::fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
            write(&page, &markdown::rewrite(text, &results, &masked)?)?;
        }
    }
    Ok(())
}

/// How long each text is masked, in each of the ways that are compared.
fn each_text(options: &Options) -> Duration {
    Duration::from_millis(if options.quick { 50 } else { 400 })
}

/// Gives the measured Envoys the first core and all else the others. Where the kernel may choose, an Envoy shares its
/// core with the load generator now and then, and pays for it differently in every run.
fn pin(subjects: &[Subject], upstream: &Upstream) -> anyhow::Result<()> {
    let cores = cpu::cores()?;
    let [first, others @ ..] = cores.as_slice() else { return Ok(()) };
    if others.is_empty() {
        eprintln!("there is one core for everything: expect wide intervals");
        return Ok(());
    }
    cpu::pin(std::process::id(), others)?;
    cpu::pin(upstream.process_id(), others)?;
    subjects.iter().try_for_each(|subject| cpu::pin(subject.process_id(), &[*first]))
}

/// The checkout: cargo says where the package is when it runs it.
fn root() -> anyhow::Result<PathBuf> {
    match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(package) => Ok(Path::new(&package).parent().map(Path::to_path_buf).unwrap_or_default()),
        None => std::env::current_dir().context("no current folder"),
    }
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("wrote {}", file.display());
    Ok(())
}
