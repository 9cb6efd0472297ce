//! What passes through is the same byte for byte with the filter and without it, but for the headers that it writes.

use std::net::SocketAddr;

use meshspan_e2e::{Mesh, bootstrap, each_envoy, tracing};
use meshspan_kit::axum::Router;
use meshspan_kit::axum::body::Bytes;
use meshspan_kit::axum::routing::post;
use meshspan_kit::client::{Connection, Request, Response};
use meshspan_kit::config::EnvoyConfig;
use meshspan_kit::envoy::Options;
use meshspan_kit::service::{RawUpstream, Service};
use serde_json::Value;

use crate::{ALL_PROPAGATORS, WRITTEN_HEADERS};

fn listeners() -> Vec<(&'static str, Value)> {
    vec![("with", tracing(ALL_PROPAGATORS)), ("without", Value::Null)]
}

/// Sends all traffic to this upstream, with nothing in its heads that differs from request to request.
pub(crate) fn behind(config: EnvoyConfig, upstream: SocketAddr) -> EnvoyConfig {
    config.add_cluster("raw", upstream, false).connection_managers(|_, manager| {
        manager["generate_request_id"] = false.into();
        manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["cluster"] = "raw".into();
    })
}

/// A head without the lines that the filter may write.
pub(crate) fn without_written(head: &[u8]) -> Vec<u8> {
    let written = |line: &&[u8]| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        WRITTEN_HEADERS.iter().any(|header| name.eq_ignore_ascii_case(header.as_bytes()))
    };
    head.split_inclusive(|byte| *byte == b'\n').filter(|line| !written(line)).collect::<Vec<_>>().concat()
}

#[test]
fn heads_are_the_same_both_ways() {
    let requests = [
        Request::get("/"),
        Request::get("/a%20b//c?d=e&f=%ff"),
        Request::new("OPTIONS", "/"),
        Request::new("POST", "/").header("Content-Type", "application/json").body("{}"),
        Request::get("/")
            .header("X-Mixed-Case", "a")
            .header("x-repeated", "1")
            .header("cookie", "a=b; c=d")
            .header("x-repeated", "2")
            .header("x-bytes", b"\xff\x80")
            .header("x-empty", "")
            .header("accept", "*/*")
            .header("cookie", "e=f"),
        Request::get("/")
            .header("a-first", "1")
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .header("b-between", "2")
            .header("tracestate", "a=1")
            .header("x-b3-parentspanid", "b7ad6b7169203331")
            .header("c-last", "3"),
        // Envoy answers neither of these by itself.
        Request::get("/").header("user-agent", "a/1 (b)").header("x-forwarded-for", "10.1.2.3").header("via", "1.1 x"),
        Request::get("/").header("expect", "100-continue"),
    ];
    let answer = "HTTP/1.1 203 Odd Reason\r\nX-Mixed: a\r\nset-cookie: a=b\r\nset-cookie: c=d\r\ntraceparent: mine\r\n\
                  server-timing: x;dur=1\r\nx-empty:\r\ncontent-length: 4\r\n\r\nbody";
    each_envoy(&[1, 2], |envoy, concurrency| {
        let upstream = RawUpstream::answering(answer).unwrap();
        let config = behind(bootstrap(&listeners()), upstream.address());
        let mesh = Mesh::start_with(envoy, &Options { concurrency, ..Options::default() }, &config);
        for request in &requests {
            let stable = |mut response: Response| {
                response.headers.retain(|(name, _)| name != "date" && name != "x-envoy-upstream-service-time");
                response
            };
            let with = stable(mesh.send("with", request));
            assert_eq!(with, stable(mesh.send("without", request)), "the response to {request:?}");
            assert_eq!((with.status, with.body.as_slice()), (203, &b"body"[..]));
            let heads = upstream.heads();
            let [with, without] = &heads[heads.len() - 2..] else { panic!("no heads") };
            let text = |head: &[u8]| head.escape_ascii().to_string();
            assert_eq!(text(&without_written(with)), text(&without_written(without)), "the request {request:?}");
            assert!(text(with).contains("traceparent: 00-"), "the filter was there: {}", text(with));
        }
        mesh.wait_for_counter("meshspan_export_exported_total", requests.len() as u64);
        mesh.stop();
    });
}

#[test]
fn bodies_are_the_same_both_ways() {
    let body: Vec<u8> = (0..1_500_000_u32).map(|number| number.to_le_bytes()[usize::from(number % 3 == 0)]).collect();
    let mut chunked = Vec::new();
    for piece in body.chunks(7_919) {
        chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    each_envoy(&[1], |envoy, concurrency| {
        let echo = Service::start_with(Router::new().route("/", post(|body: Bytes| async { body }))).unwrap();
        let config = behind(bootstrap(&listeners()), echo.address());
        let mesh = Mesh::start_with(envoy, &Options { concurrency, ..Options::default() }, &config);
        let large = mesh.send("with", &Request::new("POST", "/").body(body.clone()));
        assert!(large.status == 200 && large.body == body, "a large body: {} {}", large.status, large.body.len());

        let mut connection = Connection::open(mesh.envoy.address("with").unwrap()).unwrap();
        connection.write(b"POST / HTTP/1.1\r\nhost: test.example\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        connection.write(&chunked).unwrap();
        let answer = connection.read_response(false).unwrap();
        assert!(answer.status == 200 && answer.body == body, "chunks: {} {}", answer.status, answer.body.len());
        mesh.wait_for_counter("meshspan_export_exported_total", 2);
        mesh.stop();

        let mesh = Mesh::start(envoy, concurrency, &listeners());
        for path in ["/stream?chunks=40&bytes=30000", "/trailers"] {
            let with = mesh.send("with", &Request::get(path));
            let without = mesh.send("without", &Request::get(path));
            assert_eq!((with.status, with.truncated), (200, false), "{path}");
            assert!((with.body, with.trailers) == (without.body, without.trailers), "{path}");
        }
        mesh.wait_for_counter("meshspan_export_exported_total", 2);
        mesh.stop();
    });
}
