//! How streams end: each end as the response's code, the span's status and `error.type` (semantic conventions, "HTTP
//! spans": an error from 500 on at a server, from 400 on at a client), what Envoy says about it, and the times.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use meshspan_e2e::{DEADLINE, Mesh, bootstrap, each_envoy};
use meshspan_kit::axum::body::Bytes;
use meshspan_kit::axum::http::{self, HeaderMap, StatusCode};
use meshspan_kit::axum::{Router, routing};
use meshspan_kit::client::{Connection, Http2Client, Request};
use meshspan_kit::config::EnvoyConfig;
use meshspan_kit::envoy::Options;
use meshspan_kit::receiver::ReceivedSpan;
use meshspan_kit::service::{RawUpstream, Refusing, Service, Step};
use meshspan_kit::wait;
use serde_json::{Value, json};

use crate::support::{
    Caller, Table, add_filter_after, add_first_filter, assert_all_arrived_once, expect, now, service, set_direction,
    with,
};

/// No `error.type`.
const ALL_WELL: Option<&str> = None;

/// How long a service takes where a case waits for it.
const PAUSE: Duration = Duration::from_millis(400);

/// Both ends of one exchange, seen from both kinds of span.
struct Ending {
    why: &'static str,
    run: fn(SocketAddr, &Caller, &Stage) -> anyhow::Result<()>,
    /// The least that the span must have lasted.
    lasts: Duration,
    /// Attributes of both spans.
    both: Value,
    /// `error.type` of a server span; `None`: the status stays unset.
    server: Option<&'static str>,
    /// `error.type` of a client span.
    client: Option<&'static str>,
}

#[test]
fn a_span_says_how_its_stream_ended() {
    each_envoy(&[1, 2], |envoy, concurrency| {
        let stage = Stage::start(envoy, concurrency);
        let table = Table::default();
        let endings = endings();
        std::thread::scope(|scope| {
            for ending in &endings {
                for listener in ["server", "client"] {
                    let (table, stage) = (&table, &stage);
                    scope.spawn(move || {
                        table.case(&format!("{} ({listener})", ending.why), || check(stage, listener, ending));
                    });
                }
            }
        });
        table.finish(&stage.mesh);
        let counters = stage.mesh.counters();
        assert_eq!(counters.get("meshspan_streams_log_only_total"), None, "all came through the filter: {counters:?}");
        assert_all_arrived_once(&stage.mesh);
        stage.mesh.stop();
    });
}

fn check(stage: &Stage, listener: &str, ending: &Ending) -> anyhow::Result<()> {
    let caller = Caller::new();
    let began = Instant::now();
    (ending.run)(stage.mesh.envoy.address(listener)?, &caller, stage)?;
    let span = caller.span(&stage.mesh.receiver)?;
    expect(&span, &ending.expected(listener))?;
    let (lasted, window) = (span.duration(), began.elapsed());
    ensure!(lasted >= ending.lasts && lasted <= window, "it lasts {lasted:?} of {window:?}, not {:?}", ending.lasts);
    Ok(())
}

impl Ending {
    fn expected(&self, listener: &str) -> Value {
        let (kind, error) = if listener == "server" { ("SERVER", self.server) } else { ("CLIENT", self.client) };
        let status = if error.is_some() { "ERROR" } else { "UNSET" };
        with(
            json!({"kind": kind, "status": status, "attributes": self.both}),
            json!({"attributes": {"error.type": error, "http.request.resend_count": self.resends(listener)}}),
        )
    }
}

impl Ending {
    /// How often a client span's request was sent again; a server's was received once.
    fn resends(&self, listener: &str) -> Option<u64> {
        let attempts = self.both["envoy.upstream.attempt_count"].as_u64().filter(|count| *count > 1);
        attempts.filter(|_| listener == "client").map(|count| count - 1)
    }
}

/// The attributes that tell of an end. `Value::Null`: absent.
fn end(code: impl Into<Value>, flags: &[&str], details: impl Into<Value>, attempts: impl Into<Value>) -> Value {
    let flags = if flags.is_empty() { Value::Null } else { json!(flags) };
    json!({
        "http.response.status_code": code.into(),
        "envoy.response_flags": flags,
        "envoy.response_code_details": details.into(),
        "envoy.upstream.attempt_count": attempts.into(),
    })
}

/// Sends a GET and expects this status.
fn get(address: SocketAddr, caller: &Caller, path: &str, status: u16) -> anyhow::Result<()> {
    let response = caller.get(path).send(address)?;
    ensure!(response.status == status, "answered {}", response.status);
    Ok(())
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn endings() -> Vec<Ending> {
    let ending = |why, run, both, server, client| Ending { why, run, lasts: Duration::ZERO, both, server, client };
    let begins = |text: &str| json!({"begins": text});
    vec![
        ending(
            "200",
            |to, caller, _| get(to, caller, "/status/200", 200),
            end(200, &[], "via_upstream", 1),
            ALL_WELL,
            ALL_WELL,
        ),
        ending(
            "304",
            |to, caller, _| get(to, caller, "/status/304", 304),
            end(304, &[], "via_upstream", 1),
            ALL_WELL,
            ALL_WELL,
        ),
        ending(
            "404 of the service: the client's error, none of the server's",
            |to, caller, _| get(to, caller, "/status/404", 404),
            end(404, &[], "via_upstream", 1),
            ALL_WELL,
            Some("404"),
        ),
        ending(
            "503 of the service",
            |to, caller, _| get(to, caller, "/status/503", 503),
            end(503, &[], "via_upstream", 1),
            Some("503"),
            Some("503"),
        ),
        ending(
            "a direct response",
            |to, caller, _| get(to, caller, "/direct/200", 200),
            with(
                end(200, &[], "direct_response", Value::Null),
                json!({"envoy.upstream.cluster": null, "envoy.upstream.host": null}),
            ),
            ALL_WELL,
            ALL_WELL,
        ),
        ending(
            "a direct response that refuses",
            |to, caller, _| get(to, caller, "/direct/403", 403),
            end(403, &[], "direct_response", Value::Null),
            ALL_WELL,
            Some("403"),
        ),
        ending(
            "no route",
            |to, caller, _| get(to, caller, "/nowhere", 404),
            with(end(404, &["NR"], "route_not_found", Value::Null), json!({"envoy.route.name": null})),
            ALL_WELL,
            Some("404"),
        ),
        ending(
            "a route to a cluster that is not there",
            |to, caller, _| get(to, caller, "/no-cluster", 503),
            end(503, &["NC"], "cluster_not_found", Value::Null),
            Some("503"),
            Some("503"),
        ),
        ending(
            "no healthy upstream",
            |to, caller, _| get(to, caller, "/no-host", 503),
            with(
                end(503, &["UH"], "no_healthy_upstream", 1),
                json!({"envoy.upstream.cluster": "empty", "envoy.upstream.host": null}),
            ),
            Some("503"),
            Some("503"),
        ),
        ending(
            "an upstream that refuses the connection",
            |to, caller, _| get(to, caller, "/refused", 503),
            with(
                end(503, &["UF"], begins("upstream_reset_before_response_started{remote_connection_failure"), 1),
                json!({"envoy.upstream.cluster": "refused", "envoy.upstream.host": begins("127.0.0.1:")}),
            ),
            Some("503"),
            Some("503"),
        ),
        ending(
            "retries that all fail",
            |to, caller, _| get(to, caller, "/refused-retried", 503),
            end(503, &["UF", "URX"], begins("upstream_reset_before_response_started{remote_connection_failure"), 3),
            Some("503"),
            Some("503"),
        ),
        ending(
            "a retry that succeeds",
            |to, caller, _| get(to, caller, "/second-time", 200),
            end(200, &[], "via_upstream", 2),
            ALL_WELL,
            ALL_WELL,
        ),
        ending(
            "an upstream that closes before it answers",
            |to, caller, _| get(to, caller, "/closed", 503),
            end(503, &["UC"], "upstream_reset_before_response_started{connection_termination}", 1),
            Some("503"),
            Some("503"),
        ),
        ending(
            "an upstream that breaks off within the body",
            |to, caller, _| {
                let response = caller.get("/reset").send(to)?;
                ensure!(response.status == 200 && response.truncated, "{response:?}");
                Ok(())
            },
            end(200, &["UPE"], begins("upstream_reset_after_response_started{"), 1),
            Some("UpstreamProtocolError"),
            Some("UpstreamProtocolError"),
        ),
        Ending {
            // Envoy's timers are a little early or late.
            lasts: Duration::from_millis(150),
            ..ending(
                "the route's timeout",
                |to, caller, _| get(to, caller, "/hang", 504),
                end(504, &["UT"], "response_timeout", 1),
                Some("504"),
                Some("504"),
            )
        },
        Ending {
            lasts: PAUSE,
            ..ending(
                "an answer that takes its time",
                |to, caller, _| get(to, caller, &format!("/slow?ms={}", PAUSE.as_millis()), 200),
                with(
                    end(200, &[], "via_upstream", 1),
                    json!({"envoy.upstream.first_byte.duration": {"kind": "double"}}),
                ),
                ALL_WELL,
                ALL_WELL,
            )
        },
        Ending {
            lasts: Duration::from_secs(2),
            ..ending(
                "a body that streams on",
                |to, caller, _| {
                    let response = caller.get("/stream?chunks=20&ms=105&bytes=1000").send(to)?;
                    ensure!(response.status == 200 && response.body.len() == 20_000, "{}", response.body.len());
                    Ok(())
                },
                with(end(200, &[], "via_upstream", 1), json!({"http.response.body.size": 20_000})),
                ALL_WELL,
                ALL_WELL,
            )
        },
        ending(
            "a client that leaves before the response",
            |to, caller, stage| {
                let mut connection = Connection::open(to)?;
                connection.write(&caller.get("/slow?ms=30000").bytes())?;
                wait::until(DEADLINE, "the request at the service", || {
                    stage.mesh.service.requests().iter().find(|head| {
                        head.header("traceparent").is_some_and(|value| value.contains(&caller.trace_id))
                    })?;
                    Some(())
                })?;
                connection.abort();
                Ok(())
            },
            end(Value::Null, &["DC"], "downstream_remote_disconnect", 1),
            Some("DownstreamConnectionTermination"),
            Some("DownstreamConnectionTermination"),
        ),
        ending(
            "a client that leaves within the response",
            |to, caller, _| {
                let mut connection = Connection::open(to)?;
                connection.write(&caller.get("/stream?chunks=1000&ms=50&bytes=10").bytes())?;
                ensure!(connection.read_head()?.status == 200, "the head");
                connection.abort();
                Ok(())
            },
            end(200, &["DC"], "downstream_remote_disconnect", 1),
            Some("DownstreamConnectionTermination"),
            Some("DownstreamConnectionTermination"),
        ),
        ending(
            "a client that leaves within its request",
            |to, caller, _| {
                let mut connection = Connection::open(to)?;
                let request = caller.request(Request::new("POST", "/consume")).header("content-length", "100");
                connection.write(&[&request.bytes(), &b"abc"[..]].concat())?;
                connection.abort();
                Ok(())
            },
            end(Value::Null, &["DC"], "downstream_remote_disconnect", 1),
            Some("DownstreamConnectionTermination"),
            Some("DownstreamConnectionTermination"),
        ),
        ending(
            "103 Early Hints before the response",
            |to, caller, _| get(to, caller, "/hints", 200),
            end(200, &[], "via_upstream", 1),
            ALL_WELL,
            ALL_WELL,
        ),
        ending(
            "100 Continue before the request's body",
            |to, caller, _| {
                let mut connection = Connection::open(to)?;
                let request = caller.request(Request::new("POST", "/consume")).header("expect", "100-continue");
                connection.write(&request.header("content-length", "5").bytes())?;
                connection.write(b"12345")?;
                let response = connection.read_response(false)?;
                ensure!(response.status == 200 && response.interim == [100], "{response:?}");
                Ok(())
            },
            with(end(200, &[], "via_upstream", 1), json!({"http.request.body.size": 5})),
            ALL_WELL,
            ALL_WELL,
        ),
        ending(
            "HEAD, whose response has no body",
            |to, caller, _| {
                let response = caller.request(Request::new("HEAD", "/status/200")).send(to)?;
                ensure!(response.status == 200 && response.body.is_empty(), "{response:?}");
                Ok(())
            },
            with(
                end(200, &[], "via_upstream", 1),
                json!({"http.request.method": "HEAD", "http.response.body.size": 0}),
            ),
            ALL_WELL,
            ALL_WELL,
        ),
        ending(
            "a response with trailers",
            |to, caller, _| get(to, caller, "/trailers", 200),
            end(200, &[], "via_upstream", 1),
            ALL_WELL,
            ALL_WELL,
        ),
        Ending {
            lasts: PAUSE,
            ..ending(
                "a WebSocket: its span lasts as long as the tunnel",
                |to, caller, _| {
                    let mut connection = Connection::open(to)?;
                    let request = caller.get("/websocket").header("connection", "Upgrade");
                    connection.write(&request.header("upgrade", "websocket").bytes())?;
                    ensure!(connection.read_head()?.status == 101, "the head");
                    let opened = Instant::now();
                    while opened.elapsed() < PAUSE {
                        connection.write(b"hello")?;
                        ensure!(connection.read_bytes(5)? == b"hello", "the echo");
                    }
                    Ok(())
                },
                json!({"http.response.status_code": 101, "envoy.upstream.cluster": "upgrading"}),
                ALL_WELL,
                ALL_WELL,
            )
        },
        ending(
            "an upgrade that is refused by the service",
            |to, caller, _| {
                let request = caller.get("/status/400").header("connection", "Upgrade").header("upgrade", "websocket");
                ensure!(request.send(to)?.status == 400, "the status");
                Ok(())
            },
            json!({"http.response.status_code": 400}),
            ALL_WELL,
            Some("400"),
        ),
        ending(
            "HTTP/2 on both sides",
            |to, caller, _| http2(to, caller, "/h2/status/200", 200),
            with(end(200, &[], "via_upstream", 1), json!({"network.protocol.version": "2"})),
            ALL_WELL,
            ALL_WELL,
        ),
        ending(
            "HTTP/2 behind, HTTP/1.1 in front",
            |to, caller, _| get(to, caller, "/h2/status/500", 500),
            end(500, &[], "via_upstream", 1),
            Some("500"),
            Some("500"),
        ),
        ending(
            "an HTTP/2 stream that its client resets within the response",
            |to, caller, _| {
                let path = "/h2/stream?chunks=1000&ms=50&bytes=10";
                let request = http::Request::get(format!("http://{to}{path}"));
                let request = request.header("traceparent", caller.traceparent()).body(Bytes::new())?;
                let status = Http2Client::connect(to)?.send_and_cancel(request)?;
                ensure!(status == 200, "answered {status}");
                Ok(())
            },
            with(
                end(200, &[], Value::Null, 1),
                json!({"envoy.response_flags": ["DR"], "envoy.response_code_details": begins("")}),
            ),
            Some("DownstreamRemoteReset"),
            Some("DownstreamRemoteReset"),
        ),
    ]
}

fn http2(to: SocketAddr, caller: &Caller, path: &str, status: u16) -> anyhow::Result<()> {
    let response = Http2Client::connect(to)?.get(path, &[("traceparent", caller.traceparent().as_bytes())])?;
    ensure!(response.status == status, "answered {}", response.status);
    Ok(())
}

/// Streams of which the filter sees the end alone. Whoever began them, a span comes of each; where Envoy could read
/// the request, it is a child of the caller's.
#[test]
fn streams_that_end_before_the_filter_have_a_span_too() {
    each_envoy(&[1], |envoy, _| {
        let stage = Stage::start(envoy, 1);
        let mesh = &stage.mesh;
        let table = Table::default();
        let mut ends = 0;
        for (listener, status, details, flags) in
            [("fault", 429, "fault_filter_abort", json!(["FI"])), ("rbac", 403, "rbac_access_denied", Value::Null)]
        {
            ends += 1;
            table.case(&format!("a filter in front of ours answers: {listener}"), || {
                let caller = Caller::new();
                get(mesh.envoy.address(listener)?, &caller, "/users/7?sig=secret", status)?;
                let attributes = with(
                    end(status, &[], json!({"begins": details}), Value::Null),
                    json!({"envoy.response_flags": flags, "url.path": "/users/7", "url.query": "sig=REDACTED",
                           "http.request.method": "GET", "error.type": null}),
                );
                let expected = json!({"name": "GET", "kind": "SERVER", "status": "UNSET", "attributes": attributes});
                expect(&caller.span(&mesh.receiver)?, &expected)
            });
        }
        // The filter behind ours lets us see the head.
        for listener in ["buffer", "buffer-behind"] {
            ends += u64::from(listener == "buffer");
            table.case(&format!("a filter refuses the body: {listener}"), || {
                let caller = Caller::new();
                let request = caller.request(Request::new("POST", "/consume")).body(vec![b'x'; 5000]);
                let response = request.send(mesh.envoy.address(listener)?)?;
                ensure!(response.status == 413, "answered {}", response.status);
                let attributes = with(
                    end(413, &[], json!({"begins": "request_payload"}), Value::Null),
                    json!({"url.path": "/consume", "error.type": null}),
                );
                let expected = json!({"name": "POST", "kind": "SERVER", "status": "UNSET", "attributes": attributes});
                expect(&caller.span(&mesh.receiver)?, &expected)
            });
        }
        for (why, bytes, status, details) in unreadable() {
            ends += 1;
            table.case(why, || unreadable_case(mesh, &bytes, status, details));
        }
        table.finish(mesh);
        mesh.wait_for_counter("meshspan_streams_log_only_total", ends);
        mesh.wait_for_counter("meshspan_export_exported_total", ends + 1);
        assert_all_arrived_once(&stage.mesh);
        stage.mesh.stop();
    });
}

/// Requests that Envoy's codec or its checks refuse, as bytes.
fn unreadable() -> Vec<(&'static str, Vec<u8>, u16, &'static str)> {
    let mut many = b"GET /a HTTP/1.1\r\nhost: a\r\n".to_vec();
    for number in 0..150 {
        write!(many, "x-header-{number}: 1\r\n").unwrap();
    }
    many.extend_from_slice(b"\r\n");
    let long = format!("GET /a HTTP/1.1\r\nhost: a\r\nx-long: {}\r\n\r\n", "x".repeat(100_000)).into_bytes();
    vec![
        ("too many header lines", many, 431, "http1.too_many_headers"),
        ("header lines that are too long", long, 431, "http1.headers_too_large"),
        ("bytes that are no HTTP", b"\x16\x03\x01\x02 garbage\r\n\r\n".to_vec(), 400, "http1."),
        ("HTTP/1.0, which is not taken", b"GET /a HTTP/1.0\r\nhost: a\r\n\r\n".to_vec(), 426, "low_version"),
        ("no Host", b"GET /a HTTP/1.1\r\n\r\n".to_vec(), 400, "missing_host_header"),
    ]
}

fn unreadable_case(mesh: &Mesh, bytes: &[u8], status: u16, details: &str) -> anyhow::Result<()> {
    let before = now();
    let mut connection = Connection::open(mesh.envoy.address("server")?)?;
    connection.write(bytes)?;
    let response = connection.read_response(false)?;
    ensure!(response.status == status, "answered {}", response.status);
    let new = |span: &&ReceivedSpan| span.service() == "server" && span.span.start_time_unix_nano + 1_000 >= before;
    let span = mesh.receiver.wait_for(DEADLINE, |spans| spans.iter().find(new).cloned())?;
    ensure!(span.parent_id().is_none(), "a parent from nowhere: {span}");
    expect(
        &span,
        &json!({"kind": "SERVER", "status": "UNSET", "attributes": {
            "http.response.status_code": status,
            "envoy.response_code_details": {"begins": details},
            "error.type": null,
        }}),
    )
}

/// Envoy with every way to end at a path.
struct Stage {
    mesh: Mesh,
    _upstreams: Upstreams,
}

struct Upstreams {
    closing: RawUpstream,
    hints: RawUpstream,
    upgrading: RawUpstream,
    second_time: Service,
    http2: Service,
    refused: Refusing,
}

impl Stage {
    fn start(envoy: &meshspan_kit::envoy::EnvoyBinary, concurrency: u32) -> Self {
        let upstreams = Upstreams {
            closing: RawUpstream::following(vec![Step::Close]).unwrap(),
            hints: RawUpstream::early_hints().unwrap(),
            upgrading: RawUpstream::upgrading().unwrap(),
            second_time: Service::start_with(Router::new().fallback(routing::any(at_the_second_attempt))).unwrap(),
            http2: Service::start().unwrap(),
            refused: Refusing::bind().unwrap(),
        };
        let options = Options { concurrency, ..Options::default() };
        let mesh = Mesh::start_with(envoy, &options, &config(&upstreams));
        Self { mesh, _upstreams: upstreams }
    }
}

async fn at_the_second_attempt(headers: HeaderMap) -> StatusCode {
    let first = headers.get("x-envoy-attempt-count").is_none_or(|count| count == "1");
    if first { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

fn config(upstreams: &Upstreams) -> EnvoyConfig {
    let listeners = ["server", "client", "fault", "rbac", "buffer", "buffer-behind"].map(|name| (name, service(name)));
    let config = bootstrap(&listeners)
        .add_cluster("refused", upstreams.refused.address(), false)
        .add_cluster("empty", upstreams.refused.address(), false)
        .add_cluster("closing", upstreams.closing.address(), false)
        .add_cluster("hints", upstreams.hints.address(), false)
        .add_cluster("upgrading", upstreams.upgrading.address(), false)
        .add_cluster("second-time", upstreams.second_time.address(), false)
        .add_cluster("application-h2", upstreams.http2.address(), true);
    config
        .connection_managers(|listener, manager| {
            add_ways_to_end(manager);
            match listener {
                "buffer-behind" => add_filter_after(manager, buffer()),
                "fault" => add_first_filter(manager, fault()),
                "rbac" => add_first_filter(manager, rbac()),
                "buffer" => add_first_filter(manager, buffer()),
                _ => {}
            }
        })
        .change(|root| {
            set_direction(root, "client", "OUTBOUND");
            let clusters = root["static_resources"]["clusters"].as_array_mut().unwrap();
            for cluster in clusters.iter_mut().filter(|cluster| cluster["name"] == "empty") {
                cluster["load_assignment"]["endpoints"] = json!([]);
            }
        })
}

fn add_ways_to_end(manager: &mut Value) {
    manager["upgrade_configs"] = json!([{"upgrade_type": "websocket"}]);
    let host = &mut manager["route_config"]["virtual_hosts"][0];
    host["include_request_attempt_count"] = true.into();
    let to = |path: &str, cluster: &str, more: Value| {
        with(json!({"match": {"path": path}, "route": {"cluster": cluster}}), json!({"route": more}))
    };
    let application = |prefix: &str| json!({"match": {"prefix": prefix}, "route": {"cluster": "application"}});
    let retries = |on: &str| json!({"retry_policy": {"retry_on": on, "num_retries": 2}});
    host["routes"] = json!([
        {"match": {"path": "/direct/200"}, "direct_response": {"status": 200}},
        {"match": {"path": "/direct/403"}, "direct_response": {"status": 403}},
        to("/no-cluster", "no-such-cluster", json!({})),
        to("/no-host", "empty", json!({})),
        to("/refused", "refused", json!({})),
        to("/refused-retried", "refused", retries("connect-failure")),
        to("/second-time", "second-time", retries("5xx")),
        to("/closed", "closing", json!({})),
        to("/hints", "hints", json!({})),
        to("/websocket", "upgrading", json!({"timeout": "0s"})),
        {"match": {"path": "/hang"}, "route":
            {"cluster": "application", "timeout": "0.2s", "prefix_rewrite": "/slow?ms=30000"}},
        {"match": {"prefix": "/h2/"}, "route": {"cluster": "application-h2", "prefix_rewrite": "/"}},
        application("/status"), application("/slow"), application("/stream"), application("/reset"),
        application("/consume"), application("/trailers"), application("/users"),
    ]);
    // A cluster that does not exist is what one of the cases is about.
    manager["route_config"]["validate_clusters"] = false.into();
}

fn filter(name: &str, kind: &str, settings: Value) -> Value {
    let kind = format!("type.googleapis.com/envoy.extensions.filters.http.{kind}");
    json!({"name": name, "typed_config": with(json!({"@type": kind}), settings)})
}

fn buffer() -> Value {
    filter("envoy.filters.http.buffer", "buffer.v3.Buffer", json!({"max_request_bytes": 1000}))
}

fn fault() -> Value {
    let abort = json!({"http_status": 429, "percentage": {"numerator": 100}});
    filter("envoy.filters.http.fault", "fault.v3.HTTPFault", json!({"abort": abort}))
}

fn rbac() -> Value {
    // Rules without a policy let nobody in.
    filter("envoy.filters.http.rbac", "rbac.v3.RBAC", json!({"rules": {"action": "ALLOW", "policies": {}}}))
}
