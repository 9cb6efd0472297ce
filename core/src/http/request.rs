//! The head of a request, gathered in one pass over its header lines.

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
    /// Whether the request asks for another protocol (`upgrade`).
    upgrade: bool,
    pub(super) carrier: Carrier<'a>,
    /// All lines, for the headers that configuration wants captured.
    lines: Vec<HeaderLine<'a>>,
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

    /// The values of the header `name` (lower case), in order.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        header::values(&self.lines, name)
    }

    /// The scheme that the client used, as far as Envoy knows.
    pub(super) fn scheme(&self) -> &'a [u8] {
        if matches!(self.forwarded_proto, b"http" | b"https") { self.forwarded_proto } else { self.scheme }
    }

    /// Whether the stream becomes a tunnel when the answer is a success: its end is then a connection's.
    pub(super) fn asks_for_tunnel(&self) -> bool {
        self.upgrade || self.method == b"CONNECT"
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
