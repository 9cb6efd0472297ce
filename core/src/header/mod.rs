//! Headers as the logic sees them: byte slices in, edits out.

use std::borrow::Cow;

/// One header line: name and value as they stand on the wire. Envoy hands names in lower case; values may hold
/// any byte but NUL, CR and LF, and need not be UTF-8.
pub type HeaderLine<'a> = (&'a [u8], &'a [u8]);

/// A change to the request's headers. The host applies edits in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderEdit {
    /// Make `name` stand there exactly once, with `value`.
    Set {
        /// Lower-case header name.
        name: Cow<'static, str>,
        /// The whole value.
        value: String,
    },
    /// Take every line of `name` away.
    Remove {
        /// Lower-case header name.
        name: Cow<'static, str>,
    },
}

pub mod pairs;
