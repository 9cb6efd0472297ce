//! W3C Trace Context Level 2, `tracestate` (<https://www.w3.org/TR/trace-context-2/#tracestate-header>).
//!
//! - Several lines combine in order. White space around members and empty members are allowed; a `tracestate` with
//!   nothing else in it is taken away rather than sent on (§3.3.1.1).
//! - A key or value outside the Level 2 grammar (§3.3.1.3) makes the whole list invalid, and it is discarded.
//! - A key that stands there again is dropped: "only one entry per key is allowed", and the left one is the latest.
//! - At most 32 members and 512 characters go on. Over that, members are dropped whole, from the right, and for the
//!   sake of length those of more than 128 characters first (§3.3.1.5). The specification leaves open what a
//!   receiver does with a 33rd member; dropping it loses less than discarding the list does.
//! - A combined value beyond 8 KiB is discarded unread.
//! - A list that needs no change keeps its header lines as they are.

use super::carrier::Lines;
use super::malformed::MalformedReason;

const MAX_MEMBERS: usize = 32;
const MAX_LENGTH: usize = 512;
const LONG_MEMBER: usize = 128;
const MAX_READ: usize = 8192;
const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 256;

/// Others' trace state, valid in every member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceState<'a> {
    /// Where the members stand: each is valid.
    lines: Lines<'a>,
    /// Whether the lines may go on just as they are.
    fits: bool,
}

impl<'a> TraceState<'a> {
    /// No members.
    pub const EMPTY: Self = Self { lines: Lines::None, fits: false };

    /// `true` when there is no member.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The members in order, key and value, before limits and duplicates are dealt with.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.lines.members().filter_map(|member| core::str::from_utf8(member).ok()?.split_once('='))
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.iter().find(|(candidate, _)| *candidate == key).map(|(_, value)| value)
    }

    /// The members as one header value within the limits, each key once, with `own` as
    /// [`OutgoingContext`](super::OutgoingContext) has it: what a span records. Empty for none.
    pub fn combined(&self, own: [Option<(&str, &str)>; 2]) -> String {
        self.write(own).unwrap_or_default()
    }

    /// Checks the header's lines. What is invalid comes out empty; the reason says what was, or what will be,
    /// dropped.
    pub(super) fn parse(lines: &Lines<'a>) -> (Self, Option<MalformedReason>) {
        if lines.is_absent() {
            return (Self::EMPTY, None);
        }
        let length = lines.combined_length();
        if length > MAX_READ {
            return (Self::EMPTY, Some(MalformedReason::TooLong));
        }
        let mut reason = (length > MAX_LENGTH).then_some(MalformedReason::TooLong);
        let mut keys: [&[u8]; MAX_MEMBERS] = [&[]; MAX_MEMBERS];
        let mut count: usize = 0;
        for member in lines.members() {
            let key = match check_member(member) {
                Ok(key) => key,
                Err(reason) => return (Self::EMPTY, Some(reason)),
            };
            match keys.get_mut(count) {
                // Full: what follows is dropped anyway, so it is not compared with what is kept.
                None => reason = Some(MalformedReason::TooManyMembers),
                Some(slot) => {
                    *slot = key;
                    if keys.iter().take(count).any(|known| *known == key) {
                        reason = Some(MalformedReason::DuplicateKey);
                    } else {
                        count = count.saturating_add(1);
                    }
                }
            }
        }
        if count == 0 {
            return (Self::EMPTY, None);
        }
        (Self { lines: lines.clone(), fits: reason.is_none() }, reason)
    }

    /// `true` when the header, whose lines are `current`, says all this just as it stands.
    pub(super) fn stands_in(&self, current: &Lines<'_>, own: [Option<(&str, &str)>; 2]) -> bool {
        own.iter().all(Option::is_none) && self.fits && self.lines == *current
    }

    /// The value that goes on: `own` first, then the other members in order, within the limits. `None` for none.
    pub(super) fn write(&self, own: [Option<(&str, &str)>; 2]) -> Option<String> {
        let removed = own.map(|own| own.filter(|(_, value)| value.is_empty()).map(|(key, _)| key));
        let own = own.iter().flatten().filter(|(key, value)| is_key(key.as_bytes()) && is_value(value.as_bytes()));
        let mut members: Vec<(&str, &str)> = own.copied().collect();
        let ours = members.len();
        for member in self.iter() {
            if members.len() >= MAX_MEMBERS {
                break;
            }
            if !removed.contains(&Some(member.0)) && !members.iter().any(|(known, _)| *known == member.0) {
                members.push(member);
            }
        }
        while written_length(&members) > MAX_LENGTH && members.len() > ours {
            let long = members
                .iter()
                .skip(ours)
                .rposition(|(key, value)| key.len().saturating_add(value.len()).saturating_add(1) > LONG_MEMBER);
            match long {
                Some(position) => {
                    members.remove(position.saturating_add(ours));
                }
                None => {
                    members.pop();
                }
            }
        }
        if members.is_empty() {
            return None;
        }
        let mut value = String::with_capacity(written_length(&members));
        for (key, text) in members {
            if !value.is_empty() {
                value.push(',');
            }
            value.push_str(key);
            value.push('=');
            value.push_str(text);
        }
        Some(value)
    }
}

/// The length of the members in one line: each with its `=`, and a comma between two.
fn written_length(members: &[(&str, &str)]) -> usize {
    members
        .iter()
        .fold(0_usize, |length, (key, value)| length.saturating_add(key.len()).saturating_add(value.len()))
        .saturating_add(members.len().saturating_mul(2).saturating_sub(1))
}

/// The key of a member that follows the grammar.
fn check_member(member: &[u8]) -> Result<&[u8], MalformedReason> {
    let mut parts = member.splitn(2, |byte| *byte == b'=');
    let key = parts.next().filter(|key| is_key(key)).ok_or(MalformedReason::BadKey)?;
    parts.next().filter(|value| is_value(value)).ok_or(MalformedReason::BadValue)?;
    Ok(key)
}

/// `key = ( lcalpha / DIGIT ) 0*255 ( keychar )`
fn is_key(key: &[u8]) -> bool {
    matches!(key.first(), Some(b'a'..=b'z' | b'0'..=b'9'))
        && key.len() <= MAX_KEY
        && key.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@'))
}

/// `value = 0*255(chr) nblk-chr`: printable ASCII without comma and equals sign, not ending with a space.
fn is_value(value: &[u8]) -> bool {
    matches!(value.last(), Some(last) if *last != b' ')
        && value.len() <= MAX_VALUE
        && value.iter().all(|byte| matches!(byte, b' '..=b'~' if *byte != b',' && *byte != b'='))
}

#[cfg(test)]
#[allow(clippy::type_complexity, clippy::too_many_lines, reason = "tables")]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::testing::Request;
    use super::*;

    /// Parses header lines; the value that goes on (`None`: no header), and what was noted.
    fn pass(lines: &[&str]) -> (Option<String>, Option<MalformedReason>) {
        let request = Request::new(&lines.iter().map(|line| ("tracestate", *line)).collect::<Vec<_>>());
        let carrier = request.carrier();
        let (state, reason) = TraceState::parse(&carrier.tracestate);
        assert_eq!(state.stands_in(&carrier.tracestate, [None; 2]), state.fits);
        assert_eq!(state.combined([None; 2]), state.write([None; 2]).unwrap_or_default());
        (state.write([None; 2]), reason)
    }

    #[test]
    fn grammar() {
        let key_256 = "k".repeat(256);
        let value_256 = "v".repeat(256);
        let all_value =
            (0x20..=0x7e_u8).filter(|byte| !matches!(byte, b',' | b'=')).map(char::from).collect::<String>();
        let table: &[(String, Option<MalformedReason>, &str)] = &[
            ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE".into(), None, "the specification's example"),
            ("1a=b".into(), None, "level 2: a key may begin with a digit"),
            ("fw529a3039@dt=FfAxvA".into(), None, "at sign"),
            ("foo@=1,foo@@bar=2,a@b@c=3".into(), None, "level 2: the at sign is an ordinary character"),
            ("abcdefghijklmnopqrstuvwxyz0123456789_-*/@=1".into(), None, "every key character"),
            (format!("a={all_value}"), None, "every value character"),
            (format!("{key_256}=1"), None, "a key of 256"),
            (format!("a={value_256}"), None, "a value of 256"),
            ("@foo=1,bar=2".into(), Some(MalformedReason::BadKey), "a key begins with a letter or a digit"),
            ("_foo=1".into(), Some(MalformedReason::BadKey), "nor with an underscore"),
            ("FOO=1".into(), Some(MalformedReason::BadKey), "upper case"),
            ("foo.bar=1".into(), Some(MalformedReason::BadKey), "a dot"),
            ("foo =1".into(), Some(MalformedReason::BadKey), "a space behind the key"),
            ("=1".into(), Some(MalformedReason::BadKey), "no key"),
            (format!("{key_256}k=1"), Some(MalformedReason::BadKey), "a key of 257"),
            ("foo".into(), Some(MalformedReason::BadValue), "no equals sign"),
            ("foo=,bar=3".into(), Some(MalformedReason::BadValue), "an empty value"),
            ("foo=  ,bar=3".into(), Some(MalformedReason::BadValue), "trailing spaces are no value"),
            ("foo=bar=baz".into(), Some(MalformedReason::BadValue), "an equals sign in a value"),
            ("foo=a\tb".into(), Some(MalformedReason::BadValue), "a tab in a value"),
            ("foo=\u{e9}".into(), Some(MalformedReason::BadValue), "not ASCII"),
            ("foo=\u{7f}".into(), Some(MalformedReason::BadValue), "not printable"),
            (format!("a={value_256}v"), Some(MalformedReason::BadValue), "a value of 257"),
            ("good=1,B=2".into(), Some(MalformedReason::BadKey), "one invalid member spoils the list"),
        ];
        for (line, reason, why) in table {
            let expected = if reason.is_none() { Some(line.clone()) } else { None };
            assert_eq!(pass(&[line]), (expected, *reason), "{why}");
        }
    }

    #[test]
    fn lists() {
        let table: &[(&[&str], Option<&str>, Option<MalformedReason>, &str)] = &[
            (&[], None, None, "absent"),
            (&[""], None, None, "empty"),
            (&["", " \t", ",,"], None, None, "only empty members"),
            (&["foo=1", ""], Some("foo=1"), None, "an empty line behind"),
            (&["", "foo=1"], Some("foo=1"), None, "an empty line before"),
            (&["foo=1,", ",bar=2"], Some("foo=1,bar=2"), None, "empty members between"),
            (&["a=1,b=2", "c=3,d=4", "e=5"], Some("a=1,b=2,c=3,d=4,e=5"), None, "lines combine in order"),
            (&["foo=1 \t , \t bar=2, \t baz=3"], Some("foo=1,bar=2,baz=3"), None, "white space around members"),
            (&["\t foo=1 \t"], Some("foo=1"), None, "white space around the value"),
            (&["foo=  1"], Some("foo=  1"), None, "leading spaces belong to the value"),
            (&["foo=1 2 "], Some("foo=1 2"), None, "trailing ones do not"),
            (&["foo=1,foo=1"], Some("foo=1"), Some(MalformedReason::DuplicateKey), "the same member twice"),
            (&["foo=1,bar=2", "foo=3"], Some("foo=1,bar=2"), Some(MalformedReason::DuplicateKey), "the left one stays"),
        ];
        for (lines, value, reason, why) in table {
            assert_eq!(pass(lines), (value.map(str::to_owned), *reason), "{why}");
        }
    }

    #[test]
    fn limits() {
        let numbered = |count: usize| (1..=count).map(|n| format!("k{n:02}=v")).collect::<Vec<_>>().join(",");
        assert_eq!(pass(&[&numbered(32)]), (Some(numbered(32)), None), "32 members");
        assert_eq!(
            pass(&[&numbered(33)]),
            (Some(numbered(32)), Some(MalformedReason::TooManyMembers)),
            "the 33rd is dropped"
        );
        let long = |key: &str, length: usize| format!("{key}={}", "x".repeat(length - key.len() - 1));
        let exact = format!("{},{},{},{}", long("a", 127), long("b", 128), long("c", 128), long("d", 126));
        assert_eq!(exact.len(), 512);
        assert_eq!(pass(&[&exact]), (Some(exact.clone()), None), "512 characters");
        assert_eq!(
            pass(&[&format!("{exact}y")]),
            (Some(exact[..385].to_owned()), Some(MalformedReason::TooLong)),
            "513 characters: with no member over 128, the last one goes"
        );
        let (small, big) = (long("s", 100), long("big", 129));
        assert_eq!(
            pass(&[&format!("a=1,{big},{small},{},{},{}", long("t", 100), long("u", 100), long("w", 100))]),
            (
                Some(format!("a=1,{small},{},{},{}", long("t", 100), long("u", 100), long("w", 100))),
                Some(MalformedReason::TooLong)
            ),
            "the long member goes first, and then everything fits"
        );
        assert_eq!(
            pass(&[&format!("{},{},{},{},z=1", long("a", 130), long("b", 130), long("c", 130), long("d", 130))]),
            (
                Some(format!("{},{},{},z=1", long("a", 130), long("b", 130), long("c", 130))),
                Some(MalformedReason::TooLong)
            ),
            "of several long members the right one goes first"
        );
        assert_eq!(
            pass(&[&format!("{}={}", "k".repeat(256), "v".repeat(256))]),
            (None, Some(MalformedReason::TooLong)),
            "a valid member that is too long by itself"
        );
        assert_eq!(
            pass(&[&format!("a=1{}", " ".repeat(600)), "b=2"]),
            (Some("a=1,b=2".to_owned()), Some(MalformedReason::TooLong)),
            "white space counts on the way in, and is not sent on"
        );
        assert_eq!(pass(&[&format!("a=1,{}", ",".repeat(9000))]), (None, Some(MalformedReason::TooLong)), "9 KB");
    }

    #[test]
    fn own_member_goes_first_and_replaces() {
        let request = Request::new(&[("tracestate", "a=1,own=old,b=2")]);
        let carrier = request.carrier();
        let (state, _) = TraceState::parse(&carrier.tracestate);
        assert_eq!(state.write([Some(("own", "new")), None]).as_deref(), Some("own=new,a=1,b=2"));
        assert_eq!(
            state.write([Some(("OWN", "new")), None]).as_deref(),
            Some("a=1,own=old,b=2"),
            "a key out of grammar"
        );
        assert_eq!(
            state.write([Some(("own", "a,b")), None]).as_deref(),
            Some("a=1,own=old,b=2"),
            "a value out of grammar"
        );
        assert_eq!(TraceState::EMPTY.write([Some(("own", "new")), None]).as_deref(), Some("own=new"));
        assert_eq!(state.get("own"), Some("old"));
        assert_eq!(state.get("c"), None);

        let full = (1..=32).map(|n| format!("k{n:02}=v")).collect::<Vec<_>>().join(",");
        let request = Request::new(&[("tracestate", &full)]);
        let carrier = request.carrier();
        let (state, _) = TraceState::parse(&carrier.tracestate);
        let written = state.write([Some(("own", "new")), None]).unwrap();
        assert!(written.starts_with("own=new,k01=v,") && written.ends_with(",k31=v"), "the last makes room: {written}");
    }
}
