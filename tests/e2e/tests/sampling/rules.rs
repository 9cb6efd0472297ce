//! `rule_based` by what Envoy knows when a request's headers have come.

use meshspan_e2e::each_envoy;
use meshspan_kit::client::Request;
use serde_json::{Value, json};

use crate::support::{WORKERS, example, reason, settled, start};

/// By what only Envoy knows, and by the request.
fn own_rules() -> Value {
    let mut config = example("rules.json");
    let on = json!({"always_on": {}});
    config["tracer_provider"]["sampler"]["composite/development"]["rule_based"]["rules"] = json!([
        {"attribute_values": {"key": "envoy.route.name", "values": ["named"]}, "sampler": on},
        {"attribute_patterns": {"key": "envoy.upstream.cluster", "included": ["si*"]}, "sampler": on},
        {"attribute_values": {"key": "rpc.method", "values": ["shop.Cart/Empty"]}, "sampler": {"always_off": {}}},
        {"attribute_values": {"key": "rpc.service", "values": ["shop.Cart"]}, "sampler": on},
        {"attribute_patterns": {"key": "http.request.header.x-tenant", "excluded": ["b*"]}, "sampler": on},
    ]);
    config
}

fn grpc(path: &str) -> Request {
    Request::new("POST", path).header("content-type", "application/grpc").body([0; 5])
}

/// The listener, what is sent to it, the sampler and rule of its span, and what it is about.
type Case = (&'static str, Request, Option<(&'static str, &'static str)>, &'static str);

#[test]
fn rules_decide_by_route_cluster_headers_and_grpc_method() {
    let get = Request::get;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let on = |rule| Some(("always_on", rule));
    let listeners =
        [("own", own_rules()), ("rules", example("rules.json")), ("health", example("no-health-checks.json"))];
    let table: Vec<Case> = vec![
        ("own", get("/named/a"), on("rules[0]"), "the route's name"),
        ("own", get("/side/a"), on("rules[1]"), "the cluster's name"),
        ("own", grpc("/shop.Cart/Empty"), None, "the gRPC method"),
        ("own", grpc("/shop.Cart/AddItem"), on("rules[3]"), "the gRPC service"),
        ("own", get("/shop.Cart/AddItem"), None, "no gRPC"),
        ("own", get("/a").header("x-tenant", "gold"), on("rules[4]"), "a header"),
        ("own", get("/a").header("x-tenant", "blue"), None, "a header that is excluded"),
        ("own", get("/a").header("x-tenant", "blue").header("x-tenant", "gold"), on("rules[4]"), "one line is enough"),
        ("own", get("/a"), None, "no rule"),
        ("rules", get("/a").header("user-agent", "kube-probe/1.30").header("x-tenant", "gold"), None, "a health check"),
        (
            "rules",
            get("/a").header("traceparent", parent),
            Some(("parent_threshold", "rules[1]")),
            "follows the caller",
        ),
        ("rules", get("/a").header("x-tenant", "gold"), on("rules[2]"), "a tenant"),
        ("rules", grpc("/shop.Cart/Checkout"), on("rules[3]"), "a gRPC method"),
        ("health", get("/readyz"), None, "a health check"),
        ("health", get("/readyz?verbose"), None, "the path alone counts"),
        ("health", get("/readyzz"), on("root.rules[1]"), "all others"),
    ];
    each_envoy(&[WORKERS], |envoy, _| {
        let mesh = start(envoy, &listeners, |config| config);
        let mut wrong = Vec::new();
        for (listener, request, expected, why) in &table {
            let before = mesh.service.requests().len();
            let response = mesh.send(listener, request);
            assert_eq!(response.status, 200, "{why}");
            let traceparent = mesh.service.requests()[before].header("traceparent").unwrap();
            let sampled = traceparent.ends_with('1') || traceparent.ends_with('3');
            if sampled != expected.is_some() {
                wrong.push(format!("{listener}, {why}: {traceparent}"));
                continue;
            }
            if let Some(expected) = expected {
                let ids: Vec<&str> = traceparent.split('-').collect();
                let found = mesh.receiver.wait_for(meshspan_e2e::DEADLINE, |spans| {
                    spans.iter().find(|span| span.trace_id() == ids[1] && span.span_id() == ids[2]).cloned()
                });
                let found = found.unwrap_or_else(|error| panic!("{why}: {error:#}"));
                if reason(&found) != *expected {
                    wrong.push(format!("{listener}, {why}: {:?}, not {expected:?}", reason(&found)));
                }
            }
        }
        assert!(wrong.is_empty(), "in Envoy {}: {wrong:#?}", envoy.version);
        let (_, decisions) = settled(&mesh, table.len() as u64);
        // Of those without a matching rule.
        let no_rule = decisions["rule_based"];
        assert_eq!(no_rule.0, 0, "{decisions:?}");
        mesh.stop();
    });
}
