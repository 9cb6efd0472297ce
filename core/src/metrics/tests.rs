//! The store, read back as a backend reads it.

use opentelemetry_proto::tonic::metrics::v1 as proto;
use opentelemetry_proto::tonic::metrics::v1::{exemplar::Value as ExemplarValue, number_data_point::Value};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::testing::{CUMULATIVE, DELTA, collect, exemplar, exponential, find, histogram, points, store, sum, texts};
use super::*;
use crate::masking::Masked;

const DURATION: &str = "http.server.request.duration";
const ACTIVE: &str = "http.server.active_requests";
const RETRIES: &str = "meshspan.upstream.retries";

fn request<'a>(method: &'a Masked<'a>, status: i64) -> AttributeSet<'a> {
    let mut set = AttributeSet::new();
    set.put_text("http.request.method", method);
    set.put_int("http.response.status_code", status);
    set
}

fn int(point: &proto::NumberDataPoint) -> i64 {
    match point.value.unwrap() {
        Value::AsInt(number) => number,
        Value::AsDouble(number) => panic!("{number}"),
    }
}

#[test]
fn measurements_arrive_as_they_were_measured() {
    let get = Masked::literal("GET");
    let mut store = store(CUMULATIVE, "");
    for (status, value) in [(200, 0.004), (200, 0.3), (500, 100.0)] {
        store.record(Instrument::HttpServerRequestDuration, &request(&get, status), value, None);
    }
    store.add(Instrument::HttpServerActiveRequests, &request(&get, 200), 3, None);
    store.add(Instrument::HttpServerActiveRequests, &request(&get, 200), -5, None);
    store.add(Instrument::UpstreamRetries, &request(&get, 200), 2, None);
    store.add(Instrument::UpstreamRetries, &request(&get, 200), -1, None);
    let metrics = collect(&mut store, 500);
    assert_eq!(metrics.len(), 3, "what was not measured is not told");

    let metric = find(&metrics, DURATION);
    assert_eq!((metric.unit.as_str(), metric.description.as_str()), ("s", "Duration of HTTP server requests."));
    let durations = histogram(&metrics, DURATION);
    assert_eq!(durations.aggregation_temporality, 2);
    let [ok, failed] = durations.data_points.as_slice() else { panic!("{durations:?}") };
    assert_eq!(texts(&ok.attributes), ["http.request.method=GET", "http.response.status_code=200"]);
    assert_eq!((ok.start_time_unix_nano, ok.time_unix_nano), (100, 500));
    assert_eq!((ok.count, ok.sum, ok.min, ok.max), (2, Some(0.304), Some(0.004), Some(0.3)));
    assert_eq!(ok.explicit_bounds, Instrument::HttpServerRequestDuration.definition().boundaries);
    assert_eq!(ok.bucket_counts, [1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(failed.bucket_counts.last(), Some(&1), "above the last boundary");

    let active = sum(&metrics, ACTIVE);
    assert!(!active.is_monotonic);
    assert_eq!(texts(&active.data_points[0].attributes), ["http.request.method=GET"], "it has no status");
    assert_eq!(int(&active.data_points[0]), -2);
    let retries = sum(&metrics, RETRIES);
    assert!(retries.is_monotonic);
    assert_eq!(int(&retries.data_points[0]), 2, "a counter takes nothing back");
}

#[test]
fn what_is_no_measurement_is_left_out() {
    let mut store = store(CUMULATIVE, "");
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.1] {
        store.record(Instrument::HttpServerRequestDuration, &AttributeSet::new(), value, None);
    }
    store.add(Instrument::UpstreamRetries, &AttributeSet::new(), -1, None);
    assert_eq!(collect(&mut store, 500), []);
}

#[test]
fn differences_begin_where_the_last_ended_and_sums_at_the_start() {
    let set = AttributeSet::new();
    for (temporality, is_delta) in
        [(CUMULATIVE, false), (DELTA, true), (r#""temporality_preference": "low_memory""#, true)]
    {
        let mut store = store(temporality, "");
        let told = |store: &mut MetricStore, now| {
            let metrics = collect(store, now);
            let point = |name| {
                let sum = sum(&metrics, name);
                let point = &sum.data_points[0];
                (sum.aggregation_temporality, point.start_time_unix_nano, point.time_unix_nano, int(point))
            };
            let level = point(ACTIVE);
            (metrics.iter().any(|metric| metric.name == RETRIES).then(|| point(RETRIES)), level)
        };
        store.add(Instrument::UpstreamRetries, &set, 5, None);
        store.add(Instrument::HttpServerActiveRequests, &set, 5, None);
        let first = told(&mut store, 200);
        store.add(Instrument::UpstreamRetries, &set, 2, None);
        store.add(Instrument::HttpServerActiveRequests, &set, -2, None);
        let second = told(&mut store, 300);
        let third = told(&mut store, 250);
        store.add(Instrument::UpstreamRetries, &set, 1, None);
        let fourth = told(&mut store, 400);
        if is_delta {
            assert_eq!(first, (Some((1, 100, 200, 5)), (2, 100, 200, 5)));
            assert_eq!(second, (Some((1, 200, 300, 2)), (2, 100, 300, 3)));
            assert_eq!(third, (None, (2, 100, 250, 3)), "nothing was measured");
            assert_eq!(fourth, (Some((1, 300, 400, 1)), (2, 100, 400, 3)), "the clock was set back meanwhile");
        } else {
            assert_eq!(first, (Some((2, 100, 200, 5)), (2, 100, 200, 5)));
            assert_eq!(second, (Some((2, 100, 300, 7)), (2, 100, 300, 3)));
            assert_eq!(third, (Some((2, 100, 250, 7)), (2, 100, 250, 3)));
            assert_eq!(fourth, (Some((2, 100, 400, 8)), (2, 100, 400, 3)));
        }
    }
}

#[test]
fn a_reader_has_collected_only_what_it_was_told() {
    let config = crate::config::Config::from_json(
        br#"{"file_format": "1.1", "meter_provider": {"readers": [
            {"periodic": {"exporter": {"otlp_grpc": {"temporality_preference": "delta"}}}},
            {"periodic": {"exporter": {"otlp_grpc": {"temporality_preference": "delta"}}}}]}}"#,
    );
    let mut store = MetricStore::new(&config.unwrap().meter.unwrap(), 1);
    store.begin(100);
    store.add(Instrument::UpstreamRetries, &AttributeSet::new(), 1, None);
    let mut told = [0, 0];
    for (reader, told) in told.iter_mut().enumerate() {
        store.collect(reader, 200, 1_000, 10, |metric| *told += metric.points);
    }
    store.collect(2, 200, 1_000, 10, |_| panic!("there is none"));
    assert_eq!(told, [1, 1]);
}

#[test]
fn caps_hold_and_what_is_above_them_is_summed_up_and_counted() {
    let limits = r#"{"default": 10, "histogram": 5}"#;
    let text = format!(
        r#"{{"file_format": "1.1", "meter_provider": {{
            "readers": [{{"periodic": {{"cardinality_limits": {limits}, "exporter": {{"otlp_grpc": {DELTA_OBJECT}}}}}}}],
            "views": [{{"selector": {{"instrument_name": "http.client.request.duration"}},
                        "stream": {{"aggregation_cardinality_limit": 3}}}}]}}}}"#,
    );
    let config = crate::config::Config::from_json(text.as_bytes()).unwrap().meter.unwrap();
    let mut store = MetricStore::new(&config, 1);
    store.begin(100);
    for round in 0..2_u64 {
        for number in 0..1_000 {
            let mut set = AttributeSet::new();
            set.put_int("http.response.status_code", number);
            set.put_int("http.route", number);
            store.record(Instrument::HttpServerRequestDuration, &set, 1.0, None);
            store.record(Instrument::HttpClientRequestDuration, &set, 1.0, None);
            store.add(Instrument::UpstreamRetries, &set, 1, None);
        }
        assert_eq!(store.series(), 5 + 3 + 10);
        let metrics = collect(&mut store, 200 + round);
        for (name, cap) in [(DURATION, 5), ("http.client.request.duration", 3)] {
            let points = histogram(&metrics, name).data_points;
            assert_eq!(points.len(), cap, "{name}");
            assert_eq!(points.iter().map(|point| point.count).sum::<u64>(), 1_000, "{name}: nothing is lost");
            let overflow = points.last().unwrap();
            assert_eq!(texts(&overflow.attributes), ["otel.metric.overflow=true"], "{name}");
        }
        let retries = sum(&metrics, RETRIES).data_points;
        assert_eq!((retries.len(), int(retries.last().unwrap())), (10, 991));
        assert_eq!(store.take_overflow(), 996 + 998 + 991, "told once");
        assert_eq!(store.take_overflow(), 0);
    }
}

const DELTA_OBJECT: &str = r#"{"temporality_preference": "delta"}"#;

#[test]
fn texts_are_cut_so_that_a_series_has_a_size() {
    let long = "\u{e4}".repeat(10_000);
    let long = Masked::configured(&long);
    let mut set = AttributeSet::new();
    set.put_text("http.route", &long);
    let mut store = store(CUMULATIVE, "");
    store.add(Instrument::UpstreamRetries, &set, 1, None);
    let told = texts(&sum(&collect(&mut store, 200), RETRIES).data_points[0].attributes);
    assert_eq!(told, [format!("http.route={}", "\u{e4}".repeat(128))]);
}

#[test]
fn views_rename_filter_drop_and_aggregate() {
    let views = r#", "views": [
        {"selector": {"instrument_type": "counter"}, "stream": {"aggregation": {"drop": {}}}},
        {"selector": {"instrument_name": "http.server.request.duration"},
         "stream": {"name": "by.status", "description": "mine", "attribute_keys": {"included": ["*status_code"]},
                    "aggregation": {"explicit_bucket_histogram": {"boundaries": [1], "record_min_max": false}}}},
        {"selector": {"instrument_name": "http.server.request.duration"},
         "stream": {"name": "total", "aggregation": {"sum": {}}, "attribute_keys": {"excluded": ["*"]}}},
        {"selector": {"instrument_name": "http.server.request.duration"},
         "stream": {"name": "fine", "aggregation": {"base2_exponential_bucket_histogram": {"max_size": 4}}}}]"#;
    let mut store = store(CUMULATIVE, views);
    assert!(!store.takes(Instrument::UpstreamRetries) && store.takes(Instrument::HttpServerRequestDuration));
    let (get, post) = (Masked::literal("GET"), Masked::literal("POST"));
    store.add(Instrument::UpstreamRetries, &request(&get, 200), 1, None);
    for (method, value) in [(&get, 0.5), (&post, 4.0), (&post, 0.0)] {
        let context = exemplar(3, true);
        store.record(Instrument::HttpServerRequestDuration, &request(method, 200), value, Some(&context));
    }
    let metrics = collect(&mut store, 200);
    assert_eq!(metrics.iter().map(|metric| metric.name.as_str()).collect::<Vec<_>>(), ["by.status", "total", "fine"]);
    assert_eq!(find(&metrics, "by.status").description, "mine");
    let by_status = histogram(&metrics, "by.status").data_points;
    assert_eq!((by_status.len(), by_status[0].count, by_status[0].min), (1, 3, None));
    assert_eq!(by_status[0].bucket_counts, [2, 1]);
    let filtered: Vec<_> = by_status[0].exemplars.iter().map(|exemplar| texts(&exemplar.filtered_attributes)).collect();
    assert_eq!(filtered, [["http.request.method=POST"], ["http.request.method=POST"]]);
    let total = sum(&metrics, "total");
    assert_eq!(total.data_points[0].value, Some(Value::AsDouble(4.5)));
    assert!(total.data_points[0].attributes.is_empty() && total.is_monotonic);
    let fine = exponential(&metrics, "fine").data_points;
    assert_eq!(fine.len(), 2);
    let post = fine.iter().find(|point| point.zero_count == 1).unwrap();
    let positive = post.positive.clone().unwrap();
    assert_eq!((post.scale, positive.offset, positive.bucket_counts), (20, (2 << 20) - 1, vec![1]));
    assert_eq!((post.count, post.sum, post.min, post.max), (2, Some(4.0), Some(0.0), Some(4.0)));
}

#[test]
fn the_exporter_chooses_the_histogram() {
    let settings = r#""default_histogram_aggregation": "base2_exponential_bucket_histogram""#;
    let mut store = store(settings, "");
    for value in [0.0, 0.001, 0.5, 100.0] {
        store.record(Instrument::HttpServerRequestDuration, &AttributeSet::new(), value, None);
    }
    let point = exponential(&collect(&mut store, 200), DURATION).data_points.remove(0);
    assert_eq!((point.count, point.zero_count), (4, 1));
    let positive = point.positive.unwrap();
    assert!(positive.bucket_counts.len() <= 160);
    assert_eq!(positive.bucket_counts.iter().sum::<u64>(), 3);
}

#[test]
fn exemplars_follow_the_filter_and_point_at_their_traces() {
    let cases = [("", 1), (r#", "exemplar_filter": "always_on""#, 2), (r#", "exemplar_filter": "always_off""#, 0)];
    for (filter, expected) in cases {
        let mut store = store(CUMULATIVE, filter);
        let set = AttributeSet::new();
        store.record(Instrument::HttpServerRequestDuration, &set, 0.3, Some(&exemplar(1, true)));
        store.record(Instrument::HttpServerRequestDuration, &set, 0.03, Some(&exemplar(2, false)));
        store.record(Instrument::HttpServerRequestDuration, &set, 0.003, None);
        store.add(Instrument::UpstreamRetries, &set, 4, Some(&exemplar(3, true)));
        let metrics = collect(&mut store, 500);
        let exemplars = histogram(&metrics, DURATION).data_points.remove(0).exemplars;
        assert_eq!(exemplars.len(), expected, "{filter}");
        if let Some(first) = exemplars.first() {
            assert_eq!(first.trace_id, 1_u128.to_be_bytes());
            assert_eq!((first.span_id.as_slice(), first.time_unix_nano), (&1_u64.to_be_bytes()[..], 1));
            assert_eq!(first.value, Some(ExemplarValue::AsDouble(0.3)));
            let retries = sum(&metrics, RETRIES).data_points.remove(0).exemplars;
            assert_eq!(retries[0].value, Some(ExemplarValue::AsInt(4)));
        }
        let again = histogram(&collect(&mut store, 600), DURATION).data_points.remove(0);
        assert_eq!((again.count, again.exemplars.len()), (3, 0), "{filter}: each is told once");
    }
}

#[test]
fn exemplars_of_a_series_are_few_however_much_is_measured() {
    let fine = r#""default_histogram_aggregation": "base2_exponential_bucket_histogram""#;
    for (settings, most) in [(CUMULATIVE, 15), (fine, 20)] {
        let mut store = store(settings, "");
        for number in 1..=10_000_u32 {
            let value = f64::from(number) / 500.0;
            let context = exemplar(u64::from(number), true);
            store.record(Instrument::HttpServerRequestDuration, &AttributeSet::new(), value, Some(&context));
        }
        let metrics = collect(&mut store, 20_000);
        let exemplars = match find(&metrics, DURATION).data.clone().unwrap() {
            proto::metric::Data::Histogram(histogram) => histogram.data_points[0].exemplars.clone(),
            proto::metric::Data::ExponentialHistogram(histogram) => histogram.data_points[0].exemplars.clone(),
            other => panic!("{other:?}"),
        };
        assert!((10..=most).contains(&exemplars.len()), "{}", exemplars.len());
    }
}

#[test]
fn a_large_metric_goes_in_pieces() {
    let mut store = store(CUMULATIVE, "");
    for number in 0..1_500 {
        let mut set = AttributeSet::new();
        set.put_int("http.response.status_code", number);
        store.record(Instrument::HttpServerRequestDuration, &set, 1.0, Some(&exemplar(1, true)));
    }
    let mut pieces = 0;
    store.collect(0, 200, 64 << 10, u32::MAX, |metric| {
        assert!(metric.bytes.len() < 65 << 10);
        pieces += 1;
    });
    assert!(pieces > 3);
    assert_eq!(points(find(&collect(&mut store, 300), DURATION)), 1_500);
}
