//! HTTP exchanges from configuration to decoded spans. One file a question; each table has the reason beside the case.

pub(crate) mod harness;

mod attributes;
mod endings;
mod limits;
mod names;
mod roles;
mod sampling;
