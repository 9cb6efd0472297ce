//! One stream of data points: what a view, or the default, makes of an instrument.

use super::attributes::AttributeSet;
use super::encode::{Encoder, Head, PointTimes};
use super::exemplar::{Exemplar, Kept, Number, Place, Reservoir};
use super::exponential::ExponentialHistogram;
use super::histogram::{Histogram, bucket};
use super::series::SeriesTable;
use super::store::EncodedMetric;
use super::{Instrument, InstrumentKind};
use crate::config::{AggregationConfig, DefaultHistogram, MetricReaderConfig, TemporalityPreference, ViewConfig};
use crate::config::{EXPONENTIAL_SCALE, EXPONENTIAL_SIZE};

/// A measurement, on its way to the streams.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measurement<'m> {
    pub(super) attributes: &'m AttributeSet<'m>,
    pub(super) value: Number,
    /// Where the measurement may become one.
    pub(super) exemplar: Option<&'m Exemplar>,
}

/// How a stream sums measurements up.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Aggregation {
    Sum,
    Explicit { boundaries: Box<[f64]>, record_min_max: bool },
    Exponential { max_size: usize, max_scale: i32, record_min_max: bool },
}

/// What a series stands at.
#[derive(Clone, Debug)]
pub(super) enum Data {
    Sum(Number),
    Explicit(Histogram),
    Exponential(ExponentialHistogram),
}

/// One series of a stream.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) data: Data,
    pub(super) exemplars: Reservoir,
}

/// A stream with its series.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    instrument: Instrument,
    /// As a view renames it.
    name: Option<Box<str>>,
    description: Option<Box<str>>,
    aggregation: Aggregation,
    is_delta: bool,
    /// The keys of the instrument's attributes that the view keeps.
    keys: Box<[&'static str]>,
    table: SeriesTable<Series>,
    /// From when on what is told next was measured, ns.
    start: u64,
}

impl Stream {
    /// What a reader's configuration makes of an instrument: a stream for each view that selects it, or the default
    /// one (Metrics SDK, "Measurement processing").
    #[inline]
    pub(super) fn of(instrument: Instrument, reader: &MetricReaderConfig, views: &[ViewConfig]) -> Vec<Self> {
        let mut selecting = views.iter().filter(|view| view.instruments.contains(&instrument)).peekable();
        if selecting.peek().is_none() {
            return Self::new(instrument, reader, None).into_iter().collect();
        }
        selecting.filter_map(|view| Self::new(instrument, reader, Some(view))).collect()
    }

    #[inline]
    fn new(instrument: Instrument, reader: &MetricReaderConfig, view: Option<&ViewConfig>) -> Option<Self> {
        let definition = instrument.definition();
        let configured = view.map_or(&AggregationConfig::Default, |view| &view.aggregation);
        let aggregation = match (configured, definition.kind, reader.default_histogram) {
            (AggregationConfig::Drop, ..) => return None,
            (AggregationConfig::Explicit { boundaries, record_min_max }, ..) => {
                Aggregation::Explicit { boundaries: boundaries.as_slice().into(), record_min_max: *record_min_max }
            }
            (AggregationConfig::Exponential { max_size, max_scale, record_min_max }, ..) => {
                Aggregation::exponential(*max_size, *max_scale, *record_min_max)
            }
            (AggregationConfig::Default, InstrumentKind::Histogram, DefaultHistogram::Explicit) => {
                Aggregation::Explicit { boundaries: definition.boundaries.into(), record_min_max: true }
            }
            (AggregationConfig::Default, InstrumentKind::Histogram, DefaultHistogram::Exponential) => {
                Aggregation::exponential(EXPONENTIAL_SIZE, EXPONENTIAL_SCALE, true)
            }
            (AggregationConfig::Sum, ..)
            | (AggregationConfig::Default, InstrumentKind::Counter | InstrumentKind::UpDownCounter, _) => {
                Aggregation::Sum
            }
        };
        let is_delta = match reader.temporality {
            TemporalityPreference::Cumulative => false,
            // Of an up-down counter its level is of interest, which no difference tells.
            TemporalityPreference::Delta | TemporalityPreference::LowMemory => {
                definition.kind != InstrumentKind::UpDownCounter
            }
        };
        let keeps = |key: &&&'static str| view.is_none_or(|view| view.attribute_keys.keeps(key));
        let cap = view.and_then(|view| view.cardinality_limit);
        let cap = cap.unwrap_or_else(|| reader.cardinality.of(definition.kind));
        let text = |text: Option<&String>| text.map(|text| text.as_str().into());
        Some(Self {
            instrument,
            name: text(view.and_then(|view| view.name.as_ref())),
            description: text(view.and_then(|view| view.description.as_ref())),
            aggregation,
            is_delta,
            keys: definition.attributes.iter().filter(keeps).copied().collect(),
            table: SeriesTable::new(usize::try_from(cap).unwrap_or(usize::MAX)),
            start: 0,
        })
    }

    pub(super) const fn begin(&mut self, now: u64) {
        self.start = now;
    }

    pub(super) fn measure(&mut self, measurement: &Measurement<'_>, random: impl FnOnce() -> u64) {
        let Measurement { attributes, value, exemplar } = *measurement;
        let selected = attributes.select(&self.keys);
        let aggregation = &self.aggregation;
        let series = self.table.get_or_insert_with(&selected, || Series::new(aggregation, value));
        let place = series.add(aggregation, value);
        if let Some(exemplar) = exemplar {
            series.exemplars.offer(place, random, || Kept {
                exemplar: *exemplar,
                value,
                filtered: selected.others(self.instrument.definition().attributes),
            });
        }
    }

    /// Encodes what there is to tell at `now`.
    #[inline]
    pub(super) fn collect(&mut self, now: u64, encoder: &mut Encoder, sink: &mut impl FnMut(EncodedMetric<'_>)) {
        let definition = self.instrument.definition();
        // A clock that was set back must not make a point end before it begins.
        let times = PointTimes { start: self.start, end: now.max(self.start) };
        let head = Head {
            name: self.name.as_deref().unwrap_or(definition.name),
            description: self.description.as_deref().unwrap_or(definition.description),
            unit: definition.unit,
            aggregation: &self.aggregation,
            is_monotonic: definition.kind != InstrumentKind::UpDownCounter,
            is_delta: self.is_delta,
        };
        for (attributes, series) in self.table.iter_mut() {
            encoder.put(&head, times, attributes, series, sink);
        }
        encoder.finish(&head, sink);
        if self.is_delta {
            self.table.clear();
            self.start = times.end;
        }
    }

    pub(super) const fn is_cumulative(&self) -> bool {
        !self.is_delta
    }

    pub(super) const fn overflowed(&self) -> u64 {
        self.table.overflowed()
    }

    pub(super) fn series(&self) -> usize {
        self.table.len()
    }
}

impl Aggregation {
    #[inline]
    fn exponential(max_size: u32, max_scale: i32, record_min_max: bool) -> Self {
        Self::Exponential { max_size: usize::try_from(max_size).unwrap_or(usize::MAX), max_scale, record_min_max }
    }
}

/// How many exemplars a series with an exponential histogram shows at most (Metrics SDK, "Exemplar defaults").
const EXPONENTIAL_EXEMPLARS: usize = 20;

impl Series {
    /// Without measurements. `value` says whether they are integers.
    #[inline]
    fn new(aggregation: &Aggregation, value: Number) -> Self {
        let data = match (aggregation, value) {
            (Aggregation::Sum, Number::Int(_)) => Data::Sum(Number::Int(0)),
            (Aggregation::Sum, Number::Double(_)) => Data::Sum(Number::Double(0.0)),
            (Aggregation::Explicit { boundaries, .. }, _) => Data::Explicit(Histogram::new(boundaries)),
            (Aggregation::Exponential { max_scale, .. }, _) => Data::Exponential(ExponentialHistogram::new(*max_scale)),
        };
        Self { data, exemplars: Reservoir::default() }
    }

    /// Sums a measurement up, and says where its exemplar belongs.
    fn add(&mut self, aggregation: &Aggregation, value: Number) -> Place {
        match (&mut self.data, aggregation) {
            (Data::Explicit(histogram), Aggregation::Explicit { boundaries, .. }) => {
                let value = value.as_double();
                let bucket = bucket(boundaries, value);
                histogram.record(value, bucket);
                Place::Bucket(bucket)
            }
            (Data::Exponential(histogram), Aggregation::Exponential { max_size, .. }) => {
                histogram.record(value.as_double(), *max_size);
                Place::AnyOf(EXPONENTIAL_EXEMPLARS.min(*max_size))
            }
            (Data::Sum(sum), _) => {
                *sum = match (*sum, value) {
                    (Number::Int(sum), Number::Int(by)) => Number::Int(sum.saturating_add(by)),
                    (sum, by) => Number::Double(sum.as_double() + by.as_double()),
                };
                Place::AnyOf(1)
            }
            // A stream makes its series of its own aggregation.
            (Data::Explicit(_) | Data::Exponential(_), _) => Place::AnyOf(0),
        }
    }
}
