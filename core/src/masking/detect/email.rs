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
    let local = canonical(here, at.position());
    if last == b'.' || is_stand_in(&local) {
        return None;
    }
    let end = domain(cursor)?;
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
        let text = canonical(label, cursor.position());
        let wide = label.peek() == Some(OTHER);
        let is_top =
            wide || text.len() >= 2 && (text.starts_with("xn--") || text.bytes().all(|b| b.is_ascii_alphabetic()));
        let is_file = FILE_ENDINGS.contains(&text.to_ascii_lowercase().as_str());
        end = (labels >= 2 && is_top && !is_file).then_some(cursor.position());
        let Some(behind) = cursor.skip(b".", false).filter(|behind| behind.peek().is_some_and(is_label)) else { break };
        cursor = behind;
    }
    end
}
