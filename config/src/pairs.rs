//! `name=value,name2=value2`: the form that `attributes_list` and `headers_list` share with the environment
//! variables `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_EXPORTER_OTLP_HEADERS`: W3C Baggage without properties, where
//! characters outside its range are percent-encoded.

use crate::error::Problem;
use crate::percent;
use crate::reader::Reader;

/// One entry, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// From 1.
    pub(crate) position: usize,
    /// Never empty.
    pub(crate) name: String,
    /// May be empty.
    pub(crate) value: String,
}

/// The entries of a text. Empty entries (a comma at the end) are skipped; malformed ones are reported and left out.
pub(crate) fn read_pairs(reader: &Reader<'_>) -> Vec<Pair> {
    let Some(text) = reader.text() else {
        return Vec::new();
    };
    let mut pairs = Vec::new();
    for (index, entry) in text.split(',').map(str::trim).enumerate() {
        let position = index.saturating_add(1);
        if entry.is_empty() {
            continue;
        }
        match parse_pair(entry) {
            Ok((name, value)) => pairs.push(Pair { position, name, value }),
            Err(allowed) => report_entry(reader, position, entry, allowed),
        }
    }
    pairs
}

/// Reports one entry of a comma-separated text, by its position and (unless it may be secret) its text.
pub(crate) fn report_entry(reader: &Reader<'_>, position: usize, entry: &str, allowed: &str) {
    reader.report(Problem::MalformedEntry { position, found: reader.found_text(entry), allowed: allowed.to_owned() });
}

fn parse_pair(entry: &str) -> Result<(String, String), &'static str> {
    let (name, value) = entry.split_once('=').ok_or("name=value")?;
    let name = percent_decode(name.trim())?;
    if name.is_empty() {
        return Err("name=value with a name that is not empty");
    }
    Ok((name, percent_decode(value.trim())?))
}

fn percent_decode(text: &str) -> Result<String, &'static str> {
    let decoded = percent::decode_strictly(text.as_bytes())
        .ok_or("name=value where each % is followed by two hexadecimal digits")?;
    String::from_utf8(decoded).map_err(|_| "name=value whose percent-encoded bytes are UTF-8")
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::parse_pair;

    #[test]
    fn pairs() {
        let valid = [
            ("a=b", ("a", "b"), "plain"),
            ("a = b", ("a", "b"), "space around ="),
            ("a=b=c", ("a", "b=c"), "the first = divides"),
            ("a=", ("a", ""), "an empty value"),
            ("a=x%20y%2c%3D", ("a", "x y,="), "percent-encoded"),
            ("a%2Eb=1", ("a.b", "1"), "an encoded name"),
            ("a=%C3%A4", ("a", "ä"), "UTF-8"),
            ("a=ä+b", ("a", "ä+b"), "what need not be decoded"),
        ];
        for (text, (name, value), why) in valid {
            assert_eq!(parse_pair(text), Ok((name.to_owned(), value.to_owned())), "{why}");
        }
        let invalid = [
            ("a", "no ="),
            ("=b", "no name"),
            (" =b", "no name but a space"),
            ("a=%", "no digits"),
            ("a=%4", "one digit"),
            ("a=%zz", "no hex"),
            ("a=%+4", "a sign is no digit"),
            ("a=%ff", "not UTF-8"),
        ];
        for (text, why) in invalid {
            assert!(parse_pair(text).is_err(), "{text}: {why}");
        }
    }
}
