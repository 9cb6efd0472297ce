//! HTTP exchanges from configuration to decoded spans. One file a question; each table has the reason beside the case.

pub(crate) mod harness;

mod adaptive;
mod attributes;
mod endings;
mod force;
mod grpc;
mod keep;
mod limits;
mod logs;
mod masking;
mod meter;
mod names;
#[cfg(not(target_arch = "wasm32"))]
mod properties;
mod response;
mod roles;
mod roots;
mod sampling;
