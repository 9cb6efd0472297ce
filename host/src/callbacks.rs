//! What the host may call. The crate `filter` exports them.
//!
//! Those of streams are compiled here, for speed. Those of root contexts are `#[inline]`: compiled where they are called,
//! in the crate `upkeep`, and there for size, with all that is `#[inline]` on their way down.

use crate::calls::{self, LogLevel};
use crate::vm;

/// Writes a line to the host's log, at its highest level.
pub fn complain(text: &str) {
    calls::log(LogLevel::Critical, text);
}

/// The machine begins. A panic is a bug of ours; say where it was before the trap. Of its message only a literal is shown:
/// one that was formatted can quote a text from traffic.
#[inline]
pub fn initialize() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |place| format!(" at {place}"));
        let message = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("(not shown)");
        complain(&format!("meshspan: panicked{place}: {message}"));
    }));
}

/// A root context comes to be.
#[inline]
pub fn create_root(context: u32) {
    vm::with(|vm| vm.create_root(context));
}

/// A root context's configuration can be read. `hears_responses`: the module has a callback for response headers. Returns
/// whether the configuration is accepted.
#[inline]
#[must_use]
pub fn configure(context: u32, hears_responses: bool) -> bool {
    vm::with(|vm| vm.handle_configure(context, hears_responses)).unwrap_or(false)
}

/// The timer of a root context.
#[inline]
pub fn tick(context: u32) {
    vm::with(|vm| vm.handle_tick(context));
}

/// A request that a root context sent has been answered, or has failed.
#[inline]
pub fn http_call_response(context: u32, token: u32) {
    vm::with(|vm| vm.handle_http_call_response(context, token));
}

/// A root context shall go. Returns whether it can; if not, it says so later.
#[inline]
#[must_use]
pub fn end_root(context: u32) -> bool {
    vm::with(|vm| vm.end_root(context)).unwrap_or(true)
}

/// A stream begins.
pub fn create_stream(context: u32, root: u32) {
    vm::with(|vm| vm.create_stream(context, root));
}

/// Request headers can be read and changed. `is_bodiless`: nothing follows them.
pub fn request_headers(context: u32, is_bodiless: bool) {
    vm::with(|vm| vm.handle_request_headers(context, is_bodiless));
}

/// Response headers can be read and changed.
pub fn response_headers(context: u32) {
    vm::with(|vm| vm.handle_response_headers(context));
}

/// Response trailers can be read. Few answers but gRPC's have any.
pub fn response_trailers(context: u32) {
    vm::with(|vm| vm.handle_response_trailers(context));
}

/// A stream is complete.
pub fn log(context: u32) {
    vm::with(|vm| vm.handle_log(context));
}

/// A context has nothing more to do. Returns whether it is a stream's; otherwise see [`end_root`].
#[must_use]
pub fn end_stream(context: u32) -> bool {
    vm::with(|vm| vm.end_stream(context)).unwrap_or(true)
}
