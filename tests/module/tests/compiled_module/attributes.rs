//! What the host knows about a stream, and what it does not, reaches the span.

use meshspan_module_tests::{HostOptions, Vm};

use crate::world::{REQUEST, configuration, exchange_and_forget, exported, flush, module, options};

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
