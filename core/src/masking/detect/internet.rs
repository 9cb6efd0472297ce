//! Internet addresses, version 4 and 6. Off by default: an operator looks for them in a span.

use std::borrow::Cow;

use super::{Before, Detector, Detectors, Found, canonical};
use crate::config::short;
use crate::masking::fold::Cursor;

/// Four numbers up to 255 with dots, the first of them at `here`; not within a longer dotted number.
pub(super) fn find_ipv4(here: Cursor<'_>, before: Before, detectors: Detectors) -> Option<Found> {
    if !detectors.has(Detector::Ipv4) || before.last.is_ascii_alphanumeric() || before.last == b'.' {
        return None;
    }
    let mut cursor = here;
    let mut network = 0;
    for part in 0..4 {
        if part > 0 {
            cursor = cursor.skip(b".", false)?;
            network = if part == 3 { cursor.position() } else { network };
        }
        let start = cursor;
        if cursor.skip_while(3, |byte| byte.is_ascii_digit()) == 0 {
            return None;
        }
        let number = canonical(start, cursor.position());
        let leading_zero = number.len() > 1 && number.starts_with('0');
        if leading_zero || number.parse::<u8>().is_err() {
            return None;
        }
    }
    let goes_on = match cursor.peek() {
        Some(byte) if byte.is_ascii_alphanumeric() => true,
        Some(b'.') => cursor.skip(b".", false).and_then(Cursor::peek).is_some_and(|byte| byte.is_ascii_digit()),
        _ => false,
    };
    if goes_on {
        return None;
    }
    Some(Found {
        detector: Detector::Ipv4,
        start: here.position(),
        end: cursor.position(),
        canonical: canonical(here, cursor.position()),
        masked: Cow::Owned(canonical(here, network) + "*"),
    })
}

/// The longest text of an address of version 6.
const LONGEST: usize = 45;

/// An address of version 6 (RFC 4291 §2.2) whose first character, `byte`, is at `here`.
pub(super) fn find_ipv6(here: Cursor<'_>, byte: u8, before: Before, detectors: Detectors) -> Option<Found> {
    let starts = (byte.is_ascii_hexdigit() || byte == b':')
        && !before.last.is_ascii_alphanumeric()
        && !matches!(before.last, b':' | b'.');
    if !detectors.has(Detector::Ipv6) || !starts {
        return None;
    }
    let mut cursor = here;
    cursor.skip_while(LONGEST, |byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
    if cursor.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b':') {
        return None;
    }
    let text = canonical(here, cursor.position());
    let address: core::net::Ipv6Addr = text.parse().ok()?;
    if address.is_unspecified() {
        return None;
    }
    // The network: the first groups, as many as are written out.
    let groups = short::split_once(&text, "::").map_or(&*text, |(before, _)| before).split(':').take(2);
    let mut masked: String = groups.filter(|group| !group.is_empty()).flat_map(|group| [group, ":"]).collect();
    masked.push('*');
    Some(Found {
        detector: Detector::Ipv6,
        start: here.position(),
        end: cursor.position(),
        canonical: text.to_ascii_lowercase(),
        masked: Cow::Owned(masked),
    })
}
