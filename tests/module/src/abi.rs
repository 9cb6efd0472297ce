//! The numbers and the wire forms of proxy-wasm ABI 0.2.1.

/// Header lines in order, names and values as bytes.
pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// What a host call answers. The numbers are the ABI's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status(pub u32);

#[allow(missing_docs, reason = "the names are the ABI's own")]
impl Status {
    pub const OK: Self = Self(0);
    pub const NOT_FOUND: Self = Self(1);
    pub const BAD_ARGUMENT: Self = Self(2);
    pub const SERIALIZATION_FAILURE: Self = Self(3);
    pub const PARSE_FAILURE: Self = Self(4);
    pub const BAD_EXPRESSION: Self = Self(5);
    pub const INVALID_MEMORY_ACCESS: Self = Self(6);
    pub const EMPTY: Self = Self(7);
    pub const CAS_MISMATCH: Self = Self(8);
    pub const RESULT_MISMATCH: Self = Self(9);
    pub const INTERNAL_FAILURE: Self = Self(10);
    pub const BROKEN_CONNECTION: Self = Self(11);
    pub const UNIMPLEMENTED: Self = Self(12);
}

/// Every status that is a failure, and one number that is none of them.
pub const STATUSES: [Status; 13] = [
    Status::NOT_FOUND,
    Status::BAD_ARGUMENT,
    Status::SERIALIZATION_FAILURE,
    Status::PARSE_FAILURE,
    Status::BAD_EXPRESSION,
    Status::INVALID_MEMORY_ACCESS,
    Status::EMPTY,
    Status::CAS_MISMATCH,
    Status::RESULT_MISMATCH,
    Status::INTERNAL_FAILURE,
    Status::BROKEN_CONNECTION,
    Status::UNIMPLEMENTED,
    Status(99),
];

/// A header map that the guest can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the ABI's own")]
pub enum MapType {
    RequestHeaders,
    RequestTrailers,
    ResponseHeaders,
    ResponseTrailers,
    GrpcInitialMetadata,
    GrpcTrailingMetadata,
    HttpCallResponseHeaders,
    HttpCallResponseTrailers,
}

impl MapType {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::RequestHeaders,
            1 => Self::RequestTrailers,
            2 => Self::ResponseHeaders,
            3 => Self::ResponseTrailers,
            4 => Self::GrpcInitialMetadata,
            5 => Self::GrpcTrailingMetadata,
            6 => Self::HttpCallResponseHeaders,
            7 => Self::HttpCallResponseTrailers,
            _ => return None,
        })
    }
}

/// What a metric does with the numbers it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the ABI's own")]
pub enum MetricType {
    Counter,
    Gauge,
    Histogram,
}

impl MetricType {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Counter,
            1 => Self::Gauge,
            2 => Self::Histogram,
            _ => return None,
        })
    }
}

/// The wire form of a header map: the count, all lengths, then name and value each with a NUL behind it.
/// Integers are 32 bits, little-endian.
pub fn encode_headers<N: AsRef<[u8]>, V: AsRef<[u8]>>(lines: &[(N, V)]) -> Vec<u8> {
    let mut bytes = number(lines.len()).to_vec();
    for (name, value) in lines {
        bytes.extend(number(name.as_ref().len()));
        bytes.extend(number(value.as_ref().len()));
    }
    for (name, value) in lines {
        bytes.extend(name.as_ref());
        bytes.push(0);
        bytes.extend(value.as_ref());
        bytes.push(0);
    }
    bytes
}

/// Reads the wire form back. `None` if a length does not fit or bytes are missing; empty bytes are an empty map.
pub fn parse_headers(bytes: &[u8]) -> Option<Headers> {
    if bytes.is_empty() {
        return Some(Headers::new());
    }
    let count = usize::try_from(u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
    let (lengths, mut rest) = bytes.get(4..)?.split_at_checked(count.checked_mul(8)?)?;
    let mut take = |length: &[u8]| -> Option<Vec<u8>> {
        let length = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
        let text = rest.get(..length)?.to_vec();
        rest = rest.get(length..)?.strip_prefix(&[0])?;
        Some(text)
    };
    let mut lines = Headers::new();
    for pair in lengths.chunks_exact(8) {
        lines.push((take(&pair[..4])?, take(&pair[4..])?));
    }
    Some(lines)
}

fn number(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("a header map is smaller than 4 GiB").to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_map_reads_back_as_it_was_written() {
        let lines: Headers = vec![
            (b":path".to_vec(), b"/".to_vec()),
            (b"empty".to_vec(), Vec::new()),
            (b"bytes".to_vec(), vec![0xff, 0x00, 0x80]),
        ];
        assert_eq!(parse_headers(&encode_headers(&lines)), Some(lines));
        assert_eq!(parse_headers(&[]), Some(Vec::new()));
    }

    #[test]
    fn a_header_map_cut_anywhere_is_refused() {
        let bytes = encode_headers(&[("a", "b"), ("c", "")]);
        for length in 1..bytes.len() {
            assert_eq!(parse_headers(&bytes[..length]), None, "cut to {length} bytes");
        }
    }
}
