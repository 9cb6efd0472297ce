//! Configurations that the module refuses: it says why in the log, and Envoy keeps the listener that it had.

use meshspan_module_tests::{LogLevel, Vm};

use crate::world::{assert_works, configuration, start};

/// Configures and gives what was logged at error, or `None` if the configuration was taken.
fn refused(vm: &Vm, configuration: &[u8]) -> Option<String> {
    vm.take_logs();
    let shown = String::from_utf8_lossy(configuration.get(..60).unwrap_or(configuration));
    let taken = vm.configure_bytes(configuration).unwrap_or_else(|trap| panic!("{shown} ...: {trap}"));
    let errors: Vec<String> =
        vm.take_logs().into_iter().filter(|log| log.level >= LogLevel::Error).map(|log| log.text).collect();
    (!taken).then(|| errors.join("\n"))
}

#[test]
fn a_good_one_is_taken_without_an_error() {
    let vm = start();
    assert!(vm.configure(&configuration().to_string()).unwrap());
    let errors: Vec<_> = vm.logs().into_iter().filter(|log| log.level >= LogLevel::Warn).collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn what_is_wrong_is_named() {
    let valid = configuration().to_string();
    for (reason, json, named) in [
        ("no JSON", "not json".to_owned(), &["JSON"][..]),
        ("cut off", valid[..valid.len() - 1].to_owned(), &["JSON"]),
        ("not an object", "[]".to_owned(), &[]),
        ("no file_format", "{}".to_owned(), &["file_format"]),
        ("another version", r#"{"file_format": "7.0"}"#.to_owned(), &["file_format", "7.0"]),
        ("an unknown key", r#"{"file_format": "1.1", "resorce": {}}"#.to_owned(), &["resorce", "resource"]),
        ("a wrong type", r#"{"file_format": "1.1", "resource": 5}"#.to_owned(), &["resource", "5"]),
        (
            "two errors, both told",
            r#"{"file_format": "1.1", "resorce": {}, "disabled": "maybe"}"#.to_owned(),
            &["resorce", "disabled", "maybe"],
        ),
        (
            "an exporter that a proxy cannot have",
            r#"{"file_format": "1.1", "tracer_provider": {"processors": [{"simple": {"exporter": {"console": {}}}}]}}"#
                .to_owned(),
            &["console"],
        ),
        ("a part that is not built", r#"{"file_format": "1.1", "meter_provider": {}}"#.to_owned(), &["meter_provider"]),
    ] {
        let errors = refused(&start(), json.as_bytes()).unwrap_or_else(|| panic!("{reason}: it was taken"));
        assert!(!errors.is_empty(), "{reason}: nothing was logged");
        for name in named {
            assert!(errors.contains(name), "{reason}: {name:?} is not in {errors:?}");
        }
    }
}

#[test]
fn hostile_ones_are_refused_without_a_trap() {
    let deep_array = "[".repeat(100_000);
    let deep_object = r#"{"a":"#.repeat(100_000);
    let deep_sampler = format!(
        r#"{{"file_format": "1.1", "tracer_provider": {{"processors": [], "sampler": {}{}{}}}}}"#,
        r#"{"parent_based": {"root": "#.repeat(60),
        r#"{"always_on": {}}"#,
        "}}".repeat(60)
    );
    let long_key = format!(r#"{{"file_format": "1.1", "{}": 1}}"#, "k".repeat(200_000));
    let many_errors = format!(
        r#"{{"file_format": "1.1", {}}}"#,
        (0..1_000).map(|number| format!(r#""unknown{number}": 0"#)).collect::<Vec<_>>().join(", ")
    );
    for (reason, bytes) in [
        ("nothing", &b""[..]),
        ("a NUL", b"\0"),
        ("no UTF-8", b"{\"file_format\": \"\xff\xfe\"}"),
        ("a lone surrogate", br#"{"file_format": "\ud800"}"#),
        ("arrays without an end", deep_array.as_bytes()),
        ("objects without an end", deep_object.as_bytes()),
        ("samplers in samplers", deep_sampler.as_bytes()),
        ("a key of 200,000 letters", long_key.as_bytes()),
        ("a thousand errors", many_errors.as_bytes()),
        ("a number beyond all numbers", br#"{"file_format": 1e999999}"#),
        ("the same key twice", br#"{"file_format": "1.1", "file_format": 3}"#),
    ] {
        let errors = refused(&start(), bytes).unwrap_or_else(|| panic!("{reason}: it was taken"));
        assert!(!errors.is_empty(), "{reason}: nothing was logged");
    }
}

#[test]
fn a_good_one_after_a_bad_one_works() {
    let vm = start();
    assert!(refused(&vm, b"{}").is_some());
    assert!(refused(&vm, configuration().to_string().as_bytes()).is_none());
    assert_works(&vm, "a good configuration after a bad one");
}
