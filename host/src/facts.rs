//! What the host's attributes say, read into the logic's terms.
//!
//! Source: Envoy, "Attributes". Integers, timestamps and durations (ns) come as eight little-endian bytes, texts as
//! their bytes; an attribute that does not apply is `NotFound` as a property, and empty here.

use meshspan_core::counter::{Counter, Counters};
use meshspan_core::grpc::GrpcStatus;
use meshspan_core::header::HeaderLine;
use meshspan_core::http::{OutcomeNeeds, Peer, ResponseFlags, StreamEnd, TrafficDirection};
use meshspan_core::resource::NodeFacts;

use crate::calls::{self, HostError, MapType};

/// Reads properties and counts the ones that fail.
pub(crate) struct Properties<'a>(pub(crate) &'a mut Counters);

impl Properties<'_> {
    fn bytes(&mut self, path: &[u8]) -> Vec<u8> {
        if let Ok(value) = calls::property(path) {
            return value.unwrap_or_default();
        }
        self.0.increment(Counter::HostCallsFailed);
        Vec::new()
    }

    fn text(&mut self, path: &[u8]) -> Option<String> {
        String::from_utf8(self.bytes(path)).ok().filter(|text| !text.is_empty())
    }

    /// The cluster that a request is routed to.
    pub(crate) fn cluster(&mut self) -> Vec<u8> {
        self.bytes(b"xds\0cluster_name")
    }

    /// The name of a request's route.
    pub(crate) fn route_name(&mut self) -> Vec<u8> {
        self.bytes(b"xds\0route_name")
    }

    /// The URI in the certificate of the connection's peer.
    pub(crate) fn peer_identity(&mut self) -> Vec<u8> {
        self.bytes(b"connection\0uri_san_peer_certificate")
    }

    /// What the bootstrap says about this proxy.
    pub(crate) fn node(&mut self) -> NodeFacts {
        NodeFacts {
            id: self.text(b"xds\0node\0id"),
            cluster: self.text(b"xds\0node\0cluster"),
            canonical_name: self.text(b"xds\0node\0metadata\0LABELS\0service.istio.io/canonical-name"),
            canonical_revision: self.text(b"xds\0node\0metadata\0LABELS\0service.istio.io/canonical-revision"),
            pod_name: self.text(b"xds\0node\0metadata\0NAME"),
            namespace: self.text(b"xds\0node\0metadata\0NAMESPACE"),
            owner: self.text(b"xds\0node\0metadata\0OWNER"),
            cluster_id: self.text(b"xds\0node\0metadata\0CLUSTER_ID"),
        }
    }
}

/// The listener's traffic direction. Known in a stream's callbacks only.
pub(crate) fn direction() -> Result<TrafficDirection, HostError> {
    let value = calls::property(b"xds\0listener_direction")?;
    let number = value.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
    Ok(match number {
        Some(1) => TrafficDirection::Inbound,
        Some(2) => TrafficDirection::Outbound,
        _ => TrafficDirection::Unspecified,
    })
}

/// What the router measured, ms: it writes the header itself, unless it is configured not to. No attribute has this.
fn upstream_service_time() -> Option<u64> {
    let value = calls::header(MapType::HttpResponseHeaders, "x-envoy-upstream-service-time").ok()??;
    core::str::from_utf8(&value).ok()?.parse().ok()
}

/// `grpc-status` of an answer without a body, and of the proxy's own answers. Not the property `response.grpc_status`:
/// that one makes a status of any HTTP status as well, and UNKNOWN of a gRPC-Web answer, whose trailers are in its body.
fn grpc_status() -> Option<GrpcStatus> {
    calls::header(MapType::HttpResponseHeaders, "grpc-status").ok()?.map(|value| GrpcStatus::parse(&value))
}

/// One attribute of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fact {
    Start,
    Duration,
    Protocol,
    ResponseCode,
    ResponseFlags,
    RouteName,
    AttemptCount,
    RequestSize,
    ResponseSize,
    ResponseCodeDetails,
    UpstreamDuration,
    UpstreamAddress,
    SourceAddress,
    Cluster,
    CallerCertificate,
    CalleeCertificate,
}

/// How many facts there are.
const COUNT: usize = 16;

/// All of them, in the order of their discriminants.
const FACTS: [Fact; COUNT] = [
    Fact::Start,
    Fact::Duration,
    Fact::Protocol,
    Fact::ResponseCode,
    Fact::ResponseFlags,
    Fact::RouteName,
    Fact::AttemptCount,
    Fact::RequestSize,
    Fact::ResponseSize,
    Fact::ResponseCodeDetails,
    Fact::UpstreamDuration,
    Fact::UpstreamAddress,
    Fact::SourceAddress,
    Fact::Cluster,
    Fact::CallerCertificate,
    Fact::CalleeCertificate,
];

impl Fact {
    /// The property's path, with a NUL between its segments.
    const fn path(self) -> &'static [u8] {
        match self {
            Self::Start => b"request\0time",
            Self::Duration => b"request\0duration",
            Self::Protocol => b"request\0protocol",
            Self::ResponseCode => b"response\0code",
            Self::ResponseFlags => b"response\0flags",
            Self::RouteName => b"xds\0route_name",
            Self::AttemptCount => b"upstream\0request_attempt_count",
            Self::RequestSize => b"request\0size",
            Self::ResponseSize => b"response\0size",
            Self::ResponseCodeDetails => b"response\0code_details",
            Self::UpstreamDuration => b"response\0backend_latency",
            Self::UpstreamAddress => b"upstream\0address",
            Self::SourceAddress => b"source\0address",
            Self::Cluster => b"xds\0cluster_name",
            Self::CallerCertificate => b"connection\0uri_san_peer_certificate",
            Self::CalleeCertificate => b"upstream\0uri_san_peer_certificate",
        }
    }

    /// Whether only a stream that was sent upstream has it.
    const fn needs_upstream(self) -> bool {
        matches!(self, Self::UpstreamDuration | Self::UpstreamAddress | Self::CalleeCertificate)
    }
}

/// A set of facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FactSet(u32);

impl FactSet {
    const fn of(facts: &[Fact]) -> Self {
        let mut bits = 0;
        let mut rest = facts;
        while let [first, others @ ..] = rest {
            bits |= 1 << *first as u32;
            rest = others;
        }
        Self(bits)
    }

    const fn with(self, fact: Fact, wanted: bool) -> Self {
        if wanted { Self(self.0 | 1 << fact as u32) } else { self }
    }

    const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    fn iter(self) -> impl Iterator<Item = Fact> {
        FACTS.into_iter().filter(move |fact| self.0 & (1 << *fact as u32) != 0)
    }
}

/// What decides about any stream.
const OUTCOME: FactSet =
    FactSet::of(&[Fact::Start, Fact::Duration, Fact::Protocol, Fact::ResponseCode, Fact::ResponseFlags]);

/// What a span tells beside it.
const DETAILS: FactSet = FactSet::of(&[
    Fact::RouteName,
    Fact::AttemptCount,
    Fact::RequestSize,
    Fact::ResponseSize,
    Fact::ResponseCodeDetails,
    Fact::UpstreamDuration,
    Fact::UpstreamAddress,
    Fact::SourceAddress,
    Fact::Cluster,
]);

/// What an outcome is read from.
const fn outcome_facts(needs: OutcomeNeeds) -> FactSet {
    OUTCOME
        .with(Fact::RouteName, needs.route_name)
        .with(Fact::RequestSize, needs.sizes)
        .with(Fact::ResponseSize, needs.sizes)
        .with(Fact::AttemptCount, needs.attempt_count)
        .with(Fact::Cluster, needs.cluster)
        .with(Fact::CallerCertificate, needs.caller.certificate_uri)
        .with(Fact::CalleeCertificate, needs.callee.certificate_uri)
}

/// What is known when a stream is complete, as the host's bytes.
#[derive(Default)]
pub(crate) struct EndFacts {
    now: u64,
    /// The request was its headers alone: its body's size need not be asked for.
    is_bodiless: bool,
    first_byte_ms: Option<u64>,
    grpc_status: Option<GrpcStatus>,
    istio_caller: Vec<u8>,
    istio_callee: Vec<u8>,
    /// All values, one behind the other.
    texts: Vec<u8>,
    /// Where each fact's value begins and ends there.
    ranges: [(usize, usize); COUNT],
}

impl EndFacts {
    /// Reads what decides about a stream, and no more. To be called in `proxy_on_log`.
    pub(crate) fn read_outcome(needs: OutcomeNeeds, is_bodiless: bool, counters: &mut Counters) -> Self {
        let mut facts = Self { is_bodiless, ..Self::default() };
        facts.read(outcome_facts(needs), counters);
        // The stream's own times make the clock needless.
        if facts.number(Fact::Start).is_none() || facts.number(Fact::Duration).is_none() {
            facts.now = calls::now().unwrap_or(0);
        }
        if needs.grpc_status {
            facts.grpc_status = grpc_status();
        }
        facts
    }

    /// Reads the rest. `needs` is what the outcome was read with.
    pub(crate) fn read_details(&mut self, needs: OutcomeNeeds, counters: &mut Counters) {
        self.read(DETAILS.without(outcome_facts(needs)), counters);
        if self.number(Fact::AttemptCount) != Some(0) {
            self.first_byte_ms = upstream_service_time();
        }
    }

    fn read(&mut self, set: FactSet, counters: &mut Counters) {
        for fact in set.iter() {
            // A stream that never had an upstream has nothing to say about it: no call is spent on asking.
            if fact.needs_upstream() && self.number(Fact::AttemptCount) == Some(0) {
                continue;
            }
            if fact == Fact::RequestSize && self.is_bodiless {
                self.put(fact, &0_u64.to_le_bytes());
                continue;
            }
            let value = Properties(counters).bytes(fact.path());
            self.put(fact, &value);
        }
    }

    fn put(&mut self, fact: Fact, value: &[u8]) {
        let begin = self.texts.len();
        self.texts.extend_from_slice(value);
        if let Some(range) = self.ranges.get_mut(fact as usize) {
            *range = (begin, self.texts.len());
        }
    }

    fn text(&self, fact: Fact) -> &[u8] {
        let (begin, end) = self.ranges.get(fact as usize).copied().unwrap_or_default();
        self.texts.get(begin..end).unwrap_or_default()
    }

    fn number(&self, fact: Fact) -> Option<u64> {
        Some(u64::from_le_bytes(self.text(fact).try_into().ok()?))
    }

    /// The same in the logic's terms.
    pub(crate) fn stream_end<'a>(&'a self, response_headers: &'a [HeaderLine<'a>]) -> StreamEnd<'a> {
        StreamEnd {
            now: self.now,
            start: self.number(Fact::Start),
            duration: self.number(Fact::Duration),
            protocol: self.text(Fact::Protocol),
            request_size: self.number(Fact::RequestSize),
            response_size: self.number(Fact::ResponseSize),
            response_code: self.number(Fact::ResponseCode),
            response_code_details: self.text(Fact::ResponseCodeDetails),
            grpc_status: self.grpc_status,
            response_flags: ResponseFlags(self.number(Fact::ResponseFlags).unwrap_or(0)),
            first_byte_ms: self.first_byte_ms,
            upstream_duration: self.number(Fact::UpstreamDuration),
            attempt_count: self.number(Fact::AttemptCount),
            source_address: self.text(Fact::SourceAddress),
            upstream_address: self.text(Fact::UpstreamAddress),
            cluster: self.text(Fact::Cluster),
            route_name: self.text(Fact::RouteName),
            caller: Peer { istio_service: &self.istio_caller, certificate_uri: self.text(Fact::CallerCertificate) },
            callee: Peer { istio_service: &self.istio_callee, certificate_uri: self.text(Fact::CalleeCertificate) },
            response_headers,
        }
    }
}
