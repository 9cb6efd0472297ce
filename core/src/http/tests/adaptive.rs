//! A share that follows load and errors, from request to request.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::harness::*;
use crate::http::{RequestHead, StreamEnd, TrafficDirection};
use crate::plugin::Plugin;

const SECOND: u64 = 1_000_000_000;

/// How many of a thousand requests a second are recorded, each second; so many of a hundred fail.
fn seconds(plugin: &mut Plugin, from: u64, count: u64, failing: u64) -> Vec<u64> {
    let lines = get();
    let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let second = |second: u64, plugin: &mut Plugin| {
        let mut recorded = 0;
        for request in 0..1_000 {
            let now = START + second * SECOND + request * MS;
            let head = RequestHead::collect(lines.iter().copied(), false);
            let (exchange, _) = plugin.handle_request_headers(&head, TrafficDirection::Inbound, Some(now)).unwrap();
            recorded += u64::from(exchange.is_recorded());
            let code = if request % 100 < failing { 500 } else { 200 };
            let end = StreamEnd { start: Some(now), duration: Some(MS), ..ended(code) };
            let exchange = ended_exchange(plugin, exchange, &lines, &end);
            plugin.handle_end(exchange, &end);
        }
        plugin.abandon();
        recorded
    };
    (from..from + count).map(|at| second(at, plugin)).collect()
}

#[test]
fn errors_of_recorded_and_of_unrecorded_streams_count() {
    let sampler =
        r#"{"parent_based": {"root": {"adaptive": {"traces_per_second": 0.5, "max_traces_per_second": 1000}}}}"#;
    let mut plugin = Setup::new("server").sampler(sampler).plugin();
    let calm = seconds(&mut plugin, 0, 10, 1);
    // So few that their errors alone would not tell.
    assert!(calm[4..].iter().all(|recorded| *recorded < 5), "{calm:?}");
    let burst = seconds(&mut plugin, 10, 15, 20);
    assert!(burst[12..].iter().all(|recorded| *recorded > 900), "all of them: {burst:?}");
    let after = seconds(&mut plugin, 25, 3, 0);
    assert!(after.iter().all(|recorded| *recorded > 400), "no cliff: {after:?}");
}

#[test]
fn a_stream_that_follows_its_caller_is_none_of_the_samplers() {
    let sampler = r#"{"parent_based": {"root": {"adaptive": {"traces_per_second": 10}}}}"#;
    let mut plugin = Setup::new("server").sampler(sampler).plugin();
    let traceparent = [(&b"traceparent"[..], &b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"[..])];
    let head = RequestHead::collect(traceparent.into_iter(), false);
    let (exchange, _) = plugin.handle_request_headers(&head, TrafficDirection::Inbound, Some(START)).unwrap();
    assert!(!exchange.is_recorded() && !exchange.is_pending(), "its end need not be seen");
}
