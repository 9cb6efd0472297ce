//! Where things are: the checkout, the project's own folder for what is fetched, cargo's output.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The folders that every command works in.
pub(crate) struct Places {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// What was fetched: `.meshspan` in the checkout, or what `MESHSPAN_HOME` names.
    pub(crate) home: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
}

impl Places {
    pub(crate) fn find() -> Result<Self> {
        // Cargo says where the package is when it runs it; the path at compile time would be wrong in a
        // checkout that was moved.
        let package = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.parent().map(Path::to_path_buf).unwrap_or_default();
        if !root.join("Cargo.lock").is_file() {
            bail!("no Cargo.lock in {}: run `cargo xtask` inside a checkout of meshspan", root.display());
        }
        let from_root = |name: &str, default: &str| {
            root.join(std::env::var_os(name).filter(|v| !v.is_empty()).unwrap_or_else(|| default.into()))
        };
        Ok(Self {
            home: from_root("MESHSPAN_HOME", ".meshspan"),
            target: from_root("CARGO_TARGET_DIR", "target"),
            root,
        })
    }

    /// What users get. Always in the checkout, wherever cargo puts its own output.
    pub(crate) fn dist(&self) -> PathBuf {
        self.root.join("target/dist")
    }

    /// The module as Envoy loads it.
    pub(crate) fn module(&self) -> PathBuf {
        self.dist().join("meshspan.wasm")
    }

    /// The one without a callback for response headers.
    pub(crate) fn lean_module(&self) -> PathBuf {
        self.dist().join("meshspan-lean.wasm")
    }

    /// The output of sub-commands that the terminal does not show.
    pub(crate) fn log(&self, name: &str) -> Result<PathBuf> {
        let folder = self.home.join("logs");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {} (MESHSPAN_HOME names another place)", folder.display()))?;
        Ok(folder.join(format!("{name}.log")))
    }

    /// The version that Cargo.lock fixes for `package`.
    pub(crate) fn locked_version(&self, package: &str) -> Result<String> {
        let lock = std::fs::read_to_string(self.root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
        match version_in_lock(&lock, package) {
            Some(version) => Ok(version.to_owned()),
            None => bail!("Cargo.lock holds no `{package}`; run `cargo update --workspace` and look at its changes"),
        }
    }
}

/// The cargo that runs this, so that all of the build is one toolchain's.
pub(crate) fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// The file of this name on `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn version_in_lock<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let mut lines = lock.lines();
    while let Some(line) = lines.next() {
        if line.strip_prefix("name = ").map(unquoted) == Some(package) {
            return lines.next()?.strip_prefix("version = ").map(unquoted);
        }
    }
    None
}

fn unquoted(text: &str) -> &str {
    text.trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_found_by_its_whole_name() {
        let lock = "[[package]]\nname = \"wasm-bindgen-test\"\nversion = \"0.3.80\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\nsource = \"x\"\n";
        assert_eq!(version_in_lock(lock, "wasm-bindgen"), Some("0.2.130"));
        assert_eq!(version_in_lock(lock, "wasm-bindgen-test"), Some("0.3.80"));
        assert_eq!(version_in_lock(lock, "wasm"), None);
        assert_eq!(version_in_lock("name = \"cut-off\"", "cut-off"), None);
    }
}
