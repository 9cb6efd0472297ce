//! What no stream waits for: the callbacks of root contexts, compiled for size.
//!
//! Nothing is written here. The functions of `meshspan-host` and `meshspan-core` that only these callbacks reach are
//! `#[inline]`, and the compiler compiles such a function with the crate that calls it, as that crate is compiled: small.
//! See `ARCHITECTURE.md`, "Small and fast".
#![cfg(target_arch = "wasm32")]

use meshspan_host::callbacks;

/// See [`callbacks::create_root`].
#[inline(never)]
pub fn create_root(context: u32) {
    callbacks::create_root(context);
}

/// See [`callbacks::configure`].
#[inline(never)]
#[must_use]
pub fn configure(context: u32, hears_responses: bool) -> bool {
    callbacks::configure(context, hears_responses)
}

/// See [`callbacks::tick`].
#[inline(never)]
pub fn tick(context: u32) {
    callbacks::tick(context);
}

/// See [`callbacks::http_call_response`].
#[inline(never)]
pub fn http_call_response(context: u32, token: u32) {
    callbacks::http_call_response(context, token);
}

/// See [`callbacks::end_root`].
#[inline(never)]
#[must_use]
pub fn end_root(context: u32) -> bool {
    callbacks::end_root(context)
}
