//! The link step: from what the compiler leaves to the module that Envoy loads.
//!
//! The SDK's crate exports every callback of the proxy-wasm ABI. The host calls each export it finds, so a
//! stream pays for callbacks that do nothing, and the SDK's own ones panic on what a host may well send.
//! The filter's callbacks are therefore exported as `meshspan_export_proxy_on_X`; here they take the
//! name `proxy_on_X`, the SDK's are taken out, and what nothing reaches any more goes with them. The SDK's contexts are
//! tables of functions, which look used to whoever does not know that nobody makes a context: they are taken out by name.
//!
//! The module comes in two editions, of which the lean one does without the callback for response headers: what Envoy does
//! not find it does not call, and few configurations need it.

use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use walrus::{ElementItems, ExportItem, Function, FunctionBuilder, FunctionId, FunctionKind, Module, ModuleConfig};

/// What stands before the name of the filter's own exports until they are linked.
const OWN: &str = "meshspan_export_";

/// What the module keeps beside its callbacks: the host's way to memory, to initialization and to the ABI's version.
const KEPT: [&str; 4] = ["memory", "_initialize", "proxy_abi_version_0_2_1", "proxy_on_memory_allocate"];

/// What stands in the names of the methods that the SDK's contexts have of their own.
const CONTEXT_METHODS: &str = "10proxy_wasm6traits";

/// The callback that the lean edition does without.
const RESPONSES: &str = "proxy_on_response_headers";

/// The filter's function that tells its own code whether that callback is there.
const HEARS_RESPONSES: &str = "meshspan_link_hears_responses";

/// Which callbacks the module has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edition {
    /// All that any configuration needs.
    Complete,
    /// Not the one for response headers. It refuses a configuration that needs it.
    Lean,
}

/// The callbacks without which it is no filter of ours.
const REQUIRED: [&str; 6] = [
    "proxy_on_context_create",
    "proxy_on_configure",
    "proxy_on_request_headers",
    "proxy_on_log",
    "proxy_on_tick",
    "proxy_on_http_call_response",
];

/// The modules that Envoy offers imports from.
const IMPORT_MODULES: [&str; 2] = ["env", "wasi_snapshot_preview1"];

/// The finished module and what there is to say about it.
#[derive(Debug)]
pub(crate) struct Linked {
    pub(crate) wasm: Vec<u8>,
    /// The exports it has, sorted.
    pub(crate) exports: Vec<String>,
    /// The exports that were taken out, sorted.
    pub(crate) dropped: Vec<String>,
    /// The imports it has: names by module.
    pub(crate) imports: BTreeMap<String, Vec<String>>,
}

/// Links an edition of the module. `names` keeps the functions' names, for profiles and stack traces.
pub(crate) fn link(compiled: &[u8], edition: Edition, names: bool) -> Result<Linked> {
    let mut config = ModuleConfig::new();
    config.generate_name_section(names).generate_producers_section(false).generate_dwarf(false);
    let mut module = config.parse(compiled).context("the compiler's output is not a wasm module that can be read")?;

    let tells_edition = tell_edition(&mut module, edition);
    let own: Vec<String> =
        module.exports.iter().filter_map(|export| export.name.strip_prefix(OWN)).map(str::to_owned).collect();
    let mut dropped = Vec::new();
    for (id, name) in module.exports.iter().map(|export| (export.id(), export.name.clone())).collect::<Vec<_>>() {
        let renamed = name.strip_prefix(OWN).filter(|name| edition == Edition::Complete || *name != RESPONSES);
        if let Some(renamed) = renamed {
            renamed.clone_into(&mut module.exports.get_mut(id).name);
        } else if own.contains(&name) || !KEPT.contains(&name.as_str()) {
            module.exports.delete(id);
            dropped.push(name);
        }
    }
    take_out_contexts(&mut module);
    walrus::passes::gc::run(&mut module);
    // The compiler's notes about itself; the host reads none of them.
    let notes: Vec<_> = module.customs.iter().map(|(id, section)| (id, section.name().to_owned())).collect();
    for (id, name) in notes {
        if !name.starts_with(".debug") {
            module.customs.delete(id);
        }
    }

    let mut exports: Vec<String> = module.exports.iter().map(|export| export.name.clone()).collect();
    exports.sort();
    dropped.sort();
    let mut imports: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for import in module.imports.iter() {
        imports.entry(import.module.clone()).or_default().push(import.name.clone());
    }
    for names in imports.values_mut() {
        names.sort();
    }
    let functions: Vec<&str> = module
        .exports
        .iter()
        .filter(|export| matches!(export.item, ExportItem::Function(_)))
        .map(|export| export.name.as_str())
        .collect();
    check(tells_edition, &functions, &exports, &imports)?;
    let wasm = module.emit_wasm();
    Ok(Linked { wasm, exports, dropped, imports })
}

/// Writes the edition into the function that tells it. Returns whether there is one.
fn tell_edition(module: &mut Module, edition: Edition) -> bool {
    let function = module.exports.get_func(HEARS_RESPONSES).ok();
    let Some(FunctionKind::Local(function)) = function.map(|id| &mut module.funcs.get_mut(id).kind) else {
        return false;
    };
    let mut body = function.builder_mut().func_body();
    body.instrs_mut().clear();
    body.i32_const(i32::from(edition == Edition::Complete));
    true
}

/// Takes the methods of the SDK's contexts out of the table of functions, once nothing is exported that makes a context. A
/// function that has no name, or that is called directly as well, stays.
fn take_out_contexts(module: &mut Module) {
    let methods: BTreeSet<FunctionId> = module
        .funcs
        .iter()
        .filter(|function| function.name.as_deref().is_some_and(|name| name.contains(CONTEXT_METHODS)))
        .map(Function::id)
        .collect();
    if methods.is_empty() {
        return;
    }
    let mut nothing = FunctionBuilder::new(&mut module.types, &[], &[]);
    nothing.func_body().unreachable();
    let nothing = nothing.finish(Vec::new(), &mut module.funcs);
    for element in module.elements.iter_mut() {
        if let ElementItems::Functions(functions) = &mut element.items {
            for function in functions.iter_mut().filter(|function| methods.contains(function)) {
                *function = nothing;
            }
        }
    }
}

/// Reports everything that is wrong at once.
fn check(
    tells_edition: bool,
    functions: &[&str],
    exports: &[String],
    imports: &BTreeMap<String, Vec<String>>,
) -> Result<()> {
    let mut wrong = Vec::new();
    if !tells_edition {
        wrong.push(format!("the function `{HEARS_RESPONSES}` is missing: the filter has to export it"));
    }
    for name in KEPT {
        if !exports.iter().any(|export| export == name) {
            wrong.push(format!("the export `{name}` is missing"));
        }
    }
    for name in REQUIRED {
        if !functions.contains(&name) {
            wrong.push(format!("the callback `{name}` is missing: the filter has to export `{OWN}{name}`"));
        }
    }
    for (module, names) in imports {
        if !IMPORT_MODULES.contains(&module.as_str()) {
            wrong.push(format!("imports from `{module}`, which Envoy does not offer: {}", names.join(", ")));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("the compiled module is not one that Envoy can run as meshspan:\n  - {}", wrong.join("\n  - "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module as the compiler leaves it: the SDK's exports, the filter's own, and a helper of each.
    fn compiled(replace: &[(&str, &str)]) -> Vec<u8> {
        let mut text = r#"(module
            (import "env" "proxy_log" (func $proxy_log (param i32 i32 i32) (result i32)))
            (import "env" "proxy_continue_stream" (func $sdk_call (param i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (table 2 2 funcref)
            (elem (i32.const 0) $_ZN10proxy_wasm6traits7Context7on_done17h0E $in_a_table)
            (func $_ZN10proxy_wasm6traits7Context7on_done17h0E (drop (call $sdk_call (i32.const 7777))))
            (func $in_a_table)
            (func (export "_initialize") (call_indirect (i32.const 1)))
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 0)
            (func $sdk_helper (drop (call $sdk_call (i32.const 7777))))
            (func $own_helper (drop (call $proxy_log (i32.const 1) (i32.const 2) (i32.const 3)))
                              (drop (call $fd_write (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4))))
            (func (export "proxy_on_log") (param i32) (call $sdk_helper))
            (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (call $sdk_helper) i32.const 0)
            (func (export "meshspan_export_proxy_on_log") (param i32) (call $own_helper))
            (func (export "meshspan_export_proxy_on_context_create") (param i32 i32))
            (func (export "meshspan_export_proxy_on_configure") (param i32 i32) (result i32) i32.const 1)
            (func (export "meshspan_export_proxy_on_request_headers") (param i32 i32 i32) (result i32) i32.const 0)
            (func (export "meshspan_export_proxy_on_response_headers") (param i32 i32 i32) (result i32)
                (call $only_of_responses))
            (func $only_of_responses (result i32) i32.const 8888)
            (func $hears_responses (export "meshspan_link_hears_responses") (result i32)
                (i32.store (i32.const 0) (i32.const 1)) (i32.load (i32.const 0)))
            (func (export "meshspan_export_proxy_on_tick") (param i32) (drop (call $hears_responses)))
            (func (export "meshspan_export_proxy_on_http_call_response") (param i32 i32 i32 i32 i32))
            (func (export "some_other_crates_function"))
            (@custom "target_features" "x")
        )"#
        .to_owned();
        for (from, to) in replace {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn own_callbacks_replace_the_sdks_and_the_rest_goes() {
        let linked = link(&compiled(&[]), Edition::Complete, false).unwrap();
        assert_eq!(
            linked.exports,
            [
                "_initialize",
                "memory",
                "proxy_abi_version_0_2_1",
                "proxy_on_configure",
                "proxy_on_context_create",
                "proxy_on_http_call_response",
                "proxy_on_log",
                "proxy_on_memory_allocate",
                "proxy_on_request_headers",
                "proxy_on_response_headers",
                "proxy_on_tick",
            ]
        );
        assert_eq!(
            linked.dropped,
            [HEARS_RESPONSES, "proxy_on_log", "proxy_on_request_body", "some_other_crates_function"]
        );
        // What only the SDK's callbacks and contexts called is gone, down to the import; what ours call is there.
        assert_eq!(linked.imports["env"], ["proxy_log"]);
        assert_eq!(linked.imports["wasi_snapshot_preview1"], ["fd_write"]);
        // It is a module still, and linking it again has nothing to rename: the callbacks count as the SDK's.
        let again = link(&linked.wasm, Edition::Complete, false).unwrap_err().to_string();
        assert!(again.contains("`proxy_on_log` is missing"), "{again}");
        assert!(again.contains(&format!("`{HEARS_RESPONSES}` is missing")), "{again}");
    }

    #[test]
    fn the_lean_edition_has_no_callback_for_responses_and_knows() {
        /// How often these bytes stand in the module.
        fn count(wasm: &[u8], bytes: &[u8]) -> usize {
            wasm.windows(bytes.len()).filter(|part| *part == bytes).count()
        }
        let of = |edition| link(&compiled(&[]), edition, false).unwrap();
        let (complete, lean) = (of(Edition::Complete), of(Edition::Lean));
        let without: Vec<_> = complete.exports.iter().filter(|name| *name != RESPONSES).cloned().collect();
        assert_eq!(lean.exports, without);
        assert!(lean.dropped.iter().any(|name| name == &format!("{OWN}{RESPONSES}")), "{:?}", lean.dropped);
        let counts = |bytes: &[u8]| (count(&complete.wasm, bytes), count(&lean.wasm, bytes));
        // `i32.const 8888`, which nothing but that callback reaches.
        assert_eq!(counts(&[0x41, 0xb8, 0xc5, 0x00]), (1, 0));
        // A function without locals that says 1, or 0: the one that tells, beside others.
        let (ones, zeros) = (counts(&[0, 0x41, 1, 0x0b]), counts(&[0, 0x41, 0, 0x0b]));
        assert_eq!((ones.0 - ones.1, zeros.1 - zeros.0), (1, 1));
    }

    #[test]
    fn names_stay_when_asked_for() {
        let names = |wasm: &[u8]| wasm.windows(10).any(|part| part == b"own_helper");
        assert!(!names(&link(&compiled(&[]), Edition::Complete, false).unwrap().wasm));
        assert!(names(&link(&compiled(&[]), Edition::Complete, true).unwrap().wasm));
    }

    #[test]
    fn what_envoy_could_not_run_is_refused_with_every_reason() {
        let error = link(
            &compiled(&[
                ("meshspan_export_proxy_on_configure", "proxy_on_configure"), // only the SDK's
                ("_initialize", "_start"),                                    // a program, no library
                ("\"env\" \"proxy_log\"", "\"__wbindgen_placeholder__\" \"proxy_log\""), // a browser's
            ]),
            Edition::Complete,
            false,
        )
        .unwrap_err()
        .to_string();
        for part in ["`proxy_on_configure` is missing", "`_initialize` is missing", "`__wbindgen_placeholder__`"] {
            assert!(error.contains(part), "{part} in: {error}");
        }
        assert!(!error.contains("proxy_on_tick"), "{error}");
    }

    #[test]
    fn what_is_no_module_is_refused() {
        for bytes in [&b""[..], b"\0asm", b"not wasm at all"] {
            assert!(link(bytes, Edition::Complete, false).is_err(), "{bytes:?}");
        }
    }
}
