//! The proxy-wasm boundary, and the only code that knows a host.
//!
//! Callbacks come in through [`exports`], are looked up in [`vm`], are answered by `meshspan-core`, and what should
//! happen goes out through [`host`]. Nothing is decided here.
//!
//! The `proxy-wasm` SDK gives the ABI's version marker, the allocator that the host calls, and the ABI's constants.
//! Its dispatcher and its host-call wrappers are not used: they panic on what a host may well answer, and the
//! dispatcher exports every callback, each of which the host then pays for. Our callbacks are exported under names of
//! their own, and `cargo xtask build` puts them in the place of the SDK's (see `ARCHITECTURE.md`, "The link step").
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
mod facts;
mod host;
mod metrics;
mod shared;
mod vm;

use proxy_wasm::traits::{Context, RootContext};

/// What a host finds that loads the module before the link step: a plugin that refuses its configuration and says
/// why, where the SDK's own would accept anything and do nothing.
struct NotLinked;

impl Context for NotLinked {}

impl RootContext for NotLinked {
    fn on_configure(&mut self, _size: usize) -> bool {
        host::log(
            host::LogLevel::Critical,
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
