//! meshspan's logic, with no host.
//!
//! Everything the filter decides is decided here, from arguments: request headers come in as byte slices, the
//! time as a number, randomness as a generator, and what should happen goes out as values (header edits, encoded
//! spans, export requests, counter increments). So each decision can be replayed in a native test, and the same
//! tests run compiled to wasm.
//!
//! What this crate does not do: talk to Envoy (the `filter` crate does), read a clock, allocate without a bound
//! that configuration sets, or trap. The lints below are that last promise: nothing that traffic, configuration
//! or a backend controls reaches a panicking operation.
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
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects
    )
)]

pub mod counter;
pub mod export;
pub mod grpc;
pub mod header;
pub mod hex;
pub mod http;
pub mod ledger;
pub mod log;
pub mod log_line;
pub mod masking;
pub mod metrics;
pub mod otlp;
pub mod plugin;
pub mod propagation;
mod protobuf;
pub mod recent_map;
pub mod resource;
pub mod sampling;
pub mod shared_data;
pub mod span;
pub mod stats;
pub mod trace;

pub use meshspan_config::{self as config, VERSION, attribute, semconv, signal};

use meshspan_config::percent;
