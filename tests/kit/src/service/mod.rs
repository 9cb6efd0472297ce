//! Small HTTP services in this process, to stand behind Envoy.

mod http;
mod raw;
mod refusing;

pub use http::{ReceivedHead, Service, grpc_answer};
pub use raw::{RawUpstream, Step};
pub use refusing::Refusing;
