//! Calls to clusters, and what the guest may do to the stream.

use super::{Import, data, plain, unimplemented};
use crate::abi::{Status, parse_headers};
use crate::guest::{Answer, Guest};
use crate::host::HttpCall;

pub(super) const IMPORTS: &[Import] = &[
    plain("proxy_http_call", "iiiiiiiiii", http_call),
    // Export goes through HTTP calls, gRPC's framing too, so the ABI's own gRPC is refused.
    plain("proxy_grpc_call", "iiiiiiiiiiii", unimplemented),
    plain("proxy_grpc_stream", "iiiiiiiii", unimplemented),
    plain("proxy_grpc_send", "iiii", unimplemented),
    plain("proxy_grpc_cancel", "i", unimplemented),
    plain("proxy_grpc_close", "i", unimplemented),
    data("proxy_get_status", "iii", 1, get_status),
    plain("proxy_continue_stream", "i", |_| Ok(())),
    plain("proxy_close_stream", "i", |_| Ok(())),
    plain("proxy_send_local_response", "iiiiiiii", |_| Ok(())),
];

fn http_call(guest: &mut Guest<'_>) -> Answer {
    let call = HttpCall {
        token: 0,
        context: 0,
        cluster: String::from_utf8(guest.bytes(0)?).map_err(|_| Status::BAD_ARGUMENT)?,
        headers: parse_headers(&guest.bytes(2)?).ok_or(Status::BAD_ARGUMENT)?,
        body: guest.bytes(4)?,
        trailers: parse_headers(&guest.bytes(6)?).ok_or(Status::BAD_ARGUMENT)?,
        timeout: guest.u32(8),
    };
    let token = guest.host().send(call)?;
    guest.return_u32(9, token)
}

/// The status of the last gRPC call: there was none.
fn get_status(guest: &mut Guest<'_>) -> Answer {
    guest.return_u32(0, 0)?;
    guest.return_data(1, &[])
}
