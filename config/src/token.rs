//! HTTP tokens, and header names made of them.

/// `tchar` of RFC 9110 §5.6.2: what tokens, such as header names, are made of.
#[inline]
pub const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
}

/// Whether `text` is a token of RFC 9110 §5.6.2: at least one character, no space, no separator.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// A header name in lower case, or what a header name has to be.
pub(crate) fn header_name(text: &str) -> Result<String, &'static str> {
    if text.starts_with(':') {
        return Err("a header name; those that begin with : are not headers but parts of the request line");
    }
    if !is_token(text) {
        return Err("a header name, made of letters, digits and !#$%&'*+-.^_`|~");
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{header_name, is_token};

    #[test]
    fn tokens() {
        for text in ["GET", "x-a_b.c~1", "!#$%&'*+-.^_`|~"] {
            assert!(is_token(text), "{text}");
        }
        for text in ["", "a b", "a:b", "a,b", "a=b", "a\"", "ä", "a\n"] {
            assert!(!is_token(text), "{text:?}");
        }
    }

    #[test]
    fn header_names_are_lower_case() {
        assert_eq!(header_name("X-Tenant").as_deref(), Ok("x-tenant"));
        assert!(header_name(":path").unwrap_err().contains("request line"));
        assert!(header_name("x tenant").is_err());
    }
}
