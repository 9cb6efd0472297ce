//! gzip (RFC 1952) around DEFLATE: one member, written without a name or a time, and read with whatever it brings.
//!
//! The frame is a header of ten bytes and a checksum; a library's readers and writers of streams, with
//! its tables of 16 KiB for the checksum, made the module 30 KiB larger.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Magic number, DEFLATE, no flags, no time, the fastest level's mark, no operating system's.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// The bits of the header's fourth byte: what stands between the header and the data.
const HAS_HEADER_CHECKSUM: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;

/// What of the output is made room for at a time, bytes.
const STEP: usize = 16 << 10;

/// `message`, compressed, behind `head` bytes of zero. At the fastest level: a tick should not hold its worker up, and
/// items repeat themselves so much that it makes little difference.
pub(super) fn compress(head: usize, message: &[u8]) -> Option<Vec<u8>> {
    let mut packed = vec![0; head];
    packed.extend_from_slice(&HEAD);
    let mut deflate = Compress::new(Compression::fast(), false);
    loop {
        packed.reserve(STEP);
        let rest = message.get(usize::try_from(deflate.total_in()).ok()?..)?;
        if deflate.compress_vec(rest, &mut packed, FlushCompress::Finish).ok()? == Status::StreamEnd {
            break;
        }
    }
    packed.extend_from_slice(&checksum(message).to_le_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "the format has the length modulo 2^32")]
    packed.extend_from_slice(&(message.len() as u32).to_le_bytes());
    Some(packed)
}

/// The first `most` bytes of what `packed` holds; `None` where it is no gzip, is cut short, or, as far as it is read to
/// its end, is not what was compressed.
#[inline]
pub(super) fn decompress(packed: &[u8], most: usize) -> Option<Vec<u8>> {
    let data = after_head(packed)?;
    let mut inflate = Decompress::new(false);
    let mut plain = Vec::new();
    while plain.len() < most {
        plain.reserve_exact(STEP.min(most.saturating_sub(plain.len())));
        let (before, was) = (inflate.total_in(), plain.len());
        let rest = data.get(usize::try_from(before).ok()?..)?;
        if inflate.decompress_vec(rest, &mut plain, FlushDecompress::None).ok()? == Status::StreamEnd {
            let end = data.get(usize::try_from(inflate.total_in()).ok()?..)?;
            let sum = u32::from_le_bytes(*end.first_chunk()?);
            return (sum == checksum(&plain)).then_some(plain);
        }
        if inflate.total_in() == before && plain.len() == was {
            return None;
        }
    }
    plain.truncate(most);
    Some(plain)
}

/// What follows the header.
#[inline]
fn after_head(packed: &[u8]) -> Option<&[u8]> {
    let (&[0x1f, 0x8b, 8, flags, ..], mut rest) = packed.split_first_chunk::<10>()? else { return None };
    let has = |flag| flags & flag != 0;
    if has(HAS_EXTRA) {
        let (length, extra) = rest.split_first_chunk::<2>()?;
        rest = extra.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [HAS_NAME, HAS_COMMENT] {
        if has(text) {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = rest.get(end.checked_add(1)?..)?;
        }
    }
    if has(HAS_HEADER_CHECKSUM) { rest.get(2..) } else { Some(rest) }
}

/// CRC-32 as gzip has it. Byte by byte: what compresses takes many times as long as this.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |sum, byte| {
        let [low, ..] = (sum ^ u32::from(*byte)).to_le_bytes();
        (sum >> 8) ^ REMAINDERS.get(usize::from(low)).copied().unwrap_or_default()
    })
}

/// The remainders of each byte.
static REMAINDERS: [u32; 256] = remainders();

#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "computed by the compiler")]
const fn remainders() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte: u32 = 0;
    while byte < 256 {
        let mut sum = byte;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
            bit += 1;
        }
        table[byte as usize] = sum;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// Of every kind: nothing, one byte, what repeats itself, what does not, more than one step.
    fn messages() -> Vec<Vec<u8>> {
        let mut state = 1_u32;
        let mut noisy = |length: usize| -> Vec<u8> {
            let next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_le_bytes()[3]
            };
            std::iter::repeat_with(next).take(length).collect()
        };
        vec![vec![], vec![7], vec![7; 100_000], noisy(1_000), noisy(STEP), noisy(100_000), b"span".repeat(9_999)]
    }

    #[test]
    fn another_reads_what_is_written() {
        for message in messages() {
            let packed = compress(5, &message).unwrap();
            assert_eq!(packed[..5], [0; 5]);
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&packed[5..]).read_to_end(&mut plain).unwrap();
            assert!(plain == message, "{} bytes", message.len());
        }
    }

    #[test]
    fn what_another_writes_is_read_as_far_as_it_may_be() {
        for message in messages() {
            let builder = flate2::GzBuilder::new().filename("name").comment("comment").extra(vec![1, 2, 3]).mtime(4);
            let mut encoder = builder.write(Vec::new(), Compression::best());
            encoder.write_all(&message).unwrap();
            let packed = encoder.finish().unwrap();
            for most in [1, 999, 1 << 16, 1 << 20] {
                let expected = &message[..most.min(message.len())];
                assert!(decompress(&packed, most).as_deref() == Some(expected), "{most} of {}", message.len());
            }
        }
    }

    #[test]
    fn what_is_no_gzip_is_none() {
        let message = b"a message that is compressed".repeat(9);
        let packed = compress(0, &message).unwrap();
        for length in 0..packed.len() - 4 {
            assert_eq!(decompress(&packed[..length], 1 << 16), None, "cut to {length}");
        }
        for (place, why) in [(0, "magic"), (2, "method"), (packed.len() - 5, "checksum")] {
            let mut wrong = packed.clone();
            wrong[place] ^= 1;
            assert_eq!(decompress(&wrong, 1 << 16), None, "{why}");
        }
        for flags in [HAS_EXTRA, HAS_NAME, HAS_COMMENT, HAS_HEADER_CHECKSUM] {
            let mut cut = packed[..10].to_vec();
            cut[3] = flags;
            assert_eq!(decompress(&cut, 1 << 16), None, "{flags}: nothing there");
        }
    }

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
        assert_eq!(checksum(b""), 0);
        assert_eq!(checksum(b"a"), 0xe8b7_be43);
    }
}
