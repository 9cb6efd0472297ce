//! What the module asks of Envoy and offers it. Envoy calls each callback that is exported, whether it does anything
//! or not, and refuses to load a module that imports what it does not have.

use crate::world::module;

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
fn the_module_is_no_larger_than_it_may_be() {
    let module = module();
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
