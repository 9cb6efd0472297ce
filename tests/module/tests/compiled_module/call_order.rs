//! Callbacks in the usual order, in every order that Envoy has, and in some that it should not have.

use std::time::Duration;

use meshspan_module_tests::{Action, HttpResponse};
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::world::{
    REQUEST, RESPONSE, SAMPLED, accept, assert_works, configuration, configured, exchange, exchange_and_forget,
    exported, flush, grpc_response, request_with, start,
};

#[test]
fn the_usual_order() {
    let vm = configured();
    assert!(vm.tick_period() > 0, "batches need a timer");
    exchange(&vm, REQUEST).unwrap().delete().unwrap();
    let calls = flush(&vm).unwrap();
    assert_eq!(exported(&calls).len(), 1);
    accept(&vm, &calls).unwrap();
    assert!(flush(&vm).unwrap().is_empty(), "nothing is sent twice");
}

#[test]
fn the_log_alone() {
    // A local reply, a protocol error, another filter that answered first: no header callback ran.
    let vm = configured();
    let stream = vm.stream().unwrap();
    stream.finish().unwrap();
    let calls = flush(&vm).unwrap();
    assert_eq!(exported(&calls).len(), 1, "the stream is a span all the same");
    accept(&vm, &calls).unwrap();
    assert_works(&vm, "log alone");
}

/// Counts spans of streams that ended without a log.
const LOST: &str = "meshspan_spans_dropped_no_log_total";

#[test]
fn streams_that_end_anywhere() {
    let vm = configured();
    // Deleted at once, done alone, headers and no log, done before log.
    vm.stream().unwrap().delete().unwrap();
    let stream = vm.stream().unwrap();
    stream.done().unwrap();
    stream.delete().unwrap();
    let stream = vm.stream().unwrap();
    assert_eq!(stream.request_headers(REQUEST).unwrap(), Action::Continue);
    stream.done().unwrap();
    stream.delete().unwrap();
    assert!(exported(&flush(&vm).unwrap()).is_empty(), "without a log there is no span");

    let before = vm.metric(LOST);
    let stream = vm.stream().unwrap();
    assert_eq!(stream.request_headers(REQUEST).unwrap(), Action::Continue);
    stream.done().unwrap();
    stream.log().unwrap();
    stream.delete().unwrap();
    let calls = flush(&vm).unwrap();
    assert!(exported(&calls).is_empty(), "what is done has ended: no HTTP stream has its log behind that");
    assert_eq!(vm.metric(LOST), before + 1, "and it is counted as one that ended without a log");
    assert_works(&vm, "streams that end anywhere");
}

#[test]
fn trailers_say_how_a_call_ended() {
    let vm = configured();
    let stream = vm.stream().unwrap();
    let call = request_with(&[("content-type", "application/grpc"), ("te", "trailers")]);
    let call: Vec<_> =
        call.into_iter().map(|(name, value)| (name, if name == ":path" { "/shop.Cart/Get" } else { value })).collect();
    assert_eq!(stream.request_headers(&call).unwrap(), Action::Continue);
    assert_eq!(stream.response_headers(RESPONSE).unwrap(), Action::Continue);
    assert_eq!(stream.response_trailers(&[("grpc-status", "5")]).unwrap(), Action::Continue);
    // As a filter for gRPC-Web does.
    assert_eq!(stream.response_trailers::<&str, &str>(&[]).unwrap(), Action::Continue);
    stream.finish().unwrap();
    // Of a stream that is none of gRPC they mean nothing, and a stream that has not begun or has ended has none.
    for begins in [true, false] {
        let stream = vm.stream().unwrap();
        if begins {
            assert_eq!(stream.request_headers(REQUEST).unwrap(), Action::Continue);
        }
        assert_eq!(stream.response_trailers(&[("grpc-status", "5")]).unwrap(), Action::Continue);
        stream.log().unwrap();
        assert_eq!(stream.response_trailers(&[("grpc-status", "5")]).unwrap(), Action::Continue);
        stream.delete().unwrap();
    }
    let calls = flush(&vm).unwrap();
    let spans = exported(&calls);
    let statuses: Vec<_> = spans.iter().map(|span| text(span, "rpc.response.status_code")).collect();
    assert_eq!(statuses, [Some("NOT_FOUND"), None, None]);
    assert_eq!(spans.first().map(|span| span.name.as_str()), Some("shop.Cart/Get"));
    accept(&vm, &calls).unwrap();
    assert_works(&vm, "trailers");
}

/// A text attribute of a span.
fn text<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    let value = &span.attributes.iter().find(|attribute| attribute.key == key)?.value;
    match value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[test]
fn a_log_twice() {
    let vm = configured();
    let stream = vm.stream().unwrap();
    assert_eq!(stream.request_headers(REQUEST).unwrap(), Action::Continue);
    stream.log().unwrap();
    stream.finish().unwrap();
    let calls = flush(&vm).unwrap();
    assert_eq!(exported(&calls).len(), 1, "one stream is one span, however often it is logged");
    accept(&vm, &calls).unwrap();
    assert_works(&vm, "a log twice");
}

#[test]
fn headers_twice() {
    let vm = configured();
    let stream = vm.stream().unwrap();
    for _ in 0..2 {
        assert_eq!(stream.request_headers(&request_with(&[("traceparent", SAMPLED)])).unwrap(), Action::Continue);
    }
    assert_eq!(stream.upstream_header("traceparent").len(), 1);
    for _ in 0..2 {
        assert_eq!(stream.response_headers(RESPONSE).unwrap(), Action::Continue);
    }
    stream.finish().unwrap();
    let calls = flush(&vm).unwrap();
    assert_eq!(exported(&calls).len(), 1);
    accept(&vm, &calls).unwrap();
    assert_works(&vm, "headers twice");
}

#[test]
fn a_response_without_a_request() {
    let vm = configured();
    let stream = vm.stream().unwrap();
    assert_eq!(stream.response_headers(RESPONSE).unwrap(), Action::Continue);
    stream.finish().unwrap();
    assert_works(&vm, "a response without a request");
}

#[test]
fn streams_that_interleave() {
    let vm = configured();
    let streams: Vec<_> = (0..20).map(|_| vm.stream().unwrap()).collect();
    for stream in &streams {
        assert_eq!(stream.request_headers(REQUEST).unwrap(), Action::Continue);
    }
    let mut upstream: Vec<String> = streams.iter().flat_map(|stream| stream.upstream_header("traceparent")).collect();
    for stream in streams.into_iter().rev() {
        stream.finish().unwrap();
    }
    let calls = flush(&vm).unwrap();
    let mut spans: Vec<String> =
        exported(&calls).iter().map(|span| format!("00-{}-{}-03", hex(&span.trace_id), hex(&span.span_id))).collect();
    upstream.sort();
    spans.sort();
    assert_eq!(spans, upstream, "each stream's span carries the ids that went upstream with it");
}

#[test]
fn callbacks_before_and_without_a_configuration() {
    let vm = start();
    vm.tick().unwrap();
    exchange_and_forget(&vm, REQUEST).unwrap();
    vm.respond(1, grpc_response(0, "")).unwrap();
    assert!(vm.take_http_calls().is_empty());
    assert!(vm.configure(&configuration().to_string()).unwrap());
    assert_works(&vm, "a tick and a stream before the configuration");
}

#[test]
fn a_second_configuration_takes_the_first_ones_place() {
    let vm = configured();
    exchange_and_forget(&vm, REQUEST).unwrap();
    assert!(vm.configure(&configuration().to_string()).unwrap());
    assert_works(&vm, "a second configuration");
}

#[test]
fn answers_that_nobody_waits_for() {
    let vm = configured();
    for token in [0, 1, 77, u32::MAX] {
        vm.respond(token, grpc_response(0, "")).unwrap();
        vm.respond(token, HttpResponse::default()).unwrap();
    }
    exchange_and_forget(&vm, REQUEST).unwrap();
    let calls = flush(&vm).unwrap();
    // The same answer three times.
    for _ in 0..3 {
        accept(&vm, &calls).unwrap();
    }
    assert_works(&vm, "answers that nobody waits for");
}

#[test]
fn contexts_that_do_not_exist() {
    let vm = configured();
    for context in [0, 999, u32::MAX] {
        for (callback, arguments) in [
            ("proxy_on_request_headers", &[context, 3, 0][..]),
            ("proxy_on_response_headers", &[context, 3, 0]),
            ("proxy_on_log", &[context]),
            ("proxy_on_done", &[context]),
            ("proxy_on_delete", &[context]),
            ("proxy_on_tick", &[context]),
            ("proxy_on_http_call_response", &[context, 5, 0, 0, 0]),
        ] {
            vm.call(callback, arguments).unwrap_or_else(|trap| panic!("context {context}: {trap}"));
        }
    }
    assert_works(&vm, "contexts that do not exist");
}

#[test]
fn a_context_created_twice() {
    let vm = configured();
    let stream = vm.stream().unwrap();
    vm.call("proxy_on_context_create", &[stream.context(), 1]).unwrap();
    vm.call("proxy_on_context_create", &[1, 0]).unwrap();
    vm.call("proxy_on_context_create", &[stream.context(), 4242]).unwrap();
    assert_eq!(stream.request_headers(REQUEST).unwrap(), Action::Continue);
    stream.finish().unwrap();
}

#[test]
fn the_end_flushes_what_is_queued() {
    let vm = configured();
    exchange_and_forget(&vm, REQUEST).unwrap();
    let done = vm.root_done().unwrap();
    let calls = vm.take_http_calls();
    assert_eq!(exported(&calls).len(), 1, "the queue is sent when the plugin goes away");
    assert!(!done, "deletion waits for the answer");
    assert_eq!(vm.done_calls(), 0);
    accept(&vm, &calls).unwrap();
    assert_eq!(vm.done_calls(), 1, "and then the module says that it is done");
    vm.root_delete().unwrap();
}

#[test]
fn the_end_with_nothing_queued_is_at_once() {
    let vm = configured();
    assert!(vm.root_done().unwrap());
    vm.root_delete().unwrap();
}

#[test]
fn ten_thousand_streams_leave_nothing() {
    let vm = configured();
    let round = |streams: usize| {
        for number in 0..streams {
            match number % 4 {
                0 => exchange_and_forget(&vm, &request_with(&[("traceparent", SAMPLED)])).unwrap(),
                1 => vm.stream().unwrap().finish().unwrap(),
                2 => vm.stream().unwrap().delete().unwrap(),
                _ => {
                    let stream = vm.stream().unwrap();
                    stream.request_headers(REQUEST).unwrap();
                    stream.delete().unwrap();
                }
            }
            if number % 400 == 399 {
                accept(&vm, &flush(&vm).unwrap()).unwrap();
                vm.take_cost();
            }
        }
    };
    round(2_000);
    let warm = vm.memory_size();
    round(10_000);
    assert_eq!(vm.memory_size(), warm, "memory after ten thousand streams more");
}

#[test]
fn a_collector_that_never_answers_costs_bounded_memory() {
    let vm = configured();
    let round = |streams: usize| {
        for number in 0..streams {
            exchange_and_forget(&vm, REQUEST).unwrap();
            if number % 500 == 499 {
                vm.advance(Duration::from_secs(2));
                vm.tick().unwrap();
                vm.take_http_calls();
                vm.take_cost();
            }
        }
    };
    // The queue (2,048 spans) and the calls in flight are full after these.
    round(8_000);
    let full = vm.memory_size();
    round(6_000);
    assert_eq!(vm.memory_size(), full);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
