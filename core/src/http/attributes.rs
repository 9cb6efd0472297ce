//! Which attributes an HTTP span has (semantic conventions, "HTTP spans", server and client).

use super::address::{default_port, split, split_socket};
use super::exchange::{Recorded, StreamEnd};
use super::familiar::{Familiar, FamiliarTexts};
use super::grpc;
use super::request::{RequestHead, Tunnel};
use crate::config::{HttpSemconv, InstrumentationConfig, RpcSemconv};
use crate::grpc::{GrpcFacts, GrpcOutcome, GrpcStatus};
use crate::header;
use crate::log::Severity;
use crate::masking::{Masked, Masker, Url};
use crate::semconv::{self, envoy, legacy};
use crate::span::{SpanAttributes, SpanKind, SpanStatus, Value};

/// What decides which attributes one kind of span has.
#[derive(Clone, Debug)]
pub(super) struct SpanShape {
    kind: SpanKind,
    known_methods: Vec<std::rc::Rc<str>>,
    /// Header names, and the attribute keys that they become.
    request_headers: Vec<(String, String)>,
    response_headers: Vec<(String, String)>,
    semconv: HttpSemconv,
    rpc_semconv: RpcSemconv,
    familiar: FamiliarTexts,
}

/// Seconds of so many nanoseconds.
#[expect(clippy::cast_precision_loss, reason = "a duration's nanoseconds above 2^53 do not matter")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

impl SpanShape {
    #[inline]
    pub(super) fn new(kind: SpanKind, instrumentation: &InstrumentationConfig) -> Self {
        let config = match kind {
            SpanKind::Server => &instrumentation.http_server,
            SpanKind::Client => &instrumentation.http_client,
        };
        let keyed = |names: &[String], prefix: &str| {
            names.iter().map(|name| (name.clone(), format!("{prefix}{name}"))).collect::<Vec<_>>()
        };
        Self {
            kind,
            known_methods: config.known_methods.iter().map(|method| method.as_str().into()).collect(),
            request_headers: keyed(&config.request_captured_headers, semconv::HTTP_REQUEST_HEADER),
            response_headers: keyed(&config.response_captured_headers, semconv::HTTP_RESPONSE_HEADER),
            semconv: instrumentation.http_semconv,
            rpc_semconv: instrumentation.rpc_semconv,
            familiar: FamiliarTexts::default(),
        }
    }

    pub(super) const fn kind(&self) -> SpanKind {
        self.kind
    }

    pub(super) fn captures_request_headers(&self) -> bool {
        !self.request_headers.is_empty()
    }

    pub(super) fn captures_response_headers(&self) -> bool {
        !self.response_headers.is_empty()
    }

    /// The method, when it is a known one. Methods are case-sensitive (RFC 9110 §9.1).
    pub(super) fn known_method(&self, method: &[u8]) -> Option<std::rc::Rc<str>> {
        self.known_methods.iter().find(|known| known.as_bytes() == method).cloned()
    }

    fn is_legacy(&self) -> bool {
        self.semconv == HttpSemconv::Duplicate
    }

    /// Whether `net.peer.name` is emitted, which the older conventions of both HTTP and RPC have.
    fn has_legacy_peer(&self, is_grpc: bool) -> bool {
        self.is_legacy() || (is_grpc && self.rpc_semconv.is_legacy())
    }

    /// Attributes that the request's head gives; `template` is the route's that its path follows.
    pub(super) fn put_request(
        &self,
        head: &RequestHead<'_>,
        template: Option<&str>,
        masker: &Masker,
        attributes: &mut SpanAttributes,
    ) {
        let known = self.known_method(head.method);
        if let Some(method) = &known {
            attributes.put_text(semconv::HTTP_REQUEST_METHOD, &Masked::configured(method));
        } else {
            attributes.put_text(semconv::HTTP_REQUEST_METHOD, &Masked::literal("_OTHER"));
            if !head.method.is_empty() {
                put_value(attributes, masker, semconv::HTTP_REQUEST_METHOD_ORIGINAL, head.method);
            }
        }
        if self.is_legacy() && !head.method.is_empty() {
            put_value(attributes, masker, legacy::HTTP_METHOD, head.method);
        }
        let is_grpc = head.grpc().is_some();
        if is_grpc {
            grpc::put_system(self.rpc_semconv, attributes);
        }
        self.put_url(head, template, masker, attributes);
        if let Some(server) = split(head.authority) {
            self.familiar.put(Familiar::ServerAddress, server.host, masker, attributes);
            // A client span has to say its port; a server span leaves out one that the client left out.
            let implied = || if self.kind == SpanKind::Client { default_port(head.scheme()) } else { None };
            if let Some(port) = server.port.or_else(implied) {
                attributes.put_count(semconv::SERVER_PORT, u64::from(port));
            }
            if self.has_legacy_peer(is_grpc) && self.kind == SpanKind::Client {
                put_value(attributes, masker, legacy::NET_PEER_NAME, server.host);
            }
        }
        if let Some(user_agent) = head.user_agent {
            self.familiar.put(Familiar::UserAgent, user_agent, masker, attributes);
        }
        for (name, key) in &self.request_headers {
            put_header(attributes, masker, name, key, head.values(name));
        }
    }

    fn put_url(
        &self,
        head: &RequestHead<'_>,
        template: Option<&str>,
        masker: &Masker,
        attributes: &mut SpanAttributes,
    ) {
        if head.path.is_empty() {
            return;
        }
        let scheme = head.scheme();
        let (path, query) = head.path_and_query();
        if self.kind == SpanKind::Server {
            if !scheme.is_empty() {
                self.familiar.put(Familiar::UrlScheme, scheme, masker, attributes);
            }
            put(attributes, semconv::URL_PATH, masker.path(semconv::URL_PATH, path, template));
            if let Some(query) = query.filter(|query| !query.is_empty()) {
                put(attributes, semconv::URL_QUERY, masker.query(semconv::URL_QUERY, query));
            }
        }
        let url = Url {
            scheme: if scheme.is_empty() { b"http" } else { scheme },
            authority: head.authority,
            // `OPTIONS *` is about the server as a whole: its URL has no path.
            path: Some(path).filter(|path| path != b"*"),
            query,
            template,
        };
        if self.kind == SpanKind::Client {
            put(attributes, semconv::URL_FULL, masker.url(semconv::URL_FULL, &url));
        }
        if self.is_legacy() {
            put(attributes, legacy::HTTP_URL, masker.url(legacy::HTTP_URL, &url));
        }
    }

    /// Attributes that the end of the stream gives. Returns the span's status.
    pub(super) fn put_end(
        &self,
        recorded: &Recorded,
        call: Option<&GrpcFacts<'_>>,
        end: &StreamEnd<'_>,
        route: Option<&Masked<'_>>,
        masker: &Masker,
        attributes: &mut SpanAttributes,
    ) -> SpanStatus {
        if let Some(route) = route.filter(|_| self.kind == SpanKind::Server) {
            attributes.put_text(semconv::HTTP_ROUTE, route);
        }
        if let Some(code) = end.response_code {
            attributes.put_count(semconv::HTTP_RESPONSE_STATUS_CODE, code);
            if self.is_legacy() {
                attributes.put_count(legacy::HTTP_STATUS_CODE, code);
            }
        }
        let error_type = match call {
            Some(call) => {
                grpc::put_call(call, self.rpc_semconv, attributes);
                call.outcome.error_type(self.kind).map(Masked::literal)
            }
            None => self.error_type(end, recorded.tunnel),
        };
        if let Some(error_type) = &error_type {
            attributes.put_text(semconv::ERROR_TYPE, error_type);
        }
        // What the host says is the protocol of the client's connection; a gateway's own may be another.
        let is_inner = self.kind == SpanKind::Client && recorded.gateway.is_some();
        if let Some(version) = end.protocol.strip_prefix(b"HTTP/").filter(|_| !is_inner) {
            self.familiar.put(Familiar::ProtocolVersion, version, masker, attributes);
            if self.is_legacy() {
                let flavor = match version {
                    b"2" => b"2.0",
                    b"3" => b"3.0",
                    other => other,
                };
                put_value(attributes, masker, legacy::HTTP_FLAVOR, flavor);
            }
        }
        self.put_peer(end, call.is_some(), masker, attributes);
        if let Some(size) = end.request_size {
            attributes.put_count(semconv::HTTP_REQUEST_BODY_SIZE, size);
        }
        if let Some(size) = end.response_size {
            attributes.put_count(semconv::HTTP_RESPONSE_BODY_SIZE, size);
        }
        for (name, key) in &self.response_headers {
            put_header(attributes, masker, name, key, header::values(end.response_headers, name));
        }
        if self.kind == SpanKind::Client
            && let Some(count) = end.attempt_count.filter(|count| *count > 1)
        {
            attributes.put_count(semconv::HTTP_REQUEST_RESEND_COUNT, count.saturating_sub(1));
        }
        self.put_envoy(end, masker, attributes);
        if error_type.is_some() { SpanStatus::Error } else { SpanStatus::Unset }
    }

    /// What went wrong: by the code, as the conventions have it for the kind of span, else by what Envoy says (a reset,
    /// a client that left). `None` for no error.
    pub(super) fn error_type(&self, end: &StreamEnd<'_>, tunnel: Option<Tunnel>) -> Option<Masked<'static>> {
        let from = if self.kind == SpanKind::Server { 500 } else { 400 };
        match end.response_code {
            Some(code) if code >= from => Some(Masked::number(code)),
            // A tunnel (WebSocket, CONNECT) ends when one side closes: Envoy flags that as a termination.
            Some(_) if end.is_tunnel(tunnel) => None,
            // What the proxy answered on its own and judged a client's error is none of a server span.
            Some(code) if code >= 400 => None,
            code => match end.response_flags.failure() {
                Some(flag) => Some(Masked::literal(flag)),
                None => code.is_none().then_some(const { Masked::literal("_OTHER") }),
            },
        }
    }

    /// Whether a stream that is no gRPC call failed, as the span's status says.
    pub(super) fn failed(&self, end: &StreamEnd<'_>, tunnel: Option<Tunnel>) -> bool {
        self.error_type(end, tunnel).is_some()
    }

    /// How grave a log record of the stream is: an error for what failed, by its status of 5xx, by Envoy's judgement or by
    /// its gRPC status; a warning for what was refused for the caller's doing (4xx, other gRPC statuses but OK).
    pub(super) fn severity(&self, end: &StreamEnd<'_>, call: Option<GrpcOutcome>, tunnel: Option<Tunnel>) -> Severity {
        let is_refused = match call {
            Some(call) if call.failed(self.kind) => return Severity::Error,
            Some(call) => call.status.is_some_and(|status| status != GrpcStatus::OK),
            None => end.response_code.is_some_and(|code| (400..500).contains(&code)),
        };
        if is_refused {
            Severity::Warn
        } else if call.is_none() && self.failed(end, tunnel) {
            Severity::Error
        } else {
            Severity::Info
        }
    }

    fn put_peer(&self, end: &StreamEnd<'_>, is_grpc: bool, masker: &Masker, attributes: &mut SpanAttributes) {
        if self.kind == SpanKind::Client {
            if let Some(peer) = split_socket(end.upstream_address) {
                self.familiar.put(Familiar::PeerAddress, peer.host, masker, attributes);
                if let Some(port) = peer.port {
                    attributes.put_count(semconv::NETWORK_PEER_PORT, u64::from(port));
                }
            }
            return;
        }
        let Some(client) = split_socket(end.source_address) else { return };
        self.familiar.put(Familiar::ClientAddress, client.host, masker, attributes);
        if self.has_legacy_peer(is_grpc) {
            put_value(attributes, masker, legacy::NET_PEER_NAME, client.host);
        }
        // An address from x-forwarded-for has port 0, and is not the peer's.
        if let Some(port) = client.port.filter(|port| *port != 0) {
            attributes.put_count(semconv::CLIENT_PORT, u64::from(port));
            self.familiar.put(Familiar::PeerAddress, client.host, masker, attributes);
            attributes.put_count(semconv::NETWORK_PEER_PORT, u64::from(port));
        }
    }

    fn put_envoy(&self, end: &StreamEnd<'_>, masker: &Masker, attributes: &mut SpanAttributes) {
        if end.response_flags.is_from_cache() {
            attributes.put(envoy::CACHE_HIT, Value::Bool(true));
        }
        let names: Vec<_> = end.response_flags.short_names().map(Masked::literal).collect();
        if !names.is_empty() {
            attributes.put(envoy::RESPONSE_FLAGS, Value::Texts(&names));
        }
        let texts = [
            (Familiar::CodeDetails, end.response_code_details),
            (Familiar::Cluster, end.cluster),
            (Familiar::UpstreamHost, end.upstream_address),
            (Familiar::RouteName, end.route_name),
        ];
        for (attribute, text) in texts {
            if !text.is_empty() {
                self.familiar.put(attribute, text, masker, attributes);
            }
        }
        if let Some(count) = end.attempt_count.filter(|count| *count > 0) {
            attributes.put_count(envoy::UPSTREAM_ATTEMPT_COUNT, count);
        }
        if let Some(ms) = end.first_byte_ms {
            let duration = seconds(ms.saturating_mul(1_000_000));
            attributes.put(envoy::UPSTREAM_FIRST_BYTE_DURATION, Value::Double(duration));
        }
        if let Some(duration) = end.upstream_duration {
            attributes.put(envoy::UPSTREAM_DURATION, Value::Double(seconds(duration)));
        }
    }
}

/// A text from traffic.
fn put_value(attributes: &mut SpanAttributes, masker: &Masker, key: &str, text: &[u8]) {
    put(attributes, key, masker.value(key, text));
}

/// A text that may leave, unless masking says that the whole attribute must not.
fn put(attributes: &mut SpanAttributes, key: &str, text: Option<Masked<'_>>) {
    if let Some(text) = text {
        attributes.put_text(key, &text);
    }
}

/// A captured header: an array of its lines' values, when it is there at all.
fn put_header<'a>(
    attributes: &mut SpanAttributes,
    masker: &Masker,
    name: &str,
    key: &str,
    values: impl Iterator<Item = &'a [u8]>,
) {
    let values: Option<Vec<_>> = values.map(|value| masker.header(key, name, value)).collect();
    if let Some(values) = values.filter(|values| !values.is_empty()) {
        attributes.put(key, Value::Texts(&values));
    }
}
