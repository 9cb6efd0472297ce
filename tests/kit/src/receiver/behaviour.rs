//! What the receiver answers a request.

use std::time::Duration;

use super::Protocol;

/// The answer to one request. Every request is read, decoded and recorded first, whatever the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Behaviour {
    /// Success, everything accepted.
    #[default]
    Ok,
    /// Success in which some spans are rejected (`partial_success`).
    PartialSuccess {
        /// `rejected_spans`.
        rejected: i64,
        /// `error_message`.
        message: String,
    },
    /// This HTTP status with these headers and body, in the place of any answer; to a gRPC client as well.
    HttpStatus {
        /// The status code.
        code: u16,
        /// Header lines, for instance `retry-after`.
        headers: Vec<(String, String)>,
        /// The body as it is.
        body: Vec<u8>,
    },
    /// This gRPC status. A client of OTLP/HTTP gets 500 with it, which no test should rely on.
    GrpcStatus {
        /// A number of the gRPC status codes, 1 to 16.
        code: i32,
        /// `grpc-message`.
        message: String,
        /// `grpc-status-details-bin` before its base64: a serialized `google.rpc.Status`. Empty: left out.
        details: Vec<u8>,
    },
    /// 200 with this body and content type, which need not be OTLP.
    RawBody {
        /// `content-type`.
        content_type: String,
        /// The body as it is.
        body: Vec<u8>,
    },
    /// To a request whose body has more bytes on the wire than this: 413, or `RESOURCE_EXHAUSTED` in the words of Go's
    /// gRPC. Success to all others.
    SizeLimit(usize),
    /// The inner answer, after this time.
    Delay(Duration, Box<Behaviour>),
    /// No answer, until the client gives up.
    Hang,
    /// The TCP connection is reset.
    Reset,
    /// A head of success and the beginning of a body are sent, and then the TCP connection is reset.
    ResetMidResponse,
}

impl Behaviour {
    /// An HTTP status without headers or body.
    pub fn http_status(code: u16) -> Self {
        Self::HttpStatus { code, headers: Vec::new(), body: Vec::new() }
    }

    /// A gRPC status without details.
    pub fn grpc_status(code: i32, message: &str) -> Self {
        Self::GrpcStatus { code, message: message.to_owned(), details: Vec::new() }
    }

    /// What it comes to for a request whose body has so many bytes on the wire.
    pub(super) fn for_size(self, size: usize, protocol: Protocol) -> Self {
        match self {
            Self::SizeLimit(limit) if size <= limit => Self::Ok,
            Self::SizeLimit(limit) if protocol == Protocol::Grpc => {
                Self::grpc_status(8, &format!("grpc: received message larger than max ({size} vs. {limit})"))
            }
            Self::SizeLimit(_) => Self::http_status(413),
            Self::Delay(time, inner) => Self::Delay(time, Box::new(inner.for_size(size, protocol))),
            other => other,
        }
    }

    /// Whether a request that is answered so counts as accepted, so that a client must not send it again.
    pub fn accepts(&self) -> bool {
        match self {
            Self::Ok | Self::PartialSuccess { .. } => true,
            Self::Delay(_, inner) => inner.accepts(),
            _ => false,
        }
    }
}
