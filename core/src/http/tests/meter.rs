//! What is counted and timed of streams.

use std::collections::BTreeMap;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::harness::*;
use crate::counter::Counter;
use crate::grpc::GrpcStatus;
use crate::header::HeaderLine;
use crate::http::{Peer, RequestHead, ResponseFlags, StreamEnd, TrafficDirection};
use crate::plugin::Plugin;
use crate::shared_data::Alone;
use crate::stats::{StatChange, StatKind, StatsHost};

/// What Prometheus would see: of a counter and a level the sum, of a histogram the count and the values' sum.
#[derive(Default)]
struct Prometheus {
    names: Vec<String>,
    samples: BTreeMap<String, (i64, u64)>,
}

impl StatsHost for Prometheus {
    fn define(&mut self, _: StatKind, name: &str) -> Option<u32> {
        let name = name.replace("=.=", "=").replace(";.;", " ");
        self.names.push(name.trim_start_matches("meshspan_service_name=shop ").to_owned());
        u32::try_from(self.names.len()).ok()?.checked_sub(1)
    }

    fn tell(&mut self, id: u32, change: StatChange) -> bool {
        let sample = self.samples.entry(self.names[id as usize].clone()).or_default();
        match change {
            StatChange::Add(by) => sample.0 += by,
            StatChange::Record(value) => *sample = (sample.0 + 1, sample.1 + value),
        }
        true
    }
}

const METRICS: &str = r#""metrics": {"prometheus": {}}, "routes": ["/orders/{id}"]"#;

fn setup(role: &str, metrics: &str) -> Setup {
    Setup::new(role)
        .sampler(r#"{"always_off": {}}"#)
        .meshspan(metrics)
        .section(r#""resource": {"attributes": [{"name": "service.name", "value": "shop"}]}"#)
}

/// One whole request, which takes 10 ms: a boundary, and so 9 to Envoy. The host is asked for what is
/// needed.
fn measure(plugin: &mut Plugin, lines: &[(&str, &str)], end: &StreamEnd<'_>) {
    let lines: Vec<HeaderLine<'_>> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let head = RequestHead::collect(lines.iter().copied(), false);
    let (exchange, _) = plugin.handle_request_headers(&head, TrafficDirection::Inbound, Some(SEEN)).expect("a meter");
    assert!(plugin.outcome_needs(&exchange).is_some(), "its end matters");
    let exchange = plugin.handle_outcome(exchange, end, &mut Alone);
    plugin.handle_end(exchange, end);
}

/// The samples of metrics whose name ends with `suffix`, but those at 0, as `labels: value`.
fn samples(plugin: &mut Plugin, suffix: &str) -> Vec<String> {
    let mut host = Prometheus::default();
    assert_eq!(plugin.flush_stats(&mut host), 0);
    let of_it = host.samples.iter().filter_map(|(name, sample)| Some((name.strip_suffix(suffix)?, sample)));
    of_it.map(|(labels, (count, sum))| format!("{labels}{count}/{sum}")).collect()
}

fn grpc(path: &str) -> Lines<'_> {
    with(&request("POST", path), &[("content-type", Some("application/grpc"))])
}

#[test]
fn a_request_is_timed_under_few_attributes() {
    let ok = ended(200);
    let h2 = StreamEnd { protocol: b"HTTP/2", ..ended(200) };
    let named = StreamEnd { route_name: b"/users/{id}", ..ended(200) };
    let odd = StreamEnd { route_name: b"default", protocol: b"HTTP/9", ..ended(200) };
    let reset = StreamEnd { response_flags: ResponseFlags(1 << 14), ..ended(None) };
    let table: &[(Lines<'_>, &StreamEnd<'_>, &str, &str)] = &[
        (
            get(),
            &ok,
            "http_request_method=GET http_response_status_code=200 http_route=/orders/{id} url_scheme=http",
            "a template",
        ),
        (
            request("GET", "/else/7"),
            &ok,
            "http_request_method=GET http_response_status_code=200 url_scheme=http",
            "no path",
        ),
        (
            request("GET", "/users/7"),
            &named,
            "http_request_method=GET http_response_status_code=200 http_route=/users/{id} url_scheme=http",
            "a template as the name of Envoy's route",
        ),
        (
            request("GET", "/x"),
            &odd,
            "http_request_method=GET http_response_status_code=200 url_scheme=http",
            "no template, no version",
        ),
        (
            request("BREW", "/x"),
            &ok,
            "http_request_method=_OTHER http_response_status_code=200 url_scheme=http",
            "not a known method",
        ),
        (
            with(&get(), &[(":scheme", Some("gopher"))]),
            &ok,
            "http_request_method=GET http_response_status_code=200 http_route=/orders/{id}",
            "not a scheme of HTTP",
        ),
        (
            get(),
            &h2,
            "http_request_method=GET http_response_status_code=200 http_route=/orders/{id} network_protocol_version=2 url_scheme=http",
            "HTTP/2",
        ),
        (
            get(),
            &reset,
            "error_type=DownstreamConnectionTermination http_request_method=GET http_route=/orders/{id} url_scheme=http",
            "no answer",
        ),
        (vec![], &ended(400), "http_request_method=_OTHER http_response_status_code=400", "only the end was seen"),
    ];
    for (lines, end, labels, why) in table {
        let mut plugin = setup("server", METRICS).plugin();
        measure(&mut plugin, lines, end);
        let found = samples(&mut plugin, "http_server_request_duration_milliseconds");
        assert_eq!(found, [format!("{labels} 1/9")], "{why}");
        assert_eq!(samples(&mut plugin, "http_client_request_duration_milliseconds"), [""; 0], "{why}");
    }
}

#[test]
fn each_side_judges_for_itself() {
    let end = StreamEnd { request_size: Some(5), response_size: Some(7), attempt_count: Some(3), ..ended(404) };
    for (role, server, client) in [("server", true, false), ("client", false, true), ("gateway", true, true)] {
        let mut plugin = setup(role, METRICS).plugin();
        measure(&mut plugin, &get(), &end);
        let mut host = Prometheus::default();
        plugin.flush_stats(&mut host);
        let common = "http_request_method=GET http_response_status_code=404 http_route=/orders/{id} url_scheme=http";
        for (side, measured, error) in [("server", server, ""), ("client", client, "error_type=404 ")] {
            for (metric, sum) in
                [("request_duration_milliseconds", 9), ("request_body_size_bytes", 5), ("response_body_size_bytes", 7)]
            {
                let found = host.samples.get(&format!("{error}{common} http_{side}_{metric}"));
                assert_eq!(found, measured.then_some(&(1, sum)), "{role}: {side}.{metric}");
            }
        }
        let retries = "http_request_method=GET http_route=/orders/{id} upstream_retries_total";
        assert_eq!(host.samples[retries], (2, 0), "{role}: once a stream");
    }
    let mut plugin = setup("gateway", METRICS).plugin();
    measure(&mut plugin, &get(), &StreamEnd { attempt_count: Some(0), ..ended(404) });
    assert_eq!(samples(&mut plugin, "http_client_request_duration_milliseconds"), [""; 0], "it called nobody");
}

#[test]
fn active_requests_go_back_to_0() {
    let mut plugin = setup("server", METRICS).plugin();
    let lines: Vec<HeaderLine<'_>> = vec![(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")];
    let head = RequestHead::collect(lines.iter().copied(), false);
    let mut begin = || plugin.handle_request_headers(&head, TrafficDirection::Inbound, None).expect("a meter").0;
    let (first, second, third) = (begin(), begin(), begin());
    let mut host = Prometheus::default();
    plugin.flush_stats(&mut host);
    let active = "http_request_method=GET url_scheme=http http_server_active_requests";
    assert_eq!(host.samples[active].0, 3);
    plugin.handle_end(first, &ended(200));
    plugin.handle_lost(&second);
    plugin.flush_stats(&mut host);
    assert_eq!(host.samples[active].0, 1, "one ended and one went away");
    plugin.handle_end(third, &ended(None));
    plugin.flush_stats(&mut host);
    assert_eq!(host.samples[active].0, 0);
}

#[test]
fn sampling_does_not_change_the_counts() {
    let counted = |sampler: &str| {
        let setup = Setup::new("server")
            .sampler(sampler)
            .meshspan(METRICS)
            .section(r#""resource": {"attributes": [{"name": "service.name", "value": "shop"}]}"#);
        let mut plugin = setup.plugin();
        for stream in 0..1_000_u64 {
            measure(&mut plugin, &get(), &ended(200 + stream % 3 * 150));
        }
        samples(&mut plugin, "http_server_request_duration_milliseconds")
    };
    let all = counted(r#"{"always_on": {}}"#);
    assert_eq!(all.len(), 3);
    for sampler in [r#"{"always_off": {}}"#, r#"{"trace_id_ratio_based": {"ratio": 0.01}}"#] {
        assert_eq!(counted(sampler), all, "{sampler}");
    }
}

#[test]
fn a_plugin_that_traces_nothing_measures_all_the_same() {
    let config = crate::config::Config::from_json(
        br#"{"file_format": "1.1", "distribution": {"meshspan": {"metrics": {"prometheus": {}}}},
             "resource": {"attributes": [{"name": "service.name", "value": "shop"}]}}"#,
    );
    let mut plugin = Plugin::new(&config.expect("a configuration"), &crate::resource::NodeFacts::default(), [7; 32]);
    assert!(plugin.head_needs().is_some());
    measure(&mut plugin, &get(), &ended(200));
    assert_eq!(samples(&mut plugin, "http_server_request_duration_milliseconds").len(), 1);
    assert_eq!(plugin.counters.pending(Counter::Streams), 1);
}

#[test]
fn a_call_is_named_once_a_server_has_handled_it() {
    let status = |status| StreamEnd { grpc_status: GrpcStatus::from_code(status), ..ended(200) };
    let mut plugin = setup("server", METRICS).plugin();
    for (path, code) in
        [("/shop.Cart/Get", 0), ("/shop.Cart/Get", 14), ("/shop.Cart/Nope", 12), ("/shop.Cart/Nope2", 12)]
    {
        measure(&mut plugin, &grpc(path), &status(code));
    }
    let get = "rpc_method=shop.Cart/Get";
    let named = "rpc_service=shop.Cart rpc_system_name=grpc";
    let found = samples(&mut plugin, "rpc_server_duration_milliseconds");
    let expected = [
        format!("error_type=UNAVAILABLE {get} rpc_response_status_code=UNAVAILABLE {named} 1/9"),
        "error_type=UNIMPLEMENTED rpc_method=_OTHER rpc_response_status_code=UNIMPLEMENTED rpc_system_name=grpc 2/18"
            .to_owned(),
        format!("{get} rpc_response_status_code=OK {named} 1/9"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn rejected_streams_and_flags_are_counted() {
    let flagged = |flags, grpc_status, code| StreamEnd {
        response_flags: ResponseFlags(flags),
        grpc_status: GrpcStatus::from_code(grpc_status),
        ..ended(code)
    };
    let (overflow, no_host, failed, limited) = (1 << 7, 1 << 1, 1 << 5, 1 << 11);
    let table = [
        (grpc("/shop.Cart/Get"), flagged(overflow, 14, 200), 1, "a circuit breaker"),
        (grpc("/shop.Cart/Get"), flagged(no_host, 14, 200), 1, "nobody to ask"),
        (grpc("/shop.Cart/Get"), flagged(limited, 8, 200), 1, "a rate limit"),
        (grpc("/shop.Cart/Get"), flagged(failed, 14, 200), 0, "it tried, and failed"),
        (grpc("/shop.Cart/Get"), flagged(0, 14, 200), 0, "the server said so"),
        (get(), flagged(overflow, 14, 503), 0, "no gRPC"),
    ];
    for (lines, end, rejected, why) in table {
        let mut plugin = setup("server", METRICS).plugin();
        measure(&mut plugin, &lines, &end);
        let mut host = Prometheus::default();
        plugin.flush_stats(&mut host);
        let of = |suffix: &str| {
            let of_it = host.samples.iter().filter(|(name, _)| name.ends_with(suffix));
            of_it.map(|(name, (count, _))| (name.as_str(), *count)).collect::<Vec<_>>()
        };
        assert_eq!(of("rpc_rejected_streams_total").len(), rejected, "{why}");
        assert_eq!(of("flagged_responses_total").len(), usize::from(end.response_flags.0 != 0), "{why}");
    }
}

const GRAPH: &str = r#""metrics": {"prometheus": {}, "service_graph": {"tracestate": true, "upstreams": [
    {"cluster": "db", "name": "orders", "kind": "database"}, {"cluster": "inventory", "kind": "service"}]}}"#;

fn edges(plugin: &mut Plugin) -> BTreeMap<String, (i64, u64)> {
    let mut host = Prometheus::default();
    plugin.flush_stats(&mut host);
    host.samples.into_iter().filter(|(name, _)| name.contains("service_graph_")).collect()
}

#[test]
fn callers_are_named_by_what_is_known_of_them() {
    let traced = with(
        &get(),
        &[
            ("traceparent", Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")),
            ("tracestate", Some("x=1,meshspan=web")),
        ],
    );
    let istio = Peer { istio_service: b"cart", certificate_uri: b"" };
    let unknown = Peer { istio_service: b"unknown", certificate_uri: b"spiffe://td/ns/shop/sa/till" };
    let table: &[(&Lines<'_>, Peer<'_>, &str, &str)] = &[
        (&traced, istio, "client=cart failed=false", "Istio goes first"),
        (&traced, unknown, "client=till failed=false", "then the certificate"),
        (&traced, Peer::default(), "client=web failed=false", "then the trace state"),
        (&get(), Peer::default(), "client=user connection_type=virtual_node failed=false", "nobody knows"),
    ];
    for (lines, caller, labels, why) in table {
        let mut plugin = setup("server", GRAPH).plugin();
        measure(&mut plugin, lines, &StreamEnd { caller: *caller, ..ended(404) });
        let of = |metric: &str, sample| (format!("{labels} server=shop service_graph_request_{metric}"), sample);
        let expected = [of("server_milliseconds", (1, 9)), of("total", (1, 0))];
        assert_eq!(edges(&mut plugin), BTreeMap::from(expected), "{why}");
    }
    let off = GRAPH
        .replace(r#""tracestate": true"#, r#""tracestate": false, "spiffe_id": false, "istio_peer_metadata": false"#);
    let mut plugin = setup("server", &off).plugin();
    measure(&mut plugin, &traced, &StreamEnd { caller: istio, ..ended(500) });
    let user = "client=user connection_type=virtual_node failed=true server=shop service_graph_request_failed_total";
    assert_eq!(edges(&mut plugin)[user], (1, 0), "each is optional");
}

#[test]
#[expect(clippy::type_complexity, reason = "a table")]
fn an_edge_is_counted_where_nobody_else_counts_it() {
    let to = |cluster: &'static str| StreamEnd { cluster: cluster.as_bytes(), ..ended(200) };
    let certified = Peer { istio_service: b"", certificate_uri: b"spiffe://td/ns/shop/sa/stock" };
    let table: &[(StreamEnd<'_>, &str, &[(&str, (i64, u64))], &str)] = &[
        (
            to("db"),
            "client=shop connection_type=database failed=false server=orders",
            &[("client_milliseconds", (1, 9)), ("server_milliseconds", (1, 9)), ("total", (1, 0))],
            "a database",
        ),
        (
            to("outbound|443||mail.example.com"),
            "client=shop connection_type=virtual_node failed=false server=mail",
            &[("client_milliseconds", (1, 9)), ("server_milliseconds", (1, 9)), ("total", (1, 0))],
            "without a proxy",
        ),
        (
            to("inventory"),
            "client=shop failed=false server=inventory",
            &[("client_milliseconds", (1, 9))],
            "its own proxy counts",
        ),
        (
            StreamEnd { callee: certified, ..to("outbound|80||stock.shop.svc") },
            "client=shop failed=false server=stock",
            &[("client_milliseconds", (1, 9))],
            "its own proxy counts, as its certificate says",
        ),
        (
            StreamEnd { response_flags: ResponseFlags(1 << 5), response_code: Some(503), ..to("inventory") },
            "client=shop failed=true server=inventory",
            &[("client_milliseconds", (1, 9)), ("failed_total", (1, 0)), ("total", (1, 0))],
            "which never saw it",
        ),
        (to(""), "", &[], "nobody was called"),
    ];
    for (end, labels, samples, why) in table {
        let mut plugin = setup("client", GRAPH).plugin();
        measure(&mut plugin, &get(), end);
        let of = |(metric, sample): &(&str, (i64, u64))| (format!("{labels} service_graph_request_{metric}"), *sample);
        assert_eq!(edges(&mut plugin), samples.iter().map(of).collect(), "{why}");
    }
}

#[test]
fn who_calls_goes_on_where_that_is_asked_for() {
    let trace_state = |metrics: &str| {
        let lines = with(
            &get(),
            &[
                ("traceparent", Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")),
                ("tracestate", Some("x=1,meshspan=web")),
            ],
        );
        trace(&setup("client", metrics), &lines, &ended(200)).header("tracestate").map(str::to_owned)
    };
    assert_eq!(trace_state(GRAPH), Some("meshspan=shop,x=1".to_owned()));
    assert_eq!(trace_state(METRICS), None, "as it came");
}
