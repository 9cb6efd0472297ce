//! What the module asks of Envoy and offers it. Envoy calls each callback that is exported, whether it does anything
//! or not, and refuses to load a module that imports what it does not have.

use meshspan_module_tests::Vm;
use serde_json::{Value, json};

use crate::world::{configuration, configured_on, lean_module, module, options};

/// The most bytes that the module may have.
const MOST_BYTES: u64 = 600 << 10;

/// Functions of the language's library that Envoy offers under WASI.
const WASI: &[&str] = &[
    "fd_write",
    "fd_read",
    "fd_seek",
    "fd_close",
    "fd_fdstat_get",
    "environ_get",
    "environ_sizes_get",
    "args_get",
    "args_sizes_get",
    "clock_time_get",
    "random_get",
    "sched_yield",
    "proc_exit",
    "path_open",
    "fd_prestat_get",
    "fd_prestat_dir_name",
];

#[test]
fn imports_are_offered_by_envoy() {
    for (from, name) in module().imports() {
        let offered = match from.as_str() {
            "env" => name.starts_with("proxy_"),
            "wasi_snapshot_preview1" | "wasi_unstable" => WASI.contains(&name.as_str()),
            _ => false,
        };
        assert!(offered, "Envoy does not offer {from}.{name}");
    }
}

#[test]
fn exports_are_the_abi_and_no_more_callbacks_than_are_used() {
    let mut exports = module().exports();
    exports.sort();
    for needed in ["proxy_abi_version_0_2_1", "proxy_on_memory_allocate", "proxy_on_context_create"] {
        assert!(exports.iter().any(|export| export == needed), "{needed} is missing from {exports:?}");
    }
    insta::assert_snapshot!(exports.join("\n"));
}

#[test]
fn the_lean_module_has_all_exports_but_the_one_for_response_headers() {
    let mut exports = module().exports();
    exports.retain(|export| export != "proxy_on_response_headers");
    let mut lean = lean_module().exports();
    exports.sort();
    lean.sort();
    assert_eq!(lean, exports);
    assert_eq!(lean_module().imports().len(), module().imports().len());
}

#[test]
fn the_lean_module_refuses_what_needs_response_headers() {
    let of = |meshspan: Value| {
        let mut configuration = configuration();
        configuration["distribution"] = json!({"meshspan": meshspan});
        configuration.to_string()
    };
    for (meshspan, taken, why) in [
        (json!({}), true, "nothing is asked for"),
        (json!({"keep": {"errors": true}}), true, "errors are known at the end"),
        (json!({"response": {"traceresponse": false}}), true, "it is not asked for"),
        (json!({"response": {"traceresponse": true}}), false, "a header of the response is written"),
        (json!({"response": {"server_timing": true}}), false, "another one is"),
        (json!({"keep": {"traceresponse": true}}), false, "the upstream's is read"),
    ] {
        let text = of(meshspan);
        configured_on(module(), &text);
        let vm = Vm::start(lean_module(), options()).unwrap();
        assert_eq!(vm.configure(&text).unwrap(), taken, "{why}");
        let complaints: Vec<_> =
            vm.logs().into_iter().map(|log| log.text).filter(|text| text.contains("refused")).collect();
        assert_eq!(complaints.is_empty(), taken, "{why}");
        for complaint in complaints {
            for part in ["$.distribution.meshspan: ", "`response`", "`keep.traceresponse`", "load meshspan.wasm"] {
                assert!(complaint.contains(part), "{part} in: {complaint}");
            }
        }
    }
}

#[test]
fn the_lean_module_does_for_all_shipped_files() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../envoy-config");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|file| file.extension().is_some_and(|extension| extension == "yaml")).collect();
    assert!(files.len() > 3, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for key in ["traceresponse", "server_timing"] {
            assert!(!text.contains(key), "{} has {key}; envoy-config/README.md says otherwise", file.display());
        }
    }
}

#[test]
fn no_module_is_larger_than_it_may_be() {
    for module in [module(), lean_module()] {
        let bytes = std::fs::metadata(module.path()).unwrap().len();
        assert!(
            bytes <= MOST_BYTES,
            "{} has {bytes} bytes, {} more than it may. Was it built with --debug-symbols? Then build it without. Else see \
             \"Small and fast\" in ARCHITECTURE.md; what is worth its bytes raises MOST_BYTES, in a commit that \
             says why.",
            module.path().display(),
            bytes - MOST_BYTES
        );
    }
}
