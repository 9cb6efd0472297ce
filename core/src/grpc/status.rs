//! gRPC's status codes.
//!
//! Source: gRPC, "Status codes and their use in gRPC" and "HTTP to gRPC Status Code Mapping"; OpenTelemetry semantic
//! conventions, "gRPC", for which of them are errors.

use core::fmt;

use crate::span::SpanKind;

/// By number.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// One of the 17 status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GrpcStatus(u8);

impl GrpcStatus {
    /// 0
    pub const OK: Self = Self(0);
    /// 1: the caller left.
    pub const CANCELLED: Self = Self(1);
    /// 2: also what stands for a status that is missing or none.
    pub const UNKNOWN: Self = Self(2);
    /// 3
    pub const INVALID_ARGUMENT: Self = Self(3);
    /// 4
    pub const DEADLINE_EXCEEDED: Self = Self(4);
    /// 5
    pub const NOT_FOUND: Self = Self(5);
    /// 6
    pub const ALREADY_EXISTS: Self = Self(6);
    /// 7
    pub const PERMISSION_DENIED: Self = Self(7);
    /// 8
    pub const RESOURCE_EXHAUSTED: Self = Self(8);
    /// 9
    pub const FAILED_PRECONDITION: Self = Self(9);
    /// 10
    pub const ABORTED: Self = Self(10);
    /// 11
    pub const OUT_OF_RANGE: Self = Self(11);
    /// 12: the server has no such method.
    pub const UNIMPLEMENTED: Self = Self(12);
    /// 13
    pub const INTERNAL: Self = Self(13);
    /// 14
    pub const UNAVAILABLE: Self = Self(14);
    /// 15
    pub const DATA_LOSS: Self = Self(15);
    /// 16
    pub const UNAUTHENTICATED: Self = Self(16);

    /// By its number, 0 to 16.
    pub const fn from_code(code: u8) -> Option<Self> {
        if code <= Self::UNAUTHENTICATED.0 { Some(Self(code)) } else { None }
    }

    /// The status that a header `grpc-status` says. One that is no status is [`UNKNOWN`](Self::UNKNOWN), as it is to
    /// gRPC's clients.
    pub fn parse(value: &[u8]) -> Self {
        let code = core::str::from_utf8(value).ok().and_then(|value| value.trim().parse().ok());
        code.and_then(Self::from_code).unwrap_or(Self::UNKNOWN)
    }

    /// The status that a client makes of an HTTP status where the answer has no `grpc-status`.
    pub const fn from_http(code: u64) -> Self {
        match code {
            400 => Self::INTERNAL,
            401 => Self::UNAUTHENTICATED,
            403 => Self::PERMISSION_DENIED,
            404 => Self::UNIMPLEMENTED,
            429 | 502 | 503 | 504 => Self::UNAVAILABLE,
            _ => Self::UNKNOWN,
        }
    }

    /// The number.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// The name, such as `NOT_FOUND`.
    pub fn name(self) -> &'static str {
        NAMES.get(usize::from(self.0)).copied().unwrap_or("UNKNOWN")
    }

    /// Whether a call that ended so failed, as its span sees it: for a caller all that is not OK has; for a server only
    /// what is not the caller's doing.
    pub const fn is_error(self, kind: SpanKind) -> bool {
        match kind {
            SpanKind::Server => matches!(
                self,
                Self::UNKNOWN
                    | Self::DEADLINE_EXCEEDED
                    | Self::UNIMPLEMENTED
                    | Self::INTERNAL
                    | Self::UNAVAILABLE
                    | Self::DATA_LOSS
            ),
            SpanKind::Client => self.0 != Self::OK.0,
        }
    }
}

impl fmt::Display for GrpcStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn any_value_is_a_status() {
        let table: &[(&[u8], &str, &str)] = &[
            (b"0", "OK", "the first"),
            (b"5", "NOT_FOUND", "one between"),
            (b"16", "UNAUTHENTICATED", "the last"),
            (b" 14 ", "UNAVAILABLE", "with space around it"),
            (b"17", "UNKNOWN", "one too many"),
            (b"256", "UNKNOWN", "no byte holds it"),
            (b"-1", "UNKNOWN", "no number of a status"),
            (b"OK", "UNKNOWN", "a name is no number"),
            (b"\xff", "UNKNOWN", "no text"),
            (b"", "UNKNOWN", "nothing"),
        ];
        for (value, expected, why) in table {
            assert_eq!(GrpcStatus::parse(value).name(), *expected, "{why}");
        }
        for code in 0..=u8::MAX {
            assert_eq!(GrpcStatus::from_code(code).map(GrpcStatus::code), (code <= 16).then_some(code));
        }
    }

    #[test]
    fn http_answers_stand_for_a_status() {
        let table: &[(u64, &str)] = &[
            (400, "INTERNAL"),
            (401, "UNAUTHENTICATED"),
            (403, "PERMISSION_DENIED"),
            (404, "UNIMPLEMENTED"),
            (429, "UNAVAILABLE"),
            (502, "UNAVAILABLE"),
            (503, "UNAVAILABLE"),
            (504, "UNAVAILABLE"),
            (200, "UNKNOWN"),
            (302, "UNKNOWN"),
            (500, "UNKNOWN"),
            (u64::MAX, "UNKNOWN"),
        ];
        for (code, expected) in table {
            assert_eq!(GrpcStatus::from_http(*code).name(), *expected, "{code}");
        }
    }

    #[test]
    fn errors_are_those_of_the_conventions() {
        let of = |kind| (0..=16).filter_map(GrpcStatus::from_code).filter(move |status| status.is_error(kind));
        let names: Vec<_> = of(SpanKind::Server).map(GrpcStatus::name).collect();
        assert_eq!(
            names,
            ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"],
            "a server's"
        );
        assert_eq!(of(SpanKind::Client).count(), 16, "a caller's: all but OK");
        assert!(!GrpcStatus::OK.is_error(SpanKind::Client), "OK is none");
    }
}
