//! gRPC: what a stream's head and end say about the call that it is.
//!
//! [`GrpcRequest`] is read from a request's head, [`GrpcCall`] is kept until the stream ends, and [`GrpcFacts`] is what
//! spans, metrics and logs tell of it. Where a status comes from, in this order: the trailers, the headers, the HTTP
//! status, how the stream ended.
//!
//! Source: gRPC, "gRPC over HTTP/2" and "gRPC Web"; OpenTelemetry semantic conventions, "RPC" and "gRPC".

mod call;
mod known;
mod request;
mod status;

pub use call::{GrpcCall, GrpcEnd, GrpcFacts, GrpcOutcome};
pub use known::{Evidence, KnownMethods, LearntMethods, MOST_HANDLED, MOST_UNCLEAR, MethodList};
pub use request::{GrpcMethod, GrpcProtocol, GrpcRequest, LONGEST_METHOD, parse_timeout};
pub use status::GrpcStatus;

#[cfg(all(test, not(target_arch = "wasm32")))]
mod properties;
