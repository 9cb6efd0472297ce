//! Jaeger takes the spans, and its query API finds them as they were.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use meshspan_e2e::each_envoy_with;
use meshspan_kit::backend::{JAEGER_VARIABLE, Jaeger, JaegerSpan};
use meshspan_kit::client::Request;
use serde_json::json;

use crate::support::{Books, CHANNELS, Caller, Channel, Load, calls, each_channel, mesh};

#[test]
fn traces_are_found_with_service_operation_and_tags() {
    each_envoy_with(Jaeger::binary().as_deref(), JAEGER_VARIABLE, &[2], |binary, envoy, concurrency| {
        let jaeger = Jaeger::start(binary).unwrap();
        let mesh = mesh(envoy, concurrency, &CHANNELS, (jaeger.grpc(), jaeger.http()));
        each_channel(&mesh, &CHANNELS, |channel| {
            let before = Books::of(&mesh, channel);
            let caller = Caller::new();
            let found = caller.request(Request::get("/users/42?q=1")).send(mesh.envoy.address(channel.name)?)?;
            let failed = caller.request(Request::get("/status/503")).send(mesh.envoy.address(channel.name)?)?;
            ensure!((found.status, failed.status) == (200, 503), "answered {}, {}", found.status, failed.status);
            calls(&mesh, channel, 50)?;
            Books::settled(&mesh, channel, &before, 52)?.expect_all_exported(52)?;

            ensure!(jaeger.services()?.iter().any(|name| name == channel.name), "{:?}", jaeger.services());
            let of_service = jaeger.find(&format!("service={}", channel.name))?;
            ensure!(of_service.len() == 52, "{} spans of the service", of_service.len());

            // The operation is `GET /users/{id}`, the tags {"http.response.status_code":"503"}.
            let by_operation = jaeger.find(&format!("service={}&operation=GET%20%2Fusers%2F%7Bid%7D", channel.name))?;
            let tags = "%7B%22http.response.status_code%22%3A%22503%22%7D";
            let by_tag = jaeger.find(&format!("service={}&tags={tags}", channel.name))?;
            // A query gives whole traces, and both are of one.
            ensure!(by_operation.len() == 2 && by_tag.len() == 2, "{by_operation:#?}\n{by_tag:#?}");

            let spans = jaeger.trace(&caller.trace_id)?;
            ensure!(spans.len() == 2, "{spans:#?}");
            let operation = |name: &str| spans.iter().find(|span| span.operation == name).context(name.to_owned());
            is_told(operation("GET /users/{id}")?, channel, &caller, 200)?;
            is_told(operation("GET")?, channel, &caller, 503)
        });
        mesh.stop();
    });
}

fn is_told(span: &JaegerSpan, channel: Channel, caller: &Caller, status: u16) -> anyhow::Result<()> {
    ensure!(span.service == channel.name, "{span:#?}");
    ensure!(span.parent_id.as_deref() == Some(&caller.span_id), "{span:#?}");
    let mut tags = json!({
        "http.request.method": "GET", "http.response.status_code": status, "span.kind": "server",
        "envoy.upstream.cluster": "application", "server.address": "test.example",
    });
    if status >= 500 {
        tags["error"] = true.into();
    }
    for (key, value) in tags.as_object().context("an object")? {
        ensure!(span.tags.get(key) == Some(value), "{key} is {:?}, not {value}", span.tags.get(key));
    }
    ensure!(span.process_tags.get("telemetry.sdk.name") == Some(&json!("meshspan")), "{:?}", span.process_tags);
    Ok(())
}

#[test]
fn a_restart_under_load_loses_no_trace() {
    let channels: Vec<_> = CHANNELS.into_iter().step_by(2).collect();
    each_envoy_with(Jaeger::binary().as_deref(), JAEGER_VARIABLE, &[2], |binary, envoy, concurrency| {
        let mut jaeger = Jaeger::start(binary).unwrap();
        let mesh = mesh(envoy, concurrency, &channels, (jaeger.grpc(), jaeger.http()));
        each_channel(&mesh, &channels, |channel| {
            let before = Books::of(&mesh, channel);
            let sent = Load::new(&mesh, channel)?.run(|load| {
                load.allow(600);
                load.wait_until_answered_but(400)?;
                jaeger.kill();
                load.wait_until_answered_but(100)?;
                load.allow(200);
                Books::wait_for_failure(&mesh, channel, &before)?;
                jaeger.restart()?;
                load.allow(200);
                load.wait_until_answered_but(0)?;
                Ok(())
            })?;
            let count = sent.len() as u64;
            Books::settled(&mesh, channel, &before, count)?.expect_all_exported(count)?;
            // One that was sent twice is stored once, or twice under the same id.
            let found = jaeger.find(&format!("service={}", channel.name))?;
            let ids: BTreeSet<_> = found.iter().map(|span| &span.trace_id).collect();
            ensure!(ids.into_iter().eq(&sent), "{} spans found of {}", found.len(), sent.len());
            Ok(())
        });
        mesh.stop();
    });
}
