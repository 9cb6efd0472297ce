//! Writing Protocol Buffers' wire format (protobuf.dev/programming-guides/encoding): the few shapes that OTLP
//! needs, straight into a byte buffer. Reading it field by field is `config`'s.

pub(crate) use crate::config::wire::{Field, delimited, next_field, number, take_fixed64};

/// How a field's value is laid out.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Fixed64 = 1,
    LengthDelimited = 2,
    Fixed32 = 5,
}

/// Appends a base-128 varint.
pub(crate) fn put_varint(buffer: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            buffer.push(low);
            return;
        }
        buffer.push(low | 0x80);
    }
}

/// How many bytes [`put_varint`] appends.
pub(crate) fn varint_len(value: u64) -> usize {
    // One byte for each 7 significant bits, and one for zero.
    let bits = 64_u32.saturating_sub((value | 1).leading_zeros());
    usize::try_from(bits.div_ceil(7)).unwrap_or(10)
}

fn put_key(buffer: &mut Vec<u8>, field: u32, wire: Wire) {
    put_varint(buffer, (u64::from(field) << 3) | wire as u64);
}

/// The length of a length-delimited field's key, length and `len` bytes of content. Field numbers below 16.
pub(crate) fn delimited_len(len: usize) -> usize {
    len.saturating_add(varint_len(len as u64)).saturating_add(1)
}

/// A length-delimited field's key and length: `len` bytes of content have to follow.
pub(crate) fn put_delimited_head(buffer: &mut Vec<u8>, field: u32, len: usize) {
    put_key(buffer, field, Wire::LengthDelimited);
    put_varint(buffer, len as u64);
}

/// A length-delimited field: bytes, text or an encoded message.
pub(crate) fn put_bytes(buffer: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_delimited_head(buffer, field, bytes.len());
    buffer.extend_from_slice(bytes);
}

/// A varint field.
pub(crate) fn put_uint(buffer: &mut Vec<u8>, field: u32, value: u64) {
    put_key(buffer, field, Wire::Varint);
    put_varint(buffer, value);
}

/// A fixed 64-bit field.
pub(crate) fn put_fixed64(buffer: &mut Vec<u8>, field: u32, value: u64) {
    put_key(buffer, field, Wire::Fixed64);
    buffer.extend_from_slice(&value.to_le_bytes());
}

/// A fixed 32-bit field.
pub(crate) fn put_fixed32(buffer: &mut Vec<u8>, field: u32, value: u32) {
    put_key(buffer, field, Wire::Fixed32);
    buffer.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use prost::encoding::decode_varint;

    use super::*;

    #[test]
    fn varints_have_the_length_that_is_foretold() {
        let mut values = vec![0, 1, u64::MAX];
        for shift in 0..64 {
            values.extend([1_u64 << shift, (1_u64 << shift).wrapping_sub(1)]);
        }
        for value in values {
            let mut buffer = Vec::new();
            put_varint(&mut buffer, value);
            assert_eq!(buffer.len(), varint_len(value), "{value}");
            assert_eq!(decode_varint(&mut buffer.as_slice()).unwrap(), value);
        }
    }
}
