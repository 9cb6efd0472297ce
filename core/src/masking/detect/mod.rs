//! What the detectors find: texts with triggers are read here, and what looks like a secret is verified.
//!
//! Every detector reads forward from one place and stops after a bounded number of characters, or where the next
//! attempt can begin behind what it read: the time is linear in the text's length, whatever it says.

mod credentials;
mod email;
mod iban;
mod internet;
mod keys;
mod number;

use std::borrow::Cow;

use super::detector::Detectors;
use super::fold::{Cursor, OTHER};
use super::stand_in::REDACTED;
use crate::config::Detector;

/// A secret, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) detector: Detector,
    /// Offsets in the text as it is written.
    pub(super) start: usize,
    pub(super) end: usize,
    /// The secret without what may differ from one spelling to the next (separators, escapes): what is hashed.
    pub(super) canonical: String,
    /// What the detector shows in its place.
    pub(super) masked: Cow<'static, str>,
}

impl Found {
    /// A secret of which nothing is shown.
    fn whole(detector: Detector, start: usize, end: usize, canonical: String) -> Self {
        Self { detector, start, end, canonical, masked: Cow::Borrowed(REDACTED) }
    }
}

/// What stands before a place in a text.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    /// The character before, and the one before that; 0 at the start.
    last: u8,
    last_but_one: u8,
    /// The letters of the run of letters and digits that ends here.
    run: Letters,
}

/// What letters a run of letters and digits has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Letters {
    #[default]
    None,
    /// `a` to `f` only: perhaps a hexadecimal number, such as an id.
    Hexadecimal,
    Other,
}

impl Letters {
    const fn and(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Other, _) => Self::Other,
            (_, b'a'..=b'f' | b'A'..=b'F') => Self::Hexadecimal,
            (_, b'a'..=b'z' | b'A'..=b'Z') => Self::Other,
            _ => self,
        }
    }
}

impl Before {
    fn push(&mut self, byte: u8) {
        self.run = if byte.is_ascii_alphanumeric() { self.run.and(byte) } else { Letters::None };
        self.last_but_one = self.last;
        self.last = byte;
    }

    /// Behind a secret: within a word, as the automaton has it.
    const AFTER_SECRET: Self = Self { last: b'0', last_but_one: b'0', run: Letters::Other };
}

/// Gives all secrets of `detectors` in `text`, percent-decoded `level` times, in order. They do not overlap.
pub(super) fn find_all(text: &str, level: u8, detectors: Detectors, take: &mut dyn FnMut(Found)) {
    let mut memory = Memory::default();
    let mut mail = email::Signs::new(text, level, detectors);
    // Where only an address can be, only where one can begin is read.
    let only_mail = detectors.is_only(Detector::Email);
    let (start, last) = if only_mail { mail.first_word() } else { (0, 0) };
    let mut cursor = Cursor::at(text.as_bytes(), level, start);
    let mut before = Before { last, ..Before::default() };
    loop {
        let here = cursor;
        if only_mail && !mail.is_ahead(here.position()) {
            return;
        }
        let Some(byte) = cursor.next_in_loop() else { return };
        let found = if detectors.has_any(beginning(byte, before)) {
            find_at(here, byte, before, detectors, &mut memory, &mut mail)
        } else {
            None
        };
        match found {
            Some(found) if found.end > here.position() => {
                cursor = Cursor::at(text.as_bytes(), level, found.end);
                before = Before::AFTER_SECRET;
                take(found);
            }
            _ => before.push(byte),
        }
    }
}

/// Runs of characters that have been read to their end in vain, so that they are not read again from each place in
/// them: offsets up to which there is no use in looking.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    jwt: usize,
    basic: usize,
}

const NUMBERS: Detectors = Detectors::NONE
    .with(Detector::CnMobileNumber)
    .with(Detector::CnResidentId)
    .with(Detector::PaymentCard)
    .with(Detector::UsSsn);
const KEYS: Detectors = Detectors::NONE
    .with(Detector::AwsAccessKey)
    .with(Detector::GcpKey)
    .with(Detector::GithubToken)
    .with(Detector::SlackToken)
    .with(Detector::StripeKey);
const TOKENS: Detectors = KEYS.with(Detector::HttpCredentials).with(Detector::Jwt).with(Detector::Iban);

/// The detectors whose secrets may begin with `byte`: asked at every character, so that little is done at most.
#[inline]
const fn beginning(byte: u8, before: Before) -> Detectors {
    let some = match byte {
        b'0'..=b'9' if !before.last.is_ascii_digit() => NUMBERS.with(Detector::Ipv4).with(Detector::Ipv6),
        b'A'..=b'Z' | b'a'..=b'z' => TOKENS.with(Detector::Ipv6),
        b':' => Detectors::NONE.with(Detector::UrlCredentials).with(Detector::Ipv6),
        b'-' => Detectors::NONE.with(Detector::PrivateKey),
        _ => Detectors::NONE,
    };
    if email::is_local(byte) && !email::is_local(before.last) { some.with(Detector::Email) } else { some }
}

/// The secret that begins at `here`, where `byte` is read.
fn find_at(
    here: Cursor<'_>,
    byte: u8,
    before: Before,
    detectors: Detectors,
    memory: &mut Memory,
    mail: &mut email::Signs<'_>,
) -> Option<Found> {
    let word = !before.last.is_ascii_alphanumeric();
    let by_first = match byte {
        b'0'..=b'9' if !before.last.is_ascii_digit() => {
            number::find(here, before, detectors).or_else(|| internet::find_ipv4(here, before, detectors))
        }
        b'-' if before.last != b'-' => keys::find_private_key(here, detectors),
        b':' => credentials::find_in_url(here, detectors),
        b'A'..=b'Z' | b'a'..=b'z' => credentials::find_token(here, byte, detectors, memory)
            .or_else(|| keys::find(here, byte, word, detectors))
            .or_else(|| if word { iban::find(here, detectors) } else { None }),
        _ => None,
    };
    by_first.or_else(|| internet::find_ipv6(here, byte, before, detectors)).or_else(|| {
        let may_begin = !email::is_local(before.last) && mail.stands_behind(here.position());
        if may_begin { email::find(here, byte, detectors) } else { None }
    })
}

/// The characters from `start` up to `end`, as they are read; those that stand for no ASCII character are left out.
fn canonical(start: Cursor<'_>, end: usize) -> String {
    let mut cursor = start;
    let mut text = String::new();
    while cursor.position() < end {
        match cursor.next() {
            Some(OTHER) => {}
            Some(byte) => text.push(char::from(byte)),
            None => break,
        }
    }
    text
}
