//! What a request's head says about a gRPC call.
//!
//! Source: gRPC, "gRPC over HTTP/2", "Requests"; "gRPC Web".

pub use crate::config::{GrpcMethod, LONGEST_METHOD};

/// How a call travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcProtocol {
    /// gRPC: the status stands in trailers, or in the headers of an answer without a body.
    Grpc,
    /// gRPC-Web: the status stands at the end of the body, where only the client looks.
    Web,
}

impl GrpcProtocol {
    /// By the value of `content-type`: `application/grpc`, `application/grpc+proto`, `application/grpc-web-text;…`.
    pub fn of_content_type(value: &[u8]) -> Option<Self> {
        let rest = strip_prefix(value, b"application/grpc")?;
        let (protocol, rest) = match strip_prefix(rest, b"-web") {
            Some(rest) => (Self::Web, strip_prefix(rest, b"-text").unwrap_or(rest)),
            None => (Self::Grpc, rest),
        };
        matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t')).then_some(protocol)
    }
}

/// `prefix` in any case (RFC 9110 §8.3.1: media types have none).
fn strip_prefix<'a>(value: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = value.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// A request that asks for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcRequest<'a> {
    /// How it travels.
    pub protocol: GrpcProtocol,
    /// The path without its first slash and without a query: a [method](GrpcMethod::parse), or not.
    pub name: &'a [u8],
    /// How long the caller waits from now on, ns, where it says so.
    pub timeout: Option<u64>,
}

impl<'a> GrpcRequest<'a> {
    /// From a request's `content-type`, its path without the query, and its `grpc-timeout`, each empty where there is
    /// none. `None` where the request is none of gRPC.
    pub fn new(content_type: &[u8], path: &'a [u8], timeout: &[u8]) -> Option<Self> {
        let protocol = GrpcProtocol::of_content_type(content_type)?;
        let name = path.strip_prefix(b"/").unwrap_or(path);
        Some(Self { protocol, name, timeout: parse_timeout(timeout) })
    }

    /// Service and method, where the path names them.
    pub fn method(&self) -> Option<GrpcMethod<'a>> {
        GrpcMethod::parse(self.name)
    }
}

/// `grpc-timeout` in ns: one to eight digits, and a unit.
pub fn parse_timeout(value: &[u8]) -> Option<u64> {
    let (unit, digits) = value.split_last()?;
    let unit: u64 = match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return None,
    };
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = core::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(count.saturating_mul(unit))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn the_content_type_tells() {
        use GrpcProtocol::{Grpc, Web};
        let table: &[(&str, Option<GrpcProtocol>, &str)] = &[
            ("application/grpc", Some(Grpc), "plain"),
            ("application/grpc+proto", Some(Grpc), "with a message format"),
            ("application/grpc+json;charset=utf-8", Some(Grpc), "with a parameter as well"),
            ("application/grpc ; a=b", Some(Grpc), "space before a parameter"),
            ("Application/GRPC", Some(Grpc), "media types have no case"),
            ("application/grpc-web", Some(Web), "gRPC-Web"),
            ("application/grpc-web+proto", Some(Web), "with a message format"),
            ("application/grpc-web-text", Some(Web), "as base64"),
            ("application/grpc-web-text+proto", Some(Web), "both"),
            ("application/grpcx", None, "another type"),
            ("application/grpc-webx", None, "another type"),
            ("application/grpc-text", None, "no such form"),
            ("application/grp", None, "cut off"),
            ("application/json", None, "JSON"),
            ("", None, "nothing"),
        ];
        for (value, expected, why) in table {
            assert_eq!(GrpcProtocol::of_content_type(value.as_bytes()), *expected, "{value}: {why}");
        }
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "a table")]
    fn methods_have_a_service() {
        let long = "a".repeat(LONGEST_METHOD);
        let table: &[(&str, Option<(&str, &str)>, &str)] = &[
            ("shop.Cart/AddItem", Some(("shop.Cart", "AddItem")), "the usual form"),
            ("Cart/AddItem", Some(("Cart", "AddItem")), "no package"),
            ("grpc.health.v1.Health/Check", Some(("grpc.health.v1.Health", "Check")), "a long package"),
            ("v1/shop.Cart/AddItem", Some(("v1/shop.Cart", "AddItem")), "behind a prefix"),
            ("shop.Cart", None, "no method"),
            ("shop.Cart/", None, "an empty method"),
            ("/AddItem", None, "an empty service"),
            ("a//b", None, "an empty part"),
            ("shop.Cart/Add Item", None, "a space"),
            ("shop.Cart/Add%20Item", None, "an escape"),
            ("shop.Cart/H\u{e9}", None, "beyond ASCII"),
            (&long, None, "no slash"),
            ("", None, "nothing"),
        ];
        for (name, expected, why) in table {
            let expected =
                expected.map(|(service, method)| GrpcMethod { service: service.as_bytes(), method: method.as_bytes() });
            assert_eq!(GrpcMethod::parse(name.as_bytes()), expected, "{name}: {why}");
        }
        let exactly = format!("a/{}", "b".repeat(LONGEST_METHOD - 2));
        assert!(GrpcMethod::parse(exactly.as_bytes()).is_some(), "the longest");
        assert!(GrpcMethod::parse(format!("{exactly}b").as_bytes()).is_none(), "one more");
    }

    #[test]
    fn a_timeout_has_a_unit() {
        let table: &[(&str, Option<u64>, &str)] = &[
            ("1H", Some(3_600_000_000_000), "hours"),
            ("2M", Some(120_000_000_000), "minutes"),
            ("3S", Some(3_000_000_000), "seconds"),
            ("300m", Some(300_000_000), "milliseconds"),
            ("4u", Some(4_000), "microseconds"),
            ("5n", Some(5), "nanoseconds"),
            ("0S", Some(0), "none"),
            ("99999999S", Some(99_999_999_000_000_000), "eight digits"),
            ("99999999H", Some(u64::MAX), "more than there are nanoseconds"),
            ("100000000S", None, "nine digits"),
            ("5", None, "no unit"),
            ("5s", None, "no such unit"),
            ("S", None, "no digits"),
            ("-5S", None, "a sign"),
            ("+5S", None, "a sign"),
            ("5 S", None, "a space"),
            ("", None, "nothing"),
        ];
        for (value, expected, why) in table {
            assert_eq!(parse_timeout(value.as_bytes()), *expected, "{value}: {why}");
        }
    }
}
