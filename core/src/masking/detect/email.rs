//! E-mail addresses (RFC 5321 §4.1.2), also with international names (RFC 6531).

use std::borrow::Cow;

use super::{Detector, Detectors, Found, canonical};
use crate::masking::fold::{Cursor, OTHER};
use crate::masking::stand_in::is_stand_in;

/// Ends of file names that are no top-level domains: `icon@2x.png`, `lodash@4.17.min.js`.
const FILE_ENDINGS: &[&str] =
    &["png", "jpg", "jpeg", "gif", "svg", "webp", "ico", "js", "mjs", "cjs", "css", "json", "html"];

/// What the part before the `@` is made of here: those characters of RFC 5322's that addresses are made of in practice
/// and that no URL separates its parts with.
pub(super) const fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+' | b'~' | b'\'' | b'*' | OTHER)
}

const fn is_label(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | OTHER)
}

/// Where the `@` of a text stand, in a text that reads as it is written: so that a word need not be read, character by
/// character, to learn that none is behind it.
#[derive(Debug)]
pub(super) struct Signs<'a> {
    /// `None`: the text reads as something else than its bytes, and nothing is known.
    written: Option<&'a [u8]>,
    /// The first that is not before where was last looked; the text's length: none.
    next: usize,
}

impl<'a> Signs<'a> {
    pub(super) fn new(text: &'a str, level: u8, detectors: Detectors) -> Self {
        let is_written = detectors.has(Detector::Email) && level == 0 && text.is_ascii() && !text.contains('\\');
        let mut signs = Self { written: is_written.then_some(text.as_bytes()), next: 0 };
        signs.look(0);
        signs
    }

    fn look(&mut self, from: usize) {
        let Some(rest) = self.written.and_then(|text| text.get(from..)) else { return };
        self.next = from.saturating_add(rest.iter().position(|byte| *byte == b'@').unwrap_or(rest.len()));
    }

    /// Whether there may be one at `position` or behind it. Positions do not go back.
    pub(super) fn is_ahead(&mut self, position: usize) -> bool {
        if self.next < position {
            self.look(position);
        }
        self.written.is_none_or(|text| self.next < text.len())
    }

    /// Whether one may end the word that begins at `position`.
    pub(super) fn stands_behind(&mut self, position: usize) -> bool {
        let is_ahead = self.is_ahead(position);
        self.written.is_none_or(|text| {
            is_ahead && text.get(position..self.next).is_some_and(|word| word.iter().all(|byte| is_local(*byte)))
        })
    }

    /// Where the word before the first one begins, and the character before it; 0 at the start.
    pub(super) fn first_word(&self) -> (usize, u8) {
        let before = self.written.and_then(|text| text.get(..self.next)).unwrap_or_default();
        match before.iter().rposition(|byte| !is_local(*byte)) {
            None => (0, 0),
            Some(last) => (last.saturating_add(1), before.get(last).copied().unwrap_or(0)),
        }
    }
}

/// The address whose first character, `byte`, is at `here`. The character before is none of an address.
pub(super) fn find(here: Cursor<'_>, byte: u8, detectors: Detectors) -> Option<Found> {
    if !detectors.has(Detector::Email) || !is_local(byte) {
        return None;
    }
    let mut cursor = here;
    let mut last = 0;
    let at = loop {
        let before = cursor;
        match cursor.next()? {
            b'@' => break before,
            byte if is_local(byte) => last = byte,
            _ => return None,
        }
    };
    if last == b'.' {
        return None;
    }
    // Last what copies: most signs stand before something that is no domain.
    let end = domain(cursor)?;
    if is_stand_in(&canonical(here, at.position())) {
        return None;
    }
    let first = if byte.is_ascii_alphanumeric() { String::from(char::from(byte)) } else { String::new() };
    // The domain stays as it is written.
    let masked = format!("{first}***{}", here.written(at.position(), end));
    Some(Found {
        detector: Detector::Email,
        start: here.position(),
        end,
        canonical: canonical(here, end).to_ascii_lowercase(),
        masked: Cow::Owned(masked),
    })
}

/// Where the domain ends that begins at `start`: labels with dots between them, the last of them no number.
fn domain(start: Cursor<'_>) -> Option<usize> {
    let mut cursor = start;
    let mut end = None;
    let mut labels: usize = 0;
    loop {
        let label = cursor;
        if cursor.skip_while(63, is_label) == 0 {
            break;
        }
        labels = labels.saturating_add(1);
        end = (labels >= 2 && is_top_level(label, cursor.position())).then_some(cursor.position());
        let Some(behind) = cursor.skip(b".", false).filter(|behind| behind.peek().is_some_and(is_label)) else { break };
        cursor = behind;
    }
    end
}

/// Whether the label from `start` up to `end` can be the last one of a domain.
fn is_top_level(start: Cursor<'_>, end: usize) -> bool {
    let text = canonical(start, end);
    let is_file = FILE_ENDINGS.contains(&text.to_ascii_lowercase().as_str());
    let is_name = text.len() >= 2 && (text.starts_with("xn--") || text.bytes().all(|b| b.is_ascii_alphabetic()));
    !is_file && (is_name || start.peek() == Some(OTHER))
}
