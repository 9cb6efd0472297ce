//! Metrics: what is measured, summed up here per set of attributes, and its way out as OTLP.
//!
//! [`Instrument`] is the closed set of what there is to measure. A [`MetricStore`] takes measurements and keeps one
//! series for each set of attributes, as many as its caps allow; what goes beyond them is summed up in one overflow
//! series. A [`MeterProvider`] is a store and its periodic readers: they collect the store and export it.
//!
//! Sources: OpenTelemetry specification, "Metrics SDK" and "Metrics Data Model"; semantic conventions, "HTTP metrics"
//! and "RPC metrics".

mod attributes;
mod instrument;
mod series;
mod store;

pub use attributes::{AttributeSet, MOST_ATTRIBUTES, OwnedAttributes, Selected};
pub use instrument::{Definition, Instrument, InstrumentKind};
pub use series::SeriesTable;
pub use store::{Exemplar, MetricStore, seconds};
