//! A well-behaved HTTP service (HTTP/1.1 and cleartext HTTP/2) with an endpoint for each situation.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Extension, Path, Query, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Frame;
use serde_json::json;

use crate::server::{Connection, Server, body_of};

/// The head of a request as a service got it.
#[derive(Clone, Debug)]
pub struct ReceivedHead {
    /// The method.
    pub method: String,
    /// The target: path and query.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Header lines in order, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl ReceivedHead {
    /// All values of a header in order, bytes that are no UTF-8 replaced; `name` in lower case.
    pub fn values(&self, name: &str) -> Vec<String> {
        let values = self.headers.iter().filter(|(key, _)| key == name);
        values.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<String> {
        self.values(name).into_iter().next()
    }
}

/// A running service. It answers:
///
/// | path | answer |
/// |---|---|
/// | `/status/CODE` | that status |
/// | `/slow?ms=N` | 200 after N milliseconds |
/// | `/stream?chunks=N&ms=N&bytes=N` | a body of so many chunks, so far apart, of so many bytes |
/// | `/reset` | the head, one chunk, then a connection reset |
/// | `/trailers` | a body with the trailer `x-trailer: last` |
/// | `/consume` | 200 when the whole request body was read, with its size as text |
/// | `/mirror/…` | 200 with the request's `x-note` as a header, and its trailers as trailers; over HTTP/2 |
/// | `/grpc/CODE/SERVICE/METHOD` | a gRPC message, empty, and that `grpc-status` in trailers |
/// | anything else | 200 and the received head as JSON: `method`, `target`, `version`, `headers` |
pub struct Service {
    server: Server,
    log: Arc<Log>,
}

impl Service {
    /// Starts the service on a free port of 127.0.0.1.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(routes())
    }

    /// Starts a service of one's own that records heads as well.
    pub fn start_with(router: Router) -> anyhow::Result<Self> {
        let log = Arc::new(Log::default());
        let recorder = Arc::clone(&log);
        let router = router.layer(from_fn(move |request: Request, next: Next| {
            recorder.record(&request);
            next.run(request)
        }));
        let server = Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), router)?;
        Ok(Self { server, log })
    }

    /// Starts a service of one's own that records nothing: for load.
    pub fn start_unrecorded(router: Router) -> anyhow::Result<Self> {
        let server = Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), router)?;
        Ok(Self { server, log: Arc::default() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The heads of all requests so far.
    pub fn requests(&self) -> Vec<ReceivedHead> {
        self.log.lock().clone()
    }

    /// The head of the last request.
    pub fn last_request(&self) -> Option<ReceivedHead> {
        self.log.lock().last().cloned()
    }

    /// Forgets the requests so far.
    pub fn clear(&self) {
        self.log.lock().clear();
    }

    /// Waits until so many requests have come, and returns them.
    ///
    /// # Errors
    /// At the deadline.
    pub fn wait_for_requests(&self, count: usize, deadline: Duration) -> anyhow::Result<Vec<ReceivedHead>> {
        let end = Instant::now() + deadline;
        let mut heads = self.log.lock();
        while heads.len() < count {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                anyhow::bail!("{} of {count} requests after {deadline:?}", heads.len());
            }
            heads = self.log.arrived.wait_timeout(heads, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(heads.clone())
    }
}

#[derive(Default)]
struct Log {
    heads: Mutex<Vec<ReceivedHead>>,
    arrived: Condvar,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Vec<ReceivedHead>> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, request: &Request) {
        self.lock().push(head_of(request));
        self.arrived.notify_all();
    }
}

fn routes() -> Router {
    Router::new()
        .route("/status/{code}", any(status))
        .route("/slow", any(slow))
        .route("/stream", any(stream))
        .route("/reset", any(reset))
        .route("/trailers", any(trailers))
        .route("/consume", any(consume))
        .route("/mirror/{*rest}", any(mirror))
        .route("/grpc/{code}/{*method}", any(grpc))
        .fallback(echo)
}

async fn status(Path(code): Path<u16>) -> Response {
    StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST).into_response()
}

async fn slow(Query(query): Query<HashMap<String, String>>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(number(&query, "ms", 0))).await;
    "slow"
}

async fn stream(Query(query): Query<HashMap<String, String>>) -> Response {
    let pause = Duration::from_millis(number(&query, "ms", 0));
    let chunk = Bytes::from(vec![b'x'; usize::try_from(number(&query, "bytes", 1)).unwrap_or(1)]);
    let chunks = number(&query, "chunks", 1);
    let body = body_of(move |sender| async move {
        for _ in 0..chunks {
            if sender.send(Frame::data(chunk.clone())).await.is_err() {
                break;
            }
            tokio::time::sleep(pause).await;
        }
    });
    Response::new(body)
}

async fn reset(Extension(connection): Extension<Connection>) -> Response {
    Response::new(connection.body_before_reset(Bytes::from_static(b"the beginning")))
}

async fn trailers() -> Response {
    let mut response = Response::new(body_of(|sender| async move {
        let _ = sender.send(Frame::data(Bytes::from_static(b"body"))).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-trailer", HeaderValue::from_static("last"));
        let _ = sender.send(Frame::trailers(trailers)).await;
    }));
    response.headers_mut().insert("trailer", HeaderValue::from_static("x-trailer"));
    response
}

async fn grpc(Path((code, _)): Path<(u8, String)>) -> Response {
    grpc_answer(b"", code)
}

/// A gRPC answer: one message, and the status in trailers. It has to go by HTTP/2.
pub fn grpc_answer(message: &[u8], status: u8) -> Response {
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(message);
    let mut response = Response::new(body_of(move |sender| async move {
        let _ = sender.send(Frame::data(Bytes::from(frame))).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from(u16::from(status)));
        let _ = sender.send(Frame::trailers(trailers)).await;
    }));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

async fn mirror(request: Request) -> Response {
    let note = request.headers().get("x-note").cloned();
    let kind = request.headers().get("content-type").cloned();
    let trailers = match request.into_body().collect().await {
        Ok(body) => body.trailers().cloned().unwrap_or_default(),
        Err(_) => return StatusCode::BAD_REQUEST.into_response(),
    };
    let mut response = Response::new(body_of(|sender| async move {
        let _ = sender.send(Frame::data(Bytes::from_static(&[0; 5]))).await;
        let _ = sender.send(Frame::trailers(trailers)).await;
    }));
    for (name, value) in [("x-note", note), ("content-type", kind)] {
        response.headers_mut().extend(value.map(|value| (HeaderName::from_static(name), value)));
    }
    response
}

async fn consume(request: Request) -> Response {
    match request.into_body().collect().await {
        Ok(body) => body.to_bytes().len().to_string().into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn echo(request: Request) -> Response {
    let head = head_of(&request);
    // Read to the end, so that the connection can be used again.
    let _ = request.into_body().collect().await;
    let headers: Vec<_> =
        head.headers.iter().map(|(name, value)| json!([name, String::from_utf8_lossy(value)])).collect();
    let body = json!({"method": head.method, "target": head.target, "version": head.version, "headers": headers});
    axum::Json(body).into_response()
}

fn head_of(request: &Request) -> ReceivedHead {
    let headers = request.headers().iter();
    ReceivedHead {
        method: request.method().to_string(),
        target: request.uri().path_and_query().map_or_else(String::new, ToString::to_string),
        version: format!("{:?}", request.version()),
        headers: headers.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect(),
    }
}

fn number(query: &HashMap<String, String>, key: &str, default: u64) -> u64 {
    query.get(key).and_then(|value| value.parse().ok()).unwrap_or(default)
}
