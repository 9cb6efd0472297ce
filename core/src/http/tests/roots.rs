//! Requests that begin a trace, decided about by the headers that they lack.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::harness::{Lines, SEEN, Setup, get};
use crate::counter::Counter;
use crate::header::HeaderEdit;
use crate::http::{Exchange, RequestHead, TrafficDirection};
use crate::plugin::Plugin;
use crate::shared_data::Alone;

const RATIO: &str = r#"{"parent_based": {"root": {"trace_id_ratio_based": {"ratio": 0.25}}}}"#;

/// `traceparent` as it goes on.
fn traceparent(edits: &[HeaderEdit]) -> &str {
    edits
        .iter()
        .find_map(|edit| match edit {
            HeaderEdit::Set { name, value } | HeaderEdit::Add { name, value } if name == "traceparent" => {
                Some(value.as_str())
            }
            _ => None,
        })
        .expect("a traceparent")
}

/// The whole head, handled.
fn handle(plugin: &mut Plugin, lines: &Lines<'_>) -> (Exchange, Vec<HeaderEdit>) {
    let head = RequestHead::collect(lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())), false);
    plugin.handle_request_headers(&head, TrafficDirection::Inbound, None).expect("a tracer")
}

/// What is looked for before all lines are read.
fn decisive(plugin: &Plugin) -> &'static [&'static str] {
    plugin.decisive_headers().unwrap_or_default()
}

#[test]
fn where_headers_alone_decide() {
    let rule = r#"{"composite/development": {"rule_based": {"rules": [{"sampler": {"always_off": {}}}]}}}"#;
    let rate = r#"{"rate_limiting": {"spans_per_second": 5}}"#;
    let table: &[(&str, Setup, bool)] = &[
        ("a ratio", Setup::new("auto").sampler(RATIO), true),
        ("never", Setup::new("server").sampler(r#"{"always_off": {}}"#), true),
        ("always: there is nothing to leave out", Setup::new("auto"), false),
        ("rules ask for more than ids", Setup::new("auto").sampler(rule), false),
        ("a rate asks for the time", Setup::new("auto").sampler(rate), false),
        ("a gateway decides twice", Setup::new("gateway").sampler(RATIO), false),
        ("kept ones need their head", Setup::new("auto").sampler(RATIO).meshspan(r#""keep": {"errors": true}"#), false),
        (
            "metrics need every head",
            Setup::new("auto").sampler(RATIO).meshspan(r#""metrics": {"prometheus": {}}"#),
            false,
        ),
        ("B3 has many headers", Setup::new("auto").sampler(RATIO).propagators("tracecontext,b3"), false),
    ];
    for (why, setup, expected) in table {
        assert_eq!(!decisive(&setup.plugin()).is_empty(), *expected, "{why}");
    }
}

#[test]
fn a_share_of_them_is_recorded_under_the_id_that_was_drawn() {
    let mut plugin = Setup::new("auto").sampler(RATIO).plugin();
    let (mut recorded, mut ids) = (0, std::collections::HashSet::new());
    for _ in 0..4_000 {
        assert_eq!(decisive(&plugin), ["traceparent", "tracestate", "baggage"]);
        let (exchange, edits) = if let Some(left_out) = plugin.handle_root(&mut Alone) {
            assert!(traceparent(&left_out.1).ends_with("-02"), "not sampled, and random");
            left_out
        } else {
            let begun = handle(&mut plugin, &get());
            assert!(begun.0.is_recorded(), "the decision stands");
            recorded += 1;
            begun
        };
        assert!(traceparent(&edits).contains(exchange.ids().trace_id.to_hex().as_str()));
        assert!(ids.insert(exchange.ids().trace_id), "a new trace");
    }
    // Six standard deviations about a quarter.
    assert!((836..=1_164).contains(&recorded), "{recorded}");
    assert_eq!(plugin.counters.pending(Counter::Streams), 4_000);
    assert_eq!(plugin.counters.pending(Counter::SpansNotSampled), 4_000 - recorded);
}

#[test]
fn callers_that_trace_are_not_asked_twice() {
    let mut plugin = Setup::new("auto").sampler(RATIO).plugin();
    let mut caller = get();
    caller.push(("traceparent", "00-11111111111111111111111111111111-1111111111111111-00"));
    for (request, expected, why) in [
        (&caller, false, "the next one comes with a trace, too"),
        (&get(), true, "the next one comes without, too"),
        (&caller, false, "and again"),
    ] {
        handle(&mut plugin, request);
        assert_eq!(!decisive(&plugin).is_empty(), expected, "{why}");
    }
}

#[test]
fn the_direction_is_asked_only_where_it_matters() {
    let lines = get();
    let asked = |setup: &Setup| {
        let head = RequestHead::collect(lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())), false);
        let mut asked = 0;
        let mut direction = || {
            asked += 1;
            TrafficDirection::Outbound
        };
        let begun = setup.plugin().handle_request_headers_sharing(&head, &mut direction, Some(SEEN), &mut Alone);
        assert!(begun.is_some());
        asked
    };
    let off = r#"{"always_off": {}}"#;
    let table: &[(&str, Setup, usize)] = &[
        ("recorded: its kind has to be known", Setup::new("auto"), 1),
        ("not recorded", Setup::new("auto").sampler(off), 0),
        ("the role says it", Setup::new("server"), 0),
        (
            "metrics tell servers from clients",
            Setup::new("auto").sampler(off).meshspan(r#""metrics": {"prometheus": {}}"#),
            1,
        ),
        ("it may be kept", Setup::new("auto").sampler(off).meshspan(r#""keep": {"errors": true}"#), 1),
    ];
    for (why, setup, expected) in table {
        assert_eq!(asked(setup), *expected, "{why}");
    }
}
