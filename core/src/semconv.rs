//! Attribute names, as the semantic conventions 1.40 spell them, and our own where they have none.

/// The version of the conventions that these names follow.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.40.0";

pub(crate) const CLIENT_ADDRESS: &str = "client.address";
pub(crate) const CLIENT_PORT: &str = "client.port";
pub(crate) const ERROR_TYPE: &str = "error.type";
pub(crate) const HTTP_REQUEST_BODY_SIZE: &str = "http.request.body.size";
pub(crate) const HTTP_REQUEST_HEADER: &str = "http.request.header.";
pub(crate) const HTTP_REQUEST_METHOD: &str = "http.request.method";
pub(crate) const HTTP_REQUEST_METHOD_ORIGINAL: &str = "http.request.method_original";
pub(crate) const HTTP_REQUEST_RESEND_COUNT: &str = "http.request.resend_count";
pub(crate) const HTTP_RESPONSE_BODY_SIZE: &str = "http.response.body.size";
pub(crate) const HTTP_RESPONSE_HEADER: &str = "http.response.header.";
pub(crate) const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
pub(crate) const HTTP_ROUTE: &str = "http.route";
pub(crate) const NETWORK_PEER_ADDRESS: &str = "network.peer.address";
pub(crate) const NETWORK_PEER_PORT: &str = "network.peer.port";
pub(crate) const NETWORK_PROTOCOL_VERSION: &str = "network.protocol.version";
/// Full: `package.Service/Method`.
pub(crate) const RPC_METHOD: &str = "rpc.method";
pub(crate) const RPC_METHOD_ORIGINAL: &str = "rpc.method_original";
/// The status by its name. (In the conventions after 1.44 `rpc.status_code`.)
pub(crate) const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";
/// No attribute of the newest conventions, where `rpc.method` has it as well; what many queries group by.
pub(crate) const RPC_SERVICE: &str = "rpc.service";
pub(crate) const RPC_SYSTEM_NAME: &str = "rpc.system.name";
pub(crate) const SERVER_ADDRESS: &str = "server.address";
pub(crate) const SERVER_PORT: &str = "server.port";
pub(crate) const URL_FULL: &str = "url.full";
pub(crate) const URL_PATH: &str = "url.path";
pub(crate) const URL_QUERY: &str = "url.query";
pub(crate) const URL_SCHEME: &str = "url.scheme";
pub(crate) const USER_AGENT_ORIGINAL: &str = "user_agent.original";

/// Names that the HTTP and RPC conventions had before they became stable, for `http/dup` and `rpc/dup`.
pub(crate) mod legacy {
    pub(crate) const HTTP_FLAVOR: &str = "http.flavor";
    pub(crate) const HTTP_METHOD: &str = "http.method";
    pub(crate) const HTTP_STATUS_CODE: &str = "http.status_code";
    pub(crate) const HTTP_URL: &str = "http.url";
    pub(crate) const NET_PEER_NAME: &str = "net.peer.name";
    /// The status by its number.
    pub(crate) const RPC_GRPC_STATUS_CODE: &str = "rpc.grpc.status_code";
    /// The method alone, where `rpc.service` has the rest.
    pub(crate) const RPC_METHOD: &str = "rpc.method";
    pub(crate) const RPC_SYSTEM: &str = "rpc.system";
}

/// What only this filter knows.
pub(crate) mod meshspan {
    /// The sampler that decided to record the span.
    pub(crate) const SAMPLER: &str = "meshspan.sampling.sampler";
    /// The branches and rules of the configuration that led to it.
    pub(crate) const RULE: &str = "meshspan.sampling.rule";
    /// How many streams a kept one stands for.
    pub(crate) const ADJUSTED_COUNT: &str = "meshspan.sampling.adjusted_count";
}

/// What only Envoy knows.
pub(crate) mod envoy {
    /// `true` on a response that a cache in this Envoy gave (`RFCF`); absent on any other.
    pub(crate) const CACHE_HIT: &str = "envoy.cache.hit";
    /// Names of the response flags (`UF`, `UH`, …), as `%RESPONSE_FLAGS%` prints them.
    pub(crate) const RESPONSE_FLAGS: &str = "envoy.response_flags";
    /// `%RESPONSE_CODE_DETAILS%`
    pub(crate) const RESPONSE_CODE_DETAILS: &str = "envoy.response_code_details";
    /// The cluster that the request was routed to.
    pub(crate) const UPSTREAM_CLUSTER: &str = "envoy.upstream.cluster";
    /// `%UPSTREAM_HOST%`: address and port.
    pub(crate) const UPSTREAM_HOST: &str = "envoy.upstream.host";
    /// How often an upstream was tried.
    pub(crate) const UPSTREAM_ATTEMPT_COUNT: &str = "envoy.upstream.attempt_count";
    /// Seconds from the first byte sent to the upstream to the last byte received from it.
    pub(crate) const UPSTREAM_DURATION: &str = "envoy.upstream.duration";
    /// Seconds from the request's last byte to the upstream's first, in steps of a millisecond.
    pub(crate) const UPSTREAM_FIRST_BYTE_DURATION: &str = "envoy.upstream.first_byte.duration";
    /// The route's name.
    pub(crate) const ROUTE_NAME: &str = "envoy.route.name";
}

/// Attributes that metrics have and spans do not.
pub(crate) mod metric {
    /// The caller, in the service graph.
    pub(crate) const CLIENT: &str = "client";
    /// What kind of node is called, where it is no service: `database`, `virtual_node`.
    pub(crate) const CONNECTION_TYPE: &str = "connection_type";
    /// Whether the request failed, in the service graph.
    pub(crate) const FAILED: &str = "failed";
    /// The class of Envoy's response flag.
    pub(crate) const FLAG_CLASS: &str = "flag_class";
    pub(crate) const RPC_METHOD: &str = "rpc.method";
    pub(crate) const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";
    pub(crate) const RPC_SERVICE: &str = "rpc.service";
    pub(crate) const RPC_SYSTEM_NAME: &str = "rpc.system.name";
    /// The one called, in the service graph.
    pub(crate) const SERVER: &str = "server";
}
