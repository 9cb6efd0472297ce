//! The callbacks that the host finds. The link step takes `meshspan_export_` off their names, and leaves the one for
//! response headers out of the lean module.
//!
//! Source: proxy-wasm ABI v0.2.1, "Functions exposed by the Wasm module". A callback that is missing here is one that
//! the filter does not need and the host does not pay for: bodies and trailers among them.

use meshspan_host::callbacks;

/// `Action::Continue`: the stream is never held.
const CONTINUE: i32 = 0;

#[cfg(target_os = "wasi")]
unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// Called once, before everything else.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn meshspan_export__initialize() {
    #[cfg(target_os = "wasi")]
    // SAFETY: this is the module's one start function, and the host calls it once.
    unsafe {
        __wasm_call_ctors();
    }
    callbacks::initialize();
}

/// A context comes to be: a root's when `root` is 0, a stream's otherwise.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn meshspan_export_proxy_on_context_create(context: u32, root: u32) {
    if root == 0 {
        meshspan_upkeep::create_root(context);
    } else {
        callbacks::create_stream(context, root);
    }
}

/// The VM starts. Everything is configured by plugin, so there is nothing to do.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn meshspan_export_proxy_on_vm_start(_context: u32, _size: usize) -> i32 {
    1
}

/// Whether this module has a callback for response headers. Only the link step knows, and writes the answer in; a number
/// that the compiler saw through would be in the code of whoever asks by then.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn meshspan_link_hears_responses() -> i32 {
    core::hint::black_box(1)
}

/// A plugin's configuration can be read. 0 refuses it.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn meshspan_export_proxy_on_configure(context: u32, _size: usize) -> i32 {
    i32::from(meshspan_upkeep::configure(context, meshspan_link_hears_responses() != 0))
}

/// The timer of a root context.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn meshspan_export_proxy_on_tick(context: u32) {
    meshspan_upkeep::tick(context);
}

/// Request headers can be read and changed. `end`: nothing follows them.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn meshspan_export_proxy_on_request_headers(context: u32, _lines: u32, end: i32) -> i32 {
    callbacks::request_headers(context, end != 0);
    CONTINUE
}

/// Response headers can be read and changed.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn meshspan_export_proxy_on_response_headers(context: u32, _lines: u32, _end: i32) -> i32 {
    callbacks::response_headers(context);
    CONTINUE
}

/// Response trailers can be read. Few answers but gRPC's have any.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn meshspan_export_proxy_on_response_trailers(context: u32, _lines: u32) -> i32 {
    callbacks::response_trailers(context);
    CONTINUE
}

/// A stream is complete.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn meshspan_export_proxy_on_log(context: u32) {
    callbacks::log(context);
}

/// A context has nothing more to do. 0 asks for time until `proxy_done`. Its deletion follows and has no callback here.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn meshspan_export_proxy_on_done(context: u32) -> i32 {
    i32::from(callbacks::end_stream(context) || meshspan_upkeep::end_root(context))
}

/// A request that a root context sent has been answered, or has failed.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn meshspan_export_proxy_on_http_call_response(
    context: u32,
    token: u32,
    _headers: u32,
    _body: usize,
    _trailers: u32,
) {
    meshspan_upkeep::http_call_response(context, token);
}
