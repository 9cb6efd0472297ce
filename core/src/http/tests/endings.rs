//! How a stream ended: status, `error.type` and times.

use serde_json::{Value as Json, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::harness::*;
use crate::http::{RequestHead, ResponseFlags, StreamEnd, TrafficDirection};

/// Response flags, their short names, and what they have for an `error.type`.
const FLAGS: &[(u64, &[&str], Option<&str>)] = &[
    (0, &[], None),
    (1 << 5, &["UF"], Some("UpstreamConnectionFailure")),
    (1 << 6, &["UC"], Some("UpstreamConnectionTermination")),
    (1 << 14, &["DC"], Some("DownstreamConnectionTermination")),
    (1 << 8, &["NR"], Some("NoRouteFound")),
    (1 << 20, &["RFCF"], None),
    (1 << 20 | 1 << 14, &["DC", "RFCF"], Some("DownstreamConnectionTermination")),
    (1 << 60, &[], None),
];

/// What an `error.type` is made of.
#[derive(Clone, Copy)]
enum Error {
    /// There is none.
    Never,
    /// The code, whatever the flags.
    Code(&'static str),
    /// The flag, where there is one that is a failure.
    Flag,
    /// The flag, or `_OTHER`.
    FlagOrOther,
}

#[test]
fn status_and_error_type_by_code_flags_and_kind() {
    use Error::{Code, Flag, FlagOrOther, Never};
    let websocket = with(&get(), &[("upgrade", Some("websocket")), ("connection", Some("upgrade"))]);
    let connect = with(&request("CONNECT", ""), &[(":path", None)]);
    // the request, the response's code; a server span's error, a client span's error
    let table: &[(&Lines<'_>, Option<u64>, Error, Error, &str)] = &[
        (&get(), None, FlagOrOther, FlagOrOther, "no response"),
        (&get(), Some(200), Flag, Flag, "a success that may have broken off"),
        (&get(), Some(204), Flag, Flag, "a success"),
        (&get(), Some(304), Flag, Flag, "a redirection is no error"),
        (&get(), Some(399), Flag, Flag, "the last code that is no error"),
        (&get(), Some(400), Never, Code("400"), "a client's error is none of a server's"),
        (&get(), Some(404), Never, Code("404"), "a client's error is none of a server's"),
        (&get(), Some(499), Never, Code("499"), "the last of the client's errors"),
        (&get(), Some(500), Code("500"), Code("500"), "the code goes before the flags"),
        (&get(), Some(503), Code("503"), Code("503"), "the code goes before the flags"),
        (&get(), Some(599), Code("599"), Code("599"), "the code goes before the flags"),
        (&websocket, Some(101), Never, Never, "a tunnel ends when one side closes it"),
        (&websocket, Some(403), Never, Code("403"), "an upgrade that was refused"),
        (&websocket, None, FlagOrOther, FlagOrOther, "an upgrade that was not answered"),
        (&connect, Some(200), Never, Never, "a tunnel ends when one side closes it"),
        (&connect, Some(503), Code("503"), Code("503"), "a tunnel that never was"),
        (&connect, None, FlagOrOther, FlagOrOther, "a tunnel that never was"),
    ];
    for (lines, code, server, client, why) in table {
        for (flags, names, failure) in FLAGS {
            let end = StreamEnd { response_flags: ResponseFlags(*flags), ..ended(*code) };
            let traced = trace(&Setup::new("gateway"), lines, &end);
            for (kind, error) in [(SERVER, server), (CLIENT, client)] {
                let expected = match error {
                    Never => None,
                    Code(code) => Some(*code),
                    Flag => *failure,
                    FlagOrOther => failure.or(Some("_OTHER")),
                };
                let span = traced.of_kind(kind);
                let why = format!("{code:?}, {names:?}, kind {kind}: {why}");
                let read = attributes(span);
                assert_eq!(read["error.type"], json!(expected), "{why}");
                assert_eq!(read["http.response.status_code"], json!(code), "{why}");
                let status = span.status.as_ref().map(|status| (status.code, status.message.as_str()));
                assert_eq!(status, expected.map(|_| (2, "")), "ERROR exactly with an error.type: {why}");
            }
        }
    }
}

#[test]
fn response_flags_have_their_short_names() {
    for (flags, names, _) in FLAGS {
        let end = StreamEnd { response_flags: ResponseFlags(*flags), ..ended(200) };
        let read = attributes(trace(&Setup::new("server"), &get(), &end).span());
        match read.get("envoy.response_flags") {
            None => assert!(names.is_empty(), "{names:?}"),
            // For a bit of a newer Envoy alone, which has no name, an empty list says as little as none.
            Some(Json::Array(read)) => assert_eq!(*read, *names),
            Some(other) => panic!("{other}"),
        }
    }
}

struct Times {
    start: Option<u64>,
    duration: Option<u64>,
    now: u64,
    /// When a gateway saw the head.
    seen: Option<u64>,
    server: (u64, u64),
    client: (u64, u64),
}

fn check_times(times: &Times, why: &str) {
    let mut plugin = Setup::new("gateway").plugin();
    let lines = get();
    let head = RequestHead::collect(lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())), false);
    let (exchange, _) = plugin.handle_request_headers(&head, TrafficDirection::Inbound, times.seen).unwrap();
    let end = StreamEnd { now: times.now, start: times.start, duration: times.duration, ..ended(200) };
    plugin.handle_end(exchange, &end);
    plugin.flush();
    let spans = spans_of(&plugin.poll(0).unwrap().1.body);
    let read: Vec<_> = spans.iter().map(|span| (span.start_time_unix_nano, span.end_time_unix_nano)).collect();
    assert_eq!(read, [times.server, times.client], "{why}");
}

#[test]
fn times_are_the_streams_own() {
    let usual = Times {
        start: Some(100),
        duration: Some(50),
        now: 170,
        seen: Some(110),
        server: (100, 150),
        client: (110, 150),
    };
    let table = [
        (Times { ..usual }, "the stream's; a gateway's client begins when the head was seen"),
        (Times { seen: None, client: (100, 150), ..usual }, "the head was not seen: with the stream"),
        (Times { seen: Some(90), client: (100, 150), ..usual }, "a clock that stepped: not before the stream"),
        (Times { seen: Some(160), client: (160, 160), ..usual }, "a clock that stepped: no end before the start"),
        (Times { duration: None, server: (100, 170), client: (110, 170), ..usual }, "no duration: until now"),
        (
            Times { start: None, server: (110, 170), client: (110, 170), ..usual },
            "no start: when the head was seen, until now",
        ),
        (
            Times { start: None, seen: None, server: (170, 170), client: (170, 170), ..usual },
            "nothing known: now, and no length",
        ),
        (
            Times { duration: None, now: 40, server: (100, 100), client: (110, 110), ..usual },
            "now is before the start: no end before it",
        ),
        (Times { duration: Some(0), server: (100, 100), client: (110, 110), ..usual }, "no length"),
        (
            Times { duration: Some(u64::MAX), server: (100, u64::MAX), client: (110, u64::MAX), ..usual },
            "a length beyond the end of time",
        ),
    ];
    for (times, why) in &table {
        check_times(times, why);
    }
}

#[test]
fn single_spans_begin_with_the_stream() {
    for role in ["server", "client"] {
        let span = trace(&Setup::new(role), &get(), &ended(200)).span().clone();
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (START, START + 10 * MS), "{role}");
    }
}
