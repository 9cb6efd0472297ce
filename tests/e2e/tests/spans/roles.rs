//! Which spans a proxy makes of a request, and whose children they are.

use anyhow::{Context, ensure};
use meshspan_e2e::{Mesh, bootstrap, each_envoy};
use meshspan_kit::client::Request;
use meshspan_kit::config::EnvoyConfig;
use meshspan_kit::envoy::Options;
use meshspan_kit::receiver::ReceivedSpan;
use meshspan_kit::service::{RawUpstream, Refusing};
use serde_json::{Value, json};

use crate::support::{Caller, Table, assert_all_arrived_once, expect, service, service_with, set_direction, with};

#[test]
fn roles_make_the_spans_that_they_name() {
    each_envoy(&[1, 2], |envoy, concurrency| {
        let redirecting = RawUpstream::answering(
            "HTTP/1.1 302 Found\r\nlocation: http://test.example/a\r\ncontent-length: 0\r\n\r\n",
        );
        let redirecting = redirecting.unwrap();
        let refused = Refusing::bind().unwrap();
        let config = config(&refused).add_cluster("redirecting", redirecting.address(), false);
        let mesh = Mesh::start_with(envoy, &Options { concurrency, ..Options::default() }, &config);
        let table = Table::default();
        let kinds = [
            ("auto, inbound", "inbound", "SERVER"),
            ("auto, outbound", "outbound", "CLIENT"),
            ("auto, no direction said", "undirected", "SERVER"),
            ("client, though inbound", "client", "CLIENT"),
            ("server, though outbound", "server", "SERVER"),
        ];
        for (why, listener, kind) in kinds {
            table.case(why, || one_span(&mesh, listener, kind));
        }
        table.case("a redirect that Envoy follows itself: one span after the other", || redirect(&mesh));
        table.case("gateway: a client span below the server span", || gateway(&mesh));
        table.case("gateway: a trace that starts here", || gateway_without_a_caller(&mesh));
        table.case("gateway: an upstream that answers slowly", || gateway_times(&mesh));
        table.case("gateway: an upstream that cannot be reached", || gateway_refused(&mesh));
        for path in ["/direct", "/nowhere"] {
            table.case(&format!("gateway: no upstream, no client span: {path}"), || gateway_alone(&mesh, path));
        }
        table.finish(&mesh);
        assert_all_arrived_once(&mesh);
        mesh.stop();
    });
}

#[test]
fn proxies_in_a_row_make_one_trace() {
    each_envoy(&[1], |envoy, _| {
        let inner = Mesh::start(envoy, 1, &[("sidecar", service("sidecar"))]);
        let edge =
            bootstrap(&[("edge", service_with("edge", json!({"distribution": {"meshspan": {"role": "gateway"}}})))]);
        let sidecar = inner.envoy.address("sidecar").unwrap();
        let edge = edge.add_cluster("sidecar", sidecar, false).connection_managers(|_, manager| {
            manager["route_config"]["virtual_hosts"][0]["routes"] =
                json!([{"match": {"prefix": "/"}, "route": {"cluster": "sidecar"}}]);
        });
        let outer = Mesh::start_with(envoy, &Options::default(), &edge);
        let table = Table::default();
        table.case("a caller, an edge, a sidecar, a service", || {
            let caller = Caller::new();
            let response = caller.get("/a").send(outer.envoy.address("edge")?)?;
            ensure!(response.status == 200, "answered {}", response.status);
            let (server, client) = pair(&caller.spans(&outer.receiver, 2)?)?;
            let sidecar = caller.spans(&inner.receiver, 1)?.remove(0);
            ensure!(server.parent_id().as_deref() == Some(&caller.span_id), "the edge is the caller's child");
            ensure!(client.parent_id() == Some(server.span_id()), "the edge's call is the edge's child");
            ensure!(sidecar.parent_id() == Some(client.span_id()), "the sidecar is the call's child");
            let told = upstream_traceparent(&inner, &caller)?;
            ensure!(told.contains(&sidecar.span_id()), "the service was told {told}");
            let times = |span: &ReceivedSpan| (span.span.start_time_unix_nano, span.span.end_time_unix_nano);
            ensure!(times(&server).0 <= times(&client).0, "the call starts within its request");
            ensure!(times(&client).0 <= times(&sidecar).0 + 1_000, "the sidecar is called after the call began");
            Ok(())
        });
        table.finish(&outer);
        assert_all_arrived_once(&outer);
        outer.stop();
        assert_all_arrived_once(&inner);
        inner.stop();
    });
}

fn one_span(mesh: &Mesh, listener: &str, kind: &str) -> anyhow::Result<()> {
    let caller = Caller::new();
    caller.get("/a").send(mesh.envoy.address(listener)?)?;
    let span = caller.span(&mesh.receiver)?;
    expect(&span, &json!({"kind": kind}))?;
    let told = upstream_traceparent(mesh, &caller)?;
    ensure!(told == format!("00-{}-{}-01", caller.trace_id, span.span_id()), "the upstream was told {told}");
    Ok(())
}

/// Envoy begins anew, with the headers that the filter wrote: each round is a stream and a span of its own.
fn redirect(mesh: &Mesh) -> anyhow::Result<()> {
    let caller = Caller::new();
    let response = caller.get("/redirected").send(mesh.envoy.address("inbound")?)?;
    ensure!(response.status == 200, "answered {}", response.status);
    let spans = caller.spans(&mesh.receiver, 2)?;
    let at = |path: &str| spans.iter().find(|span| span.text("url.path") == Some(path)).context("both rounds");
    let (first, second) = (at("/redirected")?, at("/a")?);
    expect(
        first,
        &json!({"attributes": {
        "http.response.status_code": 302, "envoy.response_code_details": "internal_redirect"}}),
    )?;
    expect(second, &json!({"attributes": {"http.response.status_code": 200}}))?;
    ensure!(first.parent_id().as_deref() == Some(&caller.span_id), "{first} is the caller's child");
    ensure!(second.parent_id() == Some(first.span_id()), "{second} is the first round's child");
    let told = upstream_traceparent(mesh, &caller)?;
    ensure!(told.contains(&second.span_id()), "the upstream was told {told}");
    Ok(())
}

fn gateway(mesh: &Mesh) -> anyhow::Result<()> {
    let caller = Caller::new();
    caller.get("/users/7?x=1").send(mesh.envoy.address("gateway")?)?;
    let (server, client) = pair(&caller.spans(&mesh.receiver, 2)?)?;
    ensure!(server.parent_id().as_deref() == Some(&caller.span_id), "{server} is the caller's child");
    ensure!(client.parent_id() == Some(server.span_id()), "{client} is the server span's child");
    let told = upstream_traceparent(mesh, &caller)?;
    ensure!(told == format!("00-{}-{}-01", caller.trace_id, client.span_id()), "the upstream was told {told}");
    // The caller's span lies in another process, the server's does not (`Span.flags`, is_remote).
    ensure!(server.span.flags & 0x300 == 0x300, "{:x}", server.span.flags);
    ensure!(client.span.flags & 0x300 == 0x100, "{:x}", client.span.flags);
    expect(
        &server,
        &json!({"status": "UNSET", "name": "GET /users/{id}",
                "attributes": {"http.route": "/users/{id}", "url.path": "/users/7", "url.full": null,
                               "network.protocol.version": "1.1"}}),
    )?;
    expect(
        &client,
        &json!({"status": "UNSET", "attributes": {
            // Envoy does not tell which protocol it spoke to the upstream.
            "network.protocol.version": null,
            "http.route": null, "url.path": null, "url.full": "http://test.example/users/7?x=1",
            "network.peer.port": mesh.service.address().port()}}),
    )?;
    ensure!(!client.name().contains("/7") && client.name().starts_with("GET"), "{}", client.name());
    Ok(())
}

fn gateway_without_a_caller(mesh: &Mesh) -> anyhow::Result<()> {
    let response = Request::get("/started-here").send(mesh.envoy.address("gateway")?)?;
    ensure!(response.status == 200, "answered {}", response.status);
    let server = mesh.span_at("/started-here");
    ensure!(server.parent_id().is_none(), "{server} is a root");
    let spans: Vec<_> = mesh.receiver.spans().into_iter().filter(|span| span.trace_id() == server.trace_id()).collect();
    let (server, client) = pair(&spans)?;
    ensure!(client.parent_id() == Some(server.span_id()), "{client} is the server span's child");
    Ok(())
}

fn gateway_times(mesh: &Mesh) -> anyhow::Result<()> {
    let caller = Caller::new();
    caller.get("/slow?ms=300").send(mesh.envoy.address("gateway")?)?;
    let (server, client) = pair(&caller.spans(&mesh.receiver, 2)?)?;
    let (outer, inner) = (&server.span, &client.span);
    ensure!(outer.start_time_unix_nano <= inner.start_time_unix_nano, "it starts after the server span");
    ensure!(inner.end_time_unix_nano <= outer.end_time_unix_nano, "it ends with the server span or before");
    ensure!(client.duration().as_millis() >= 300, "{:?}", client.duration());
    Ok(())
}

fn gateway_refused(mesh: &Mesh) -> anyhow::Result<()> {
    let caller = Caller::new();
    let response = caller.get("/refused").send(mesh.envoy.address("gateway")?)?;
    ensure!(response.status == 503, "answered {}", response.status);
    let (server, client) = pair(&caller.spans(&mesh.receiver, 2)?)?;
    for span in [server, client] {
        expect(&span, &json!({"status": "ERROR", "attributes": {"error.type": "503"}}))?;
    }
    Ok(())
}

fn gateway_alone(mesh: &Mesh, path: &str) -> anyhow::Result<()> {
    let caller = Caller::new();
    caller.get(path).send(mesh.envoy.address("gateway")?)?;
    expect(&caller.span(&mesh.receiver)?, &json!({"kind": "SERVER", "attributes": {"url.path": path}}))
}

/// The server and the client span of two.
fn pair(spans: &[ReceivedSpan]) -> anyhow::Result<(ReceivedSpan, ReceivedSpan)> {
    let of = |kind: &str| spans.iter().find(|span| span.to_json()["kind"] == kind).cloned();
    ensure!(spans.len() == 2, "{} spans", spans.len());
    of("SERVER").zip(of("CLIENT")).with_context(|| format!("not one of each: {spans:#?}"))
}

/// The `traceparent` that the service got in the caller's trace.
fn upstream_traceparent(mesh: &Mesh, caller: &Caller) -> anyhow::Result<String> {
    let heads = mesh.service.requests().into_iter();
    let mut told = heads.filter_map(|head| head.header("traceparent").filter(|text| text.contains(&caller.trace_id)));
    told.next().context("the service got no request in this trace")
}

fn config(refused: &Refusing) -> EnvoyConfig {
    let role = |name: &str, role: &str| {
        let settings = json!({"distribution": {"meshspan": {"role": role, "routes": ["/users/{id}"]}}});
        (name.to_owned(), with(service(name), settings))
    };
    let listeners = [
        role("inbound", "auto"),
        role("outbound", "auto"),
        role("undirected", "auto"),
        role("client", "client"),
        role("server", "server"),
        role("gateway", "gateway"),
    ];
    let listeners: Vec<(&str, Value)> =
        listeners.iter().map(|(name, config)| (name.as_str(), config.clone())).collect();
    bootstrap(&listeners)
        .add_cluster("refused", refused.address(), false)
        .connection_managers(|_, manager| {
            manager["route_config"]["virtual_hosts"][0]["routes"] = json!([
                {"match": {"path": "/redirected"}, "route": {"cluster": "redirecting", "internal_redirect_policy": {}}},
                {"match": {"path": "/direct"}, "direct_response": {"status": 200}},
                {"match": {"path": "/refused"}, "route": {"cluster": "refused"}},
                {"match": {"safe_regex": {"regex": "/(a|slow|started-here|users/.*)"}},
                 "route": {"cluster": "application"}},
            ]);
        })
        .change(|root| {
            set_direction(root, "outbound", "OUTBOUND");
            set_direction(root, "server", "OUTBOUND");
            set_direction(root, "undirected", "UNSPECIFIED");
        })
}
