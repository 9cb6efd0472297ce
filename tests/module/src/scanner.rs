//! A guest that is no filter: it looks at one text, and what that takes is counted. The benchmarks' crate `regex` is one.

use std::path::Path;

use wasmtime::{Config, Engine, Instance, Linker, Memory, Module, Store, TypedFunc};

/// More than any text needs.
const FUEL: u64 = 1 << 40;

/// The guest, started.
pub struct Scanner {
    store: Store<()>,
    memory: Memory,
    buffer: TypedFunc<u32, u32>,
    matches: TypedFunc<u32, u32>,
}

impl Scanner {
    /// Starts the guest in this file: it exports `buffer(size)`, which says where a text of so many bytes goes, and
    /// `matches(size)`.
    pub fn start(file: &Path) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config.consume_fuel(true);
        let engine = Engine::new(&config)?;
        let module = Module::from_file(&engine, file)?;
        let mut store = Store::new(&engine, ());
        store.set_fuel(FUEL)?;
        let mut linker = Linker::new(&engine);
        // It reads a text and says a number: nothing of the system, but for a seed of its hash tables, which may as well
        // be what stands there.
        linker.func_wrap("wasi_snapshot_preview1", "random_get", |_: i32, _: i32| 0_i32)?;
        linker.define_unknown_imports_as_traps(&module)?;
        let instance: Instance = linker.instantiate(&mut store, &module)?;
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut store, "_initialize") {
            initialize.call(&mut store, ())?;
        }
        let memory = instance.get_memory(&mut store, "memory").ok_or_else(|| wasmtime::Error::msg("no memory"))?;
        let buffer = instance.get_typed_func(&mut store, "buffer")?;
        let matches = instance.get_typed_func(&mut store, "matches")?;
        Ok(Self { store, memory, buffer, matches })
    }

    /// How many patterns fit the text, and the instructions that it took to tell. What is made once has to have been made
    /// by an earlier call.
    pub fn matches(&mut self, text: &str) -> wasmtime::Result<(u32, u64)> {
        let size = u32::try_from(text.len())?;
        let place = self.buffer.call(&mut self.store, size)?;
        self.memory.write(&mut self.store, usize::try_from(place)?, text.as_bytes())?;
        self.store.set_fuel(FUEL)?;
        let found = self.matches.call(&mut self.store, size)?;
        Ok((found, FUEL - self.store.get_fuel()?))
    }
}
