//! The module under test: found, compiled once, and started as often as a test likes.

use std::fmt;
use std::path::{Path, PathBuf};

use wasmtime::{Config, Engine, InstancePre, Linker};

use crate::counting::counting;
use crate::host::Host;
use crate::imports;

/// A compiled module with all its imports bound. Cheap to clone.
#[derive(Clone)]
pub struct Module {
    pub(crate) instance: InstancePre<Host>,
    path: PathBuf,
}

impl Module {
    /// Loads the module that `cargo xtask build` leaves, or the one that `MESHSPAN_WASM` names.
    pub fn load() -> Result<Self, LoadError> {
        let path = place();
        Self::compile(&path, &read(&path)?)
    }

    /// Loads the lean module beside it: `meshspan-lean.wasm` beside `meshspan.wasm`.
    pub fn load_lean() -> Result<Self, LoadError> {
        let path = lean_place();
        Self::compile(&path, &read(&path)?)
    }

    /// The same with a counter in its allocator, for [`Cost::allocations`](crate::Cost). A few instructions more run for
    /// each allocation.
    pub fn counting(&self) -> Result<Self, LoadError> {
        Self::compile_counting(&self.path, &read(&self.path)?)
    }

    /// Compiles `bytes` with a counter in the allocator.
    pub fn compile_counting(path: &Path, bytes: &[u8]) -> Result<Self, LoadError> {
        let bytes = counting(bytes)
            .map_err(|message| LoadError { message: format!("{}: allocations: {message}", path.display()) })?;
        Self::compile(path, &bytes)
    }

    /// Compiles `bytes`: a wasm binary. `path` is only for messages.
    pub fn compile(path: &Path, bytes: &[u8]) -> Result<Self, LoadError> {
        let failed = |error: wasmtime::Error| LoadError { message: format!("{}: {error:?}", path.display()) };
        let mut config = Config::new();
        config.consume_fuel(true);
        let engine = Engine::new(&config).map_err(failed)?;
        let module = wasmtime::Module::from_binary(&engine, bytes).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        imports::bind(&mut linker, &module).map_err(failed)?;
        Ok(Self { instance: linker.instantiate_pre(&module).map_err(failed)?, path: path.to_owned() })
    }

    /// Where it came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it imports: the import module's name and the function's.
    pub fn imports(&self) -> Vec<(String, String)> {
        self.instance.module().imports().map(|import| (import.module().to_owned(), import.name().to_owned())).collect()
    }

    /// The names of the functions that it exports.
    pub fn exports(&self) -> Vec<String> {
        self.instance
            .module()
            .exports()
            .filter(|export| export.ty().func().is_some())
            .map(|export| export.name().to_owned())
            .collect()
    }
}

fn place() -> PathBuf {
    std::env::var_os("MESHSPAN_WASM").map_or_else(|| workspace().join("target/dist/meshspan.wasm"), PathBuf::from)
}

fn lean_place() -> PathBuf {
    let path = place();
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push("-lean.wasm");
    path.with_file_name(name)
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|error| LoadError {
        message: format!(
            "the module cannot be read: {}: {error}\nrun `cargo xtask build`, or name another in MESHSPAN_WASM",
            path.display()
        ),
    })
}

/// Two folders above this crate's own.
fn workspace() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own)
}

/// The module is not there, or is no module, or imports something with another type than the ABI says.
#[derive(Clone, Debug)]
pub struct LoadError {
    message: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for LoadError {}
