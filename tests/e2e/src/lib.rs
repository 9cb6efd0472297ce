//! meshspan in real Envoy, read as a backend reads it.
