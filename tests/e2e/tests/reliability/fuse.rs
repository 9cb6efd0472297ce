//! Copies of the module with a bug: one that traps after so many requests, and one that forgets some memory at each.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use meshspan_kit::config::MODULE_VARIABLE;
use walrus::ir::{BinaryOp, Binop, Const, GlobalGet, GlobalSet, IfElse, Instr, Value};
use walrus::{ConstExpr, ExportItem, FunctionId, FunctionKind, Module, ValType};

/// The callback that has the bug.
const CALLBACK: &str = "proxy_on_request_headers";

/// The function by which the host has the module allocate memory.
const ALLOCATE: &str = "proxy_on_memory_allocate";

/// Writes the copy into `folder`. Each machine made of it traps at its request number `requests` and would at each
/// later one; a new machine counts from the beginning.
pub(crate) fn failing_module(folder: &Path, requests: u32) -> anyhow::Result<PathBuf> {
    ensure!(requests > 0, "a machine cannot fail before its first request");
    let path = folder.join("failing.wasm");
    std::fs::write(&path, fused(&original()?, requests)?)?;
    Ok(path)
}

/// Writes a copy into `folder` that allocates so many bytes at each request and never frees them.
pub(crate) fn leaking_module(folder: &Path, bytes: u32) -> anyhow::Result<PathBuf> {
    let path = folder.join("leaking.wasm");
    std::fs::write(&path, leaking(&original()?, bytes)?)?;
    Ok(path)
}

fn original() -> anyhow::Result<Vec<u8>> {
    let module = std::env::var_os(MODULE_VARIABLE).with_context(|| format!("{MODULE_VARIABLE} is not set"))?;
    std::fs::read(&module).with_context(|| format!("cannot read {}", Path::new(&module).display()))
}

/// The module with, at the beginning of its callback: `if (left == 1) unreachable; left -= 1`.
fn fused(module: &[u8], requests: u32) -> anyhow::Result<Vec<u8>> {
    let mut module = Module::from_buffer(module)?;
    let left = Value::I32(i32::try_from(requests)?);
    let left = module.globals.add_local(ValType::I32, true, false, ConstExpr::Value(left));
    let FunctionKind::Local(function) = &mut module.funcs.get_mut(exported(&module, CALLBACK)?).kind else {
        anyhow::bail!("{CALLBACK} is an import");
    };
    let builder = function.builder_mut();
    let trap = builder.dangling_instr_seq(None).unreachable().id();
    let go_on = builder.dangling_instr_seq(None).id();
    let one = || Instr::from(Const { value: Value::I32(1) });
    let beginning: [Instr; 8] = [
        GlobalGet { global: left }.into(),
        one(),
        Binop { op: BinaryOp::I32Eq }.into(),
        IfElse { consequent: trap, alternative: go_on }.into(),
        GlobalGet { global: left }.into(),
        one(),
        Binop { op: BinaryOp::I32Sub }.into(),
        GlobalSet { global: left }.into(),
    ];
    let mut body = builder.func_body();
    for (position, instruction) in beginning.into_iter().enumerate() {
        body.instr_at(position, instruction);
    }
    Ok(module.emit_wasm())
}

/// The module with, at the beginning of its callback: `allocate(bytes)`, its result dropped.
fn leaking(module: &[u8], bytes: u32) -> anyhow::Result<Vec<u8>> {
    let mut module = Module::from_buffer(module)?;
    let allocate = exported(&module, ALLOCATE)?;
    let callback = exported(&module, CALLBACK)?;
    let FunctionKind::Local(function) = &mut module.funcs.get_mut(callback).kind else {
        anyhow::bail!("{CALLBACK} is an import");
    };
    let bytes = Value::I32(i32::try_from(bytes)?);
    let mut body = function.builder_mut().func_body();
    body.const_at(0, bytes).call_at(1, allocate).drop_at(2);
    Ok(module.emit_wasm())
}

fn exported(module: &Module, name: &str) -> anyhow::Result<FunctionId> {
    let export = module.exports.iter().find(|export| export.name == name);
    match export.map(|export| export.item) {
        Some(ExportItem::Function(function)) => Ok(function),
        _ => anyhow::bail!("the module has no {name}"),
    }
}
