//! What a backend makes of exported metrics: streams of data points, added up, and checked for what a backend relies on.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, exemplar, metric::Data, number_data_point,
};

/// What tells one stream from another: the resource's service and instance, the metric, and the attributes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamKey {
    /// `service.name`.
    pub service: String,
    /// `service.instance.id`.
    pub instance: String,
    /// The metric's name.
    pub metric: String,
    /// Values as text.
    pub attributes: BTreeMap<String, String>,
}

/// What a stream came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    /// How many values a histogram has.
    pub count: u64,
    /// The sum of a histogram's values, or a sum.
    pub sum: f64,
    /// A histogram's counts: with explicit boundaries from the first bucket, else by the index at its scale.
    pub buckets: Vec<u64>,
    /// How many data points told it.
    pub points: usize,
    /// All of them: trace and span in hexadecimal, and the value.
    pub exemplars: Vec<(String, String, f64)>,
    /// From when to when, ns.
    window: (u64, u64),
}

/// A data point of any kind.
struct Point<'a> {
    window: (u64, u64),
    attributes: &'a [KeyValue],
    exemplars: &'a [Exemplar],
    count: u64,
    sum: f64,
    buckets: Vec<u64>,
}

/// Adds the data points of all exports up, in this order.
///
/// # Errors
/// When two data points of one stream contradict each other: a sum since the start that begins anew, differences that
/// overlap, a time that goes back; or a histogram whose buckets do not come to its count.
pub fn streams(exports: &[ExportMetricsServiceRequest]) -> anyhow::Result<BTreeMap<StreamKey, Stream>> {
    let mut streams = BTreeMap::new();
    for resource_metrics in exports.iter().flat_map(|export| &export.resource_metrics) {
        let resource = resource_metrics.resource.clone().unwrap_or_default();
        let resource = texts(&resource.attributes);
        let of_resource = |key: &str| resource.get(key).cloned().unwrap_or_default();
        for metric in resource_metrics.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            let (is_delta, points) = points(metric.data.as_ref().context("a metric without data")?)?;
            for point in points {
                let key = StreamKey {
                    service: of_resource("service.name"),
                    instance: of_resource("service.instance.id"),
                    metric: metric.name.clone(),
                    attributes: texts(point.attributes),
                };
                let stream: &mut Stream = streams.entry(key.clone()).or_default();
                stream.take(point, is_delta).with_context(|| format!("{key:?}"))?;
            }
        }
    }
    Ok(streams)
}

impl Stream {
    fn take(&mut self, point: Point<'_>, is_delta: bool) -> anyhow::Result<()> {
        let (start, end) = point.window;
        ensure!(start <= end, "from {start} to {end}");
        let (known_start, known_end) = self.window;
        if self.points > 0 && is_delta {
            ensure!(start >= known_end, "a difference from {start}, after one to {known_end}");
        } else if self.points > 0 {
            ensure!(start == known_start && end >= known_end, "from {start} to {end} after {:?}", self.window);
            ensure!(point.count >= self.count, "{} values after {}", point.count, self.count);
        }
        self.window = point.window;
        self.points += 1;
        self.exemplars.extend(point.exemplars.iter().map(read_exemplar));
        if is_delta {
            self.count += point.count;
            self.sum += point.sum;
            self.buckets.resize(self.buckets.len().max(point.buckets.len()), 0);
            self.buckets.iter_mut().zip(&point.buckets).for_each(|(all, more)| *all += more);
        } else {
            (self.count, self.sum, self.buckets) = (point.count, point.sum, point.buckets);
        }
        Ok(())
    }
}

fn points(data: &Data) -> anyhow::Result<(bool, Vec<Point<'_>>)> {
    let is_delta = |temporality: i32| temporality == AggregationTemporality::Delta as i32;
    Ok(match data {
        Data::Sum(sum) => {
            let points = sum.data_points.iter().map(|point| Point {
                window: (point.start_time_unix_nano, point.time_unix_nano),
                attributes: &point.attributes,
                exemplars: &point.exemplars,
                count: 0,
                sum: match point.value {
                    #[expect(clippy::cast_precision_loss, reason = "tests count less")]
                    Some(number_data_point::Value::AsInt(number)) => number as f64,
                    Some(number_data_point::Value::AsDouble(number)) => number,
                    None => f64::NAN,
                },
                buckets: Vec::new(),
            });
            (is_delta(sum.aggregation_temporality), points.collect())
        }
        Data::Histogram(histogram) => {
            let mut points = Vec::new();
            for point in &histogram.data_points {
                let in_buckets: u64 = point.bucket_counts.iter().sum();
                ensure!(in_buckets == point.count, "{in_buckets} of {} values are in buckets", point.count);
                ensure!(point.bucket_counts.len() == point.explicit_bounds.len() + 1, "{point:?}");
                points.push(Point {
                    window: (point.start_time_unix_nano, point.time_unix_nano),
                    attributes: &point.attributes,
                    exemplars: &point.exemplars,
                    count: point.count,
                    sum: point.sum.unwrap_or_default(),
                    buckets: point.bucket_counts.clone(),
                });
            }
            (is_delta(histogram.aggregation_temporality), points)
        }
        Data::ExponentialHistogram(histogram) => {
            let mut points = Vec::new();
            for point in &histogram.data_points {
                let buckets = point.positive.clone().unwrap_or_default().bucket_counts;
                let in_buckets = buckets.iter().sum::<u64>() + point.zero_count;
                ensure!(in_buckets == point.count, "{in_buckets} of {} values are in buckets", point.count);
                points.push(Point {
                    window: (point.start_time_unix_nano, point.time_unix_nano),
                    attributes: &point.attributes,
                    exemplars: &point.exemplars,
                    count: point.count,
                    sum: point.sum.unwrap_or_default(),
                    buckets: Vec::new(),
                });
            }
            (is_delta(histogram.aggregation_temporality), points)
        }
        other => anyhow::bail!("nobody exports {other:?}"),
    })
}

fn read_exemplar(exemplar: &Exemplar) -> (String, String, f64) {
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let value = match exemplar.value {
        Some(exemplar::Value::AsDouble(number)) => number,
        #[expect(clippy::cast_precision_loss, reason = "tests count less")]
        Some(exemplar::Value::AsInt(number)) => number as f64,
        None => f64::NAN,
    };
    (hex(&exemplar.trace_id), hex(&exemplar.span_id), value)
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(truth)) => truth.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(&attribute.value))).collect()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum};

    use super::*;

    fn export(temporality: AggregationTemporality, start: u64, end: u64, value: i64) -> ExportMetricsServiceRequest {
        let point = NumberDataPoint {
            start_time_unix_nano: start,
            time_unix_nano: end,
            value: Some(number_data_point::Value::AsInt(value)),
            ..NumberDataPoint::default()
        };
        let sum = Sum { data_points: vec![point], aggregation_temporality: temporality as i32, is_monotonic: true };
        let metric = Metric { name: "m".into(), data: Some(Data::Sum(sum)), ..Metric::default() };
        let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
        let resource = ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() };
        ExportMetricsServiceRequest { resource_metrics: vec![resource] }
    }

    #[test]
    fn streams_add_up_or_contradict_themselves() {
        use AggregationTemporality::{Cumulative, Delta};
        type Points = [(u64, u64, i64); 2];
        let table: &[(AggregationTemporality, Points, Option<f64>, &str)] = &[
            (Cumulative, [(1, 2, 5), (1, 3, 7)], Some(7.0), "the last"),
            (Delta, [(1, 2, 5), (2, 3, 7)], Some(12.0), "the sum"),
            (Delta, [(1, 2, 5), (3, 4, 7)], Some(12.0), "with a gap"),
            (Delta, [(1, 3, 5), (2, 4, 7)], None, "they overlap"),
            (Cumulative, [(1, 2, 5), (2, 3, 7)], None, "two writers"),
            (Cumulative, [(1, 3, 5), (1, 2, 7)], None, "back in time"),
        ];
        for (temporality, points, expected, why) in table {
            let exports = points.map(|(start, end, value)| export(*temporality, start, end, value));
            let found = streams(&exports).ok().map(|streams| streams.values().next().unwrap().sum);
            assert_eq!(found, *expected, "{why}");
        }
    }
}
