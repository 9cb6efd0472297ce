//! Metrics in real Envoy: what a load generator counted is what Prometheus sees, whatever is sampled; labels, with the
//! bootstrap's help and without; and a cap that no client gets over.

mod attack;
mod both;
mod counts;
mod graph;
mod grpc_load;
mod scraped;
mod support;
