//! A text as somebody may read it: percent-decoded so many times, JSON's `\u` escapes undone, and characters that stand
//! for ASCII ones (full-width forms, other spaces and dashes) read as those. Nothing is copied: a cursor reads one
//! character at a time and knows where in the text it came from.

/// What a character that stands for none of ASCII reads as.
pub(super) const OTHER: u8 = 0xff;

/// Bytes that are no character.
const REPLACEMENT: u32 = 0xfffd;

/// How many times a text is percent-decoded at most. Clients encode once, gateways in between now and then again.
pub(super) const DEEPEST: u8 = 3;

/// A place in a text, and how the text is read from there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
    level: u8,
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`, which is UTF-8, to be percent-decoded `level` times.
    pub(super) const fn new(bytes: &'a [u8], level: u8) -> Self {
        Self { bytes, position: 0, level }
    }

    /// At the offset `position`, where a character begins.
    pub(super) const fn at(bytes: &'a [u8], level: u8, position: usize) -> Self {
        Self { bytes, position, level }
    }

    /// The offset of what is read next.
    pub(super) const fn position(&self) -> usize {
        self.position
    }

    /// The next character, as ASCII or [`OTHER`].
    // Everywhere in detectors: one function, not fifty copies of it.
    #[inline(never)]
    pub(super) fn next(&mut self) -> Option<u8> {
        self.next_in_loop()
    }

    /// [`next`](Self::next), for the loops that go over whole texts.
    #[inline]
    pub(super) fn next_in_loop(&mut self) -> Option<u8> {
        match self.bytes.get(self.position) {
            Some(byte) if *byte < 0x80 && !matches!(byte, b'%' | b'\\') => {
                self.position = self.position.wrapping_add(1);
                Some(*byte)
            }
            _ => self.next_code().map(|code| u8::try_from(code).ok().filter(u8::is_ascii).unwrap_or(OTHER)),
        }
    }

    /// The next character, as ASCII where it stands for one, else as its code point; U+FFFD for bytes that are none.
    pub(super) fn next_code(&mut self) -> Option<u32> {
        loop {
            let (byte, end) = read(self.bytes, self.position, self.level)?;
            self.position = end;
            let code = match byte {
                b'\\' => self.json_escape(),
                0..=0x7f => u32::from(byte),
                _ => self.rest_of_character(byte),
            };
            if let Some(code) = fold(code) {
                return Some(code);
            }
        }
    }

    /// The text from `start` up to `end`, as it is written.
    pub(super) fn written(&self, start: usize, end: usize) -> std::borrow::Cow<'a, str> {
        String::from_utf8_lossy(self.bytes.get(start..end).unwrap_or_default())
    }

    /// The next character, without going on.
    pub(super) fn peek(mut self) -> Option<u8> {
        self.next()
    }

    /// Whether `text` comes next; if so, the place behind it. ASCII letters match in either case if `any_case`.
    pub(super) fn skip(mut self, text: &[u8], any_case: bool) -> Option<Self> {
        for expected in text {
            let byte = self.next()?;
            let equal = if any_case { byte.eq_ignore_ascii_case(expected) } else { byte == *expected };
            if !equal {
                return None;
            }
        }
        Some(self)
    }

    /// Goes on while `accept` holds, for `most` characters at the most; how many there were.
    pub(super) fn skip_while(&mut self, most: usize, accept: impl Fn(u8) -> bool) -> usize {
        let mut count: usize = 0;
        while count < most {
            let mut ahead = *self;
            match ahead.next() {
                Some(byte) if accept(byte) => *self = ahead,
                _ => break,
            }
            count = count.saturating_add(1);
        }
        count
    }

    /// The first byte of a character beyond ASCII has been read: its code point.
    fn rest_of_character(&mut self, first: u8) -> u32 {
        let length: usize = match first {
            0xc2..=0xdf => 1,
            0xe0..=0xef => 2,
            0xf0..=0xf4 => 3,
            _ => return REPLACEMENT,
        };
        let mut code = u32::from(first) & (0x3f >> length);
        let mut position = self.position;
        for _ in 0..length {
            match read(self.bytes, position, self.level) {
                Some((byte, end)) if byte & 0xc0 == 0x80 => {
                    code = (code << 6) | u32::from(byte & 0x3f);
                    position = end;
                }
                _ => return REPLACEMENT,
            }
        }
        self.position = position;
        code
    }

    /// A `\` has been read: the code of the `uXXXX` behind it, or its own.
    fn json_escape(&mut self) -> u32 {
        let code = || {
            let (letter, mut position) = read(self.bytes, self.position, self.level)?;
            if letter != b'u' {
                return None;
            }
            let mut code = 0_u32;
            for _ in 0..4 {
                let (digit, end) = read(self.bytes, position, self.level)?;
                code = (code << 4) | char::from(digit).to_digit(16)?;
                position = end;
            }
            Some((code, position))
        };
        match code() {
            Some((code, position)) => {
                self.position = position;
                code
            }
            None => u32::from(b'\\'),
        }
    }
}

/// The byte at `position` after `level` times percent-decoding, and where the next one begins.
fn read(bytes: &[u8], position: usize, level: u8) -> Option<(u8, usize)> {
    let byte = *bytes.get(position)?;
    let next = position.saturating_add(1);
    if byte != b'%' {
        return Some((byte, next));
    }
    let Some(above) = level.checked_sub(1) else { return Some((byte, next)) };
    let (byte, end) = read(bytes, position, above)?;
    if byte != b'%' {
        return Some((byte, end));
    }
    let digit = |position| {
        let (digit, end) = read(bytes, position, above)?;
        Some((u8::try_from(char::from(digit).to_digit(16)?).ok()?, end))
    };
    let decoded = digit(end).and_then(|(high, end)| digit(end).map(|(low, end)| ((high << 4) | low, end)));
    Some(decoded.unwrap_or((b'%', end)))
}

/// What a character stands for: ASCII for full-width forms and for the spaces and dashes that people and programs put
/// into numbers, nothing for what is not seen.
fn fold(code: u32) -> Option<u32> {
    Some(match code {
        // Full-width ! to ~, in the order of ASCII.
        0xff01..=0xff5e => code.saturating_sub(0xfee0),
        0x00a0 | 0x2000..=0x200a | 0x202f | 0x205f | 0x3000 => u32::from(b' '),
        0x2010..=0x2015 | 0x2212 | 0xfe58 | 0xfe63 => u32::from(b'-'),
        0x00ad | 0x200b..=0x200f | 0x2060 | 0xfeff => return None,
        _ => code,
    })
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn reads(text: &str, level: u8) -> String {
        let mut cursor = Cursor::new(text.as_bytes(), level);
        core::iter::from_fn(|| cursor.next()).map(|byte| if byte == OTHER { '#' } else { char::from(byte) }).collect()
    }

    #[test]
    fn a_text_reads_as_somebody_may_read_it() {
        let table: &[(&str, u8, &str, &str)] = &[
            ("abc", 0, "abc", "plain"),
            ("%31", 0, "%31", "not decoded"),
            ("%31%3a", 1, "1:", "once, either case of hex"),
            ("%2531", 1, "%31", "encoded twice, decoded once"),
            ("%2531", 2, "1", "twice"),
            ("%25%33%31", 2, "1", "twice, each character of the escape too"),
            ("%252531", 3, "1", "three times"),
            ("%zz%4", 1, "%zz%4", "no escapes"),
            ("%%31", 1, "%1", "a % before an escape"),
            ("１３８", 0, "138", "full-width digits"),
            ("ａ＠ｂ", 0, "a@b", "full-width letters and signs"),
            ("%EF%BC%91", 1, "1", "full-width, encoded"),
            ("%EF%BC", 1, "##", "cut in the middle of a character"),
            ("中1", 0, "#1", "a character that stands for none"),
            ("\u{1f600}1", 0, "#1", "four bytes"),
            ("1\u{200b}2", 0, "12", "a zero-width space"),
            ("1\u{a0}2\u{2011}3", 0, "1 2-3", "a no-break space and dash"),
            (r"\u0031\u0040", 0, "1@", "JSON's escapes"),
            (r"\u00", 0, r"\u00", "no escape"),
            (r"%5Cu0031", 1, "1", "JSON's escape, percent-encoded"),
        ];
        for (text, level, expected, why) in table {
            assert_eq!(reads(text, *level), *expected, "{why}");
        }
    }
}
