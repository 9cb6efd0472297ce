//! `role: gateway` with `keep` and `force`: what is recorded against the sampler is recorded whole, as a SERVER span and
//! its CLIENT child.

use std::collections::BTreeMap;

use meshspan_e2e::{DEADLINE, Mesh, each_envoy};
use meshspan_kit::client::Request;
use meshspan_kit::opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use meshspan_kit::receiver::ReceivedSpan;
use meshspan_kit::wait;
use serde_json::{Value, json};

use crate::support::{Decisions, WORKERS, decisions, example, reason, start};

const CALLER: &str = "00f067aa0ba902b7";
/// W3C's flags: sampled, and random.
const SAMPLED: u32 = 1;
const RANDOM: u32 = 2;

/// An example whose proxy is a gateway, before a sampler that wants nothing.
fn gateway(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut config = example(name);
    config["tracer_provider"]["sampler"] = json!({"always_off": {}});
    config["distribution"]["meshspan"]["role"] = "gateway".into();
    change(&mut config["distribution"]["meshspan"]);
    config
}

/// The listener, the path, the headers, what comes of it, and what it is about.
type Case = (&'static str, &'static str, Vec<(&'static str, String)>, Expected, &'static str);

/// What is expected of a request.
struct Expected {
    /// Sampler and rule of its spans; none: there are no spans.
    reason: Option<(&'static str, &'static str)>,
    /// Whether an upstream was called: then there is a CLIENT span.
    called: bool,
    /// The low bits of the spans' flags, and of `traceparent` on its way up.
    flags: u32,
}

const NOT_SAMPLED: Expected = Expected { reason: None, called: true, flags: RANDOM };

fn kept(rule: &'static str) -> Expected {
    Expected { reason: Some(("keep", rule)), ..NOT_SAMPLED }
}

fn forced(by: &'static str) -> Expected {
    Expected { reason: Some(("force", by)), flags: SAMPLED | RANDOM, ..NOT_SAMPLED }
}

/// From a caller that said no, or said debug in B3.
fn traceparent(number: usize, flags: u32) -> (&'static str, String) {
    ("traceparent", format!("00-{:032x}-{CALLER}-{flags:02x}", number + 1))
}

/// Waits until so many streams are in the books and all their spans have arrived: two for each that was recorded, but for
/// those without an upstream.
fn settled(mesh: &Mesh, streams: u64, spans: usize) -> (BTreeMap<String, Vec<ReceivedSpan>>, Decisions) {
    let mut last = String::new();
    let all = wait::until(3 * DEADLINE, "books that add up", || {
        let counters = mesh.counters();
        let counter = |name: &str| counters.get(name).copied().unwrap_or(0);
        let arrived = mesh.receiver.spans();
        last = format!("{} of {spans} spans, {streams} streams; {counters:#?}", arrived.len());
        let done = counter("meshspan_streams_total") == streams
            && [counter("meshspan_spans_started_total"), counter("meshspan_export_exported_total")]
                == [spans as u64; 2]
            && arrived.len() == spans;
        done.then_some(arrived)
    });
    let mut by_path: BTreeMap<String, Vec<ReceivedSpan>> = BTreeMap::new();
    for span in all.unwrap_or_else(|error| panic!("{error:#}: {last}")) {
        // A CLIENT span has the whole URL, a SERVER span its path.
        let path = span.text("url.path").map(str::to_owned);
        let path = path.or_else(|| {
            span.text("url.full")?.split("://").nth(1)?.split_once('/').map(|(_, path)| format!("/{path}"))
        });
        let path = path.unwrap_or_else(|| panic!("no path: {}", span.to_json()));
        by_path.entry(path.split('?').next().unwrap_or_default().to_owned()).or_default().push(span);
    }
    (by_path, decisions(mesh))
}

#[test]
fn a_gateway_records_both_spans_or_none() {
    let on = |header: (&'static str, &'static str)| vec![(header.0, header.1.to_owned())];
    let b3 = || {
        vec![
            ("x-b3-traceid", "0af7651916cd43dd8448eb211c80319c".to_owned()),
            ("x-b3-spanid", CALLER.to_owned()),
            ("x-b3-flags", "1".to_owned()),
        ]
    };
    let debug = Expected { flags: SAMPLED, ..forced("debug") };
    let unreachable = || Expected { called: true, ..kept("errors") };
    let table: Vec<Case> = vec![
        ("kept", "/status/500", vec![], kept("errors"), "a 500, of a trace that begins here"),
        ("kept", "/status/503", vec![traceparent(1, RANDOM)], kept("errors"), "a 503, of a caller that said no"),
        ("kept", "/slow", vec![traceparent(2, RANDOM)], kept("slower_than"), "slow"),
        ("kept", "/status/404", vec![], NOT_SAMPLED, "the caller's fault: a gateway goes by its SERVER span"),
        ("kept", "/status/200", vec![traceparent(4, RANDOM)], NOT_SAMPLED, "all is well"),
        ("kept", "/gone", vec![], unreachable(), "an upstream that is not there was called"),
        ("kept", "/direct", vec![], Expected { called: false, ..kept("errors") }, "answered by Envoy itself"),
        ("forced", "/a", on(("x-envoy-force-trace", "1")), forced("x-envoy-force-trace"), "Envoy's own header"),
        ("forced", "/b", on(("jaeger-debug-id", "look")), forced("jaeger-debug-id"), "Jaeger's header"),
        ("forced", "/c", b3(), debug, "B3's debug, whose ids nobody calls random"),
        ("forced", "/d", vec![], NOT_SAMPLED, "nothing asked"),
        ("both", "/status/502", on(("jaeger-debug-id", "look")), forced("jaeger-debug-id"), "sampled before it failed"),
        ("both", "/status/504", vec![], kept("errors"), "not asked for, and failed"),
    ];
    let budget = json!({"errors": true, "slower_than": 1_000, "spans_per_second": 1_000, "burst": 1_000});
    let trust = json!({"trusted": {"internal": true}, "traces_per_second": 1_000, "burst": 1_000});
    let listeners = [
        ("kept", gateway("keep.json", |own| own["keep"] = budget.clone())),
        ("forced", gateway("force.json", |own| own["force"] = trust.clone())),
        (
            "both",
            gateway("force.json", |own| {
                own["force"] = trust.clone();
                own["keep"] = budget.clone();
            }),
        ),
    ];
    each_envoy(&[WORKERS], |envoy, _| {
        let mesh = start(envoy, &listeners, |config| {
            config.connection_managers(|_, manager| {
                manager["use_remote_address"] = true.into();
                manager["internal_address_config"] =
                    json!({"unix_sockets": false, "cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]});
                let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().unwrap();
                routes.insert(0, json!({"match": {"prefix": "/direct"}, "direct_response": {"status": 500}}));
            })
        });
        for (listener, path, headers, ..) in &table {
            // That what is slow is, and what is not is not.
            let target = if *path == "/slow" { "/slow?ms=1100" } else { *path };
            let request =
                headers.iter().fold(Request::get(target), |request, (name, value)| request.header(name, value));
            mesh.send(listener, &request);
        }
        let spans: usize = table
            .iter()
            .map(|(.., expected, _)| if expected.reason.is_none() { 0 } else { 1 + usize::from(expected.called) })
            .sum();
        let (by_path, decisions) = settled(&mesh, table.len() as u64, spans);
        let mut wrong = Vec::new();
        for (listener, path, headers, expected, why) in &table {
            if let Err(what) = check(&mesh, path, headers, expected, by_path.get(*path).map_or(&[], Vec::as_slice)) {
                wrong.push(format!("{listener}{path}: {why}: {what}"));
            }
        }
        assert!(wrong.is_empty(), "in Envoy {}: {wrong:#?}", envoy.version);
        let recorded = |sampler: &str| {
            let of = |expected: &Expected| expected.reason.is_some_and(|reason| reason.0 == sampler);
            table.iter().filter(|(.., expected, _)| of(expected)).count() as u64
        };
        // A budget is for streams, however many spans they have.
        assert_eq!((decisions["keep"], decisions["force"]), ((recorded("keep"), 0), (recorded("force"), 0)));
        mesh.stop();
    });
}

/// What is not as it should be with a request's spans, and with what its upstream was told.
fn check(
    mesh: &Mesh,
    path: &str,
    headers: &[(&str, String)],
    expected: &Expected,
    spans: &[ReceivedSpan],
) -> Result<(), String> {
    let head = mesh.service.requests().into_iter().rev().find(|head| head.target.split('?').next() == Some(path));
    let told = head.as_ref().and_then(|head| head.header("traceparent"));
    if let Some(told) = &told {
        let flags = u32::from_str_radix(&told[53..], 16).unwrap();
        if flags != expected.flags {
            return Err(format!("the upstream was told {told}"));
        }
    }
    let Some(why) = expected.reason else {
        return if spans.is_empty() { Ok(()) } else { Err(format!("{} spans", spans.len())) };
    };
    let of = |kind: SpanKind| spans.iter().filter(|span| span.kind() == kind).collect::<Vec<_>>();
    let (servers, clients) = (of(SpanKind::Server), of(SpanKind::Client));
    let ([server], true) = (servers.as_slice(), clients.len() == usize::from(expected.called)) else {
        return Err(format!("{} SERVER and {} CLIENT spans", servers.len(), clients.len()));
    };
    for span in spans {
        if reason(span) != why {
            return Err(format!("{:?}: {}", reason(span), span.to_json()));
        }
        if span.span.flags & 0xff != expected.flags {
            return Err(format!("flags {:x}: {}", span.span.flags, span.to_json()));
        }
        let count = span.integer("meshspan.sampling.adjusted_count");
        if count != (why.0 == "keep").then_some(1) {
            return Err(format!("stands for {count:?}: {}", span.to_json()));
        }
        if span.span.trace_state.contains("th:") {
            return Err(format!("a threshold: {}", span.to_json()));
        }
    }
    let caller = headers.iter().any(|(name, _)| ["traceparent", "x-b3-spanid"].contains(name));
    if server.parent_id() != caller.then(|| CALLER.to_owned()) {
        return Err(format!("the caller's child: {}", server.to_json()));
    }
    if let [client] = clients.as_slice() {
        if client.parent_id() != Some(server.span_id()) || client.trace_id() != server.trace_id() {
            return Err(format!("the SERVER span's child: {}", client.to_json()));
        }
        let context = format!("00-{}-{}-", client.trace_id(), client.span_id());
        if told.as_ref().is_some_and(|told| !told.starts_with(&context)) {
            return Err(format!("the upstream was told {told:?}, not {context}"));
        }
    }
    Ok(())
}
