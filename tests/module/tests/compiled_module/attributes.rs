//! What the host knows about a stream reaches the span by whichever way the host offers.

use meshspan_module_tests::{HostOptions, Injected, Injection, Status, Vm, encode_headers};
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::world::{REQUEST, configuration, exchange_and_forget, exported, flush, module, options};

/// The span of one request on such a host, what host calls that took, and how many of them failed.
fn span(options: HostOptions, injection: Option<Injection>) -> (Span, u64, u64) {
    let vm = Vm::start(module(), options).unwrap();
    assert!(vm.configure(&configuration().to_string()).unwrap());
    vm.tick().unwrap();
    // The first stream makes the expressions.
    exchange_and_forget(&vm, REQUEST).unwrap();
    if let Some(injection) = injection {
        vm.inject(injection);
    }
    vm.take_cost();
    exchange_and_forget(&vm, REQUEST).unwrap();
    let calls = vm.take_cost().host_calls.values().sum();
    vm.clear_injections();
    let mut spans = exported(&flush(&vm).unwrap());
    (spans.pop().unwrap(), calls, vm.metric("meshspan_host_calls_failed_total"))
}

#[test]
fn a_span_is_the_same_however_attributes_are_read() {
    let (together, few, failed) = span(options(), None);
    assert_eq!(failed, 0);
    let (alone, many, failed) = span(options().without_expressions(), None);
    assert_eq!(failed, 0, "a host without expressions does nothing wrong");
    assert_eq!(together, alone);
    assert!(few + 10 <= many, "{few} host calls with expressions, {many} without");

    let name = "proxy_call_foreign_function";
    let table = [
        (Injected::Status(Status::INTERNAL_FAILURE), "an expression that cannot be evaluated"),
        (Injected::Data(Vec::new()), "no answer"),
        (Injected::Data(vec![7; 11]), "an answer that is no list"),
        (Injected::Data(encode_headers(&[("x", "")])), "a list that is too short"),
        (Injected::Data(encode_headers(&[("x", ""); 40])), "a list that is too long"),
    ];
    for (injected, why) in table {
        let (span, calls, failed) = span(options(), Some(Injection::every(name, injected)));
        assert_eq!(span, alone, "{why}");
        assert!(calls > few, "{why}");
        assert_eq!(failed, 1, "{why}: counted");
    }
}

#[test]
fn what_the_host_does_not_know_is_absent() {
    let bare = HostOptions::new()
        .stream_property(&["request", "time"], 1_767_225_600_000_000_000_u64.to_le_bytes())
        .stream_property(&["response", "flags"], 0_u64.to_le_bytes())
        .stream_property(&["request", "size"], 0_u64.to_le_bytes())
        .stream_property(&["response", "size"], 0_u64.to_le_bytes());
    let (together, _, failed) = span(bare.clone(), None);
    assert_eq!(failed, 0, "what may be absent is asked for with a guard");
    assert_eq!(together, span(bare.without_expressions(), None).0);
    assert!(together.attributes.iter().all(|attribute| attribute.key != "http.response.status_code"));
}
