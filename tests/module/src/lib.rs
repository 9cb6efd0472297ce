//! The compiled module in a deterministic wasm host.
