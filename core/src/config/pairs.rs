//! `name=value,name2=value2`: the form that `attributes_list` and `headers_list` share with the environment
//! variables `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_EXPORTER_OTLP_HEADERS`: W3C Baggage without properties, where
//! characters outside its range are percent-encoded.

use super::error::Problem;
use super::reader::Reader;
use crate::hex;

/// One entry, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// From 1.
    pub(super) position: usize,
    /// Never empty.
    pub(super) name: String,
    /// May be empty.
    pub(super) value: String,
}

/// The entries of a text. Empty entries (a comma at the end) are skipped; malformed ones are reported and left out.
pub(super) fn read_pairs(reader: &Reader<'_>) -> Vec<Pair> {
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
            Ok((name, value)) => pairs.push(Pair {
                position,
                name,
                value,
            }),
            Err(allowed) => report_entry(reader, position, entry, allowed),
        }
    }
    pairs
}

/// Reports one entry of a comma-separated text, by its position and (unless it may be secret) its text.
pub(super) fn report_entry(reader: &Reader<'_>, position: usize, entry: &str, allowed: &str) {
    reader.report(Problem::MalformedEntry {
        position,
        found: reader.found_text(entry),
        allowed: allowed.to_owned(),
    });
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
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits = bytes
            .next()
            .zip(bytes.next())
            .map(|(high, low)| [high, low]);
        let byte = digits
            .and_then(|digits| hex::parse_any_case(&digits))
            .and_then(|byte| u8::try_from(byte).ok());
        decoded.push(byte.ok_or("name=value where each % is followed by two hexadecimal digits")?);
    }
    String::from_utf8(decoded).map_err(|_| "name=value whose percent-encoded bytes are UTF-8")
}
