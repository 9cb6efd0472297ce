//! Reading Protocol Buffers' wire format (protobuf.dev/programming-guides/encoding) field by field, without a type for
//! each message: the messages that are read are few and small, and `prost`'s readers of them took 12 KB of the module.
//! Tests read and write the same messages with `prost`.

use prost::encoding::{WireType, decode_key, decode_varint};

/// A field's value on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// A varint, or a fixed number of 32 or 64 bits.
    Number(u64),
    /// Bytes, text, an encoded message, or packed numbers.
    Delimited(&'a [u8]),
}

/// Takes the next field off: its number and its value. `None` for what is no field.
#[inline]
pub fn next_field<'a>(bytes: &mut &'a [u8]) -> Option<(u32, Field<'a>)> {
    let (number, wire) = decode_key(bytes).ok()?;
    let value = match wire {
        WireType::Varint => Field::Number(decode_varint(bytes).ok()?),
        WireType::SixtyFourBit => Field::Number(take_fixed64(bytes)?),
        WireType::ThirtyTwoBit => {
            let (value, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Field::Number(u64::from(u32::from_le_bytes(*value)))
        }
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
            let (value, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Field::Delimited(value)
        }
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    Some((number, value))
}

/// The bytes of the last field with this number; `None` where there is none.
#[inline]
pub fn delimited(mut message: &[u8], number: u32) -> Option<&[u8]> {
    let mut last = None;
    while let Some((field, value)) = next_field(&mut message) {
        if let Field::Delimited(bytes) = value
            && field == number
        {
            last = Some(bytes);
        }
    }
    last
}

/// The value of the last field with this number; 0 where there is none, as protobuf leaves zeros out.
#[inline]
pub fn number(mut message: &[u8], number: u32) -> u64 {
    let mut last = 0;
    while let Some((field, value)) = next_field(&mut message) {
        if let Field::Number(value) = value
            && field == number
        {
            last = value;
        }
    }
    last
}

/// Takes a fixed 64-bit value off.
#[inline]
pub fn take_fixed64(bytes: &mut &[u8]) -> Option<u64> {
    let (value, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*value))
}

#[cfg(test)]
mod tests {
    use prost::Message;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// Bytes, the field at their beginning, why.
    type Case<'a> = (&'a [u8], Option<(u32, Field<'a>)>, &'a str);

    #[test]
    fn fields_are_read_as_they_are_written() {
        let value = prost_types::Any { type_url: "a".into(), value: vec![1, 2] }.encode_to_vec();
        let mut rest = value.as_slice();
        assert_eq!(next_field(&mut rest), Some((1, Field::Delimited(b"a"))));
        assert_eq!(next_field(&mut rest), Some((2, Field::Delimited(&[1, 2]))));
        assert_eq!((next_field(&mut rest), rest), (None, &[][..]));
        let cases: &[Case<'_>] = &[
            (&[0x08, 0x96, 0x01], Some((1, Field::Number(150))), "a varint"),
            (&[0x11, 1, 0, 0, 0, 0, 0, 0, 0], Some((2, Field::Number(1))), "64 bits"),
            (&[0x1d, 1, 0, 0, 0], Some((3, Field::Number(1))), "32 bits"),
            (&[0x0a, 0], Some((1, Field::Delimited(b""))), "nothing in it"),
            (&[0x0a, 2, 1], None, "shorter than it says"),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], None, "longer than memory"),
            (&[0x08], None, "a key alone"),
            (&[0x08, 0xff], None, "a varint that does not end"),
            (&[0x11, 1], None, "too few of 64 bits"),
            (&[0x1d, 1], None, "too few of 32 bits"),
            (&[0x0b], None, "a group"),
            (&[0x00, 0x01], None, "field 0"),
            (&[], None, "nothing"),
        ];
        for (bytes, expected, why) in cases {
            assert_eq!(next_field(&mut &**bytes), *expected, "{why}");
        }
    }

    #[test]
    fn the_last_of_a_number_counts() {
        let message = [0x08, 5, 0x12, 1, b'a', 0x08, 7, 0x12, 1, b'b'];
        assert_eq!((number(&message, 1), number(&message, 2), number(&message, 3)), (7, 0, 0));
        assert_eq!((delimited(&message, 2), delimited(&message, 1)), (Some(&b"b"[..]), None));
    }
}
