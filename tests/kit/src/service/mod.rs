//! Small HTTP services in this process, to stand behind Envoy.

mod http;
mod raw;

pub use http::{ReceivedHead, Service, grpc_answer};
pub use raw::{RawUpstream, Step};
