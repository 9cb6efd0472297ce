//! What the host's attributes say, read into the logic's terms.
//!
//! Source: Envoy, "Attributes". Integers, timestamps and durations (ns) come as eight little-endian bytes, texts as
//! their bytes; an attribute that does not apply is `NotFound` as a property, and empty here.
//!
//! Read one by one, each costs two thirds of a microsecond. What is asked of every stream is therefore asked in one
//! call: an expression of Envoy's expression language that is a list of attributes, made once by the foreign function
//! `expr_create` and evaluated by `expr_evaluate`. A host without them is asked one by one.

use meshspan_core::counter::{Counter, Counters};
use meshspan_core::grpc::GrpcStatus;
use meshspan_core::header::HeaderLine;
use meshspan_core::header::pairs::Pairs;
use meshspan_core::http::{OutcomeNeeds, Peer, ResponseFlags, StreamEnd, TrafficDirection};
use meshspan_core::resource::NodeFacts;

use crate::host::{self, MapType};

/// Reads properties and counts the ones that fail.
pub(crate) struct Properties<'a>(pub(crate) &'a mut Counters);

impl Properties<'_> {
    fn bytes(&mut self, path: &[u8]) -> Vec<u8> {
        if let Ok(value) = host::property(path) {
            return value.unwrap_or_default();
        }
        self.0.increment(Counter::HostCallsFailed);
        Vec::new()
    }

    fn number(&mut self, path: &[u8]) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(path).try_into().ok()?))
    }

    fn text(&mut self, path: &[u8]) -> Option<String> {
        String::from_utf8(self.bytes(path)).ok().filter(|text| !text.is_empty())
    }

    /// The listener's traffic direction. Known in a stream's callbacks only.
    pub(crate) fn direction(&mut self) -> TrafficDirection {
        match self.number(b"xds\0listener_direction") {
            Some(1) => TrafficDirection::Inbound,
            Some(2) => TrafficDirection::Outbound,
            _ => TrafficDirection::Unspecified,
        }
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

/// What the router measured, ms: it writes the header itself, unless it is configured not to. No attribute has this.
fn upstream_service_time() -> Option<u64> {
    let value = host::header(MapType::HttpResponseHeaders, "x-envoy-upstream-service-time").ok()??;
    core::str::from_utf8(&value).ok()?.parse().ok()
}

/// `grpc-status` of an answer without a body, and of the proxy's own answers. Not the property `response.grpc_status`:
/// that one makes a status of any HTTP status as well, and UNKNOWN of a gRPC-Web answer, whose trailers are in its body.
fn grpc_status() -> Option<GrpcStatus> {
    host::header(MapType::HttpResponseHeaders, "grpc-status").ok()?.map(|value| GrpcStatus::parse(&value))
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
    /// Envoy's name of it, and whether there are streams that do not have it: an expression that names what is not
    /// there fails as a whole.
    const fn attribute(self) -> (&'static str, bool) {
        match self {
            Self::Start => ("request.time", false),
            Self::Duration => ("request.duration", true),
            Self::Protocol => ("request.protocol", true),
            Self::ResponseCode => ("response.code", true),
            Self::ResponseFlags => ("response.flags", false),
            Self::RouteName => ("xds.route_name", true),
            Self::AttemptCount => ("upstream.request_attempt_count", true),
            Self::RequestSize => ("request.size", false),
            Self::ResponseSize => ("response.size", false),
            Self::ResponseCodeDetails => ("response.code_details", true),
            Self::UpstreamDuration => ("response.backend_latency", true),
            Self::UpstreamAddress => ("upstream.address", true),
            Self::SourceAddress => ("source.address", true),
            Self::Cluster => ("xds.cluster_name", true),
            Self::CallerCertificate => ("connection.uri_san_peer_certificate", true),
            Self::CalleeCertificate => ("upstream.uri_san_peer_certificate", true),
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

    /// The expression that is a list of them.
    fn expression(self) -> String {
        let mut text = String::from("[");
        for fact in self.iter() {
            if text.len() > 1 {
                text.push_str(", ");
            }
            let (attribute, may_be_absent) = fact.attribute();
            if may_be_absent {
                text.push_str("has(");
                text.push_str(attribute);
                text.push_str(") ? ");
                text.push_str(attribute);
                text.push_str(" : ''");
            } else {
                text.push_str(attribute);
            }
        }
        text.push(']');
        text
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

/// Reads facts, several in one call where the host can do that. One a root context: expressions belong to it.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// The host's numbers of expressions that were made; `None` for one that it does not take.
    expressions: Vec<(FactSet, Option<host::Expression>)>,
}

impl Reader {
    /// Reads what decides about a stream, and no more. To be called in `proxy_on_log`.
    pub(crate) fn outcome(&mut self, needs: OutcomeNeeds, counters: &mut Counters) -> EndFacts {
        self.first(needs, outcome_facts(needs), counters)
    }

    /// Reads all there is, as [`outcome`](Self::outcome) and [`details`](Self::details) in one.
    pub(crate) fn all(&mut self, needs: OutcomeNeeds, counters: &mut Counters) -> EndFacts {
        let mut facts = self.first(needs, FactSet(outcome_facts(needs).0 | DETAILS.0), counters);
        facts.read_service_time();
        facts
    }

    /// Reads the rest. `needs` is what the outcome was read with.
    pub(crate) fn details(&mut self, facts: &mut EndFacts, needs: OutcomeNeeds, counters: &mut Counters) {
        self.read(DETAILS.without(outcome_facts(needs)), facts, counters);
        facts.read_service_time();
    }

    fn first(&mut self, needs: OutcomeNeeds, set: FactSet, counters: &mut Counters) -> EndFacts {
        let mut facts = EndFacts::default();
        self.read(set, &mut facts, counters);
        // The stream's own times make the clock needless.
        if facts.number(Fact::Start).is_none() || facts.number(Fact::Duration).is_none() {
            facts.now = host::now().unwrap_or(0);
        }
        if needs.grpc_status {
            facts.grpc_status = grpc_status();
        }
        // Not in an expression: one that names an object which is not there fails as a whole.
        if needs.caller.istio_service {
            facts.istio_caller = Properties(counters).bytes(b"filter_state\0downstream_peer\0service");
        }
        if needs.callee.istio_service {
            facts.istio_callee = Properties(counters).bytes(b"filter_state\0upstream_peer\0service");
        }
        facts
    }

    fn read(&mut self, set: FactSet, facts: &mut EndFacts, counters: &mut Counters) {
        if let Some(expression) = self.expression(set) {
            if let Ok(answer) = host::evaluate(expression)
                && let Some(values) = Pairs::parse(&answer)
                && values.iter().count() == set.iter().count()
            {
                facts.texts.reserve(answer.len());
                // The host writes a list as header lines without values.
                for (fact, (value, _)) in set.iter().zip(values.iter()) {
                    facts.put(fact, value);
                }
                return;
            }
            counters.increment(Counter::HostCallsFailed);
        }
        for fact in set.iter() {
            // A stream that never had an upstream has nothing to say about it: no call is spent on asking.
            if fact.needs_upstream() && facts.number(Fact::AttemptCount) == Some(0) {
                continue;
            }
            let path = fact.attribute().0.replace('.', "\0");
            let value = Properties(counters).bytes(path.as_bytes());
            facts.put(fact, &value);
        }
    }

    /// The expression for these facts, made when it is first asked for.
    fn expression(&mut self, set: FactSet) -> Option<host::Expression> {
        if let Some((_, expression)) = self.expressions.iter().find(|(made, _)| *made == set) {
            return *expression;
        }
        let expression = host::create_expression(&set.expression()).ok();
        self.expressions.push((set, expression));
        expression
    }
}

/// What is known when a stream is complete, as the host's bytes.
#[derive(Default)]
pub(crate) struct EndFacts {
    now: u64,
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

    fn read_service_time(&mut self) {
        if self.number(Fact::AttemptCount) != Some(0) {
            self.first_byte_ms = upstream_service_time();
        }
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
