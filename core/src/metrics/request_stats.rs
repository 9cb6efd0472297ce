//! The way out to Prometheus: measurements as statistics of Envoy's own, with labels in their names.
//!
//! A series is found by the hash of its attributes, as in the store. Counters and levels are told as differences at
//! ticks; a histogram's values one by one, because the host takes no other: as soon as some have come together, so that
//! none finds its room taken however many requests there are.
//!
//! Sources: Prometheus, "Metric and label naming"; OpenTelemetry specification, "Metrics SDK"; Envoy, "Stats".

use super::attributes::{OwnedAttributes, Value};
use super::{AttributeSet, Instrument, InstrumentKind, SeriesTable};
use crate::config::PrometheusConfig;
use crate::ledger::Level;
use crate::stats::{self, Stat, StatKind, StatsHost};

/// The label that says whose request it was: the value of the resource's `service.name`.
pub const SERVICE_LABEL: &str = "service_name";

/// The label of the series that takes what has no room (Metrics SDK, "Overflow attribute").
pub const OVERFLOW_LABEL: &str = "otel_metric_overflow";

/// From how many values of histograms on they are told without waiting for the tick.
const FULL: usize = 64;

/// The measurements of one worker that Prometheus is to see.
#[derive(Clone, Debug)]
pub struct RequestStats {
    service: String,
    /// By the instruments' discriminants; `None` for one that is left out.
    families: Vec<Option<Family>>,
    /// How many values of histograms wait.
    waiting: usize,
}

/// One metric.
#[derive(Clone, Debug)]
struct Family {
    name: &'static str,
    kind: StatKind,
    keys: Vec<&'static str>,
    series: SeriesTable<Stat>,
    /// Whether any of its series has something to tell.
    is_fresh: bool,
    /// Of the measurements that went to the overflow series, how many were asked for.
    overflowed: u64,
}

/// What a flush found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// How many series the host refused.
    pub refused: usize,
    /// How many measurements went to an overflow series since the last time.
    pub overflowed: u64,
    /// How many values of histograms were given up since the last time, because the host does not take them.
    pub lost: u64,
}

impl RequestStats {
    /// Without series. `service`: the resource's `service.name`.
    #[inline]
    pub fn new(config: &PrometheusConfig, service: String) -> Self {
        let cap = usize::try_from(config.max_series).unwrap_or(usize::MAX);
        let family = |instrument: &Instrument| {
            let definition = instrument.definition();
            let keys = definition.attributes.iter().copied();
            config.takes(*instrument).then(|| Family {
                name: stat_name(*instrument),
                kind: match definition.kind {
                    InstrumentKind::Counter => StatKind::Counter,
                    InstrumentKind::UpDownCounter => StatKind::SummedGauge,
                    InstrumentKind::Histogram => StatKind::Histogram,
                },
                keys: keys.filter(|key| config.has_label(key)).collect(),
                series: SeriesTable::new(cap),
                is_fresh: false,
                overflowed: 0,
            })
        };
        Self { service, families: Instrument::ALL.iter().map(family).collect(), waiting: 0 }
    }

    /// Adds to a counter or to a level.
    pub fn add(&mut self, instrument: Instrument, set: &AttributeSet<'_>, by: i64) {
        self.update(instrument, set, |stat| stat.shift(by));
    }

    /// One value of a histogram: bytes, or milliseconds where the instrument's unit is the second.
    pub fn record(&mut self, instrument: Instrument, set: &AttributeSet<'_>, value: u64) {
        if self.update(instrument, set, |stat| stat.record(value)) {
            self.waiting = self.waiting.saturating_add(1);
        }
    }

    fn update(&mut self, instrument: Instrument, set: &AttributeSet<'_>, update: impl FnOnce(&mut Stat)) -> bool {
        let Some(family) = self.families.get_mut(instrument as usize).and_then(Option::as_mut) else { return false };
        let kind = family.kind;
        update(family.series.get_or_insert_with(&set.select(&family.keys), || Stat::new(kind)));
        family.is_fresh = true;
        true
    }

    /// Whether so many values wait that they should be told now.
    pub const fn is_full(&self) -> bool {
        self.waiting >= FULL
    }

    /// Tells the host what it does not know yet. For each tick.
    pub fn flush(&mut self, host: &mut impl StatsHost) -> Flushed {
        self.flush_some(host, true)
    }

    /// Tells the host the values of histograms, which cannot wait for the tick when there are many. Levels must wait:
    /// what the host knows of them is [noted](Self::levels) at ticks, for the case that this machine fails.
    pub fn flush_values(&mut self, host: &mut impl StatsHost) -> Flushed {
        self.flush_some(host, false)
    }

    fn flush_some(&mut self, host: &mut impl StatsHost, is_tick: bool) -> Flushed {
        let mut flushed = Flushed::default();
        let service = &self.service;
        let due = |family: &&mut Family| family.is_fresh && (is_tick || family.kind == StatKind::Histogram);
        for family in self.families.iter_mut().flatten().filter(due) {
            let mut refused = 0_usize;
            for (attributes, stat) in family.series.iter_mut() {
                let told = stat.flush(host, || series_name(family.name, service, attributes));
                refused = refused.saturating_add(usize::from(!told));
                flushed.lost = flushed.lost.saturating_add(stat.take_lost());
            }
            family.is_fresh = refused > 0;
            flushed.refused = flushed.refused.saturating_add(refused);
            let overflowed = family.series.overflowed();
            flushed.overflowed = flushed.overflowed.saturating_add(overflowed.saturating_sub(family.overflowed));
            family.overflowed = overflowed;
        }
        self.waiting = 0;
        flushed
    }

    /// The levels that the host was told and that are not 0.
    pub fn levels(&self) -> Vec<Level> {
        let mut levels = Vec::new();
        for family in self.families.iter().flatten().filter(|family| family.kind == StatKind::SummedGauge) {
            for (attributes, stat) in family.series.iter().filter(|(_, stat)| stat.told() > 0) {
                levels.push(Level { series: series_name(family.name, &self.service, attributes), told: stat.told() });
            }
        }
        levels
    }

    /// Another took these levels out of the host's sums: the next flush tells them again.
    pub fn tell_again(&mut self, levels: &[Level]) {
        let service = &self.service;
        for family in self.families.iter_mut().flatten().filter(|family| family.kind == StatKind::SummedGauge) {
            for (attributes, stat) in family.series.iter_mut() {
                let name = series_name(family.name, service, attributes);
                for level in levels.iter().filter(|level| level.series == name) {
                    stat.tell_again(level.told);
                    family.is_fresh = true;
                }
            }
        }
    }
}

/// What a metric is called by Prometheus, without the `meshspan_` in front of all names: in snake case, with the unit,
/// and `_total` for a sum that only grows. Envoy's histograms are of integers, so durations are in milliseconds.
pub const fn stat_name(instrument: Instrument) -> &'static str {
    match instrument {
        Instrument::HttpServerRequestDuration => "http_server_request_duration_milliseconds",
        Instrument::HttpClientRequestDuration => "http_client_request_duration_milliseconds",
        Instrument::HttpServerActiveRequests => "http_server_active_requests",
        Instrument::HttpClientActiveRequests => "http_client_active_requests",
        Instrument::HttpServerRequestBodySize => "http_server_request_body_size_bytes",
        Instrument::HttpServerResponseBodySize => "http_server_response_body_size_bytes",
        Instrument::HttpClientRequestBodySize => "http_client_request_body_size_bytes",
        Instrument::HttpClientResponseBodySize => "http_client_response_body_size_bytes",
        Instrument::RpcServerCallDuration => "rpc_server_duration_milliseconds",
        Instrument::RpcClientCallDuration => "rpc_client_duration_milliseconds",
        Instrument::RpcRejectedStreams => "rpc_rejected_streams_total",
        Instrument::ResponsesFlagged => "flagged_responses_total",
        Instrument::UpstreamRetries => "upstream_retries_total",
        Instrument::ServiceGraphRequests => "service_graph_request_total",
        Instrument::ServiceGraphRequestsFailed => "service_graph_request_failed_total",
        Instrument::ServiceGraphServerSeconds => "service_graph_request_server_milliseconds",
        Instrument::ServiceGraphClientSeconds => "service_graph_request_client_milliseconds",
    }
}

/// What an attribute's key is as a label: dots become underscores.
pub fn label(key: &str) -> String {
    key.replace('.', "_")
}

/// A series' name for the host; without attributes, the overflow's.
fn series_name(name: &str, service: &str, attributes: Option<&OwnedAttributes>) -> String {
    let mut text = String::from("meshspan_");
    text.push_str(SERVICE_LABEL);
    stats::put_value(&mut text, service);
    let Some(attributes) = attributes else {
        text.push_str(OVERFLOW_LABEL);
        stats::put_value(&mut text, "true");
        text.push_str(name);
        return text;
    };
    for (key, value) in attributes.iter() {
        text.extend(key.chars().map(|c| if c == '.' { '_' } else { c }));
        match value {
            Value::Text(value) => stats::put_value(&mut text, value),
            Value::Int(number) => stats::put_value(&mut text, &number.to_string()),
            Value::Bool(truth) => stats::put_value(&mut text, if truth { "true" } else { "false" }),
        }
    }
    text.push_str(name);
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::masking::Masked;
    use crate::semconv;
    use crate::stats::StatChange;

    /// What a host shows: sums, and the values of histograms.
    #[derive(Default)]
    struct Host {
        names: Vec<String>,
        sums: BTreeMap<String, i64>,
        values: BTreeMap<String, Vec<u64>>,
        refuses: bool,
    }

    impl StatsHost for Host {
        fn define(&mut self, _: StatKind, name: &str) -> Option<u32> {
            self.names.push(name.to_owned());
            Some(u32::try_from(self.names.len()).unwrap() - 1)
        }

        fn tell(&mut self, id: u32, change: StatChange) -> bool {
            let name = self.names[id as usize].clone();
            match change {
                _ if self.refuses => return false,
                StatChange::Add(by) => *self.sums.entry(name).or_default() += by,
                StatChange::Record(value) => self.values.entry(name).or_default().push(value),
            }
            true
        }
    }

    fn stats(config: &PrometheusConfig) -> RequestStats {
        RequestStats::new(config, "shop;.;x=.=y".to_owned())
    }

    #[test]
    fn labels_stand_in_names() {
        let mut stats = stats(&PrometheusConfig::default());
        let (get, route) = (Masked::literal("GET"), Masked::literal("/users/{id}"));
        let mut set = AttributeSet::new();
        set.put_text(semconv::HTTP_ROUTE, &route);
        set.put_text(semconv::HTTP_REQUEST_METHOD, &get);
        set.put_int(semconv::HTTP_RESPONSE_STATUS_CODE, 200);
        set.put_bool(semconv::metric::FAILED, true);
        stats.record(Instrument::HttpServerRequestDuration, &set, 7);
        stats.record(Instrument::HttpServerRequestDuration, &set, 9);
        stats.add(Instrument::ServiceGraphRequests, &set, 1);
        stats.add(Instrument::HttpServerActiveRequests, &set, 1);
        stats.add(Instrument::HttpServerActiveRequests, &set, -1);
        let mut host = Host::default();
        assert_eq!(stats.flush(&mut host), Flushed::default());
        let service = "meshspan_service_name=.=shop_._x_._y;.;";
        let http = "http_request_method=.=GET;.;http_response_status_code=.=200;.;http_route=.=/users/{id};.;";
        let duration = format!("{service}{http}http_server_request_duration_milliseconds");
        assert_eq!(host.values, BTreeMap::from([(duration.clone(), vec![9, 7])]));
        let edges = format!("{service}failed=.=true;.;service_graph_request_total");
        assert_eq!(host.sums, BTreeMap::from([(edges, 1)]));
        let active = format!("{service}http_request_method=.=GET;.;http_server_active_requests");
        assert!(host.names.contains(&active), "defined, and 0");
        stats.flush(&mut host);
        assert_eq!(host.values[&duration].len(), 2, "told once");
    }

    #[test]
    fn what_has_no_room_is_in_the_overflow_and_counted() {
        let mut stats = stats(&PrometheusConfig { max_series: 3, ..PrometheusConfig::default() });
        let mut host = Host::default();
        let mut overflowed = 0;
        for code in 200..210 {
            let mut set = AttributeSet::new();
            set.put_int(semconv::HTTP_RESPONSE_STATUS_CODE, code);
            stats.record(Instrument::HttpServerRequestDuration, &set, 1);
            overflowed += stats.flush(&mut host).overflowed;
        }
        assert_eq!((host.names.len(), overflowed), (3, 8));
        let name = "meshspan_service_name=.=shop_._x_._y;.;otel_metric_overflow=.=true;.;\
                    http_server_request_duration_milliseconds";
        assert_eq!(host.values[name].len(), 8);
    }

    #[test]
    fn what_is_left_out_is_not_counted() {
        let config = PrometheusConfig {
            labels: Some(vec![semconv::HTTP_ROUTE]),
            metrics: Some(vec![Instrument::HttpServerRequestDuration]),
            ..PrometheusConfig::default()
        };
        let mut stats = stats(&config);
        let get = Masked::literal("GET");
        let mut set = AttributeSet::new();
        set.put_text(semconv::HTTP_REQUEST_METHOD, &get);
        set.put_text(semconv::HTTP_ROUTE, &get);
        stats.record(Instrument::HttpServerRequestDuration, &set, 1);
        stats.record(Instrument::HttpServerRequestBodySize, &set, 1);
        let mut host = Host::default();
        stats.flush(&mut host);
        let expected = "meshspan_service_name=.=shop_._x_._y;.;http_route=.=GET;.;";
        assert_eq!(host.names, [format!("{expected}http_server_request_duration_milliseconds")]);
    }

    #[test]
    fn values_are_told_before_their_room_is_taken() {
        let mut stats = stats(&PrometheusConfig::default());
        let set = AttributeSet::new();
        let (mut host, mut flushes) = (Host::default(), 0);
        for value in 0..10_000 {
            stats.record(Instrument::HttpServerRequestDuration, &set, value);
            if stats.is_full() {
                flushes += 1;
                assert_eq!(stats.flush(&mut host), Flushed::default());
            }
        }
        stats.flush(&mut host);
        assert_eq!(host.values.values().map(Vec::len).sum::<usize>(), 10_000);
        assert_eq!(flushes, 10_000 / FULL);
        host.refuses = true;
        let lost: u64 = (0..10_000)
            .map(|value| {
                stats.record(Instrument::HttpServerRequestDuration, &set, value);
                if stats.is_full() { stats.flush(&mut host).lost } else { 0 }
            })
            .sum();
        assert_eq!(lost + stats.flush(&mut host).lost, 10_000 - 256, "a host that takes nothing costs no more memory");
    }
}
