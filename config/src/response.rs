//! `distribution.meshspan.response`: what the caller is told about the trace, in the headers of its response.

use crate::reader::{Key, Reader, built};

/// `response`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseConfig {
    /// `traceresponse`: W3C's header.
    pub trace_response: bool,
    /// `server_timing`: a `Server-Timing` that a browser's page can read.
    pub server_timing: bool,
}

impl ResponseConfig {
    /// Whether anything is written.
    pub const fn writes(self) -> bool {
        self.trace_response || self.server_timing
    }
}

const KEYS: &[Key] = &[built("traceresponse"), built("server_timing")];

/// Reads `response`.
pub(crate) fn read(reader: &Reader<'_>) -> ResponseConfig {
    let Some(object) = reader.object(KEYS) else { return ResponseConfig::default() };
    let truth = |key| object.nullable(key).and_then(|value| value.boolean()).unwrap_or(false);
    ResponseConfig { trace_response: truth("traceresponse"), server_timing: truth("server_timing") }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::testing::{accepted, rejected_for};

    fn with(response: &str) -> String {
        format!(r#""distribution": {{"meshspan": {{"response": {response}}}}}"#)
    }

    #[test]
    fn each_header_is_asked_for() {
        let cases = [
            ("null", false, false),
            ("{}", false, false),
            (r#"{"traceresponse": true}"#, true, false),
            (r#"{"server_timing": true, "traceresponse": null}"#, false, true),
            (r#"{"server_timing": true, "traceresponse": true}"#, true, true),
        ];
        for (text, trace_response, server_timing) in cases {
            assert_eq!(accepted(&with(text)).meshspan.response, ResponseConfig { trace_response, server_timing });
        }
        let cases = [
            (r#"{"traceresponse": "yes"}"#, ".traceresponse", "true or false", "text"),
            (
                r#"{"server-timing": true}"#,
                r#"["server-timing"]"#,
                "server_timing",
                "the header's name is not the key's",
            ),
            ("true", "", "an object", "a truth"),
        ];
        for (text, place, words, why) in cases {
            rejected_for(&with(text), &format!("$.distribution.meshspan.response{place}"), words, why);
        }
    }
}
