//! The module that `cargo xtask build` leaves, driven as Envoy would drive it and as Envoy never should.

mod attributes;
mod bad_configuration;
mod call_order;
mod cost;
mod export;
mod failing_host_calls;
mod feature_cost;
mod growth;
mod hostile_headers;
mod page;
mod stream_costs;
mod surface;
mod world;
