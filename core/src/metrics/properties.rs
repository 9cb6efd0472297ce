//! What holds whatever is measured.

use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use proptest::prelude::*;

use super::exponential::ExponentialHistogram;
use super::testing::{CUMULATIVE, DELTA, collect, exponential, histogram, store, sum};
use super::*;

fn values() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![Just(0.0), 0.0..1e-3, 0.0..20.0, 1.0..1e9, any::<f64>().prop_map(f64::abs)];
    proptest::collection::vec(value.prop_filter("finite", |value| value.is_finite()), 0..200)
}

/// What a bucket of a scale holds, by the definition: above the power of its index and up to and with the next.
fn is_within(value: f64, index: i32, scale: i32) -> bool {
    let width = (-f64::from(scale)).exp2();
    let exponent = value.max(f64::MIN_POSITIVE).log2() / width;
    // The logarithm itself is rounded: a billionth of a bucket, at the finest scale, on numbers of a thousand octaves.
    let slack = 1e-3;
    let index = f64::from(index);
    exponent > index - slack && exponent <= index + 1.0 + slack
}

proptest! {
    /// Against a model that keeps all values: counts, the sum, the extremes, and every bucket.
    #[test]
    fn exponential_histograms_hold_what_was_recorded(values in values(), max_size in 2_usize..200, max_scale in -10..=20) {
        let mut histogram = ExponentialHistogram::new(max_scale);
        for value in &values {
            histogram.record(*value, max_size);
        }
        let zeros = values.iter().filter(|value| **value == 0.0).count();
        prop_assert_eq!(histogram.summary.count, values.len() as u64);
        prop_assert_eq!(histogram.zero_count, zeros as u64);
        prop_assert_eq!(histogram.buckets.iter().sum::<u64>(), (values.len() - zeros) as u64);
        prop_assert!(histogram.buckets.len() <= max_size, "{} of {max_size}", histogram.buckets.len());
        prop_assert!(histogram.scale <= max_scale && histogram.scale >= -10);
        prop_assert!(histogram.buckets.first() != Some(&0) && histogram.buckets.last() != Some(&0), "no empty ends");
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| *value > 0.0).collect();
        sorted.sort_by(f64::total_cmp);
        let mut place = 0;
        for (at, count) in histogram.buckets.iter().enumerate() {
            let index = histogram.offset + i32::try_from(at).unwrap();
            for value in &sorted[place..place + usize::try_from(*count).unwrap()] {
                prop_assert!(is_within(*value, index, histogram.scale), "{value} in {index} at {}", histogram.scale);
            }
            place += usize::try_from(*count).unwrap();
        }
    }

    /// The scale is the largest that fits: one finer, and the values would need more buckets than there may be.
    #[test]
    fn exponential_histograms_are_as_fine_as_they_can(values in values(), max_size in 2_usize..200) {
        let mut histogram = ExponentialHistogram::new(20);
        let mut unlimited = ExponentialHistogram::new(5);
        for value in values.iter().filter(|value| **value > 1e-3 && **value < 1e3) {
            histogram.record(*value, max_size);
            unlimited.record(*value, usize::MAX);
        }
        if histogram.scale < 5 && histogram.scale >= -9 {
            let halvings = 5 - histogram.scale - 1;
            let first = unlimited.offset >> halvings;
            let last = (unlimited.offset + i32::try_from(unlimited.buckets.len()).unwrap() - 1) >> halvings;
            prop_assert!(last - first + 1 > i32::try_from(max_size).unwrap(), "{histogram:?}");
        }
    }

    /// The differences of all collections together are what a cumulative reader tells, in counts and buckets.
    #[test]
    fn differences_add_up(
        rounds in proptest::collection::vec(proptest::collection::vec((0_i64..4, 0.0..20.0_f64, 0_i64..9), 0..40), 1..6),
        is_fine in any::<bool>(),
    ) {
        let fine = if is_fine { r#""default_histogram_aggregation": "base2_exponential_bucket_histogram""# } else { "" };
        let mut whole = store(if is_fine { fine } else { CUMULATIVE }, "");
        let mut parts = store(&if is_fine { format!("{DELTA}, {fine}") } else { DELTA.to_owned() }, "");
        let (mut counted, mut recorded, mut buckets) = (0, 0, vec![0; 15]);
        let mut now = 1_000;
        for round in &rounds {
            for (status, value, by) in round {
                let mut set = AttributeSet::new();
                set.put_int("http.response.status_code", *status);
                set.put_int("http.route", *status);
                for store in [&mut whole, &mut parts] {
                    store.record(Instrument::HttpServerRequestDuration, &set, *value, None);
                    store.add(Instrument::UpstreamRetries, &set, *by, None);
                }
            }
            now += 1_000;
            let told = collect(&mut parts, now);
            if round.is_empty() {
                prop_assert!(told.is_empty());
                continue;
            }
            let name = "http.server.request.duration";
            if is_fine {
                recorded += exponential(&told, name).data_points.iter().map(|point| point.count).sum::<u64>();
            } else {
                for point in histogram(&told, name).data_points {
                    recorded += point.count;
                    buckets.iter_mut().zip(point.bucket_counts).for_each(|(all, more)| *all += more);
                }
            }
            counted += ints(&sum(&told, "meshspan.upstream.retries"));
        }
        let told = collect(&mut whole, now);
        if told.is_empty() {
            prop_assert_eq!((counted, recorded), (0, 0));
            return Ok(());
        }
        prop_assert_eq!(counted, ints(&sum(&told, "meshspan.upstream.retries")));
        if is_fine {
            let points = exponential(&told, "http.server.request.duration").data_points;
            prop_assert_eq!(recorded, points.iter().map(|point| point.count).sum::<u64>());
        } else {
            let points = histogram(&told, "http.server.request.duration").data_points;
            prop_assert_eq!(recorded, points.iter().map(|point| point.count).sum::<u64>());
            let mut all = vec![0; 15];
            for point in points {
                all.iter_mut().zip(point.bucket_counts).for_each(|(all, more)| *all += more);
            }
            prop_assert_eq!(buckets, all);
        }
    }

    /// A table finds what a map finds, and never holds more than its cap.
    #[test]
    fn a_table_is_a_map_with_a_cap(
        sets in proptest::collection::vec((0_i64..50, proptest::option::of(0_i64..3)), 0..300),
        cap in 1_usize..200,
    ) {
        let mut table = SeriesTable::new(cap);
        let mut model = std::collections::BTreeMap::new();
        let mut over = 0_u64;
        for (a, b) in &sets {
            let mut set = AttributeSet::new();
            set.put_int("a", *a);
            if let Some(b) = b {
                set.put_int("b", *b);
            }
            *table.get_or_insert_with(&set.select(&["a", "b"]), || 0_u64) += 1;
            if model.contains_key(&(*a, *b)) || model.len() + 1 < cap {
                *model.entry((*a, *b)).or_insert(0_u64) += 1;
            } else {
                over += 1;
            }
        }
        prop_assert!(table.len() <= cap);
        prop_assert_eq!(table.overflowed(), over);
        let mut found: Vec<_> = table.iter_mut().filter(|(set, _)| set.is_some()).map(|(_, count)| *count).collect();
        let mut expected: Vec<_> = model.into_values().collect();
        found.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(found, expected);
    }
}

fn ints(sum: &opentelemetry_proto::tonic::metrics::v1::Sum) -> i64 {
    let int = |value: Option<Value>| match value {
        Some(Value::AsInt(number)) => number,
        other => panic!("{other:?}"),
    };
    sum.data_points.iter().map(|point| int(point.value)).sum()
}
