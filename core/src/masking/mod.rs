//! Masking: the only way for text from traffic into anything that leaves the proxy.
//!
//! [`Masked`] cannot be made from a traffic string except by a [`Masker`], and span attributes, span names and
//! status messages take nothing else. What is masked at this stage: the values of sensitive query parameters
//! (OpenTelemetry semantic conventions, `url.query`), user and password in URLs, and the values of headers that
//! carry credentials, even when configuration asks to capture them.

mod query;

use std::borrow::Cow;

use crate::config::InstrumentationConfig;

/// What stands in place of a value that must not leave, as the semantic conventions spell it.
pub const REDACTED: &str = "REDACTED";

/// Headers whose whole value is a credential: captured, they show only that they were there.
const CREDENTIAL_HEADERS: &[&[u8]] =
    &[b"authorization", b"proxy-authorization", b"cookie", b"set-cookie", b"x-api-key", b"x-amz-security-token"];

/// Text that may leave the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masked<'a>(Cow<'a, str>);

impl<'a> Masked<'a> {
    /// Text of the program itself.
    pub const fn literal(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// Text that the operator wrote into the configuration: it is theirs to publish.
    pub(crate) const fn configured(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// A number that the proxy itself counted or answered.
    pub(crate) fn number(number: u64) -> Masked<'static> {
        Masked(Cow::Owned(number.to_string()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Text put together from parts that may each leave.
    pub fn concat(parts: &[&Masked<'_>]) -> Masked<'static> {
        let mut text = String::with_capacity(parts.iter().map(|part| part.0.len()).sum());
        for part in parts {
            text.push_str(&part.0);
        }
        Masked(Cow::Owned(text))
    }
}

/// Decides what of a traffic text may leave. Built once from configuration; holds no state.
#[derive(Clone, Debug)]
pub struct Masker {
    sensitive_query_parameters: Vec<String>,
}

impl Masker {
    /// From checked configuration.
    pub fn new(config: &InstrumentationConfig) -> Self {
        Self { sensitive_query_parameters: config.sensitive_query_parameters.clone() }
    }

    /// Any text from traffic. Bytes that are not UTF-8 become U+FFFD.
    pub fn text<'a>(&self, bytes: &'a [u8]) -> Masked<'a> {
        Masked(String::from_utf8_lossy(bytes))
    }

    /// A URL's query, without its `?`.
    pub fn query<'a>(&self, bytes: &'a [u8]) -> Masked<'a> {
        Masked(query::mask(String::from_utf8_lossy(bytes), &self.sensitive_query_parameters))
    }

    /// An authority (`host`, `host:port`), as it may stand in a URL: without user and password.
    pub fn authority<'a>(&self, bytes: &'a [u8]) -> Masked<'a> {
        match bytes.iter().rposition(|byte| *byte == b'@') {
            None => self.text(bytes),
            Some(at) => {
                let host = bytes.get(at..).unwrap_or_default();
                Masked(Cow::Owned(format!("{REDACTED}:{REDACTED}{}", String::from_utf8_lossy(host))))
            }
        }
    }

    /// The value of the header `name` (lower case).
    pub fn header<'a>(&self, name: &[u8], value: &'a [u8]) -> Masked<'a> {
        if CREDENTIAL_HEADERS.contains(&name) { Masked::literal(REDACTED) } else { self.text(value) }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn masker() -> Masker {
        Masker { sensitive_query_parameters: vec!["sig".into()] }
    }

    #[test]
    fn credentials_never_show() {
        let table: &[(&str, &str, &str)] = &[
            ("authorization", "Bearer abc", REDACTED),
            ("cookie", "session=1", REDACTED),
            ("set-cookie", "session=1; Path=/", REDACTED),
            ("x-tenant", "blue", "blue"),
        ];
        for (name, value, expected) in table {
            assert_eq!(masker().header(name.as_bytes(), value.as_bytes()).as_str(), *expected, "{name}");
        }
    }

    #[test]
    fn an_authority_loses_its_userinfo() {
        assert_eq!(masker().authority(b"shop.example:8443").as_str(), "shop.example:8443");
        assert_eq!(masker().authority(b"u:p@shop.example").as_str(), "REDACTED:REDACTED@shop.example");
    }

    #[test]
    fn bytes_that_are_no_text_become_replacement_characters() {
        assert_eq!(masker().text(b"a\xffb").as_str(), "a\u{fffd}b");
    }
}
