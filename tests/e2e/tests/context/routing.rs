//! Which route a request takes. A filter that writes a request header makes Envoy choose the route anew; with
//! `inject: filter_state` the filter writes none, and the route stays.

use std::time::Duration;

use meshspan_e2e::{Mesh, each_envoy};
use meshspan_kit::client::{Connection, Request};
use meshspan_kit::config::EnvoyConfig;
use meshspan_kit::envoy::Options;
use meshspan_kit::service::{ReceivedHead, Service};
use serde_json::{Value, json};

use crate::{ALL_PROPAGATORS, WRITTEN_HEADERS};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// The shipped file with `inject: filter_state`, once as it is, once with every format, and once with the headers
/// written by the filter. In front of the route to the application stands one to the cluster `other`, for requests
/// with the header `name` (and this value, where one is given).
fn bootstrap(other: &Service, name: &str, value: Option<&str>) -> EnvoyConfig {
    let written: Vec<Value> = WRITTEN_HEADERS
        .iter()
        .map(|name| {
            json!({"header": {"key": name, "value": format!("%FILTER_STATE(wasm.meshspan.{name}:PLAIN)%")},
                   "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"})
        })
        .collect();
    let shipped = EnvoyConfig::shipped("keep-routing.yaml").unwrap().local().wasm_module_from_env().unwrap();
    shipped
        .schedule_delay(Duration::from_millis(100))
        .add_cluster("other", other.address(), false)
        .change(|root| {
            let template = root["static_resources"]["listeners"][0].clone();
            let named = ["headers", "filter state", "every format"].map(|name| {
                let mut listener = template.clone();
                listener["name"] = name.into();
                listener
            });
            root["static_resources"]["listeners"] = named.into_iter().collect();
        })
        .meshspan(|listener, config| match listener {
            "headers" => config["distribution"]["meshspan"]["inject"] = "headers".into(),
            "every format" => {
                config["propagator"]["composite"] = ALL_PROPAGATORS.iter().map(|name| json!({*name: {}})).collect();
            }
            _ => {}
        })
        .connection_managers(|listener, manager| {
            let mut header = json!({"name": name, "present_match": true});
            if let Some(value) = value {
                header = json!({"name": name, "string_match": {"exact": value}});
            }
            let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().unwrap();
            routes.insert(0, json!({"match": {"prefix": "/", "headers": [header]}, "route": {"cluster": "other"}}));
            if listener == "every format" {
                manager["route_config"]["request_headers_to_add"] = written.clone().into();
            }
        })
}

/// Sends a request; the head that a service got, and whether that was the service behind `other`.
fn routed(mesh: &Mesh, other: &Service, listener: &str, request: &Request) -> (bool, ReceivedHead) {
    mesh.service.clear();
    other.clear();
    let response = mesh.send(listener, request);
    assert_eq!(response.status, 200, "{listener}: {request:?}");
    match (mesh.service.last_request(), other.last_request()) {
        (Some(head), None) => (false, head),
        (None, Some(head)) => (true, head),
        both => panic!("{listener}: {both:?}"),
    }
}

#[test]
fn context_by_filter_state_leaves_the_route_as_it_was() {
    each_envoy(&[1, 2], |envoy, concurrency| {
        let other = Service::start().unwrap();
        let options = Options { concurrency, ..Options::default() };
        let mesh = Mesh::start_with(envoy, &options, &bootstrap(&other, "traceparent", None));

        let (to_other, _) = routed(&mesh, &other, "headers", &Request::get("/again"));
        assert!(to_other, "Envoy does not route again after a header was written: the docs say that it does");
        let (to_other, head) = routed(&mesh, &other, "filter state", &Request::get("/kept"));
        assert!(!to_other, "the route changed");
        let span = mesh.span_at("/kept");
        assert_eq!(head.values("traceparent"), [format!("00-{}-{}-03", span.trace_id(), span.span_id())]);
        assert_eq!(span.text("envoy.upstream.cluster"), Some("application"));

        // A caller's own header chooses the route in both, and is overwritten behind it where Envoy writes it.
        let called = |flags: &str| {
            Request::get("/called")
                .header("traceparent", format!("00-{TRACE}-{PARENT}-{flags}"))
                .header("tracestate", "a=1")
                .header("baggage", "k=v")
        };
        for listener in ["headers", "filter state"] {
            let (to_other, head) = routed(&mesh, &other, listener, &called("00"));
            assert!(to_other, "{listener}");
            let traceparent = head.values("traceparent");
            let [traceparent] = &traceparent[..] else { panic!("{listener}: {traceparent:?}") };
            assert!(traceparent.starts_with(&format!("00-{TRACE}-")), "{listener}: {traceparent}");
            // What the caller does not sample goes on as it came.
            let is_own = !traceparent.contains(PARENT);
            assert_eq!((traceparent.ends_with("-00"), is_own), (true, listener == "filter state"), "{traceparent}");
            assert_eq!(head.values("tracestate"), ["a=1"], "{listener}");
            assert_eq!(head.values("baggage"), ["k=v"], "{listener}");
        }
        let (_, head) = routed(&mesh, &other, "filter state", &called("01").header("tracestate", "a=2,b=3"));
        assert_eq!(head.values("tracestate"), ["a=1,b=3"], "a key twice, over two lines");
        let (_, head) = routed(&mesh, &other, "filter state", &called("junk"));
        assert_eq!(head.values("tracestate").len(), 0, "that of nobody's trace is taken away");

        // Filter state is the request's own: the next one on the connection gets nothing of it.
        let mut connection = Connection::open(mesh.envoy.address("filter state").unwrap()).unwrap();
        mesh.service.clear();
        other.clear();
        for request in [called("01").header("tracestate", "a=2"), Request::get("/next"), called("00")] {
            assert_eq!(connection.request(&request).unwrap().status, 200);
        }
        let called: Vec<_> = other.requests().iter().map(|head| head.values("tracestate")).collect();
        assert_eq!(called, [["a=1"], ["a=1"]]);
        let next = mesh.service.last_request().unwrap();
        let (trace, state) = (next.header("traceparent").unwrap(), next.header("tracestate"));
        assert!(trace.ends_with("-03") && !trace.contains(TRACE) && state.is_none(), "{trace} {state:?}");
        mesh.stop();
    });
}

#[test]
fn every_format_goes_on_by_filter_state() {
    each_envoy(&[1], |envoy, concurrency| {
        let other = Service::start().unwrap();
        let options = Options { concurrency, ..Options::default() };
        let mesh = Mesh::start_with(envoy, &options, &bootstrap(&other, "traceparent", None));
        let stale = Request::get("/stale")
            .header("b3", format!("{TRACE}-{PARENT}-1"))
            .header("x-b3-traceid", "1234567890123456")
            .header("x-b3-spanid", PARENT)
            .header("x-b3-parentspanid", PARENT)
            .header("x-b3-sampled", "0")
            .header("uber-trace-id", "1:2:0:0");
        for (path, request) in [("/new", Request::get("/new")), ("/stale", stale)] {
            let (to_other, head) = routed(&mesh, &other, "every format", &request);
            assert!(!to_other, "{path}");
            let span = mesh.span_at(path);
            let (trace, id) = (span.trace_id(), span.span_id());
            let flags = if path == "/new" { "03" } else { "01" };
            // The one header that stays as it came: to take it away would make Envoy route again.
            let parents = if path == "/new" { vec![] } else { vec![PARENT] };
            let expected = [
                ("traceparent", vec![format!("00-{trace}-{id}-{flags}")]),
                ("tracestate", vec![]),
                ("baggage", vec![]),
                ("b3", vec![format!("{trace}-{id}-1")]),
                ("x-b3-traceid", vec![trace.clone()]),
                ("x-b3-spanid", vec![id.clone()]),
                ("x-b3-parentspanid", parents.iter().map(ToString::to_string).collect()),
                ("x-b3-sampled", vec!["1".to_owned()]),
                ("x-b3-flags", vec![]),
                ("uber-trace-id", vec![format!("{trace}:{id}:0:1")]),
            ];
            for (name, lines) in expected {
                assert_eq!(head.values(name), lines, "{path}: {name}");
            }
        }
        mesh.stop();
    });
}

/// A header that another filter changed without asking for a new route: writing any header lets it count.
#[test]
fn what_another_filter_wrote_does_not_come_to_count() {
    each_envoy(&[1], |envoy, concurrency| {
        let other = Service::start().unwrap();
        let config = bootstrap(&other, "x-route", Some("b")).connection_managers(|_, manager| {
            let mutation = json!({
                "name": "mutation",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
                    "mutations": {"request_mutations": [{"append": {"header": {"key": "x-route", "value": "b"}}}]},
                },
            });
            manager["http_filters"].as_array_mut().unwrap().insert(0, mutation);
        });
        let mesh = Mesh::start_with(envoy, &Options { concurrency, ..Options::default() }, &config);
        let (to_other, _) = routed(&mesh, &other, "headers", &Request::get("/"));
        assert!(to_other, "Envoy does not route again after a header was written: the docs say that it does");
        let (to_other, head) = routed(&mesh, &other, "filter state", &Request::get("/"));
        assert!(!to_other, "the route changed");
        assert_eq!((head.values("x-route").len(), head.values("traceparent").len()), (1, 1));
        mesh.stop();
    });
}
