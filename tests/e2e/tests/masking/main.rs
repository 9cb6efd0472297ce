//! Nothing sensitive leaves: ten thousand requests with secrets in every place that traffic reaches, and everything that
//! the filter let out is searched for them. That the search finds what is there, a listener without detectors proves.

use std::collections::BTreeSet;
use std::fmt::Write;

use meshspan_e2e::{DEADLINE, Mesh, each_envoy, tracing};
use meshspan_kit::client::{Connection, Request};
use meshspan_kit::wait;
use prost::Message;
use serde_json::{Value, json};

/// Requests on each of the two listeners that mask.
const REQUESTS: usize = 5_000;

/// Requests on the one that does not.
const UNMASKED: usize = 500;

/// A configuration that records all it can, and exports by gRPC and by HTTP with JSON, compressed.
fn everything(detectors: &Value) -> Value {
    let mut config = tracing(&["tracecontext", "baggage"]);
    config["tracer_provider"]["processors"] = json!([
        {"batch": {"schedule_delay": 100, "max_queue_size": 20_000, "exporter":
            {"otlp_grpc": {"endpoint": "http://collector:4317", "compression": "gzip"}}}},
        {"batch": {"schedule_delay": 100, "max_queue_size": 20_000, "exporter":
            {"otlp_http": {"endpoint": "http://collector:4318/v1/traces", "compression": "gzip", "encoding": "json"}}}},
    ]);
    let captured = json!(["x-note", "referer", "baggage", "tracestate", "x-forwarded-for", "accept-language"]);
    config["instrumentation/development"] = json!({"general": {
        "http": {"server": {"request_captured_headers": captured, "response_captured_headers": ["x-note"]},
                 "client": {"request_captured_headers": captured}},
        "stability_opt_in_list": "http/dup",
    }});
    config["distribution"] = json!({"meshspan": {
        "role": "gateway", "baggage_attributes": ["user"], "clusters": {"collector:4318": "collector"},
        "limits": {"max_queue_bytes": 128 << 20},
        "masking": {"detectors": detectors},
    }});
    config
}

/// Secrets of several kinds, all different.
fn secrets() -> Vec<String> {
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

/// One request with a secret wherever there is a place for it.
fn request(secret: &str, way: usize) -> Request {
    let url = encoded(secret, way);
    let target = format!("/u/{url}/x?key={url}&more={url}");
    let request = match way % 7 {
        0 => Request::new(&format!("X-{}", secret.replace('@', "-")), &target),
        _ => Request::get(&target),
    };
    request
        .header("host", if way.is_multiple_of(5) { format!("{secret}.example") } else { "shop.example".to_owned() })
        .header("user-agent", format!("agent {secret}"))
        .header("x-note", format!("note {url} {secret}"))
        .header("referer", format!("http://user:{secret}@shop.example/{url}"))
        .header("authorization", format!("Bearer {secret}"))
        .header("cookie", format!("a={secret}"))
        .header("traceparent", format!("00-4bf92f3577b34da6a3ce929d0e{way:06x}-00f067aa0ba902b7-01"))
        .header("tracestate", format!("vendor={secret},other={}", way + 1))
        .header("baggage", format!("user={url};note={secret}"))
        .header("x-forwarded-for", format!("for {secret}"))
        .header("accept-language", secret)
}

/// A text, and what it says percent-decoded once, twice and three times.
fn readings(text: &str) -> Vec<String> {
    let mut readings = vec![text.to_owned()];
    for _ in 0..3 {
        let decoded = decode(readings.last().unwrap());
        if readings.last() == Some(&decoded) {
            break;
        }
        readings.push(decoded);
    }
    readings
}

fn decode(text: &str) -> String {
    let (mut decoded, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The secrets that texts show.
fn shown<'a>(secrets: &'a [String], texts: &[String]) -> BTreeSet<&'a str> {
    let mut shown = BTreeSet::new();
    for text in texts {
        for reading in readings(text) {
            shown.extend(secrets.iter().map(String::as_str).filter(|secret| reading.contains(secret)));
        }
    }
    shown
}

fn send(mesh: &Mesh, listener: &str, secrets: &[String], count: usize) {
    let mut connection = Connection::open(mesh.envoy.address(listener).unwrap()).unwrap();
    for index in 0..count {
        let request = request(&secrets[index % secrets.len()], index);
        // What Envoy refuses it closes the connection after; that has a span too.
        match connection.request(&request) {
            Ok(response) if response.header("connection").as_deref() != Some("close") => {}
            _ => connection = Connection::open(mesh.envoy.address(listener).unwrap()).unwrap(),
        }
    }
}

/// Waits until everything is exported, and gives all that left: requests of exporters, metrics and the log.
fn all_that_left(mesh: &Mesh) -> Vec<String> {
    let exported = wait::until(DEADLINE * 6, "the exports", || {
        let counters = mesh.counters();
        let counter = |name: &str| counters.get(name).copied().unwrap_or(0);
        let started = counter("meshspan_spans_started_total");
        (started > 0 && counter("meshspan_export_exported_total") >= started * 2).then_some(())
    });
    assert!(exported.is_ok(), "{:#?}", mesh.counters());
    let mut all = vec![mesh.envoy.admin_get("/stats/prometheus").unwrap().text(), mesh.envoy.log()];
    for request in mesh.receiver.requests() {
        assert_eq!(request.error, None);
        // As protobuf, texts stand in it as they are: also those that came as JSON.
        let body = request.export.map(|export| export.encode_to_vec()).unwrap_or_default();
        all.push(format!("{:?} {}", request.headers, String::from_utf8_lossy(&body)));
    }
    all
}

#[test]
fn no_secret_leaves() {
    each_envoy(&[1], |envoy, concurrency| {
        let secrets = secrets();
        let redacting = json!({"cn_mobile_number": "redact", "payment_card": "redact"});
        let listeners = [("mask", everything(&json!({}))), ("redact", everything(&redacting))];
        let mesh = Mesh::start(envoy, concurrency, &listeners);
        for (listener, _) in &listeners {
            send(&mesh, listener, &secrets, REQUESTS);
        }
        let texts = all_that_left(&mesh);
        assert!(texts.iter().any(|text| text.contains("139****")), "something was masked");
        let streams = u64::try_from(REQUESTS * listeners.len()).unwrap();
        assert_eq!(mesh.counter("meshspan_streams_total"), streams, "every request had its spans");
        assert!(mesh.counter("meshspan_spans_started_total") >= streams);
        let samples = mesh.samples();
        for detector in ["cn_mobile_number", "payment_card", "email", "jwt"] {
            let masked = samples.sum("meshspan_masked_total", &[("detector", detector)]);
            assert!(masked > 0, "nothing was counted for {detector}: {:#?}", mesh.counters());
        }
        assert_eq!(shown(&secrets, &texts), BTreeSet::new());
        mesh.stop();
    });
}

#[test]
fn the_search_finds_what_is_there() {
    each_envoy(&[1], |envoy, concurrency| {
        let secrets = secrets();
        let off = json!({"cn_mobile_number": false, "payment_card": false, "email": false, "jwt": false,
            "aws_access_key": false, "http_credentials": false, "url_credentials": false, "cn_resident_id": false,
            "iban": false, "us_ssn": false});
        let mesh = Mesh::start(envoy, concurrency, &[("open", everything(&off))]);
        send(&mesh, "open", &secrets, UNMASKED);
        let texts = all_that_left(&mesh);
        assert_eq!(shown(&secrets, &texts).len(), secrets.len(), "all of them");
        mesh.stop();
    });
}
