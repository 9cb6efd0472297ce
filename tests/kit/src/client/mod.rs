//! Clients that send what real clients would not: HTTP/1.1 byte by byte over TCP, and HTTP/2 in clear text.

mod http1;
mod http2;

pub use http1::{Connection, Request, Response};
pub use http2::{Http2Client, Http2Response};
