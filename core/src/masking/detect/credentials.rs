//! Credentials that say what they are: in URLs, behind `Bearer` and `Basic`, and JSON Web Tokens.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::borrow::Cow;

use super::{Detector, Detectors, Found, Memory, canonical};
use crate::masking::fold::Cursor;
use crate::masking::stand_in::{REDACTED_USERINFO, is_stand_in};

/// `://user:password@`, where `here` is the colon.
pub(super) fn find_in_url(here: Cursor<'_>, detectors: Detectors) -> Option<Found> {
    if !detectors.has(Detector::UrlCredentials) {
        return None;
    }
    let start = here.skip(b"://", false)?;
    let (mut cursor, mut colon, mut end) = (start, false, None);
    loop {
        let before = cursor;
        match cursor.next() {
            None | Some(b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'\\') => break,
            Some(byte) if byte.is_ascii_whitespace() => break,
            Some(b':') => colon = true,
            // A password may hold an `@` itself: the last one counts.
            Some(b'@') if colon => end = Some(before.position()),
            Some(b'@') => break,
            Some(_) => {}
        }
    }
    let end = end?;
    let text = canonical(start, end);
    if is_stand_in(&text) {
        return None;
    }
    let masked = Cow::Borrowed(REDACTED_USERINFO);
    Some(Found { detector: Detector::UrlCredentials, start: start.position(), end, canonical: text, masked })
}

/// A token that begins at `here` with `byte`.
pub(super) fn find_token(here: Cursor<'_>, byte: u8, detectors: Detectors, memory: &mut Memory) -> Option<Found> {
    match byte {
        b'b' | b'B' if detectors.has(Detector::HttpCredentials) => find_http(here, memory),
        b'e' if detectors.has(Detector::Jwt) && here.position() >= memory.jwt => find_jwt(here, memory),
        _ => None,
    }
}

/// Nothing longer that follows `Basic` is read twice.
const LONGEST_WORD: usize = 256;

/// The `token68` of RFC 9110 §11.2 behind the name of a scheme, also where the two stand as a pair.
fn find_http(here: Cursor<'_>, memory: &mut Memory) -> Option<Found> {
    let basic = here.skip(b"basic", true).filter(|_| here.position() >= memory.basic);
    let mut cursor = basic.or_else(|| here.skip(b"bearer", true))?;
    let gap = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'+' | b':' | b'=' | b'"' | b'\'');
    if cursor.skip_while(4, gap) == 0 {
        return None;
    }
    let start = cursor;
    let token =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=');
    cursor.skip_while(usize::MAX, token);
    let text = canonical(start, cursor.position());
    let is_credential = if basic.is_some() {
        // What decodes to `user:password`; a plain word hardly does.
        let decoded = STANDARD_NO_PAD.decode(text.trim_end_matches('='));
        decoded.is_ok_and(|bytes| bytes.contains(&b':') && !bytes.iter().any(u8::is_ascii_control))
    } else {
        // A word, as in "bearer authentication", is no token.
        text.len() >= 8 && text.bytes().any(|byte| byte.is_ascii_digit()) || text.len() >= 24
    };
    if !is_credential || is_stand_in(&text) {
        if basic.is_some() && text.len() > LONGEST_WORD {
            memory.basic = cursor.position();
        }
        return None;
    }
    Some(Found::whole(Detector::HttpCredentials, start.position(), cursor.position(), text))
}

/// `eyJ…` (an object in base64url), a dot, and at least one more part. Three parts are signed, five encrypted; the
/// second is empty where the payload goes elsewhere.
fn find_jwt(here: Cursor<'_>, memory: &mut Memory) -> Option<Found> {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
    let mut cursor = here.skip(b"eyJ", false)?;
    let header = cursor.skip_while(usize::MAX, part);
    // Whatever begins in this run ends where this did.
    memory.jwt = cursor.position();
    if header < 7 {
        return None;
    }
    let mut rest: usize = 0;
    for _ in 0..4 {
        let Some(mut behind) = cursor.skip(b".", false) else { break };
        let length = behind.skip_while(usize::MAX, part);
        rest = rest.saturating_add(length);
        cursor = behind;
    }
    if rest < 10 {
        return None;
    }
    let text = canonical(here, cursor.position());
    Some(Found::whole(Detector::Jwt, here.position(), cursor.position(), text))
}
