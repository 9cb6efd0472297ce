//! The two applications of the mesh. Neither knows of tracing; `checkout` copies the trace headers.

use std::net::SocketAddr;
use std::time::Duration;

use meshspan_kit::axum::extract::Request;
use meshspan_kit::axum::http::{HeaderMap, StatusCode};
use meshspan_kit::axum::response::{IntoResponse, Response};
use meshspan_kit::axum::{Json, Router};
use meshspan_kit::client;
use meshspan_kit::service::Service;

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

/// Asks inventory for the same path and query, and passes its answer on.
pub(crate) fn checkout(sidecar: SocketAddr) -> anyhow::Result<Service> {
    Service::start_with(Router::new().fallback(move |request: Request| async move {
        let target = request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        let mut onward = client::Request::get(&target).header("host", "inventory");
        for name in TRACE_HEADERS {
            for value in request.headers().get_all(name) {
                onward = onward.header(name, value.as_bytes());
            }
        }
        match tokio::task::spawn_blocking(move || onward.send(sidecar)).await {
            Ok(Ok(answer)) => {
                let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
                (status, [("content-type", "application/json")], answer.body).into_response()
            }
            _ => StatusCode::BAD_GATEWAY.into_response(),
        }
    }))
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
    (status, Json(seen)).into_response()
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
    (!values.is_empty()).then(|| values.join(","))
}
