//! Context in and out, sampling, configuration: what a caller, and a service behind Envoy, see.

mod bytes;
mod configuration;
mod hostile;
mod lean;
mod propagation;
mod routing;
mod sampling;

/// Every propagator that there is.
const ALL_PROPAGATORS: &[&str] = &["tracecontext", "baggage", "b3", "b3multi", "jaeger"];

/// Every header that the filter may write with all of them listed.
const WRITTEN_HEADERS: &[&str] = &[
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "uber-trace-id",
];
