//! Metrics: what is measured, summed up here per set of attributes, and its way out as OTLP.
//!
//! [`Instrument`] is the closed set of what there is to measure. A [`MetricStore`] takes measurements and keeps one
//! series for each set of attributes, as many as its caps allow; what goes beyond them is summed up in one overflow
//! series. A [`MeterProvider`] is a store and its periodic readers: they collect the store and export it.
//!
//! Sources: OpenTelemetry specification, "Metrics SDK" and "Metrics Data Model"; semantic conventions, "HTTP metrics"
//! and "RPC metrics".

mod attributes;
mod encode;
mod exemplar;
mod exponential;
mod histogram;
mod outlets;
mod provider;
mod request_stats;
mod series;
mod store;
mod stream;

#[cfg(all(test, not(target_arch = "wasm32")))]
mod properties;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use crate::config::{Definition, Instrument, InstrumentKind};
pub use attributes::{AttributeSet, MOST_ATTRIBUTES, MOST_TEXT_BYTES, OwnedAttributes, Selected};
pub use exemplar::Exemplar;
pub use outlets::Outlets;
pub use provider::MeterProvider;
pub use request_stats::{Flushed, OVERFLOW_LABEL, RequestStats, SERVICE_LABEL, label, stat_name};
pub use series::SeriesTable;
pub use store::{EncodedMetric, MetricStore, seconds};
