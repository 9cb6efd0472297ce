//! gRPC-Web, as a browser speaks it: where Envoy translates it, and where nobody does.

use anyhow::ensure;
use meshspan_kit::client::Request;
use serde_json::{Value, json};

use crate::support::{Stage, Table, Trace, each_envoy_with_grpcio, expect, route_to_grpc, service};

/// How a message is written.
const FORMS: [&str; 2] = ["application/grpc-web+proto", "application/grpc-web-text"];

#[test]
#[allow(clippy::type_complexity, reason = "a table")]
fn the_status_is_seen_where_the_translation_is_done_in_front() {
    each_envoy_with_grpcio(&[1], |grpcio, envoy, _| {
        let listeners = ["translated-before", "translated-behind"].map(|name| (name, service(name)));
        let stage = Stage::start(grpcio, envoy, 1, &listeners, |config| {
            config.connection_managers(|listener, manager| {
                let direct = json!({"match": {"prefix": "/shop.Direct/"}, "direct_response": {"status": 503}});
                route_to_grpc(manager, &[direct]);
                let translator = json!({"name": "envoy.filters.http.grpc_web", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb"}});
                let place = usize::from(listener == "translated-behind");
                manager["http_filters"].as_array_mut().unwrap().insert(place, translator);
            })
        });
        // The method, its message, the HTTP status, and the gRPC status that is seen: translated before, and behind.
        let cases: [(&str, &str, u16, [Option<&str>; 2], [Option<&str>; 2], &str); 4] = [
            ("Cart/Get", "hello", 200, [Some("OK"), None], [None, None], "trailers, which go into the body"),
            ("Cart/FailLate", "13", 200, [Some("INTERNAL"), None], [Some("INTERNAL"), None], "the same, of a failure"),
            ("Cart/Fail", "5", 200, [Some("NOT_FOUND"); 2], [None, None], "headers alone"),
            ("Direct/Get", "", 503, [Some("UNAVAILABLE"); 2], [Some("UNAVAILABLE"); 2], "the proxy's own answer"),
        ];
        let table = Table::default();
        for (method, message, http, statuses, errors, why) in cases {
            for form in FORMS {
                for ((listener, _), (status, error)) in listeners.iter().zip(statuses.into_iter().zip(errors)) {
                    table.case(&format!("{why} ({method}, {form}, {listener})"), || {
                        let trace = Trace::new();
                        let request = Request::new("POST", &format!("/shop.{method}"))
                            .header("content-type", form)
                            .header("x-grpc-web", "1")
                            .header("traceparent", trace.traceparent())
                            .body(framed(message, form.contains("text")));
                        let answer = request.send(stage.mesh.envoy.address(listener)?)?;
                        ensure!(answer.status == http, "answered {}", answer.status);
                        let span_status = if error.is_some() { "ERROR" } else { "UNSET" };
                        let expected: Value = json!({"name": format!("shop.{method}"), "status": span_status, "attributes": {
                            "rpc.system.name": "grpc", "rpc.method": format!("shop.{method}"),
                            "rpc.response.status_code": status, "error.type": error,
                            "http.response.status_code": http,
                        }});
                        expect(&trace.span(&stage.mesh)?, &expected)
                    });
                }
            }
        }
        table.finish(&stage.mesh);
        stage.mesh.stop();
    });
}

/// A message in gRPC's frame, as bytes or as base64.
fn framed(message: &str, is_text: bool) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(message.as_bytes());
    if is_text { base64(&frame).into_bytes() } else { frame }
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
