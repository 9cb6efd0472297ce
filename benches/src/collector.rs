//! Where everything is exported to, in this process: what comes is decoded and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::ensure;
use meshspan_kit::axum::Router;
use meshspan_kit::axum::body::Bytes;
use meshspan_kit::axum::http::StatusCode;
use meshspan_kit::metrics::streams;
use meshspan_kit::receiver::Receiver;
use meshspan_kit::service::Service;
use serde_json::Value;

use crate::proxy::MetricsWay;
use crate::variant::Expected;

/// The metric that every request is counted in.
const DURATION: &str = "http.server.request.duration";

/// The collector of one variant.
pub(crate) struct Collector {
    /// For all that is OTLP.
    pub(crate) otlp: Receiver,
    /// For Zipkin's JSON.
    pub(crate) zipkin: Service,
    zipkin_spans: Arc<AtomicUsize>,
}

/// What a collector accepted, and what Envoy's statistics say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) spans: usize,
    pub(crate) logs: usize,
    /// Requests in the durations that were exported.
    pub(crate) measured: usize,
    /// Requests in the durations that Prometheus would get.
    pub(crate) measured_for_prometheus: usize,
}

impl Collector {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let otlp = Receiver::start()?;
        otlp.count_only();
        let zipkin_spans = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&zipkin_spans);
        let zipkin = Service::start_unrecorded(Router::new().fallback(move |body: Bytes| {
            let spans: Option<Vec<Value>> = serde_json::from_slice(&body).ok();
            counter.fetch_add(spans.as_ref().map_or(0, Vec::len), Ordering::Relaxed);
            async move { if spans.is_some() { StatusCode::ACCEPTED } else { StatusCode::BAD_REQUEST } }
        }))?;
        Ok(Self { otlp, zipkin, zipkin_spans })
    }

    pub(crate) fn spans(&self) -> usize {
        self.otlp.span_count() + self.zipkin_spans.load(Ordering::Relaxed)
    }

    pub(crate) fn measured(&self) -> anyhow::Result<usize> {
        let streams = streams(&self.otlp.metrics())?;
        let of_duration = streams.iter().filter(|(key, _)| key.metric == DURATION);
        Ok(usize::try_from(of_duration.map(|(_, stream)| stream.count).sum::<u64>())?)
    }
}

impl Received {
    /// # Errors
    /// When this is not what so many requests come to.
    pub(crate) fn check(&self, requests: usize, expected: Expected) -> anyhow::Result<()> {
        let (mut fewest, most) = expected_spans(requests, expected.spans);
        if expected.at_most {
            fewest = 0;
        }
        let each = |wanted: bool| if wanted { requests } else { 0 };
        let is = format!("{requests} requests came to {self:?} at the collector");
        ensure!((fewest..=most).contains(&self.spans), "{is}, expected {fewest} to {most} spans");
        ensure!(self.logs == each(expected.logs), "{is}, expected {} log records", each(expected.logs));
        for (way, measured) in
            [(MetricsWay::Otlp, self.measured), (MetricsWay::Prometheus, self.measured_for_prometheus)]
        {
            let wanted = each(expected.metrics == Some(way));
            ensure!(measured == wanted, "{is}, expected {wanted} in the durations for {way:?}");
        }
        Ok(())
    }
}

/// The fewest and the most spans: exact at 0 and 1, six standard deviations about the mean between.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
fn expected_spans(requests: usize, sampled: f64) -> (usize, usize) {
    let mean = requests as f64 * sampled;
    let slack = 6.0 * (mean * (1.0 - sampled)).sqrt();
    ((mean - slack).max(0.0).ceil() as usize, (mean + slack).floor() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_or_none_is_exact_and_a_share_has_slack() {
        for (requests, sampled, expected) in [
            (88_000, 0.0, (0, 0)),
            (88_000, 1.0, (88_000, 88_000)),
            (10_000, 0.01, (41, 159)), // 100 ± 59.7
            (100, 0.01, (0, 6)),       // not below nothing
        ] {
            assert_eq!(expected_spans(requests, sampled), expected, "{requests} at {sampled}");
        }
    }

    #[test]
    fn what_is_missing_or_too_much_is_an_error() {
        let nothing = Expected { spans: 0.0, at_most: false, logs: false, metrics: None };
        let none = Received { spans: 0, logs: 0, measured: 0, measured_for_prometheus: 0 };
        let all = Expected { spans: 1.0, logs: true, metrics: Some(MetricsWay::Otlp), ..nothing };
        let whole = Received { spans: 9, logs: 9, measured: 9, measured_for_prometheus: 0 };
        for (received, expected, fits) in [
            (none, nothing, true),
            (whole, all, true),
            (Received { spans: 8, ..whole }, all, false),
            (Received { spans: 10, ..whole }, all, false),
            (Received { logs: 8, ..whole }, all, false),
            (Received { measured: 10, ..whole }, all, false),
            (Received { measured_for_prometheus: 9, ..whole }, all, false), // the wrong way
            (Received { spans: 1, ..none }, nothing, false),
            (Received { logs: 1, ..none }, nothing, false),
            (Received { spans: 3, ..none }, Expected { spans: 0.4, at_most: true, ..nothing }, true),
        ] {
            assert_eq!(received.check(9, expected).is_ok(), fits, "{received:?}, {expected:?}");
        }
    }
}
