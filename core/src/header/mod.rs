//! Headers as the logic sees them: byte slices in, edits out.

pub mod pairs;

use std::borrow::Cow;

pub use crate::config::is_token_byte;

/// One header line: name and value as they stand on the wire. Envoy hands names in lower case; values may hold
/// any byte but NUL, CR and LF, and need not be UTF-8.
pub type HeaderLine<'a> = (&'a [u8], &'a [u8]);

/// A change to the headers of a request or a response. The host applies edits in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderEdit {
    /// Make `name` stand there exactly once, with `value`.
    Set {
        /// Lower-case header name.
        name: Cow<'static, str>,
        /// The whole value.
        value: String,
    },
    /// One more line of `name`, behind those that stand there.
    Add {
        /// Lower-case header name.
        name: Cow<'static, str>,
        /// The line's value.
        value: String,
    },
    /// Take every line of `name` away.
    Remove {
        /// Lower-case header name.
        name: Cow<'static, str>,
    },
}

impl HeaderEdit {
    /// The header that it changes.
    pub fn name(&self) -> &str {
        match self {
            Self::Set { name, .. } | Self::Add { name, .. } | Self::Remove { name } => name,
        }
    }
}

/// The values of the lines named `name` (lower case), in order.
pub fn values<'a>(lines: &[HeaderLine<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    lines.iter().filter(move |(key, _)| *key == name.as_bytes()).map(|(_, value)| *value)
}
