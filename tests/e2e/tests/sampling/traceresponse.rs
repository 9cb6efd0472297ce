//! What a proxy tells its caller about the trace, and what the caller makes of it.

use meshspan_e2e::each_envoy;
use meshspan_kit::client::{Connection, Request};
use meshspan_kit::receiver::ReceivedSpan;
use serde_json::{Value, json};

use crate::support::{WORKERS, example, reason, settled, start};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The example `keep.json` with these two sections of ours.
fn config(keep: &Value, response: &Value) -> Value {
    let mut config = example("keep.json");
    let meshspan = &mut config["distribution"]["meshspan"];
    meshspan["keep"] = keep.clone();
    meshspan["response"] = response.clone();
    config
}

fn only(spans: &[ReceivedSpan], trace: &str) -> ReceivedSpan {
    let of_it: Vec<_> = spans.iter().filter(|span| span.trace_id() == trace).collect();
    let [span] = of_it.as_slice() else { panic!("not one span of {trace} but {}", of_it.len()) };
    (*span).clone()
}

/// The far proxy keeps what failed, and says so. The near one, its caller, would keep none of it, and keeps just those.
#[test]
fn a_caller_keeps_what_its_callee_kept() {
    each_envoy(&[WORKERS], |envoy, _| {
        let told = json!({"traceresponse": true, "server_timing": true});
        let far = start(envoy, &[("far", config(&json!({"errors": true}), &told))], |config| config);
        let address = far.envoy.address("far").unwrap();
        let near = start(envoy, &[("near", config(&json!({"traceresponse": true}), &told))], |config| {
            config.add_cluster("far", address, false).connection_managers(|_, manager| {
                let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().unwrap();
                routes.insert(0, json!({"match": {"prefix": "/"}, "route": {"cluster": "far"}}));
            })
        });
        let mut connection = Connection::open(near.envoy.address("near").unwrap()).unwrap();
        let table = [
            ("/status/503", true, "the far one failed"),
            ("/status/200", false, "it did not"),
            ("/status/404", false, "the caller's fault"),
        ];
        let mut told = Vec::new();
        for (number, (path, kept, why)) in table.into_iter().enumerate() {
            let trace = format!("{number:x}{}", &TRACE[1..]);
            let request = Request::get(path).header("traceparent", format!("00-{trace}-00f067aa0ba902b7-02"));
            let response = connection.request(&request).unwrap();
            let value = response.header("traceresponse").unwrap_or_else(|| panic!("{why}: no traceresponse"));
            let parts: Vec<&str> = value.split('-').collect();
            let [version, trace_id, span_id, flags] = parts.as_slice() else { panic!("{value}") };
            assert_eq!((*version, *trace_id), ("00", trace.as_str()), "{why}");
            assert_eq!(*flags, if kept { "03" } else { "02" }, "{why}");
            let timings: Vec<_> = response.headers.iter().filter(|(name, _)| name == "server-timing").collect();
            assert_eq!(timings.len(), 2, "each proxy adds a line of its own: {timings:?}");
            let own = format!("traceparent;desc=\"{value}\"").into_bytes();
            assert!(timings.iter().any(|(_, timing)| *timing == own), "{timings:?}");
            told.push((trace, (*span_id).to_owned(), kept));
        }
        let (calls, _) = settled(&near, 3);
        let (answers, _) = settled(&far, 3);
        assert_eq!((calls.len(), answers.len()), (1, 1));
        for (trace, span_id, _) in told.into_iter().filter(|(.., kept)| *kept) {
            let (call, answer) = (only(&calls, &trace), only(&answers, &trace));
            assert_eq!(call.span_id(), span_id, "the client is told the span that is its child");
            assert_eq!(answer.parent_id(), Some(call.span_id()), "one trace, and no gap in it");
            assert_eq!(reason(&call), ("keep", "traceresponse"));
            assert_eq!(reason(&answer), ("keep", "errors"));
        }
        assert_eq!(near.counter("meshspan_traceresponse_malformed_total"), 0);
    });
}

/// What was not asked for passes as it is.
#[test]
fn what_is_not_asked_for_passes_untouched() {
    each_envoy(&[WORKERS], |envoy, _| {
        let nothing = start(envoy, &[("silent", config(&json!({"errors": true}), &json!({})))], |config| {
            config.connection_managers(|_, manager| {
                manager["route_config"]["response_headers_to_add"] =
                    json!([{"header": {"key": "traceresponse", "value": "theirs"}}]);
            })
        });
        let mut connection = Connection::open(nothing.envoy.address("silent").unwrap()).unwrap();
        let response = connection.request(&Request::get("/status/200")).unwrap();
        assert_eq!(response.header("traceresponse").as_deref(), Some("theirs"));
        assert_eq!(response.header("server-timing"), None);
        let (spans, _) = settled(&nothing, 1);
        assert!(spans.is_empty());
    });
}
