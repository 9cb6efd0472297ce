//! Masking: the only way for text from traffic into anything that leaves the proxy.
//!
//! [`Masked`] cannot be made from a traffic string except by a [`Masker`], and span attributes, span names, trace
//! states and status messages take nothing else. A value is sensitive for one of three reasons:
//!
//! - **where it stands** (`fields`): headers, query parameters, cookies, segments of a path, whole attributes;
//! - **what it looks like to a built-in detector**: numbers, addresses, tokens and keys, verified by their check
//!   digits and the like. One automaton, made at build time (`triggers`, `automaton`), says in one pass which
//!   detectors could find something; only where one could is the text read again (`detect`), in every way that
//!   somebody may read it (`fold`), until nothing is found (`engine`);
//! - **what it looks like to a pattern** of the operator's (`pattern`).

mod automaton;
mod counts;
mod detect;
mod detector;
mod engine;
mod fields;
mod fold;
mod hash;
mod masker;
mod pattern;
mod query;
mod rules;
mod stand_in;
mod stats;
mod triggers;

#[cfg(all(test, not(target_arch = "wasm32")))]
mod properties;
#[cfg(test)]
mod tests;

pub use crate::config::{Action, Detector, Glob, KeptEnds, MOST_PATTERN_BYTES, MOST_PATTERNS, Pattern, Treatment};
pub use counts::{MaskedBy, MaskingCounts};
pub use detector::Detectors;
pub use masker::{Masker, Url};
pub use stand_in::REDACTED;
pub(crate) use stats::MaskingStats;

use std::borrow::Cow;

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

    /// The text with an owner of its own.
    pub fn into_owned(self) -> Masked<'static> {
        Masked(Cow::Owned(self.0.into_owned()))
    }

    /// At most the first `most` bytes of it, up to where a character ends.
    pub(crate) fn cut(&self, most: usize) -> Masked<'_> {
        let end =
            self.0.char_indices().map(|(start, c)| start.saturating_add(c.len_utf8())).take_while(|end| *end <= most);
        Masked(Cow::Borrowed(self.0.get(..end.last().unwrap_or(0)).unwrap_or_default()))
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
