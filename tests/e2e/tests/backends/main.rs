//! meshspan with real backends: what a Collector and Jaeger take, find and keep, through restarts under load.

mod collector;
mod jaeger;
mod metrics;
mod restart;
mod support;
