//! What can be measured: a closed set, so that no traffic can add a metric.

use crate::semconv::{
    ERROR_TYPE, HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE, NETWORK_PROTOCOL_VERSION, URL_SCHEME,
    metric,
};

/// What measurements of an instrument are, and how they are summed up by default (Metrics SDK, "Default
/// aggregation").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstrumentKind {
    /// Increments of a sum that only grows.
    Counter,
    /// Changes of a sum, up and down.
    UpDownCounter,
    /// Values whose distribution matters.
    Histogram,
}

/// What is known of an instrument before anything is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Definition {
    /// The metric's name in OTLP.
    pub name: &'static str,
    /// UCUM, case-sensitive.
    pub unit: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// Counter, up-down counter or histogram.
    pub kind: InstrumentKind,
    /// The boundaries that the instrumentation advises for an explicit-bucket histogram; rising, each the inclusive
    /// upper one of its bucket. Empty for other kinds.
    pub boundaries: &'static [f64],
    /// The keys of the attributes that its series may have, in ascending order. A measurement's other attributes are
    /// left out, so that one set of attributes serves all instruments.
    pub attributes: &'static [&'static str],
}

macro_rules! instruments {
    ($($(#[doc = $doc:literal])* $variant:ident => $definition:expr,)*) => {
        /// An instrument.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Instrument {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Instrument {
            /// All of them, in the order of their discriminants.
            pub const ALL: &'static [Instrument] = &[$(Instrument::$variant,)*];

            /// What it is.
            #[inline]
            pub const fn definition(self) -> &'static Definition {
                match self { $(Instrument::$variant => &$definition,)* }
            }
        }
    };
}

/// The conventions' advice for durations of requests, seconds.
const SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// For sizes of bodies, bytes: the conventions advise none, and the SDKs' default ends at ten thousand.
const BYTES: &[f64] = &[
    0.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
];

/// The service graph's, seconds.
const SERVICE_GRAPH_SECONDS: &[f64] = &[0.01, 0.05, 0.1, 0.5, 1.0, 2.0];

const HTTP: &[&str] =
    &[ERROR_TYPE, HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE, NETWORK_PROTOCOL_VERSION, URL_SCHEME];

const HTTP_ACTIVE: &[&str] = &[HTTP_REQUEST_METHOD, URL_SCHEME];

const RPC: &[&str] =
    &[ERROR_TYPE, metric::RPC_METHOD, metric::RPC_RESPONSE_STATUS_CODE, metric::RPC_SERVICE, metric::RPC_SYSTEM_NAME];

const REJECTED: &[&str] = &[metric::RPC_METHOD, metric::RPC_SERVICE, metric::RPC_SYSTEM_NAME];

const SERVICE_GRAPH: &[&str] = &[metric::CLIENT, metric::CONNECTION_TYPE, metric::FAILED, metric::SERVER];

instruments! {
    /// How long requests took that this proxy's service answered.
    HttpServerRequestDuration => Definition {
        name: "http.server.request.duration",
        unit: "s",
        description: "Duration of HTTP server requests.",
        kind: InstrumentKind::Histogram,
        boundaries: SECONDS,
        attributes: HTTP,
    },
    /// How long requests took that this proxy's service made.
    HttpClientRequestDuration => Definition {
        name: "http.client.request.duration",
        unit: "s",
        description: "Duration of HTTP client requests.",
        kind: InstrumentKind::Histogram,
        boundaries: SECONDS,
        attributes: HTTP,
    },
    /// Requests to the service that have begun and not ended.
    HttpServerActiveRequests => Definition {
        name: "http.server.active_requests",
        unit: "{request}",
        description: "Number of active HTTP server requests.",
        kind: InstrumentKind::UpDownCounter,
        boundaries: &[],
        attributes: HTTP_ACTIVE,
    },
    /// Requests of the service that have begun and not ended.
    HttpClientActiveRequests => Definition {
        name: "http.client.active_requests",
        unit: "{request}",
        description: "Number of active HTTP client requests.",
        kind: InstrumentKind::UpDownCounter,
        boundaries: &[],
        attributes: HTTP_ACTIVE,
    },
    /// What requests to the service carry.
    HttpServerRequestBodySize => Definition {
        name: "http.server.request.body.size",
        unit: "By",
        description: "Size of HTTP server request bodies.",
        kind: InstrumentKind::Histogram,
        boundaries: BYTES,
        attributes: HTTP,
    },
    /// What the service answers.
    HttpServerResponseBodySize => Definition {
        name: "http.server.response.body.size",
        unit: "By",
        description: "Size of HTTP server response bodies.",
        kind: InstrumentKind::Histogram,
        boundaries: BYTES,
        attributes: HTTP,
    },
    /// What requests of the service carry.
    HttpClientRequestBodySize => Definition {
        name: "http.client.request.body.size",
        unit: "By",
        description: "Size of HTTP client request bodies.",
        kind: InstrumentKind::Histogram,
        boundaries: BYTES,
        attributes: HTTP,
    },
    /// What the service is answered.
    HttpClientResponseBodySize => Definition {
        name: "http.client.response.body.size",
        unit: "By",
        description: "Size of HTTP client response bodies.",
        kind: InstrumentKind::Histogram,
        boundaries: BYTES,
        attributes: HTTP,
    },
    /// How long calls took that this proxy's service answered.
    RpcServerCallDuration => Definition {
        name: "rpc.server.call.duration",
        unit: "s",
        description: "Duration of an incoming Remote Procedure Call (RPC).",
        kind: InstrumentKind::Histogram,
        boundaries: SECONDS,
        attributes: RPC,
    },
    /// How long calls took that this proxy's service made.
    RpcClientCallDuration => Definition {
        name: "rpc.client.call.duration",
        unit: "s",
        description: "Duration of an outgoing Remote Procedure Call (RPC).",
        kind: InstrumentKind::Histogram,
        boundaries: SECONDS,
        attributes: RPC,
    },
    /// gRPC streams that were turned away before a service saw them.
    RpcRejectedStreams => Definition {
        name: "meshspan.rpc.rejected_streams",
        unit: "{stream}",
        description: "gRPC streams that were rejected before they reached a service.",
        kind: InstrumentKind::Counter,
        boundaries: &[],
        attributes: REJECTED,
    },
    /// Responses that Envoy flagged.
    ResponsesFlagged => Definition {
        name: "meshspan.responses.flagged",
        unit: "{request}",
        description: "Requests whose response Envoy flagged, by class of response flag.",
        kind: InstrumentKind::Counter,
        boundaries: &[],
        attributes: &[metric::FLAG_CLASS],
    },
    /// Further attempts of requests.
    UpstreamRetries => Definition {
        name: "meshspan.upstream.retries",
        unit: "{retry}",
        description: "Attempts at an upstream after a request's first.",
        kind: InstrumentKind::Counter,
        boundaries: &[],
        attributes: &[HTTP_REQUEST_METHOD, HTTP_ROUTE],
    },
    /// An edge of the service graph: its requests.
    ServiceGraphRequests => Definition {
        name: "traces_service_graph_request_total",
        unit: "",
        description: "Requests between two nodes.",
        kind: InstrumentKind::Counter,
        boundaries: &[],
        attributes: SERVICE_GRAPH,
    },
    /// An edge of the service graph: its failed requests.
    ServiceGraphRequestsFailed => Definition {
        name: "traces_service_graph_request_failed_total",
        unit: "",
        description: "Failed requests between two nodes.",
        kind: InstrumentKind::Counter,
        boundaries: &[],
        attributes: SERVICE_GRAPH,
    },
    /// An edge of the service graph: how long requests took, seen from the server.
    ServiceGraphServerSeconds => Definition {
        name: "traces_service_graph_request_server_seconds",
        unit: "s",
        description: "Duration of requests between two nodes, as the server sees it.",
        kind: InstrumentKind::Histogram,
        boundaries: SERVICE_GRAPH_SECONDS,
        attributes: SERVICE_GRAPH,
    },
    /// An edge of the service graph: how long requests took, seen from the client.
    ServiceGraphClientSeconds => Definition {
        name: "traces_service_graph_request_client_seconds",
        unit: "s",
        description: "Duration of requests between two nodes, as the client sees it.",
        kind: InstrumentKind::Histogram,
        boundaries: SERVICE_GRAPH_SECONDS,
        attributes: SERVICE_GRAPH,
    },
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn definitions_hold_what_they_promise() {
        for (index, instrument) in Instrument::ALL.iter().enumerate() {
            let definition = instrument.definition();
            let name = definition.name;
            assert_eq!(*instrument as usize, index, "{name}: its place");
            assert!(definition.attributes.is_sorted_by(|one, other| one < other), "{name}: keys ascend");
            assert!(definition.boundaries.is_sorted_by(|one, other| one < other), "{name}: boundaries rise");
            let has_boundaries = !definition.boundaries.is_empty();
            assert_eq!(has_boundaries, definition.kind == InstrumentKind::Histogram, "{name}: boundaries by kind");
            let same = Instrument::ALL.iter().filter(|other| other.definition().name == name).count();
            assert_eq!(same, 1, "{name}: once");
        }
    }
}
