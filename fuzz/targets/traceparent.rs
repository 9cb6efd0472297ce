//! `traceparent`: accepted exactly when a plain reading of the specification accepts it, and passed on as version 00.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshspan_core::config::PropagatorKind;
use meshspan_core::propagation::Propagators;
use meshspan_fuzz::{Request, check_pass_on};

fuzz_target!(|data: &[u8]| {
    let propagators = Propagators::new(&[PropagatorKind::TraceContext]);
    let request = Request::of_one_header("traceparent", data);
    let next = check_pass_on(&propagators, &request);
    let expected = match request.lines("traceparent")[..] {
        [value] => reference(value),
        _ => None,
    };
    assert_eq!(
        next.map(|next| String::from_utf8(next.lines("traceparent")[0].to_vec()).unwrap()),
        expected
    );
});

/// What goes on for `value`, or `None` if it is invalid.
fn reference(value: &[u8]) -> Option<String> {
    let text = value
        .get(..55)
        .and_then(|head| std::str::from_utf8(head).ok())?;
    let rest = &value[55..];
    let fields: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags] = fields[..] else {
        return None;
    };
    let lengths = [version, trace, span, flags].map(str::len);
    let hex = |text: &str| text.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
    let valid = lengths == [2, 32, 16, 2]
        && hex(&fields.concat())
        && version != "ff"
        && (rest.is_empty() || (version != "00" && rest[0] == b'-'))
        && trace.bytes().any(|byte| byte != b'0')
        && span.bytes().any(|byte| byte != b'0');
    let flags = u8::from_str_radix(flags, 16).ok()? & 3;
    valid.then(|| format!("00-{trace}-{span}-{flags:02x}"))
}
