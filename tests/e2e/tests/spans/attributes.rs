//! What a span says about its request (semantic conventions, "HTTP spans"; "Resource").

use anyhow::ensure;
use meshspan_e2e::{Mesh, bootstrap, each_envoy};
use meshspan_kit::axum::body::Bytes;
use meshspan_kit::axum::http;
use meshspan_kit::client::{Connection, Http2Client, Request};
use meshspan_kit::config::EnvoyConfig;
use meshspan_kit::envoy::Options;
use meshspan_kit::receiver::ReceivedSpan;
use serde_json::{Value, json};

use crate::support::{
    Caller, Table, add_routes, assert_all_arrived_once, expect, service, service_with, set_direction, with,
};

/// In the values that no backend may see.
const SECRET: &str = "hunter2";

#[test]
fn a_span_says_what_its_request_was() {
    each_envoy(&[1], |envoy, concurrency| {
        let mesh = Mesh::start_with(envoy, &Options { concurrency, ..Options::default() }, &config());
        let table = Table::default();
        let peer = format!("127.0.0.1:{}", mesh.service.address().port());
        for (why, listener, request, expected) in server_cases(&peer).into_iter().chain(client_cases(&mesh, &peer)) {
            table.case(why, || {
                let span = span_of(&mesh, listener, request)?;
                ensure!(!span.to_json().to_string().contains(SECRET), "a secret leaves: {:#}", span.to_json());
                expect(&span, &expected)
            });
        }
        table.case("sizes are those of the bodies", || sizes(&mesh));
        table.case("HTTP/2, where a method may be anything", || http2(&mesh));
        table.case("a peer is the connection's other end, with its port", || peers(&mesh));
        table.case("resource and scope", || resource_and_scope(&mesh));
        table.case("a resource from the node", || node_resource(&mesh));
        table.finish(&mesh);
        assert_all_arrived_once(&mesh);
        mesh.stop();
    });
}

type Case = (&'static str, &'static str, Request, Value);

#[expect(clippy::too_many_lines, reason = "a table")]
fn server_cases(peer: &str) -> Vec<Case> {
    let get = |target: &str| Request::get(target);
    let attributes = |value: Value| json!({"attributes": value});
    vec![
        (
            "all of an ordinary request",
            "server",
            get("/a/b?q=1&r=2").header("host", "shop.example:8443").header("user-agent", "shopper/1.0"),
            json!({"name": "GET", "kind": "SERVER", "status": "UNSET", "attributes": {
                "http.request.method": "GET",
                "http.request.method_original": null,
                "url.scheme": "http",
                "url.path": "/a/b",
                "url.query": "q=1&r=2",
                "url.full": null,
                "server.address": "shop.example",
                "server.port": 8443,
                "user_agent.original": "shopper/1.0",
                "http.response.status_code": 200,
                "http.route": null,
                "error.type": null,
                "network.protocol.version": "1.1",
                "client.address": "127.0.0.1",
                "network.peer.address": "127.0.0.1",
                "http.request.resend_count": null,
                "envoy.response_flags": null,
                "envoy.response_code_details": "via_upstream",
                "envoy.upstream.cluster": "application",
                "envoy.upstream.host": peer,
                "envoy.upstream.attempt_count": 1,
                "envoy.upstream.duration": {"kind": "double"},
                "envoy.route.name": null,
                // Older names only where they are asked for.
                "http.method": null, "http.url": null, "http.status_code": null, "http.flavor": null,
                "net.peer.name": null,
            }}),
        ),
        (
            "what is not there is left out",
            "server",
            get("/a"),
            attributes(json!({"url.query": null, "server.address": "test.example", "server.port": null,
                              "user_agent.original": null})),
        ),
        ("an empty query is none", "server", get("/a?"), attributes(json!({"url.path": "/a", "url.query": null}))),
        (
            "an IPv6 host",
            "server",
            get("/a").header("host", "[::1]:81"),
            attributes(json!({"server.address": "::1", "server.port": 81})),
        ),
        (
            "a template of the configuration",
            "server",
            get("/users/123456?x=1"),
            json!({"name": "GET /users/{id}", "attributes": {"http.route": "/users/{id}", "url.path": "/users/123456"}}),
        ),
        (
            "an Envoy route's name that is a template",
            "server",
            get("/orders/123456"),
            json!({"name": "GET /orders/{order}",
                   "attributes": {"http.route": "/orders/{order}", "envoy.route.name": "/orders/{order}"}}),
        ),
        (
            "an Envoy route's name that is none",
            "server",
            get("/plain-name/1"),
            json!({"name": "GET", "attributes": {"http.route": null, "envoy.route.name": "plain"}}),
        ),
        (
            "the configuration's template goes before the Envoy route's name",
            "server",
            get("/orders/7/items"),
            json!({"name": "GET /orders/{id}/items", "attributes": {"http.route": "/orders/{id}/items"}}),
        ),
        (
            "a method that is none of the known ones",
            "server",
            Request::new("PURGE", "/users/1"),
            json!({"name": "HTTP /users/{id}", "attributes": {
                "http.request.method": "_OTHER", "http.request.method_original": "PURGE"}}),
        ),
        ("such a method without a route", "server", Request::new("PURGE", "/secret-path"), json!({"name": "HTTP"})),
        (
            "known methods as configured",
            "sanitized",
            Request::new("PURGE", "/a"),
            json!({"name": "PURGE", "attributes": {
                "http.request.method": "PURGE", "http.request.method_original": null}}),
        ),
        (
            "a method that is no longer known",
            "sanitized",
            get("/a"),
            json!({"name": "HTTP", "attributes": {
                "http.request.method": "_OTHER", "http.request.method_original": "GET"}}),
        ),
        (
            "sensitive query parameters",
            "server",
            get("/a?sig=hunter2&x=1&X-Goog-Signature=hunter2&AWSAccessKeyId=hunter2&Signature=hunter2&y="),
            attributes(json!({"url.query":
                "sig=REDACTED&x=1&X-Goog-Signature=REDACTED&AWSAccessKeyId=REDACTED&Signature=REDACTED&y="})),
        ),
        (
            "sensitive query parameters as configured",
            "sanitized",
            get("/a?token=hunter2&sig=1"),
            attributes(json!({"url.query": "token=REDACTED&sig=1"})),
        ),
        (
            "captured headers are arrays, credentials are not shown",
            "server",
            get("/headers")
                .header("X-Tenant", "blue")
                .header("x-tenant", "green")
                .header("authorization", "Bearer hunter2")
                .header("cookie", "session=hunter2")
                .header("x-not-asked-for", "1"),
            attributes(json!({
                "http.request.header.x-tenant": ["blue", "green"],
                "http.request.header.authorization": ["REDACTED"],
                "http.request.header.cookie": ["REDACTED"],
                "http.request.header.x-absent": null,
                "http.request.header.x-not-asked-for": null,
                "http.response.header.content-type": ["application/json"],
                "http.response.header.x-shelf": ["1", "2"],
                "http.response.header.set-cookie": ["REDACTED"],
            })),
        ),
        (
            "bytes that are no text",
            "server",
            get("/a").header("user-agent", b"a\xffb").header("x-tenant", b"\xfe"),
            attributes(json!({"user_agent.original": "a\u{fffd}b", "http.request.header.x-tenant": ["\u{fffd}"]})),
        ),
        (
            "x-forwarded-for where the listener believes it",
            "server",
            get("/a").header("x-forwarded-for", "192.0.2.1, 192.0.2.2"),
            attributes(json!({"client.address": "192.0.2.2", "client.port": null,
                              "network.peer.address": null, "network.peer.port": null})),
        ),
        (
            "x-forwarded-for at the edge, which any client can write",
            "edge",
            get("/a").header("x-forwarded-for", "192.0.2.1"),
            attributes(json!({"client.address": "127.0.0.1", "network.peer.address": "127.0.0.1"})),
        ),
        (
            "x-forwarded-for behind one trusted proxy",
            "behind",
            get("/a").header("x-forwarded-for", "192.0.2.1, 192.0.2.2"),
            attributes(json!({"client.address": "192.0.2.2", "client.port": null, "network.peer.address": null})),
        ),
        (
            "older names beside the new ones",
            "duplicate",
            get("/a?b=1").header("host", "shop.example"),
            attributes(json!({
                "http.request.method": "GET", "http.method": "GET",
                "url.path": "/a", "http.url": "http://shop.example/a?b=1",
                "http.response.status_code": 200, "http.status_code": 200,
                "network.protocol.version": "1.1", "http.flavor": "1.1",
                "client.address": "127.0.0.1", "net.peer.name": "127.0.0.1",
            })),
        ),
        (
            "older names hide secrets too",
            "duplicate",
            get("/a?sig=hunter2"),
            attributes(json!({"http.url": "http://test.example/a?sig=REDACTED"})),
        ),
    ]
}

fn client_cases(mesh: &Mesh, peer: &str) -> Vec<Case> {
    let attributes = |value: Value| json!({"attributes": value});
    vec![
        (
            "all of a request that goes out",
            "client",
            Request::get("/a/b?q=1&sig=hunter2").header("host", "shop.example:8443").header("user-agent", "a/1"),
            json!({"name": "GET", "kind": "CLIENT", "status": "UNSET", "attributes": {
                "http.request.method": "GET",
                "url.full": "http://shop.example:8443/a/b?q=1&sig=REDACTED",
                "url.path": null, "url.query": null, "url.scheme": null,
                "server.address": "shop.example",
                "server.port": 8443,
                "network.peer.address": "127.0.0.1",
                "network.peer.port": mesh.service.address().port(),
                "network.protocol.version": "1.1",
                "user_agent.original": "a/1",
                "http.response.status_code": 200,
                "client.address": null, "client.port": null,
                "http.request.resend_count": null,
                "envoy.upstream.host": peer,
                "envoy.upstream.cluster": "application",
            }}),
        ),
        (
            "a client says its port",
            "client",
            Request::get("/a").header("host", "shop.example"),
            attributes(json!({"server.address": "shop.example", "server.port": 80,
                              "url.full": "http://shop.example/a"})),
        ),
        (
            "headers of a client, which are configured apart",
            "client",
            Request::get("/headers").header("x-tenant", "blue").header("x-order", "7"),
            attributes(json!({"http.request.header.x-order": ["7"], "http.request.header.x-tenant": null,
                              "http.response.header.x-shelf": null})),
        ),
        (
            "older names of a client",
            "duplicate-client",
            Request::get("/a").header("host", "shop.example"),
            attributes(json!({
                "http.method": "GET", "http.url": "http://shop.example/a", "http.status_code": 200,
                "http.flavor": "1.1", "net.peer.name": "shop.example",
            })),
        ),
    ]
}

fn span_of(mesh: &Mesh, listener: &str, request: Request) -> anyhow::Result<ReceivedSpan> {
    let caller = Caller::new();
    let response = caller.request(request).send(mesh.envoy.address(listener)?)?;
    ensure!(response.status == 200, "answered {}", response.status);
    let span = caller.span(&mesh.receiver)?;
    ensure!(span.service() == listener, "it comes from {}", span.service());
    Ok(span)
}

fn sizes(mesh: &Mesh) -> anyhow::Result<()> {
    for (body, chunked) in [("", false), ("12345", false), ("12345", true)] {
        let caller = Caller::new();
        let request = caller.request(Request::new("POST", "/consume"));
        let mut connection = Connection::open(mesh.envoy.address("server")?)?;
        if chunked {
            connection.write(&request.header("transfer-encoding", "chunked").bytes())?;
            connection.write(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes())?;
        } else {
            connection.write(&request.body(body).bytes())?;
        }
        let response = connection.read_response(false)?;
        let expected = json!({"attributes": {
            "http.request.body.size": body.len(), "http.response.body.size": response.body.len()}});
        expect(&caller.span(&mesh.receiver)?, &expected)?;
    }
    Ok(())
}

fn http2(mesh: &Mesh) -> anyhow::Result<()> {
    let caller = Caller::new();
    let address = mesh.envoy.address("server")?;
    let request = http::Request::builder()
        .method("get")
        .uri(format!("http://{address}/users/7?x=1"))
        .header("traceparent", caller.traceparent());
    let response = Http2Client::connect(address)?.send(request.body(Bytes::new())?)?;
    ensure!(response.status == 200, "answered {}", response.status);
    expect(
        &caller.span(&mesh.receiver)?,
        &json!({"name": "HTTP /users/{id}", "attributes": {
            "network.protocol.version": "2",
            "http.request.method": "_OTHER", "http.request.method_original": "get",
            "url.path": "/users/7", "url.query": "x=1", "url.scheme": "http",
            "server.address": "127.0.0.1", "server.port": address.port(),
            "http.response.status_code": 200,
        }}),
    )
}

fn peers(mesh: &Mesh) -> anyhow::Result<()> {
    for listener in ["server", "edge"] {
        let span = span_of(mesh, listener, Request::get("/a"))?;
        let port = span.integer("network.peer.port");
        ensure!(port.is_some_and(|port| port > 0), "{listener}: the port is {port:?}");
        ensure!(span.integer("client.port") == port, "{listener}: the client's port is the peer's");
    }
    Ok(())
}

fn resource_and_scope(mesh: &Mesh) -> anyhow::Result<()> {
    let span = span_of(mesh, "server", Request::get("/a"))?;
    let json = span.to_json();
    let expected = json!({
        "service.name": "server", "telemetry.sdk.name": "meshspan", "telemetry.sdk.language": "rust",
        "deployment.environment.name": "test", "shelf.count": 3,
    });
    for (key, value) in expected.as_object().into_iter().flatten() {
        ensure!(&json["resource"][key] == value, "{key} is {}", json["resource"][key]);
    }
    ensure!(span.resource_text("telemetry.sdk.version").is_some_and(|version| !version.is_empty()), "no version");
    ensure!(span.resource_schema_url == "https://schema.example/1", "{:?}", span.resource_schema_url);
    ensure!(span.scope.name == "meshspan" && !span.scope.version.is_empty(), "{:?}", span.scope);
    let known = "https://opentelemetry.io/schemas/";
    ensure!(span.scope_schema_url.starts_with(known), "{:?}", span.scope_schema_url);
    Ok(())
}

fn node_resource(mesh: &Mesh) -> anyhow::Result<()> {
    let caller = Caller::new();
    caller.get("/a").send(mesh.envoy.address("unnamed")?)?;
    let span = caller.span(&mesh.receiver)?;
    let expected = [
        ("service.name", "cart"),
        ("service.version", "v7"),
        ("service.namespace", "shop"),
        ("service.instance.id", "sidecar~cart"),
        ("k8s.namespace.name", "shop"),
        ("k8s.pod.name", "cart-0"),
        ("k8s.deployment.name", "cart-deployment"),
        ("k8s.cluster.name", "blue"),
    ];
    for (key, value) in expected {
        ensure!(span.resource_text(key) == Some(value), "{key} is {:?}", span.resource_text(key));
    }
    Ok(())
}

fn config() -> EnvoyConfig {
    let general = |value: Value| json!({"instrumentation/development": {"general": value}});
    let duplicate = || general(json!({"stability_opt_in_list": "http/dup"}));
    let server = with(
        general(json!({"http": {
            "server": {
                "request_captured_headers": ["X-Tenant", "authorization", "cookie", "x-absent"],
                "response_captured_headers": ["content-type", "x-shelf", "set-cookie"],
            },
            "client": {"request_captured_headers": ["x-order"]},
        }})),
        json!({
            "resource": {
                "attributes": [
                    {"name": "service.name", "value": "server"},
                    {"name": "shelf.count", "value": 3, "type": "int"},
                ],
                "attributes_list": "deployment.environment.name=test",
                "schema_url": "https://schema.example/1",
            },
            "distribution": {"meshspan": {"routes": ["/users/{id}", "/orders/{id}/items"]}},
        }),
    );
    let client = with(
        server.clone(),
        json!({"resource": {"attributes": [{"name": "service.name", "value": "client"}], "schema_url": null}}),
    );
    let sanitized = general(json!({
        "http": {"server": {"known_methods": ["PURGE"]}},
        "sanitization": {"url": {"sensitive_query_parameters": ["token"]}},
    }));
    let mut unnamed = service("unnamed");
    unnamed["resource"] = json!({});
    let listeners = [
        ("server", service_with("server", server)),
        ("edge", service("edge")),
        ("behind", service("behind")),
        ("sanitized", service_with("sanitized", sanitized)),
        ("duplicate", service_with("duplicate", duplicate())),
        ("duplicate-client", service_with("duplicate-client", duplicate())),
        ("client", service_with("client", client)),
        ("unnamed", unnamed),
    ];
    bootstrap(&listeners)
        .connection_managers(|listener, manager| {
            if matches!(listener, "edge" | "behind") {
                manager["use_remote_address"] = true.into();
            }
            if listener == "behind" {
                manager["xff_num_trusted_hops"] = 1.into();
            }
            let add = |name: &str, value: &str| {
                json!({"header": {"key": name, "value": value}, "append_action": "APPEND_IF_EXISTS_OR_ADD"})
            };
            let to = |value: Value| with(json!({"route": {"cluster": "application"}}), value);
            add_routes(
                manager,
                &[
                    to(json!({"match": {"prefix": "/orders/"}, "name": "/orders/{order}"})),
                    to(json!({"match": {"prefix": "/plain-name/"}, "name": "plain"})),
                    to(json!({"match": {"path": "/headers"}, "response_headers_to_add": [
                        add("x-shelf", "1"), add("x-shelf", "2"), add("set-cookie", "session=hunter2"),
                    ]})),
                ],
            );
        })
        .change(|root| {
            set_direction(root, "client", "OUTBOUND");
            set_direction(root, "duplicate-client", "OUTBOUND");
            root["node"] = json!({"id": "sidecar~cart", "cluster": "not-this", "metadata": {
                "NAME": "cart-0", "NAMESPACE": "shop", "OWNER": "kubernetes://apis/apps/v1/namespaces/shop/deployments/cart-deployment", "CLUSTER_ID": "blue",
                "LABELS": {"service.istio.io/canonical-name": "cart", "service.istio.io/canonical-revision": "v7"},
            }});
        })
}
