//! A copy of the module that fails: after so many requests its machine traps, as only a bug could make it.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use meshspan_kit::config::MODULE_VARIABLE;
use walrus::ir::{BinaryOp, Binop, Const, GlobalGet, GlobalSet, IfElse, Instr, Value};
use walrus::{ConstExpr, ExportItem, FunctionKind, Module, ValType};

/// The callback that traps.
const CALLBACK: &str = "proxy_on_request_headers";

/// Writes the copy into `folder`. Each machine made of it traps at its request number `requests` and would at each
/// later one; a new machine counts from the beginning.
pub(crate) fn failing_module(folder: &Path, requests: u32) -> anyhow::Result<PathBuf> {
    ensure!(requests > 0, "a machine cannot fail before its first request");
    let module = std::env::var_os(MODULE_VARIABLE).with_context(|| format!("{MODULE_VARIABLE} is not set"))?;
    let bytes = std::fs::read(&module).with_context(|| format!("cannot read {}", Path::new(&module).display()))?;
    let path = folder.join("failing.wasm");
    std::fs::write(&path, fused(&bytes, requests)?)?;
    Ok(path)
}

/// The module with, at the beginning of its callback: `if (left == 1) unreachable; left -= 1`.
fn fused(module: &[u8], requests: u32) -> anyhow::Result<Vec<u8>> {
    let mut module = Module::from_buffer(module)?;
    let left = Value::I32(i32::try_from(requests)?);
    let left = module.globals.add_local(ValType::I32, true, false, ConstExpr::Value(left));
    let callback = module.exports.iter().find(|export| export.name == CALLBACK);
    let Some(ExportItem::Function(callback)) = callback.map(|export| export.item) else {
        anyhow::bail!("the module has no {CALLBACK}");
    };
    let FunctionKind::Local(function) = &mut module.funcs.get_mut(callback).kind else {
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
