//! Which streams are logged: the rules, each on a listener of its own.

use std::collections::BTreeMap;

use meshspan_e2e::{DEADLINE, Mesh, each_envoy};
use meshspan_kit::client::Request;
use meshspan_kit::receiver::Protocol;
use serde_json::{Value, json};

use crate::support::{logging, wait_for_books};

/// Answered 200, 404 and 503, and 200 after a while.
const PATHS: [&str; 4] = ["/fine", "/status/404", "/status/503", "/slow?ms=300"];

/// What the bodies of their records end with, and the severities.
const OUTCOMES: [(&str, &str); 4] =
    [("GET 200", "INFO"), ("GET 404", "WARN"), ("GET 503", "ERROR"), ("GET 200", "INFO")];

#[test]
fn rules_pick_the_streams_that_are_logged() {
    let (on, off) = (json!({"always_on": {}}), json!({"always_off": {}}));
    let errors = json!({"errors": true});
    let rule = |when: Value| json!({"when": when});
    // Listener, sampler, keep, logs, which of the paths are logged, which are exported.
    #[expect(clippy::type_complexity, reason = "a table")]
    let table: Vec<(&str, &Value, Option<&Value>, Value, &[usize], &[usize])> = vec![
        ("default", &off, None, Value::Null, &[0, 1, 2, 3], &[]),
        ("all", &on, None, rule(json!("all")), &[0, 1, 2, 3], &[0, 1, 2, 3]),
        ("errors", &off, None, rule(json!("errors")), &[2], &[]),
        ("slow", &off, None, json!({"when": ["slow"], "slower_than": 200}), &[3], &[]),
        ("both", &off, None, json!({"when": ["errors", "slow"], "slower_than": 200}), &[2, 3], &[]),
        ("sampled", &on, None, rule(json!("sampled")), &[0, 1, 2, 3], &[0, 1, 2, 3]),
        ("not-sampled", &off, None, rule(json!("sampled")), &[], &[]),
        ("kept", &off, Some(&errors), rule(json!(["sampled"])), &[2], &[2]),
    ];
    each_envoy(&[1], |envoy, concurrency| {
        let listeners: Vec<_> = table
            .iter()
            .map(|(name, sampler, keep, logs, ..)| {
                let mut config = logging(sampler, &json!({"role": "server", "logs": logs, "keep": keep}));
                config["resource"]["attributes"][0]["value"] = (*name).into();
                (*name, config)
            })
            .collect();
        let mesh = Mesh::start(envoy, concurrency, &listeners);
        for (name, ..) in &table {
            for path in PATHS {
                mesh.send(name, &Request::get(path));
            }
        }
        let logged: usize = table.iter().map(|(.., logged, _)| logged.len()).sum();
        let exported: usize = table.iter().map(|(.., exported)| exported.len()).sum();
        let all = u64::try_from(table.len() * PATHS.len()).unwrap();
        mesh.wait_until_all_are_judged(all);
        wait_for_books(&mesh, "logs", logged.try_into().unwrap());
        wait_for_books(&mesh, "traces", exported.try_into().unwrap());
        let mut records =
            mesh.receiver.wait_for_logs(DEADLINE, |logs| (logs.len() >= logged).then(|| logs.to_vec())).unwrap();
        // A batch has errors first.
        records.sort_by_key(|record| record.record.time_unix_nano);
        let mut by_service: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
        for record in &records {
            by_service.entry(record.service()).or_default().push((record.body(), &record.record.severity_text));
        }
        for (name, _, _, _, logged, _) in &table {
            let expected: Vec<_> = logged.iter().map(|index| OUTCOMES[*index]).collect();
            assert_eq!(by_service.remove(name).unwrap_or_default(), expected, "{name}");
        }
        mesh.stop();
    });
}

#[test]
fn every_way_out_carries_the_same_records() {
    let processors = json!([
        {"simple": {"exporter": {"otlp_grpc": {"endpoint": "http://collector:4317", "compression": "gzip"}}}},
        {"simple": {"exporter": {"otlp_http": {"endpoint": "http://collector:4318/v1/logs"}}}},
        {"simple": {"exporter": {"otlp_http": {"endpoint": "http://collector:4318/v1/logs", "encoding": "json"}}}},
    ]);
    let mut config = logging(
        &json!({"always_on": {}}),
        &json!({"role": "server", "clusters": {"collector:4318": "collector"}, "logs": {"when": "errors"}}),
    );
    config["logger_provider"]["processors"] = processors;
    config["logger_provider"]["limits"] = json!({"attribute_count_limit": 8});
    each_envoy(&[1], |envoy, concurrency| {
        let mesh = Mesh::start(envoy, concurrency, &[("ways", config.clone())]);
        mesh.send("ways", &Request::get("/status/503"));
        wait_for_books(&mesh, "logs", 3);
        let mut records = mesh.receiver.logs();
        records.sort_by_key(|record| record.protocol);
        let protocols: Vec<_> = records.iter().map(|record| record.protocol).collect();
        assert_eq!(protocols, [Protocol::Grpc, Protocol::HttpProtobuf, Protocol::HttpJson]);
        for record in &records {
            assert_eq!(record.record, records[0].record, "{:?}", record.protocol);
            assert_eq!((record.service(), record.scope.name.as_str()), ("checkout", "meshspan"));
        }
        assert_eq!(records[0].record.attributes.len(), 8, "its own limit");
        let dropped = records[0].record.dropped_attributes_count;
        assert!(dropped > 0);
        mesh.wait_for_counter("meshspan_log_attributes_dropped_total", u64::from(dropped));
        let samples = mesh.samples();
        let exporters = ["collector:4317", "collector:4318", "collector:4318#2"];
        for exporter in exporters {
            let labels = [("signal", "logs"), ("exporter", exporter)];
            assert_eq!(samples.sum("meshspan_export_exported_total", &labels), 1, "{exporter}");
        }
        mesh.stop();
    });
}
