//! meshspan against Envoy's own tracer, in one run.

fn main() {}
