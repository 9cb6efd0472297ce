//! How calls end: unary and streaming, well and badly, by the server's doing, the caller's and the proxy's.

use meshspan_kit::config::EnvoyConfig;
use serde_json::{Value, json};

use crate::support::{Stage, Table, Trace, each_envoy_with_grpcio, expect, route_to_grpc, service};

/// A call and what its spans say.
struct Case {
    why: &'static str,
    call: Value,
    /// What its caller gets.
    status: &'static str,
    /// The span's name.
    name: &'static str,
    /// `error.type` of a server span; `None`: its status stays unset.
    server: Option<&'static str>,
    /// `error.type` of a client span.
    client: Option<&'static str>,
    /// Attributes of both.
    attributes: Value,
}

fn case(
    why: &'static str,
    call: Value,
    status: &'static str,
    name: &'static str,
    errors: [Option<&'static str>; 2],
    attributes: Value,
) -> Case {
    let [server, client] = errors;
    Case { why, call, status, name, server, client, attributes }
}

const WELL: [Option<&str>; 2] = [None, None];

const fn both(error: &str) -> [Option<&str>; 2] {
    [Some(error), Some(error)]
}

const fn callers(error: &str) -> [Option<&str>; 2] {
    [None, Some(error)]
}

fn called(method: &str, status: &str) -> Value {
    let service = method.rsplit_once('/').map(|(service, _)| service);
    json!({"rpc.method": method, "rpc.service": service, "rpc.response.status_code": status, "rpc.method_original": null})
}

fn unknown(original: &str, status: &str) -> Value {
    json!({"rpc.method": "_OTHER", "rpc.service": null, "rpc.method_original": original,
           "rpc.response.status_code": status})
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    let unary = |method: &str, message: &str| json!({"method": method, "messages": [message]});
    let get = |method: &str| unary(method, "hello");
    vec![
        case("unary", get("/shop.Cart/Get"), "OK", "shop.Cart/Get", WELL, called("shop.Cart/Get", "OK")),
        case(
            "client streaming",
            json!({"method": "/shop.Cart/Upload", "kind": "stream_unary", "messages": ["a", "b", "c"]}),
            "OK",
            "shop.Cart/Upload",
            WELL,
            called("shop.Cart/Upload", "OK"),
        ),
        case(
            "server streaming",
            json!({"method": "/shop.Cart/Watch", "kind": "unary_stream", "messages": ["3"]}),
            "OK",
            "shop.Cart/Watch",
            WELL,
            called("shop.Cart/Watch", "OK"),
        ),
        case(
            "bidirectional",
            json!({"method": "/shop.Cart/Chat", "kind": "stream_stream", "messages": ["a", "b"]}),
            "OK",
            "shop.Cart/Chat",
            WELL,
            called("shop.Cart/Chat", "OK"),
        ),
        case(
            "a status in headers alone, which is the caller's doing",
            unary("/shop.Cart/Fail", "5"),
            "NOT_FOUND",
            "shop.Cart/Fail",
            callers("NOT_FOUND"),
            called("shop.Cart/Fail", "NOT_FOUND"),
        ),
        case(
            "a status in trailers, which is the server's doing",
            json!({"method": "/shop.Cart/FailLate", "kind": "unary_stream", "messages": ["13"]}),
            "INTERNAL",
            "shop.Cart/FailLate",
            both("INTERNAL"),
            called("shop.Cart/FailLate", "INTERNAL"),
        ),
        case(
            "the caller leaves in the middle",
            json!({"method": "/shop.Cart/Watch", "kind": "unary_stream", "messages": ["-1"], "cancel_after": 2}),
            "CANCELLED",
            "shop.Cart/Watch",
            callers("CANCELLED"),
            called("shop.Cart/Watch", "CANCELLED"),
        ),
        case(
            "the caller leaves before the answer",
            json!({"method": "/shop.Cart/Sleep", "messages": ["30"], "cancel_after": 0, "leave_after": 0.2}),
            "CANCELLED",
            "shop.Cart/Sleep",
            callers("CANCELLED"),
            called("shop.Cart/Sleep", "CANCELLED"),
        ),
        case(
            "the caller's deadline",
            json!({"method": "/shop.Cart/Sleep", "messages": ["30"], "timeout": 0.5}),
            "DEADLINE_EXCEEDED",
            "shop.Cart/Sleep",
            both("DEADLINE_EXCEEDED"),
            called("shop.Cart/Sleep", "DEADLINE_EXCEEDED"),
        ),
        case(
            "the caller's deadline, which the proxy keeps as well",
            json!({"method": "/shop.Deadline/Sleep", "messages": ["30"], "timeout": 0.5}),
            "DEADLINE_EXCEEDED",
            "shop.Deadline/Sleep",
            both("DEADLINE_EXCEEDED"),
            called("shop.Deadline/Sleep", "DEADLINE_EXCEEDED"),
        ),
        case(
            "the route's timeout",
            unary("/shop.Timeout/Sleep", "30"),
            "UNAVAILABLE",
            "shop.Timeout/Sleep",
            both("UNAVAILABLE"),
            json!({"rpc.response.status_code": "UNAVAILABLE", "envoy.response_flags": ["UT"]}),
        ),
        case(
            "the proxy cuts a stream on which nothing moves",
            json!({"method": "/shop.Cut/Hold", "kind": "unary_stream"}),
            "INTERNAL", // what grpcio makes of the reset
            "shop.Cut/Hold",
            both("StreamIdleTimeout"),
            json!({"rpc.response.status_code": "UNKNOWN", "envoy.response_flags": ["SI"]}),
        ),
        case(
            "no healthy upstream",
            get("/shop.Gone/Get"),
            "UNAVAILABLE",
            "shop.Gone/Get",
            both("UNAVAILABLE"),
            json!({"rpc.response.status_code": "UNAVAILABLE", "envoy.response_flags": ["UH"]}),
        ),
        case(
            "an answer of the proxy's own",
            get("/shop.Direct/Get"),
            "UNAVAILABLE",
            "shop.Direct/Get",
            both("UNAVAILABLE"),
            called("shop.Direct/Get", "UNAVAILABLE"),
        ),
        case(
            "a method that the server does not have",
            get("/shop.Cart/Nope"),
            "UNIMPLEMENTED",
            "grpc",
            both("UNIMPLEMENTED"),
            unknown("shop.Cart/Nope", "UNIMPLEMENTED"),
        ),
        case(
            "no route",
            get("/other.Service/Get"),
            "UNIMPLEMENTED",
            "grpc",
            both("UNIMPLEMENTED"),
            unknown("other.Service/Get", "UNIMPLEMENTED"),
        ),
        case(
            "no method's name",
            get("/Get"),
            "UNIMPLEMENTED",
            "grpc",
            both("UNIMPLEMENTED"),
            unknown("Get", "UNIMPLEMENTED"),
        ),
        case(
            "a name with something to mask",
            get("/shop.Cart/4111111111111111"),
            "UNIMPLEMENTED",
            "grpc",
            both("UNIMPLEMENTED"),
            unknown("shop.Cart/************1111", "UNIMPLEMENTED"),
        ),
        case(
            "an HTTP error of something that is no gRPC server",
            get("/shop.Http/503"),
            "UNAVAILABLE",
            "shop.Http/503",
            both("UNAVAILABLE"),
            json!({"rpc.response.status_code": "UNAVAILABLE", "http.response.status_code": 503}),
        ),
        case(
            "HTTP's 404, which says the same as UNIMPLEMENTED",
            get("/shop.Http/404"),
            "UNIMPLEMENTED",
            "grpc",
            both("UNIMPLEMENTED"),
            json!({"rpc.response.status_code": "UNIMPLEMENTED", "http.response.status_code": 404}),
        ),
        case(
            "HTTP's 401, which is the caller's doing",
            get("/shop.Http/401"),
            "UNAUTHENTICATED",
            "shop.Http/401",
            callers("UNAUTHENTICATED"),
            json!({"rpc.response.status_code": "UNAUTHENTICATED", "http.response.status_code": 401}),
        ),
        case(
            "HTTP's 500",
            get("/shop.Http/500"),
            "UNKNOWN",
            "shop.Http/500",
            both("UNKNOWN"),
            json!({"rpc.response.status_code": "UNKNOWN", "http.response.status_code": 500}),
        ),
    ]
}

#[test]
fn a_span_says_how_its_call_ended() {
    each_envoy_with_grpcio(&[1, 2], |grpcio, envoy, concurrency| {
        let listeners = ["server", "client"].map(|name| (name, service(name)));
        let stage = Stage::start(grpcio, envoy, concurrency, &listeners, ways_to_end);
        let outcomes = std::thread::scope(|scope| {
            let run = |listener: &'static str| {
                let stage = &stage;
                scope.spawn(move || run_cases(stage, listener))
            };
            [run("server"), run("client")].map(|thread| thread.join().unwrap())
        });
        for outcome in outcomes {
            outcome.unwrap_or_else(|error| panic!("in Envoy {}: {error:#}", envoy.version));
        }
        stage.mesh.stop();
    });
}

fn run_cases(stage: &Stage, listener: &str) -> anyhow::Result<()> {
    let mut client = stage.client(listener);
    let table = Table::default();
    for case in cases() {
        table.case(&format!("{} ({listener})", case.why), || {
            let trace = Trace::new();
            trace.call(&mut client, &case.call, case.status)?;
            let span = trace.span(&stage.mesh)?;
            let (kind, error) = if listener == "server" { ("SERVER", case.server) } else { ("CLIENT", case.client) };
            let status = if error.is_some() { "ERROR" } else { "UNSET" };
            expect(&span, &json!({"name": case.name, "kind": kind, "status": status, "attributes": case.attributes}))?;
            expect(
                &span,
                &json!({"attributes": {
                    "error.type": error, "rpc.system.name": "grpc", "server.address": "127.0.0.1",
                    "network.protocol.version": "2", "rpc.system": null, "rpc.grpc.status_code": null,
                }}),
            )
        });
    }
    table.result()
}

fn ways_to_end(config: EnvoyConfig) -> EnvoyConfig {
    let to = |service: &str, cluster: &str, path: &str, more: Value| {
        let mut route = json!({"cluster": cluster, "prefix_rewrite": path, "timeout": "0s"});
        for (key, value) in more.as_object().unwrap() {
            route[key] = value.clone();
        }
        json!({"match": {"prefix": format!("/{service}/")}, "route": route})
    };
    let routes = [
        to("shop.Deadline", "grpc", "/shop.Cart/", json!({"max_stream_duration": {"grpc_timeout_header_max": "30s"}})),
        to("shop.Timeout", "grpc", "/shop.Cart/", json!({"timeout": "0.2s"})),
        to("shop.Cut", "grpc", "/shop.Cart/", json!({"idle_timeout": "0.3s"})),
        to("shop.Gone", "gone", "/", json!({})),
        to("shop.Http", "application", "/status/", json!({})),
        json!({"match": {"prefix": "/shop.Direct/"}, "direct_response": {"status": 503}}),
        json!({"match": {"prefix": "/shop.Cart/"}, "route": {"cluster": "grpc", "timeout": "0s"}}),
        json!({"match": {"path": "/Get"}, "route": {"cluster": "grpc", "timeout": "0s"}}),
    ];
    let nowhere = "127.0.0.1:1".parse().unwrap();
    config
        .add_cluster("gone", nowhere, true)
        .connection_managers(|_, manager| {
            route_to_grpc(manager, &[]);
            manager["route_config"]["virtual_hosts"][0]["routes"] = routes.to_vec().into();
        })
        .change(|root| {
            let listeners = root["static_resources"]["listeners"].as_array_mut().unwrap();
            for listener in listeners.iter_mut().filter(|listener| listener["name"] == "client") {
                listener["traffic_direction"] = "OUTBOUND".into();
            }
            let clusters = root["static_resources"]["clusters"].as_array_mut().unwrap();
            for cluster in clusters.iter_mut().filter(|cluster| cluster["name"] == "gone") {
                cluster["load_assignment"]["endpoints"] = json!([]);
            }
        })
}

/// A filter in front of ours answers, and so only the end of the call is seen.
#[test]
fn a_call_that_ends_before_the_filter_has_a_span_too() {
    each_envoy_with_grpcio(&[1], |grpcio, envoy, _| {
        let stage = Stage::start(grpcio, envoy, 1, &[("rbac", service("rbac"))], |config| {
            config.connection_managers(|_, manager| {
                route_to_grpc(manager, &[]);
                let rbac = json!({"name": "rbac", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
                    // Rules without a policy let nobody in.
                    "rules": {"action": "ALLOW", "policies": {}},
                }});
                manager["http_filters"].as_array_mut().unwrap().insert(0, rbac);
            })
        });
        let trace = Trace::new();
        let call = json!({"method": "/shop.Cart/Get"});
        trace.call(&mut stage.client("rbac"), &call, "PERMISSION_DENIED").unwrap();
        let expected = json!({"name": "shop.Cart/Get", "status": "UNSET",
            "attributes": called("shop.Cart/Get", "PERMISSION_DENIED")});
        expect(&trace.span(&stage.mesh).unwrap(), &expected).unwrap();
        stage.mesh.wait_for_counter("meshspan_streams_log_only_total", 1);
        stage.mesh.stop();
    });
}

/// Which names there are is the configuration's to say, in the standard's own words.
#[test]
fn the_older_names_are_there_on_request() {
    each_envoy_with_grpcio(&[1], |grpcio, envoy, _| {
        let general = |section: Value| {
            let mut config = service("shop");
            config["instrumentation/development"] = json!({"general": section});
            config["distribution"] = json!({"meshspan": {"role": "client"}});
            config
        };
        let listeners = [
            ("both", general(json!({"stability_opt_in_list": "rpc/dup"}))),
            ("older", general(json!({"rpc": {"semconv": {"version": 0}}}))),
        ];
        let stage = Stage::start(grpcio, envoy, 1, &listeners, |config| {
            config.connection_managers(|_, manager| route_to_grpc(manager, &[]))
        });
        let expected = [
            (
                "both",
                json!({
                    "rpc.system.name": "grpc", "rpc.method": "shop.Cart/Get", "rpc.response.status_code": "OK",
                    "rpc.system": "grpc", "rpc.service": "shop.Cart", "rpc.grpc.status_code": 0,
                    "net.peer.name": "127.0.0.1",
                }),
            ),
            (
                "older",
                json!({
                    "rpc.system.name": null, "rpc.method": "Get", "rpc.response.status_code": null,
                    "rpc.system": "grpc", "rpc.service": "shop.Cart", "rpc.grpc.status_code": 0,
                    "net.peer.name": "127.0.0.1",
                }),
            ),
        ];
        for (listener, attributes) in expected {
            let trace = Trace::new();
            trace.call(&mut stage.client(listener), &json!({"method": "/shop.Cart/Get"}), "OK").unwrap();
            let expected = json!({"name": "shop.Cart/Get", "attributes": attributes});
            expect(&trace.span(&stage.mesh).unwrap(), &expected)
                .unwrap_or_else(|error| panic!("{listener}: {error:#}"));
        }
        stage.mesh.stop();
    });
}
