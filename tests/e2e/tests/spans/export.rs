//! The way out: what a backend gets, and what becomes of spans when it does not want them. Whatever a backend does,
//! callers are served, and every span is counted once: exported, rejected or dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use meshspan_e2e::{DEADLINE, Mesh, bootstrap, each_envoy};
use meshspan_kit::client::Connection;
use meshspan_kit::config::EnvoyConfig;
use meshspan_kit::envoy::{Options, Samples, Update};
use meshspan_kit::receiver::{Behaviour, Protocol, ReceivedRequest, ReceivedSpan, Receiver};
use meshspan_kit::wait;
use serde_json::{Value, json};

use crate::support::{Caller, Table, expect, service_with};

/// A schedule delay that no test waits for: what leaves, leaves for another reason.
const NEVER: u64 = 3_600_000;

/// The ways to a backend, as listeners are named here.
pub(crate) const PROTOCOLS: [&str; 3] = ["grpc", "protobuf", "json"];

/// A configuration with these processors, which try once: what a failure costs is seen at once.
fn exporting<'a>(listener: &'a str, processors: &[Value]) -> (&'a str, Value) {
    exporting_for(listener, processors, 0)
}

/// A configuration with these processors, which try a failed batch again for so many ms.
pub(crate) fn exporting_for<'a>(listener: &'a str, processors: &[Value], max_retry_age: u32) -> (&'a str, Value) {
    let more = json!({
        "tracer_provider": {"processors": processors},
        "distribution": {"meshspan": {"limits": {"max_retry_age": max_retry_age}}},
    });
    (listener, service_with("checkout", more))
}

/// An exporter to the cluster `collector` (HTTP/2) or `collector-http` (HTTP/1.1).
pub(crate) fn exporter(protocol: &str) -> Value {
    let headers = json!([{"name": "X-Tenant", "value": "blue"}]);
    let list = "x-tenant=not-this-one,x-key=a%20b";
    match protocol {
        "grpc" => json!({"otlp_grpc": {
            "endpoint": "http://collector:4317", "headers": headers, "headers_list": list, "timeout": 500}}),
        encoding => json!({"otlp_http": {
            "endpoint": "http://collector-http:4318/v1/traces", "encoding": encoding,
            "headers": headers, "headers_list": list, "timeout": 500}}),
    }
}

/// A batch processor with these settings.
pub(crate) fn batch(protocol: &str, settings: Value) -> Value {
    json!({"batch": crate::support::with(json!({"exporter": exporter(protocol)}), settings)})
}

/// A mesh whose receiver is the cluster `collector` (HTTP/2), and a second receiver, `collector-http` (HTTP/1.1).
pub(crate) struct Backend {
    pub(crate) mesh: Mesh,
    pub(crate) http: Receiver,
}

impl Backend {
    pub(crate) fn start(
        envoy: &meshspan_kit::envoy::EnvoyBinary,
        options: &Options,
        listeners: &[(&str, Value)],
    ) -> Self {
        let http = Receiver::start().unwrap();
        let mesh = Mesh::start_with(envoy, options, &with_http(&bootstrap(listeners), &http));
        Self { mesh, http }
    }

    pub(crate) fn receiver(&self, protocol: &str) -> &Receiver {
        if protocol == "grpc" { &self.mesh.receiver } else { &self.http }
    }

    /// Sends so many requests to a listener, which are all served, and gives their trace ids.
    pub(crate) fn requests(&self, listener: &str, count: usize) -> anyhow::Result<Vec<String>> {
        let mut connection = Connection::open(self.mesh.envoy.address(listener)?)?;
        (0..count)
            .map(|_| {
                let caller = Caller::new();
                let response = connection.request(&caller.get("/a"))?;
                ensure!(response.status == 200, "a caller was answered {}", response.status);
                Ok(caller.trace_id)
            })
            .collect()
    }

    pub(crate) fn books(&self) -> Books {
        Books::read(&self.mesh.samples())
    }

    /// Waits until the books tell of so many more spans than `before`, each of which is accounted for.
    pub(crate) fn settled(&self, before: &Books, spans: u64) -> anyhow::Result<Books> {
        wait::until(DEADLINE, "balanced books", || {
            let books = self.books().since(before);
            (books.started() == spans && books.accounted() == spans).then_some(())
        })
        // A reading is no snapshot: Envoy reads one series after the other while the filter updates them. Now they stand.
        .map(|()| self.books().since(before))
        .with_context(|| format!("the books: {:?}", self.books().since(before)))
    }
}

fn with_http(config: &EnvoyConfig, http: &Receiver) -> EnvoyConfig {
    config.clone().add_cluster("collector-http", http.address(), false)
}

/// The filter's counters, or what they grew by: each by its name between `meshspan_` and `_total`, summed over its
/// labels, and with the value of a `reason` or `code` behind it in braces.
#[derive(Clone, Debug)]
pub(crate) struct Books(pub(crate) BTreeMap<String, u64>);

impl Books {
    pub(crate) fn read(samples: &Samples) -> Self {
        let mut counts = BTreeMap::new();
        for sample in &samples.0 {
            let name = sample.name.strip_prefix("meshspan_").and_then(|name| name.strip_suffix("_total"));
            let Some(name) = name else { continue };
            let mut count = |key: String| *counts.entry(key).or_insert(0) += sample.count();
            count(name.to_owned());
            for label in ["reason", "answer"].iter().filter_map(|label| sample.labels.get(*label)) {
                count(format!("{name}{{{label}}}"));
            }
        }
        Self(counts)
    }

    pub(crate) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Requests that were not answered with success.
    pub(crate) fn failed_requests(&self) -> u64 {
        self.get("export_requests") - self.get("export_requests{OK}") - self.get("export_requests{200}")
    }

    fn started(&self) -> u64 {
        self.get("spans_started")
    }

    /// Every way that a span may end.
    fn accounted(&self) -> u64 {
        self.get("export_exported") + self.get("export_dropped") + self.get("spans_dropped_no_log")
    }

    fn since(&self, before: &Self) -> Self {
        let grown = self.0.iter().map(|(name, count)| {
            let before = before.0.get(name).copied().unwrap_or(0);
            (name.clone(), count - before)
        });
        Self(grown.filter(|(_, count)| *count > 0).collect())
    }

    pub(crate) fn expect(&self, expected: &[(&str, u64)]) -> anyhow::Result<()> {
        for (name, count) in expected {
            let found = if *name == "failed_requests" { self.failed_requests() } else { self.get(name) };
            ensure!(found == *count, "{name} is {found}, not {count}: {:?}", self.0);
        }
        Ok(())
    }
}

pub(crate) fn ids(spans: &[ReceivedSpan]) -> Vec<String> {
    spans.iter().map(ReceivedSpan::trace_id).collect()
}

#[test]
fn every_protocol_carries_the_same_spans() {
    let listeners = PROTOCOLS.map(|protocol| exporting(protocol, &[batch(protocol, json!({"schedule_delay": 100}))]));
    each_envoy(&[1], |envoy, _| {
        let backend = Backend::start(envoy, &Options::default(), &listeners);
        let table = Table::default();
        let mut spans = Vec::new();
        for (protocol, kind, version, path, content_type, authority) in [
            (
                "grpc",
                Protocol::Grpc,
                "HTTP/2.0",
                "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                "application/grpc",
                "collector:4317",
            ),
            (
                "protobuf",
                Protocol::HttpProtobuf,
                "HTTP/1.1",
                "/v1/traces",
                "application/x-protobuf",
                "collector-http:4318",
            ),
            ("json", Protocol::HttpJson, "HTTP/1.1", "/v1/traces", "application/json", "collector-http:4318"),
        ] {
            table.case(protocol, || {
                let caller = Caller::new();
                let request = caller.get("/a?q=%C3%A4").header("user-agent", "a\"b\\c\u{e4}");
                request.send(backend.mesh.envoy.address(protocol)?)?;
                spans.push(caller.span(backend.receiver(protocol))?);
                let requests = backend.receiver(protocol).requests();
                let request = requests.last().context("a request")?;
                ensure!(request.protocol == kind && request.http_version == version, "{request:?}");
                ensure!(request.path == path, "{}", request.path);
                for (name, value) in [("content-type", content_type), ("x-tenant", "blue"), ("x-key", "a b")] {
                    ensure!(request.header(name) == Some(value), "{name} is {:?}", request.header(name));
                }
                let host = request.header(":authority").or_else(|| request.header("host"));
                ensure!(host == Some(authority), "the authority is {host:?}");
                let agent = request.header("user-agent").unwrap_or_default();
                ensure!(agent.starts_with("OTel-OTLP-Exporter-meshspan/"), "the user agent is {agent:?}");
                let tenants = request.headers.iter().filter(|(name, _)| name == "x-tenant").count();
                ensure!(tenants == 1, "x-tenant stands {tenants} times");
                Ok(())
            });
        }
        table.case("the same in all", || {
            let comparable: Vec<Value> = spans.iter().map(comparable).collect();
            ensure!(comparable.windows(2).all(|pair| pair[0] == pair[1]), "{comparable:#?}");
            expect(&spans[0], &json!({"attributes": {"user_agent.original": "a\"b\\c\u{e4}", "url.query": "q=%C3%A4"}}))
        });
        table.case("the books balance", || {
            let books = backend.settled(&Books(BTreeMap::new()), 3)?;
            books.expect(&[("export_exported", 3), ("export_requests", 3), ("failed_requests", 0)])
        });
        table.finish(&backend.mesh);
        backend.mesh.stop();
    });
}

#[test]
fn gzip_is_understood_by_a_backend() {
    let compressing = |protocol: &str| {
        let mut exporter = exporter(protocol);
        let channel = if protocol == "grpc" { "otlp_grpc" } else { "otlp_http" };
        exporter[channel]["compression"] = json!("gzip");
        json!({"batch": {"schedule_delay": NEVER, "max_export_batch_size": 10, "exporter": exporter}})
    };
    let listeners = PROTOCOLS.map(|protocol| exporting(protocol, &[compressing(protocol)]));
    each_envoy(&[1], |envoy, _| {
        let backend = Backend::start(envoy, &Options::default(), &listeners);
        let table = Table::default();
        for (protocol, name) in
            [("grpc", "grpc-encoding"), ("protobuf", "content-encoding"), ("json", "content-encoding")]
        {
            table.case(protocol, || {
                let sent = backend.requests(protocol, 10)?;
                backend.receiver(protocol).wait_for(DEADLINE, |spans| ids(spans).ends_with(&sent).then_some(()))?;
                let requests = backend.receiver(protocol).requests();
                let request = requests.last().context("a request")?;
                ensure!(request.header(name) == Some("gzip"), "{name} is {:?}", request.header(name));
                Ok(())
            });
        }
        table.case("the books balance", || {
            let books = backend.settled(&Books(BTreeMap::new()), 30)?;
            let (before, after) = (books.get("export_uncompressed_bytes"), books.get("export_compressed_bytes"));
            ensure!(after > 0 && after < before / 3, "{before} bytes became {after}");
            let receivers = [&backend.mesh.receiver, &backend.http];
            let wire: usize = receivers.iter().flat_map(|receiver| receiver.requests()).map(|r| r.wire_size).sum();
            ensure!(after == wire as u64, "{after} bytes are counted, {wire} arrived");
            books.expect(&[("export_exported", 30), ("failed_requests", 0)])
        });
        table.finish(&backend.mesh);
        backend.mesh.stop();
    });
}

/// A span without what differs from request to request.
fn comparable(span: &ReceivedSpan) -> Value {
    let mut json = span.to_json();
    let object = json.as_object_mut().unwrap();
    for key in ["trace_id", "span_id", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano", "protocol"] {
        object.remove(key);
    }
    let attributes = object["attributes"].as_object_mut().unwrap();
    for key in ["client.port", "network.peer.port", "envoy.upstream.duration", "envoy.upstream.first_byte.duration"] {
        assert!(attributes.remove(key).is_some(), "{key}");
    }
    json
}

#[test]
fn batches_have_their_size_and_leave_when_full_or_due() {
    let failing = json!({"otlp_grpc": {"endpoint": "http://collector-failing:4317"}});
    let listeners = [
        exporting("full", &[batch("grpc", json!({"schedule_delay": NEVER, "max_export_batch_size": 5}))]),
        exporting("due", &[batch("grpc", json!({"schedule_delay": 200}))]),
        exporting("simple", &[json!({"simple": {"exporter": exporter("grpc")}})]),
        exporting(
            "two",
            &[batch("grpc", json!({"schedule_delay": 100})), batch("json", json!({"schedule_delay": 100}))],
        ),
        exporting(
            "one-fails",
            &[
                batch("grpc", json!({"schedule_delay": 100})),
                json!({"batch": {"schedule_delay": 100, "exporter": failing}}),
            ],
        ),
    ];
    each_envoy(&[1], |envoy, _| {
        let failing = Receiver::start().unwrap();
        failing.set_default(Behaviour::grpc_status(14, "try later"));
        let http = Receiver::start().unwrap();
        let config = with_http(&bootstrap(&listeners), &http).add_cluster("collector-failing", failing.address(), true);
        let backend = Backend { mesh: Mesh::start_with(envoy, &Options::default(), &config), http };
        let table = Table::default();
        let receiver = &backend.mesh.receiver;
        table.case("a full batch leaves at once, one that is not full waits", || {
            let sent = backend.requests("full", 13)?;
            let requests = requests_with(receiver, 10)?;
            ensure!(requests.iter().map(|r| r.spans().len()).collect::<Vec<_>>() == [5, 5], "{}", requests.len());
            ensure!(ids(&receiver.spans()) == sent[..10], "the oldest first, in order");
            Ok(())
        });
        receiver.clear();
        table.case("a batch that is due leaves, however small", || {
            let began = Instant::now();
            let sent = backend.requests("due", 20)?;
            let requests = requests_with(receiver, 20)?;
            ensure!(ids(&receiver.spans()) == sent, "all, in order");
            let most = began.elapsed().as_millis() / 200 + 2;
            ensure!(requests.len() as u128 <= most, "{} requests, which is no batching", requests.len());
            Ok(())
        });
        receiver.clear();
        table.case("simple: a request for each span", || {
            let sent = backend.requests("simple", 4)?;
            let requests = requests_with(receiver, 4)?;
            ensure!(requests.iter().all(|request| request.spans().len() == 1), "more than one span in a request");
            ensure!(ids(&receiver.spans()) == sent, "all, in order");
            Ok(())
        });
        receiver.clear();
        table.case("two processors: the same spans to both", || {
            let sent = backend.requests("two", 5)?;
            receiver.wait_for_spans(5, DEADLINE)?;
            backend.http.wait_for_spans(5, DEADLINE)?;
            ensure!(ids(&receiver.spans()) == sent && ids(&backend.http.spans()) == sent, "all, in order, at both");
            let span_ids = |receiver: &Receiver| receiver.spans().iter().map(ReceivedSpan::span_id).collect::<Vec<_>>();
            ensure!(span_ids(receiver) == span_ids(&backend.http), "the very same spans");
            Ok(())
        });
        receiver.clear();
        table.case("two processors: a backend that fails does the other no harm", || {
            // All of the cases before: 3 wait in the listener `full`, and `two` accounts for each of its 5 twice.
            let before = wait::until(DEADLINE, "the books of the cases before", || {
                let books = backend.books();
                (books.started() == 42 && books.accounted() == 44).then_some(books)
            })?;
            let sent = backend.requests("one-fails", 5)?;
            receiver.wait_for_spans(5, DEADLINE)?;
            ensure!(ids(&receiver.spans()) == sent, "all, in order");
            // Two processors, so each span is accounted for twice.
            wait::until(DEADLINE, "the books", || (backend.books().since(&before).accounted() == 10).then_some(()))?;
            backend.books().since(&before).expect(&[
                ("spans_started", 5),
                ("export_exported", 5),
                ("export_dropped", 5),
            ])
        });
        table.finish(&backend.mesh);
        backend.mesh.stop();
    });
}

/// Waits for requests with so many spans in all, and gives them.
fn requests_with(receiver: &Receiver, spans: usize) -> anyhow::Result<Vec<ReceivedRequest>> {
    receiver.wait_for_requests(DEADLINE, |requests| {
        let count: usize = requests.iter().map(|request| request.spans().len()).sum();
        (count >= spans).then(|| requests.to_vec())
    })
}

#[test]
fn a_backend_that_fails_costs_its_spans_and_nothing_else() {
    let listeners = PROTOCOLS.map(|protocol| exporting(protocol, &[batch(protocol, json!({"schedule_delay": 100}))]));
    each_envoy(&[1], |envoy, _| {
        let backend = Backend::start(envoy, &Options::default(), &listeners);
        let began = Instant::now();
        let table = Table::default();
        for protocol in PROTOCOLS {
            for (why, behaviour, expected) in failures(protocol) {
                table.case(&format!("{protocol}: {why}"), || {
                    let receiver = backend.receiver(protocol);
                    receiver.clear();
                    receiver.set_default(behaviour);
                    let before = backend.books();
                    backend.requests(protocol, 3)?;
                    let books = backend.settled(&before, 3)?;
                    books.expect(&expected)?;
                    ensure!(books.get("export_requests") >= 1, "{books:?}");

                    receiver.set_default(Behaviour::Ok);
                    let sent = backend.requests(protocol, 1)?;
                    receiver.wait_for(DEADLINE, |spans| ids(spans).contains(&sent[0]).then_some(()))?;
                    backend.settled(&before, 4)?;
                    Ok(())
                });
            }
            table.case(&format!("{protocol}: partial success"), || partial_success(&backend, protocol));
        }
        table.case("the log tells of the first failure and of the recovery", || {
            let log = backend.mesh.envoy.log();
            for text in ["HTTP status 503", "works again"] {
                ensure!(log.contains(text), "no {text:?}");
            }
            let lines = log.lines().filter(|line| line.contains("meshspan: export")).count();
            // Four a listener, and one more every 15 seconds, though each of the cases failed and recovered.
            let most = PROTOCOLS.len() * (4 + usize::try_from(began.elapsed().as_secs() / 15)? + 1);
            ensure!(lines <= most, "{lines} lines: {log}");
            Ok(())
        });
        table.finish(&backend.mesh);
        backend.mesh.stop();
    });
}

type Expected = Vec<(&'static str, u64)>;

fn failures(protocol: &str) -> Vec<(&'static str, Behaviour, Expected)> {
    let lost: Expected = vec![("export_dropped", 3), ("export_exported", 0)];
    let garbage = |content_type: &str| Behaviour::RawBody {
        content_type: content_type.to_owned(),
        body: b"<html>\xff\x00\x01</html>".to_vec(),
    };
    let mut failures = vec![
        ("503", Behaviour::http_status(503), lost.clone()),
        ("400", Behaviour::http_status(400), lost.clone()),
        ("the connection is reset", Behaviour::Reset, lost.clone()),
        ("no answer", Behaviour::Hang, lost.clone()),
        ("an answer that comes too late", Behaviour::Delay(Duration::from_secs(2), Box::default()), lost.clone()),
    ];
    if protocol == "grpc" {
        failures.extend([
            ("UNAVAILABLE", Behaviour::grpc_status(14, "try later"), lost.clone()),
            ("UNAUTHENTICATED, with text of any kind", Behaviour::grpc_status(16, "a\r\nb\u{0}ä%"), lost.clone()),
            ("an answer that is no gRPC", garbage("text/html"), lost.clone()),
            ("an answer without a status", garbage("application/grpc"), lost),
        ]);
    } else {
        // 200 is success, whatever stands in its body (OTLP/HTTP); that it could not be read is counted.
        let kind = if protocol == "json" { "application/json" } else { "application/x-protobuf" };
        failures.push(("success with a body that is none", garbage(kind), vec![("export_exported", 3)]));
    }
    failures
}

fn partial_success(backend: &Backend, protocol: &str) -> anyhow::Result<()> {
    let receiver = backend.receiver(protocol);
    let before = backend.books();
    receiver.set_default(Behaviour::PartialSuccess { rejected: 1, message: "too old".to_owned() });
    receiver.clear();
    backend.requests(protocol, 3)?;
    let books = backend.settled(&before, 3)?;
    receiver.set_default(Behaviour::Ok);
    let requests = u64::try_from(receiver.requests().len())?;
    books.expect(&[
        ("export_dropped{rejected}", requests),
        ("export_exported", 3 - requests),
        ("failed_requests", 0),
        ("export_responses_malformed", 0),
    ])
}

#[test]
fn a_full_queue_drops_the_newest() {
    // The first batch of two hangs for this long; four wait behind it.
    let timeout = 3_000;
    let processor = json!({"batch": {
        "schedule_delay": NEVER, "max_queue_size": 4, "max_export_batch_size": 2,
        "exporter": {"otlp_grpc": {"endpoint": "http://collector:4317", "timeout": timeout}},
    }});
    let listeners = [exporting("grpc", std::slice::from_ref(&processor))];
    each_envoy(&[1], |envoy, _| {
        let backend = Backend::start(envoy, &Options::default(), &listeners);
        let table = Table::default();
        table.case("what was there first is kept", || {
            let receiver = &backend.mesh.receiver;
            receiver.script([Behaviour::Hang]);
            backend.requests("grpc", 2)?;
            requests_with(receiver, 2)?;
            let sent = backend.requests("grpc", 20)?;
            let books = backend.settled(&Books(BTreeMap::new()), 22)?;
            books.expect(&[
                ("export_dropped{expired}", 2),
                ("export_exported", 4),
                ("export_dropped{queue_full}", 16),
            ])?;
            ensure!(ids(&receiver.spans()) == sent[..4], "the oldest four");
            Ok(())
        });
        table.finish(&backend.mesh);
        backend.mesh.stop();
    });
}

#[test]
fn a_cluster_that_does_not_exist_is_told_once() {
    let exporter = json!({"otlp_grpc": {"endpoint": "http://no-such-collector:4317"}});
    let listeners = [exporting("nowhere", &[json!({"simple": {"exporter": exporter}})])];
    each_envoy(&[1, 2], |envoy, concurrency| {
        let backend = Backend::start(envoy, &Options { concurrency, ..Options::default() }, &listeners);
        let table = Table::default();
        table.case("counted each time, logged once a worker", || {
            for count in [1, 5, 10] {
                let before = backend.books();
                for _ in 0..count {
                    backend.requests("nowhere", 1)?;
                }
                let books = backend.settled(&before, count)?;
                books.expect(&[("export_dropped{no_cluster}", count), ("export_exported", 0)])?;
            }
            let log = backend.mesh.envoy.log();
            let lines: Vec<_> = log.lines().filter(|line| line.contains("no-such-collector")).collect();
            ensure!((1..=concurrency as usize).contains(&lines.len()), "{lines:#?}");
            ensure!(lines[0].contains("distribution.meshspan.clusters"), "no way out in {:?}", lines[0]);
            Ok(())
        });
        table.finish(&backend.mesh);
        backend.mesh.stop();
    });
}

#[test]
fn export_goes_on_when_the_backend_comes_back() {
    let exporter = json!({"otlp_grpc": {"endpoint": "http://collector-of-old:4317", "timeout": 1000}});
    let listeners = [exporting("grpc", &[json!({"batch": {"schedule_delay": 100, "exporter": exporter}})])];
    each_envoy(&[1], |envoy, _| {
        let first = Receiver::start().unwrap();
        let address = first.address();
        let config = bootstrap(&listeners).add_cluster("collector-of-old", address, true);
        let http = Receiver::start().unwrap();
        let backend = Backend { mesh: Mesh::start_with(envoy, &Options::default(), &config), http };
        let table = Table::default();
        table.case("there, gone, there again", || {
            backend.requests("grpc", 2)?;
            first.wait_for_spans(2, DEADLINE)?;
            let before = backend.settled(&Books(BTreeMap::new()), 2)?;
            drop(first);
            backend.requests("grpc", 3)?;
            let books = backend.settled(&before, 3)?;
            books.expect(&[("export_dropped", 3)])?;
            let again = wait::until(DEADLINE, "the port again", || Receiver::start_at(address).ok())?;
            let sent = backend.requests("grpc", 4)?;
            let spans = again.wait_for_spans(4, DEADLINE)?;
            ensure!(ids(&spans) == sent, "all four");
            backend.mesh.envoy.wait_for_log("works again", DEADLINE)?;
            Ok(())
        });
        table.finish(&backend.mesh);
        backend.mesh.stop();
    });
}

#[test]
fn every_span_arrives_once_from_several_workers() {
    let settings = json!({"schedule_delay": 100, "max_export_batch_size": 16});
    let listeners = PROTOCOLS.map(|protocol| exporting(protocol, &[batch(protocol, settings.clone())]));
    each_envoy(&[2], |envoy, concurrency| {
        let backend = Backend::start(envoy, &Options { concurrency, ..Options::default() }, &listeners);
        let table = Table::default();
        for protocol in PROTOCOLS {
            table.case(protocol, || {
                let before = backend.books();
                let receiver = backend.receiver(protocol);
                receiver.clear();
                let mut sent = std::thread::scope(|scope| {
                    let clients: Vec<_> = (0..8).map(|_| scope.spawn(|| backend.requests(protocol, 25))).collect();
                    let ids = clients.into_iter().map(|client| client.join().unwrap());
                    ids.collect::<anyhow::Result<Vec<_>>>().map(|ids| ids.concat())
                })?;
                let books = backend.settled(&before, 200)?;
                books.expect(&[("export_exported", 200), ("failed_requests", 0), ("streams", 200)])?;
                let spans = receiver.spans();
                let mut arrived = ids(&spans);
                sent.sort_unstable();
                arrived.sort_unstable();
                ensure!(arrived == sent, "{} spans of {}", arrived.len(), sent.len());
                let span_ids: BTreeSet<_> = spans.iter().map(ReceivedSpan::span_id).collect();
                ensure!(span_ids.len() == 200, "two spans have the same id");
                let largest = receiver.requests().iter().map(|request| request.spans().len()).max();
                ensure!(largest <= Some(16), "a batch of {largest:?}");
                Ok(())
            });
        }
        table.finish(&backend.mesh);
        backend.mesh.stop();
    });
}

#[test]
fn what_is_queued_leaves_with_its_listener() {
    let listener = |service: &str| {
        let processors = json!([batch("grpc", json!({"schedule_delay": NEVER}))]);
        ("grpc", service_with(service, json!({"tracer_provider": {"processors": processors}})))
    };
    // Envoy's counters for a module go when its last listener goes.
    let other = exporting("other", &[batch("grpc", json!({"schedule_delay": NEVER}))]);
    each_envoy(&[1, 2], |envoy, concurrency| {
        let options = Options { concurrency, listeners_by_file: true, ..Options::default() };
        let backend = Backend::start(envoy, &options, &[listener("old"), other.clone()]);
        let table = Table::default();
        let receiver = &backend.mesh.receiver;
        let update = |listeners: &[(&str, Value)]| {
            let config = with_http(&bootstrap(listeners), &backend.http);
            backend.mesh.envoy.update_listeners(&backend.mesh.addressed(&config))
        };
        table.case("a listener that is changed", || {
            let mut sent = Vec::new();
            for _ in 0..6 {
                sent.extend(backend.requests("grpc", 1)?);
            }
            ensure!(receiver.requests().is_empty(), "they wait");
            ensure!(update(&[listener("new"), other.clone()])? == Update::Accepted, "the update is refused");
            arrived(receiver, "old", &sent)
        });
        table.case("a listener that is removed", || {
            let mut sent = Vec::new();
            for _ in 0..6 {
                sent.extend(backend.requests("grpc", 1)?);
            }
            ensure!(update(std::slice::from_ref(&other))? == Update::Accepted, "the update is refused");
            arrived(receiver, "new", &sent)
        });
        table.case("nothing was lost", || {
            let books = backend.settled(&Books(BTreeMap::new()), 12)?;
            books.expect(&[("export_exported", 12), ("export_dropped{shutdown}", 0)])
        });
        table.finish(&backend.mesh);
        backend.mesh.stop();
    });
}

#[test]
fn a_listener_goes_though_its_backend_hangs() {
    let patient = json!({"otlp_grpc": {"endpoint": "http://collector:4317", "timeout": 60_000}});
    let listener = exporting("grpc", &[json!({"batch": {"schedule_delay": NEVER, "exporter": patient}})]);
    let other = exporting("other", &[batch("grpc", json!({"schedule_delay": NEVER}))]);
    each_envoy(&[1], |envoy, _| {
        let options = Options { listeners_by_file: true, ..Options::default() };
        let backend = Backend::start(envoy, &options, &[listener.clone(), other.clone()]);
        let table = Table::default();
        table.case("what cannot be told to anybody is counted", || {
            backend.mesh.receiver.set_default(Behaviour::Hang);
            backend.requests("grpc", 3)?;
            let config = with_http(&bootstrap(std::slice::from_ref(&other)), &backend.http);
            let update = backend.mesh.envoy.update_listeners(&backend.mesh.addressed(&config))?;
            ensure!(update == Update::Accepted, "the update is refused");
            requests_with(&backend.mesh.receiver, 3)?;
            let books = backend.settled(&Books(BTreeMap::new()), 3)?;
            books.expect(&[("export_dropped{shutdown}", 3), ("export_exported", 0)])
        });
        table.finish(&backend.mesh);
        backend.mesh.stop();
    });
}

/// Waits for the spans of these traces, once each, from this service.
fn arrived(receiver: &Receiver, service: &str, sent: &[String]) -> anyhow::Result<()> {
    let spans = receiver.wait_for(DEADLINE, |spans| {
        let own: Vec<_> = spans.iter().filter(|span| span.service() == service).cloned().collect();
        (own.len() >= sent.len()).then_some(own)
    })?;
    let (mut found, mut sent) = (ids(&spans), sent.to_vec());
    found.sort_unstable();
    sent.sort_unstable();
    ensure!(found == sent, "{found:?} and not {sent:?}");
    Ok(())
}
