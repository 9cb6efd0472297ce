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

/// What a look at one header of a request shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderLookup {
    /// It is not there.
    Absent,
    /// Its first line's value.
    There(Vec<u8>),
    /// The host does not say.
    Unknown,
}

/// The values of the lines named `name` (lower case), in order.
pub fn values<'a>(lines: &[HeaderLine<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    lines.iter().filter(move |(key, _)| is_same(key, name.as_bytes())).map(|(_, value)| *value)
}

/// Whether two names are the same. Names of one maker begin or end alike, and most are told apart by eight bytes at one of
/// their ends: in the module, a comparison byte by byte makes a captured header four times as dear.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one.last_chunk::<8>() == other.last_chunk::<8>()
        && one.first_chunk::<8>() == other.first_chunk::<8>()
        && one == other
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn values_are_those_of_the_very_name() {
        let lines: &[HeaderLine<'_>] = &[
            (b"x-shop-tenant", b"its own"),
            (b"y-shop-tenant", b"differs at the beginning"),
            (b"x-shop-tenanu", b"differs at the end"),
            (b"x-shop-a-tenant-id", b"differs at neither end"),
            (b"x-shop-b-tenant-id", b"differs at neither end, once more"),
            (b"x-shop-tenant-id", b"longer"),
            (b"tenant", b"shorter than eight bytes"),
            (b"tenanu", b"as short"),
            (b"", b"no name"),
            (b"x-shop-tenant", b"once more"),
        ];
        let of = |name| values(lines, name).collect::<Vec<_>>();
        assert_eq!(of("x-shop-tenant"), [&b"its own"[..], b"once more"]);
        assert_eq!(of("x-shop-b-tenant-id").len(), 1, "ends alone are no name");
        assert_eq!(of("tenant"), [b"shorter than eight bytes"]);
        assert_eq!(of(""), [b"no name"]);
    }
}
