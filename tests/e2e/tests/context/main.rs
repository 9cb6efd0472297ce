//! Context in and out, sampling, configuration: what a caller, and a service behind Envoy, see.

mod propagation;
