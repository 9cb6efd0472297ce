//! Names of gRPC methods.
//!
//! Source: gRPC, "gRPC over HTTP/2", "Requests".

/// The longest method whose name is taken, in bytes. No generated name comes near it.
pub const LONGEST_METHOD: usize = 200;

/// A method that is named as gRPC names methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcMethod<'a> {
    /// `package.Service`
    pub service: &'a [u8],
    /// `Method`
    pub method: &'a [u8],
}

impl<'a> GrpcMethod<'a> {
    /// Splits `package.Service/Method` at its last slash, as gRPC's servers do: some put a prefix before the service.
    /// `None` where a part is missing or empty, where a byte is no letter, digit, `_`, `.`, `-` or `/`, or where it is
    /// longer than [`LONGEST_METHOD`].
    #[inline]
    pub fn parse(name: &'a [u8]) -> Option<Self> {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/');
        if name.len() > LONGEST_METHOD || !name.iter().all(is_plain) {
            return None;
        }
        let slash = name.iter().rposition(|byte| *byte == b'/')?;
        let (service, rest) = name.split_at_checked(slash)?;
        let method = rest.strip_prefix(b"/")?;
        let whole = !method.is_empty() && service.split(|byte| *byte == b'/').all(|part| !part.is_empty());
        whole.then_some(Self { service, method })
    }
}
