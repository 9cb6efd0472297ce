//! The configuration: OpenTelemetry's declarative configuration in JSON, checked into types that the rest of
//! the crate can rely on. Raw JSON is not checked configuration: only [`Config::from_json`] makes a [`Config`].

mod checked;

pub use checked::*;
