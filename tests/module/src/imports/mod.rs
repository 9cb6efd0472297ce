//! Every function that Envoy offers a guest, and what each does here.

mod http;
mod maps;
mod metrics;
mod misc;
mod shared;
mod wasi;

use wasmtime::{Caller, FuncType, Linker, Module, Val, ValType};

use crate::abi::Status;
use crate::failure::Injected;
use crate::guest::{Answer, Failure, Guest};
use crate::host::Host;

/// A function that the host offers.
pub(crate) struct Import {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its arguments: `i` for 32 bits, `I` for 64.
    pub(crate) arguments: &'static str,
    /// The argument that says where the address of returned data goes; the next says where its size goes.
    pub(crate) returns_data: Option<usize>,
    /// What it does.
    pub(crate) run: fn(&mut Guest<'_>) -> Answer,
}

/// A function without returned data.
const fn plain(name: &'static str, arguments: &'static str, run: fn(&mut Guest<'_>) -> Answer) -> Import {
    Import { name, arguments, returns_data: None, run }
}

/// A function that returns data.
const fn data(name: &'static str, arguments: &'static str, at: usize, run: fn(&mut Guest<'_>) -> Answer) -> Import {
    Import { name, arguments, returns_data: Some(at), run }
}

/// Binds every import of `module`. One that Envoy does not offer traps when called, and names itself.
pub(crate) fn bind(linker: &mut Linker<Host>, module: &Module) -> wasmtime::Result<()> {
    for import in module.imports() {
        let Some(wanted) = import.ty().func().cloned() else {
            continue;
        };
        match find(import.module(), import.name()) {
            Some(offered) => offer(linker, import.module(), offered)?,
            None => refuse(linker, import.module(), import.name(), wanted)?,
        }
    }
    Ok(())
}

fn find(module: &str, name: &str) -> Option<&'static Import> {
    let groups: &[&'static [Import]] = match module {
        "env" => &[maps::IMPORTS, http::IMPORTS, metrics::IMPORTS, misc::IMPORTS, shared::IMPORTS],
        "wasi_snapshot_preview1" | "wasi_unstable" => &[wasi::IMPORTS],
        _ => &[],
    };
    groups.iter().copied().flatten().find(|import| import.name == name)
}

fn offer(linker: &mut Linker<Host>, module: &str, import: &'static Import) -> wasmtime::Result<()> {
    let arguments = import.arguments.chars().map(|kind| if kind == 'I' { ValType::I64 } else { ValType::I32 });
    // All answer a number but this one, which does not come back.
    let results = (import.name != "proc_exit").then_some(ValType::I32);
    let signature = FuncType::new(linker.engine(), arguments, results);
    linker.func_new(module, import.name, signature, move |caller, arguments, results| {
        let status = answer(import, caller, arguments)?;
        if let Some(result) = results.first_mut() {
            *result = Val::I32(status.0.cast_signed());
        }
        Ok(())
    })?;
    Ok(())
}

fn answer(import: &'static Import, caller: Caller<'_, Host>, arguments: &[Val]) -> wasmtime::Result<Status> {
    let mut guest = Guest::new(caller, arguments)?;
    let injected = guest.host().on_host_call(import.name);
    let answer = match (injected, import.returns_data) {
        (None, _) => (import.run)(&mut guest),
        (Some(Injected::Status(status)), _) => return Ok(status),
        (Some(Injected::Pointer { address, size }), Some(at)) => {
            guest.return_u32(at, address).and_then(|()| guest.return_u32(at + 1, size))
        }
        (Some(Injected::Data(bytes)), Some(at)) => guest.return_data(at, &bytes),
        (Some(_), None) => {
            let message = format!("{} returns no data: a test can inject a status only", import.name);
            return Err(wasmtime::Error::msg(message));
        }
    };
    match answer {
        Ok(()) => Ok(Status::OK),
        Err(Failure::Status(status)) => Ok(status),
        Err(Failure::Trap(error)) => Err(error),
    }
}

fn refuse(linker: &mut Linker<Host>, module: &str, name: &str, wanted: FuncType) -> wasmtime::Result<()> {
    let message = format!("the module called {module}.{name}, which Envoy does not offer");
    linker.func_new(module, name, wanted, move |_, _, _| Err(wasmtime::Error::msg(message.clone())))?;
    Ok(())
}

/// For what the ABI has and this host has no use for.
fn unimplemented(_: &mut Guest<'_>) -> Answer {
    Err(Status::UNIMPLEMENTED.into())
}
