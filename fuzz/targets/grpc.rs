//! A gRPC call's headers and trailer, one a line: content type, path, timeout, status. What is taken as a method is one,
//! and bounded; every call has one outcome; what was said holds, and nobody is told that all is well who was not told.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshspan_core::grpc::{GrpcCall, GrpcEnd, GrpcMethod, GrpcRequest, GrpcStatus, LONGEST_METHOD, parse_timeout};
use meshspan_core::span::SpanKind;

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (content_type, path, timeout, status) = (line(), line(), line(), line());

    if let Some(ns) = parse_timeout(timeout) {
        assert!((2..=9).contains(&timeout.len()));
        assert!(ns == u64::MAX || ns / 3_600_000_000_000 <= 99_999_999);
    }
    let Some(request) = GrpcRequest::new(content_type, path, timeout) else {
        return;
    };
    assert!(content_type.len() >= b"application/grpc".len());
    assert_eq!(request.method(), GrpcMethod::parse(request.name));
    if let Some(GrpcMethod { service, method }) = request.method() {
        assert_eq!([service, b"/", method].concat(), request.name);
        assert!(request.name.len() <= LONGEST_METHOD && request.name.is_ascii());
    }

    let mut call = GrpcCall::new(&request);
    for http_status in [None, Some(0), Some(200), Some(404), Some(503)] {
        for caller_left in [false, true] {
            let end = GrpcEnd { http_status, caller_left, duration: Some(data.len() as u64), ..GrpcEnd::default() };
            let outcome = call.outcome(&end);
            assert_ne!(outcome.status, Some(GrpcStatus::OK), "nobody said so");
            if outcome.failed(SpanKind::Server) {
                assert!(outcome.failed(SpanKind::Client));
            }
        }
    }
    call.set_trailer_status(status);
    let outcome = call.outcome(&GrpcEnd::default());
    assert_eq!(outcome.status, Some(GrpcStatus::parse(status)));
});
