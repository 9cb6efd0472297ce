//! Real backends as child processes: an OpenTelemetry Collector and Jaeger, each on ports of its own, which it keeps
//! when it is killed and started again.
//!
//! `cargo xtask setup` builds them where there is a Go toolchain, and the commands tell where they are. A test on a
//! machine without one asks [`Collector::binary`] or [`Jaeger::binary`], and says what it skips.

mod collector;
mod jaeger;
mod program;

pub use collector::Collector;
pub use jaeger::{Jaeger, JaegerSpan};
pub use program::free_port;

/// The environment variable that names the Collector's executable.
pub const COLLECTOR_VARIABLE: &str = collector::VARIABLE;
/// The environment variable that names Jaeger's executable.
pub const JAEGER_VARIABLE: &str = jaeger::VARIABLE;
