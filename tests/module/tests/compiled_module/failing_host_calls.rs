//! Every function that the module calls, failing in every way the ABI has and in some it has not. Traffic goes on.

use meshspan_module_tests::{
    Action, Injected, Injection, STATUSES, Status, Trap, Vm, encode_headers,
};

use crate::world::{
    REQUEST, RESPONSE, SAMPLED, accept, assert_works, configuration, exchange_and_forget, flush,
    grpc_response, module, options, request_with, start,
};

/// WASI answers errnos: bad descriptor, bad address, invalid, no such function, not supported, and none at all.
const ERRNOS: [Status; 6] = [
    Status(8),
    Status(21),
    Status(28),
    Status(52),
    Status(58),
    Status(9999),
];

/// What the module imports, each with the statuses that it can answer.
fn functions() -> Vec<(String, &'static [Status])> {
    let with_statuses = |(from, name): (String, String)| match from.as_str() {
        "env" => (name, &STATUSES[..]),
        _ => (name, &ERRNOS[..]),
    };
    // The one that does not come back has nothing to answer.
    module()
        .imports()
        .into_iter()
        .map(with_statuses)
        .filter(|(name, _)| name != "proc_exit")
        .collect()
}

/// Everything that Envoy calls in a machine's life, but its start. Requests and responses must go on.
fn life(vm: &Vm) -> Result<(), Trap> {
    vm.configure(&configuration().to_string())?;
    vm.tick()?;
    for request in [
        request_with(&[
            ("traceparent", SAMPLED),
            ("tracestate", "a=1"),
            ("baggage", "k=v"),
        ]),
        REQUEST.to_vec(),
    ] {
        let stream = vm.stream()?;
        assert_eq!(stream.request_headers(&request)?, Action::Continue);
        assert_eq!(stream.response_headers(RESPONSE)?, Action::Continue);
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
fn end(vm: &Vm) -> Result<(), Trap> {
    exchange_and_forget(vm, REQUEST)?;
    vm.root_done()?;
    accept(vm, &vm.take_http_calls())?;
    vm.root_delete()
}

#[test]
fn every_function_with_every_status() {
    for (function, statuses) in functions() {
        for &status in statuses {
            let vm = start();
            assert!(vm.configure(&configuration().to_string()).unwrap());
            vm.inject(Injection::every(&function, Injected::Status(status)));
            let what = format!("{function} answers {}", status.0);
            life(&vm).unwrap_or_else(|trap| panic!("{what}: {trap}"));
            vm.clear_injections();
            assert!(
                vm.configure(&configuration().to_string())
                    .unwrap_or_else(|trap| panic!("{what}: {trap}")),
                "{what}"
            );
            assert_works(&vm, &what);
        }
    }
}

#[test]
fn every_function_with_every_status_from_the_start() {
    for (function, statuses) in functions() {
        for &status in statuses {
            let what = format!("{function} answers {} from the start", status.0);
            let options = options().inject(Injection::every(&function, Injected::Status(status)));
            let vm = Vm::start(module(), options).unwrap_or_else(|trap| panic!("{what}: {trap}"));
            life(&vm)
                .and_then(|()| end(&vm))
                .unwrap_or_else(|trap| panic!("{what}: {trap}"));
        }
    }
}

#[test]
fn one_call_of_many_fails() {
    for (function, statuses) in functions() {
        for nth in [1, 2, 3, 7] {
            let vm = start();
            assert!(vm.configure(&configuration().to_string()).unwrap());
            vm.inject(Injection::nth(
                &function,
                nth,
                Injected::Status(statuses[1]),
            ));
            let what = format!("call {nth} of {function} fails");
            life(&vm)
                .and_then(|()| end(&vm))
                .unwrap_or_else(|trap| panic!("{what}: {trap}"));
        }
    }
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
    module()
        .imports()
        .into_iter()
        .map(|(_, name)| name)
        .filter(|name| with_data.contains(&name.as_str()))
        .collect()
}

#[test]
fn data_that_is_not_what_it_should_be() {
    let answers = [
        (
            "a null address and no size",
            Injected::Pointer {
                address: 0,
                size: 0,
            },
        ),
        (
            "a null address with a size",
            Injected::Pointer {
                address: 0,
                size: 16,
            },
        ),
        ("one byte", Injected::Data(vec![0xff])),
        ("seven bytes", Injected::Data(vec![0xff; 7])),
        ("nine bytes", Injected::Data(vec![0x80; 9])),
        (
            "eight bytes, a negative number",
            Injected::Data(vec![0xff; 8]),
        ),
        (
            "eight bytes, the smallest number",
            Injected::Data(i64::MIN.to_le_bytes().to_vec()),
        ),
        (
            "eight bytes, the largest number",
            Injected::Data(i64::MAX.to_le_bytes().to_vec()),
        ),
        (
            "text that is no UTF-8",
            Injected::Data(b"\xc3\x28\xf0\x9f".to_vec()),
        ),
        ("half a megabyte", Injected::Data(vec![b'a'; 512 * 1024])),
    ];
    for function in functions_with_data() {
        for (name, answer) in &answers {
            let vm = start();
            assert!(vm.configure(&configuration().to_string()).unwrap());
            vm.inject(Injection::every(&function, answer.clone()));
            let what = format!("{function} gives {name}");
            life(&vm).unwrap_or_else(|trap| panic!("{what}: {trap}"));
            vm.clear_injections();
            assert!(
                vm.configure(&configuration().to_string())
                    .unwrap_or_else(|trap| panic!("{what}: {trap}")),
                "{what}"
            );
            assert_works(&vm, &what);
        }
    }
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
        (
            "a count that wraps to nothing when multiplied by 8".into(),
            with(0, 0x2000_0000),
        ),
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
        (
            "no NUL between name and value".into(),
            whole.iter().map(|&byte| byte.max(1)).collect(),
        ),
        ("bytes of 0xff".into(), vec![0xff; 64]),
        ("bytes of zero".into(), vec![0; 64]),
        (
            "bytes behind the end".into(),
            [&whole[..], &[1, 2, 3]].concat(),
        ),
    ];
    for length in (1..whole.len()).step_by(3) {
        maps.push((
            format!("cut to {length} of {} bytes", whole.len()),
            whole[..length].to_vec(),
        ));
    }
    if !functions_with_data()
        .iter()
        .any(|name| name == "proxy_get_header_map_pairs")
    {
        return;
    }
    for (name, bytes) in maps {
        let vm = start();
        assert!(vm.configure(&configuration().to_string()).unwrap());
        vm.inject(Injection::every(
            "proxy_get_header_map_pairs",
            Injected::Data(bytes),
        ));
        life(&vm).unwrap_or_else(|trap| panic!("a header map with {name}: {trap}"));
        vm.clear_injections();
        assert_works(&vm, &name);
    }
}
