//! What a backend answered to an export request.

use super::code::Code;
use super::grpc;
use super::retry::{self, Retry};
use crate::config::OtlpProtocol;
use crate::config::json::{self, Value};
use crate::header::{HeaderLine, values};
use crate::percent;
use crate::protobuf::{Field, next_field};

/// An answer as the host has it. A request that failed on the way has no headers at all.
#[derive(Clone, Copy, Debug)]
pub struct ExportResponse<'a> {
    /// Response headers, with `:status`.
    pub headers: &'a [HeaderLine<'a>],
    /// The whole body.
    pub body: &'a [u8],
    /// Response trailers.
    pub trailers: &'a [HeaderLine<'a>],
}

/// What became of the items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportOutcome {
    /// The backend has them, all but `rejected`.
    Accepted {
        /// From a partial success.
        rejected: u64,
        /// The backend's words, when it had some: any text, of any length up to the answer's.
        message: String,
        /// The answer said success and its body could not be read.
        malformed: bool,
    },
    /// It does not have them.
    Failed {
        /// For the log, in our own words: what was answered.
        reason: String,
        /// The backend's words, which follow: any text, of any length up to the answer's.
        message: String,
        /// Whether it may take them another time.
        retry: Retry,
    },
}

impl ExportResponse<'_> {
    /// Reads the answer as `protocol` has it. `now` is in ns since the Unix epoch.
    #[inline]
    pub fn read(&self, protocol: OtlpProtocol, now: u64) -> (Code, ExportOutcome) {
        let Some(status) = values(self.headers, ":status").next() else {
            let reason = "no answer (connection refused, reset or timed out)".to_owned();
            let message = String::new();
            return (Code::NoAnswer, ExportOutcome::Failed { reason, message, retry: Retry::Backoff });
        };
        if protocol == OtlpProtocol::Grpc {
            // gRPC's status is in the trailers, or in the headers of an answer that has nothing else.
            let find = |name| values(self.trailers, name).next().or_else(|| values(self.headers, name).next());
            // 200 without a status is no gRPC: UNKNOWN (gRPC, "HTTP to gRPC Status Code Mapping").
            let without = || if status == b"200" { Code::UNKNOWN_GRPC } else { Code::http(status) };
            let code = find("grpc-status").map_or_else(without, Code::grpc);
            (code, self.read_grpc(status, find, now))
        } else {
            (Code::http(status), self.read_http(status, protocol, now))
        }
    }

    #[inline]
    fn read_grpc<'a>(&self, status: &[u8], find: impl Fn(&'static str) -> Option<&'a [u8]>, now: u64) -> ExportOutcome {
        match find("grpc-status") {
            Some(b"0") => {
                let encoding = values(self.headers, "grpc-encoding").next();
                let message = grpc::read_frame(self.body, encoding);
                accepted(message.and_then(|message| from_protobuf(&message)))
            }
            Some(code) => {
                let message = percent::decode(find("grpc-message").unwrap_or_default());
                let message = String::from_utf8_lossy(&message);
                let retry = retry::by_grpc_status(code, &message, find("grpc-status-details-bin"));
                let message = format!("{}: {message}", String::from_utf8_lossy(code));
                ExportOutcome::Failed { reason: "grpc-status ".to_owned(), message, retry }
            }
            None => ExportOutcome::Failed {
                reason: "HTTP status ".to_owned(),
                message: format!("{} without a grpc-status", String::from_utf8_lossy(status)),
                retry: retry::by_http_status(status, values(self.headers, "retry-after").next(), now),
            },
        }
    }

    #[inline]
    fn read_http(&self, status: &[u8], protocol: OtlpProtocol, now: u64) -> ExportOutcome {
        if !matches!(status, [b'2', _, _]) {
            let retry = retry::by_http_status(status, values(self.headers, "retry-after").next(), now);
            let message = String::from_utf8_lossy(status).into_owned();
            return ExportOutcome::Failed { reason: "HTTP status ".to_owned(), message, retry };
        }
        if protocol == OtlpProtocol::HttpJson {
            let body = if self.body.is_empty() { b"{}" } else { self.body };
            return accepted(from_json(body));
        }
        accepted(from_protobuf(self.body))
    }
}

/// What an answer says of a request that was accepted in part; nothing where it was accepted whole.
#[derive(Default)]
struct PartialSuccess {
    /// `rejected_spans`, `rejected_log_records` or `rejected_data_points`.
    rejected: i64,
    error_message: String,
}

/// Of an answer of OTLP, `partial_success = 1`: those of all signals number their fields alike. `None` for what is none.
#[inline]
fn from_protobuf(mut message: &[u8]) -> Option<PartialSuccess> {
    let mut partial = &[][..];
    while !message.is_empty() {
        match next_field(&mut message)? {
            (1, Field::Delimited(bytes)) => partial = bytes,
            (1, Field::Number(_)) => return None,
            _ => {}
        }
    }
    let mut read = PartialSuccess::default();
    while !partial.is_empty() {
        match next_field(&mut partial)? {
            (1, Field::Number(count)) => read.rejected = i64::from_le_bytes(count.to_le_bytes()),
            (2, Field::Delimited(text)) => core::str::from_utf8(text).ok()?.clone_into(&mut read.error_message),
            (1 | 2, _) => return None,
            _ => {}
        }
    }
    Some(read)
}

/// The same in OTLP/JSON, where a 64-bit integer is a string and a reader takes a number too (protobuf's JSON mapping).
#[inline]
fn from_json(text: &[u8]) -> Option<PartialSuccess> {
    let document = json::parse(text).ok()?;
    let Value::Object(_) = document.value else { return None };
    let Some(partial) = document.member("partialSuccess") else { return Some(PartialSuccess::default()) };
    let Value::Object(_) = partial.value else { return None };
    let counts = ["rejectedSpans", "rejectedLogRecords", "rejectedDataPoints"];
    let rejected = match counts.into_iter().find_map(|name| partial.member(name)).map(|count| &count.value) {
        None => 0,
        Some(Value::Number(number)) => i64::try_from(number.as_integer()?).ok()?,
        Some(Value::String(text)) => text.parse().unwrap_or(0),
        Some(_) => return None,
    };
    let error_message = match partial.member("errorMessage").map(|message| &message.value) {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(_) => return None,
    };
    Some(PartialSuccess { rejected, error_message })
}

#[inline]
fn accepted(partial: Option<PartialSuccess>) -> ExportOutcome {
    match partial {
        Some(PartialSuccess { rejected, error_message }) => ExportOutcome::Accepted {
            rejected: u64::try_from(rejected).unwrap_or(0),
            message: error_message,
            malformed: false,
        },
        None => ExportOutcome::Accepted { rejected: 0, message: String::new(), malformed: true },
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use prost::Message;

    use super::*;

    /// Protocol, headers, body, trailers, outcome, why.
    type Case<'a> = (OtlpProtocol, &'a [HeaderLine<'a>], &'a [u8], &'a [HeaderLine<'a>], ExportOutcome, &'a str);

    fn partial() -> ExportTraceServiceResponse {
        ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess { rejected_spans: 3, error_message: "too old".into() }),
        }
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        let mut body = vec![0; grpc::FRAME_HEAD];
        body.extend_from_slice(message);
        assert!(grpc::finish_frame(&mut body, false));
        body
    }

    fn ok(rejected: u64, message: &str, malformed: bool) -> ExportOutcome {
        ExportOutcome::Accepted { rejected, message: message.into(), malformed }
    }

    fn failed(reason: &str, message: &str, retry: Retry) -> ExportOutcome {
        ExportOutcome::Failed { reason: reason.into(), message: message.into(), retry }
    }

    #[test]
    fn answers_have_a_code() {
        use OtlpProtocol::{Grpc, HttpProtobuf};
        let head: &[HeaderLine<'_>] = &[(b":status", b"200")];
        let bad_gateway: &[HeaderLine<'_>] = &[(b":status", b"502")];
        let table: &[(OtlpProtocol, &[HeaderLine<'_>], &[HeaderLine<'_>], &str)] = &[
            (Grpc, &[], &[], "no_answer"),
            (Grpc, head, &[(b"grpc-status", b"14")], "UNAVAILABLE"),
            (Grpc, head, &[], "UNKNOWN"),
            (Grpc, bad_gateway, &[], "502"),
            (HttpProtobuf, bad_gateway, &[(b"grpc-status", b"14")], "502"),
        ];
        for (protocol, headers, trailers, expected) in table {
            let (code, _) = ExportResponse { headers, body: b"", trailers }.read(*protocol, 0);
            assert_eq!(code.to_string(), *expected);
        }
    }

    #[test]
    fn answers_are_read_by_protocol() {
        use OtlpProtocol::{Grpc, HttpJson, HttpProtobuf};
        let ok_head: &[HeaderLine<'_>] = &[(b":status", b"200")];
        let done: &[HeaderLine<'_>] = &[(b"grpc-status", b"0")];
        let unavailable: &[HeaderLine<'_>] = &[(b"grpc-status", b"14"), (b"grpc-message", b"try%0Alater%20%C3%A4")];
        let trailers_only: &[HeaderLine<'_>] = &[(b":status", b"200"), (b"grpc-status", b"16")];
        let bad_gateway: &[HeaderLine<'_>] = &[(b":status", b"502")];
        let partial_protobuf = partial().encode_to_vec();
        let partial_frame = framed(&partial_protobuf);
        let partial_json: &[u8] = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#;
        let empty_frame = framed(b"");
        let table: &[Case<'_>] = &[
            (
                Grpc,
                &[],
                b"",
                &[],
                failed("no answer (connection refused, reset or timed out)", "", Retry::Backoff),
                "never answered",
            ),
            (Grpc, ok_head, &empty_frame, done, ok(0, "", false), "all taken"),
            (Grpc, ok_head, &partial_frame, done, ok(3, "too old", false), "partial success"),
            (Grpc, ok_head, b"junk", done, ok(0, "", true), "success with a body that is none"),
            (
                Grpc,
                ok_head,
                b"",
                unavailable,
                failed("grpc-status ", "14: try\nlater ä", Retry::Backoff),
                "an error, its text decoded",
            ),
            (Grpc, trailers_only, b"", &[], failed("grpc-status ", "16: ", Retry::Never), "trailers only"),
            (
                Grpc,
                bad_gateway,
                b"",
                &[],
                failed("HTTP status ", "502 without a grpc-status", Retry::Backoff),
                "no gRPC backend",
            ),
            (HttpProtobuf, ok_head, b"", &[], ok(0, "", false), "an empty body is an empty message"),
            (HttpProtobuf, ok_head, &partial_protobuf, &[], ok(3, "too old", false), "partial success"),
            (HttpProtobuf, ok_head, b"<html>", &[], ok(0, "", true), "a body of another kind"),
            (HttpProtobuf, bad_gateway, b"", &[], failed("HTTP status ", "502", Retry::Backoff), "an error"),
            (HttpJson, ok_head, partial_json, &[], ok(3, "too old", false), "partial success in JSON"),
            (
                HttpJson,
                ok_head,
                br#"{"partialSuccess":{"rejectedLogRecords":4}}"#,
                &[],
                ok(4, "", false),
                "log records, and a number as a number",
            ),
            (HttpJson, ok_head, br#"{"partialSuccess":{"rejectedDataPoints":"5"}}"#, &[], ok(5, "", false), "points"),
            (
                HttpJson,
                ok_head,
                br#"{"partialSuccess":{"rejectedSpans":"-1"}}"#,
                &[],
                ok(0, "", false),
                "less than none",
            ),
            (HttpJson, ok_head, br#"{"partialSuccess":null}"#, &[], ok(0, "", false), "no partial success"),
            (HttpJson, ok_head, br#"{"partialSuccess":[]}"#, &[], ok(0, "", true), "a partial success that is a list"),
            (
                HttpJson,
                ok_head,
                br#"{"partialSuccess":{"rejectedSpans":[]}}"#,
                &[],
                ok(0, "", true),
                "a count that is a list",
            ),
            (
                HttpJson,
                ok_head,
                br#"{"partialSuccess":{"errorMessage":7}}"#,
                &[],
                ok(0, "", true),
                "a message that is a number",
            ),
            (HttpJson, ok_head, b"[]", &[], ok(0, "", true), "a list"),
            (HttpJson, ok_head, b"{}", &[], ok(0, "", false), "an empty object"),
            (HttpJson, ok_head, b"", &[], ok(0, "", false), "no body"),
            (HttpJson, ok_head, b"<html>", &[], ok(0, "", true), "a body of another kind"),
        ];
        for (protocol, headers, body, trailers, expected, why) in table {
            let response = ExportResponse { headers, body, trailers };
            assert_eq!(response.read(*protocol, 0).1, *expected, "{protocol:?}: {why}");
        }
    }
}
