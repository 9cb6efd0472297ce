//! gRPC calls in real Envoy, made and served by the real library (grpcio): what their spans say, whatever becomes of
//! them. Without grpcio, which set-up installs, each test says so and passes.

mod calls;
mod names;
mod streams;
mod support;
mod web;
