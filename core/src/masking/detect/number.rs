//! Numbers that people have: Chinese mobile numbers and resident ids, payment cards, US social security numbers.

use std::borrow::Cow;

use super::{Before, Detector, Detectors, Found, Letters, NUMBERS};
use crate::masking::fold::Cursor;

/// The longest number of interest is a card's.
const MOST_DIGITS: usize = 19;

/// How many separators may stand between two digits.
const MOST_SEPARATORS: usize = 3;

/// Separators: also `+`, which is a space in a query.
pub(super) const fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.' | b'+')
}

/// Digits in groups, as they have been read so far.
struct Digits {
    values: [u8; MOST_DIGITS],
    /// Where in the text each of them begins.
    starts: [usize; MOST_DIGITS],
    count: usize,
    /// How many digits each group has.
    groups: [usize; MOST_DIGITS],
    group_count: usize,
    /// Separators between groups, and whether one of them is not `.`.
    separators: usize,
    beside_dots: bool,
    /// The first separator, if it is a single character and all others are the same.
    uniform: Option<u8>,
}

impl Digits {
    const fn new() -> Self {
        Self {
            values: [0; MOST_DIGITS],
            starts: [0; MOST_DIGITS],
            count: 0,
            groups: [0; MOST_DIGITS],
            group_count: 1,
            separators: 0,
            beside_dots: false,
            uniform: None,
        }
    }

    /// `false` when there are too many.
    fn push(&mut self, byte: u8, start: usize) -> bool {
        let (Some(value), Some(place)) = (self.values.get_mut(self.count), self.starts.get_mut(self.count)) else {
            return false;
        };
        *value = byte.wrapping_sub(b'0');
        *place = start;
        self.count = self.count.saturating_add(1);
        if let Some(group) = self.groups.get_mut(self.group_count.saturating_sub(1)) {
            *group = group.saturating_add(1);
        }
        true
    }

    /// `separators` stand before the next digit, the first of them `first`.
    fn begin_group(&mut self, first: u8, separators: usize, dots_only: bool) {
        let same = self.group_count == 1 || self.uniform == Some(first);
        self.uniform = (same && separators == 1).then_some(first);
        self.beside_dots |= !dots_only;
        self.separators = self.separators.saturating_add(1);
        self.group_count = self.group_count.saturating_add(1);
    }

    fn values(&self) -> &[u8] {
        self.values.get(..self.count).unwrap_or_default()
    }

    fn groups(&self) -> &[usize] {
        self.groups.get(..self.group_count).unwrap_or_default()
    }

    /// Not a decimal number: one dot alone separates no groups.
    fn is_grouped(&self) -> bool {
        self.separators != 1 || self.beside_dots
    }

    fn text(&self, from: usize) -> String {
        self.values().iter().skip(from).map(|value| char::from(value.wrapping_add(b'0'))).collect()
    }
}

/// The number that begins at `here`, which is the first digit of a run.
pub(super) fn find(here: Cursor<'_>, before: Before, detectors: Detectors) -> Option<Found> {
    if !detectors.has_any(NUMBERS) {
        return None;
    }
    let mut digits = Digits::new();
    let mut cursor = here;
    let mut best = None;
    loop {
        // A group, then what separates it from the next one.
        let mut ahead = cursor;
        while let Some(byte) = ahead.next().filter(u8::is_ascii_digit) {
            if !digits.push(byte, cursor.position()) {
                return best;
            }
            cursor = ahead;
        }
        best = evaluate(&digits, here, cursor, before, detectors).or(best);
        let Some(first) = cursor.peek() else { return best };
        let (mut count, mut dots_only, mut ahead) = (0_usize, true, cursor);
        while let Some(byte) = ahead.peek().filter(|byte| is_separator(*byte)) {
            count = count.saturating_add(1);
            dots_only &= byte == b'.';
            ahead.next();
        }
        if count == 0 || count > MOST_SEPARATORS || !ahead.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return best;
        }
        digits.begin_group(first, count, dots_only);
        cursor = ahead;
    }
}

/// What the digits up to `end` are, if anything.
fn evaluate(digits: &Digits, here: Cursor<'_>, end: Cursor<'_>, before: Before, detectors: Detectors) -> Option<Found> {
    let found = |detector: Detector, start: usize, end: usize, canonical: String, masked: String| Found {
        detector,
        start,
        end,
        canonical,
        masked: Cow::Owned(masked),
    };
    let (start, count) = (here.position(), digits.count);
    if detectors.has(Detector::CnResidentId) && (count == 17 || count == 18) {
        let (check, end) = match count {
            18 => (digits.values().last().copied(), end),
            _ => match end.skip(b"x", true) {
                Some(end) => (Some(10), end),
                None => (None, end),
            },
        };
        let is_id = check.is_some_and(|check| is_resident_id(digits, check));
        if is_id && stands_alone(before, end) {
            let mut text = digits.text(0);
            if count == 17 {
                text.push('X');
            }
            let masked = ends(&text, 6, 4);
            return Some(found(Detector::CnResidentId, start, end.position(), text, masked));
        }
    }
    if detectors.has(Detector::PaymentCard) && is_card(digits) && !is_fraction(before) && stands_alone(before, end) {
        let text = digits.text(0);
        let masked = ends(&text, 0, 4);
        return Some(found(Detector::PaymentCard, start, end.position(), text, masked));
    }
    if detectors.has(Detector::CnMobileNumber)
        && let Some(prefix) = mobile_prefix(digits)
        && stands_alone(before, end)
        && !(is_fraction(before) && before.last_but_one == b'0')
    {
        let start = if prefix == 0 { start } else { digits.starts.get(prefix).copied().unwrap_or(start) };
        let text = digits.text(prefix);
        let masked = ends(&text, 3, 4);
        return Some(found(Detector::CnMobileNumber, start, end.position(), text, masked));
    }
    if detectors.has(Detector::UsSsn) && is_social_security(digits, before, end) {
        let text = digits.text(0);
        let masked = format!("***-**-{}", text.get(5..).unwrap_or_default());
        return Some(found(Detector::UsSsn, start, end.position(), text, masked));
    }
    None
}

/// So many characters of both ends, and asterisks for the others.
fn ends(text: &str, first: usize, last: usize) -> String {
    let from = text.len().saturating_sub(last);
    text.char_indices().map(|(at, digit)| if at < first || at >= from { digit } else { '*' }).collect()
}

/// Not a part of a hexadecimal number, such as a trace id's or a UUID's digits.
fn stands_alone(before: Before, end: Cursor<'_>) -> bool {
    let mut letters = before.run;
    let mut cursor = end;
    // An id is hardly longer than this; what comes after is another letter in a longer word.
    for _ in 0..64 {
        match cursor.next() {
            Some(byte) if byte.is_ascii_alphanumeric() => letters = letters.and(byte),
            _ => break,
        }
    }
    letters != Letters::Hexadecimal
}

/// Digits behind `0.`, `1.` and so on.
const fn is_fraction(before: Before) -> bool {
    before.last == b'.' && before.last_but_one.is_ascii_digit()
}

/// `1[3-9]` and nine digits, alone or behind 86 or 0086: how many digits stand before it. Groups have at least three
/// digits each.
fn mobile_prefix(digits: &Digits) -> Option<usize> {
    let prefix = match (digits.count, digits.values()) {
        (11, _) => 0,
        (13, [8, 6, ..]) => 2,
        (15, [0, 0, 8, 6, ..]) => 4,
        _ => return None,
    };
    let [1, 3..=9, ..] = digits.values().get(prefix..)? else { return None };
    let groups = digits.groups().iter().enumerate();
    let wide = groups.map(|(index, size)| if index == 0 { size.saturating_sub(prefix) } else { *size });
    (wide.min() >= Some(3) && digits.is_grouped()).then_some(prefix)
}

/// GB 11643: six digits of region, the date of birth, three digits, and a check digit (ISO 7064, MOD 11-2).
fn is_resident_id(digits: &Digits, check: u8) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let number = |from: usize, to: usize| {
        let values = digits.values().get(from..to).unwrap_or_default();
        values.iter().fold(0_u32, |sum, value| sum.wrapping_mul(10).wrapping_add(u32::from(*value)))
    };
    let region = matches!(number(0, 2), 11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83 | 91);
    let sum = digits
        .values()
        .iter()
        .zip(WEIGHTS)
        .fold(0_u32, |sum, (value, weight)| sum.wrapping_add(u32::from(*value).wrapping_mul(weight)));
    let expected = 12_u32.wrapping_sub(sum % 11) % 11;
    let wide = digits.groups().iter().min() >= Some(&3) || digits.group_count == 1;
    region
        && wide
        && digits.is_grouped()
        && is_date(number(6, 10), number(10, 12), number(12, 14))
        && u32::from(check) == expected
}

/// A day on which somebody may have been born.
const fn is_date(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    1850 <= year && year <= 2100 && 1 <= day && day <= days
}

/// Thirteen to nineteen digits of a network that issues cards of that length, with a valid check digit (ISO/IEC 7812,
/// Luhn's formula), written in one or in groups as cards have them.
fn is_card(digits: &Digits) -> bool {
    let grouped = match digits.groups() {
        [_] | [8, 8] => true,
        [6, rest @ ..] => matches!(rest, [13]),
        [first, rest @ ..] => {
            *first == 4
                && rest
                    .split_last()
                    .is_some_and(|(last, inner)| *last <= 7 && inner.iter().all(|size| (3..=6).contains(size)))
        }
        [] => false,
    };
    grouped && digits.is_grouped() && is_issued(digits.values()) && luhn(digits.values())
}

/// Whether a network issues cards with these first digits in this length.
fn is_issued(values: &[u8]) -> bool {
    let first = |count: usize| {
        values.iter().take(count).fold(0_u32, |sum, value| sum.wrapping_mul(10).wrapping_add(u32::from(*value)))
    };
    let length = values.len();
    let long = (16..=19).contains(&length);
    match first(4) {
        4000..=4999 => matches!(length, 13 | 16 | 19),
        5100..=5599 | 2221..=2720 | 8600 | 9792 | 9860 => length == 16,
        3400..=3499 | 3700..=3799 => length == 15,
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => (14..=19).contains(&length),
        3528..=3589 | 2200..=2204 | 8100..=8199 => long,
        5000..=5099 | 5600..=5899 | 6000..=6999 => (13..=19).contains(&length),
        _ => false,
    }
}

fn luhn(values: &[u8]) -> bool {
    let sum = values.iter().rev().enumerate().fold(0_u32, |sum, (place, value)| {
        let value = u32::from(*value);
        let weighted = match (place % 2, value) {
            (0, _) => value,
            (_, 0..=4) => value.wrapping_mul(2),
            _ => value.wrapping_mul(2).wrapping_sub(9),
        };
        sum.wrapping_add(weighted)
    });
    sum % 10 == 0
}

/// Three, two and four digits with the same separator between them, in a range that is given out. Not within a longer
/// number with that separator.
fn is_social_security(digits: &Digits, before: Before, end: Cursor<'_>) -> bool {
    let (9, [3, 2, 4], Some(separator)) = (digits.count, digits.groups(), digits.uniform) else { return false };
    let area_is_given = match digits.values() {
        [0, 0, 0, ..] | [6, 6, 6, ..] | [9, ..] => false,
        [_, _, _, group @ .., a, b, c, d] => group != [0, 0] && [*a, *b, *c, *d] != [0; 4],
        _ => false,
    };
    let goes_on_before = before.last == separator && before.last_but_one.is_ascii_digit();
    let goes_on_after = end.skip(&[separator], false).and_then(Cursor::peek).is_some_and(|byte| byte.is_ascii_digit());
    area_is_given && !goes_on_before && !goes_on_after && stands_alone(before, end)
}
