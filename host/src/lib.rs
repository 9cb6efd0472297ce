//! The proxy-wasm boundary, and the only code that knows a host.
//!
//! What the host calls comes in through `callbacks`, is looked up in `vm`, is answered by `meshspan-core`, and what
//! should happen goes out through `calls`. Nothing is decided here.
//!
//! The `proxy-wasm` SDK gives the ABI's constants and the allocator that the host calls. Its dispatcher and its host-call
//! wrappers are not used: they panic on what a host may well answer.
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

pub mod callbacks;
mod calls;
mod facts;
mod log;
mod maps;
mod metrics;
mod root;
mod shared;
mod stream;
mod vm;
