//! Which requests are recorded, and what of the decision goes upstream and onto the span.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::harness::*;
use crate::counter::Counter;
use crate::counter::Series;
use crate::header::HeaderEdit;
use crate::propagation::{Format, MalformedReason};
use crate::sampling::SamplerKind;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

const ON: &str = r#"{"always_on": {}}"#;
const OFF: &str = r#"{"always_off": {}}"#;
const DEFAULT: &str = r#"{"parent_based": {"root": {"always_on": {}}}}"#;
const ROOT_OFF: &str = r#"{"parent_based": {"root": {"always_off": {}}}}"#;
const REVERSED: &str = r#"{"parent_based": {"root": {"always_off": {}}, "remote_parent_sampled": {"always_off": {}},
    "remote_parent_not_sampled": {"always_on": {}}}}"#;
const HALF: &str = r#"{"trace_id_ratio_based": {"ratio": 0.5}}"#;

/// What a caller sent, and which of the samplers `ON`, `OFF`, `DEFAULT`, `ROOT_OFF` and `REVERSED` then record.
#[expect(clippy::type_complexity, reason = "a table")]
const CALLERS: &[(&str, Option<&str>, Option<&str>, [bool; 5], &str)] = &[
    ("nobody", None, None, [true, false, true, false, false], "the trace begins here"),
    ("W3C 01", Some("-01"), None, [true, false, true, true, false], "sampled"),
    ("W3C 00", Some("-00"), None, [true, false, false, false, true], "not sampled"),
    ("W3C 02", Some("-02"), None, [true, false, false, false, true], "random alone is not sampled"),
    ("B3 ids, 1", None, Some("-1"), [true, false, true, true, false], "sampled"),
    ("B3 ids, 0", None, Some("-0"), [true, false, false, false, true], "not sampled"),
    ("B3 ids, d", None, Some("-d"), [true, false, true, true, false], "debug is sampled"),
    ("B3 ids alone", None, Some(""), [true, false, true, false, false], "nothing decided yet is not a no"),
    ("B3 1", None, Some("1"), [true, false, true, true, false], "a decision without ids binds the trace"),
    ("B3 0", None, Some("0"), [true, false, false, false, true], "a decision without ids binds the trace"),
    ("B3 d", None, Some("d"), [true, false, true, true, false], "a decision without ids binds the trace"),
];

#[test]
fn the_parents_decision_chooses() {
    for (caller, w3c, b3, expected, why) in CALLERS {
        let traceparent = w3c.map(|flags| format!("00-{TRACE}-{PARENT}{flags}"));
        let b3 = b3.map(|b3| match b3 {
            "0" | "1" | "d" => b3.to_owned(),
            state => format!("{TRACE}-{PARENT}{state}"),
        });
        let has_ids = w3c.is_some() || b3.as_ref().is_some_and(|b3| b3.len() > 1);
        for (sampler, sampled) in [ON, OFF, DEFAULT, ROOT_OFF, REVERSED].into_iter().zip(expected) {
            let setup = Setup::new("server").propagators("tracecontext,b3").sampler(sampler);
            let lines = with(&get(), &[("traceparent", traceparent.as_deref()), ("b3", b3.as_deref())]);
            let traced = trace(&setup, &lines, &ended(200));
            let why = format!("{caller}, {sampler}: {why}");
            assert_eq!(traced.spans.len(), usize::from(*sampled), "{why}");
            assert_eq!(traced.counters.pending(Counter::Streams), 1, "{why}");
            assert_eq!(traced.counters.pending(Counter::SpansStarted), u64::from(*sampled), "{why}");
            assert_eq!(traced.counters.pending(Counter::SpansNotSampled), u64::from(!*sampled), "{why}");
            let (trace, span, flags) = traced.traceparent();
            assert_eq!(flags.ends_with(['1', '3']), *sampled, "the decision goes on: {why}");
            assert_eq!(trace == TRACE, has_ids, "{why}");
            assert_ne!(span, PARENT, "a span of our own, recorded or not: {why}");
            let state = match (caller.ends_with('d') && b3.is_some(), sampled) {
                (_, false) => "0",
                (true, true) => "d",
                (false, true) => "1",
            };
            assert_eq!(traced.header("b3"), Some(&*format!("{trace}-{span}-{state}")), "{why}");
            for recorded in &traced.spans {
                assert_eq!(hex(&recorded.trace_id), trace, "{why}");
                assert_eq!(hex(&recorded.parent_span_id), if has_ids { PARENT } else { "" }, "{why}");
                assert_eq!(recorded.flags & 1, 1, "recorded spans are sampled: {why}");
            }
        }
    }
}

#[test]
fn a_ratio_asks_the_trace_id_alone() {
    let table = [
        ("00000000000000000000000000000001", true, "the lowest"),
        ("ffffffffffffffff0000000000000001", true, "only the last 8 bytes count"),
        ("00000000000000007fffffffffffffff", true, "the last below a half"),
        ("00000000000000008000000000000000", false, "a half"),
        ("0000000000000001ffffffffffffffff", false, "the highest"),
    ];
    for (trace_id, sampled, why) in table {
        for flags in ["00", "01"] {
            let traceparent = format!("00-{trace_id}-{PARENT}-{flags}");
            let lines = with(&get(), &[("traceparent", Some(&traceparent))]);
            let traced = trace(&Setup::new("gateway").sampler(HALF), &lines, &ended(200));
            assert_eq!(traced.spans.len(), if sampled { 2 } else { 0 }, "{why}, parent's flags {flags}");
        }
    }
}

#[test]
fn the_random_flag_is_set_for_own_ids_and_passed_on_for_others() {
    let table: &[(Option<&str>, &str, u32, &str)] = &[
        (None, "03", 3, "a trace id of our own is random"),
        (Some("-01"), "01", 1, "unset stays unset: nobody knows how the id was made"),
        (Some("-03"), "03", 3, "set stays set"),
        (Some("-ff"), "03", 3, "bits without a meaning go out as zero (Trace Context level 2, section 3.2.2.5)"),
        (Some("-fd"), "01", 1, "bits without a meaning go out as zero"),
    ];
    for (caller, upstream, on_span, why) in table {
        let traceparent = caller.map(|flags| format!("00-{TRACE}-{PARENT}{flags}"));
        let lines = with(&get(), &[("traceparent", traceparent.as_deref())]);
        let traced = trace(&Setup::new("gateway"), &lines, &ended(200));
        assert_eq!(traced.traceparent().2, *upstream, "{why}");
        for span in &traced.spans {
            assert_eq!(span.flags & 0xff, *on_span, "{why}");
        }
    }
    let b3 = format!("{TRACE}-{PARENT}-1");
    let setup = Setup::new("server").propagators("tracecontext,b3");
    let traced = trace(&setup, &with(&get(), &[("b3", Some(&b3))]), &ended(200));
    assert_eq!(traced.traceparent().2, "01", "B3 cannot say that an id is random");
    let traced = trace(&setup, &with(&get(), &[("b3", Some("1"))]), &ended(200));
    assert_eq!(traced.traceparent().2, "03", "a decision without ids: the id is ours");
}

#[test]
fn the_callers_trace_state_stands_on_the_span() {
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let table: &[(Option<&str>, &[&str], &str, &str)] = &[
        (Some(&traceparent), &["a=1,b=2"], "a=1,b=2", "as it goes on"),
        (Some(&traceparent), &["a=1", "b=2"], "a=1,b=2", "lines are one list"),
        (Some(&traceparent), &["A=1"], "", "an invalid one is discarded"),
        (Some(&traceparent), &[], "", "none"),
        (None, &["a=1"], "", "a tracestate alone says nothing"),
        (Some("junk"), &["a=1"], "", "nor beside an invalid traceparent"),
    ];
    for (traceparent, states, expected, why) in table {
        let mut lines = with(&get(), &[("traceparent", *traceparent)]);
        lines.extend(states.iter().map(|state| ("tracestate", *state)));
        let traced = trace(&Setup::new("gateway"), &lines, &ended(200));
        for span in &traced.spans {
            assert_eq!(span.trace_state, *expected, "{why}");
        }
    }
}

#[test]
#[expect(clippy::type_complexity, reason = "a table")]
fn what_was_read_is_counted_by_format() {
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let uber = format!("{TRACE}:{PARENT}:0:1");
    let b3 = format!("{TRACE}-{PARENT}-1");
    let multi = [("x-b3-traceid", Some(TRACE)), ("x-b3-spanid", Some(PARENT))];
    let table: &[(&[(&str, Option<&str>)], Option<Counter>, &str)] = &[
        (&[], None, "no parent"),
        (&[("traceparent", Some(&traceparent))], Some(Counter::ExtractedTraceContext), "W3C"),
        (&[("b3", Some(&b3))], Some(Counter::ExtractedB3), "B3 in one header"),
        (&multi, Some(Counter::ExtractedB3Multi), "B3 in several"),
        (&[("uber-trace-id", Some(&uber))], Some(Counter::ExtractedJaeger), "Jaeger"),
        (&[("b3", Some("0"))], None, "a decision is no parent"),
    ];
    let all =
        [Counter::ExtractedTraceContext, Counter::ExtractedB3, Counter::ExtractedB3Multi, Counter::ExtractedJaeger];
    for (headers, expected, why) in table {
        let setup = Setup::new("gateway").propagators("tracecontext,b3,b3multi,jaeger,baggage");
        let traced = trace(&setup, &with(&get(), headers), &ended(200));
        for counter in all {
            let count = u64::from(*expected == Some(counter));
            assert_eq!(traced.counters.pending(counter), count, "{why}: {}", counter.name());
        }
    }
    let junk = with(&get(), &[("traceparent", Some("junk"))]);
    let mut traced = trace(&Setup::new("server"), &junk, &ended(200));
    let malformed = Series::Malformed(Format::TraceContext, MalformedReason::WrongLength);
    assert!(traced.counters.take().any(|counted| counted == (malformed, 1)));
    assert!(traced.span().parent_span_id.is_empty(), "and the trace begins anew");
}

#[test]
fn formats_that_are_not_listed_are_not_touched() {
    let traceparent = format!("00-{TRACE}-{PARENT}-00");
    let b3 = format!("{TRACE}-{PARENT}-0");
    let lines = with(&get(), &[("traceparent", Some(&traceparent)), ("b3", Some(&b3))]);
    for list in ["none", "baggage"] {
        let traced = trace(&Setup::new("server").propagators(list), &lines, &ended(200));
        assert_eq!(traced.edits, [], "{list}");
        assert!(traced.span().parent_span_id.is_empty(), "{list}: not read either");
    }
    let traced = trace(&Setup::new("server").propagators("b3"), &lines, &ended(200));
    let names: Vec<_> = traced.edits.iter().map(HeaderEdit::name).collect();
    assert_eq!(names, ["b3"]);
}

#[test]
fn traces_and_spans_are_new_for_each_request() {
    let mut plugin = Setup::new("gateway").plugin();
    let lines = get();
    let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let mut ids = Vec::new();
    for _ in 0..50 {
        let traced = trace_with(&mut plugin, crate::http::TrafficDirection::Inbound, &lines, &ended(200));
        ids.push(hex(&traced.spans[0].trace_id));
        ids.extend(traced.spans.iter().map(|span| hex(&span.span_id)));
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((all, ids.len()), (150, 150));
}

const HALF_CONSISTENT: &str = r#"{"probability/development": {"ratio": 0.5}}"#;
const FOLLOW: &str = r#"{"composite/development": {"parent_threshold": {"root": {"probability": {"ratio": 0.5}}}}}"#;

/// A trace id whose randomness is just below a half, and one whose randomness is a half.
const LOW_TRACE: &str = "4bf92f3577b34da6a37fffffffffffff";
const HIGH_TRACE: &str = "4bf92f3577b34da6a380000000000000";

#[test]
#[expect(clippy::type_complexity, reason = "a table")]
fn thresholds_go_on_in_the_trace_state() {
    let foreign: Vec<_> = (0..32).map(|number| format!("k{number}=v")).collect();
    let (full, after) = (foreign.join(","), format!("ot=th:8,{}", foreign[..31].join(",")));
    let long = format!("ot=x:{}", "v".repeat(254));
    // sampler, trace id and flags, tracestate; sampled, the tracestate that goes on
    let table: &[(&str, &str, &str, Option<&str>, bool, Option<&str>, &str)] = &[
        (HALF_CONSISTENT, HIGH_TRACE, "03", None, true, Some("ot=th:8"), "a threshold of our own"),
        (HALF_CONSISTENT, LOW_TRACE, "03", Some("ot=th:0"), false, None, "not sampled: the caller's threshold is void"),
        (HALF_CONSISTENT, LOW_TRACE, "03", Some("ot=th:0,a=1"), false, Some("a=1"), "only that member goes"),
        (
            HALF_CONSISTENT,
            LOW_TRACE,
            "03",
            Some("a=1,ot=th:0;rv:7fffffffffffff;x:y"),
            false,
            Some("ot=rv:7fffffffffffff;x:y,a=1"),
            "what is not ours stays in it",
        ),
        (
            HALF_CONSISTENT,
            LOW_TRACE,
            "03",
            Some("a=1,ot=rv:80000000000000"),
            true,
            Some("ot=th:8;rv:80000000000000,a=1"),
            "explicit randomness counts, and stays",
        ),
        (HALF_CONSISTENT, HIGH_TRACE, "03", Some(&full), true, Some(&after), "32 others: the last makes room"),
        (HALF_CONSISTENT, HIGH_TRACE, "03", Some(&long), true, Some(&long), "256 characters: there is no room"),
        (FOLLOW, HIGH_TRACE, "03", Some("a=1,ot=th:4"), true, Some("a=1,ot=th:4"), "the caller's threshold, untouched"),
        (FOLLOW, LOW_TRACE, "03", Some("ot=th:8"), true, None, "a threshold that lies"),
        (FOLLOW, HIGH_TRACE, "00", Some("ot=th:8"), false, None, "not sampled: none"),
        (FOLLOW, LOW_TRACE, "01", Some("a=1"), true, Some("a=1"), "an unknown probability stays unknown"),
        (DEFAULT, HIGH_TRACE, "03", Some("a=1,ot=th:4"), true, Some("a=1,ot=th:4"), "parent_based does the same"),
        (DEFAULT, LOW_TRACE, "03", Some("ot=th:8,a=1"), true, Some("a=1"), "parent_based does the same"),
        (ON, HIGH_TRACE, "03", Some("ot=th:8"), true, None, "always_on was not asked by that threshold"),
        (ON, HIGH_TRACE, "03", Some("ot=p:8;r:62"), true, Some("ot=p:8;r:62"), "nothing of ours there"),
        (ON, HIGH_TRACE, "03", Some("ot=th:8;th:9"), true, Some("ot=th:8;th:9"), "unreadable: left alone"),
    ];
    for (sampler, trace_id, flags, state, sampled, expected, why) in table {
        let traceparent = format!("00-{trace_id}-{PARENT}-{flags}");
        let lines = with(&get(), &[("traceparent", Some(&traceparent)), ("tracestate", *state)]);
        let traced = trace(&Setup::new("server").sampler(sampler), &lines, &ended(200));
        let goes = match traced.edits.iter().find(|edit| edit.name() == "tracestate") {
            None => *state,
            Some(HeaderEdit::Set { value, .. } | HeaderEdit::Add { value, .. }) => Some(value.as_str()),
            Some(HeaderEdit::Remove { .. }) => None,
        };
        assert_eq!(goes, *expected, "{sampler} {state:?}: {why}");
        assert_eq!(traced.traceparent().2.ends_with(['1', '3']), *sampled, "{sampler} {state:?}: {why}");
        for span in &traced.spans {
            assert_eq!(span.trace_state, expected.unwrap_or_default(), "the span says the same: {why}");
        }
        assert_eq!(traced.spans.len(), usize::from(*sampled), "{why}");
    }
}

#[test]
fn a_threshold_stands_on_the_span_whatever_formats_go_on() {
    let setup = Setup::new("server").propagators("b3").sampler(r#"{"probability/development": {"ratio": 1}}"#);
    let traced = trace(&setup, &get(), &ended(200));
    assert_eq!(traced.span().trace_state, "ot=th:0");
    assert_eq!(traced.header("tracestate"), None, "B3 has none");
}

#[test]
fn a_gateways_spans_each_have_their_own_threshold() {
    let sampler = r#"{"composite/development": {"rule_based": {"rules": [
        {"span_kinds": ["server"], "sampler": {"probability": {"ratio": 1}}},
        {"sampler": {"probability": {"ratio": 0.5}}}]}}}"#;
    let table = [
        (HIGH_TRACE, "03", 2, Some("ot=th:8"), "both are sampled, the inner by its own threshold"),
        (LOW_TRACE, "02", 1, None, "the inner is not sampled"),
    ];
    for (trace_id, flags, spans, state, why) in table {
        let traceparent = format!("00-{trace_id}-{PARENT}-03");
        let lines = with(&get(), &[("traceparent", Some(&traceparent))]);
        let traced = trace(&Setup::new("gateway").sampler(sampler), &lines, &ended(200));
        assert_eq!(
            (traced.spans.len(), traced.traceparent().2, traced.header("tracestate")),
            (spans, flags, state),
            "{why}"
        );
        assert_eq!(traced.of_kind(SERVER).trace_state, "ot=th:0", "{why}");
    }
    let follow = r#"{"composite/development": {"parent_threshold": {"root": {"probability": {"ratio": 1}}}}}"#;
    let traced = trace(&Setup::new("gateway").sampler(follow), &get(), &ended(200));
    assert_eq!(
        [SERVER, CLIENT].map(|kind| traced.of_kind(kind).trace_state.as_str()),
        ["ot=th:0"; 2],
        "a local parent"
    );
}

#[test]
fn rules_see_the_request() {
    let health = r#"{"composite/development": {"rule_based": {"rules": [
        {"attribute_values": {"key": "url.path", "values": ["/healthz"]}, "sampler": {"always_off": {}}},
        {"attribute_patterns": {"key": "http.request.header.x-tenant", "excluded": ["test*"]},
         "sampler": {"always_on": {}}}]}}}"#;
    let table = [
        ("/healthz?full", Some("shop"), false, SamplerKind::AlwaysOff, "the first rule"),
        ("/orders", Some("shop"), true, SamplerKind::AlwaysOn, "the second"),
        ("/orders", Some("test-7"), false, SamplerKind::RuleBased, "neither"),
        ("/orders", None, false, SamplerKind::RuleBased, "neither: there is no such header"),
    ];
    for (path, tenant, sampled, kind, why) in table {
        let lines = with(&request("GET", path), &[("x-tenant", tenant)]);
        let mut traced = trace(&Setup::new("server").sampler(health), &lines, &ended(200));
        assert_eq!(traced.spans.len(), usize::from(sampled), "{why}");
        let counted = traced.counters.take().find(|(series, _)| matches!(series, Series::Decision(..)));
        assert_eq!(counted, Some((Series::Decision(kind, sampled), 1)), "{why}");
        if sampled {
            let expected =
                serde_json::json!({"meshspan.sampling.sampler": "always_on", "meshspan.sampling.rule": "rules[1]"});
            assert_eq!(attributes_under(traced.span(), &["meshspan."]), expected, "{why}");
        }
    }
}

#[test]
fn a_rate_asks_for_the_time_and_leaves_the_span_its_own() {
    let limit = r#"{"parent_based": {"root": {"rate_limiting": {"spans_per_second": 1}}}}"#;
    for role in ["server", "client"] {
        let mut plugin = Setup::new(role).sampler(limit).plugin();
        assert!(plugin.http().unwrap().needs_request_time(), "{role}");
        let lines = get();
        let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let traced = trace_with(&mut plugin, crate::http::TrafficDirection::Inbound, &lines, &ended(200));
        assert_eq!(traced.span().start_time_unix_nano, START, "{role}: the span begins with the stream");
        let traced = trace_with(&mut plugin, crate::http::TrafficDirection::Inbound, &lines, &ended(200));
        assert_eq!(traced.spans, [], "{role}: the second in a second");
    }
}
