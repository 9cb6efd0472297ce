//! The faults, by what breaks.

mod backend;
mod envoy;
mod filter;
mod memory;
