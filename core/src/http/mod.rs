//! HTTP: one exchange, from its request headers to its end, becomes spans.
//!
//! [`HttpTracer`] is the configured whole. `handle_request_headers` takes what came in and gives an [`Exchange`] and
//! the header edits that carry context on; `handle_end` takes the exchange and what the host knows at the end, and
//! gives encoded spans. Nothing is kept for a stream that is not recorded but its ids.
//!
//! Source: OpenTelemetry semantic conventions, "HTTP spans".

mod address;
mod attributes;
mod exchange;
mod familiar;
mod grpc;
mod meter;
mod peer;
mod request;
mod response_flags;
mod route;
mod service_graph;
mod start;
mod tracer;

pub use exchange::{Exchange, HeadNeeds, OutcomeNeeds, ResponseHead, ResponseNeeds, StreamEnd, StreamIds};
pub use meter::HttpMeter;
pub use peer::{Peer, PeerNeeds};
pub use request::RequestHead;
pub use response_flags::ResponseFlags;
pub use route::RouteTable;
pub use tracer::{Finished, HttpTracer, TrafficDirection};

#[cfg(test)]
pub(crate) mod tests;
