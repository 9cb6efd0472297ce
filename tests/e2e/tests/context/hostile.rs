//! Requests that no well-meaning caller sends: the filter changes neither the answer nor anything else of the
//! request, and goes on working.

use meshspan_e2e::{Mesh, bootstrap, each_envoy, tracing};
use meshspan_kit::client::{Request, Response};
use meshspan_kit::envoy::Options;
use meshspan_kit::service::RawUpstream;
use serde_json::{Value, json};

use crate::bytes::{behind, without_written};
use crate::{ALL_PROPAGATORS, WRITTEN_HEADERS};

/// Below Envoy's own limit of 60 KiB for all headers.
const HUGE: usize = 55 * 1024;

/// All that reads text of the request is switched on.
fn listeners() -> Vec<(&'static str, Value)> {
    let mut config = tracing(ALL_PROPAGATORS);
    config["instrumentation/development"] = json!({"general": {
        "http": {"server": {"request_captured_headers": ["x-odd", "traceparent", "baggage"],
                            "response_captured_headers": ["x-odd"]}},
        "stability_opt_in_list": "http/dup",
    }});
    config["distribution"] =
        json!({"meshspan": {"baggage_attributes": ["a", "tenant"], "routes": ["/{a}/{b}", "/x/**"]}});
    vec![("with", config), ("without", Value::Null)]
}

fn odd_values() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let fill = |pattern: &[u8]| pattern.iter().copied().cycle().take(HUGE).collect::<Vec<u8>>();
    vec![
        ("empty", vec![vec![]]),
        ("every byte from 0x80", vec![(0x80..=0xff).collect()]),
        ("an overlong UTF-8 sequence", vec![b"\xc0\x80\xe0\x80\x80".to_vec()]),
        ("half a UTF-8 sequence", vec![b"a=\xe2\x82".to_vec()]),
        ("tabs and quotes", vec![b"\"\t\\\"".to_vec()]),
        ("twice", vec![b"a=1".to_vec(), b"a=1".to_vec()]),
        ("twice, once empty", vec![vec![], b"a=1".to_vec()]),
        ("sixty times", vec![b"a=\xff".to_vec(); 60]),
        ("55 KB of one letter", vec![fill(b"a")]),
        ("55 KB of zeros", vec![fill(b"0")]),
        ("55 KB of commas", vec![fill(b"=,")]),
        ("55 KB of members", vec![fill(b"a=1,")]),
        ("55 KB of dashes", vec![fill(b"-")]),
        ("55 KB of separators", vec![fill(b"%3A:")]),
        ("55 KB of bytes that are no text", vec![fill(b"\xff\xfe\x80")]),
    ]
}

/// The answer, without what time makes of it.
fn stable(mut response: Response) -> Response {
    response.headers.retain(|(name, _)| name != "date" && name != "x-envoy-upstream-service-time");
    response
}

#[test]
fn hostile_header_values_harm_nothing() {
    each_envoy(&[1, 2], |envoy, concurrency| {
        let upstream =
            RawUpstream::answering(b"HTTP/1.1 200 OK\r\nx-odd: \xff\r\ncontent-length: 2\r\n\r\nok").unwrap();
        let config = behind(bootstrap(&listeners()), upstream.address());
        let mesh = Mesh::start_with(envoy, &Options { concurrency, ..Options::default() }, &config);
        let mut names = WRITTEN_HEADERS.to_vec();
        names.extend(["x-odd", "user-agent", "x-forwarded-for", "uberctx-odd"]);
        let mut streams = 0;
        for name in names {
            for (why, values) in odd_values() {
                let request =
                    values.iter().fold(Request::get("/a/b?c=d"), |request, value| request.header(name, value));
                streams += 1;
                let with = stable(mesh.send("with", &request));
                let without = stable(mesh.send("without", &request));
                assert_eq!(with.status, 200, "{name}: {why}");
                assert_eq!(with, without, "{name}: {why}");
                let heads = upstream.heads();
                let [with, without] = &heads[heads.len() - 2..] else { panic!("{name}: {why}: no heads") };
                assert_eq!(without_written(with), without_written(without), "{name}: {why}");
            }
        }
        mesh.wait_for_counter("meshspan_streams_total", streams);
        mesh.wait_until_all_are_exported(streams);
        mesh.stop();
    });
}

#[test]
fn hostile_requests_are_answered_as_without_the_filter() {
    let long = format!("/x/{}?{}", "y".repeat(20_000), "q=1&".repeat(8_000));
    let targets: &[&[u8]] = &[
        b"/%",
        b"/%zz%00",
        b"/\xff\xfe",
        b"//",
        b"/a//b/../c",
        b"/?",
        b"/#",
        b"/a;b=c?sig=1&&=&sig",
        b"*",
        b"http://u:p@h/",
        long.as_bytes(),
    ];
    let hosts: &[&[u8]] = &[b"", b"\xff\xfe", b"u:p@h", b"[::1]:8080", b"[", b"h:99999", b":", b"h:0x"];
    let methods: &[&[u8]] = &[b"PROPFIND", b"get", b"X-\x7e", b"OPTIONS", b"TRACE"];
    let raw = |method: &[u8], target: &[u8], host: &[u8]| {
        [method, b" ", target, b" HTTP/1.1\r\nhost: ", host, b"\r\n\r\n"].concat()
    };
    let mut requests: Vec<Vec<u8>> = Vec::new();
    requests.extend(targets.iter().map(|target| raw(b"GET", target, b"test.example")));
    requests.extend(hosts.iter().map(|host| raw(b"GET", b"/", host)));
    requests.extend(methods.iter().map(|method| raw(method, b"/", b"test.example")));
    requests.push(b"GET / HTTP/1.1\r\n\r\n".to_vec());
    requests.push(b"GET / HTTP/1.0\r\n\r\n".to_vec());
    requests.push(b"garbage\r\n\r\n".to_vec());
    requests.push(raw(b"GET", b"/", b"h\r\ntraceparent: a\x00b"));
    requests.push(raw(b"GET", b"/", format!("h{}", "\r\na: b".repeat(120)).as_bytes()));
    requests.push(raw(b"GET", b"/", format!("h\r\ntraceparent: {}", "0".repeat(70_000)).as_bytes()));

    each_envoy(&[1], |envoy, concurrency| {
        let upstream = RawUpstream::start().unwrap();
        let config = behind(bootstrap(&listeners()), upstream.address());
        let mesh = Mesh::start_with(envoy, &Options { concurrency, ..Options::default() }, &config);
        for request in &requests {
            let answer = |listener| {
                let mut connection =
                    meshspan_kit::client::Connection::open(mesh.envoy.address(listener).unwrap()).unwrap();
                // Envoy may have answered, and closed, before it took all of it.
                let _ = connection.write(request);
                connection.read_response(false).ok().map(stable)
            };
            let shown = request[..request.len().min(80)].escape_ascii().to_string();
            let with = answer("with");
            assert_eq!(with, answer("without"), "{shown}");
            assert!(with.is_some(), "{shown}");
        }
        mesh.wait_for_counter("meshspan_streams_total", requests.len() as u64);
        mesh.wait_until_all_are_exported(requests.len() as u64);
        mesh.stop();
    });
}
