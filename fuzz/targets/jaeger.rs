//! `uber-trace-id`: accepted exactly when a plain reading of the format accepts it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meshspan_core::config::PropagatorKind;
use meshspan_core::propagation::Propagators;
use meshspan_fuzz::{Request, check_pass_on};

fuzz_target!(|data: &[u8]| {
    let propagators = Propagators::new(&[PropagatorKind::Jaeger]);
    let request = Request::of_one_header("uber-trace-id", data);
    let next = check_pass_on(&propagators, &request);
    let expected = match request.lines("uber-trace-id")[..] {
        [value] => reference(value),
        _ => None,
    };
    assert_eq!(
        next.map(|next| String::from_utf8(next.lines("uber-trace-id")[0].to_vec()).unwrap()),
        expected
    );
});

/// What goes on for `value`, or `None` if it is invalid.
fn reference(value: &[u8]) -> Option<String> {
    // The parent's id may be any bytes.
    let text = String::from_utf8_lossy(value)
        .replace("%3A", ":")
        .replace("%3a", ":");
    let fields: Vec<&str> = text.split(':').collect();
    let [trace, span, _, flags] = fields[..] else {
        return None;
    };
    if value.len() > 128 || text.contains('%') {
        return None;
    }
    let hex = |text: &str, longest: usize| {
        let digits = (1..=longest).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digits {
            u128::from_str_radix(text, 16).ok()
        } else {
            None
        }
    };
    let (trace, span, flags) = (hex(trace, 32)?, hex(span, 16)?, hex(flags, 2)?);
    let flags = match flags & 3 {
        2 | 3 => 3,
        flags => flags,
    };
    (trace != 0 && span != 0).then(|| format!("{trace:032x}:{span:016x}:0:{flags}"))
}
