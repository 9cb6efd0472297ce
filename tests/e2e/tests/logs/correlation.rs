//! From a log record to its trace: under load on two workers, every error leads to an exported span, and no secret shows.

use std::collections::BTreeMap;

use meshspan_e2e::{DEADLINE, Mesh, each_envoy};
use meshspan_kit::client::{Connection, Request};
use meshspan_kit::receiver::ReceivedSpan;
use serde_json::{Value, json};

use crate::support::{SECRET, exported_traces, json_lines, logging, wait_for_books};

const REQUESTS: usize = 400;

#[test]
fn every_error_leads_to_an_exported_span() {
    let tenth = json!({"trace_id_ratio_based": {"ratio": 0.1}});
    let keep = json!({"errors": true, "spans_per_second": 10_000});
    let logs = json!({"when": ["errors", "sampled"], "json": {"lines_per_second": 10_000}});
    let config = logging(&tenth, &json!({"role": "server", "keep": keep, "logs": logs}));
    each_envoy(&[2], |envoy, concurrency| {
        let mesh = Mesh::start(envoy, concurrency, &[("load", config.clone())]);
        let address = mesh.envoy.address("load").unwrap();
        let mut connections: Vec<_> = (0..8).map(|_| Connection::open(address).unwrap()).collect();
        for number in 0..REQUESTS {
            let status = [200, 404, 503, 200, 500, 200, 200, 200, 200, 200][number % 10];
            let request = Request::get(&format!("/status/{status}?phone={SECRET}&n={number}")).header("x-call", SECRET);
            let index = number % connections.len();
            assert_eq!(connections[index].request(&request).unwrap().status, status);
        }
        mesh.wait_until_all_are_exported(REQUESTS.try_into().unwrap());
        let spans = mesh.receiver.spans();
        let failed = REQUESTS / 10 * 2;
        assert!(spans.len() > failed && spans.len() < REQUESTS / 2, "a tenth and the errors: {}", spans.len());
        wait_for_books(&mesh, "traces", spans.len().try_into().unwrap());
        // What is sampled or failed is logged, and exported: one record a span.
        wait_for_books(&mesh, "logs", spans.len().try_into().unwrap());
        let records = mesh.receiver.logs();
        let by_span: BTreeMap<String, &ReceivedSpan> = spans.iter().map(|span| (span.span_id(), span)).collect();
        for record in &records {
            let span = by_span[&record.span_id()];
            assert_eq!(record.trace_id(), span.trace_id());
            assert_eq!(record.record.attributes, span.span.attributes, "the same words");
            assert_eq!(record.record.time_unix_nano, span.span.end_time_unix_nano);
            assert_eq!(record.scope_schema_url, span.scope_schema_url);
        }
        assert_eq!(records.iter().filter(|record| record.severity() == 17).count(), failed);

        let lines = json_lines(&mesh.envoy.log());
        assert_eq!(lines.len(), records.len(), "a line for each record");
        let traces = exported_traces(&mesh);
        let errors: Vec<_> = lines.iter().filter(|line| line["level"] == "error").collect();
        assert_eq!(errors.len(), failed);
        for line in &lines {
            let trace_id = line["trace_id"].as_str().unwrap();
            assert!(traces.contains(trace_id), "{line}");
            let span = by_span[line["span_id"].as_str().unwrap()];
            assert_eq!(line["msg"], format!("GET {}", span.integer("http.response.status_code").unwrap()));
            assert_eq!(line["url.query"].as_str(), span.text("url.query"));
        }
        let said = mesh.receiver.requests().into_iter().filter_map(|request| request.export);
        let said: Vec<u8> = said.flat_map(|export| export.encode_to_vec()).collect();
        assert!(!contains(&said, SECRET) && !mesh.envoy.log().contains(SECRET), "masked in records and lines");
        assert!(contains(&said, "138****5678"), "the search finds what is there");
        mesh.stop();
    });
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn logs_alone_name_the_callers_trace() {
    let mut config = logging(&Value::Null, &json!({"logs": {"when": "all"}}));
    config.as_object_mut().unwrap().remove("tracer_provider");
    each_envoy(&[1], |envoy, concurrency| {
        let mesh = Mesh::start(envoy, concurrency, &[("logs", config.clone())]);
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let parent = format!("00-{trace}-{span}-01");
        let (_, called) = mesh.exchange("logs", &Request::get("/called").header("traceparent", &parent));
        assert_eq!(called.values("traceparent"), [parent], "passes untouched");
        let (_, alone) = mesh.exchange("logs", &Request::get("/alone"));
        assert_eq!(alone.header("traceparent"), None, "none is begun");
        let records = mesh.receiver.wait_for_logs(DEADLINE, |logs| (logs.len() >= 2).then(|| logs.to_vec())).unwrap();
        let ids: Vec<_> =
            records.iter().map(|record| (record.trace_id(), record.span_id(), record.record.flags)).collect();
        assert_eq!(ids, [(trace.to_owned(), span.to_owned(), 1), (String::new(), String::new(), 0)]);
        assert!(mesh.receiver.spans().is_empty());
        mesh.stop();
    });
}

#[test]
fn lines_beyond_their_rate_are_counted() {
    let logs = json!({"when": "all", "json": {"lines_per_second": 5}});
    let config = logging(&json!({"always_off": {}}), &json!({"role": "server", "logs": logs}));
    each_envoy(&[1], |envoy, concurrency| {
        let mesh = Mesh::start(envoy, concurrency, &[("logs", config.clone())]);
        let mut connection = Connection::open(mesh.envoy.address("logs").unwrap()).unwrap();
        let requests = 200_u64;
        for _ in 0..requests {
            connection.request(&Request::get("/fine")).unwrap();
        }
        wait_for_books(&mesh, "logs", requests);
        let lines = u64::try_from(json_lines(&mesh.envoy.log()).len()).unwrap();
        assert!((5..requests).contains(&lines), "{lines} lines");
        mesh.wait_for_counter("meshspan_log_lines_dropped_total", requests - lines);
        mesh.stop();
    });
}
