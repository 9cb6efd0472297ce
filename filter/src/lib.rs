//! The module that a host loads: the callbacks under their names, and no more.
//!
//! The `proxy-wasm` SDK gives the ABI's version marker and the allocator that the host calls. Its dispatcher exports
//! every callback, each of which the host then pays for. Ours are exported under names of their own, and
//! `cargo xtask build` puts them in the place of the SDK's (see `ARCHITECTURE.md`, "The link step").
//!
//! Callbacks of streams go to `meshspan-host`, those of root contexts to `meshspan-upkeep`, which is compiled for size (see
//! `ARCHITECTURE.md`, "Small and fast").
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::todo,
    clippy::unimplemented,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]
#![cfg(target_arch = "wasm32")]

mod exports;

use proxy_wasm::traits::{Context, RootContext};

/// What a host finds that loads the module before the link step: a plugin that refuses its configuration and says
/// why, where the SDK's own would accept anything and do nothing.
struct NotLinked;

impl Context for NotLinked {}

impl RootContext for NotLinked {
    fn on_configure(&mut self, _size: usize) -> bool {
        meshspan_host::callbacks::complain(
            "meshspan: this module is an intermediate product of the build; load target/dist/meshspan.wasm, which \
             `cargo xtask build` makes of it",
        );
        false
    }
}

mod not_linked {
    #![allow(missing_docs, reason = "the macro's function cannot be documented")]
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(super::NotLinked));
    }}
}
