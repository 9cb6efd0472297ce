//! `endpoint`: a URL, and the Envoy cluster that reaches it.

use std::net::Ipv6Addr;

use crate::{Clusters, Endpoint, short};

/// Hosts that end so are Kubernetes services, whose clusters Istio names.
const SERVICE_SUFFIXES: &[&str] = &[".svc", ".svc.cluster.local"];

/// The channel an endpoint is for; some rules differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// The path is a prefix of the service's; the scheme may be left out.
    Grpc {
        /// `tls.insecure`: what a missing scheme means. `false`, the standard's default, means `https`.
        insecure: bool,
    },
    /// The path is the request's, as it stands.
    Http,
}

/// Parses an endpoint and resolves its cluster. The error says what is allowed.
///
/// - `http://` or `https://`, in any case, then `HOST[:PORT][/path]`. HOST is a name, an IPv4 address or an IPv6
///   address in brackets. Without a port: 80 or 443. User names, queries (gRPC) and fragments are refused.
/// - gRPC also takes `HOST:PORT` without a scheme.
/// - An HTTP endpoint without a path asks for `/`: the standard says that the endpoint holds the whole path.
/// - The cluster is the one that `clusters` maps `HOST:PORT` to; for a host ending in `.svc` or
///   `.svc.cluster.local`, `outbound|PORT||HOST`; otherwise HOST, as it is written here (with its brackets).
pub(crate) fn resolve(url: &str, channel: Channel, clusters: &Clusters) -> Result<Endpoint, &'static str> {
    if url.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err("a URL without spaces and without characters outside ASCII");
    }
    let (scheme, rest) = split_scheme(url, channel)?;
    let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(at).unwrap_or((rest, ""));
    let (host, port) = split_authority(authority)?;
    let port = match (port, scheme) {
        (Some(port), _) => port,
        (None, Some("http")) => 80,
        (None, Some(_)) => 443,
        (None, None) => return Err("HOST:PORT where there is no http:// or https:// before it"),
    };
    let scheme = scheme.unwrap_or(if channel == (Channel::Grpc { insecure: true }) { "http" } else { "https" });
    let authority = format!("{host}:{port}");
    let cluster = match clusters.get(&authority) {
        Some(cluster) => cluster.clone(),
        None if SERVICE_SUFFIXES.iter().any(|suffix| host.ends_with(suffix)) => {
            format!("outbound|{port}||{host}")
        }
        None => host.to_owned(),
    };
    Ok(Endpoint { url: url.to_owned(), cluster, authority, scheme, path: request_path(target, channel)? })
}

/// Checks a key of `distribution.meshspan.clusters`.
pub(crate) fn check_host_and_port(text: &str) -> Result<(), &'static str> {
    match split_authority(text)? {
        (_, Some(_)) => Ok(()),
        (_, None) => Err("HOST:PORT, with the port"),
    }
}

fn split_scheme(url: &str, channel: Channel) -> Result<(Option<&'static str>, &str), &'static str> {
    match short::split_once(url, "://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => Ok((Some("http"), rest)),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => Ok((Some("https"), rest)),
        None if channel != Channel::Http => Ok((None, url)),
        Some(_) | None if channel == Channel::Http => Err("http://HOST:PORT/path or https://HOST:PORT/path"),
        Some(_) | None => Err("http://HOST:PORT, https://HOST:PORT or HOST:PORT"),
    }
}

fn split_authority(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    if authority.contains('@') {
        return Err("an endpoint without a user name and password; send credentials with `headers`");
    }
    let (host, port) = match authority.rfind(']') {
        Some(end) => {
            let (host, after) = authority.split_at_checked(end.saturating_add(1)).unwrap_or((authority, ""));
            match after {
                "" => (host, None),
                after => (host, Some(after.strip_prefix(':').ok_or("[IPv6]:PORT")?)),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if !is_host(host) {
        return Err("HOST:PORT where HOST is a name, an IPv4 address or an IPv6 address in brackets");
    }
    let port = port.map(parse_port).transpose()?;
    Ok((host, port))
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        }
    }
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0).ok_or("HOST:PORT where PORT is from 1 to 65535")
}

fn request_path(target: &str, channel: Channel) -> Result<String, &'static str> {
    if target.contains('#') {
        return Err("a URL without a fragment (#)");
    }
    match channel {
        Channel::Grpc { .. } if target.contains('?') => Err("a URL without a query (?): gRPC has none"),
        Channel::Grpc { .. } => Ok(target.trim_end_matches('/').to_owned()),
        Channel::Http if target.starts_with('/') => Ok(target.to_owned()),
        Channel::Http => Ok(format!("/{target}")),
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{Channel, Clusters, check_host_and_port, resolve};

    const GRPC: Channel = Channel::Grpc { insecure: false };

    #[test]
    fn valid_grpc_endpoints() {
        check_valid(&[
            (GRPC, "http://collector:4317", "http", "collector:4317", "", "the common one"),
            (GRPC, "http://collector:4317/", "http", "collector:4317", "", "a slash is no prefix"),
            (GRPC, "https://collector/tenant/a/", "https", "collector:443", "/tenant/a", "a prefix"),
            (GRPC, "HTTP://collector", "http", "collector:80", "", "schemes have no case"),
            (GRPC, "collector:4317", "https", "collector:4317", "", "no scheme is secure by default"),
            (Channel::Grpc { insecure: true }, "collector:4317", "http", "collector:4317", "", "unless told otherwise"),
            (
                Channel::Grpc { insecure: true },
                "https://collector:4317",
                "https",
                "collector:4317",
                "",
                "a scheme decides",
            ),
        ]);
    }

    #[test]
    fn valid_http_endpoints() {
        check_valid(&[
            (Channel::Http, "http://collector:4318/v1/traces", "http", "collector:4318", "/v1/traces", "as is"),
            (Channel::Http, "http://collector:4318", "http", "collector:4318", "/", "no path is added"),
            (Channel::Http, "https://collector/a?b=c", "https", "collector:443", "/a?b=c", "a query"),
            (Channel::Http, "https://collector?b=c", "https", "collector:443", "/?b=c", "a query without a path"),
            (Channel::Http, "http://[::1]:4318/", "http", "[::1]:4318", "/", "IPv6"),
            (Channel::Http, "http://[::1]/", "http", "[::1]:80", "/", "IPv6 without a port"),
            (Channel::Http, "http://10.0.0.1:1/", "http", "10.0.0.1:1", "/", "IPv4"),
            (Channel::Http, "http://otel_collector:65535/", "http", "otel_collector:65535", "/", "names of containers"),
        ]);
    }

    /// Channel, endpoint; scheme, authority, path; reason.
    type Valid = (Channel, &'static str, &'static str, &'static str, &'static str, &'static str);

    fn check_valid(cases: &[Valid]) {
        for &(channel, url, scheme, authority, path, why) in cases {
            let endpoint = resolve(url, channel, &Clusters::new()).unwrap_or_else(|error| panic!("{url}: {error}"));
            let found = (endpoint.scheme, endpoint.authority.as_str(), endpoint.path.as_str());
            assert_eq!(found, (scheme, authority, path), "{url}: {why}");
            assert_eq!(endpoint.url, url);
        }
    }

    #[test]
    fn invalid_endpoints() {
        let cases = [
            (GRPC, "", "nothing"),
            (GRPC, "collector", "neither scheme nor port"),
            (GRPC, "grpc://collector:4317", "another scheme"),
            (GRPC, "unix:///run/otel.sock", "a socket"),
            (GRPC, "http://collector:4317?a=b", "gRPC has no query"),
            (GRPC, "http://user:secret@collector:4317", "credentials"),
            (Channel::Http, "collector:4318", "HTTP needs the scheme"),
            (Channel::Http, "http://", "no host"),
            (Channel::Http, "http:///v1/traces", "no host but a path"),
            (Channel::Http, "http://:4318/", "no host but a port"),
            (Channel::Http, "http://a:0/", "port 0"),
            (Channel::Http, "http://a:65536/", "port too large"),
            (Channel::Http, "http://a:+80/", "a sign"),
            (Channel::Http, "http://a:/", "an empty port"),
            (Channel::Http, "http://a:80:80/", "two ports"),
            (Channel::Http, "http://::1:80/", "IPv6 without brackets"),
            (Channel::Http, "http://[::g]:80/", "not an address"),
            (Channel::Http, "http://[::1]80/", "no colon"),
            (Channel::Http, "http://]/", "a stray bracket"),
            (Channel::Http, "http://a/#b", "a fragment"),
            (Channel::Http, "http://a b/", "a space"),
            (Channel::Http, "http://a/\r\nx: y", "a line break"),
            (Channel::Http, "http://ä/", "not ASCII"),
        ];
        for (channel, url, why) in cases {
            assert!(resolve(url, channel, &Clusters::new()).is_err(), "{url}: {why}");
        }
    }

    #[test]
    fn an_endpoint_is_a_cluster() {
        let clusters: Clusters = [("mapped:4317", "other"), ("mapped.ns.svc:80", "mapped"), ("[::1]:4317", "loop")]
            .map(|(address, cluster)| (address.to_owned(), cluster.to_owned()))
            .into_iter()
            .collect();
        let cases = [
            ("http://mapped:4317", "other", "the map goes first"),
            ("http://mapped:4318", "mapped", "the map's port is another"),
            ("http://mapped.ns.svc", "mapped", "before .svc too, and with the scheme's port"),
            ("http://collector.ns.svc:4317", "outbound|4317||collector.ns.svc", "a service"),
            ("https://a.ns.svc.cluster.local", "outbound|443||a.ns.svc.cluster.local", "a full service name"),
            ("http://collector:4317/prefix", "collector", "the host"),
            ("http://svc:4317", "svc", "not a suffix"),
            ("http://a.svc.example.com:1", "a.svc.example.com", "not at the end"),
            ("http://[::1]:4317", "loop", "IPv6, mapped"),
            ("http://[::1]:4318", "[::1]", "IPv6"),
        ];
        for (url, cluster, why) in cases {
            assert_eq!(resolve(url, GRPC, &clusters).unwrap().cluster, cluster, "{why}");
        }
    }

    #[test]
    fn keys_of_the_map_have_a_port() {
        for key in ["a:1", "[::1]:1", "a.b-c_d:65535"] {
            assert_eq!(check_host_and_port(key), Ok(()), "{key}");
        }
        for key in ["a", "", ":1", "http://a:1", "a:1/x", "::1", "a@b:1"] {
            assert!(check_host_and_port(key).is_err(), "{key}");
        }
    }
}
