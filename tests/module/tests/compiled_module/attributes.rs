//! What the host knows about a stream, and what it does not, reaches the span.

use meshspan_module_tests::{HostOptions, Vm};
use opentelemetry_proto::tonic::common::v1::any_value::Value;

use crate::world::{REQUEST, configuration, configured, exchange_and_forget, exported, flush, module, options};

/// The keys of a span's attributes on such a host, and how many host calls failed.
fn keys(options: HostOptions) -> (Vec<String>, u64) {
    let vm = Vm::start(module(), options).unwrap();
    assert!(vm.configure(&configuration().to_string()).unwrap());
    vm.tick().unwrap();
    exchange_and_forget(&vm, REQUEST).unwrap();
    let span = exported(&flush(&vm).unwrap()).pop().unwrap();
    let keys = span.attributes.into_iter().map(|attribute| attribute.key).collect();
    (keys, vm.metric("meshspan_host_calls_failed_total"))
}

#[test]
fn what_the_host_does_not_know_is_absent_and_no_failure() {
    let told = ["http.response.status_code", "client.address", "network.protocol.version"];
    let (all, failed) = keys(options());
    assert_eq!(failed, 0);
    let (some, failed) = keys(HostOptions::new());
    assert_eq!(failed, 0, "what is not there is no failure");
    for key in told {
        assert!(all.iter().any(|other| other == key), "{key} is not among {all:?}");
        assert!(!some.iter().any(|other| other == key), "{key} is among {some:?}");
    }
}

#[test]
fn a_request_that_is_its_headers_alone_has_no_body_to_ask_about() {
    for (is_whole, size) in [(true, 0), (false, 42)] {
        let vm = configured();
        let stream = vm.stream().unwrap().property(&["request", "size"], 42_u64.to_le_bytes());
        if is_whole { stream.whole_request(REQUEST) } else { stream.request_headers(REQUEST) }.unwrap();
        vm.take_cost();
        stream.finish().unwrap();
        let asked = vm.take_cost().host_calls["proxy_get_property"];
        let span = exported(&flush(&vm).unwrap()).pop().unwrap();
        let found = span.attributes.into_iter().find(|attribute| attribute.key == "http.request.body.size").unwrap();
        assert_eq!(found.value.unwrap().value, Some(Value::IntValue(size)), "whole: {is_whole}");
        assert_eq!(asked, if is_whole { 13 } else { 14 }, "whole: {is_whole}");
    }
}
