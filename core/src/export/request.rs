//! An export request, ready for the host to send.

use std::rc::Rc;

use super::{grpc, gzip, json};
use crate::config::{Compression, ExporterConfig, OtlpProtocol};
use crate::otlp::Envelope;
use crate::signal::Signal;

/// What the host is asked to send: an HTTP request to a cluster. For OTLP/gRPC it is gRPC's HTTP/2 request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportRequest {
    /// The Envoy cluster.
    pub cluster: Rc<str>,
    /// All header lines, pseudo-headers first.
    pub headers: Rc<[(String, String)]>,
    /// The body.
    pub body: Vec<u8>,
    /// How long to wait for the answer, ms; 0: without end.
    pub timeout_ms: u32,
}

/// What every request of one exporter shares, made once.
#[derive(Clone, Debug)]
pub(super) struct RequestTemplate {
    signal: Signal,
    cluster: Rc<str>,
    headers: Rc<[(String, String)]>,
    /// Of a compressed message; the same where nothing is compressed.
    compressed_headers: Rc<[(String, String)]>,
    protocol: OtlpProtocol,
    compression: Compression,
    timeout_ms: u32,
    envelope: Rc<Envelope>,
}

impl RequestTemplate {
    #[inline]
    pub(super) fn new(
        signal: Signal,
        exporter: &ExporterConfig,
        export_timeout_ms: u32,
        envelope: Rc<Envelope>,
    ) -> Self {
        let endpoint = &exporter.endpoint;
        let path = match exporter.protocol {
            OtlpProtocol::Grpc => format!("{}{}", endpoint.path, signal.grpc_method()),
            OtlpProtocol::HttpProtobuf | OtlpProtocol::HttpJson => endpoint.path.clone(),
        };
        let mut headers: Vec<(String, String)> = [
            (":method", "POST"),
            (":path", path.as_str()),
            (":authority", endpoint.authority.as_str()),
            (":scheme", endpoint.scheme),
        ]
        .into_iter()
        .chain(match exporter.protocol {
            OtlpProtocol::Grpc => [("content-type", "application/grpc"), ("te", "trailers")].as_slice().iter().copied(),
            OtlpProtocol::HttpProtobuf => [("content-type", "application/x-protobuf")].as_slice().iter().copied(),
            OtlpProtocol::HttpJson => [("content-type", "application/json")].as_slice().iter().copied(),
        })
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        if !exporter.headers.iter().any(|(name, _)| name == "user-agent") {
            let user_agent = format!("OTel-OTLP-Exporter-meshspan/{}", env!("CARGO_PKG_VERSION"));
            headers.push(("user-agent".to_owned(), user_agent));
        }
        headers.extend(exporter.headers.iter().cloned());
        let headers: Rc<[(String, String)]> = headers.into();
        let mut compressed_headers = Rc::clone(&headers);
        if exporter.compression == Compression::Gzip {
            // gRPC over HTTP/2, "Message-Encoding"; OTLP/HTTP, "Content-Encoding".
            let name = if exporter.protocol == OtlpProtocol::Grpc { "grpc-encoding" } else { "content-encoding" };
            let encoding = (name.to_owned(), "gzip".to_owned());
            compressed_headers = headers.iter().cloned().chain([encoding]).collect();
        }
        // 0 is "no limit" in both; the smaller of two limits holds.
        let timeout_ms = match (exporter.timeout_ms, export_timeout_ms) {
            (0, other) | (other, 0) => other,
            (one, other) => one.min(other),
        };
        Self {
            signal,
            cluster: Rc::from(endpoint.cluster.as_str()),
            headers,
            compressed_headers,
            protocol: exporter.protocol,
            compression: exporter.compression,
            timeout_ms,
            envelope,
        }
    }

    pub(super) const fn signal(&self) -> Signal {
        self.signal
    }

    pub(super) const fn protocol(&self) -> OtlpProtocol {
        self.protocol
    }

    pub(super) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The request for these encoded items, and the bytes of its message before compression; `None` if they cannot be
    /// framed.
    #[inline]
    pub(super) fn request(&self, items: &[u8]) -> Option<(ExportRequest, usize)> {
        let mut message = Vec::new();
        // Room for the frame's head is kept in front, so that an uncompressed message is not copied again.
        let head = if self.protocol == OtlpProtocol::Grpc { grpc::FRAME_HEAD } else { 0 };
        message.resize(head, 0);
        self.envelope.put_request(&mut message, items);
        if self.protocol == OtlpProtocol::HttpJson {
            message = json::from_protobuf(self.signal, &message)?;
        }
        let uncompressed = message.len();
        let compressed = match self.compression {
            Compression::Gzip if uncompressed >= GZIP_FROM => Some(gzip::compress(head, message.get(head..)?)?),
            Compression::Gzip | Compression::None => None,
        };
        let is_compressed = compressed.is_some();
        let mut body = compressed.unwrap_or(message);
        if self.protocol == OtlpProtocol::Grpc && !grpc::finish_frame(&mut body, is_compressed) {
            return None;
        }
        let headers = if is_compressed { &self.compressed_headers } else { &self.headers };
        let request = ExportRequest {
            cluster: Rc::clone(&self.cluster),
            headers: Rc::clone(headers),
            body,
            timeout_ms: self.timeout_ms,
        };
        Some((request, uncompressed))
    }
}

/// The least message that is compressed, bytes: a smaller one travels in a packet or two as it is.
const GZIP_FROM: usize = 1 << 10;
