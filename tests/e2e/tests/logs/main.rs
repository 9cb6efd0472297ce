//! Log records, lines of JSON and Envoy's own access log: that they say what happened, and lead to the traces.

mod access_log;
mod cache;
mod correlation;
mod rules;
mod support;
