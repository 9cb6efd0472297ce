//! Data points as OTLP (opentelemetry-proto, metrics/v1), written straight to bytes.

use super::attributes::{OwnedAttributes, Value};
use super::exemplar::{Kept, Number};
use super::exponential::ExponentialHistogram;
use super::histogram::{Histogram, Summary};
use super::store::EncodedMetric;
use super::stream::{Aggregation, Data, Series};
use crate::otlp::{AnyValue, ITEM_FIELD, put_key_value};
use crate::protobuf::{delimited_len, put_bytes, put_delimited_head, put_fixed64, put_uint, put_varint, varint_len};

/// What the data points of one metric share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub(super) name: &'a str,
    pub(super) description: &'a str,
    pub(super) unit: &'a str,
    pub(super) aggregation: &'a Aggregation,
    pub(super) is_monotonic: bool,
    pub(super) is_delta: bool,
}

/// Between when and when what a data point tells was measured, ns since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct PointTimes {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Gathers data points into metrics that are neither too long nor have too many of them.
#[derive(Debug)]
pub(super) struct Encoder {
    most_bytes: usize,
    most_points: u32,
    /// `data_points` fields.
    points: Vec<u8>,
    count: u32,
    point: Vec<u8>,
    metric: Vec<u8>,
}

/// The key of the overflow series' one attribute (Metrics SDK, "Overflow attribute").
const OVERFLOW: &str = "otel.metric.overflow";

/// `AggregationTemporality`, by its numbers.
const DELTA: u64 = 1;
const CUMULATIVE: u64 = 2;

impl Encoder {
    pub(super) const fn new(most_bytes: usize, most_points: u32) -> Self {
        Self { most_bytes, most_points, points: Vec::new(), count: 0, point: Vec::new(), metric: Vec::new() }
    }

    /// Appends a series' data point, and hands over what was gathered when it would become too much.
    #[inline]
    pub(super) fn put(
        &mut self,
        head: &Head<'_>,
        times: PointTimes,
        attributes: Option<&OwnedAttributes>,
        series: &mut Series,
        sink: &mut impl FnMut(EncodedMetric<'_>),
    ) {
        self.point.clear();
        put_point(&mut self.point, head.aggregation, times, attributes, series);
        let length = self.points.len().saturating_add(delimited_len(self.point.len()));
        if self.count > 0 && (self.count >= self.most_points || length > self.most_bytes) {
            self.finish(head, sink);
        }
        put_bytes(&mut self.points, 1, &self.point);
        self.count = self.count.saturating_add(1);
    }

    /// Hands over what is left.
    #[inline]
    pub(super) fn finish(&mut self, head: &Head<'_>, sink: &mut impl FnMut(EncodedMetric<'_>)) {
        if self.count == 0 {
            return;
        }
        // Behind the points in their message: the temporality, and for a sum whether it is monotonic.
        let field = match head.aggregation {
            Aggregation::Sum => 7,
            Aggregation::Explicit { .. } => 9,
            Aggregation::Exponential { .. } => 10,
        };
        put_uint(&mut self.points, 2, if head.is_delta { DELTA } else { CUMULATIVE });
        if field == 7 && head.is_monotonic {
            put_uint(&mut self.points, 3, 1);
        }
        let texts = [(1, head.name), (2, head.description), (3, head.unit)];
        let texts = texts.iter().filter(|(_, text)| !text.is_empty());
        let length = texts
            .clone()
            .fold(delimited_len(self.points.len()), |sum, (_, text)| sum.saturating_add(delimited_len(text.len())));
        self.metric.clear();
        put_delimited_head(&mut self.metric, ITEM_FIELD, length);
        for (field, text) in texts {
            put_bytes(&mut self.metric, *field, text.as_bytes());
        }
        put_bytes(&mut self.metric, field, &self.points);
        sink(EncodedMetric { bytes: &self.metric, points: self.count });
        self.points.clear();
        self.count = 0;
    }
}

/// Appends the fields of a `NumberDataPoint`, a `HistogramDataPoint` or an `ExponentialHistogramDataPoint`, which all
/// have their times in the fields 2 and 3.
#[inline]
fn put_point(
    point: &mut Vec<u8>,
    aggregation: &Aggregation,
    times: PointTimes,
    attributes: Option<&OwnedAttributes>,
    series: &mut Series,
) {
    put_fixed64(point, 2, times.start);
    put_fixed64(point, 3, times.end);
    let (attributes_field, exemplars_field) = match (&series.data, aggregation) {
        (Data::Explicit(histogram), Aggregation::Explicit { boundaries, record_min_max }) => {
            put_histogram(point, histogram, boundaries, *record_min_max);
            (9, 8)
        }
        (Data::Exponential(histogram), Aggregation::Exponential { record_min_max, .. }) => {
            put_exponential(point, histogram, *record_min_max);
            (1, 11)
        }
        (Data::Sum(sum), _) => {
            put_number(point, 4, *sum);
            (7, 5)
        }
        // A stream makes its series of its own aggregation.
        (Data::Explicit(_) | Data::Exponential(_), _) => return,
    };
    match attributes {
        Some(attributes) => put_attributes(point, attributes_field, attributes),
        None => put_key_value(point, attributes_field, OVERFLOW, AnyValue::Bool(true)),
    }
    let mut message = Vec::new();
    for kept in series.exemplars.take() {
        message.clear();
        put_exemplar(&mut message, &kept);
        put_bytes(point, exemplars_field, &message);
    }
}

#[inline]
fn put_histogram(point: &mut Vec<u8>, histogram: &Histogram, boundaries: &[f64], record_min_max: bool) {
    put_fixed64(point, 4, histogram.summary.count);
    put_double(point, 5, histogram.summary.sum);
    put_packed(point, 6, histogram.buckets.iter().copied());
    put_packed(point, 7, boundaries.iter().map(|boundary| boundary.to_bits()));
    if record_min_max {
        put_min_max(point, [11, 12], histogram.summary);
    }
}

#[inline]
fn put_exponential(point: &mut Vec<u8>, histogram: &ExponentialHistogram, record_min_max: bool) {
    put_fixed64(point, 4, histogram.summary.count);
    put_double(point, 5, histogram.summary.sum);
    put_uint(point, 6, zigzag(histogram.scale));
    if histogram.zero_count > 0 {
        put_fixed64(point, 7, histogram.zero_count);
    }
    if !histogram.buckets.is_empty() {
        let offset = zigzag(histogram.offset);
        let counts = histogram.buckets.iter().fold(0_usize, |sum, count| sum.saturating_add(varint_len(*count)));
        let length = varint_len(offset).saturating_add(1).saturating_add(delimited_len(counts));
        put_delimited_head(point, 8, length);
        put_uint(point, 1, offset);
        put_delimited_head(point, 2, counts);
        for count in &histogram.buckets {
            put_varint(point, *count);
        }
    }
    if record_min_max {
        put_min_max(point, [12, 13], histogram.summary);
    }
}

/// Without a value there are none.
#[inline]
fn put_min_max(point: &mut Vec<u8>, fields: [u32; 2], summary: Summary) {
    if summary.count > 0 {
        let [min, max] = fields;
        put_double(point, min, summary.min);
        put_double(point, max, summary.max);
    }
}

#[inline]
fn put_exemplar(message: &mut Vec<u8>, kept: &Kept) {
    put_fixed64(message, 2, kept.exemplar.time);
    put_number(message, 3, kept.value);
    put_bytes(message, 4, &kept.exemplar.span_id.to_bytes());
    put_bytes(message, 5, &kept.exemplar.trace_id.to_bytes());
    put_attributes(message, 7, &kept.filtered);
}

#[inline]
fn put_attributes(message: &mut Vec<u8>, field: u32, attributes: &OwnedAttributes) {
    for (key, value) in attributes.iter() {
        let value = match value {
            Value::Text(text) => AnyValue::Text(text),
            Value::Int(number) => AnyValue::Int(number),
            Value::Bool(truth) => AnyValue::Bool(truth),
        };
        put_key_value(message, field, key, value);
    }
}

/// `as_double` has the number `double_field`, and `as_int` is 6 wherever it stands.
#[inline]
fn put_number(message: &mut Vec<u8>, double_field: u32, number: Number) {
    match number {
        Number::Int(number) => put_fixed64(message, 6, number.cast_unsigned()),
        Number::Double(number) => put_double(message, double_field, number),
    }
}

fn put_double(message: &mut Vec<u8>, field: u32, number: f64) {
    put_fixed64(message, field, number.to_bits());
}

/// A packed list of 64-bit numbers.
#[inline]
fn put_packed(message: &mut Vec<u8>, field: u32, numbers: impl ExactSizeIterator<Item = u64>) {
    if numbers.len() > 0 {
        put_delimited_head(message, field, numbers.len().saturating_mul(8));
        numbers.for_each(|number| message.extend_from_slice(&number.to_le_bytes()));
    }
}

/// `sint32`.
fn zigzag(number: i32) -> u64 {
    u64::from(((number << 1) ^ (number >> 31)).cast_unsigned())
}
