//! `endpoint`: a URL, and the Envoy cluster that reaches it.

use std::net::Ipv6Addr;

use super::{Clusters, Endpoint};

/// Hosts that end so are Kubernetes services, whose clusters Istio names.
const SERVICE_SUFFIXES: &[&str] = &[".svc", ".svc.cluster.local"];

/// The channel an endpoint is for; some rules differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
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
pub(super) fn resolve(
    url: &str,
    channel: Channel,
    clusters: &Clusters,
) -> Result<Endpoint, &'static str> {
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
    let scheme = scheme.unwrap_or(if channel == (Channel::Grpc { insecure: true }) {
        "http"
    } else {
        "https"
    });
    let authority = format!("{host}:{port}");
    let cluster = match clusters.get(&authority) {
        Some(cluster) => cluster.clone(),
        None if SERVICE_SUFFIXES.iter().any(|suffix| host.ends_with(suffix)) => {
            format!("outbound|{port}||{host}")
        }
        None => host.to_owned(),
    };
    Ok(Endpoint {
        url: url.to_owned(),
        cluster,
        authority,
        scheme,
        path: request_path(target, channel)?,
    })
}

/// Checks a key of `distribution.meshspan.clusters`.
pub(super) fn check_host_and_port(text: &str) -> Result<(), &'static str> {
    match split_authority(text)? {
        (_, Some(_)) => Ok(()),
        (_, None) => Err("HOST:PORT, with the port"),
    }
}

fn split_scheme(url: &str, channel: Channel) -> Result<(Option<&'static str>, &str), &'static str> {
    match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => Ok((Some("http"), rest)),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => Ok((Some("https"), rest)),
        None if channel != Channel::Http => Ok((None, url)),
        Some(_) | None if channel == Channel::Http => {
            Err("http://HOST:PORT/path or https://HOST:PORT/path")
        }
        Some(_) | None => Err("http://HOST:PORT, https://HOST:PORT or HOST:PORT"),
    }
}

fn split_authority(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    if authority.contains('@') {
        return Err(
            "an endpoint without a user name and password; send credentials with `headers`",
        );
    }
    let (host, port) = match authority.rfind(']') {
        Some(end) => {
            let (host, after) = authority
                .split_at_checked(end.saturating_add(1))
                .unwrap_or((authority, ""));
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
        return Err(
            "HOST:PORT where HOST is a name, an IPv4 address or an IPv6 address in brackets",
        );
    }
    let port = port.map(parse_port).transpose()?;
    Ok((host, port))
}

fn is_host(host: &str) -> bool {
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        }
    }
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|port| digits && *port > 0)
        .ok_or("HOST:PORT where PORT is from 1 to 65535")
}

fn request_path(target: &str, channel: Channel) -> Result<String, &'static str> {
    if target.contains('#') {
        return Err("a URL without a fragment (#)");
    }
    match channel {
        Channel::Grpc { .. } if target.contains('?') => {
            Err("a URL without a query (?): gRPC has none")
        }
        Channel::Grpc { .. } => Ok(target.trim_end_matches('/').to_owned()),
        Channel::Http if target.starts_with('/') => Ok(target.to_owned()),
        Channel::Http => Ok(format!("/{target}")),
    }
}
