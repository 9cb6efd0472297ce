//! Addresses with ports, as authorities and socket addresses write them.

/// A host and a port, where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HostPort<'a> {
    /// Without brackets.
    pub(super) host: &'a [u8],
    pub(super) port: Option<u16>,
}

/// Splits `host`, `host:port`, `[v6]` and `[v6]:port`. `None` when there is no host. A port that is none (text, or
/// above 65535) is left out.
pub(super) fn split(text: &[u8]) -> Option<HostPort<'_>> {
    // RFC 3986 §3.2.1: what stands before the last `@` is userinfo.
    let text = text.rsplit(|byte| *byte == b'@').next().unwrap_or(text);
    let (host, port) = if let Some(rest) = text.strip_prefix(b"[") {
        let end = rest.iter().position(|byte| *byte == b']')?;
        let (host, rest) = rest.split_at_checked(end)?;
        (host, rest.strip_prefix(b"]:"))
    } else {
        match text.iter().position(|byte| *byte == b':') {
            // More than one colon without brackets: a bare IPv6 address.
            Some(first) if text.iter().rposition(|byte| *byte == b':') == Some(first) => {
                let (host, port) = text.split_at_checked(first)?;
                (host, port.strip_prefix(b":"))
            }
            _ => (text, None),
        }
    };
    if host.is_empty() {
        return None;
    }
    let port = port.and_then(|port| core::str::from_utf8(port).ok()).and_then(|port| port.parse().ok());
    Some(HostPort { host, port })
}

/// Splits a socket's address as Envoy writes it: `ip:port` or `[v6]:port`. `None` for what has no host to name:
/// Envoy's internal addresses (`envoy://…`) and pipes.
pub(super) fn split_socket(text: &[u8]) -> Option<HostPort<'_>> {
    let is_socket = !text.iter().any(|byte| matches!(byte, b'/' | b'@'));
    split(text).filter(|_| is_socket)
}

/// The port that a scheme implies.
pub(super) fn default_port(scheme: &[u8]) -> Option<u16> {
    match scheme {
        b"http" => Some(80),
        b"https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn what_is_no_socket_has_no_host() {
        for text in ["envoy://internal_client_address/", "envoy://connect/10.0.0.1:80", "@abstract", "/run/pipe", ""] {
            assert_eq!(split_socket(text.as_bytes()), None, "{text}");
        }
        let expected = HostPort { host: b"10.0.0.1", port: Some(80) };
        assert_eq!(split_socket(b"10.0.0.1:80"), Some(expected));
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "a table")]
    fn authorities_and_socket_addresses_split() {
        let table: &[(&str, Option<(&str, Option<u16>)>, &str)] = &[
            ("shop.example", Some(("shop.example", None)), "a host"),
            ("shop.example:8080", Some(("shop.example", Some(8080))), "a host and a port"),
            ("10.0.0.1:80", Some(("10.0.0.1", Some(80))), "IPv4"),
            ("[::1]:443", Some(("::1", Some(443))), "IPv6 with a port"),
            ("[::1]", Some(("::1", None)), "IPv6 in brackets"),
            ("fe80::1", Some(("fe80::1", None)), "IPv6 without brackets has no port"),
            ("shop.example:", Some(("shop.example", None)), "no port after the colon"),
            ("shop.example:http", Some(("shop.example", None)), "a port that is no number"),
            ("shop.example:70000", Some(("shop.example", None)), "a port that is none"),
            ("user:pass@shop.example:1", Some(("shop.example", Some(1))), "userinfo is no host"),
            ("", None, "nothing"),
            (":80", None, "a port alone"),
            ("[::1", None, "a bracket that never closes"),
            ("[]:80", None, "brackets around nothing"),
        ];
        for (text, expected, why) in table {
            let expected = expected.map(|(host, port)| HostPort { host: host.as_bytes(), port });
            assert_eq!(split(text.as_bytes()), expected, "{why}");
        }
    }
}
