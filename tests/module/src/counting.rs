//! A copy of a module that counts what its allocator is asked for.
//!
//! The module that users load has no such counter and no functions' names. Its allocator can be told all the same: it is
//! what asks the machine for more memory. The copy differs from the module in a few instructions at the beginning of
//! that one function, so it allocates just as the module does; its instructions are not to be counted.

use std::collections::BTreeSet;

use walrus::ir::{
    BinaryOp, Binop, Call, Const, GlobalGet, GlobalSet, Instr, LocalGet, MemoryGrow, UnaryOp, Unop, Value, Visitor,
    dfs_in_order,
};
use walrus::{ConstExpr, FunctionId, GlobalId, LocalFunction, Module, ValType};

/// The exported global that says how often the allocator was asked.
pub(crate) const COUNT: &str = "meshspan_test_allocations";
/// And the one that says for how many bytes in all.
pub(crate) const BYTES: &str = "meshspan_test_allocated_bytes";

/// The copy, or why there is none.
pub(crate) fn counting(wasm: &[u8]) -> Result<Vec<u8>, String> {
    let mut module = Module::from_buffer(wasm).map_err(|error| error.to_string())?;
    let allocator = allocator(&module)?;
    let global = |module: &mut Module, name| {
        let zero = ConstExpr::Value(Value::I64(0));
        let global = module.globals.add_local(ValType::I64, true, false, zero);
        module.exports.add(name, global);
        global
    };
    let (count, bytes) = (global(&mut module, COUNT), global(&mut module, BYTES));
    let function = module.funcs.get_mut(allocator).kind.unwrap_local_mut();
    let size = LocalGet { local: function.args[0] };
    let more = |global: GlobalId, by: &[Instr]| {
        let add = Binop { op: BinaryOp::I64Add };
        [&[GlobalGet { global }.into()], by, &[add.into(), GlobalSet { global }.into()]].concat()
    };
    let mut start = more(count, &[Const { value: Value::I64(1) }.into()]);
    start.extend(more(bytes, &[size.into(), Unop { op: UnaryOp::I64ExtendUI32 }.into()]));
    let mut body = function.builder_mut().func_body();
    for (position, instruction) in start.into_iter().enumerate() {
        body.instr_at(position, instruction);
    }
    Ok(module.emit_wasm())
}

/// What a function does that matters here.
#[derive(Default)]
struct Uses {
    grows_memory: bool,
    calls: BTreeSet<FunctionId>,
}

impl Visitor<'_> for Uses {
    fn visit_memory_grow(&mut self, _: &MemoryGrow) {
        self.grows_memory = true;
    }

    fn visit_call(&mut self, call: &Call) {
        self.calls.insert(call.func);
    }
}

/// The function that gives out memory: the one that grows it, or that alone calls the one that does, and so on up. All
/// ways to allocate lead through it; a block that can grow in its place does not.
fn allocator(module: &Module) -> Result<FunctionId, String> {
    let uses = |(id, function): (FunctionId, &LocalFunction)| {
        let mut uses = Uses::default();
        dfs_in_order(&mut uses, function, function.entry_block());
        (id, uses)
    };
    let functions: Vec<_> = module.funcs.iter_local().map(uses).collect();
    let only = |found: Vec<FunctionId>| if let [one] = found[..] { Some(one) } else { None };
    let growing = functions.iter().filter(|(_, uses)| uses.grows_memory).map(|(id, _)| *id).collect::<Vec<_>>();
    let mut found = only(growing).ok_or("not one function grows the memory, so the allocator cannot be told")?;
    let callers = |of| functions.iter().filter(|(_, uses)| uses.calls.contains(&of)).map(|(id, _)| *id).collect();
    while let Some(caller) = only(callers(found)) {
        found = caller;
    }
    match module.types.params(module.funcs.get(found).ty()) {
        [ValType::I32, ..] => Ok(found),
        other => Err(format!("the function that seems to be the allocator takes {other:?} and not a size")),
    }
}
