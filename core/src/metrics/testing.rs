//! What the tests of the store and of its way out share: configurations, and reading back what is told.

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1 as proto;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;

use super::{Exemplar, MetricStore};
use crate::config::{Config, MeterConfig};
use crate::trace::{SpanId, TraceId};

/// A meter provider with one reader whose exporter has these settings, and these other settings.
pub(super) fn meter(exporter: &str, others: &str) -> MeterConfig {
    let text = format!(
        r#"{{"file_format": "1.1", "meter_provider": {{"readers": [
            {{"periodic": {{"exporter": {{"otlp_grpc": {{{exporter}}}}}}}}}]{others}}}}}"#
    );
    match Config::from_json(text.as_bytes()) {
        Ok(config) => config.meter.unwrap(),
        Err(errors) => panic!("{text}: {errors}"),
    }
}

pub(super) const CUMULATIVE: &str = "";
pub(super) const DELTA: &str = r#""temporality_preference": "delta""#;

pub(super) fn store(exporter: &str, others: &str) -> MetricStore {
    let mut store = MetricStore::new(&meter(exporter, others), 7);
    store.begin(100);
    store
}

/// All that the first reader tells, as a backend reads it; pieces of one metric put together.
pub(super) fn collect(store: &mut MetricStore, now: u64) -> Vec<proto::Metric> {
    let mut metrics: Vec<proto::Metric> = Vec::new();
    store.collect(0, now, 4_000, 100, |metric| {
        let mut read = proto::ScopeMetrics::decode(metric.bytes).unwrap().metrics;
        assert_eq!(read.len(), 1);
        let read = read.remove(0);
        assert_eq!(points(&read), usize::try_from(metric.points).unwrap(), "counted right");
        assert!(points(&read) <= 100 && (metric.bytes.len() < 4_400 || points(&read) == 1), "in pieces");
        match metrics.iter_mut().find(|known| known.name == read.name) {
            Some(known) => append(known, read),
            None => metrics.push(read),
        }
    });
    metrics
}

pub(super) fn points(metric: &proto::Metric) -> usize {
    match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => sum.data_points.len(),
        Data::Histogram(histogram) => histogram.data_points.len(),
        Data::ExponentialHistogram(histogram) => histogram.data_points.len(),
        other => panic!("{other:?}"),
    }
}

fn append(metric: &mut proto::Metric, more: proto::Metric) {
    match (metric.data.as_mut().unwrap(), more.data.unwrap()) {
        (Data::Sum(sum), Data::Sum(more)) => sum.data_points.extend(more.data_points),
        (Data::Histogram(histogram), Data::Histogram(more)) => histogram.data_points.extend(more.data_points),
        (Data::ExponentialHistogram(histogram), Data::ExponentialHistogram(more)) => {
            histogram.data_points.extend(more.data_points);
        }
        other => panic!("{other:?}"),
    }
}

pub(super) fn sum(metrics: &[proto::Metric], name: &str) -> proto::Sum {
    match find(metrics, name).data.clone().unwrap() {
        Data::Sum(sum) => sum,
        other => panic!("{other:?}"),
    }
}

pub(super) fn histogram(metrics: &[proto::Metric], name: &str) -> proto::Histogram {
    match find(metrics, name).data.clone().unwrap() {
        Data::Histogram(histogram) => histogram,
        other => panic!("{other:?}"),
    }
}

pub(super) fn exponential(metrics: &[proto::Metric], name: &str) -> proto::ExponentialHistogram {
    match find(metrics, name).data.clone().unwrap() {
        Data::ExponentialHistogram(histogram) => histogram,
        other => panic!("{other:?}"),
    }
}

pub(super) fn find<'m>(metrics: &'m [proto::Metric], name: &str) -> &'m proto::Metric {
    let names: Vec<_> = metrics.iter().map(|metric| &metric.name).collect();
    metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name} is not in {names:?}"))
}

/// `key=value`, in the order in which they are told.
pub(super) fn texts(attributes: &[KeyValue]) -> Vec<String> {
    let text = |attribute: &KeyValue| match attribute.value.clone().unwrap().value.unwrap() {
        any_value::Value::StringValue(text) => format!("{}={text}", attribute.key),
        any_value::Value::IntValue(number) => format!("{}={number}", attribute.key),
        any_value::Value::BoolValue(truth) => format!("{}={truth}", attribute.key),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(text).collect()
}

pub(super) fn exemplar(number: u64, sampled: bool) -> Exemplar {
    Exemplar {
        time: number,
        trace_id: TraceId::new(u128::from(number)).unwrap(),
        span_id: SpanId::new(number).unwrap(),
        sampled,
    }
}
