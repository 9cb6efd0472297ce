//! One call, from its request's head to its end.

use super::known::{Evidence, KnownMethods};
use super::request::{GrpcMethod, GrpcProtocol, GrpcRequest};
use super::status::GrpcStatus;
use crate::masking::{Masked, Masker};
use crate::semconv;
use crate::span::SpanKind;

/// What is kept of a call until it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcCall {
    protocol: GrpcProtocol,
    /// [`GrpcRequest::name`]
    name: Box<[u8]>,
    timeout: Option<u64>,
    /// What the trailers said.
    status: Option<GrpcStatus>,
}

/// What the host knows when the stream of a call is complete.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcEnd {
    /// `grpc-status` of the answer's headers: an answer without a body, or one of the proxy's own.
    pub header_status: Option<GrpcStatus>,
    /// The answer's HTTP status; `None` without an answer.
    pub http_status: Option<u64>,
    /// Whether the caller left before the end.
    pub caller_left: bool,
    /// What else went wrong, in the proxy's words.
    pub failure: Option<&'static str>,
    /// How long the stream took, ns.
    pub duration: Option<u64>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcOutcome {
    /// The status, where it can be told.
    pub status: Option<GrpcStatus>,
    /// What stands for the error where nobody gave a status.
    failure: Option<&'static str>,
    evidence: Evidence,
}

/// What may be told about a call: the same for spans, metrics and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcFacts<'a> {
    /// Whether the method is [known](KnownMethods). The texts here are `None` as well where masking takes them away.
    pub is_known: bool,
    /// `package.Service/Method`; `_OTHER` for a method that is not known.
    pub method: Option<Masked<'a>>,
    /// `package.Service` of a known method.
    pub service: Option<Masked<'a>>,
    /// `Method`; `_OTHER` for one that is not known.
    pub bare_method: Option<Masked<'a>>,
    /// What was called where the method is not known: for spans only, as there may be any number.
    pub original: Option<Masked<'a>>,
    /// How it ended.
    pub outcome: GrpcOutcome,
}

impl GrpcCall {
    /// From a request's head.
    pub fn new(request: &GrpcRequest<'_>) -> Self {
        Self { protocol: request.protocol, name: request.name.into(), timeout: request.timeout, status: None }
    }

    /// `grpc-status` of the answer's trailers.
    pub fn set_trailer_status(&mut self, value: &[u8]) {
        self.status = Some(GrpcStatus::parse(value));
    }

    /// Whether the trailers have said the status, so that the headers need not be asked.
    pub const fn has_trailer_status(&self) -> bool {
        self.status.is_some()
    }

    /// How the call ended: the status that the caller got. Where no `grpc-status` came, it is what gRPC's clients make of
    /// what came in its place.
    pub fn outcome(&self, end: &GrpcEnd) -> GrpcOutcome {
        if let Some(status) = self.status.or(end.header_status) {
            let evidence = evidence(status, self.status.is_some());
            return GrpcOutcome { status: Some(status), failure: None, evidence };
        }
        let implied = |status, failure, evidence| GrpcOutcome { status: Some(status), failure, evidence };
        // Whatever began with 200 and without a status was begun by the server: the proxy's own answers have one.
        let begun = if end.http_status == Some(200) { Evidence::Handled } else { Evidence::Unclear };
        match end.http_status {
            Some(code) if code != 0 && code != 200 => {
                let status = GrpcStatus::from_http(code);
                implied(status, None, evidence(status, false))
            }
            _ if end.caller_left => {
                let status =
                    if self.ran_out_of_time(end) { GrpcStatus::DEADLINE_EXCEEDED } else { GrpcStatus::CANCELLED };
                implied(status, None, begun)
            }
            _ if end.failure.is_some() => implied(GrpcStatus::UNKNOWN, end.failure, begun),
            // The status is in the body.
            Some(200) if self.protocol == GrpcProtocol::Web => {
                GrpcOutcome { status: None, failure: None, evidence: Evidence::Unclear }
            }
            _ => implied(GrpcStatus::UNKNOWN, None, Evidence::Unclear),
        }
    }

    /// Whether a caller that left had waited for as long as it said it would. It counts from before its request was on
    /// its way, so it may be here for a little less.
    fn ran_out_of_time(&self, end: &GrpcEnd) -> bool {
        let (Some(timeout), Some(duration)) = (self.timeout, end.duration) else { return false };
        duration >= timeout.saturating_sub(timeout / 10)
    }

    /// What may be told about the call. `known` takes note of it.
    pub fn facts(&self, end: &GrpcEnd, known: &mut KnownMethods, masker: &Masker) -> GrpcFacts<'_> {
        let outcome = self.outcome(end);
        let method = GrpcMethod::parse(&self.name).filter(|_| known.recognise(&self.name, outcome.evidence));
        let Some(GrpcMethod { service, method }) = method else {
            const OTHER: Masked<'static> = Masked::literal("_OTHER");
            let original = masker.value(semconv::RPC_METHOD_ORIGINAL, &self.name);
            let (method, bare_method) = (Some(OTHER), Some(OTHER));
            return GrpcFacts { is_known: false, method, service: None, bare_method, original, outcome };
        };
        GrpcFacts {
            is_known: true,
            method: masker.value(semconv::RPC_METHOD, &self.name),
            service: masker.value(semconv::RPC_SERVICE, service),
            bare_method: masker.value(semconv::RPC_METHOD, method),
            original: None,
            outcome,
        }
    }
}

impl<'a> GrpcFacts<'a> {
    /// The span's name: the method, or `grpc` where it is not known (semantic conventions, "RPC", "Name").
    pub fn span_name(&self) -> Masked<'a> {
        self.method.clone().filter(|_| self.is_known).unwrap_or(const { Masked::literal("grpc") })
    }
}

/// What a status says about the method. `in_trailers`: something stood before it, be it headers alone, and so the server
/// had begun to handle the call.
fn evidence(status: GrpcStatus, in_trailers: bool) -> Evidence {
    match status {
        GrpcStatus::UNIMPLEMENTED => Evidence::Unimplemented,
        _ if in_trailers => Evidence::Handled,
        // Nobody but a method itself answers these.
        GrpcStatus::OK
        | GrpcStatus::INVALID_ARGUMENT
        | GrpcStatus::NOT_FOUND
        | GrpcStatus::ALREADY_EXISTS
        | GrpcStatus::FAILED_PRECONDITION
        | GrpcStatus::ABORTED
        | GrpcStatus::OUT_OF_RANGE
        | GrpcStatus::DATA_LOSS => Evidence::Handled,
        _ => Evidence::Unclear,
    }
}

impl GrpcOutcome {
    /// `error.type` of a span of this kind; `None` where the call did not fail.
    pub fn error_type(&self, kind: SpanKind) -> Option<&'static str> {
        let status = self.status.filter(|status| status.is_error(kind))?;
        Some(self.failure.unwrap_or(status.name()))
    }

    /// Whether the call failed, as a span of this kind sees it.
    pub fn failed(&self, kind: SpanKind) -> bool {
        self.error_type(kind).is_some()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::config::{InstrumentationConfig, MaskingConfig};

    const MS: u64 = 1_000_000;

    fn call(content_type: &str, timeout: &str) -> GrpcCall {
        let request = GrpcRequest::new(content_type.as_bytes(), b"/shop.Cart/Get", timeout.as_bytes());
        GrpcCall::new(&request.expect("gRPC"))
    }

    fn grpc() -> GrpcCall {
        call("application/grpc", "")
    }

    fn with_trailers(status: &str) -> GrpcCall {
        let mut call = grpc();
        call.set_trailer_status(status.as_bytes());
        call
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "a table")]
    fn a_call_has_the_status_that_its_caller_got() {
        let web = || call("application/grpc-web+proto", "");
        let end = |http_status| GrpcEnd { http_status, duration: Some(10 * MS), ..GrpcEnd::default() };
        let left =
            |http_status| GrpcEnd { caller_left: true, failure: Some("DownstreamRemoteReset"), ..end(http_status) };
        let cut = |http_status| GrpcEnd { failure: Some("UpstreamRemoteReset"), ..end(http_status) };
        let headers = |code, http_status| GrpcEnd { header_status: GrpcStatus::from_code(code), ..end(http_status) };
        let late = |ms| GrpcEnd { duration: Some(ms * MS), ..left(None) };
        // `error.type` of a server span and of a client span.
        let table: &[(GrpcCall, GrpcEnd, Option<&str>, Option<&str>, Option<&str>, &str)] = &[
            (with_trailers("0"), end(Some(200)), Some("OK"), None, None, "trailers"),
            (with_trailers("5"), end(Some(200)), Some("NOT_FOUND"), None, Some("NOT_FOUND"), "the caller's doing"),
            (with_trailers("13"), end(Some(200)), Some("INTERNAL"), Some("INTERNAL"), Some("INTERNAL"), "both failed"),
            (with_trailers("x"), end(Some(200)), Some("UNKNOWN"), Some("UNKNOWN"), Some("UNKNOWN"), "no status"),
            (with_trailers("0"), left(Some(200)), Some("OK"), None, None, "the caller left with what it wanted"),
            (
                grpc(),
                headers(12, Some(200)),
                Some("UNIMPLEMENTED"),
                Some("UNIMPLEMENTED"),
                Some("UNIMPLEMENTED"),
                "headers only",
            ),
            (
                web(),
                headers(14, Some(503)),
                Some("UNAVAILABLE"),
                Some("UNAVAILABLE"),
                Some("UNAVAILABLE"),
                "the proxy's answer to gRPC-Web has both",
            ),
            (grpc(), end(Some(503)), Some("UNAVAILABLE"), Some("UNAVAILABLE"), Some("UNAVAILABLE"), "HTTP"),
            (grpc(), end(Some(401)), Some("UNAUTHENTICATED"), None, Some("UNAUTHENTICATED"), "HTTP"),
            (
                grpc(),
                left(Some(404)),
                Some("UNIMPLEMENTED"),
                Some("UNIMPLEMENTED"),
                Some("UNIMPLEMENTED"),
                "HTTP, of which the caller read no more than the head",
            ),
            (grpc(), end(Some(200)), Some("UNKNOWN"), Some("UNKNOWN"), Some("UNKNOWN"), "an answer without a status"),
            (grpc(), left(Some(200)), Some("CANCELLED"), None, Some("CANCELLED"), "the caller left in the middle"),
            (grpc(), left(None), Some("CANCELLED"), None, Some("CANCELLED"), "or before the answer"),
            (grpc(), left(Some(0)), Some("CANCELLED"), None, Some("CANCELLED"), "which some say so"),
            (
                grpc(),
                cut(Some(200)),
                Some("UNKNOWN"),
                Some("UpstreamRemoteReset"),
                Some("UpstreamRemoteReset"),
                "the server broke off",
            ),
            (
                grpc(),
                cut(None),
                Some("UNKNOWN"),
                Some("UpstreamRemoteReset"),
                Some("UpstreamRemoteReset"),
                "before it began",
            ),
            (grpc(), end(None), Some("UNKNOWN"), Some("UNKNOWN"), Some("UNKNOWN"), "nobody says anything"),
            (web(), end(Some(200)), None, None, None, "the status is in the body"),
            (web(), left(Some(200)), Some("CANCELLED"), None, Some("CANCELLED"), "the caller left"),
            (web(), cut(Some(200)), Some("UNKNOWN"), Some("UpstreamRemoteReset"), Some("UpstreamRemoteReset"), "cut"),
            (web(), end(Some(502)), Some("UNAVAILABLE"), Some("UNAVAILABLE"), Some("UNAVAILABLE"), "HTTP"),
            (
                call("application/grpc", "100m"),
                late(100),
                Some("DEADLINE_EXCEEDED"),
                Some("DEADLINE_EXCEEDED"),
                Some("DEADLINE_EXCEEDED"),
                "it waited for as long as it said",
            ),
            (
                call("application/grpc", "100m"),
                late(90),
                Some("DEADLINE_EXCEEDED"),
                Some("DEADLINE_EXCEEDED"),
                Some("DEADLINE_EXCEEDED"),
                "the request was some time on its way",
            ),
            (call("application/grpc", "100m"), late(89), Some("CANCELLED"), None, Some("CANCELLED"), "it left earlier"),
            (
                call("application/grpc", "99999999H"),
                late(5),
                Some("CANCELLED"),
                None,
                Some("CANCELLED"),
                "much earlier",
            ),
        ];
        for (call, end, status, server, client, why) in table {
            let outcome = call.outcome(end);
            assert_eq!(outcome.status.map(GrpcStatus::name), *status, "{why}");
            assert_eq!(outcome.error_type(SpanKind::Server), *server, "{why}");
            assert_eq!(outcome.error_type(SpanKind::Client), *client, "{why}");
        }
    }

    #[test]
    fn names_go_through_the_masker() {
        let masker = Masker::new(&MaskingConfig::default(), &InstrumentationConfig::default());
        let mut known = KnownMethods::new(None);
        let mut tell = |path: &str, status: &str| {
            let request = GrpcRequest::new(b"application/grpc", path.as_bytes(), b"").expect("gRPC");
            let mut call = GrpcCall::new(&request);
            call.set_trailer_status(status.as_bytes());
            let facts = call.facts(&GrpcEnd::default(), &mut known, &masker);
            let own = |text: Option<Masked<'_>>| text.map(|text| text.as_str().to_owned());
            (own(facts.method), own(facts.service), own(facts.bare_method), own(facts.original))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            tell("/shop.Cart/Get", "0"),
            (some("shop.Cart/Get"), some("shop.Cart"), some("Get"), None),
            "a known method"
        );
        assert_eq!(
            tell("/shop.Cart/Nope", "12"),
            (some("_OTHER"), None, some("_OTHER"), some("shop.Cart/Nope")),
            "none of the server's"
        );
        assert_eq!(tell("/Get", "0"), (some("_OTHER"), None, some("_OTHER"), some("Get")), "no method's name");
        let (method, ..) = tell("/shop.Cart/4111111111111111", "0");
        assert!(method.is_some_and(|method| !method.contains("4111111111111111")), "a card's number");
    }
}
