//! The service graph, seen from one proxy: who called, who was called, and how that went.
//!
//! An edge is counted once. The proxy of the one called counts it; the caller's counts what the other does not: calls
//! of databases and of what has no proxy, and calls that did not reach the other. Who called without a name is `user`.
//!
//! Source: OpenTelemetry Collector, `servicegraph` connector, whose metrics, attributes and virtual nodes these are.

use std::borrow::Cow;

use super::StreamEnd;
use super::peer::{self, Peer, PeerNeeds};
use crate::config::{ServiceGraphConfig, UpstreamConfig, UpstreamKind};
use crate::masking::{Masked, Masker};
use crate::metrics::{AttributeSet, Exemplar, Instrument, Outlets};
use crate::semconv::metric;

/// Counts edges. Built once from configuration.
#[derive(Clone, Debug)]
pub(super) struct ServiceGraph {
    config: ServiceGraphConfig,
    /// The service of this proxy.
    own: String,
}

/// How one call went.
pub(super) struct Call<'a> {
    pub(super) failed: bool,
    /// ns; `None` where the host does not say.
    pub(super) duration: Option<u64>,
    pub(super) exemplar: Option<&'a Exemplar>,
}

const USER: Masked<'static> = Masked::literal("user");
const VIRTUAL_NODE: Masked<'static> = Masked::literal("virtual_node");
const DATABASE: Masked<'static> = Masked::literal("database");

impl ServiceGraph {
    /// `own`: the resource's `service.name`.
    #[inline]
    pub(super) fn new(config: &ServiceGraphConfig, own: &str) -> Self {
        Self { config: config.clone(), own: own.to_owned() }
    }

    /// What has to be known of each peer.
    pub(super) const fn needs(&self) -> PeerNeeds {
        PeerNeeds { istio_service: self.config.istio_peer_metadata, certificate_uri: self.config.spiffe_id }
    }

    /// Whether callers may say who they are in the trace state.
    pub(super) const fn reads_member(&self) -> bool {
        self.config.tracestate
    }

    /// This proxy's service was called. `member`: what our member of the caller's trace state says.
    pub(super) fn count_served(
        &self,
        member: Option<&str>,
        end: &StreamEnd<'_>,
        call: &Call<'_>,
        masker: &Masker,
        out: &mut Outlets<'_>,
    ) {
        let caller = self.peer(&end.caller).or_else(|| {
            let service = member.and_then(peer::from_member)?;
            Some(Cow::Borrowed(service.as_bytes()))
        });
        let (client, kind) = match caller.as_deref().and_then(|service| masker.value(metric::CLIENT, service)) {
            Some(client) => (client, None),
            None => (USER, Some(&VIRTUAL_NODE)),
        };
        let own = Masked::configured(&self.own);
        let set = edge(&client, &own, kind, call.failed);
        count(&set, call, out);
        if let Some(duration) = call.duration {
            out.record_duration(Instrument::ServiceGraphServerSeconds, &set, duration, call.exemplar);
        }
    }

    /// This proxy's service called another. Nothing happens where the proxy called nobody.
    pub(super) fn count_called(&self, end: &StreamEnd<'_>, call: &Call<'_>, masker: &Masker, out: &mut Outlets<'_>) {
        let Ok(cluster) = core::str::from_utf8(end.cluster) else { return };
        let known = self.config.upstreams.iter().find(|upstream| upstream.cluster == cluster);
        let identity = if known.is_none() { self.peer(&end.callee) } else { None };
        let (server, kind) = match (known, identity.as_deref()) {
            (Some(UpstreamConfig { name, kind, .. }), _) => {
                (Some(Masked::configured(name.as_deref().unwrap_or_else(|| peer::cluster_service(cluster)))), *kind)
            }
            (None, Some(service)) => (masker.value(metric::SERVER, service), UpstreamKind::Service),
            (None, None) if cluster.is_empty() => return,
            (None, None) => {
                let name = peer::cluster_service(cluster);
                (masker.value(metric::SERVER, name.as_bytes()), UpstreamKind::External)
            }
        };
        let Some(server) = server else { return };
        let connection = match kind {
            UpstreamKind::Service => None,
            UpstreamKind::Database => Some(&DATABASE),
            UpstreamKind::External => Some(&VIRTUAL_NODE),
        };
        let own = Masked::configured(&self.own);
        let set = edge(&own, &server, connection, call.failed);
        if kind != UpstreamKind::Service || !end.response_flags.reached_upstream() {
            count(&set, call, out);
        }
        let Some(duration) = call.duration else { return };
        out.record_duration(Instrument::ServiceGraphClientSeconds, &set, duration, call.exemplar);
        if kind != UpstreamKind::Service {
            // Nobody else measures it there.
            out.record_duration(Instrument::ServiceGraphServerSeconds, &set, duration, call.exemplar);
        }
    }

    /// Who a peer is, before masking.
    fn peer<'a>(&self, peer: &Peer<'a>) -> Option<Cow<'a, [u8]>> {
        if self.config.istio_peer_metadata
            && let Some(service) = peer::from_istio(peer.istio_service)
        {
            return Some(Cow::Borrowed(service));
        }
        let uri = Some(peer.certificate_uri).filter(|_| self.config.spiffe_id)?;
        Some(match peer::spiffe_service(uri)? {
            Cow::Borrowed(service) => Cow::Borrowed(service.as_bytes()),
            Cow::Owned(service) => Cow::Owned(service.into_bytes()),
        })
    }
}

fn edge<'a>(
    client: &'a Masked<'_>,
    server: &'a Masked<'_>,
    connection_type: Option<&'a Masked<'static>>,
    failed: bool,
) -> AttributeSet<'a> {
    let mut set = AttributeSet::new();
    set.put_text(metric::CLIENT, client);
    if let Some(kind) = connection_type {
        set.put_text(metric::CONNECTION_TYPE, kind);
    }
    set.put_bool(metric::FAILED, failed);
    set.put_text(metric::SERVER, server);
    set
}

fn count(set: &AttributeSet<'_>, call: &Call<'_>, out: &mut Outlets<'_>) {
    out.add(Instrument::ServiceGraphRequests, set, 1, call.exemplar);
    if call.failed {
        out.add(Instrument::ServiceGraphRequestsFailed, set, 1, call.exemplar);
    }
}
