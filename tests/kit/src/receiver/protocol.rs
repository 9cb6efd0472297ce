//! OTLP on the wire: tonic decodes gRPC, this file OTLP/HTTP; then the scripted answer is given.

use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service;

use super::{Behaviour, Protocol, ReceivedRequest, Shared};
use crate::server::Connection;

const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const HTTP_PATH: &str = "/v1/traces";

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(move |Extension(connection): Extension<Connection>, request: Request<Body>| {
        let shared = Arc::clone(&shared);
        async move { receive(&shared, &connection, request).await }
    })
}

async fn receive(shared: &Shared, connection: &Connection, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return status(StatusCode::BAD_REQUEST);
    };
    let body = body.to_bytes();
    let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let protocol = if content_type.starts_with("application/grpc") {
        Protocol::Grpc
    } else if content_type.starts_with("application/json") {
        Protocol::HttpJson
    } else {
        Protocol::HttpProtobuf
    };
    let mut behaviour = shared.next_behaviour().for_size(body.len(), protocol);
    let mut record = ReceivedRequest {
        protocol,
        http_version: format!("{:?}", head.version),
        path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        headers: header_lines(&head.headers),
        wire_size: body.len(),
        export: None,
        error: None,
        connection: connection.id,
        received: Instant::now(),
        answered: behaviour.clone(),
    };
    if let Some(authority) = head.uri.authority() {
        record.headers.insert(0, (":authority".to_owned(), authority.to_string()));
    }

    let right_path = if protocol == Protocol::Grpc { GRPC_PATH } else { HTTP_PATH };
    let answer = if head.uri.path() != right_path {
        record.error = Some(format!("no OTLP service at {}", head.uri.path()));
        status(StatusCode::NOT_FOUND)
    } else if protocol == Protocol::Grpc {
        grpc(Request::from_parts(head, Body::from(body)), innermost(&behaviour), &mut record).await
    } else {
        match decode(protocol, &head.headers, &body) {
            Ok(export) => {
                record.export = Some(export);
                http_answer(protocol, innermost(&behaviour))
            }
            Err(error) => {
                record.error = Some(format!("{error:#}"));
                status(StatusCode::BAD_REQUEST)
            }
        }
    };
    let undecoded = record.error.is_some();
    shared.record(record);

    while let Behaviour::Delay(time, inner) = behaviour {
        tokio::time::sleep(time).await;
        behaviour = *inner;
    }
    match behaviour {
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Reset => {
            connection.reset();
            std::future::pending().await
        }
        Behaviour::ResetMidResponse => begun_and_reset(connection.clone(), protocol),
        // What OTLP cannot read is refused whatever the script says, unless it says a raw answer.
        Behaviour::HttpStatus { code, headers, body } => raw(code, &headers, body),
        Behaviour::RawBody { content_type, body } => raw(200, &[("content-type".to_owned(), content_type)], body),
        _ if undecoded => answer,
        Behaviour::GrpcStatus { message, .. } if protocol != Protocol::Grpc => raw(500, &[], message.into_bytes()),
        _ => answer,
    }
}

fn innermost(behaviour: &Behaviour) -> &Behaviour {
    match behaviour {
        Behaviour::Delay(_, inner) => innermost(inner),
        other => other,
    }
}

/// Gives the request to tonic's server, which unframes, decompresses and decodes it.
async fn grpc(request: Request<Body>, behaviour: &Behaviour, record: &mut ReceivedRequest) -> Response<Body> {
    let decoded = Arc::new(std::sync::Mutex::new(None));
    let handler = Handler { behaviour: behaviour.clone(), decoded: Arc::clone(&decoded) };
    let mut server = TraceServiceServer::new(handler).accept_compressed(CompressionEncoding::Gzip);
    let response = match server.call(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    };
    record.export = decoded.lock().ok().and_then(|mut slot| slot.take());
    if record.export.is_none() {
        let message = response.headers().get("grpc-message").map(|v| String::from_utf8_lossy(v.as_bytes()).into());
        record.error = Some(message.unwrap_or_else(|| "not gRPC".to_owned()));
    }
    response
}

struct Handler {
    behaviour: Behaviour,
    decoded: Arc<std::sync::Mutex<Option<ExportTraceServiceRequest>>>,
}

#[tonic::async_trait]
impl TraceService for Handler {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        if let Ok(mut slot) = self.decoded.lock() {
            *slot = Some(request.into_inner());
        }
        match &self.behaviour {
            Behaviour::GrpcStatus { code, message, details } => {
                Err(tonic::Status::with_details(tonic::Code::from_i32(*code), message, Bytes::copy_from_slice(details)))
            }
            other => Ok(tonic::Response::new(export_response(other))),
        }
    }
}

fn decode(protocol: Protocol, headers: &HeaderMap, body: &[u8]) -> anyhow::Result<ExportTraceServiceRequest> {
    let mut plain = Vec::new();
    match headers.get(header::CONTENT_ENCODING).map_or(&b""[..], |v| v.as_bytes()) {
        b"" | b"identity" => plain.extend_from_slice(body),
        b"gzip" => {
            flate2::read::MultiGzDecoder::new(body).read_to_end(&mut plain).context("the body is no gzip")?;
        }
        other => anyhow::bail!("content-encoding {:?} is not supported", String::from_utf8_lossy(other)),
    }
    match protocol {
        Protocol::HttpJson => serde_json::from_slice(&plain).context("the body is no OTLP/JSON"),
        _ => ExportTraceServiceRequest::decode(plain.as_slice()).context("the body is no OTLP protobuf"),
    }
}

fn export_response(behaviour: &Behaviour) -> ExportTraceServiceResponse {
    let partial_success = match behaviour {
        Behaviour::PartialSuccess { rejected, message } => {
            Some(ExportTracePartialSuccess { rejected_spans: *rejected, error_message: message.clone() })
        }
        _ => None,
    };
    ExportTraceServiceResponse { partial_success }
}

fn http_answer(protocol: Protocol, behaviour: &Behaviour) -> Response<Body> {
    let message = export_response(behaviour);
    let (content_type, body) = if protocol == Protocol::HttpJson {
        ("application/json", serde_json::to_vec(&message).unwrap_or_default())
    } else {
        ("application/x-protobuf", message.encode_to_vec())
    };
    raw(200, &[("content-type".to_owned(), content_type.to_owned())], body)
}

fn raw(code: u16, headers: &[(String, String)], body: Vec<u8>) -> Response<Body> {
    let mut response = Response::builder().status(code);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).unwrap_or_else(|error| raw(500, &[], error.to_string().into_bytes()))
}

/// A head of success and the first bytes of a body that promises more; then the connection is reset.
fn begun_and_reset(connection: Connection, protocol: Protocol) -> Response<Body> {
    let content_type = if protocol == Protocol::Grpc { "application/grpc" } else { "application/x-protobuf" };
    let mut response = Response::new(connection.body_before_reset(Bytes::from_static(&[0, 0, 0, 1, 0])));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn status(code: StatusCode) -> Response<Body> {
    raw(code.as_u16(), &[], Vec::new())
}

fn header_lines(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}
