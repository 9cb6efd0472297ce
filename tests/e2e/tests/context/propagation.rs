//! Callers of every format against configured propagators: what goes upstream, what the span says, what is counted.
//!
//! All listeners share one Envoy; a table's cases are all sent before any span is waited for.

use std::cell::RefCell;
use std::collections::BTreeMap;

use meshspan_e2e::{DEADLINE, Mesh, each_envoy, tracing};
use meshspan_kit::client::{Http2Client, Request};
use meshspan_kit::receiver::ReceivedSpan;
use meshspan_kit::service::ReceivedHead;
use meshspan_kit::wait;
use serde_json::{Value, json};

/// What the callers say.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
/// A 64-bit trace id, and as it goes on.
const SHORT: &str = "8448eb211c80319c";
const PADDED: &str = "00000000000000008448eb211c80319c";

const W3C: &str = "00-{T}-{S}-01";
const B3: &str = "{T}-{S}-1";
const JAEGER: &str = "{T}:{S}:0:1";

fn listeners() -> Vec<(&'static str, Value)> {
    let deferred = |propagator: &str| {
        let mut config = tracing(&[propagator]);
        config["tracer_provider"]["sampler"] =
            json!({"parent_based": {"root": {"always_off": {}}, "remote_parent_sampled": {"always_on": {}}}});
        config
    };
    let mut with_baggage = tracing(&["tracecontext", "baggage"]);
    with_baggage["distribution"] = json!({"meshspan": {"baggage_attributes": ["tenant", "absent", "plan"]}});
    vec![
        ("w3c", tracing(&["tracecontext", "baggage"])),
        ("b3", tracing(&["b3"])),
        ("b3multi", tracing(&["b3multi"])),
        ("jaeger", tracing(&["jaeger"])),
        ("all", tracing(&["tracecontext", "baggage", "b3", "b3multi", "jaeger"])),
        ("jaeger-first", tracing(&["jaeger", "b3multi", "tracecontext"])),
        ("none", tracing(&[])),
        ("root-off-b3", deferred("b3")),
        ("root-off-b3multi", deferred("b3multi")),
        ("baggage-attributes", with_baggage),
    ]
}

/// One request, and all that is to come of it.
struct Case {
    listener: &'static str,
    why: &'static str,
    sent: Vec<(&'static str, Vec<u8>)>,
    /// Trace, parent, and the format that said so; `None`: a new trace.
    continued: Option<(&'static str, &'static str, &'static str)>,
    sampled: bool,
    /// Lines upstream. `{T}` is the trace id, `{S}` the span's id.
    upstream: Vec<(&'static str, Vec<u8>)>,
    malformed: Vec<&'static str>,
    attributes: Vec<(&'static str, Option<&'static str>)>,
    trace_state: Option<&'static str>,
}

fn case(listener: &'static str, why: &'static str) -> Case {
    Case {
        listener,
        why,
        sent: Vec::new(),
        continued: None,
        sampled: true,
        upstream: Vec::new(),
        malformed: Vec::new(),
        attributes: Vec::new(),
        trace_state: None,
    }
}

impl Case {
    /// A header line of the caller.
    fn sends(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.sent.push((name, value.as_ref().to_vec()));
        self
    }

    /// A header line of the caller that the service gets as it was sent.
    fn passes(self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref().to_vec();
        self.sends(name, &value).goes_on(name, &value)
    }

    /// The span's trace, its parent, and the format that these are from.
    fn continues(mut self, trace: &'static str, parent: &'static str, format: &'static str) -> Self {
        self.continued = Some((trace, parent, format));
        self
    }

    fn not_sampled(mut self) -> Self {
        self.sampled = false;
        self
    }

    /// A header line that the service gets.
    fn goes_on(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.upstream.push((name, value.as_ref().to_vec()));
        self
    }

    /// What is counted as malformed: `FORMAT_REASON`.
    fn malformed(mut self, what: &'static str) -> Self {
        self.malformed.push(what);
        self
    }

    fn attribute(mut self, key: &'static str, value: Option<&'static str>) -> Self {
        self.attributes.push((key, value));
        self
    }

    fn trace_state(mut self, value: &'static str) -> Self {
        self.trace_state = Some(value);
        self
    }
}

fn w3c_cases() -> Vec<Case> {
    let w3c = |why, flags: &str, on: &str| {
        let sent = format!("00-{TRACE}-{PARENT}-{flags}");
        case("w3c", why).sends("traceparent", sent).goes_on("traceparent", format!("00-{{T}}-{{S}}-{on}")).continues(
            TRACE,
            PARENT,
            "tracecontext",
        )
    };
    let as_it_came = |why, flags: &str| {
        let case = case("w3c", why).passes("traceparent", format!("00-{TRACE}-{PARENT}-{flags}"));
        case.continues(TRACE, PARENT, "tracecontext").not_sampled()
    };
    let new = |why| case("w3c", why).goes_on("traceparent", "00-{T}-{S}-03");
    let bad = |why, value: &str, reason| new(why).sends("traceparent", value).malformed(reason);
    vec![
        new("no caller: a trace of our own, whose id is random"),
        w3c("sampled; a random flag that is unset stays unset", "01", "01"),
        w3c("a random flag goes on", "03", "03"),
        as_it_came("not sampled", "00"),
        as_it_came("not sampled, and random", "02"),
        w3c("flags that nobody knows are zeroed", "ff", "03"),
        w3c("flags that nobody knows are zeroed, and say nothing", "fc", "00").not_sampled(),
        new("white space around a value is HTTP's")
            .sends("traceparent", format!(" \t00-{TRACE}-{PARENT}-03 "))
            .continues(TRACE, PARENT, "tracecontext"),
        case("w3c", "a version to come, which is longer")
            .sends("traceparent", format!("01-{TRACE}-{PARENT}-01-what-the-future-brings"))
            .continues(TRACE, PARENT, "tracecontext")
            .goes_on("traceparent", W3C),
        case("w3c", "a version to come, of the same length")
            .sends("traceparent", format!("cc-{TRACE}-{PARENT}-01"))
            .continues(TRACE, PARENT, "tracecontext")
            .goes_on("traceparent", W3C),
        bad("upper case", &format!("00-{}-{PARENT}-01", TRACE.to_uppercase()), "tracecontext_bad_character"),
        bad("a trace id of zeros", &format!("00-{}-{PARENT}-01", "0".repeat(32)), "tracecontext_zero_id"),
        bad("a span id of zeros", &format!("00-{TRACE}-{}-01", "0".repeat(16)), "tracecontext_zero_id"),
        bad("the forbidden version", &format!("ff-{TRACE}-{PARENT}-01"), "tracecontext_bad_version"),
        bad("version 00 with more behind", &format!("00-{TRACE}-{PARENT}-01-x"), "tracecontext_wrong_length"),
        bad("half a value", &format!("00-{TRACE}"), "tracecontext_wrong_length"),
        bad("an empty value", "", "tracecontext_wrong_length"),
        bad("other separators", &format!("00_{TRACE}_{PARENT}_01"), "tracecontext_bad_separator"),
        bad("several lines", &format!("00-{TRACE}-{PARENT}-01"), "tracecontext_repeated")
            .sends("traceparent", format!("00-{TRACE}-{PARENT}-01")),
        bad("several lines, one of them invalid", &format!("00-{TRACE}-{PARENT}-01"), "tracecontext_repeated")
            .sends("traceparent", "junk"),
    ]
}

fn trace_state_cases() -> Vec<Case> {
    let with = |why| {
        case("w3c", why)
            .sends("traceparent", format!("00-{TRACE}-{PARENT}-01"))
            .continues(TRACE, PARENT, "tracecontext")
            .goes_on("traceparent", W3C)
    };
    let members = |count: usize| (0..count).map(|n| format!("m{n}=1")).collect::<Vec<_>>().join(",");
    let long = format!("a=1,long={},b={},c=3", "x".repeat(130), "y".repeat(120));
    let too_long = format!("{long},longer={},d=4", "z".repeat(250));
    vec![
        with("a tracestate")
            .passes("tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
            .trace_state("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        with("over several lines, which stay")
            .passes("tracestate", "a=1")
            .passes("tracestate", "b=2,c=3")
            .trace_state("a=1,b=2,c=3"),
        with("white space and empty members, which stay")
            .passes("tracestate", "a=1 ,\tb=2,,c=3")
            .trace_state("a=1,b=2,c=3"),
        with("keys by the grammar of level 2").passes("tracestate", "1a=b,a@b@c=d,t@v=w"),
        with("32 members").passes("tracestate", members(32)),
        with("33 members: the last is dropped")
            .sends("tracestate", members(33))
            .goes_on("tracestate", members(32))
            .malformed("tracestate_too_many_members"),
        with("40 members over two lines")
            .sends("tracestate", members(31))
            .sends("tracestate", "x=1,y=2,z=3")
            .goes_on("tracestate", format!("{},x=1", members(31)))
            .malformed("tracestate_too_many_members"),
        with("over 512 characters: the long members go first")
            .sends("tracestate", &too_long)
            .goes_on("tracestate", format!("{long},d=4"))
            .malformed("tracestate_too_long"),
        with("a key twice: the first stays")
            .sends("tracestate", "a=1,b=2,a=3")
            .goes_on("tracestate", "a=1,b=2")
            .malformed("tracestate_duplicate_key"),
        with("an invalid key: the list is discarded, the trace goes on")
            .sends("tracestate", "a=1,B=2")
            .malformed("tracestate_bad_key")
            .trace_state(""),
        with("an invalid value").sends("tracestate", b"a=\xff\xfe").malformed("tracestate_bad_value"),
        with("nothing in it").sends("tracestate", " , ,"),
        case("w3c", "without a traceparent it belongs to nothing")
            .sends("tracestate", "a=1")
            .goes_on("traceparent", "00-{T}-{S}-03")
            .trace_state(""),
        case("w3c", "with an invalid traceparent it belongs to nothing")
            .sends("traceparent", "junk")
            .sends("tracestate", "a=1")
            .goes_on("traceparent", "00-{T}-{S}-03")
            .malformed("tracecontext_wrong_length"),
        case("w3c", "not sampled, it goes on as well")
            .passes("traceparent", format!("00-{TRACE}-{PARENT}-00"))
            .passes("tracestate", "a=1")
            .continues(TRACE, PARENT, "tracecontext")
            .not_sampled(),
    ]
}

fn baggage_cases() -> Vec<Case> {
    let new = |why| case("w3c", why).goes_on("traceparent", "00-{T}-{S}-03");
    let attributes = |why| case("baggage-attributes", why).goes_on("traceparent", "00-{T}-{S}-03");
    let members = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
    vec![
        new("baggage, byte for byte").passes("baggage", "userId=alice ;p=1,serverNode=DF%2028 ,  isProduction = false"),
        new("over several lines").passes("baggage", "a=1").passes("baggage", "b=2"),
        new("a malformed member stays").passes("baggage", "a=1,junk,b=2").malformed("baggage_bad_separator"),
        new("bytes that are no text stay").passes("baggage", b"a=\xff\x80").malformed("baggage_bad_value"),
        new("64 members").passes("baggage", members(64)),
        new("65 members: the last is dropped")
            .sends("baggage", members(65))
            .goes_on("baggage", members(64))
            .malformed("baggage_too_many_members"),
        new("over 8192 bytes: the last is dropped")
            .sends("baggage", format!("a=1,b={},c={}", "x".repeat(4000), "y".repeat(4200)))
            .goes_on("baggage", format!("a=1,b={}", "x".repeat(4000)))
            .malformed("baggage_too_long"),
        attributes("chosen keys become attributes, decoded and without properties")
            .passes("baggage", "tenant=caf%C3%A9%20blue;p=1,other=x,plan=gold")
            .attribute("baggage.tenant", Some("caf\u{e9} blue"))
            .attribute("baggage.plan", Some("gold"))
            .attribute("baggage.other", None)
            .attribute("baggage.absent", None),
        attributes("bytes that are no text are replaced")
            .passes("baggage", "tenant=a%FFb")
            .attribute("baggage.tenant", Some("a\u{fffd}b")),
        attributes("without baggage").attribute("baggage.tenant", None),
    ]
}

fn b3_cases() -> Vec<Case> {
    let continues = |why, sent: String, on: &str| {
        case("b3", why).sends("b3", sent).continues(TRACE, PARENT, "b3").goes_on("b3", format!("{{T}}-{{S}}-{on}"))
    };
    let new =
        |why, value: &str, on: &str| case("b3", why).sends("b3", value).goes_on("b3", format!("{{T}}-{{S}}-{on}"));
    let bad = |why, value: &str, reason| new(why, value, "1").malformed(reason);
    vec![
        case("b3", "no caller").goes_on("b3", B3),
        continues("sampled", format!("{TRACE}-{PARENT}-1"), "1"),
        continues("not sampled", format!("{TRACE}-{PARENT}-0"), "0").not_sampled(),
        continues("debug", format!("{TRACE}-{PARENT}-d"), "d"),
        continues("with a parent's id, which does not go on", format!("{TRACE}-{PARENT}-1-05e3ac9a4f6e3b90"), "1"),
        continues("upper case", format!("{}-{}-1", TRACE.to_uppercase(), PARENT.to_uppercase()), "1"),
        continues("not decided yet: as a root, which is on", format!("{TRACE}-{PARENT}"), "1"),
        case("root-off-b3", "not decided yet: as a root, which is off")
            .sends("b3", format!("{TRACE}-{PARENT}"))
            .continues(TRACE, PARENT, "b3")
            .goes_on("b3", "{T}-{S}-0")
            .not_sampled(),
        case("root-off-b3", "decided")
            .sends("b3", format!("{TRACE}-{PARENT}-1"))
            .continues(TRACE, PARENT, "b3")
            .goes_on("b3", B3),
        case("b3", "64 bits of trace id")
            .sends("b3", format!("{SHORT}-{PARENT}-1"))
            .continues(PADDED, PARENT, "b3")
            .goes_on("b3", B3),
        new("a lone 1", "1", "1"),
        new("a lone 0: not sampled", "0", "0").not_sampled(),
        new("a lone d: debug", "d", "d"),
        bad("another state", &format!("{TRACE}-{PARENT}-2"), "b3_bad_decision"),
        bad("a span id is missing", TRACE, "b3_incomplete"),
        bad("a trace id of zeros", &format!("{}-{PARENT}-1", "0".repeat(32)), "b3_zero_id"),
        bad("a character that is no digit", &format!("{}-{PARENT}-1", TRACE.replace('a', "g")), "b3_bad_character"),
        bad("24 digits of trace id", &format!("{}-{PARENT}-1", &TRACE[..24]), "b3_wrong_length"),
        bad("empty", "", "b3_wrong_length"),
        bad("several lines", "1", "b3_repeated").sends("b3", "1"),
        case("b3", "the other encoding is read, and refreshed")
            .sends("x-b3-traceid", TRACE)
            .sends("x-b3-spanid", PARENT)
            .sends("x-b3-sampled", "1")
            .continues(TRACE, PARENT, "b3multi")
            .goes_on("b3", B3)
            .goes_on("x-b3-traceid", "{T}")
            .goes_on("x-b3-spanid", "{S}")
            .goes_on("x-b3-sampled", "1"),
    ]
}

fn b3_multi_cases() -> Vec<Case> {
    let new = |listener, why| case(listener, why).goes_on("x-b3-traceid", "{T}").goes_on("x-b3-spanid", "{S}");
    let continues = |listener, why| {
        new(listener, why).sends("x-b3-traceid", TRACE).sends("x-b3-spanid", PARENT).continues(TRACE, PARENT, "b3multi")
    };
    let sampled =
        |why, value: &str| continues("b3multi", why).sends("x-b3-sampled", value).goes_on("x-b3-sampled", "1");
    let not_sampled = |why, value: &str| {
        continues("b3multi", why).sends("x-b3-sampled", value).goes_on("x-b3-sampled", "0").not_sampled()
    };
    vec![
        new("b3multi", "no caller").goes_on("x-b3-sampled", "1"),
        sampled("sampled", "1"),
        sampled("sampled, as old tracers say it", "true"),
        sampled("sampled, as other old tracers say it", "True"),
        not_sampled("not sampled", "0"),
        not_sampled("not sampled, as old tracers say it", "false"),
        sampled("a parent's id does not go on", "1").sends("x-b3-parentspanid", "05e3ac9a4f6e3b90"),
        continues("b3multi", "debug").sends("x-b3-flags", "1").goes_on("x-b3-flags", "1"),
        continues("b3multi", "debug goes before sampled")
            .sends("x-b3-flags", "1")
            .sends("x-b3-sampled", "0")
            .goes_on("x-b3-flags", "1"),
        sampled("flags that are not 1 say nothing", "1").sends("x-b3-flags", "0"),
        continues("b3multi", "not decided yet: as a root, which is on").goes_on("x-b3-sampled", "1"),
        continues("root-off-b3multi", "not decided yet: as a root, which is off")
            .goes_on("x-b3-sampled", "0")
            .not_sampled(),
        new("b3multi", "64 bits of trace id")
            .sends("x-b3-traceid", SHORT)
            .sends("x-b3-spanid", PARENT)
            .sends("x-b3-sampled", "1")
            .continues(PADDED, PARENT, "b3multi")
            .goes_on("x-b3-sampled", "1"),
        new("b3multi", "a decision without ids").sends("x-b3-sampled", "0").goes_on("x-b3-sampled", "0").not_sampled(),
        new("root-off-b3multi", "a decision without ids, to sample")
            .sends("x-b3-sampled", "1")
            .goes_on("x-b3-sampled", "1"),
        new("b3multi", "debug without ids").sends("x-b3-flags", "1").goes_on("x-b3-flags", "1"),
        new("b3multi", "a trace id alone")
            .sends("x-b3-traceid", TRACE)
            .goes_on("x-b3-sampled", "1")
            .malformed("b3multi_incomplete"),
        new("b3multi", "another decision")
            .sends("x-b3-traceid", TRACE)
            .sends("x-b3-spanid", PARENT)
            .sends("x-b3-sampled", "maybe")
            .goes_on("x-b3-sampled", "1")
            .malformed("b3multi_bad_decision"),
        new("b3multi", "a span id that is too short")
            .sends("x-b3-traceid", TRACE)
            .sends("x-b3-spanid", &PARENT[1..])
            .goes_on("x-b3-sampled", "1")
            .malformed("b3multi_wrong_length"),
    ]
}

fn jaeger_cases() -> Vec<Case> {
    let continues = |why, sent: String, on: &str| {
        let on = format!("{{T}}:{{S}}:0:{on}");
        case("jaeger", why).sends("uber-trace-id", sent).goes_on("uber-trace-id", on).continues(TRACE, PARENT, "jaeger")
    };
    let bad = |why, value: &str, reason| {
        case("jaeger", why).sends("uber-trace-id", value).goes_on("uber-trace-id", JAEGER).malformed(reason)
    };
    vec![
        case("jaeger", "no caller").goes_on("uber-trace-id", JAEGER),
        continues("sampled", format!("{TRACE}:{PARENT}:0:1"), "1"),
        continues("not sampled", format!("{TRACE}:{PARENT}:0:0"), "0").not_sampled(),
        continues("debug", format!("{TRACE}:{PARENT}:0:3"), "3"),
        continues("a parent's id does not go on", format!("{TRACE}:{PARENT}:5e3ac9a4f6e3b90:1"), "1"),
        continues("encoded", format!("{TRACE}%3A{PARENT}%3A0%3A1"), "1"),
        continues("encoded in lower case", format!("{TRACE}%3a{PARENT}%3a0%3a1"), "1"),
        continues("a leading zero dropped", format!("{}:{PARENT}:0:1", &TRACE[1..]), "1"),
        case("jaeger", "64 bits of trace id")
            .sends("uber-trace-id", format!("{SHORT}:{PARENT}:0:1"))
            .continues(PADDED, PARENT, "jaeger")
            .goes_on("uber-trace-id", JAEGER),
        case("jaeger", "ids of one digit")
            .sends("uber-trace-id", "1:2:0:1")
            .continues("00000000000000000000000000000001", "0000000000000002", "jaeger")
            .goes_on("uber-trace-id", JAEGER),
        case("jaeger", "its baggage is left alone")
            .passes("uberctx-tenant", "a%20b;c=\u{e9}")
            .goes_on("uber-trace-id", JAEGER),
        bad("three fields", &format!("{TRACE}:{PARENT}:0"), "jaeger_bad_separator"),
        bad("a trace id of zero", &format!("0:{PARENT}:0:1"), "jaeger_zero_id"),
        bad("other flags", &format!("{TRACE}:{PARENT}:0:x"), "jaeger_bad_decision"),
        bad("33 digits of trace id", &format!("1{TRACE}:{PARENT}:0:1"), "jaeger_wrong_length"),
        bad("several lines", "1:2:0:1", "jaeger_repeated").sends("uber-trace-id", "1:2:0:1"),
    ]
}

/// Several formats in one request.
fn mixed_cases() -> Vec<Case> {
    const OTHER: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let all = |why, flags: &str| {
        case("all", why)
            .goes_on("traceparent", format!("00-{{T}}-{{S}}-{flags}"))
            .goes_on("b3", B3)
            .goes_on("x-b3-traceid", "{T}")
            .goes_on("x-b3-spanid", "{S}")
            .goes_on("x-b3-sampled", "1")
            .goes_on("uber-trace-id", JAEGER)
    };
    let stale = |case: Case| {
        case.sends("b3", format!("{OTHER}-{PARENT}-0"))
            .sends("x-b3-traceid", OTHER)
            .sends("x-b3-spanid", "00f067aa0ba902b7")
            .sends("x-b3-parentspanid", "00f067aa0ba902b8")
            .sends("x-b3-sampled", "0")
            .sends("uber-trace-id", format!("{OTHER}:1:0:0"))
    };
    vec![
        all("no caller: all listed are written", "03"),
        stale(all("the first listed wins, and stale ones are overwritten", "01"))
            .sends("traceparent", format!("00-{TRACE}-{PARENT}-01"))
            .continues(TRACE, PARENT, "tracecontext"),
        all("a malformed one is passed over", "01")
            .sends("traceparent", format!("00-{TRACE}-{PARENT}"))
            .sends("tracestate", "a=1")
            .sends("b3", format!("{OTHER}-{PARENT}-1"))
            .sends("uber-trace-id", format!("{TRACE}:1:0:0"))
            .continues(OTHER, PARENT, "b3")
            .malformed("tracecontext_wrong_length"),
        all("ids win over a lone decision", "01")
            .sends("b3", "0")
            .sends("uber-trace-id", format!("{TRACE}:{PARENT}:0:1"))
            .continues(TRACE, PARENT, "jaeger"),
        all("several malformed ones are all counted", "03")
            .sends("traceparent", "junk")
            .sends("b3", "junk")
            .sends("x-b3-spanid", PARENT)
            .sends("uber-trace-id", "junk")
            .malformed("tracecontext_wrong_length")
            .malformed("b3_wrong_length")
            .malformed("b3multi_incomplete")
            .malformed("jaeger_bad_separator"),
        case("jaeger-first", "another order, another winner")
            .sends("traceparent", format!("00-{OTHER}-{PARENT}-00"))
            .sends("x-b3-traceid", SHORT)
            .sends("x-b3-spanid", PARENT)
            .sends("uber-trace-id", format!("{TRACE}:{PARENT}:0:1"))
            .continues(TRACE, PARENT, "jaeger")
            .goes_on("traceparent", W3C)
            .goes_on("x-b3-traceid", "{T}")
            .goes_on("x-b3-spanid", "{S}")
            .goes_on("x-b3-sampled", "1")
            .goes_on("uber-trace-id", JAEGER),
        case("jaeger-first", "from B3 with 64 bits to W3C and Jaeger")
            .sends("x-b3-traceid", SHORT)
            .sends("x-b3-spanid", PARENT)
            .sends("x-b3-sampled", "1")
            .continues(PADDED, PARENT, "b3multi")
            .goes_on("traceparent", W3C)
            .goes_on("x-b3-traceid", "{T}")
            .goes_on("x-b3-spanid", "{S}")
            .goes_on("x-b3-sampled", "1")
            .goes_on("uber-trace-id", JAEGER),
        case("w3c", "what is not listed passes, malformed or not")
            .passes("b3", format!("{OTHER}-{PARENT}-0"))
            .passes("x-b3-traceid", "junk")
            .passes("x-b3-sampled", b"\xff\xfe")
            .passes("x-b3-parentspanid", "")
            .passes("uber-trace-id", "a%3Ab")
            .passes("uber-trace-id", "again")
            .goes_on("traceparent", "00-{T}-{S}-03"),
        case("jaeger", "so do W3C's headers where they are not listed")
            .passes("traceparent", format!("00-{OTHER}-{PARENT}-00"))
            .passes("traceparent", "00-again")
            .passes("tracestate", "a=1,A=1,,")
            .passes("baggage", "a=1,junk")
            .goes_on("uber-trace-id", JAEGER),
        case("none", "where nothing is listed, all pass, and the trace is our own")
            .passes("traceparent", format!("00-{OTHER}-{PARENT}-00"))
            .passes("tracestate", "a=1")
            .passes("baggage", "a=1")
            .passes("b3", "0")
            .passes("x-b3-traceid", OTHER)
            .passes("uber-trace-id", "1:2:3:0"),
    ]
}

fn all_cases() -> Vec<Case> {
    let tables = [
        w3c_cases(),
        trace_state_cases(),
        baggage_cases(),
        b3_cases(),
        b3_multi_cases(),
        jaeger_cases(),
        mixed_cases(),
    ];
    tables.into_iter().flatten().collect()
}

#[test]
fn every_caller_against_every_propagator() {
    let cases = all_cases();
    each_envoy(&[1, 2], |envoy, concurrency| {
        let mesh = Mesh::start(envoy, concurrency, &listeners());
        check_all(mesh, &cases, |mesh, case, path| {
            let request =
                case.sent.iter().fold(Request::get(path), |request, (name, value)| request.header(name, value));
            mesh.exchange(case.listener, &request);
        });
    });
}

#[test]
fn every_caller_over_http_2() {
    let mut cases = all_cases();
    // HTTP/2 has no white space around values (RFC 9113 section 8.2.1).
    cases.retain(|case| case.sent.iter().all(|(_, value)| value.trim_ascii() == value.as_slice()));
    each_envoy(&[1], |envoy, concurrency| {
        let mesh = Mesh::start(envoy, concurrency, &listeners());
        let connect = |(name, _)| (name, Http2Client::connect(mesh.envoy.address(name).unwrap()).unwrap());
        let clients: BTreeMap<&str, Http2Client> = listeners().into_iter().map(connect).collect();
        let clients = RefCell::new(clients);
        check_all(mesh, &cases, |_, case, path| {
            let headers: Vec<(&str, &[u8])> = case.sent.iter().map(|(name, value)| (*name, value.as_slice())).collect();
            let mut clients = clients.borrow_mut();
            let response = clients.get_mut(case.listener).unwrap().get(path, &headers);
            let response = response.unwrap_or_else(|error| panic!("{}: {error:#}", case.why));
            assert_eq!(response.status, 200, "{}", case.why);
        });
    });
}

/// Sends every case's request, each to a path of its own, and then looks at what came of them.
fn check_all(mesh: Mesh, cases: &[Case], send: impl Fn(&Mesh, &Case, &str)) {
    for (number, case) in cases.iter().enumerate() {
        send(&mesh, case, &format!("/{number}"));
    }
    let recorded = cases.iter().filter(|case| case.sampled).count();
    let spans = mesh.receiver.wait_for_spans(recorded, DEADLINE).unwrap();
    let heads = mesh.service.requests();
    let mut failures = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let path = format!("/{number}");
        let head = heads.iter().find(|head| head.target == path).unwrap_or_else(|| panic!("{}: no request", case.why));
        let mut own = spans.iter().filter(|span| span.text("url.path") == Some(path.as_str()));
        let result = check(case, head, own.next());
        let twice = own.next().is_some().then(|| "two spans".to_owned());
        if let Some(failure) = result.err().or(twice) {
            failures.push(format!("{}: {}: {failure}", case.listener, case.why));
        }
    }
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
    check_counters(&mesh, cases, recorded);
    mesh.stop();
}

fn check(case: &Case, head: &ReceivedHead, span: Option<&ReceivedSpan>) -> Result<(), String> {
    let mut ids = Ids::default();
    // Whatever a case does not expect upstream must not be there, headers that no format writes among it.
    for name in crate::WRITTEN_HEADERS.iter().chain(&["uberctx-tenant"]) {
        let got: Vec<&[u8]> =
            head.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_slice()).collect();
        let expected: Vec<&[u8]> =
            case.upstream.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_slice()).collect();
        let same = got.len() == expected.len() && got.iter().zip(&expected).all(|(got, text)| ids.matches(text, got));
        if !same {
            let show = |lines: &[&[u8]]| lines.iter().map(|line| line.escape_ascii().to_string()).collect::<Vec<_>>();
            return Err(format!("upstream, {name} is {:?}, expected {:?}", show(&got), show(&expected)));
        }
    }
    if let (Some((trace, ..)), Some(got)) = (case.continued, &ids.trace)
        && trace != got
    {
        return Err(format!("the trace {trace} goes on as {got}"));
    }
    let is_new =
        |id: &str| !case.sent.iter().any(|(_, value)| value.windows(id.len()).any(|part| part == id.as_bytes()));
    if !ids.span.as_deref().is_none_or(is_new) {
        return Err("the caller's own span goes on".to_owned());
    }
    match (case.sampled, span) {
        (false, None) => Ok(()),
        (false, Some(span)) => Err(format!("a span: {span}")),
        (true, None) => Err("no span".to_owned()),
        (true, Some(span)) => check_span(case, &ids, span, is_new),
    }
}

fn check_span(case: &Case, ids: &Ids, span: &ReceivedSpan, is_new: impl Fn(&str) -> bool) -> Result<(), String> {
    let parent = case.continued.map(|(_, parent, _)| parent.to_owned());
    let trace = case.continued.map_or(span.trace_id(), |(trace, ..)| trace.to_owned());
    // The W3C flags, whether the parent is known to be remote or not, and whether it is (OTLP, `Span.flags`).
    let flags = 0x101 | if parent.is_some() { 0x200 } else { 0 };
    let checks = [
        (span.trace_id() == trace, "the trace"),
        (case.continued.is_some() || is_new(&span.trace_id()), "a trace of its own"),
        (span.parent_id() == parent, "the parent"),
        (ids.trace.as_ref().is_none_or(|trace| *trace == span.trace_id()), "the trace upstream"),
        (ids.span.as_ref().is_none_or(|id| *id == span.span_id()), "the span's id upstream"),
        (case.trace_state.is_none_or(|state| state == span.span.trace_state), "the span's trace state"),
        (span.span.flags & !2 == flags, "the span's flags"),
        (case.attributes.iter().all(|(key, value)| span.text(key) == *value), "the span's attributes"),
    ];
    match checks.iter().find(|(right, _)| !right) {
        None => Ok(()),
        Some((_, what)) => Err(format!("{what}: {}; upstream {ids:?}", span.to_json())),
    }
}

/// What the headers upstream named: the same in all of them.
#[derive(Debug, Default)]
struct Ids {
    trace: Option<String>,
    span: Option<String>,
}

impl Ids {
    fn matches(&mut self, pattern: &[u8], value: &[u8]) -> bool {
        let (Ok(pattern), Ok(text)) = (std::str::from_utf8(pattern), std::str::from_utf8(value)) else {
            return pattern == value;
        };
        let mut rest = text;
        for piece in pattern.split_inclusive('}') {
            let (literal, slot, length) = match piece {
                piece if piece.ends_with("{T}") => (&piece[..piece.len() - 3], Some(&mut self.trace), 32),
                piece if piece.ends_with("{S}") => (&piece[..piece.len() - 3], Some(&mut self.span), 16),
                piece => (piece, None, 0),
            };
            let Some(after) = rest.strip_prefix(literal) else { return false };
            rest = after;
            let Some(slot) = slot else { continue };
            let Some((id, after)) = rest.split_at_checked(length) else { return false };
            let is_id =
                id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) && id.bytes().any(|b| b != b'0');
            if !is_id || slot.get_or_insert_with(|| id.to_owned()) != id {
                return false;
            }
            rest = after;
        }
        rest.is_empty()
    }
}

fn check_counters(mesh: &Mesh, cases: &[Case], recorded: usize) {
    let mut expected = BTreeMap::new();
    let mut count = |name: String, by: usize| *expected.entry(name).or_insert(0) += by as u64;
    count("meshspan_streams_total".to_owned(), cases.len());
    count("meshspan_spans_started_total".to_owned(), recorded);
    count("meshspan_spans_not_sampled_total".to_owned(), cases.len() - recorded);
    count("meshspan_export_started_total".to_owned(), recorded);
    count("meshspan_export_exported_total".to_owned(), recorded);
    for case in cases {
        if let Some((_, _, format)) = case.continued {
            count(format!("meshspan_propagation_extracted_{format}_total"), 1);
        }
        for what in &case.malformed {
            count(format!("meshspan_propagation_malformed_{what}_total"), 1);
        }
    }
    let mut last = BTreeMap::new();
    let equal = wait::until(DEADLINE, "the counters", || {
        last = mesh.counters();
        // Which sampler decided is another table's.
        last.retain(|name, _| !name.starts_with("meshspan_sampling_"));
        // How many requests the spans took, and of what size, is not the table's.
        for name in ["requests_total", "uncompressed_bytes_total", "compressed_bytes_total", "up"] {
            last.remove(&format!("meshspan_export_{name}"));
        }
        (last == expected).then_some(())
    });
    if equal.is_err() {
        // One that is not there is 0.
        let differ: Vec<_> = last
            .keys()
            .chain(expected.keys())
            .filter(|name| last.get(*name) != expected.get(*name))
            .map(|name| format!("{name}: {:?}, expected {:?}", last.get(name), expected.get(name)))
            .collect();
        panic!("the counters differ:\n{}", differ.join("\n"));
    }
}
