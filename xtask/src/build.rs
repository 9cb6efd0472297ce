//! `cargo xtask build`: the filter, compiled and linked.

use crate::link::{Edition, Linked, link};
use crate::options::Options;
use crate::places::Places;
use crate::process::run_open;
use crate::setup::{Need, Ready, setup};
use crate::wasm_toolchain::{WASI, WasmToolchain};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// What a build needs.
pub(crate) const NEEDS: [Need; 2] = [Need::WasiTarget, Need::WasmOpt];

pub(crate) fn command(arguments: &[String]) -> Result<ExitCode> {
    let mut debug_symbols = false;
    let mut options = Options::of("build", arguments);
    while let Some((name, _)) = options.next() {
        match name {
            "--debug-symbols" => debug_symbols = true,
            other => return options.unknown(other, &["--debug-symbols"]),
        }
    }
    let places = Places::find()?;
    let ready = setup(&places, &NEEDS)?;
    build(&places, &ready, debug_symbols)?;
    Ok(ExitCode::SUCCESS)
}

/// How large a function may be, as the compiler counts, to be copied into those that call it. Its own answer is 225, which
/// makes the module 30 KiB larger, and a recorded stream three percent fewer instructions.
const INLINE: u32 = 140;

/// Builds the module and leaves it at `target/dist/meshspan.wasm`, and the lean one beside it.
pub(crate) fn build(places: &Places, ready: &Ready, debug_symbols: bool) -> Result<()> {
    let (toolchain, wasm_opt) = (ready.toolchain()?, ready.wasm_opt()?);
    let begun = Instant::now();
    eprintln!("building the filter for {WASI}");
    let mut compile = toolchain.cargo(places, "build", WASI);
    compile.arg("--config").arg(format!("target.{WASI}.rustflags=[\"-Cllvm-args=-inlinedefault-threshold={INLINE}\"]"));
    let status = run_open(compile.args(["--package", "meshspan-filter", "--profile", "wasm"]))?;
    if !status.success() {
        bail!("the filter does not compile ({status}); the compiler's messages stand above");
    }
    let compiled = toolchain.target_dir(places).join(WASI).join("wasm/meshspan_filter.wasm");
    let bytes = std::fs::read(&compiled).with_context(|| {
        format!(
            "no compiled module at {}: is filter/ a `cdylib`, and `CARGO_BUILD_TARGET_DIR` unset?",
            compiled.display()
        )
    })?;
    for (edition, module) in [(Edition::Lean, places.lean_module()), (Edition::Complete, places.module())] {
        let linked = link(&bytes, edition, debug_symbols)?;
        let optimized = wasm_opt.optimize(places, &linked.wasm, debug_symbols)?;
        write_whole(&module, &optimized)?;
        report(places, &module, [bytes.len(), linked.wasm.len(), optimized.len()], &linked);
    }
    eprintln!("built in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// A wasm module that the filter is measured beside.
#[derive(Clone, Copy)]
pub(crate) enum Guest {
    /// The crate `regex`, for masking.
    Regex,
    /// A filter that does nothing.
    Empty,
}

/// Builds one as it is, without our link step, and says where it is.
pub(crate) fn build_guest(places: &Places, toolchain: &WasmToolchain, guest: Guest) -> Result<PathBuf> {
    let (package, file) = match guest {
        Guest::Regex => ("meshspan-bench-regex", "wasm/meshspan_bench_regex.wasm"),
        Guest::Empty => ("meshspan-bench-empty", "wasm/meshspan_bench_empty.wasm"),
    };
    let mut compile = toolchain.cargo(places, "build", WASI);
    let status = run_open(compile.args(["--package", package, "--profile", "wasm"]))?;
    if !status.success() {
        bail!("{package} does not compile for {WASI} ({status}); the compiler's messages stand above");
    }
    Ok(toolchain.target_dir(places).join(WASI).join(file))
}

/// Writes a file so that nobody sees half of it: beside, then in place.
pub(crate) fn write_whole(file: &Path, bytes: &[u8]) -> Result<()> {
    let folder = file.parent().context("a file without a folder")?;
    let beside = file.with_extension(format!("partial-{}", std::process::id()));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&beside, bytes))
        .and_then(|()| std::fs::rename(&beside, file))
        .with_context(|| format!("cannot write {}", file.display()))
}

fn report(places: &Places, module: &Path, [compiled, joined, size]: [usize; 3], linked: &Linked) {
    let shown = module.strip_prefix(&places.root).unwrap_or(module);
    println!(
        "{}: {size} bytes ({}; {} as compiled, {} as linked)",
        shown.display(),
        kib(size),
        kib(compiled),
        kib(joined)
    );
    println!("  exports: {}", linked.exports.join(", "));
    println!("  taken out: {} exports of the SDK", linked.dropped.len());
    for (from, names) in &linked.imports {
        println!("  imports from {from} ({}): {}", names.len(), names.join(", "));
    }
}

/// A size in KiB with one decimal.
fn kib(bytes: usize) -> String {
    let tenths = bytes * 10 / 1024;
    format!("{}.{} KiB", tenths / 10, tenths % 10)
}
