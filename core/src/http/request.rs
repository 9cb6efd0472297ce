//! The head of a request, gathered in one pass over its header lines.

use crate::grpc::GrpcRequest;
use crate::header::{self, HeaderLine};
use crate::propagation::Carrier;

/// What of a request's head the tracer works on. Everything borrows from the header lines.
#[derive(Clone, Debug, Default)]
pub struct RequestHead<'a> {
    pub(super) method: &'a [u8],
    /// `:path`: path and query.
    pub(super) path: &'a [u8],
    pub(super) authority: &'a [u8],
    scheme: &'a [u8],
    /// `x-forwarded-proto`, which Envoy writes itself where it does not trust the client's.
    forwarded_proto: &'a [u8],
    pub(super) user_agent: Option<&'a [u8]>,
    content_type: &'a [u8],
    grpc_timeout: &'a [u8],
    /// Whether there is an `x-envoy-force-trace`.
    pub(super) force_trace: bool,
    /// `jaeger-debug-id`
    pub(super) debug_id: Option<&'a [u8]>,
    /// What Envoy writes where it judges a request to be internal, and takes away elsewhere.
    pub(super) internal: bool,
    /// The URI in the peer's certificate; empty where nobody asks.
    pub(super) identity: &'a [u8],
    /// Whether the request asks for another protocol (`upgrade`).
    upgrade: bool,
    pub(super) carrier: Carrier<'a>,
    /// All lines, for the headers that configuration wants captured or asks for.
    lines: Vec<HeaderLine<'a>>,
    /// The cluster that Envoy routes the request to, and the name of the route; empty where nobody asks.
    pub(super) cluster: &'a [u8],
    pub(super) route_name: &'a [u8],
}

/// How a request asks for a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tunnel {
    /// The method CONNECT.
    Connect,
    /// The header `upgrade`, which is also how Envoy shows an extended CONNECT.
    Upgrade,
}

impl Tunnel {
    /// Whether the answer opened it: 101 an upgrade (RFC 9110 §7.8), any success a CONNECT (§9.3.6), and the extended
    /// CONNECT of HTTP/2 and HTTP/3 too (RFC 8441 §4), where there is no 101.
    pub(super) fn is_open(self, code: u64, protocol: &[u8]) -> bool {
        let success = (200..300).contains(&code);
        match self {
            Self::Connect => success,
            Self::Upgrade => code == 101 || success && !protocol.starts_with(b"HTTP/1"),
        }
    }
}

impl<'a> RequestHead<'a> {
    /// From all header lines. `keep_lines`: whether captured headers will be asked for.
    pub fn collect(lines: impl Iterator<Item = HeaderLine<'a>>, keep_lines: bool) -> Self {
        let mut head = Self::default();
        for (name, value) in lines {
            match name {
                b":method" => head.method = value,
                b":path" => head.path = value,
                b":authority" => head.authority = value,
                b":scheme" => head.scheme = value,
                b"x-forwarded-proto" => head.forwarded_proto = value,
                b"user-agent" => head.user_agent = Some(value),
                b"upgrade" => head.upgrade = true,
                b"content-type" => head.content_type = value,
                b"grpc-timeout" => head.grpc_timeout = value,
                b"x-envoy-force-trace" => head.force_trace = true,
                b"jaeger-debug-id" => head.debug_id = Some(value),
                b"x-envoy-internal" => head.internal = value == b"true",
                _ => {
                    head.carrier.observe(name, value);
                }
            }
            if keep_lines {
                head.lines.push((name, value));
            }
        }
        head
    }

    /// What Envoy knows about where the request goes, for rules that ask for it: see
    /// [`HttpTracer::needs_cluster`](super::HttpTracer::needs_cluster) and
    /// [`needs_route_name`](super::HttpTracer::needs_route_name). Empty for what is not known.
    #[must_use]
    pub fn with_routing(self, cluster: &'a [u8], route_name: &'a [u8]) -> Self {
        Self { cluster, route_name, ..self }
    }

    /// Who the peer is, for a request that asks to be recorded: see
    /// [`HttpTracer::needs_identity`](super::HttpTracer::needs_identity). The URI in its certificate, empty without one.
    #[must_use]
    pub fn with_identity(self, identity: &'a [u8]) -> Self {
        Self { identity, ..self }
    }

    /// The call that the request asks for, where it is one of gRPC.
    pub fn grpc(&self) -> Option<GrpcRequest<'a>> {
        GrpcRequest::new(self.content_type, self.path_and_query().0, self.grpc_timeout)
    }

    /// The values of the header `name` (lower case), in order.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        header::values(&self.lines, name)
    }

    /// The scheme that the client used, as far as Envoy knows.
    pub(super) fn scheme(&self) -> &'a [u8] {
        if matches!(self.forwarded_proto, b"http" | b"https") { self.forwarded_proto } else { self.scheme }
    }

    /// Whether the stream becomes a tunnel when the answer agrees: its end is then a connection's.
    pub(super) fn tunnel(&self) -> Option<Tunnel> {
        match self.method {
            b"CONNECT" => Some(Tunnel::Connect),
            _ => self.upgrade.then_some(Tunnel::Upgrade),
        }
    }

    /// The path without its query, and the query without its `?`. A fragment, which no client should send, is
    /// neither.
    pub(super) fn path_and_query(&self) -> (&'a [u8], Option<&'a [u8]>) {
        let target = self.path.split(|byte| *byte == b'#').next().unwrap_or_default();
        match target.iter().position(|byte| *byte == b'?') {
            Some(mark) => {
                let (path, query) = target.split_at_checked(mark).unwrap_or((target, b""));
                (path, query.strip_prefix(b"?"))
            }
            None => (target, None),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_tunnel_opens_when_the_answer_agrees() {
        let table: &[(Tunnel, u64, &str, bool, &str)] = &[
            (Tunnel::Upgrade, 101, "HTTP/1.1", true, "switched"),
            (Tunnel::Upgrade, 200, "HTTP/1.1", false, "the upgrade was ignored"),
            (Tunnel::Upgrade, 200, "HTTP/2", true, "an extended CONNECT has no 101"),
            (Tunnel::Upgrade, 426, "HTTP/2", false, "refused"),
            (Tunnel::Connect, 200, "HTTP/1.1", true, "connected"),
            (Tunnel::Connect, 503, "HTTP/2", false, "not connected"),
        ];
        for (tunnel, code, protocol, open, why) in table {
            assert_eq!(tunnel.is_open(*code, protocol.as_bytes()), *open, "{why}");
        }
    }
}
