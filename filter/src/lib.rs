//! The proxy-wasm boundary: callbacks in, effects out.
