//! How a request ended, as a label: a closed set, so that no backend can add a series.

use std::fmt;

use crate::config::OtlpProtocol;
use crate::grpc::GrpcStatus;

/// What a request was answered, or why it was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// An HTTP status of the known ones, as a number.
    Http(u16),
    /// Any other HTTP status, by its first digit.
    HttpClass(u8),
    /// A gRPC status.
    Grpc(GrpcStatus),
    /// A status that is none.
    Unknown,
    /// No answer came: refused, reset or timed out.
    NoAnswer,
    /// The proxy has no such cluster.
    NoCluster,
    /// The host did not send the request.
    NotSent,
}

/// The HTTP statuses that backends and the proxies before them answer.
const HTTP: [u16; 22] =
    [200, 202, 204, 301, 302, 307, 308, 400, 401, 403, 404, 405, 408, 411, 413, 415, 429, 500, 501, 502, 503, 504];

impl Code {
    /// What stands for an answer that has no gRPC status where one belongs.
    pub(super) const UNKNOWN_GRPC: Self = Self::Grpc(GrpcStatus::UNKNOWN);

    /// What a backend of this protocol answers to a request that it takes.
    pub(super) const fn success(protocol: OtlpProtocol) -> Self {
        match protocol {
            OtlpProtocol::Grpc => Self::Grpc(GrpcStatus::OK),
            OtlpProtocol::HttpProtobuf | OtlpProtocol::HttpJson => Self::Http(200),
        }
    }

    /// From `:status`.
    pub(super) fn http(status: &[u8]) -> Self {
        let [class @ b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] = status else { return Self::Unknown };
        let number = core::str::from_utf8(status).ok().and_then(|status| status.parse().ok());
        match number.filter(|number| HTTP.contains(number)) {
            Some(number) => Self::Http(number),
            None => Self::HttpClass(class.saturating_sub(b'0')),
        }
    }

    /// From `grpc-status`.
    pub(super) fn grpc(status: &[u8]) -> Self {
        let number = core::str::from_utf8(status).ok().and_then(|status| status.parse().ok());
        number.and_then(GrpcStatus::from_code).map_or(Self::Unknown, Self::Grpc)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(status) => write!(f, "{status}"),
            Self::HttpClass(class) => write!(f, "{class}xx"),
            Self::Grpc(status) => f.write_str(status.name()),
            Self::Unknown => f.write_str("unknown"),
            Self::NoAnswer => f.write_str("no_answer"),
            Self::NoCluster => f.write_str("no_cluster"),
            Self::NotSent => f.write_str("not_sent"),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn every_status_has_one_of_few_names() {
        let http: &[(&str, &str, &str)] = &[
            ("200", "200", "known"),
            ("503", "503", "known"),
            ("299", "2xx", "not known, by its class"),
            ("418", "4xx", "not known, by its class"),
            ("600", "unknown", "no status"),
            ("20", "unknown", "too short"),
            ("2000", "unknown", "too long"),
            ("2x0", "unknown", "no number"),
            ("", "unknown", "nothing"),
        ];
        for (status, expected, why) in http {
            assert_eq!(Code::http(status.as_bytes()).to_string(), *expected, "{status}: {why}");
        }
        let grpc: &[(&str, &str, &str)] = &[
            ("0", "OK", "the first"),
            ("14", "UNAVAILABLE", "one between"),
            ("16", "UNAUTHENTICATED", "the last"),
            ("17", "unknown", "one too many"),
            ("-1", "unknown", "none"),
            ("999999", "unknown", "a long one"),
            ("", "unknown", "nothing"),
        ];
        for (status, expected, why) in grpc {
            assert_eq!(Code::grpc(status.as_bytes()).to_string(), *expected, "{status}: {why}");
        }
    }
}
