//! Which attributes the span of a gRPC call has beside those of HTTP (semantic conventions, "RPC spans" and "gRPC").

use crate::config::RpcSemconv;
use crate::grpc::GrpcFacts;
use crate::masking::Masked;
use crate::semconv::{self, legacy};
use crate::span::SpanAttributes;

/// That it is gRPC.
pub(super) fn put_system(semconv: RpcSemconv, attributes: &mut SpanAttributes) {
    const GRPC: Masked<'static> = Masked::literal("grpc");
    if semconv.is_stable() {
        attributes.put_text(semconv::RPC_SYSTEM_NAME, &GRPC);
    }
    if semconv.is_legacy() {
        attributes.put_text(legacy::RPC_SYSTEM, &GRPC);
    }
}

/// What was called, and how it ended. Where both conventions have an attribute of one name, it is the newer one's.
pub(super) fn put_call(call: &GrpcFacts<'_>, semconv: RpcSemconv, attributes: &mut SpanAttributes) {
    let method = if semconv.is_stable() { &call.method } else { &call.bare_method };
    let key = if semconv.is_stable() { semconv::RPC_METHOD } else { legacy::RPC_METHOD };
    if let Some(method) = method {
        attributes.put_text(key, method);
    }
    if let Some(service) = &call.service {
        attributes.put_text(semconv::RPC_SERVICE, service);
    }
    if let Some(original) = &call.original {
        attributes.put_text(semconv::RPC_METHOD_ORIGINAL, original);
    }
    let Some(status) = call.outcome.status else { return };
    if semconv.is_stable() {
        attributes.put_text(semconv::RPC_RESPONSE_STATUS_CODE, &Masked::literal(status.name()));
    }
    if semconv.is_legacy() {
        attributes.put_count(legacy::RPC_GRPC_STATUS_CODE, u64::from(status.code()));
    }
}
