//! meshspan against Envoy's own OpenTelemetry tracer, in one run: `cargo xtask bench`.
//!
//! Every variant is an Envoy process of its own, all alive at once behind the same load, in many short rounds whose
//! order is drawn anew each time. What a variant costs is its process's CPU time less that of the filterless Envoy
//! *in the same round*, so that what the machine does meanwhile meets both. The run fails when it did not measure
//! what it says (a failed request, a missing span), and refuses to conclude when the rounds disagree.

mod collector;
mod cpu;
mod growth;
mod http2;
mod json;
mod latency;
mod load;
mod machine;
mod markdown;
mod marks;
mod masking;
mod memory;
mod options;
mod plot;
mod progress;
mod proxy;
mod results;
mod rounds;
mod sampler;
mod scale;
mod stall;
mod start;
mod statistics;
mod subject;
mod table;
mod variant;
mod witness;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use meshspan_kit::config::MODULE_VARIABLE;
use meshspan_kit::envoy::{Envoy, EnvoyBinary};

use cpu::Division;
use machine::Machine;
use memory::Memory;
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

    wake_at_once()?;
    // Two workers leave nothing over that a collector of the lowest class could live on.
    if !matches!(options.subject, options::Subject::Scale | options::Subject::Soak) {
        meshspan_kit::runtime::on_thread_start(cpu::give_way);
    }

    let upstream = Upstream::start(&binary)?;
    let division = if options.pin { Division::of_machine()? } else { None };
    let run = Run { options: *options, binary, module_bytes, machine, upstream, division };
    match options.subject {
        options::Subject::Tracers | options::Subject::Samplers | options::Subject::Growth => run.compare(),
        options::Subject::Scale => run.scale(),
        options::Subject::Soak => run.soak(),
    }
}

/// All that a run needs.
struct Run {
    options: Options,
    binary: EnvoyBinary,
    module_bytes: u64,
    machine: Machine,
    upstream: Upstream,
    division: Option<Division>,
}

impl Run {
    /// CPU time of many variants, in rounds.
    fn compare(self) -> anyhow::Result<()> {
        let options = &self.options;
        let is_main = options.subject == options::Subject::Tracers;
        let masked = if is_main { masking::measure(each_text(options))? } else { Vec::new() };
        let starts = if is_main { start::measure(&self.binary, &self.upstream, options.starts)? } else { Vec::new() };
        let variants = match options.subject {
            options::Subject::Samplers => Variant::samplers(),
            options::Subject::Growth => Variant::growth(),
            _ => Variant::TRACERS.to_vec(),
        };
        let mut subjects = variants
            .iter()
            .map(|variant| Subject::start(*variant, &self.binary, &self.upstream, options.connections))
            .collect::<anyhow::Result<Vec<_>>>()?;
        self.pin_others()?;
        if let Some(division) = &self.division {
            subjects.iter().try_for_each(|subject| division.pin_measured(subject.process_id()))?;
        }
        let measured = rounds::measure(&mut subjects, &self.upstream, options)?;
        let latency = is_main.then(|| latency::measure(&mut subjects, options, self.division.as_ref())).transpose()?;
        eprintln!("waiting for what is still to be exported, then counting it");
        let received = subjects.iter().map(Subject::check).collect::<anyhow::Result<Vec<_>>>()?;
        let figures = results::figures_of(&subjects, &received, &measured)?;
        // Nothing else is to run beside what comes now.
        drop(subjects);
        let stalls = if is_main { self.stalls()? } else { Vec::new() };
        let memory = if is_main { self.memory(&[Variant::MESHSPAN, Variant::MESHSPAN_ALL])? } else { Vec::new() };

        let Self { options, machine, module_bytes, .. } = self;
        let results = Results::of(options, machine, module_bytes, figures, measured, &starts, latency, stalls, memory);
        let folder = Files::of(&options)?;
        let mut value = results.json();
        let marks = match options.subject {
            options::Subject::Tracers => marks::of(&results, Files::read(options::Subject::Growth.name()).as_ref()),
            options::Subject::Growth => marks::of_growth(Some(&value)),
            _ => Vec::new(),
        };
        println!("\n{}", table::text(&results));
        if !masked.is_empty() {
            println!("{}", table::aligned(&masking::HEADER, masked.iter().map(masking::Row::cells)));
        }
        if !marks.is_empty() {
            println!("{}", table::aligned(&marks::HEADER, marks.iter().map(marks::Mark::cells)));
        }
        if !marks.is_empty() {
            value["marks"] = marks.iter().map(marks::Mark::json).collect::<Vec<_>>().into();
        }
        folder.write("json", &json::pretty(&value))?;
        if let Some(picture) = plot::svg(&results) {
            folder.write("svg", &picture)?;
        }
        folder.rewrite_page(BENCHMARKS, |page| markdown::rewrite(page, &results, &masked, &marks))?;
        if marks.is_empty() {
            return Ok(());
        }
        folder.rewrite_page(README, |page| markdown::rewrite_short(page, &results, &marks))
    }

    /// Throughput.
    fn scale(self) -> anyhow::Result<()> {
        self.pin_others()?;
        let found = scale::measure(&self.binary, &self.upstream, &self.options, self.division.as_ref())?;
        println!("\n{}", table::aligned(&scale::HEADER, found.rows.iter().map(scale::Row::cells)));
        found.notes().iter().for_each(|note| println!("{note}"));
        let mut value = found.json();
        value["machine"] = self.machine.json();
        let folder = Files::of(&self.options)?;
        folder.write("json", &json::pretty(&value))?;
        folder.rewrite_page(BENCHMARKS, |page| markdown::rewrite_scale(page, &self.options, &self.machine, &found))
    }

    /// A long time.
    fn soak(self) -> anyhow::Result<()> {
        self.pin_others()?;
        let found = self.memory(&[Variant::MESHSPAN_ALL])?;
        println!("\n{}", table::aligned(&table::MEMORY_HEADER, found.iter().map(table::memory_row)));
        found.iter().flat_map(table::book_lines).for_each(|line| println!("{line}"));
        let value = serde_json::json!({"machine": self.machine.json(),
            "memory": found.iter().map(results::memory_json).collect::<Vec<_>>()});
        let folder = Files::of(&self.options)?;
        folder.write("json", &json::pretty(&value))?;
        folder.rewrite_page(BENCHMARKS, |page| markdown::rewrite_soak(page, &self.options, &self.machine, &found))
    }

    fn stalls(&self) -> anyhow::Result<Vec<stall::Stall>> {
        let time = Duration::from_secs(if self.options.quick { 1 } else { 10 });
        stall::measure(&self.binary, &self.upstream, time, self.division.as_ref())
    }

    fn memory(&self, variants: &[Variant]) -> anyhow::Result<Vec<Memory>> {
        let time = Duration::from_secs(u64::try_from(self.options.seconds)?);
        let of = |variant: &Variant| {
            memory::measure(*variant, &self.binary, &self.upstream, time, self.division.as_ref())
                .with_context(|| format!("{} for {time:?}", variant.name()))
        };
        if time.is_zero() { Ok(Vec::new()) } else { variants.iter().map(of).collect() }
    }

    /// Load and upstream leave the first core to what is measured.
    fn pin_others(&self) -> anyhow::Result<()> {
        let Some(division) = &self.division else { return Ok(()) };
        division.pin_other(std::process::id())?;
        division.pin_other(self.upstream.process_id())
    }
}

/// Has the kernel wake this thread when it asked for, and not up to 50 µs later with others.
fn wake_at_once() -> anyhow::Result<()> {
    // SAFETY: the call takes a number and changes nothing but this thread's timers.
    #[allow(unsafe_code)]
    let status = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
    anyhow::ensure!(status == 0, "the kernel does not take a timer slack");
    Ok(())
}

/// The page with all figures, and the one that has them in short.
const BENCHMARKS: &str = "docs/benchmarks.md";
const README: &str = "README.md";

/// Where a run writes: `docs/` what is to be quoted, `target/` what is for a look.
struct Files {
    root: PathBuf,
    name: &'static str,
    write: bool,
    quick: bool,
}

impl Files {
    fn of(options: &Options) -> anyhow::Result<Self> {
        Ok(Self { root: root()?, name: options.subject.name(), write: options.write, quick: options.quick })
    }

    fn folder(root: &Path, quick: bool) -> PathBuf {
        root.join(if quick { "target/benchmarks" } else { "docs/benchmarks" })
    }

    /// What an earlier run wrote into `docs/`.
    fn read(name: &str) -> Option<serde_json::Value> {
        let file = Self::folder(&root().ok()?, false).join(name).with_extension("json");
        serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()
    }

    fn write(&self, extension: &str, text: &str) -> anyhow::Result<()> {
        if !self.write {
            return Ok(());
        }
        write(&Self::folder(&self.root, self.quick).join(self.name).with_extension(extension), text)
    }

    /// What a few rounds say is not worth a page.
    fn rewrite_page(&self, page: &str, rewrite: impl FnOnce(String) -> anyhow::Result<String>) -> anyhow::Result<()> {
        if !self.write || self.quick {
            return Ok(());
        }
        let page = self.root.join(page);
        let text = std::fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
        write(&page, &rewrite(text)?)
    }
}

/// How long each text is masked, in each of the ways that are compared.
fn each_text(options: &Options) -> Duration {
    Duration::from_millis(if options.quick { 50 } else { 400 })
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
