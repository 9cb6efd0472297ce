//! Names of series, as Prometheus scrapes them from Envoy: those of the filter, and those that these rules make.

use crate::file::Protocol;

/// Bucket edges of request durations, in milliseconds (HTTP metrics conventions, `http.server.request.duration`).
pub const DURATION_BUCKETS_MS: [u32; 14] = [5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10_000];

/// Bucket edges of the service graph's durations, in milliseconds.
pub const SERVICE_GRAPH_BUCKETS_MS: [u32; 6] = [10, 50, 100, 500, 1000, 2000];

/// The service whose proxy counted.
pub(crate) const SERVICE: &str = "service_name";

/// Recorded requests a second that count for an SLO.
pub(crate) const REQUESTS: &str = "slo:requests:rate";
/// Recorded requests a second that miss it.
pub(crate) const ERRORS: &str = "slo:errors:rate";
/// The recorded share of the second in the first, from 0 to 1; the window's name stands behind.
pub(crate) const ERROR_RATIO: &str = "slo:error_ratio:rate";
/// The recorded objective, from 0 to 1.
pub(crate) const OBJECTIVE: &str = "slo:objective:ratio";
/// The recorded share of the budget of 30 days that is left: 1 is all, below 0 is more than there was.
pub(crate) const BUDGET_LEFT: &str = "slo:error_budget_remaining:ratio";

/// Label matchers that part requests in two.
pub(crate) struct Outcomes {
    /// Failed by the server's fault.
    pub(crate) failed: &'static str,
    /// All others.
    pub(crate) other: &'static str,
}

/// What is counted of one protocol.
impl Protocol {
    /// The histogram of durations at the server's proxy, without `_bucket`, `_count` and `_sum`.
    pub(crate) fn histogram(self) -> &'static str {
        match self {
            Self::Http => "meshspan_http_server_request_duration_milliseconds",
            Self::Rpc => "meshspan_rpc_server_duration_milliseconds",
        }
    }

    /// The label that an SLO's `route` is compared with.
    pub(crate) fn route_label(self) -> &'static str {
        match self {
            Self::Http => "http_route",
            Self::Rpc => "rpc_method",
        }
    }

    /// The label matcher of requests that failed by the server's fault, and that of all others. For HTTP those that have
    /// an error type (5xx, or an answer that broke off), unless it was the caller that went away; for gRPC the statuses
    /// that make a server's span an error (RPC conventions, gRPC).
    pub(crate) fn outcomes(self) -> Outcomes {
        match self {
            Self::Http => {
                Outcomes { failed: r#"error_type!~"|Downstream.*""#, other: r#"error_type=~"|Downstream.*""# }
            }
            Self::Rpc => Outcomes {
                failed: r#"rpc_response_status_code=~"UNKNOWN|DEADLINE_EXCEEDED|UNIMPLEMENTED|INTERNAL|UNAVAILABLE|DATA_LOSS""#,
                other: r#"rpc_response_status_code!~"UNKNOWN|DEADLINE_EXCEEDED|UNIMPLEMENTED|INTERNAL|UNAVAILABLE|DATA_LOSS""#,
            },
        }
    }

    /// The attribute of a span that `route` is compared with.
    pub(crate) fn route_attribute(self) -> &'static str {
        match self {
            Self::Http => "http.route",
            Self::Rpc => "rpc.method",
        }
    }

    /// As it stands in the file and in labels.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Rpc => "rpc",
        }
    }
}
