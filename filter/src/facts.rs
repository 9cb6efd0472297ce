//! What the host's properties say, read into the logic's terms.
//!
//! Source: Envoy, "Attributes". Integers, timestamps and durations (ns) come as eight little-endian bytes, texts as
//! their bytes; a property that does not apply is `NotFound`, or empty.

use meshspan_core::counter::{Counter, Counters};
use meshspan_core::header::HeaderLine;
use meshspan_core::http::{OutcomeNeeds, ResponseFlags, StreamEnd, TrafficDirection};
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

    /// The gRPC status. Of a stream that is none, the host makes one of its HTTP status.
    fn grpc_status(&mut self) -> Option<u64> {
        self.number(b"response\0grpc_status")
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

/// What the router measured, ms: it writes the header itself, unless it is configured not to. No property has this.
fn upstream_service_time() -> Option<u64> {
    let value = host::header(MapType::HttpResponseHeaders, "x-envoy-upstream-service-time").ok()??;
    core::str::from_utf8(&value).ok()?.parse().ok()
}

/// What is known when a stream is complete, as the host's bytes.
#[derive(Default)]
pub(crate) struct EndFacts {
    now: u64,
    start: Option<u64>,
    duration: Option<u64>,
    protocol: Vec<u8>,
    request_size: Option<u64>,
    response_size: Option<u64>,
    response_code: Option<u64>,
    response_code_details: Vec<u8>,
    response_flags: u64,
    grpc_status: Option<u64>,
    first_byte_ms: Option<u64>,
    upstream_duration: Option<u64>,
    attempt_count: Option<u64>,
    source_address: Vec<u8>,
    upstream_address: Vec<u8>,
    cluster: Vec<u8>,
    route_name: Vec<u8>,
}

impl EndFacts {
    /// Reads what decides about a stream, and no more. To be called in `proxy_on_log`.
    pub(crate) fn read_outcome(properties: &mut Properties<'_>, needs: OutcomeNeeds) -> Self {
        let start = properties.number(b"request\0time");
        let duration = properties.number(b"request\0duration");
        // The stream's own times make the clock needless.
        let is_timed = start.is_some() && duration.is_some();
        Self {
            now: if is_timed { 0 } else { host::now().unwrap_or(0) },
            start,
            duration,
            protocol: properties.bytes(b"request\0protocol"),
            response_code: properties.number(b"response\0code"),
            response_flags: properties.number(b"response\0flags").unwrap_or(0),
            grpc_status: if needs.grpc_status { properties.grpc_status() } else { None },
            route_name: if needs.route_name { properties.route_name() } else { Vec::new() },
            ..Self::default()
        }
    }

    /// Reads the rest. `needs` is what the outcome was read with.
    pub(crate) fn read_details(&mut self, properties: &mut Properties<'_>, needs: OutcomeNeeds) {
        self.attempt_count = properties.number(b"upstream\0request_attempt_count");
        self.request_size = properties.number(b"request\0size");
        self.response_size = properties.number(b"response\0size");
        self.response_code_details = properties.bytes(b"response\0code_details");
        // A stream that never had an upstream has nothing to say about it: no call is spent on asking.
        if self.attempt_count != Some(0) {
            self.first_byte_ms = upstream_service_time();
            self.upstream_duration = properties.number(b"response\0backend_latency");
            self.upstream_address = properties.bytes(b"upstream\0address");
        }
        self.source_address = properties.bytes(b"source\0address");
        self.cluster = properties.cluster();
        if !needs.route_name {
            self.route_name = properties.route_name();
        }
    }

    /// The same in the logic's terms.
    pub(crate) fn stream_end<'a>(&'a self, response_headers: &'a [HeaderLine<'a>]) -> StreamEnd<'a> {
        StreamEnd {
            now: self.now,
            start: self.start,
            duration: self.duration,
            protocol: &self.protocol,
            request_size: self.request_size,
            response_size: self.response_size,
            response_code: self.response_code,
            response_code_details: &self.response_code_details,
            grpc_status: self.grpc_status,
            response_flags: ResponseFlags(self.response_flags),
            first_byte_ms: self.first_byte_ms,
            upstream_duration: self.upstream_duration,
            attempt_count: self.attempt_count,
            source_address: &self.source_address,
            upstream_address: &self.upstream_address,
            cluster: &self.cluster,
            route_name: &self.route_name,
            response_headers,
        }
    }
}
