//! The configuration as a user meets it: what is accepted, and every text that a wrong one is answered with.
#![cfg(not(target_arch = "wasm32"))]

use std::fmt::Write;

use meshspan_config::{Config, Problem, PropagatorKind, SamplerConfig};
use proptest::prelude::*;

const FULL: &str = include_str!("config/full.json");

fn parse(text: &str) -> Config {
    Config::from_json(text.as_bytes()).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

#[test]
fn the_smallest_useful_configuration() {
    let config = parse(
        r#"{"file_format": "1.1",
            "resource": {"attributes": [{"name": "service.name", "value": "checkout"}]},
            "propagator": {"composite": [{"tracecontext": {}}, {"baggage": {}}, {"b3multi": {}}]},
            "tracer_provider": {
              "sampler": {"parent_based": {"root": {"trace_id_ratio_based": {"ratio": 0.1}}}},
              "processors": [{"batch": {"exporter": {"otlp_grpc": {"endpoint": "http://collector:4317"}}}}]}}"#,
    );
    let kinds = [PropagatorKind::TraceContext, PropagatorKind::Baggage, PropagatorKind::B3Multi];
    assert_eq!(config.propagators, kinds);
    let SamplerConfig::ParentBased(sampler) = config.tracer.unwrap().sampler else { panic!("parent_based") };
    assert_eq!(sampler.root, SamplerConfig::TraceIdRatioBased { ratio: 0.1 });
}

#[test]
fn the_example_in_the_hint_is_a_configuration() {
    assert!(parse(Config::SMALLEST).tracer.is_some());
}

#[test]
fn every_key_at_once() {
    insta::assert_debug_snapshot!(parse(FULL));
}

#[test]
fn both_formats_and_all_that_may_be_left_out() {
    let cases = [
        (r#"{"file_format": "1.0"}"#, "the older format"),
        (r#"{"file_format": "1.1"}"#, "the newer format"),
        (r#"{"file_format": "1.1", "disabled": null, "log_level": null}"#, "null where the schema has it"),
        (" \r\n{\"file_format\": \"1.1\"}\t\n", "space around it"),
        (r#"{"file_format": "1.1", "attribute_limits": {}, "resource": {}, "propagator": {}}"#, "empty sections"),
        (
            r#"{"file_format": "1.1", "instrumentation/development": {}, "distribution": {"meshspan": {}}}"#,
            "more of them",
        ),
    ];
    let smallest = parse(r#"{"file_format": "1.1"}"#);
    assert_eq!(smallest.tracer, None, "a no-op tracer unless configured");
    for (text, why) in cases {
        assert_eq!(parse(text), smallest, "{why}");
    }
}

#[test]
fn every_number_as_a_double_is_the_same_configuration() {
    // As Envoy writes a Struct.
    let doubles =
        FULL.replace("1000,", "1000.0,").replace("4096", "4.096e3").replace("\"version\": 1,", "\"version\": 1.0,");
    assert_ne!(doubles, FULL);
    assert_eq!(parse(&doubles), parse(FULL));
}

/// Each case of a group, and the whole text that answers it.
fn answers(cases: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (why, document) in cases {
        let errors = match Config::from_json(document.as_bytes()) {
            Ok(config) => panic!("{why}: {document} was accepted: {config:?}"),
            Err(errors) => errors.to_string(),
        };
        let _ = write!(text, "# {why}\n{document}\n{errors}\n\n");
    }
    text
}

#[test]
fn answers_about_the_document() {
    insta::assert_snapshot!(answers(&[
        ("no configuration", ""),
        ("space alone", " \n"),
        ("not JSON: YAML", "file_format: \"1.1\""),
        ("not JSON: a comma too many", "{\n  \"file_format\": \"1.1\",\n}"),
        ("not JSON: cut off", "{\"file_format\": \"1.1\", \"resource\": {"),
        ("not JSON: two documents", "{\"file_format\": \"1.1\"} {}"),
        ("not an object", "[1, 2]"),
        ("an empty Struct", "{}"),
        ("a number for the format", r#"{"file_format": 1.1}"#),
        ("null for the format", r#"{"file_format": null}"#),
        ("a format to come", r#"{"file_format": "1.2"}"#),
        ("a pre-release", r#"{"file_format": "1.0-rc.2"}"#),
        ("an old format", r#"{"file_format": "0.4"}"#),
        ("a key twice", r#"{"file_format": "1.1", "disabled": true, "disabled": true}"#),
        ("a mistyped key", r#"{"file_format": "1.1", "tracerprovider": {}}"#),
        ("a key like no other", r#"{"file_format": "1.1", "odd/key\n": {}}"#),
        ("a word that is none of the list", r#"{"file_format": "1.1", "log_level": "warning"}"#),
        ("text for a boolean", r#"{"file_format": "1.1", "disabled": "true"}"#),
        ("logs without a way out", r#"{"file_format": "1.1", "logger_provider": {}}"#),
    ]));
}

#[test]
fn answers_about_resource_and_propagators() {
    insta::assert_snapshot!(answers(&[
        (
            "types",
            r#"{"file_format": "1.1", "resource": {"attributes": [{"name": "a", "value": 1}, {"name": "b", "value": "1", "type": "int"}, {"name": "c", "value": 1.5, "type": "int"}, {"name": "d", "value": ["x", 1], "type": "string_array"}, {"name": "e"}, {"value": "f"}, {"name": "", "value": "g"}, {"name": "h", "value": "h", "type": "text"}, "i=i"]}}"#,
        ),
        ("a list", r#"{"file_format": "1.1", "resource": {"attributes_list": "a=1,b,=c,d=%zz"}}"#),
        (
            "substitution",
            r#"{"file_format": "1.1", "resource": {"attributes": [{"name": "service.name", "value": "${SERVICE_NAME}"}]}}"#
        ),
        (
            "detection",
            r#"{"file_format": "1.1", "resource": {"detection/development": {"attributes": {"included": ["a"]}, "detectors": [{"host": {}}, {"k8s": {}}, {"service": 1}]}}}"#,
        ),
        ("a long value", &format!(r#"{{"file_format": "1.1", "resource": {{"attributes": "{}"}}}}"#, "ß".repeat(100))),
        (
            "propagators",
            r#"{"file_format": "1.1", "propagator": {"composite": [{"xray": {}}, {"traceContext": {}}, {"b3": {"x": 1}}, {"b3": {}, "baggage": {}}, {}, "b3"], "composite_list": "b3,ottrace,none"}}"#,
        ),
    ]));
}

#[test]
fn answers_about_the_tracer() {
    let exporter = |text: &str| {
        format!(
            r#"{{"file_format": "1.1", "tracer_provider": {{"processors": [{{"batch": {{"exporter": {text}}}}}]}}}}"#
        )
    };
    let sampler = |text: &str| {
        format!(
            r#"{{"file_format": "1.1", "tracer_provider": {{"sampler": {text}, "processors": [{{"simple": {{"exporter": {{"otlp_grpc": {{}}}}}}}}]}}}}"#
        )
    };
    insta::assert_snapshot!(answers(&[
        (
            "nothing required is there",
            r#"{"file_format": "1.1", "tracer_provider": {"sampler": {}, "limits": {"span_limit": 1}}}"#
        ),
        (
            "numbers",
            r#"{"file_format": "1.1", "tracer_provider": {"processors": [{"batch": {"schedule_delay": "5s", "export_timeout": -1, "max_queue_size": 10, "max_export_batch_size": 512, "exporter": {"otlp_grpc": {"timeout": 0.5}}}}, {"batch": {"scheduled_delay": 1}}, {"batch": {}, "simple": {}}]}}"#,
        ),
        ("parts that a proxy has not", &exporter(r#"{"console": {}}"#)),
        ("files", &exporter(r#"{"otlp_file/development": {"output_stream": "stdout"}}"#)),
        ("TLS", &exporter(r#"{"otlp_grpc": {"tls": {"ca_file": "/etc/ca.pem", "insecure": 1}}}"#)),
        ("exporter of others", &exporter(r#"{"zipkin": {}}"#)),
        ("compression", &exporter(r#"{"otlp_http": {"compression": "deflate", "encoding": "proto"}}"#)),
        ("an endpoint without a scheme", &exporter(r#"{"otlp_http": {"endpoint": "collector:4318"}}"#)),
        ("an endpoint with another scheme", &exporter(r#"{"otlp_grpc": {"endpoint": "unix:///run/otel.sock"}}"#)),
        ("an endpoint with a port that is none", &exporter(r#"{"otlp_grpc": {"endpoint": "http://collector:70000"}}"#)),
        (
            "an endpoint with a password",
            &exporter(r#"{"otlp_grpc": {"endpoint": "http://user:password@collector:4317"}}"#)
        ),
        (
            "headers that must not be shown",
            &exporter(
                r#"{"otlp_grpc": {"headers": [{"name": "authorization", "value": "Bearer \n secret"}, {"name": "te", "value": "secret"}, {"name": "x", "value": 12345}], "headers_list": "api-key:secret,x=${SECRET}"}}"#,
            ),
        ),
        ("a ratio out of range", &sampler(r#"{"parent_based": {"root": {"trace_id_ratio_based": {"ratio": 10}}}}"#)),
        ("an aim", &sampler(r#"{"adaptive": {"floor": 0.5, "ceiling": 1.5}}"#)),
        ("a sampler's name alone", &sampler(r#""always_on""#)),
        (
            "rules",
            &sampler(
                r#"{"composite/development": {"rule_based": {"rules": [{"attribute_values": {"key": "http.response.status_code", "values": [500]}, "parent": ["root"]}, {"attribute_patterns": {"key": "url.path", "included": []}, "sampler": {"always_record": {}}}]}}}"#,
            ),
        ),
        ("no rules", &sampler(r#"{"composite/development": {"rule_based": {"rules": []}}}"#)),
        ("a rate", &sampler(r#"{"rate_limiting": {"spans_per_second": 0, "per_worker": true}}"#)),
        ("a mistyped sampler", &sampler(r#"{"trace_id_ratio": {"ratio": 0.5}}"#)),
        (
            "tracers by name",
            r#"{"file_format": "1.1", "tracer_provider": {"tracer_configurator/development": {"default_config": {}}, "id_generator": {"xray": {}}, "processors": [{"simple": {"exporter": {"otlp_grpc": {}}}}]}}"#
        ),
    ]));
}

#[test]
fn answers_about_instrumentation_and_distribution() {
    insta::assert_snapshot!(answers(&[
        (
            "instrumentation",
            r#"{"file_format": "1.1", "instrumentation/development": {"general": {"http": {"server": {"request_captured_headers": ["x tenant", ":path"], "knownMethods": []}, "semconv": {"version": 3}}, "stability_opt_in_list": "http/dupe,database", "db": 1}, "java": {}, "kotlin": {}}}"#,
        ),
        (
            "distribution",
            r#"{"file_format": "1.1", "distribution": {"meshspan": {"role": "edge", "clusters": {"collector": "x", "a:1": ""}, "routes": ["users", "/users/{id}", "/users/{name}", "/a/*", "/{a"], "baggage_attributes": ["a=b"], "masking": {}, "rolle": "auto"}}}"#,
        ),
        ("a mistyped distribution", r#"{"file_format": "1.1", "distribution": {"mesh_span": {}}}"#),
        ("an empty distribution", r#"{"file_format": "1.1", "distribution": {}}"#),
        (
            "everything at once",
            r#"{"file_format": "2", "disabled": 0, "log_level": "loud", "attribute_limits": {"attribute_count_limit": -1}, "resource": [], "propagator": {"composit": []}, "tracer_provider": {"processors": {}}, "instrumentation/development": {"general": {"http": {"server": {"known_methods": "GET"}}}}, "distribution": {"meshspan": {"role": 1, "inject": "header", "limits": {"max_queue_bytes": 10, "queue": 1}}}}"#,
        ),
    ]));
}

#[test]
fn a_long_list_of_errors_is_cut_and_counted() {
    let keys: Vec<String> = (0..10_000).map(|number| format!("\"x{number}\": 1")).collect();
    let errors =
        Config::from_json(format!("{{\"file_format\": \"1.1\", {}}}", keys.join(", ")).as_bytes()).unwrap_err();
    assert_eq!(errors.total(), 10_000);
    let text = errors.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 52);
    assert_eq!(lines[0], "the configuration has 10000 errors:");
    assert!(lines[1].starts_with("  $.x0: "), "{}", lines[1]);
    assert_eq!(lines[51], "  … and 9950 more");
}

#[test]
fn bytes_that_are_not_utf_8_are_a_syntax_error() {
    let errors = Config::from_json(b"{\"file_format\": \"\xff\"}").unwrap_err();
    assert!(matches!(errors.iter().next().unwrap().problem, Problem::Syntax { line: 1, .. }), "{errors}");
}

/// JSON of any shape, with keys that the configuration has among them.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
        prop::sample::select(vec!["1.1", "http://a:1", "a=%4", "${A}", "$$", "/a/{b}", "[::1]:4", "b3,none"])
            .prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::Array),
            prop::collection::vec((any_key(), inner), 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_key() -> impl Strategy<Value = String> {
    let mut keys = Vec::new();
    collect_keys(&serde_json::from_str(FULL).unwrap(), &mut keys);
    prop_oneof![4 => prop::sample::select(keys), 1 => any::<String>()]
}

fn collect_keys(value: &serde_json::Value, keys: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (key, value) in members {
                keys.push(key.clone());
                collect_keys(value, keys);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_keys(item, keys)),
        _ => {}
    }
}

/// Puts `replacement` where the value number `index`, in document order, stands.
fn replace(value: &mut serde_json::Value, index: &mut usize, replacement: &serde_json::Value) {
    if *index == 0 {
        *value = replacement.clone();
    }
    *index = index.wrapping_sub(1);
    match value {
        serde_json::Value::Object(members) => members.values_mut().for_each(|value| replace(value, index, replacement)),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| replace(item, index, replacement)),
        _ => {}
    }
}

fn check_any(text: &[u8]) -> Result<(), TestCaseError> {
    match Config::from_json(text) {
        Ok(config) => prop_assert_eq!(Config::from_json(text).unwrap(), config),
        Err(errors) => {
            prop_assert!(errors.iter().len() > 0 && errors.iter().len() <= errors.total());
            for error in &errors {
                let line = error.to_string();
                prop_assert!(line.starts_with('$') && !line.contains(char::is_control), "{line:?}");
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        check_any(&bytes)?;
    }

    #[test]
    fn any_json_is_answered(value in any_json()) {
        check_any(value.to_string().as_bytes())?;
    }

    #[test]
    fn a_configuration_with_any_value_in_it_is_answered(index in 0_usize..160, value in any_json()) {
        let mut document: serde_json::Value = serde_json::from_str(FULL).unwrap();
        replace(&mut document, &mut index.clone(), &value);
        check_any(document.to_string().as_bytes())?;
    }

    #[test]
    fn a_configuration_cut_anywhere_is_answered(end in 0..FULL.len()) {
        check_any(&FULL.as_bytes()[..end])?;
    }

    /// Whatever is wrong about headers, no value that was meant for one shows.
    #[test]
    fn nothing_under_headers_is_shown(key in prop::sample::select(vec!["headers", "headers_list"]), shape in 0..8) {
        let secret = "s3cret";
        let value = match shape {
            0 => serde_json::json!(secret),
            1 => serde_json::json!([secret]),
            2 => serde_json::json!({"authorization": secret}),
            3 => serde_json::json!([{"name": "a b", "value": secret}]),
            4 => serde_json::json!([{"name": "a", "value": [secret]}]),
            5 => serde_json::json!([{"name": "a", "value": "s3cret\n"}]),
            6 => serde_json::json!([{"name": secret, "value": "${s3cret}"}]),
            _ => serde_json::json!([{"name": {"x": secret}, "other": secret}]),
        };
        let document = serde_json::json!({"file_format": "1.1", "tracer_provider": {"processors": [
            {"simple": {"exporter": {"otlp_grpc": {key: value}}}}]}});
        let errors = Config::from_json(document.to_string().as_bytes()).unwrap_err().to_string();
        prop_assert!(!errors.contains(secret), "{errors}");
    }
}
