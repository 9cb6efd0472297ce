//! Secrets, and requests with a secret wherever there is a place for one.

use std::fmt::Write;

use meshspan_e2e::Mesh;
use meshspan_kit::axum::body::Bytes;
use meshspan_kit::axum::http::{self, HeaderMap, HeaderName, HeaderValue};
use meshspan_kit::client::{Connection, Http2Client, Request};

/// Secrets of several kinds, all different.
pub(crate) fn secrets() -> Vec<String> {
    let mut secrets = Vec::new();
    for number in 0..10_u64 {
        secrets.push(format!("139{:08}", 10_203_040 + number * 7_654_321));
        secrets.push(with_luhn(&format!("41{:013}", 1_234_567_890_u64 * (number + 1))));
        secrets.push(format!("person.{number}x@example.com"));
        secrets.push(format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ{number}.dozjgNryP4J3jVmNHl0w5N{number}"));
        secrets.push(format!("AKIAIOSFODNN7EXAMP{}{}", 2 + number % 5, 'A'));
    }
    secrets.sort();
    secrets.dedup();
    secrets
}

/// The digits with their check digit.
fn with_luhn(digits: &str) -> String {
    let sum: u32 = digits.chars().rev().enumerate().fold(0, |sum, (place, digit)| {
        let digit = digit.to_digit(10).unwrap();
        let doubled = if place % 2 == 0 { digit * 2 } else { digit };
        sum + if doubled > 9 { doubled - 9 } else { doubled }
    });
    format!("{digits}{}", (10 - sum % 10) % 10)
}

/// Ways to write a secret in a URL.
fn encoded(secret: &str, way: usize) -> String {
    let percent = |text: &str| {
        text.bytes().fold(String::new(), |mut all, byte| {
            let _ = write!(all, "%{byte:02X}");
            all
        })
    };
    match way % 6 {
        0 => secret.to_owned(),
        1 => percent(secret),
        2 => percent(&percent(secret)),
        3 => format!("%zz={secret}%4"),
        4 => format!("%7B%22key%22%3A%22{}%22%7D", secret.replace('@', "%40")),
        _ => format!("%{secret}%"),
    }
}

/// A request's method and headers with a secret in each.
fn head(secret: &str, way: usize) -> (String, Vec<(&'static str, String)>) {
    let url = encoded(secret, way);
    let method = if way.is_multiple_of(7) { format!("X-{}", secret.replace('@', "-")) } else { "GET".to_owned() };
    let headers = vec![
        ("user-agent", format!("agent {secret}")),
        ("x-note", format!("note {url} {secret}")),
        ("referer", format!("http://user:{secret}@shop.example/{url}")),
        ("authorization", format!("Bearer {secret}")),
        ("cookie", format!("a={secret}")),
        ("traceparent", format!("00-4bf92f3577b34da6a3ce929d0e{way:06x}-00f067aa0ba902b7-01")),
        ("tracestate", format!("vendor={secret},other={}", way + 1)),
        ("baggage", format!("user={url};note={secret}")),
        ("x-forwarded-for", format!("for {secret}")),
        ("accept-language", secret.to_owned()),
    ];
    (method, headers)
}

/// The target, and the authority where that may hold a secret.
fn place(prefix: &str, secret: &str, way: usize) -> (String, String) {
    let url = encoded(secret, way);
    let authority = if way.is_multiple_of(5) { format!("{secret}.example") } else { "shop.example".to_owned() };
    (format!("{prefix}/u/{url}/x?key={url}&more={url}"), authority)
}

/// Sends so many requests over HTTP/1.1.
pub(crate) fn send(mesh: &Mesh, listener: &str, secrets: &[String], count: usize) {
    let mut connection = Connection::open(mesh.envoy.address(listener).unwrap()).unwrap();
    for way in 0..count {
        let secret = &secrets[way % secrets.len()];
        let (target, authority) = place("", secret, way);
        let (method, headers) = head(secret, way);
        let request = Request::new(&method, &target).header("host", authority);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        // What Envoy refuses it closes the connection after; that has a span too.
        match connection.request(&request) {
            Ok(response) if response.header("connection").as_deref() != Some("close") => {}
            _ => connection = Connection::open(mesh.envoy.address(listener).unwrap()).unwrap(),
        }
    }
}

/// Sends so many requests over HTTP/2 with trailers, half of them as gRPC. The service answers with the same headers and
/// trailers.
pub(crate) fn send_with_trailers(mesh: &Mesh, listener: &str, secrets: &[String], count: usize) {
    let address = mesh.envoy.address(listener).unwrap();
    let mut client = Http2Client::connect(address).unwrap();
    for way in 0..count {
        let secret = &secrets[way % secrets.len()];
        let (target, authority) = place("/mirror", secret, way);
        // A client's library refuses what looks like user information.
        let authority = if authority.contains('@') { "shop.example".to_owned() } else { authority };
        let (_, headers) = head(secret, way);
        let is_grpc = way.is_multiple_of(2);
        let mut request = http::Request::builder().method("POST").uri(format!("http://{authority}{target}"));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let kind = if is_grpc { "application/grpc" } else { "text/plain" };
        let request = request.header("content-type", kind).body(Bytes::from_static(&[0; 5])).unwrap();
        let mut trailers = HeaderMap::new();
        let text = |text: &str| HeaderValue::from_str(text).unwrap();
        trailers.insert(HeaderName::from_static("x-note"), text(&encoded(secret, way)));
        trailers.insert(HeaderName::from_static("x-plain"), text(secret));
        if is_grpc {
            trailers.insert(HeaderName::from_static("grpc-status"), text(if way % 4 == 0 { "13" } else { secret }));
            trailers.insert(HeaderName::from_static("grpc-message"), text(&format!("no user {secret}")));
        }
        let response = client.send_with_trailers(request, trailers).unwrap();
        assert_eq!(response.status, 200, "{target}");
        assert_eq!(response.trailers.get("x-plain").map(HeaderValue::as_bytes), Some(secret.as_bytes()));
    }
}
