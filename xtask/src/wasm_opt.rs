//! `wasm-opt` of Binaryen, which makes the linked module smaller and faster: the npm package `binaryen`, of the version
//! and with the checksum that `xtask/wasm-opt/package-lock.json` fixes, or the same version on `PATH`.

use crate::node;
use crate::partial::Partial;
use crate::places::{Places, on_path};
use crate::process::{output_of, run_logged};
use crate::progress::Step;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release. Another one makes another module, so the figures of the module are those of this one.
const VERSION: &str = "132";

/// What npm installs from.
const MANIFEST: [(&str, &str); 2] = [
    ("package.json", include_str!("../wasm-opt/package.json")),
    ("package-lock.json", include_str!("../wasm-opt/package-lock.json")),
];

/// Where the program lies in what npm installs. It is the compiler as wasm, for Node.
const PROGRAM: &str = "node_modules/binaryen/bin/wasm-opt";

/// What the compiler uses of WebAssembly beside its first version, all of which the oldest Envoy that is tested has.
/// Named one by one, as the linked module no longer says.
const FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// The program, ready to run.
pub(crate) struct WasmOpt {
    program: PathBuf,
}

impl WasmOpt {
    /// Finds or installs it.
    pub(crate) fn get(places: &Places, step: &Step) -> Result<(Self, String)> {
        if let Some(program) = on_path("wasm-opt").filter(|program| is_right(program)) {
            return Ok((Self { program }, format!("found on PATH ({VERSION})")));
        }
        let node = node::version()?;
        let folder = places.home.join(format!("binaryen-{VERSION}"));
        let program = folder.join(PROGRAM);
        if is_right(&program) {
            return Ok((Self { program }, format!("ready ({VERSION}, Node {node})")));
        }
        step.doing(format!("npm gets binaryen {VERSION} (about 15 MB)"));
        install(places, &folder).with_context(|| {
            format!(
                "wasm-opt {VERSION} could not be had, and without it the module is another one. What to do: give npm a \
                 way to its registry (a proxy? then set HTTPS_PROXY), or put wasm-opt of Binaryen {VERSION} on PATH, \
                 and run this again"
            )
        })?;
        Ok((Self { program }, format!("installed from npm ({VERSION}, Node {node})")))
    }

    /// Optimizes the module in `wasm`. `names` keeps the functions' names.
    pub(crate) fn optimize(&self, places: &Places, wasm: &[u8], names: bool) -> Result<Vec<u8>> {
        let folder = places.dist();
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let [before, after] =
            ["linked", "optimized"].map(|what| folder.join(format!("partial-{what}-{}.wasm", std::process::id())));
        let run = || {
            fs::write(&before, wasm).with_context(|| format!("cannot write {}", before.display()))?;
            let mut command = Command::new(&self.program);
            command.arg("-Oz").args(FEATURES).args(names.then_some("--debuginfo"));
            run_logged(command.arg(&before).arg("--output").arg(&after), &places.log("wasm-opt")?)?;
            fs::read(&after).with_context(|| format!("wasm-opt left nothing at {}", after.display()))
        };
        let optimized = run();
        for file in [&before, &after] {
            let _ = fs::remove_file(file);
        }
        optimized
    }
}

/// Installs beside the folder and moves it in place when it is whole and runs.
fn install(places: &Places, folder: &Path) -> Result<()> {
    let log = places.log("wasm-opt")?;
    let partial = Partial::new(places, "binaryen");
    partial.create()?;
    for (name, text) in MANIFEST {
        fs::write(partial.path().join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(partial.path());
    run_logged(&mut npm, &log)?;
    if !is_right(&partial.path().join(PROGRAM)) {
        bail!("npm installed a wasm-opt that does not run as {VERSION}");
    }
    partial.put(folder)
}

fn is_right(program: &Path) -> bool {
    program.is_file()
        && output_of(Command::new(program).arg("--version")).is_some_and(|text| version_in(&text) == Some(VERSION))
}

/// From `wasm-opt version 132 (version_132)`.
fn version_in(text: &str) -> Option<&str> {
    text.strip_prefix("wasm-opt version ")?.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_it_says() {
        assert_eq!(version_in("wasm-opt version 132 (version_132)"), Some("132"));
        assert_eq!(version_in("wasm-opt version 108"), Some("108"));
        assert_eq!(version_in("another program 132"), None);
    }

    #[test]
    fn the_lock_fixes_that_version_and_its_checksum() {
        for (name, text) in MANIFEST {
            assert!(text.contains(&format!("\"binaryen\": \"{VERSION}.0.0\"")), "{name}");
        }
        assert!(MANIFEST[1].1.contains("\"integrity\": \"sha512-"));
        // A registry that one machine uses is not everyone's.
        assert!(!MANIFEST[1].1.contains("\"resolved\""));
    }
}
