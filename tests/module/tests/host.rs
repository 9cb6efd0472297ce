//! The host itself, with small guests written out here: what it offers, counts, refuses and reports.

use std::path::Path;
use std::time::Duration;

use meshspan_module_tests::{
    Action, HostOptions, HttpResponse, Injected, Injection, LogLevel, Module, STATUSES, Status, Vm,
};

/// A guest with memory and an allocator, and `rest`. Results are written from address 0, texts stand from 1024.
fn guest(imports: &str, rest: &str) -> Module {
    let text = format!(
        r#"(module
            {imports}
            (memory (export "memory") 2)
            (global $next (mut i32) (i32.const 65536))
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
                (global.get $next)
                (global.set $next (i32.add (global.get $next) (local.get $size))))
            {rest})"#
    );
    let bytes = wat::parse_str(text).expect("the guest's text is valid");
    Module::compile(Path::new("(guest)"), &bytes).expect("the guest compiles")
}

fn start(imports: &str, rest: &str, options: HostOptions) -> Vm {
    Vm::start(&guest(imports, rest), options).expect("the guest starts")
}

const PAIRS: &str = r#"(import "env" "proxy_get_header_map_pairs"
    (func $pairs (param i32 i32 i32) (result i32)))"#;
const VALUE: &str = r#"(import "env" "proxy_get_header_map_value"
    (func $value (param i32 i32 i32 i32 i32) (result i32)))"#;
const HTTP_CALL: &str = r#"(import "env" "proxy_http_call"
    (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))"#;

#[test]
fn absent_exports_are_skipped() {
    let vm = start("", "", HostOptions::new());
    assert!(vm.configure("{}").unwrap());
    let stream = vm.stream().unwrap();
    assert_eq!(stream.request_headers(&[(":method", "GET")]).unwrap(), Action::Continue);
    assert!(stream.done().unwrap());
    stream.finish().unwrap();
    vm.tick().unwrap();
    assert_eq!(vm.take_cost().callbacks, 0);
}

#[test]
fn header_maps_are_readable_in_their_own_callback_only() {
    // Each callback returns the status of reading the value of `a` in map 0 (requests' headers).
    let read = "(call $value (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 0) (i32.const 4))";
    let vm = start(
        VALUE,
        &format!(
            r#"(data (i32.const 1024) "a")
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {read})
            (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) {read})
            (func (export "log_missing") (param i32) (result i32) {read})
            (func (export "proxy_on_log") (param i32) (drop {read}))"#
        ),
        HostOptions::new(),
    );
    let stream = vm.stream().unwrap();
    assert_eq!(stream.request_headers(&[("a", "1")]).unwrap(), Action::Continue);
    assert_eq!(stream.response_headers(&[("b", "1")]).unwrap(), Action::Unknown(Status::BAD_ARGUMENT.0));
    vm.take_cost();
    stream.log().unwrap();
    let cost = vm.take_cost();
    assert_eq!((cost.memory_requests, cost.host_calls["proxy_get_header_map_value"]), (1, 1));
    assert_eq!(vm.call("log_missing", &[stream.context()]).unwrap(), Some(Status::BAD_ARGUMENT.0));
}

#[test]
fn pairs_that_are_not_readable_are_empty_and_no_failure() {
    let vm = start(
        PAIRS,
        r#"(func (export "read") (param i32) (result i32)
            (i32.store (i32.const 0) (i32.const 77))
            (if (call $pairs (i32.const 0) (i32.const 0) (i32.const 4)) (then (return (i32.const 1000))))
            (i32.add (i32.load (i32.const 0)) (i32.load (i32.const 4))))"#,
        HostOptions::new(),
    );
    let stream = vm.stream().unwrap();
    assert_eq!(vm.call("read", &[stream.context()]).unwrap(), Some(0));
}

#[test]
fn costs_are_counted_by_callback() {
    let vm = start(
        PAIRS,
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $pairs (i32.const 0) (i32.const 0) (i32.const 4)))"#,
        HostOptions::new(),
    );
    let stream = vm.stream().unwrap();
    stream.request_headers(&[("a", "1")]).unwrap();
    let callbacks = vm.callbacks();
    assert_eq!(callbacks.len(), 1);
    let cost = &callbacks[0].cost;
    // The map: 4 for the count, 8 for the lengths, 4 for the line; then two words of 4.
    assert_eq!((cost.bytes_in, cost.bytes_out, cost.memory_requests), (16 + 8, 0, 1));
    assert!(cost.fuel > 4 && cost.fuel < 100, "{}", cost.fuel);
    assert_eq!(vm.take_cost(), *cost);
    assert_eq!(vm.take_cost().callbacks, 0);
}

/// The allocator, as languages have it: the system's part that grows the memory, under what divides it, under ways in.
const ALLOCATOR: &str = r#"
    (func $more (param i32) (result i32) (memory.grow (i32.const 1)))
    (func $divide (param $size i32) (result i32)
        (if (result i32) (i32.gt_u (local.get $size) (i32.const 1000))
            (then (call $more (local.get $size))) (else (i32.const 64))))
    (func (export "plain") (param i32) (result i32) (call $divide (local.get 0)))
    (func (export "zeroed") (param i32) (result i32) (call $divide (i32.mul (local.get 0) (i32.const 2))))"#;

#[test]
fn a_copy_of_a_module_counts_what_its_allocator_gives_out() {
    let compile = |functions: &str| {
        let text = format!(r#"(module (memory (export "memory") 1) {functions})"#);
        Module::compile_counting(Path::new("(guest)"), &wat::parse_str(text).expect("the guest's text is valid"))
    };
    let vm = Vm::start(&compile(ALLOCATOR).unwrap(), HostOptions::new()).unwrap();
    for (export, size, expected) in [("plain", 10, (1, 10)), ("zeroed", 10, (1, 20)), ("plain", 2000, (1, 2000))] {
        vm.take_cost();
        vm.call(export, &[size]).unwrap();
        let cost = vm.take_cost();
        assert_eq!((cost.allocations, cost.allocated_bytes), expected, "{export}({size})");
    }
    let refused = [
        ("", "none grows"),
        ("(func (param i32) (drop (memory.grow (i32.const 1)))) (func (drop (memory.grow (i32.const 1))))", "two grow"),
        ("(func (drop (memory.grow (i32.const 1))))", "it takes no size"),
    ];
    for (functions, why) in refused {
        assert!(compile(functions).is_err(), "{why}");
    }
}

#[test]
fn an_injected_status_is_what_the_guest_sees() {
    let module =
        guest(PAIRS, r#"(func (export "read") (result i32) (call $pairs (i32.const 0) (i32.const 0) (i32.const 4)))"#);
    for status in STATUSES {
        let vm = Vm::start(&module, HostOptions::new()).unwrap();
        vm.inject(Injection::nth("proxy_get_header_map_pairs", 2, Injected::Status(status)));
        let answers = [0; 3].map(|_| vm.call("read", &[]).unwrap());
        assert_eq!(answers, [Some(0), Some(status.0), Some(0)]);
        vm.inject(Injection::every("proxy_get_header_map_pairs", Injected::Status(status)));
        assert_eq!(vm.call("read", &[]).unwrap(), Some(status.0));
        vm.clear_injections();
        assert_eq!(vm.call("read", &[]).unwrap(), Some(0));
    }
}

#[test]
fn injected_data_and_pointers_reach_the_guest() {
    let vm = start(
        PAIRS,
        r#"(func (export "size") (result i32)
            (drop (call $pairs (i32.const 0) (i32.const 0) (i32.const 4)))
            (i32.load (i32.const 4)))
        (func (export "first") (result i32) (i32.load8_u (i32.load (i32.const 0))))"#,
        HostOptions::new(),
    );
    vm.inject(Injection::nth("proxy_get_header_map_pairs", 1, Injected::Data(vec![9, 8, 7])));
    vm.inject(Injection::nth("proxy_get_header_map_pairs", 2, Injected::Pointer { address: 1, size: 5 }));
    assert_eq!(vm.call("size", &[]).unwrap(), Some(3));
    assert_eq!(vm.call("first", &[]).unwrap(), Some(9));
    assert_eq!(vm.call("size", &[]).unwrap(), Some(5));
}

#[test]
fn a_trap_names_the_callback_and_the_machine_stays_down() {
    let vm = start(
        "",
        r#"(func $broken_part unreachable) (func (export "proxy_on_tick") (param i32) (call $broken_part))"#,
        HostOptions::new(),
    );
    let trap = vm.tick().unwrap_err();
    assert_eq!(trap.callback, "proxy_on_tick");
    assert!(trap.message.contains("unreachable"), "{trap}");
    assert!(trap.backtrace[0].contains("broken_part"), "{trap}");
    assert!(vm.tick().unwrap_err().message.contains("before"));
}

#[test]
fn an_endless_callback_is_a_trap() {
    let vm = start("", r#"(func (export "proxy_on_tick") (param i32) (loop (br 0)))"#, HostOptions::new());
    assert!(vm.tick().unwrap_err().message.contains("fuel"));
}

#[test]
fn an_import_that_envoy_has_not_traps_when_called_and_names_itself() {
    let vm = start(
        r#"(import "env" "proxy_teleport" (func $teleport))"#,
        r#"(func (export "proxy_on_tick") (param i32) (call $teleport))"#,
        HostOptions::new(),
    );
    assert!(vm.tick().unwrap_err().message.contains("env.proxy_teleport"));
}

#[test]
fn an_import_of_another_type_is_refused() {
    let bytes = wat::parse_str(r#"(module (import "env" "proxy_log" (func (param i64))))"#).unwrap();
    assert!(Module::compile(Path::new("(guest)"), &bytes).is_err());
}

#[test]
fn addresses_outside_memory_are_a_status_not_a_crash() {
    let vm = start(
        r#"(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#,
        r#"(func (export "log") (param i32 i32) (result i32)
            (call $log (i32.const 2) (local.get 0) (local.get 1)))"#,
        HostOptions::new(),
    );
    for (address, size) in [(131_072, 1), (0, 131_073), (u32::MAX, u32::MAX), (131_071, 2)] {
        assert_eq!(vm.call("log", &[address, size]).unwrap(), Some(Status::INVALID_MEMORY_ACCESS.0));
    }
    assert!(vm.logs().is_empty());
}

#[test]
fn the_clock_stands_until_it_is_moved_and_randomness_repeats() {
    let imports = r#"(import "env" "proxy_get_current_time_nanoseconds" (func $now (param i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))"#;
    let rest = r#"(func (export "seconds") (result i32)
            (drop (call $now (i32.const 0)))
            (i32.wrap_i64 (i64.div_u (i64.load (i32.const 0)) (i64.const 1000000000))))
        (func (export "random") (result i32)
            (drop (call $random (i32.const 0) (i32.const 4)))
            (i32.load (i32.const 0)))"#;
    let module = guest(imports, rest);
    let draw = |seed| {
        let vm = Vm::start(&module, HostOptions::new().seed(seed).now(5_000_000_000)).unwrap();
        assert_eq!(vm.call("seconds", &[]).unwrap(), Some(5));
        vm.advance(Duration::from_secs(2));
        assert_eq!(vm.call("seconds", &[]).unwrap(), Some(7));
        [0; 4].map(|_| vm.call("random", &[]).unwrap())
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    let drawn = draw(1);
    assert_ne!(drawn[0], drawn[1]);
}

#[test]
fn calls_go_to_known_clusters_and_are_answered_once() {
    // The header map at 1100 has the lines that a call needs; `send` names the cluster at 1024 with a given size.
    let lines = meshspan_module_tests::encode_headers(&[(":method", "POST"), (":path", "/"), (":authority", "a")]);
    let escaped: String = lines.iter().fold(String::new(), |text, byte| format!("{text}\\{byte:02x}"));
    let vm = start(
        HTTP_CALL,
        &format!(
            r#"(data (i32.const 1024) "collector") (data (i32.const 1100) "{escaped}")
            (func (export "send") (param $context i32) (param $size i32) (param $headers i32) (result i32)
                (call $call (i32.const 1024) (local.get $size) (i32.const 1100) (local.get $headers)
                    (i32.const 1024) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 500) (i32.const 0)))
            (func (export "token") (result i32) (i32.load (i32.const 0)))
            (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
                (i32.store (i32.const 0) (i32.add (local.get 1) (local.get 3))))"#
        ),
        HostOptions::new().clusters(&["collector"]),
    );
    let headers = u32::try_from(lines.len()).unwrap();
    assert_eq!(vm.call("send", &[1, 9, headers]).unwrap(), Some(0));
    assert_eq!(vm.call("send", &[1, 4, headers]).unwrap(), Some(Status::BAD_ARGUMENT.0), "no cluster `coll`");
    assert_eq!(vm.call("send", &[1, 9, 0]).unwrap(), Some(Status::BAD_ARGUMENT.0), "no :path");
    let calls = vm.take_http_calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (calls[0].cluster.as_str(), calls[0].timeout, calls[0].body.as_slice()),
        ("collector", 500, &b"coll"[..])
    );
    assert_eq!(vm.call("token", &[]).unwrap(), Some(calls[0].token));
    let response = HttpResponse { body: vec![0; 40], ..HttpResponse::default() };
    vm.respond(calls[0].token, response).unwrap();
    assert_eq!(vm.call("token", &[]).unwrap(), Some(calls[0].token + 40));
}

#[test]
fn a_stream_that_is_deleted_takes_its_calls_along() {
    let lines = meshspan_module_tests::encode_headers(&[(":method", "POST"), (":path", "/"), (":authority", "a")]);
    let escaped: String = lines.iter().fold(String::new(), |text, byte| format!("{text}\\{byte:02x}"));
    let vm = start(
        HTTP_CALL,
        &format!(
            r#"(data (i32.const 1024) "collector") (data (i32.const 1100) "{escaped}")
            (func (export "send") (param $context i32) (result i32)
                (call $call (i32.const 1024) (i32.const 9) (i32.const 1100) (i32.const {})
                    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))"#,
            lines.len()
        ),
        HostOptions::new(),
    );
    let stream = vm.stream().unwrap();
    assert_eq!(vm.call("send", &[stream.context()]).unwrap(), Some(0));
    stream.finish().unwrap();
    assert!(vm.take_http_calls().is_empty());
}

#[test]
fn standard_error_is_logged_and_exit_is_a_trap() {
    let vm = start(
        r#"(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#,
        r#"(data (i32.const 1024) "\10\04\00\00\04\00\00\00") (data (i32.const 1040) "oops")
        (func (export "proxy_on_tick") (param i32)
            (drop (call $write (i32.const 2) (i32.const 1024) (i32.const 1) (i32.const 0)))
            (call $exit (i32.const 3)))"#,
        HostOptions::new(),
    );
    let trap = vm.tick().unwrap_err();
    assert!(trap.message.contains("proc_exit(3)"), "{trap}");
    assert_eq!((trap.logs[0].level, trap.logs[0].text.as_str()), (LogLevel::Error, "oops"));
    assert!(trap.to_string().contains("oops"));
}

#[test]
fn properties_belong_to_streams_or_to_all() {
    let vm = start(
        r#"(import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))"#,
        r#"(data (i32.const 1024) "a\00b") (data (i32.const 1030) "c")
        (func (export "stream") (param i32) (result i32)
            (call $get (i32.const 1024) (i32.const 3) (i32.const 0) (i32.const 4)))
        (func (export "global") (param i32) (result i32)
            (call $get (i32.const 1030) (i32.const 1) (i32.const 0) (i32.const 4)))"#,
        HostOptions::new().stream_property(&["a", "b"], "x").property(&["c"], "y"),
    );
    let stream = vm.stream().unwrap();
    assert_eq!(vm.call("stream", &[stream.context()]).unwrap(), Some(0));
    assert_eq!(vm.call("stream", &[1]).unwrap(), Some(Status::NOT_FOUND.0));
    assert_eq!(vm.call("global", &[1]).unwrap(), Some(0));
    assert_eq!(vm.call("global", &[stream.context()]).unwrap(), Some(0));
}

#[test]
fn metrics_follow_their_type() {
    let vm = start(
        r#"(import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_increment_metric" (func $add (param i32 i64) (result i32)))"#,
        r#"(data (i32.const 1024) "spans")
        (func (export "define") (result i32)
            (drop (call $define (i32.const 0) (i32.const 1024) (i32.const 5) (i32.const 0)))
            (i32.load (i32.const 0)))
        (func (export "add") (param i32 i32) (result i32)
            (call $add (local.get 0) (i64.extend_i32_s (local.get 1))))"#,
        HostOptions::new(),
    );
    let id = vm.call("define", &[]).unwrap().unwrap();
    assert_eq!(vm.call("define", &[]).unwrap(), Some(id), "the same name is the same metric");
    assert_eq!(vm.call("add", &[id, 3]).unwrap(), Some(0));
    assert_eq!(vm.call("add", &[id, 0]).unwrap(), Some(Status::BAD_ARGUMENT.0), "a counter by nothing");
    assert_eq!(vm.call("add", &[id + 1, 1]).unwrap(), Some(Status::NOT_FOUND.0));
    assert_eq!(vm.metric("spans"), 3);
}
