//! As much of an HTTP/2 client (RFC 9113) as the load needs: one request at a time on a connection, in clear text with
//! prior knowledge. It decodes no header block: of an answer's it knows how `:status: 200` begins it.

use anyhow::{bail, ensure};

/// What a client begins with: the preface, settings that are the defaults but for the streams' windows, and a window of
/// the connection that 20 million answers of 40 bytes fit in.
pub(crate) fn preface() -> Vec<u8> {
    const WINDOW: u32 = 1 << 30;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut settings = 4_u16.to_be_bytes().to_vec();
    settings.extend(WINDOW.to_be_bytes());
    bytes.extend(frame(SETTINGS, 0, 0, &settings));
    bytes.extend(frame(WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes()));
    bytes
}

/// A GET, on the stream of that number. Every header is a literal: both sides' tables stay empty.
pub(crate) fn request(stream: u32, target: &str, authority: &str, headers: &[(String, String)]) -> Vec<u8> {
    let mut block = vec![0x82, 0x86]; // :method GET, :scheme http
    block.push(0x04);
    put_text(&mut block, target);
    block.push(0x01);
    put_text(&mut block, authority);
    for (name, value) in headers {
        block.push(0x00);
        put_text(&mut block, &name.to_ascii_lowercase());
        put_text(&mut block, value);
    }
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block)
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A text without Huffman's code: its length with a prefix of seven bits (RFC 7541 §5.1), and its bytes.
fn put_text(block: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    if length < 127 {
        block.push(u8::try_from(length).unwrap_or(0));
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push(u8::try_from(length % 128).unwrap_or(0) | 128);
            length /= 128;
        }
        block.push(u8::try_from(length).unwrap_or(0));
    }
    block.extend(text.as_bytes());
}

/// What the whole frames at the beginning of some bytes came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    /// How many bytes they took.
    pub(crate) taken: usize,
    /// Whether one ended an answer.
    pub(crate) answered: bool,
    /// What is to be sent back.
    pub(crate) reply: Vec<u8>,
}

/// Reads them.
///
/// # Errors
/// At an answer that is not 200, and where the server ends the stream or the connection.
pub(crate) fn read(bytes: &[u8]) -> anyhow::Result<Read> {
    let mut read = Read::default();
    while let Some((head, rest)) = bytes[read.taken..].split_at_checked(9) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some(payload) = rest.get(..length) else { break };
        let (kind, flags) = (head[3], head[4]);
        match kind {
            HEADERS => {
                // Changes of a table's size may stand before the first field.
                let first = payload.iter().find(|byte| **byte & 0xe0 != 0x20);
                ensure!(first == Some(&0x88), "an answer that is not 200: {payload:02x?}");
                read.answered |= flags & END_STREAM != 0;
            }
            DATA => read.answered |= flags & END_STREAM != 0,
            SETTINGS if flags & ACK == 0 => read.reply.extend(frame(SETTINGS, ACK, 0, &[])),
            PING if flags & ACK == 0 => read.reply.extend(frame(PING, ACK, 0, payload)),
            RST_STREAM => bail!("the server reset the stream: {payload:02x?}"),
            GOAWAY => bail!("the server ends the connection: {payload:02x?}"),
            _ => {}
        }
        read.taken += 9 + length;
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whole_from_any_pieces() {
        let mut bytes = frame(SETTINGS, 0, 0, &[]);
        bytes.extend(frame(HEADERS, END_HEADERS, 1, &[0x20, 0x88, 0x00]));
        bytes.extend(frame(DATA, END_STREAM, 1, b"ok"));
        for cut in 0..bytes.len() {
            let read = read(&bytes[..cut]).unwrap();
            assert!(!read.answered && read.taken <= cut, "the first {cut} bytes");
        }
        let all = read(&bytes).unwrap();
        assert_eq!(all, Read { taken: bytes.len(), answered: true, reply: frame(SETTINGS, ACK, 0, &[]) });
    }

    #[test]
    fn only_200_counts_and_what_ends_a_stream_is_an_error() {
        for (frame, why) in [
            (frame(HEADERS, END_HEADERS, 1, &[0x8d]), "404"),
            (frame(HEADERS, END_HEADERS, 1, &[]), "no status"),
            (frame(RST_STREAM, 0, 1, &[0; 4]), "reset"),
            (frame(GOAWAY, 0, 0, &[0; 8]), "the connection ends"),
        ] {
            assert!(read(&frame).is_err(), "{why}");
        }
    }

    #[test]
    fn a_long_text_has_a_long_length() {
        for (length, expected) in
            [(126, &[126_u8][..]), (127, &[127, 0]), (254, &[127, 127]), (255, &[127, 128, 1]), (1_337, &[127, 186, 9])]
        {
            let mut block = Vec::new();
            put_text(&mut block, &"a".repeat(length));
            assert_eq!(&block[..expected.len()], expected, "{length}");
            assert_eq!(block.len(), expected.len() + length);
        }
    }
}
