//! International bank account numbers (ISO 13616).

use std::borrow::Cow;

use super::{Detector, Detectors, Found};
use crate::masking::fold::Cursor;

/// Countries, each with the length of its numbers (the registry of ISO 13616).
const LENGTHS: &str = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18\
FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24\
ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23\
TN24TR26UA29VA22VG24XK20YE30";

fn length_of(country: &[u8]) -> Option<usize> {
    let entry = LENGTHS.as_bytes().chunks_exact(4).find(|entry| entry.starts_with(country))?;
    core::str::from_utf8(entry.get(2..)?).ok()?.parse().ok()
}

/// The number that begins at `here`, where a word begins: unbroken, or in groups of four with one separator each.
pub(super) fn find(here: Cursor<'_>, detectors: Detectors) -> Option<Found> {
    if !detectors.has(Detector::Iban) {
        return None;
    }
    let mut cursor = here;
    let mut text = String::new();
    let country = [cursor.next()?.to_ascii_uppercase(), cursor.next()?.to_ascii_uppercase()];
    let length = length_of(&country)?;
    text.extend(country.map(char::from));
    let mut separator = None;
    while text.len() < length {
        let byte = cursor.next()?;
        if text.len().is_multiple_of(4) {
            // The first gap says how all others are.
            let gap = Some(byte).filter(|byte| matches!(byte, b' ' | b'+' | b'-'));
            if text.len() == 4 {
                separator = gap;
            }
            if gap != separator {
                return None;
            }
            if gap.is_some() {
                text.push(next_of_number(cursor.next()?)?);
                continue;
            }
        }
        text.push(next_of_number(byte)?);
    }
    let ends = !cursor.peek().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if !ends || !is_valid(text.as_bytes()) {
        return None;
    }
    let last = text.get(length.saturating_sub(4)..).unwrap_or_default();
    let masked = format!("{}****{last}", text.get(..2).unwrap_or_default());
    Some(Found {
        detector: Detector::Iban,
        start: here.position(),
        end: cursor.position(),
        masked: Cow::Owned(masked),
        canonical: text,
    })
}

fn next_of_number(byte: u8) -> Option<char> {
    byte.is_ascii_alphanumeric().then(|| char::from(byte.to_ascii_uppercase()))
}

/// Two check digits, and the remainder by 97 of the whole, its first four characters moved to its end, is 1.
fn is_valid(text: &[u8]) -> bool {
    let Some((head, tail)) = text.split_at_checked(4) else { return false };
    let digits = head.get(2..).is_some_and(|check| check.iter().all(u8::is_ascii_digit));
    let remainder = tail.iter().chain(head).fold(0_u32, |sum, byte| match byte {
        b'0'..=b'9' => sum.wrapping_mul(10).wrapping_add(u32::from(byte.wrapping_sub(b'0'))) % 97,
        _ => sum.wrapping_mul(100).wrapping_add(u32::from(byte.wrapping_sub(b'A'))).wrapping_add(10) % 97,
    });
    digits && remainder == 1
}
