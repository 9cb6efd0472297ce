//! gRPC's frame around a unary message (gRPC over HTTP/2, "Length-Prefixed-Message"): one byte of compression
//! flag and four of length.
//!
//! The host's own gRPC call is not used: it hides the trailers' details and cannot send compressed messages.

use std::borrow::Cow;

use super::gzip;

/// Bytes before a message.
pub(super) const FRAME_HEAD: usize = 5;

/// Fills in the frame head: `buffer` begins with [`FRAME_HEAD`] bytes kept free for it. `false` when the message is too
/// long for the frame (4 GiB).
pub(super) fn finish_frame(buffer: &mut [u8], compressed: bool) -> bool {
    let Ok(len) = u32::try_from(buffer.len().saturating_sub(FRAME_HEAD)) else { return false };
    let Some((head, _)) = buffer.split_at_mut_checked(FRAME_HEAD) else { return false };
    let [flag, length @ ..] = head else { return false };
    *flag = u8::from(compressed);
    length.copy_from_slice(&len.to_be_bytes());
    true
}

/// What is read of a compressed message, bytes: the rest of an answer that long says nothing more.
const MOST_MESSAGE: usize = 64 << 10;

/// The first message of a response body, `None` when there is none, it cannot be decompressed, or it is cut short.
///
/// `encoding` is `grpc-encoding`. Servers in Go answer as they are asked: a compressed request has a compressed answer,
/// whatever is accepted.
pub(super) fn read_frame<'a>(body: &'a [u8], encoding: Option<&[u8]>) -> Option<Cow<'a, [u8]>> {
    let (head, rest) = body.split_at_checked(FRAME_HEAD)?;
    let (flag, length) = head.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    let message = rest.get(..usize::try_from(length).ok()?)?;
    match (*flag, encoding) {
        (0, _) => Some(Cow::Borrowed(message)),
        (1, Some(b"gzip")) => gzip::decompress(message, MOST_MESSAGE).map(Cow::Owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_frame_reads_back() {
        let mut buffer = vec![9; FRAME_HEAD];
        buffer.extend_from_slice(b"message");
        assert!(finish_frame(&mut buffer, false));
        assert_eq!(buffer[..5], [0, 0, 0, 0, 7]);
        assert_eq!(read_frame(&buffer, None).as_deref(), Some(&b"message"[..]));
    }

    #[test]
    fn what_is_no_frame_is_none() {
        let table: &[(&[u8], &str)] = &[
            (b"", "nothing"),
            (b"\0\0\0\0", "half a head"),
            (b"\0\0\0\0\x02a", "shorter than it says"),
            (b"\x01\0\0\0\x01a", "compressed, and no gzip"),
            (b"\x02\0\0\0\x01a", "no such flag"),
            (b"\0\xff\xff\xff\xffa", "a length no body has"),
        ];
        for (body, why) in table {
            assert_eq!(read_frame(body, Some(b"gzip")), None, "{why}");
        }
        let empty = read_frame(b"\0\0\0\0\0", None);
        assert_eq!(empty.as_deref(), Some(&b""[..]), "an empty message is one");
    }

    #[test]
    fn a_compressed_message_is_read_as_far_as_it_may_be() {
        use std::io::Write;
        for (length, expected) in [(0, 0), (1_000, 1_000), (1 << 20, 64 << 10)] {
            let mut encoder = flate2::write::GzEncoder::new(vec![0; FRAME_HEAD], flate2::Compression::fast());
            encoder.write_all(&vec![7; length]).unwrap();
            let mut frame = encoder.finish().unwrap();
            assert!(finish_frame(&mut frame, true));
            assert_eq!(read_frame(&frame, Some(b"gzip")).map(|plain| plain.len()), Some(expected), "{length}");
            assert_eq!(read_frame(&frame, Some(b"zstd")), None, "never asked for");
            assert_eq!(read_frame(&frame, None), None, "nobody says how");
        }
    }
}
