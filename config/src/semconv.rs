//! Attribute names, as the semantic conventions 1.40 spell them, and our own where they have none.
#![allow(missing_docs, reason = "a name says what it names")]

/// The version of the conventions that these names follow.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.40.0";

pub const CLIENT_ADDRESS: &str = "client.address";
pub const CLIENT_PORT: &str = "client.port";
pub const ERROR_TYPE: &str = "error.type";
pub const HTTP_REQUEST_BODY_SIZE: &str = "http.request.body.size";
pub const HTTP_REQUEST_HEADER: &str = "http.request.header.";
pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
pub const HTTP_REQUEST_METHOD_ORIGINAL: &str = "http.request.method_original";
pub const HTTP_REQUEST_RESEND_COUNT: &str = "http.request.resend_count";
pub const HTTP_RESPONSE_BODY_SIZE: &str = "http.response.body.size";
pub const HTTP_RESPONSE_HEADER: &str = "http.response.header.";
pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
pub const HTTP_ROUTE: &str = "http.route";
pub const NETWORK_PEER_ADDRESS: &str = "network.peer.address";
pub const NETWORK_PEER_PORT: &str = "network.peer.port";
pub const NETWORK_PROTOCOL_VERSION: &str = "network.protocol.version";
/// Full: `package.Service/Method`.
pub const RPC_METHOD: &str = "rpc.method";
pub const RPC_METHOD_ORIGINAL: &str = "rpc.method_original";
/// The status by its name. (In the conventions after 1.44 `rpc.status_code`.)
pub const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";
/// No attribute of the newest conventions, where `rpc.method` has it as well; what many queries group by.
pub const RPC_SERVICE: &str = "rpc.service";
pub const RPC_SYSTEM_NAME: &str = "rpc.system.name";
pub const SERVER_ADDRESS: &str = "server.address";
pub const SERVER_PORT: &str = "server.port";
pub const URL_FULL: &str = "url.full";
pub const URL_PATH: &str = "url.path";
pub const URL_QUERY: &str = "url.query";
pub const URL_SCHEME: &str = "url.scheme";
pub const USER_AGENT_ORIGINAL: &str = "user_agent.original";

/// Names that the HTTP and RPC conventions had before they became stable, for `http/dup` and `rpc/dup`.
pub mod legacy {
    pub const HTTP_FLAVOR: &str = "http.flavor";
    pub const HTTP_METHOD: &str = "http.method";
    pub const HTTP_STATUS_CODE: &str = "http.status_code";
    pub const HTTP_URL: &str = "http.url";
    pub const NET_PEER_NAME: &str = "net.peer.name";
    /// The status by its number.
    pub const RPC_GRPC_STATUS_CODE: &str = "rpc.grpc.status_code";
    /// The method alone, where `rpc.service` has the rest.
    pub const RPC_METHOD: &str = "rpc.method";
    pub const RPC_SYSTEM: &str = "rpc.system";
}

/// What only this filter knows.
pub mod meshspan {
    /// The sampler that decided to record the span.
    pub const SAMPLER: &str = "meshspan.sampling.sampler";
    /// The branches and rules of the configuration that led to it.
    pub const RULE: &str = "meshspan.sampling.rule";
    /// How many streams a kept one stands for.
    pub const ADJUSTED_COUNT: &str = "meshspan.sampling.adjusted_count";
}

/// What only Envoy knows.
pub mod envoy {
    /// `true` on a response that a cache in this Envoy gave (`RFCF`); absent on any other.
    pub const CACHE_HIT: &str = "envoy.cache.hit";
    /// Names of the response flags (`UF`, `UH`, …), as `%RESPONSE_FLAGS%` prints them.
    pub const RESPONSE_FLAGS: &str = "envoy.response_flags";
    /// `%RESPONSE_CODE_DETAILS%`
    pub const RESPONSE_CODE_DETAILS: &str = "envoy.response_code_details";
    /// The cluster that the request was routed to.
    pub const UPSTREAM_CLUSTER: &str = "envoy.upstream.cluster";
    /// `%UPSTREAM_HOST%`: address and port.
    pub const UPSTREAM_HOST: &str = "envoy.upstream.host";
    /// How often an upstream was tried.
    pub const UPSTREAM_ATTEMPT_COUNT: &str = "envoy.upstream.attempt_count";
    /// Seconds from the first byte sent to the upstream to the last byte received from it.
    pub const UPSTREAM_DURATION: &str = "envoy.upstream.duration";
    /// Seconds from the request's last byte to the upstream's first, in steps of a millisecond.
    pub const UPSTREAM_FIRST_BYTE_DURATION: &str = "envoy.upstream.first_byte.duration";
    /// The route's name.
    pub const ROUTE_NAME: &str = "envoy.route.name";
}

/// Attributes that metrics have and spans do not.
pub mod metric {
    /// The caller, in the service graph.
    pub const CLIENT: &str = "client";
    /// What kind of node is called, where it is no service: `database`, `virtual_node`.
    pub const CONNECTION_TYPE: &str = "connection_type";
    /// Whether the request failed, in the service graph.
    pub const FAILED: &str = "failed";
    /// The class of Envoy's response flag.
    pub const FLAG_CLASS: &str = "flag_class";
    pub const RPC_METHOD: &str = "rpc.method";
    pub const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";
    pub const RPC_SERVICE: &str = "rpc.service";
    pub const RPC_SYSTEM_NAME: &str = "rpc.system.name";
    /// The one called, in the service graph.
    pub const SERVER: &str = "server";
}
