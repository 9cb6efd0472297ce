//! The byte form in which a proxy-wasm host and its guest hand each other lists of headers.
//!
//! Source: proxy-wasm ABI v0.2.1, "Serialization": a count, then each line's two lengths, then each line's two
//! texts with a NUL behind each; numbers are 32-bit little-endian.

use super::HeaderLine;

/// A list of header lines, checked once.
#[derive(Clone, Debug)]
pub struct Pairs<'a>(Lines<'a>);

fn read_u32(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
}

/// The next text of `len` bytes, and what is behind its NUL.
fn split_text(texts: &[u8], len: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = texts.split_at_checked(len)?;
    Some((text, rest.strip_prefix(b"\0")?))
}

impl<'a> Pairs<'a> {
    /// Reads a list. An empty input is an empty list, as hosts give it. `None` when the input lies about a length.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let lines = Lines::of(bytes)?;
        let mut walk = lines.clone();
        walk.by_ref().for_each(drop);
        walk.is_whole().then_some(Self(lines))
    }

    /// The lines, in order.
    pub fn iter(&self) -> impl Iterator<Item = HeaderLine<'a>> + use<'a> {
        self.0.clone()
    }
}

/// A list of header lines, checked while it is read: it ends where the input lies about a length.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    /// Eight bytes a line.
    lengths: &'a [u8],
    texts: &'a [u8],
}

impl<'a> Lines<'a> {
    /// The lines of a list. `None` when the input cannot have as many as it says.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self { lengths: &[], texts: &[] });
        }
        let (count, rest) = bytes.split_at_checked(4)?;
        let (lengths, texts) = rest.split_at_checked(read_u32(count)?.checked_mul(8)?)?;
        Some(Self { lengths, texts })
    }

    /// Whether all lines that the list promised were there; to be asked at its end.
    pub const fn is_whole(&self) -> bool {
        self.lengths.is_empty()
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = HeaderLine<'a>;

    fn next(&mut self) -> Option<HeaderLine<'a>> {
        // Each line takes its texts from what is left; one that cannot ends the walk early.
        let (lengths, rest) = self.lengths.split_at_checked(8)?;
        let (name, value) = lengths.split_at_checked(4)?;
        let (name, texts) = split_text(self.texts, read_u32(name)?)?;
        let (value, texts) = split_text(texts, read_u32(value)?)?;
        (self.lengths, self.texts) = (rest, texts);
        Some((name, value))
    }
}

/// Writes a list. `None` when a length does not fit 32 bits.
pub fn serialize<'a>(lines: impl Iterator<Item = HeaderLine<'a>> + Clone) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&u32::try_from(lines.clone().count()).ok()?.to_le_bytes());
    for (name, value) in lines.clone() {
        bytes.extend_from_slice(&u32::try_from(name.len()).ok()?.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(value.len()).ok()?.to_le_bytes());
    }
    for (name, value) in lines {
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(value);
        bytes.push(0);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn read(bytes: &[u8]) -> Option<Vec<HeaderLine<'_>>> {
        Some(Pairs::parse(bytes)?.iter().collect())
    }

    #[test]
    fn what_is_written_reads_back() {
        let lines: &[HeaderLine<'_>] = &[(b":path", b"/"), (b"x", b""), (b"", b"\xff"), (b"x", b"2")];
        assert_eq!(read(&serialize(lines.iter().copied()).unwrap()).unwrap(), lines);
        assert_eq!(read(&serialize([].into_iter()).unwrap()).unwrap(), []);
    }

    #[test]
    fn a_list_that_lies_is_refused() {
        let good = serialize([(&b"ab"[..], &b"c"[..])].into_iter()).unwrap();
        for end in 1..good.len() {
            assert_eq!(read(&good[..end]), None, "cut after {end} bytes");
        }
        let mut many = good.clone();
        many[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(read(&many), None, "more lines than the input can hold");
        let mut long = good.clone();
        long[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(read(&long), None, "a name longer than the input");
        assert_eq!(read(b""), Some(vec![]), "nothing is an empty list");
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(pairs) = Pairs::parse(&bytes) {
                let total: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
                prop_assert!(total <= bytes.len());
            }
        }

        #[test]
        fn lists_round_trip(lines in proptest::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..8)) {
            let borrowed = lines.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
            let bytes = serialize(borrowed.clone()).unwrap();
            prop_assert!(Pairs::parse(&bytes).unwrap().iter().eq(borrowed));
        }
    }
}
