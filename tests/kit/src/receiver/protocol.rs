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
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service;

use super::{Behaviour, Export, Protocol, ReceivedRequest, Shared};
use crate::server::Connection;

/// What a request carries, by its path.
#[derive(Clone, Copy)]
enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    fn at(protocol: Protocol, path: &str) -> Option<Self> {
        let paths = match protocol {
            Protocol::Grpc => [
                "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
                "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            ],
            Protocol::HttpProtobuf | Protocol::HttpJson => ["/v1/traces", "/v1/logs", "/v1/metrics"],
        };
        let at = paths.iter().position(|known| *known == path)?;
        [Self::Traces, Self::Logs, Self::Metrics].get(at).copied()
    }
}

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

    let answer = if let Some(signal) = Signal::at(protocol, head.uri.path()) {
        if protocol == Protocol::Grpc {
            grpc(signal, Request::from_parts(head, Body::from(body)), innermost(&behaviour), &mut record).await
        } else {
            match decode(signal, protocol, &head.headers, &body) {
                Ok(export) => {
                    record.export = Some(export);
                    http_answer(signal, protocol, innermost(&behaviour))
                }
                Err(error) => {
                    record.error = Some(format!("{error:#}"));
                    status(StatusCode::BAD_REQUEST)
                }
            }
        }
    } else {
        record.error = Some(format!("no OTLP service at {}", head.uri.path()));
        status(StatusCode::NOT_FOUND)
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
async fn grpc(
    signal: Signal,
    request: Request<Body>,
    behaviour: &Behaviour,
    record: &mut ReceivedRequest,
) -> Response<Body> {
    let decoded = Arc::new(std::sync::Mutex::new(None));
    let handler = Handler { behaviour: behaviour.clone(), decoded: Arc::clone(&decoded) };
    let answered = match signal {
        Signal::Traces => {
            TraceServiceServer::new(handler).accept_compressed(CompressionEncoding::Gzip).call(request).await
        }
        Signal::Logs => {
            LogsServiceServer::new(handler).accept_compressed(CompressionEncoding::Gzip).call(request).await
        }
        Signal::Metrics => {
            MetricsServiceServer::new(handler).accept_compressed(CompressionEncoding::Gzip).call(request).await
        }
    };
    let response = match answered {
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
    decoded: Arc<std::sync::Mutex<Option<Export>>>,
}

#[tonic::async_trait]
impl TraceService for Handler {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.take(Export::Traces(request.into_inner()))?;
        Ok(tonic::Response::new(traces_response(&self.behaviour)))
    }
}

#[tonic::async_trait]
impl LogsService for Handler {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, tonic::Status> {
        self.take(Export::Logs(request.into_inner()))?;
        Ok(tonic::Response::new(logs_response(&self.behaviour)))
    }
}

#[tonic::async_trait]
impl MetricsService for Handler {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        self.take(Export::Metrics(request.into_inner()))?;
        Ok(tonic::Response::new(metrics_response(&self.behaviour)))
    }
}

impl Handler {
    /// Keeps what came; the error, where one is to be answered.
    fn take(&self, export: Export) -> Result<(), tonic::Status> {
        if let Ok(mut slot) = self.decoded.lock() {
            *slot = Some(export);
        }
        match &self.behaviour {
            Behaviour::GrpcStatus { code, message, details } => {
                Err(tonic::Status::with_details(tonic::Code::from_i32(*code), message, Bytes::copy_from_slice(details)))
            }
            _ => Ok(()),
        }
    }
}

fn decode(signal: Signal, protocol: Protocol, headers: &HeaderMap, body: &[u8]) -> anyhow::Result<Export> {
    let mut plain = Vec::new();
    match headers.get(header::CONTENT_ENCODING).map_or(&b""[..], |v| v.as_bytes()) {
        b"" | b"identity" => plain.extend_from_slice(body),
        b"gzip" => {
            flate2::read::MultiGzDecoder::new(body).read_to_end(&mut plain).context("the body is no gzip")?;
        }
        other => anyhow::bail!("content-encoding {:?} is not supported", String::from_utf8_lossy(other)),
    }
    Ok(match signal {
        Signal::Traces => Export::Traces(read(protocol, &plain)?),
        Signal::Logs => Export::Logs(read(protocol, &plain)?),
        Signal::Metrics => Export::Metrics(read(protocol, &plain)?),
    })
}

fn read<M: Message + Default + serde::de::DeserializeOwned>(protocol: Protocol, plain: &[u8]) -> anyhow::Result<M> {
    match protocol {
        Protocol::HttpJson => serde_json::from_slice(plain).context("the body is no OTLP/JSON"),
        _ => M::decode(plain).context("the body is no OTLP protobuf"),
    }
}

/// How many items are rejected, and the words for it.
fn rejection(behaviour: &Behaviour) -> Option<(i64, String)> {
    match behaviour {
        Behaviour::PartialSuccess { rejected, message } => Some((*rejected, message.clone())),
        _ => None,
    }
}

fn traces_response(behaviour: &Behaviour) -> ExportTraceServiceResponse {
    let partial_success = rejection(behaviour)
        .map(|(rejected_spans, error_message)| ExportTracePartialSuccess { rejected_spans, error_message });
    ExportTraceServiceResponse { partial_success }
}

fn logs_response(behaviour: &Behaviour) -> ExportLogsServiceResponse {
    let partial_success = rejection(behaviour)
        .map(|(rejected_log_records, error_message)| ExportLogsPartialSuccess { rejected_log_records, error_message });
    ExportLogsServiceResponse { partial_success }
}

fn metrics_response(behaviour: &Behaviour) -> ExportMetricsServiceResponse {
    let partial_success = rejection(behaviour).map(|(rejected_data_points, error_message)| {
        ExportMetricsPartialSuccess { rejected_data_points, error_message }
    });
    ExportMetricsServiceResponse { partial_success }
}

fn http_answer(signal: Signal, protocol: Protocol, behaviour: &Behaviour) -> Response<Body> {
    fn encoded<M: Message + serde::Serialize>(protocol: Protocol, message: &M) -> (&'static str, Vec<u8>) {
        if protocol == Protocol::HttpJson {
            ("application/json", serde_json::to_vec(message).unwrap_or_default())
        } else {
            ("application/x-protobuf", message.encode_to_vec())
        }
    }
    let (content_type, body) = match signal {
        Signal::Traces => encoded(protocol, &traces_response(behaviour)),
        Signal::Logs => encoded(protocol, &logs_response(behaviour)),
        Signal::Metrics => encoded(protocol, &metrics_response(behaviour)),
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
