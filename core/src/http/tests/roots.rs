//! Requests that are handled by a few headers: those that begin a trace which is not sampled, and those whose caller does
//! not sample.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::harness::{Lines, SEEN, Setup, get};
use crate::counter::Counter;
use crate::header::{HeaderEdit, HeaderLookup};
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

/// A request with these headers, handled by as few of them as will do; and which were looked for.
fn early(plugin: &mut Plugin, lines: &Lines<'_>) -> (Option<(Exchange, Vec<HeaderEdit>)>, Vec<&'static str>) {
    let mut looked = Vec::new();
    let mut look_up = |name: &'static str| {
        looked.push(name);
        let first = lines.iter().find(|(known, _)| *known == name);
        first.map_or(HeaderLookup::Absent, |(_, value)| HeaderLookup::There(value.as_bytes().to_vec()))
    };
    (plugin.handle_early(&mut look_up, &mut Alone), looked)
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
        assert_eq!(!early(&mut setup.plugin(), &get()).1.is_empty(), *expected, "{why}");
    }
}

#[test]
fn a_share_of_them_is_recorded_under_the_id_that_was_drawn() {
    let mut plugin = Setup::new("auto").sampler(RATIO).plugin();
    let (mut recorded, mut ids) = (0, std::collections::HashSet::new());
    for _ in 0..4_000 {
        let (left_out, looked) = early(&mut plugin, &get());
        assert_eq!(looked, ["traceparent", "tracestate", "baggage"]);
        let (exchange, edits) = if let Some(left_out) = left_out {
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
    caller.push(("traceparent", SAMPLED));
    for (request, expected, why) in [
        (&caller, false, "the next one comes with a trace, too"),
        (&get(), true, "the next one comes without, too"),
        (&caller, false, "and again"),
    ] {
        handle(&mut plugin, request);
        assert_eq!(!early(&mut plugin, &get()).1.is_empty(), expected, "{why}");
    }
}

const UNSAMPLED: &str = "00-11111111111111111111111111111111-1111111111111111-00";
const SAMPLED: &str = "00-11111111111111111111111111111111-1111111111111111-01";

#[test]
fn what_a_caller_does_not_sample_goes_on_as_it_came() {
    /// Why, the plugin, the request's headers, whether they go on as they came.
    type Case<'a> = (&'a str, Setup, &'a [(&'static str, &'static str)], bool);
    let plain = || Setup::new("auto");
    let off = r#"{"always_off": {}}"#;
    let own = r#"{"parent_based": {"root": {"always_on": {}}, "remote_parent_not_sampled": {"always_on": {}}}}"#;
    let random = "00-11111111111111111111111111111111-1111111111111111-02";
    let unknown_flag = "00-11111111111111111111111111111111-1111111111111111-04";
    let later = "01-11111111111111111111111111111111-1111111111111111-00";
    let zeros = "00-00000000000000000000000000000000-1111111111111111-00";
    let one = &[("traceparent", UNSAMPLED)][..];
    let table: &[Case<'_>] = &[
        ("the caller's context is as good as ours", plain(), one, true),
        ("a server", Setup::new("server"), one, true),
        ("a client", Setup::new("client"), one, true),
        ("nothing is sampled anyway", plain().sampler(off), one, true),
        ("random ids stay random", plain(), &[("traceparent", random)], true),
        ("tracestate is the trace's", plain(), &[("traceparent", UNSAMPLED), ("tracestate", "a=1")], true),
        ("baggage within the limits", plain(), &[("traceparent", UNSAMPLED), ("baggage", "a=1")], true),
        ("a caller that samples", plain(), &[("traceparent", SAMPLED)], false),
        ("no caller", plain(), &[], false),
        ("a flag that nobody knows is written as 0", plain(), &[("traceparent", unknown_flag)], false),
        ("a later version is written as 00", plain(), &[("traceparent", later)], false),
        ("an id of zeros", plain(), &[("traceparent", zeros)], false),
        ("two lines name no trace", plain(), &[("traceparent", UNSAMPLED), ("traceparent", UNSAMPLED)], false),
        ("the sampler has its own mind", plain().sampler(own), one, false),
        ("a gateway's spans", Setup::new("gateway"), one, false),
        ("kept ones have a span", plain().meshspan(r#""keep": {"errors": true}"#), one, false),
        ("the caller is told of the span", plain().meshspan(r#""response": {"traceresponse": true}"#), one, false),
        ("the access log names the span", plain().meshspan(r#""logs": {"filter_state": true}"#), one, false),
        ("the route writes the header", plain().meshspan(r#""inject": "filter_state""#), one, false),
        ("B3 is written, too", plain().propagators("tracecontext,b3"), one, false),
    ];
    for (why, setup, lines, expected) in table {
        let mut plugin = setup.plugin();
        let (exchange, edits) = handle(&mut plugin, &[get(), lines.to_vec()].concat());
        assert_eq!(!edits.iter().any(|edit| edit.name() == "traceparent"), *expected, "{why}");
        if *expected {
            assert_eq!(edits, [], "{why}");
            assert!(!exchange.is_recorded(), "{why}");
            assert_eq!(exchange.ids().trace_id.to_hex().as_str(), "11111111111111111111111111111111", "{why}");
            for counter in [Counter::Streams, Counter::SpansNotSampled, Counter::ExtractedTraceContext] {
                assert_eq!(plugin.counters.pending(counter), 1, "{why}: {counter:?}");
            }
        }
    }
}

#[test]
fn the_next_one_that_is_not_sampled_is_known_by_a_look() {
    for sampler in [RATIO, r#"{"parent_based": {"root": {"always_on": {}}}}"#] {
        let mut plugin = Setup::new("auto").sampler(sampler).plugin();
        let mut caller = get();
        caller.push(("traceparent", UNSAMPLED));
        handle(&mut plugin, &caller);
        for _ in 0..3 {
            let (followed, looked) = early(&mut plugin, &caller);
            assert_eq!(looked, ["traceparent", "baggage"], "{sampler}");
            let (exchange, edits) = followed.expect("followed");
            assert_eq!((exchange.is_recorded(), edits), (false, vec![]), "{sampler}");
        }
        for counter in [Counter::Streams, Counter::SpansNotSampled, Counter::ExtractedTraceContext] {
            assert_eq!(plugin.counters.pending(counter), 4, "{sampler}: {counter:?}");
        }
        // Limits of baggage are looked after, and nothing is counted that is handled after all.
        let mut with_baggage = caller.clone();
        with_baggage.push(("baggage", "a=1"));
        assert!(early(&mut plugin, &with_baggage).0.is_none(), "{sampler}");
        assert!(plugin.handle_early(&mut |_| HeaderLookup::Unknown, &mut Alone).is_none(), "the host does not say");
        assert_eq!(plugin.counters.pending(Counter::Streams), 4, "{sampler}");
        let mut sampled = get();
        sampled.push(("traceparent", SAMPLED));
        let (followed, looked) = early(&mut plugin, &sampled);
        assert_eq!((followed.is_none(), looked), (true, vec!["traceparent"]), "{sampler}");
        assert!(handle(&mut plugin, &sampled).0.is_recorded(), "{sampler}");
        assert!(early(&mut plugin, &caller).1.is_empty(), "the next one comes sampled, too");
        handle(&mut plugin, &with_baggage);
        assert!(early(&mut plugin, &with_baggage).1.is_empty(), "the next one comes with baggage, too");
        handle(&mut plugin, &caller);
        assert!(!early(&mut plugin, &caller).1.is_empty(), "and without again");
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
