//! Answers of OTLP backends, by each protocol: what `prost` reads of a partial success and of a `RetryInfo` is what is read
//! here, and what it does not read is malformed here too.
//!
//! The input's first byte is the protocol's, the rest the message.
#![no_main]

use base64::Engine;
use libfuzzer_sys::fuzz_target;
use meshspan_core::config::OtlpProtocol;
use meshspan_core::export::{ExportOutcome, ExportResponse, Retry};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

/// `google.rpc.Status`, as far as it concerns a retry.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// `google.rpc.RetryInfo`
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

const OK: &[(&[u8], &[u8])] = &[(b":status", b"200"), (b"grpc-status", b"0")];

fuzz_target!(|data: &[u8]| {
    let Some((protocol, message)) = data.split_first() else {
        return;
    };
    match protocol % 4 {
        0 => partial_success(OtlpProtocol::HttpProtobuf, message, message),
        1 => {
            let mut framed = vec![0];
            framed.extend(u32::try_from(message.len()).unwrap_or(0).to_be_bytes());
            framed.extend(message);
            partial_success(OtlpProtocol::Grpc, &framed, message);
        }
        2 => {
            let read = answer(OtlpProtocol::HttpJson, message);
            let is_json = serde_json::from_slice::<serde_json::Value>(message).is_ok();
            if !message.is_empty() && !is_json {
                assert!(matches!(read, ExportOutcome::Accepted { malformed: true, .. }));
            }
        }
        _ => retry_info(message),
    }
});

fn answer(protocol: OtlpProtocol, body: &[u8]) -> ExportOutcome {
    let response = ExportResponse { headers: OK, body, trailers: &[] };
    let (_, outcome) = response.read(protocol, 0);
    assert_eq!(response.read(protocol, 0).1, outcome, "reading is deterministic");
    outcome
}

fn partial_success(protocol: OtlpProtocol, body: &[u8], message: &[u8]) {
    let ExportOutcome::Accepted { rejected, message: text, malformed } = answer(protocol, body) else {
        panic!("an answer with status 0 and 200 is no failure")
    };
    if malformed {
        return;
    }
    // What `prost` refuses and is read here has parts that nobody looks at: an unknown field of a kind that is not known.
    if let Ok(judge) = ExportTraceServiceResponse::decode(message)
        && times(message) < 2
    {
        let partial = judge.partial_success.unwrap_or_default();
        assert_eq!(rejected, u64::try_from(partial.rejected_spans).unwrap_or(0));
        assert_eq!(text, partial.error_message);
    }
}

/// How often field 1 stands in a message: `prost` joins those, and here the last one counts.
fn times(mut message: &[u8]) -> usize {
    let mut times = 0;
    while let Some((field, _)) = meshspan_core::config::wire::next_field(&mut message) {
        times += usize::from(field == 1);
    }
    times
}

fn retry_info(status: &[u8]) {
    let details = base64::engine::general_purpose::STANDARD.encode(status);
    let trailers: &[(&[u8], &[u8])] =
        &[(b"grpc-status", b"14"), (b"grpc-status-details-bin", details.as_bytes())];
    let response = ExportResponse { headers: &[(b":status", b"200")], body: &[], trailers };
    let (_, ExportOutcome::Failed { retry, .. }) = response.read(OtlpProtocol::Grpc, 0) else {
        panic!("UNAVAILABLE is a failure")
    };
    let Ok(judge) = RpcStatus::decode(status) else {
        return;
    };
    let told = judge.details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"));
    let Some(told) = told.filter(|told| times(&told.value) == 1) else {
        return;
    };
    if let Ok(RetryInfo { retry_delay: Some(delay) }) = RetryInfo::decode(told.value.as_slice()) {
        let seconds = u64::try_from(delay.seconds).unwrap_or(0);
        let nanos = u64::try_from(delay.nanos).unwrap_or(0);
        assert_eq!(retry, Retry::After(seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000)));
    }
}
