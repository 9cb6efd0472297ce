//! An OpenTelemetry Collector takes every span once, by every channel, and reads in it what the filter wrote.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use meshspan_e2e::{DEADLINE, each_envoy_with};
use meshspan_kit::backend::{COLLECTOR_VARIABLE, Collector};
use meshspan_kit::client::Request;
use meshspan_kit::receiver::ReceivedSpan;
use serde_json::{Value, json};

use crate::support::{Books, CHANNELS, Caller, calls, each_channel, mesh};

#[test]
fn every_span_arrives_once_by_every_channel() {
    each_envoy_with(Collector::binary().as_deref(), COLLECTOR_VARIABLE, &[2], |binary, envoy, concurrency| {
        let collector = Collector::start(binary).unwrap();
        let mesh = mesh(envoy, concurrency, &CHANNELS, (collector.grpc(), collector.http()));
        each_channel(&mesh, &CHANNELS, |channel| {
            let accepted = || Ok::<_, anyhow::Error>(collector.accepted()?.get(channel.transport()).copied());
            let (before, accepted_before) = (Books::of(&mesh, channel), accepted()?.unwrap_or(0));
            let sent = calls(&mesh, channel, 400)?;
            let books = Books::settled(&mesh, channel, &before, 400)?;
            books.expect_all_exported(400)?;
            ensure!(books.failed_requests == 0, "{books:?}");

            // Nothing to wait for: what counts as exported was answered, and what was answered is in the file.
            let spans = collector.spans()?;
            let spans: Vec<_> = spans.iter().filter(|span| span.service() == channel.name).collect();
            let mut arrived: Vec<_> = spans.iter().map(|span| span.trace_id()).collect();
            arrived.sort_unstable();
            ensure!(arrived == sent, "{} spans of {}", arrived.len(), sent.len());
            let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id()).collect();
            ensure!(ids.len() == 400, "two spans have the same id");
            let accepted = accepted()?.unwrap_or(0) - accepted_before;
            ensure!(accepted == 400, "the Collector says that it accepted {accepted}");
            Ok(())
        });
        assert!(collector.refused().unwrap().values().all(|count| *count == 0), "{:?}", collector.refused());
        // As Envoy counts them, with all that HTTP puts around a message.
        let bytes_to =
            |channel: &str| mesh.envoy.stat(&format!("cluster.to-{channel}.upstream_cx_tx_bytes_total")).unwrap_or(0);
        for pair in CHANNELS.chunks(2) {
            let (plain, gzip) = (bytes_to(pair[0].name), bytes_to(pair[1].name));
            assert!(gzip > 0 && gzip < plain / 2, "{}: {plain} bytes, with gzip {gzip}", pair[0].name);
            let counted = pair.iter().map(|channel| Books::of(&mesh, *channel).sent_bytes);
            assert!(counted.zip([plain, gzip]).all(|(counted, all)| counted > 0 && counted <= all), "{pair:?}");
        }
        mesh.stop();
    });
}

#[test]
fn a_span_says_the_same_by_every_channel() {
    each_envoy_with(Collector::binary().as_deref(), COLLECTOR_VARIABLE, &[2], |binary, envoy, concurrency| {
        let collector = Collector::start(binary).unwrap();
        let mesh = mesh(envoy, concurrency, &CHANNELS, (collector.grpc(), collector.http()));
        let peer = format!("127.0.0.1:{}", mesh.service.address().port());
        let mut first: Option<Value> = None;
        each_channel(&mesh, &CHANNELS, |channel| {
            let caller = Caller::new();
            let request = Request::get("/users/42?q=%C3%A4")
                .header("host", "shop.example:8443")
                .header("user-agent", "a\"b\\c\u{e4}\u{1f600}");
            let response = caller.request(request).send(mesh.envoy.address(channel.name)?)?;
            ensure!(response.status == 200, "answered {}", response.status);
            let is_own = |span: &ReceivedSpan| span.trace_id() == caller.trace_id;
            let span = meshspan_kit::wait::until(DEADLINE, "the span", || {
                collector.spans().ok()?.into_iter().find(|span| is_own(span))
            })?;
            ensure!(span.service() == channel.name, "the service is {}", span.service());
            ensure!(span.parent_id().as_deref() == Some(&caller.span_id), "the parent is not the caller: {span}");
            ensure!(span.resource_text("telemetry.sdk.name") == Some("meshspan"), "{:?}", span.resource);
            let said = comparable(&span);
            let expected = json!({
                "http.request.method": "GET", "http.route": "/users/{id}", "http.response.status_code": 200,
                "url.path": "/users/42", "url.query": "q=%C3%A4", "url.scheme": "http",
                "server.address": "shop.example", "server.port": 8443, "user_agent.original": "a\"b\\c\u{e4}\u{1f600}",
                "network.protocol.version": "1.1", "client.address": "127.0.0.1",
                "envoy.upstream.cluster": "application", "envoy.upstream.host": peer,
            });
            ensure!(said["name"] == "GET /users/{id}" && said["kind"] == "SERVER", "{said:#}");
            for (key, value) in expected.as_object().context("an object")? {
                ensure!(said["attributes"][key] == *value, "{key} is {}, not {value}", said["attributes"][key]);
            }
            let first = first.get_or_insert_with(|| said.clone());
            ensure!(*first == said, "not as by the first channel: {said:#}\n{first:#}");
            Ok(())
        });
        mesh.stop();
    });
}

/// A span without what differs from request to request; what is taken away has to be there.
fn comparable(span: &ReceivedSpan) -> Value {
    let mut json = span.to_json();
    let object = json.as_object_mut().unwrap();
    for key in ["trace_id", "span_id", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano"] {
        assert!(object.remove(key).is_some(), "{key}: {object:#?}");
    }
    assert!(object["resource"].as_object_mut().unwrap().remove("service.name").is_some());
    let attributes = object["attributes"].as_object_mut().unwrap();
    for key in ["client.port", "network.peer.port", "envoy.upstream.duration", "envoy.upstream.first_byte.duration"] {
        assert!(attributes.remove(key).is_some(), "{key}");
    }
    json
}
