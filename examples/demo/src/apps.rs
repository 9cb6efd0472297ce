//! The two applications of the mesh. Neither knows of tracing; `checkout` copies the trace headers.

use std::net::SocketAddr;
use std::time::Duration;

use meshspan_kit::axum::body::Bytes;
use meshspan_kit::axum::extract::Request;
use meshspan_kit::axum::http::{HeaderMap, Request as HttpRequest, StatusCode};
use meshspan_kit::axum::response::{IntoResponse, Response};
use meshspan_kit::axum::{Json, Router};
use meshspan_kit::client;
use meshspan_kit::service::{Service, grpc_answer};

/// What an application has to copy from the request it serves to the requests it makes.
const TRACE_HEADERS: [&str; 10] = [
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "uber-trace-id",
];

const SLOWNESS: Duration = Duration::from_millis(250);

/// The path for which checkout makes a gRPC call, and the call's method.
pub(crate) const RESERVE: &str = "/reserve";
pub(crate) const RESERVE_METHOD: &str = "inventory.Stock/Reserve";

/// Asks inventory for the same path and query, or calls its method, and passes its answer on.
pub(crate) fn checkout(sidecar: SocketAddr) -> anyhow::Result<Service> {
    Service::start_with(Router::new().fallback(move |request: Request| async move {
        let asked = tokio::task::spawn_blocking(move || match request.uri().path() {
            RESERVE => call_inventory(sidecar, request.headers()),
            _ => ask_inventory(sidecar, &request),
        });
        match asked.await {
            Ok(Ok((status, body))) => (status, [("content-type", "application/json")], body).into_response(),
            _ => StatusCode::BAD_GATEWAY.into_response(),
        }
    }))
}

fn ask_inventory(sidecar: SocketAddr, request: &Request) -> anyhow::Result<(StatusCode, Vec<u8>)> {
    let target = request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let mut onward = client::Request::get(&target).header("host", "inventory");
    for (name, value) in trace_headers(request.headers()) {
        onward = onward.header(name, value);
    }
    let answer = onward.send(sidecar)?;
    Ok((StatusCode::from_u16(answer.status)?, answer.body))
}

fn call_inventory(sidecar: SocketAddr, headers: &HeaderMap) -> anyhow::Result<(StatusCode, Vec<u8>)> {
    let mut call = HttpRequest::post(format!("http://inventory/{RESERVE_METHOD}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "5S");
    for (name, value) in trace_headers(headers) {
        call = call.header(name, value);
    }
    // An empty message.
    let answer = client::Http2Client::connect(sidecar)?.send(call.body(Bytes::from_static(&[0; 5]))?)?;
    let is_ok = answer.trailers.get("grpc-status").is_some_and(|status| status == "0");
    let message = answer.body.get(5..).unwrap_or_default().to_vec();
    Ok((if is_ok { StatusCode::OK } else { StatusCode::BAD_GATEWAY }, message))
}

fn trace_headers(headers: &HeaderMap) -> impl Iterator<Item = (&'static str, &[u8])> {
    TRACE_HEADERS.into_iter().flat_map(|name| headers.get_all(name).iter().map(move |value| (name, value.as_bytes())))
}

/// Answers with the context that it was sent, so that callers can tell what became of theirs: `/payment` fails,
/// `/report` is slow.
pub(crate) fn inventory() -> anyhow::Result<Service> {
    Service::start_with(Router::new().fallback(inventory_answer))
}

async fn inventory_answer(request: Request) -> Response {
    let status = match request.uri().path() {
        "/payment" => StatusCode::SERVICE_UNAVAILABLE,
        "/report" => {
            tokio::time::sleep(SLOWNESS).await;
            StatusCode::OK
        }
        _ => StatusCode::OK,
    };
    let value = |name: &str| header(request.headers(), name);
    let seen = serde_json::json!({
        "traceparent": value("traceparent"),
        "tracestate": value("tracestate"),
        "baggage": value("baggage"),
    });
    if request.uri().path().strip_prefix('/') == Some(RESERVE_METHOD) {
        return grpc_answer(seen.to_string().as_bytes(), 0);
    }
    (status, Json(seen)).into_response()
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
    (!values.is_empty()).then(|| values.join(","))
}
