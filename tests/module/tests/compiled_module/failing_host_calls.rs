//! Every function that the module calls, failing in every way the ABI has and in some it has not. Traffic goes on.

use meshspan_module_tests::{Action, Injected, Injection, STATUSES, Status, Vm, encode_headers};

use crate::world::{
    Outcome, REQUEST, RESPONSE, SAMPLED, accept, configuration, configured, exchange_and_forget, flush, grpc_response,
    module, options, request_with, works,
};

/// WASI answers errnos: bad descriptor, bad address, invalid, no such function, not supported, and none at all.
const ERRNOS: [Status; 6] = [Status(8), Status(21), Status(28), Status(52), Status(58), Status(9999)];

/// What the module imports, each with the statuses that it can answer.
fn functions() -> Vec<(String, &'static [Status])> {
    let with_statuses = |(from, name): (String, String)| match from.as_str() {
        "env" => (name, &STATUSES[..]),
        _ => (name, &ERRNOS[..]),
    };
    // The one that does not come back has nothing to answer.
    module().imports().into_iter().map(with_statuses).filter(|(name, _)| name != "proc_exit").collect()
}

/// What went wrong, over all of a table's cases, so that one run tells all.
#[derive(Default)]
struct Failures(Vec<String>);

impl Failures {
    fn note(&mut self, what: &str, outcome: Outcome) {
        if let Err(error) = outcome {
            self.0.push(format!("{what}: {error}"));
        }
    }

    fn check(self) {
        let shown = self.0.iter().take(30).map(String::as_str).collect::<Vec<_>>().join("\n");
        assert!(self.0.is_empty(), "{} cases failed:\n{shown}", self.0.len());
    }
}

/// Everything that Envoy calls in a machine's life, but its start. Requests and responses must go on.
fn life(vm: &Vm) -> Outcome {
    vm.configure(&configuration().to_string())?;
    vm.tick()?;
    let context = [("traceparent", SAMPLED), ("tracestate", "a=1"), ("baggage", "k=v")];
    for request in [request_with(&context), REQUEST.to_vec()] {
        let stream = vm.stream()?;
        let actions = [stream.request_headers(&request)?, stream.response_headers(RESPONSE)?];
        if actions != [Action::Continue; 2] {
            return Err(format!("the stream did not go on: {actions:?}").into());
        }
        stream.finish()?;
    }
    vm.stream()?.finish()?;
    let calls = flush(vm)?;
    // One answer that is well, one that is not.
    accept(vm, &calls)?;
    vm.respond(1, grpc_response(14, "try again"))?;
    flush(vm)?;
    Ok(())
}

/// The plugin goes away with something queued.
fn end(vm: &Vm) -> Outcome {
    exchange_and_forget(vm, REQUEST)?;
    vm.root_done()?;
    accept(vm, &vm.take_http_calls())?;
    Ok(vm.root_delete()?)
}

/// A life with something injected, and a usual request once it is not any more.
fn life_with(injection: Injection) -> Outcome {
    let vm = configured();
    vm.inject(injection);
    life(&vm)?;
    vm.clear_injections();
    if !vm.configure(&configuration().to_string())? {
        return Err("the configuration was refused".into());
    }
    works(&vm)
}

#[test]
fn every_function_with_every_status() {
    let mut failures = Failures::default();
    for (function, statuses) in functions() {
        for &status in statuses {
            let what = format!("{function} answers {}", status.0);
            failures.note(&what, life_with(Injection::every(&function, Injected::Status(status))));
        }
    }
    failures.check();
}

#[test]
fn every_function_with_every_status_from_the_start() {
    let mut failures = Failures::default();
    let run = |injection| -> Outcome {
        let vm = Vm::start(module(), options().inject(injection))?;
        life(&vm)?;
        end(&vm)
    };
    for (function, statuses) in functions() {
        for &status in statuses {
            let what = format!("{function} answers {} from the start", status.0);
            failures.note(&what, run(Injection::every(&function, Injected::Status(status))));
        }
    }
    failures.check();
}

#[test]
fn one_call_of_many_fails() {
    let mut failures = Failures::default();
    let run = |injection| -> Outcome {
        let vm = configured();
        vm.inject(injection);
        life(&vm)?;
        end(&vm)
    };
    for (function, statuses) in functions() {
        for nth in [1, 2, 3, 7] {
            let what = format!("call {nth} of {function} fails");
            failures.note(&what, run(Injection::nth(&function, nth, Injected::Status(statuses[1]))));
        }
    }
    failures.check();
}

/// Functions that hand data over, as far as the module imports them.
fn functions_with_data() -> Vec<String> {
    let with_data = [
        "proxy_get_header_map_pairs",
        "proxy_get_header_map_value",
        "proxy_get_buffer_bytes",
        "proxy_get_property",
        "proxy_get_shared_data",
        "proxy_dequeue_shared_queue",
        "proxy_call_foreign_function",
    ];
    module().imports().into_iter().map(|(_, name)| name).filter(|name| with_data.contains(&name.as_str())).collect()
}

#[test]
fn data_that_is_not_what_it_should_be() {
    let answers = [
        ("a null address and no size", Injected::Pointer { address: 0, size: 0 }),
        ("a null address with a size", Injected::Pointer { address: 0, size: 16 }),
        ("one byte", Injected::Data(vec![0xff])),
        ("seven bytes", Injected::Data(vec![0xff; 7])),
        ("nine bytes", Injected::Data(vec![0x80; 9])),
        ("eight bytes, a negative number", Injected::Data(vec![0xff; 8])),
        ("eight bytes, the smallest number", Injected::Data(i64::MIN.to_le_bytes().to_vec())),
        ("eight bytes, the largest number", Injected::Data(i64::MAX.to_le_bytes().to_vec())),
        ("text that is no UTF-8", Injected::Data(b"\xc3\x28\xf0\x9f".to_vec())),
        ("half a megabyte", Injected::Data(vec![b'a'; 512 * 1024])),
    ];
    let mut failures = Failures::default();
    for function in functions_with_data() {
        for (name, answer) in &answers {
            let what = format!("{function} gives {name}");
            failures.note(&what, life_with(Injection::every(&function, answer.clone())));
        }
    }
    failures.check();
}

#[test]
fn header_maps_that_lie() {
    let whole = encode_headers(REQUEST);
    let with = |place: usize, value: u32| {
        let mut bytes = whole.clone();
        bytes[place..place + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let count = u32::try_from(REQUEST.len()).unwrap();
    let mut maps: Vec<(String, Vec<u8>)> = vec![
        ("a count alone".into(), 3_u32.to_le_bytes().to_vec()),
        ("a count of zero with lines behind it".into(), with(0, 0)),
        ("one line more than there is".into(), with(0, count + 1)),
        ("one line fewer than there is".into(), with(0, count - 1)),
        ("a count that asks for 32 GiB".into(), with(0, u32::MAX)),
        ("a count that wraps to nothing when multiplied by 8".into(), with(0, 0x2000_0000)),
        ("a count that wraps to 8".into(), with(0, 0x2000_0001)),
        ("the largest signed count".into(), with(0, 0x7fff_ffff)),
        ("a name one byte longer than it is".into(), with(4, 8)),
        ("a name one byte shorter".into(), with(4, 6)),
        ("a name of 4 GiB".into(), with(4, u32::MAX)),
        ("a value of 4 GiB".into(), with(8, u32::MAX)),
        ("a value of 2 GiB".into(), with(8, 0x8000_0000)),
        ("lengths that wrap when added".into(), {
            let mut bytes = with(4, 0xffff_fff0);
            bytes[8..12].copy_from_slice(&0x20_u32.to_le_bytes());
            bytes
        }),
        ("no NUL between name and value".into(), whole.iter().map(|&byte| byte.max(1)).collect()),
        ("bytes of 0xff".into(), vec![0xff; 64]),
        ("bytes of zero".into(), vec![0; 64]),
        ("bytes behind the end".into(), [&whole[..], &[1, 2, 3]].concat()),
    ];
    for length in (1..whole.len()).step_by(3) {
        maps.push((format!("cut to {length} of {} bytes", whole.len()), whole[..length].to_vec()));
    }
    if !functions_with_data().iter().any(|name| name == "proxy_get_header_map_pairs") {
        return;
    }
    let mut failures = Failures::default();
    for (name, bytes) in maps {
        let injection = Injection::every("proxy_get_header_map_pairs", Injected::Data(bytes));
        failures.note(&format!("a header map with {name}"), life_with(injection));
    }
    failures.check();
}

/// All series of this name added up; labels stand before it.
fn sum(vm: &Vm, name: &str) -> u64 {
    vm.metrics().iter().filter(|metric| metric.name.ends_with(name)).map(|metric| metric.value).sum()
}

#[test]
fn an_end_that_the_host_hinders_is_counted() {
    // No tick, so that there is no waiting for the answer: what was under way is lost.
    let vm = configured();
    exchange_and_forget(&vm, REQUEST).unwrap();
    vm.inject(Injection::every("proxy_set_tick_period_milliseconds", Injected::Status(Status(2))));
    assert!(vm.root_done().unwrap(), "it does not ask for time");
    assert_eq!((sum(&vm, "export_started_total"), sum(&vm, "export_dropped_total")), (1, 1));

    // The host does not hear that the context can go.
    let vm = configured();
    exchange_and_forget(&vm, REQUEST).unwrap();
    vm.inject(Injection::every("proxy_done", Injected::Status(Status(2))));
    assert!(!vm.root_done().unwrap(), "an answer is waited for");
    accept(&vm, &vm.take_http_calls()).unwrap();
    assert_eq!(sum(&vm, "export_exported_total"), 1);
    assert_eq!(vm.metric("meshspan_host_calls_failed_total"), 1);
}
