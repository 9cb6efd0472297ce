//! Who is on the other side of a stream, as far as a proxy can tell.
//!
//! Sources: Istio's filter `istio.peer_metadata` (its filter state `downstream_peer` and `upstream_peer`, since Istio
//! 1.24; the headers that carry it are gone before any other filter sees them); SPIFFE, "SPIFFE-ID", with Kubernetes'
//! `/ns/NAMESPACE/sa/SERVICEACCOUNT`; W3C Trace Context, `tracestate`.

use std::borrow::Cow;

/// What the host knows about a peer; empty where it knows nothing or was not asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer<'a> {
    /// Istio's canonical service.
    pub istio_service: &'a [u8],
    /// The URI in the peer's certificate.
    pub certificate_uri: &'a [u8],
}

/// Which facts about a peer have to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerNeeds {
    /// Istio's canonical service.
    pub istio_service: bool,
    /// The URI in the peer's certificate, where there is no Istio service.
    pub certificate_uri: bool,
}

impl PeerNeeds {
    /// Whether anything has to be read.
    pub const fn any(self) -> bool {
        self.istio_service || self.certificate_uri
    }
}

/// Our member of the trace state: the service that the request comes from.
pub(super) const MEMBER: &str = "meshspan";

/// No name of a peer is longer, bytes.
const LONGEST: usize = 128;

/// The service behind a SPIFFE id: its service account. One called `default` says nothing without its namespace:
/// `NAMESPACE/default`. Of an id of another form, the last segment of its path.
pub(super) fn spiffe_service(uri: &[u8]) -> Option<Cow<'_, str>> {
    let rest = core::str::from_utf8(uri).ok()?.strip_prefix("spiffe://")?;
    let (_, path) = rest.split_once('/')?;
    let segments: Vec<&str> = path.split('/').collect();
    let name = match segments.as_slice() {
        ["ns", namespace, "sa", "default"] if !namespace.is_empty() => Cow::Owned(format!("{namespace}/default")),
        [.., last] => Cow::Borrowed(*last),
        [] => return None,
    };
    Some(name).filter(|name| !name.is_empty() && name.len() <= LONGEST)
}

/// The service behind a cluster's name: of Istio's `outbound|PORT|SUBSET|HOST` the first label of the host, else the
/// name itself.
pub(super) fn cluster_service(cluster: &str) -> &str {
    let mut parts = cluster.split('|');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("outbound" | "inbound"), Some(_), Some(_), Some(host)) if !host.is_empty() => {
            let is_name = host.bytes().any(|byte| byte.is_ascii_alphabetic());
            host.split('.').next().filter(|label| is_name && !label.is_empty()).unwrap_or(host)
        }
        _ => cluster,
    }
}

/// A service's name as a value of our member of the trace state: printable ASCII without `,` and `=`, and short. Empty
/// for none.
pub(super) fn member_value(service: &str) -> String {
    let allowed = |c: char| if matches!(c, '!'..='~') && !matches!(c, ',' | '=') { c } else { '_' };
    service.chars().take(LONGEST / 2).map(allowed).collect()
}

/// The service that our member of the trace state names.
pub(super) fn from_member(value: &str) -> Option<&str> {
    Some(value).filter(|value| !value.is_empty() && value.len() <= LONGEST)
}

/// The service that Istio names. It says `unknown` where it does not know.
pub(super) fn from_istio(service: &[u8]) -> Option<&[u8]> {
    Some(service).filter(|service| !service.is_empty() && service.len() <= LONGEST && *service != b"unknown")
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_spiffe_id_names_a_service_account() {
        let long = format!("spiffe://td/ns/shop/sa/{}", "x".repeat(129));
        let table: &[(&str, Option<&str>, &str)] = &[
            ("spiffe://cluster.local/ns/shop/sa/cart", Some("cart"), "Kubernetes"),
            ("spiffe://cluster.local/ns/shop/sa/default", Some("shop/default"), "the account of all that have none"),
            ("spiffe://example.org/payments", Some("payments"), "another form"),
            ("spiffe://example.org/eu/payments/api", Some("api"), "another form, deeper"),
            ("spiffe://example.org", None, "a trust domain"),
            ("spiffe://example.org/", None, "an empty path"),
            ("https://example.org/ns/shop/sa/cart", None, "no SPIFFE id"),
            ("", None, "no certificate"),
            (&long, None, "too long"),
        ];
        for (uri, service, why) in table {
            assert_eq!(spiffe_service(uri.as_bytes()).as_deref(), *service, "{why}");
        }
        assert_eq!(spiffe_service(b"spiffe://td/\xff"), None, "no UTF-8");
    }

    #[test]
    fn a_cluster_names_a_service() {
        let table = [
            ("inventory", "inventory", "a name"),
            ("outbound|80||cart.shop.svc.cluster.local", "cart", "Istio"),
            ("outbound|80|v2|cart.shop.svc.cluster.local", "cart", "Istio, a subset"),
            ("outbound|443||api.example.com", "api", "Istio, another host"),
            ("outbound|443||10.1.2.3", "10.1.2.3", "Istio, an address"),
            ("inbound|8080||", "inbound|8080||", "no host"),
            ("PassthroughCluster", "PassthroughCluster", "Istio's rest"),
            ("a|b", "a|b", "another form"),
            ("", "", "none"),
        ];
        for (cluster, service, why) in table {
            assert_eq!(cluster_service(cluster), service, "{why}");
        }
    }

    #[test]
    fn a_member_goes_there_and_back() {
        let long = "x".repeat(200);
        let table = [
            ("cart", "cart", "a name"),
            ("unknown_service:envoy", "unknown_service:envoy", "a colon"),
            ("a,b=c d\u{e9}\n", "a_b_c_d__", "what a value may not have"),
            (long.as_str(), &long[..64], "cut"),
        ];
        for (service, value, why) in table {
            assert_eq!(member_value(service), value, "{why}");
            assert_eq!(from_member(value), Some(value), "{why}");
        }
        assert_eq!(member_value(""), "");
        assert_eq!((from_member(""), from_member(&long)), (None, None));
        assert_eq!(from_istio(b"cart"), Some(&b"cart"[..]));
        assert_eq!((from_istio(b"unknown"), from_istio(b"")), (None, None));
    }
}
