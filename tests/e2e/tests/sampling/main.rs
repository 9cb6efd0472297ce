//! Samplers in real Envoy with two workers: rates that all workers share, what is kept in the end, who may force a
//! trace, rules, and what Jaeger says. Where they fit, the configurations are the files of `examples/sampling`.

mod adaptive;
mod doubt;
mod force;
mod gateway;
mod identity;
mod keep;
mod rate;
mod remote;
mod rules;
mod support;
mod traceresponse;
