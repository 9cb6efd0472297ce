//! Where the wasm targets come from: the toolchain in use, rustup, or Debian's packages.
//!
//! In this order: what is already there, then what rustup can download, then Debian's own Rust with its
//! library sources (it builds the standard library once, in about half a minute).

use crate::places::{Places, cargo, on_path};
use crate::process::{output_of, run_logged};
use crate::progress::Step;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target that Envoy loads.
pub(crate) const WASI: &str = "wasm32-wasip1";
/// The target of the logic's tests under Node.
pub(crate) const NODE: &str = "wasm32-unknown-unknown";

/// A way to build for wasm.
#[derive(Debug)]
pub(crate) enum WasmToolchain {
    /// The toolchain in use has the targets' standard library.
    Installed,
    /// Debian's Rust beside it, which builds the standard library from its sources.
    Debian { linker: PathBuf },
}

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LIBRARY: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";
const DEBIAN_WASI: &str = "/usr/lib/wasm32-wasi";
const DEBIAN_PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "wasi-libc", "lld-19"];

impl WasmToolchain {
    /// Finds or gets the standard library of `targets`.
    pub(crate) fn get(places: &Places, targets: &[&str], step: &Step) -> Result<(Self, String)> {
        let wanted = std::env::var("MESHSPAN_TOOLCHAIN").unwrap_or_default();
        let (rustup, debian) = match wanted.as_str() {
            "" | "auto" => (true, true),
            "rustup" => (true, false),
            "debian" => (false, true),
            other => bail!("MESHSPAN_TOOLCHAIN is `{other}`; it may be auto, rustup or debian"),
        };
        if rustup && has_targets(targets) {
            return Ok((Self::Installed, format!("{}, by the toolchain in use", targets.join(" and "))));
        }
        if debian && let Some(found) = Self::debian(targets) {
            return Ok((
                found,
                format!("{}, by Debian's Rust ({})", targets.join(" and "), rustc_version(DEBIAN_RUSTC)),
            ));
        }
        let mut tried = Vec::new();
        if rustup {
            match add_by_rustup(places, targets, step) {
                Ok(()) => {
                    return Ok((Self::Installed, format!("{}, added by rustup", targets.join(" and "))));
                }
                Err(error) => tried.push(format!("rustup: {error:#}")),
            }
        }
        if debian {
            match install_by_apt(places, targets, step) {
                Ok(found) => {
                    return Ok((found, format!("{}, by Debian's Rust, installed now", targets.join(" and "))));
                }
                Err(error) => tried.push(format!("Debian's packages: {error:#}")),
            }
        }
        bail!(
            "no Rust here can build for {}. Tried:\n  - {}\nWhat to do: with a network, `rustup target add {WASI} {NODE}`; \
             on Debian, as root, `apt-get update && apt-get install -y --no-install-recommends {}`; then run this again.",
            targets.join(" and "),
            tried.join("\n  - "),
            DEBIAN_PACKAGES.join(" ")
        )
    }

    /// A cargo command for `target`, complete but for the arguments of the sub-command itself.
    pub(crate) fn cargo(&self, places: &Places, subcommand: &str, target: &str) -> Command {
        let mut command = match self {
            Self::Installed => Command::new(cargo()),
            Self::Debian { .. } => Command::new(DEBIAN_CARGO),
        };
        command.current_dir(&places.root).args([subcommand, "--locked", "--target", target]);
        command.env("CARGO_TARGET_DIR", self.target_dir(places));
        if let Self::Debian { linker } = self {
            // Released compilers build the standard library only when told that it is meant so.
            command.arg("-Zbuild-std=std,panic_abort").env("RUSTC_BOOTSTRAP", "1").env("RUSTC", DEBIAN_RUSTC);
            let linker_key = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
            command.env(linker_key, linker).env("PATH", path_with_debian_first());
            // What the toolchain in use set for itself must not reach the other one.
            for name in ["RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH", "RUSTDOC", "CARGO"] {
                command.env_remove(name);
            }
            if target == WASI {
                match std::env::var("RUSTFLAGS") {
                    // Flags in the environment shadow those of the configuration, so ours join them there.
                    Ok(flags) => command.env("RUSTFLAGS", format!("{flags} -L native={DEBIAN_WASI}")),
                    Err(_) => command
                        .arg("--config")
                        .arg(format!("target.{WASI}.rustflags=[\"-L\", \"native={DEBIAN_WASI}\"]")),
                };
            }
        }
        command
    }

    /// Where builds for wasm land. Debian's have a folder of their own: two compilers in one would undo each
    /// other's work at every turn.
    pub(crate) fn target_dir(&self, places: &Places) -> PathBuf {
        match self {
            Self::Installed => places.target.clone(),
            Self::Debian { .. } => places.target.join("debian"),
        }
    }

    fn debian(targets: &[&str]) -> Option<Self> {
        missing_of_debian(targets).is_empty().then(linker).flatten().map(|linker| Self::Debian { linker })
    }
}

/// Whether the toolchain in use has the standard library of all `targets`. The compiler itself is asked, so
/// that it makes no difference whether rustup or a distribution put it there.
fn has_targets(targets: &[&str]) -> bool {
    targets.iter().all(|target| {
        output_of(Command::new(rustc()).args(["--print", "target-libdir", "--target", target]))
            .and_then(|folder| std::fs::read_dir(folder).ok())
            .is_some_and(|files| files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libcore-")))
    })
}

fn add_by_rustup(places: &Places, targets: &[&str], step: &Step) -> Result<()> {
    let Some(rustup) = rustup() else { bail!("not found on PATH or in ~/.cargo/bin") };
    step.doing("rustup target add (downloads about 50 MB)");
    let log = places.log("rustup")?;
    run_logged(Command::new(rustup).args(["target", "add"]).args(targets).env("RUSTUP_MAX_RETRIES", "1"), &log)?;
    if has_targets(targets) {
        return Ok(());
    }
    // A cargo from elsewhere does not see what rustup adds to its own toolchains.
    bail!("added the targets, but `{}` is not of that toolchain; put ~/.cargo/bin first on PATH", rustc().display())
}

fn install_by_apt(places: &Places, targets: &[&str], step: &Step) -> Result<WasmToolchain> {
    let missing = missing_of_debian(targets);
    let Some(apt) = on_path("apt-get") else {
        bail!("no apt-get here, and missing: {}", missing.join(", "));
    };
    if output_of(Command::new("id").arg("-u")).as_deref() != Some("0") {
        bail!("missing: {}; only root may install them", missing.join(", "));
    }
    let log = places.log("apt")?;
    step.doing("apt-get update");
    run_logged(Command::new(&apt).args(["update", "-q"]), &log).context("no package lists (is there a network?)")?;
    step.doing(format!("apt-get install {} (about 150 MB)", DEBIAN_PACKAGES.join(" ")));
    run_logged(
        Command::new(&apt)
            .args(["install", "-q", "-y", "--no-install-recommends"])
            .args(DEBIAN_PACKAGES)
            .env("DEBIAN_FRONTEND", "noninteractive"),
        &log,
    )
    .context("this needs Debian 12 or later with its security archive")?;
    let missing = missing_of_debian(targets);
    WasmToolchain::debian(targets)
        .with_context(|| format!("the packages are installed, yet missing is: {}", missing.join(", ")))
}

/// What Debian's way needs and this machine lacks, in words.
fn missing_of_debian(targets: &[&str]) -> Vec<String> {
    let mut missing: Vec<String> =
        [(DEBIAN_CARGO, "cargo-web"), (DEBIAN_RUSTC, "rustc-web"), (DEBIAN_LIBRARY, "rust-web-src")]
            .into_iter()
            .chain(targets.contains(&WASI).then_some(("/usr/lib/wasm32-wasi/crt1-reactor.o", "wasi-libc")))
            .filter(|(file, _)| !Path::new(file).exists())
            .map(|(file, package)| format!("{file} (package {package})"))
            .collect();
    if linker().is_none() {
        missing.push("a linker for wasm (package lld-19)".to_owned());
    }
    missing
}

/// LLVM's linker for wasm, the newest that a package installed, or else the one that comes with Rust.
fn linker() -> Option<PathBuf> {
    let packaged = std::fs::read_dir("/usr/bin").ok()?.flatten().filter_map(|file| {
        let name = file.file_name().to_string_lossy().into_owned();
        let version = name.strip_prefix("wasm-ld")?;
        let version = version.strip_prefix('-').map_or(Some(0_u32), |text| text.parse().ok())?;
        Some((version, file.path()))
    });
    let shipped = || {
        let sysroot = PathBuf::from(output_of(Command::new(rustc()).args(["--print", "sysroot"]))?);
        let hosts = std::fs::read_dir(sysroot.join("lib/rustlib")).ok()?;
        hosts.flatten().map(|host| host.path().join("bin/rust-lld")).find(|file| file.is_file())
    };
    packaged.max().map(|(_, path)| path).or_else(shipped)
}

/// The compiler that cargo uses.
fn rustc() -> PathBuf {
    std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from)
}

fn rustc_version(rustc: &str) -> String {
    output_of(Command::new(rustc).arg("--version"))
        .and_then(|text| text.split(' ').nth(1).map(str::to_owned))
        .unwrap_or_else(|| "of unknown version".to_owned())
}

fn rustup() -> Option<PathBuf> {
    let in_folder =
        |folder: OsString, inside: &str| Some(Path::new(&folder).join(inside)).filter(|file| file.is_file());
    on_path("rustup")
        .or_else(|| in_folder(std::env::var_os("CARGO_HOME")?, "bin/rustup"))
        .or_else(|| in_folder(std::env::var_os("HOME")?, ".cargo/bin/rustup"))
}

fn path_with_debian_first() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(PathBuf::from("/usr/bin")).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).unwrap_or(path)
}
