//! W3C Baggage (<https://www.w3.org/TR/baggage/>).
//!
//! A proxy owns no baggage, so it passes on what came, byte for byte. Two things are done when the propagator is
//! listed:
//!
//! - More than 64 members or more than 8192 bytes: members are dropped whole from the right, until both limits hold
//!   (§3.3.2). Since the header is written anew then, malformed members go too.
//! - Members can be read, for span attributes.
//!
//! A malformed member is counted and not read. Within the limits it stays in the header all the same: it is the
//! application's, the specification only allows to remove it, and taking it would change the request.

use std::borrow::Cow;

use super::carrier::{Lines, trim_optional_whitespace};
use super::malformed::MalformedReason;
use super::remove;
use crate::header::{HeaderEdit, is_token_byte};
use crate::percent;

const MAX_MEMBERS: usize = 64;
const MAX_LENGTH: usize = 8192;

/// The baggage of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baggage<'a> {
    lines: Lines<'a>,
}

impl<'a> Baggage<'a> {
    /// The value of `key`, percent-decoded (§3.3.1.3); of several members with that key the last, as the
    /// OpenTelemetry SDKs have it. It need not be UTF-8. A `%` that no two hex digits follow stands for itself.
    pub fn get(&self, key: &str) -> Option<Cow<'a, [u8]>> {
        let (_, value) = self.iter().filter(|(candidate, _)| *candidate == key.as_bytes()).last()?;
        Some(percent::decode(value))
    }

    /// The well-formed members within the limits, in order: key, and value as it stands (not decoded, without
    /// properties).
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        within_limits(&self.lines).filter_map(|member| parse_member(member).ok())
    }

    /// Checks the header's lines; the reason says what is malformed or what will be dropped.
    pub(super) fn parse(lines: &Lines<'a>) -> (Self, Option<MalformedReason>) {
        let reason = if exceeds_length(lines) {
            Some(MalformedReason::TooLong)
        } else if exceeds_members(lines) {
            Some(MalformedReason::TooManyMembers)
        } else {
            lines.members().find_map(|member| parse_member(member).err())
        };
        (Self { lines: lines.clone() }, reason)
    }
}

/// Cuts the header down to the limits, where it exceeds them.
pub(super) fn enforce_limits(lines: &Lines<'_>, edits: &mut Vec<HeaderEdit>) {
    if !exceeds_length(lines) && !exceeds_members(lines) {
        return;
    }
    let mut value = String::new();
    for member in within_limits(lines) {
        let Some(text) = parse_member(member).ok().and_then(|_| core::str::from_utf8(member).ok()) else {
            continue;
        };
        if !value.is_empty() {
            value.push(',');
        }
        value.push_str(text);
    }
    if value.is_empty() {
        remove("baggage", true, edits);
    } else {
        edits.push(HeaderEdit::Set { name: "baggage".into(), value });
    }
}

fn exceeds_length(lines: &Lines<'_>) -> bool {
    lines.combined_length() > MAX_LENGTH
}

fn exceeds_members(lines: &Lines<'_>) -> bool {
    lines.members().nth(MAX_MEMBERS).is_some()
}

/// The members from the left, as many as both limits allow.
fn within_limits<'a>(lines: &Lines<'a>) -> impl Iterator<Item = &'a [u8]> {
    let mut length: usize = 0;
    lines.members().take(MAX_MEMBERS).take_while(move |member| {
        let comma = usize::from(length > 0);
        length = length.saturating_add(comma).saturating_add(member.len());
        length <= MAX_LENGTH
    })
}

/// Key and value of a member: `key OWS "=" OWS value *( OWS ";" OWS property )`.
fn parse_member(member: &[u8]) -> Result<(&[u8], &[u8]), MalformedReason> {
    let mut parts = member.split(|byte| *byte == b';');
    let (key, value) = split_pair(parts.next().unwrap_or(&[]));
    let value = value.ok_or(MalformedReason::BadSeparator)?;
    check(key, Some(value))?;
    for property in parts {
        let (key, value) = split_pair(property);
        check(key, value)?;
    }
    Ok((key, value))
}

/// What stands before and after the first equals sign, without white space.
fn split_pair(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = text.splitn(2, |byte| *byte == b'=');
    let key = parts.next().unwrap_or(&[]);
    (trim_optional_whitespace(key), parts.next().map(trim_optional_whitespace))
}

fn check(key: &[u8], value: Option<&[u8]>) -> Result<(), MalformedReason> {
    if key.is_empty() || !key.iter().all(|byte| is_token_byte(*byte)) {
        return Err(MalformedReason::BadKey);
    }
    match value {
        Some(value) if !value.iter().all(|byte| is_baggage_octet(*byte)) => Err(MalformedReason::BadValue),
        _ => Ok(()),
    }
}

/// `baggage-octet`: visible ASCII without double quote, comma, semicolon and backslash.
const fn is_baggage_octet(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

#[cfg(test)]
#[allow(clippy::type_complexity, reason = "tables")]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::testing::Request;
    use super::*;

    fn request(lines: &[&str]) -> Request {
        Request::new(&lines.iter().map(|line| ("baggage", *line)).collect::<Vec<_>>())
    }

    #[test]
    fn grammar() {
        use MalformedReason::{BadKey, BadSeparator, BadValue};
        let table: &[(&[&str], Option<MalformedReason>, &str)] = &[
            (&[], None, "absent"),
            (&[""], None, "empty"),
            (&["userId=alice,serverNode=DF%2028,isProduction=false"], None, "the specification's example"),
            (
                &["key1=value1;property1;property2, key2 = value2, key3=value3; propertyKey=propertyValue"],
                None,
                "properties",
            ),
            (&["userId =   alice", "serverNode = DF%2028, isProduction = false"], None, "lines and white space"),
            (&["key="], None, "an empty value"),
            (&["key=a=b=="], None, "equals signs in a value"),
            (&["a=1,,b=2,"], None, "empty members, which lists may have (RFC 9110 section 5.6.1)"),
            (&["k=%zz"], None, "a percent sign is an ordinary octet"),
            (&["key"], Some(BadSeparator), "no value"),
            (&["a=1,key;p=1"], Some(BadSeparator), "no value but a property"),
            (&["=value"], Some(BadKey), "no key"),
            (&["ke y=value"], Some(BadKey), "a space in a key"),
            (&["k@=value"], Some(BadKey), "an at sign in a key"),
            (&["k=a b"], Some(BadValue), "a space in a value"),
            (&["k=\"quoted\""], Some(BadValue), "double quotes"),
            (&["k=a\\b"], Some(BadValue), "a backslash"),
            (&["k=\u{e9}"], Some(BadValue), "not ASCII"),
            (&["k=v;"], Some(BadKey), "an empty property"),
            (&["k=v;p=a b"], Some(BadValue), "a space in a property's value"),
        ];
        for (lines, reason, why) in table {
            let request = request(lines);
            let carrier = request.carrier();
            assert_eq!(Baggage::parse(&carrier.baggage).1, *reason, "{why}");
            let mut edits = Vec::new();
            enforce_limits(&carrier.baggage, &mut edits);
            assert_eq!(edits, [], "within the limits nothing is touched: {why}");
        }
    }

    #[test]
    fn values() {
        let request = request(&["a=1,sp=DF%2028;prop=x, b = two ,bad key=3", "a=last,u=%C3%A9%FF,odd=%4,e="]);
        let carrier = request.carrier();
        let (baggage, _) = Baggage::parse(&carrier.baggage);
        let table: &[(&str, Option<&[u8]>, &str)] = &[
            ("a", Some(b"last"), "of several members the last"),
            ("sp", Some(b"DF 28"), "decoded, without properties"),
            ("b", Some(b"two"), "white space around"),
            ("u", Some(b"\xc3\xa9\xff"), "bytes, not text"),
            ("odd", Some(b"%4"), "a percent sign for itself"),
            ("e", Some(b""), "empty"),
            ("bad key", None, "a malformed member is not read"),
            ("prop", None, "a property is no member"),
            ("c", None, "absent"),
        ];
        for (key, value, why) in table {
            assert_eq!(baggage.get(key).as_deref(), *value, "{why}");
        }
        assert_eq!(baggage.iter().count(), 7);
    }

    #[test]
    fn limits() {
        let numbered = |from: usize, to: usize| (from..=to).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        let half = "v".repeat(4093);
        let fits = format!("a={half},b={}", "v".repeat(4094));
        assert_eq!(fits.len(), 8192);
        let table: &[(&[&str], &[&str], &str)] = &[
            (&[&numbered(1, 64)], &[&numbered(1, 64)], "64 members"),
            (&[&numbered(1, 65)], &[&numbered(1, 64)], "the 65th goes"),
            (&[&numbered(1, 40), &numbered(41, 80)], &[&numbered(1, 64)], "over several lines"),
            (&[&numbered(1, 40), "", &numbered(41, 64)], &[&numbered(1, 40), "", &numbered(41, 64)], "lines stay"),
            (&[&fits], &[&fits], "8192 bytes"),
            (&[&format!("{fits}v")], &[&format!("a={half}")], "8193 bytes: the last member goes"),
            (&[&format!("{fits},c=1")], &[&fits], "8196 bytes"),
            (&[&format!("a=1,b={},c=2", "v".repeat(60_000))], &["a=1"], "60 KB in the middle: the rest goes"),
            (&[&"v".repeat(60_000)], &[], "nothing left"),
            (
                &[&format!("{},bad key=1,{}", numbered(1, 10), numbered(11, 70))],
                &[&format!("{},{}", numbered(1, 10), numbered(11, 63))],
                "a malformed member goes when others do",
            ),
        ];
        for (lines, expected, why) in table {
            let mut request = request(lines);
            let mut edits = Vec::new();
            enforce_limits(&request.carrier().baggage, &mut edits);
            request.apply(&edits);
            assert_eq!(request.lines("baggage"), *expected, "{why}");
            edits.clear();
            enforce_limits(&request.carrier().baggage, &mut edits);
            assert_eq!(edits, [], "once is enough: {why}");
        }
    }
}
