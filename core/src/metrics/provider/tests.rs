use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data, number_data_point::Value};
use prost::Message;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::super::testing::points;
use super::super::{AttributeSet, Instrument};
use super::*;
use crate::attribute::{Attribute, AttributeValue};
use crate::config::Config;
use crate::export::{DropReason, ExportRequest, ExportResponse, RequestId};

const S: u64 = 1_000_000_000;

/// A provider with its one exporter, as a plugin has them.
struct Metering {
    provider: MeterProvider,
    exporters: Vec<BatchProcessor>,
}

impl Metering {
    fn store(&mut self) -> &mut MetricStore {
        self.provider.store()
    }

    fn poll(&mut self, now: u64) -> Option<(RequestId, ExportRequest)> {
        self.provider.collect(now, &mut self.exporters);
        self.exporters[0].poll(now)
    }

    fn flush(&mut self) {
        self.provider.flush();
        self.exporters[0].flush();
    }

    fn is_idle(&self) -> bool {
        self.provider.is_idle() && self.exporters[0].is_idle()
    }

    fn exporter(&self) -> &BatchProcessor {
        &self.exporters[0]
    }
}

fn provider_with(reader: &str, exporter: &str, limits: LimitsConfig) -> Metering {
    let text = format!(
        r#"{{"file_format": "1.1", "meter_provider": {{"readers": [
            {{"periodic": {{"interval": 10000, {reader} "exporter": {{"otlp_http": {{{exporter}}}}}}}}}]}}}}"#
    );
    let config = Config::from_json(text.as_bytes()).unwrap().meter.unwrap();
    let resource = Attribute { name: "service.name".into(), value: AttributeValue::String("shop".into()) };
    let envelope = Rc::new(Envelope::new(&[resource], None, "https://schema.test/1"));
    let names = ["collector:4318".to_owned()].into_iter();
    let (provider, exporters) = MeterProvider::new(&config, limits, &envelope, names, 1);
    Metering { provider, exporters }
}

fn provider(exporter: &str) -> Metering {
    provider_with("", exporter, LimitsConfig::default())
}

const DELTA: &str = r#""temporality_preference": "delta""#;

fn count(provider: &mut Metering, by: i64) {
    provider.store().add(Instrument::UpstreamRetries, &AttributeSet::new(), by, None);
}

fn metrics(request: &ExportRequest) -> Vec<Metric> {
    let mut read = ExportMetricsServiceRequest::decode(request.body.as_slice()).unwrap().resource_metrics;
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].resource.as_ref().unwrap().attributes[0].key, "service.name");
    let mut scopes = read.remove(0).scope_metrics;
    assert_eq!((scopes.len(), scopes[0].schema_url.as_str()), (1, "https://schema.test/1"));
    assert_eq!(scopes[0].scope.as_ref().unwrap().name, "meshspan");
    scopes.remove(0).metrics
}

/// Of the one counter: from when, until when, and how much.
fn told(request: &ExportRequest) -> (u64, u64, i64) {
    let Some(Data::Sum(sum)) = metrics(request).remove(0).data else { panic!("a sum") };
    let point = &sum.data_points[0];
    let Some(Value::AsInt(value)) = point.value else { panic!("an integer") };
    (point.start_time_unix_nano / S, point.time_unix_nano / S, value)
}

fn answer(provider: &mut Metering, id: RequestId, status: &[u8], now: u64) {
    let response = ExportResponse { headers: &[(b":status", status)], body: b"", trailers: &[] };
    provider.exporters[0].handle_response(id, &response, now);
}

fn check_books(provider: &Metering) {
    let exporter = provider.exporter();
    let (queued, in_flight) = exporter.held();
    let stats = exporter.stats();
    assert_eq!(stats.started(), stats.exported() + stats.all_dropped() + queued + in_flight);
}

fn dropped(provider: &Metering, reason: DropReason) -> u64 {
    provider.exporter().stats().dropped(reason)
}

#[test]
fn it_collects_once_an_interval_and_in_step() {
    let mut provider = provider("");
    assert_eq!(provider.poll(100 * S), None);
    count(&mut provider, 1);
    assert_eq!(provider.poll(109 * S), None, "not yet");
    let (id, request) = provider.poll(111 * S).unwrap();
    assert_eq!(&*request.cluster, "localhost");
    assert_eq!(request.headers[1], (":path".to_owned(), "/v1/metrics".to_owned()));
    assert_eq!(request.timeout_ms, 10_000, "the exporter's is the shorter one");
    assert_eq!(told(&request), (100, 111, 1));
    answer(&mut provider, id, b"200", 111 * S);
    assert_eq!(provider.poll(119 * S), None);
    let (id, request) = provider.poll(120 * S).unwrap();
    assert_eq!(told(&request), (100, 120, 1), "in step with the first, and told again though nothing was measured");
    answer(&mut provider, id, b"200", 121 * S);
    let (id, _) = provider.poll(175 * S).unwrap();
    answer(&mut provider, id, b"200", 175 * S);
    assert_eq!(provider.poll(184 * S), None, "missed intervals are not made up for");
    let (id, _) = provider.poll(185 * S).unwrap();
    answer(&mut provider, id, b"200", 185 * S);
    assert_eq!(provider.poll(50 * S), None);
    assert!(provider.poll(60 * S).is_some(), "a clock that was set back costs an interval at most");
    assert_eq!(provider.exporter().stats().started(), 5, "a point each time");
    check_books(&provider);
}

#[test]
fn nothing_measured_is_nothing_sent() {
    for exporter in ["", DELTA] {
        let mut provider = provider(exporter);
        provider.poll(0);
        assert_eq!(provider.poll(10 * S), None, "{exporter}");
        assert!(provider.is_idle());
    }
}

#[test]
fn what_did_not_get_through_is_told_better_by_the_next_collection() {
    let mut provider = provider("");
    provider.poll(100 * S);
    count(&mut provider, 1);
    let (id, _) = provider.poll(110 * S).unwrap();
    answer(&mut provider, id, b"503", 110 * S);
    count(&mut provider, 1);
    let (id, request) = provider.poll(112 * S).unwrap();
    assert_eq!(told(&request), (100, 110, 1), "tried again meanwhile");
    answer(&mut provider, id, b"503", 112 * S);
    let (id, request) = provider.poll(121 * S).unwrap();
    assert_eq!(told(&request), (100, 121, 2));
    assert_eq!(dropped(&provider, DropReason::Superseded), 1);
    answer(&mut provider, id, b"200", 121 * S);
    assert_eq!(provider.poll(122 * S), None, "the old one is not sent any more");
    assert_eq!(provider.exporter().stats().exported(), 1);
    check_books(&provider);
}

#[test]
fn differences_wait_for_their_backend_and_add_up() {
    let mut provider = provider(DELTA);
    provider.poll(100 * S);
    count(&mut provider, 1);
    let (id, request) = provider.poll(110 * S).unwrap();
    assert_eq!(told(&request), (100, 110, 1));
    answer(&mut provider, id, b"503", 110 * S);
    count(&mut provider, 2);
    let (id, request) = provider.poll(125 * S).unwrap();
    assert_eq!(told(&request), (100, 110, 1), "the same again, though the next is due");
    count(&mut provider, 4);
    answer(&mut provider, id, b"200", 126 * S);
    let (id, request) = provider.poll(127 * S).unwrap();
    assert_eq!(told(&request), (110, 127, 6), "all since then, in one");
    answer(&mut provider, id, b"200", 127 * S);
    assert_eq!(provider.exporter().stats().all_dropped(), 0);
    check_books(&provider);
}

#[test]
fn differences_that_are_too_old_are_counted_as_lost() {
    let mut provider = provider(DELTA);
    provider.poll(100 * S);
    let (mut now, mut received, mut expected) = (110 * S, 0, 0);
    for _ in 0..300 {
        count(&mut provider, 1);
        expected += 1;
        if let Some((id, request)) = provider.poll(now) {
            let is_up = now > 350 * S;
            if is_up {
                received += told(&request).2;
            }
            answer(&mut provider, id, if is_up { b"200" } else { b"503" }, now);
        }
        check_books(&provider);
        now += S;
    }
    let lost = dropped(&provider, DropReason::Expired);
    assert!(lost > 0 && received < expected, "{lost} points");
    assert!(provider.exporter().held().0 <= 1, "one collection at most");
}

#[test]
fn a_request_is_neither_too_long_nor_has_too_many_points() {
    let many = |provider: &mut Metering| {
        for status in 0..1_900 {
            let mut set = AttributeSet::new();
            set.put_int("http.response.status_code", status);
            provider.store().record(Instrument::HttpServerRequestDuration, &set, 1.0, None);
        }
    };
    let drain = |provider: &mut Metering| {
        let mut requests = Vec::new();
        while let Some((id, request)) = provider.poll(110 * S) {
            answer(provider, id, b"200", 110 * S);
            requests.push(request);
        }
        assert!(provider.is_idle());
        assert_eq!(provider.exporter().stats().exported(), 1_900);
        requests
    };
    let limits = LimitsConfig { max_request_size: 128 << 10, max_queue_bytes: 128 << 10, ..LimitsConfig::default() };
    let mut provider = provider_with("", "", limits);
    provider.poll(100 * S);
    many(&mut provider);
    let requests = drain(&mut provider);
    assert!(requests.len() > 2 && requests.iter().all(|request| request.body.len() <= 128 << 10));

    let batch = r#""max_export_batch_size/development": 500,"#;
    let mut provider = provider_with(batch, "", LimitsConfig::default());
    provider.poll(100 * S);
    many(&mut provider);
    let counts: Vec<usize> =
        drain(&mut provider).iter().map(|request| metrics(request).iter().map(points).sum()).collect();
    assert!(counts.iter().all(|count| *count <= 500), "{counts:?}");
}

#[test]
fn a_request_that_is_too_large_goes_in_halves() {
    let mut provider = provider("");
    provider.poll(100 * S);
    for status in 0..1_900 {
        let mut set = AttributeSet::new();
        set.put_int("http.response.status_code", status);
        provider.store().record(Instrument::HttpServerRequestDuration, &set, 1.0, None);
    }
    let mut received = 0;
    while let Some((id, request)) = provider.poll(110 * S) {
        let is_taken = request.body.len() < 100 << 10;
        received += if is_taken { metrics(&request).iter().map(points).sum() } else { 0 };
        answer(&mut provider, id, if is_taken { b"200" } else { b"413" }, 110 * S);
        check_books(&provider);
    }
    assert_eq!(received, 1_900);
}

#[test]
fn the_end_collects_once_more() {
    for exporter in ["", DELTA] {
        let mut provider = provider(exporter);
        provider.poll(100 * S);
        count(&mut provider, 1);
        assert!(provider.is_idle(), "nothing waits before it is collected");
        provider.flush();
        assert!(!provider.is_idle());
        let (id, request) = provider.poll(101 * S).unwrap();
        assert_eq!(told(&request), (100, 101, 1));
        assert!(!provider.is_idle());
        answer(&mut provider, id, b"200", 101 * S);
        assert!(provider.is_idle(), "{exporter}");
        assert_eq!(provider.poll(200 * S), None, "once");
    }
}

#[test]
fn json_is_the_same() {
    let mut provider = provider(r#""encoding": "json""#);
    provider.poll(100 * S);
    count(&mut provider, 3);
    let (_, request) = provider.poll(110 * S).unwrap();
    let read: ExportMetricsServiceRequest = serde_json::from_slice(&request.body).unwrap();
    let Some(Data::Sum(sum)) = &read.resource_metrics[0].scope_metrics[0].metrics[0].data else { panic!("a sum") };
    assert_eq!(sum.data_points[0].value, Some(Value::AsInt(3)));
}
