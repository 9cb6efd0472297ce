//! Real parts for tests, the demo and the benchmarks: an OTLP receiver, Envoy, services, clients.
