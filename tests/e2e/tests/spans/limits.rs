//! Limits of attributes (OpenTelemetry specification, "Attribute Limits").

use anyhow::ensure;
use meshspan_e2e::{Mesh, each_envoy};
use meshspan_kit::client::Request;
use meshspan_kit::receiver::ReceivedSpan;
use serde_json::{Value, json};

use crate::support::{Caller, Table, assert_all_arrived_once, expect, service_with};

#[test]
fn a_span_keeps_its_limits() {
    let captured = json!({"http": {"server": {"request_captured_headers": ["x-tenant"]}}});
    let limited = |name: &'static str, settings: Value| {
        let base = json!({"instrumentation/development": {"general": captured}});
        (name, crate::support::with(service_with(name, base), settings))
    };
    let listeners = [
        limited("length", json!({"attribute_limits": {"attribute_value_length_limit": 10}})),
        limited("zero-length", json!({"attribute_limits": {"attribute_value_length_limit": 0}})),
        limited("count", json!({"attribute_limits": {"attribute_count_limit": 4}})),
        limited(
            "own-limits",
            json!({"attribute_limits": {"attribute_value_length_limit": 10, "attribute_count_limit": 4},
                   "tracer_provider": {"limits": {"attribute_value_length_limit": 20, "attribute_count_limit": 64}}}),
        ),
        limited(
            "half-own-limits",
            json!({"attribute_limits": {"attribute_value_length_limit": 10, "attribute_count_limit": 4},
                   "tracer_provider": {"limits": {"attribute_count_limit": 64}}}),
        ),
        limited("nothing", json!({"attribute_limits": {"attribute_count_limit": 0}})),
        limited("unlimited", json!({})),
    ];
    each_envoy(&[1], |envoy, concurrency| {
        let mesh = Mesh::start(envoy, concurrency, &listeners);
        let table = Table::default();
        table.case("texts are cut, numbers and keys are not", || {
            let span = span_of(&mesh, "length", "/0123456789abc")?;
            ensure!(span.span.dropped_attributes_count == 0, "nothing is dropped");
            expect(
                &span,
                &json!({"name": "GET", "attributes": {
                    "url.path": "/012345678", "http.response.status_code": 200, "client.address": "127.0.0.1",
                    "http.request.header.x-tenant": ["0123456789"], "user_agent.original": "äöüäöüäöüä",
                }}),
            )
        });
        table.case("a limit is in characters and cuts none in two", || {
            // In a header: a path with bytes that are not ASCII is one that Envoy refuses.
            let span = span_of(&mesh, "own-limits", "/a")?;
            expect(&span, &json!({"attributes": {"user_agent.original": "äöüäöüäöüäöüäöüäöüäö"}}))
        });
        table.case("nothing is left of texts", || {
            let span = span_of(&mesh, "zero-length", "/a")?;
            expect(&span, &json!({"name": "GET", "attributes": {"url.path": "", "http.response.status_code": 200}}))
        });
        table.case("as many attributes as are allowed, the rest is counted", || {
            let (span, full) = (span_of(&mesh, "count", "/a")?, span_of(&mesh, "unlimited", "/a")?);
            let all = full.span.attributes.len();
            ensure!(full.span.dropped_attributes_count == 0, "nothing is dropped without a limit");
            ensure!(span.span.attributes.len() == 4, "{:?}", span.keys());
            let dropped = usize::try_from(span.span.dropped_attributes_count)?;
            ensure!(dropped == all - 4, "{dropped} of {all} dropped");
            Ok(())
        });
        table.case("the tracer's own limits go first", || {
            let span = span_of(&mesh, "own-limits", "/0123456789abcdefghijklm")?;
            ensure!(span.span.dropped_attributes_count == 0 && span.span.attributes.len() > 4, "{:?}", span.keys());
            expect(&span, &json!({"attributes": {"url.path": "/0123456789abcdefghi"}}))
        });
        table.case("what the tracer does not limit, the general limits do", || {
            let span = span_of(&mesh, "half-own-limits", "/0123456789abc")?;
            ensure!(span.span.attributes.len() > 4, "{:?}", span.keys());
            expect(&span, &json!({"attributes": {"url.path": "/012345678"}}))
        });
        table.case("no attributes at all", || {
            let span = span_of(&mesh, "nothing", "/a")?;
            ensure!(span.span.attributes.is_empty(), "{:?}", span.keys());
            ensure!(span.span.dropped_attributes_count > 10, "{}", span.span.dropped_attributes_count);
            expect(&span, &json!({"name": "GET", "kind": "SERVER"}))
        });
        table.case("what is dropped is counted by the filter too", || {
            let spans = mesh.receiver.spans();
            let dropped: u32 = spans.iter().map(|span| span.span.dropped_attributes_count).sum();
            mesh.wait_for_counter("meshspan_attributes_dropped_total", dropped.into());
            Ok(())
        });
        table.finish(&mesh);
        assert_all_arrived_once(&mesh);
        mesh.stop();
    });
}

fn span_of(mesh: &Mesh, listener: &str, path: &str) -> anyhow::Result<ReceivedSpan> {
    let caller = Caller::new();
    let request = Request::get(path).header("x-tenant", "0123456789abc").header("user-agent", "äöü".repeat(10));
    let response = caller.request(request).send(mesh.envoy.address(listener)?)?;
    ensure!(response.status == 200, "answered {}", response.status);
    caller.span(&mesh.receiver)
}
