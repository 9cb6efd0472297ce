//! gRPC's frame around a unary message (gRPC over HTTP/2, "Length-Prefixed-Message"): one byte of compression
//! flag and four of length.
//!
//! The host's own gRPC call is not used: it hides the trailers' details and cannot send compressed messages.

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

/// The first message of a response body, `None` when there is none, it is compressed (never asked for), or it is
/// cut short.
pub(super) fn read_frame(body: &[u8]) -> Option<&[u8]> {
    let (head, rest) = body.split_at_checked(FRAME_HEAD)?;
    let (flag, length) = head.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    if *flag != 0 {
        return None;
    }
    rest.get(..usize::try_from(length).ok()?)
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
        assert_eq!(read_frame(&buffer), Some(&b"message"[..]));
    }

    #[test]
    fn what_is_no_frame_is_none() {
        let table: &[(&[u8], &str)] = &[
            (b"", "nothing"),
            (b"\0\0\0\0", "half a head"),
            (b"\0\0\0\0\x02a", "shorter than it says"),
            (b"\x01\0\0\0\x01a", "compressed"),
            (b"\0\xff\xff\xff\xffa", "a length no body has"),
        ];
        for (body, why) in table {
            assert_eq!(read_frame(body), None, "{why}");
        }
        assert_eq!(read_frame(b"\0\0\0\0\0"), Some(&b""[..]), "an empty message is one");
    }
}
