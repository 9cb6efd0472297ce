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
    pub const EMPTY: Self = Self {
        lines: Lines::None,
        fits: false,
    };

    /// `true` when there is no member.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The members in order, key and value, before limits and duplicates are dealt with.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.lines
            .members()
            .filter_map(|member| core::str::from_utf8(member).ok()?.split_once('='))
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.iter()
            .find(|(candidate, _)| *candidate == key)
            .map(|(_, value)| value)
    }

    /// Checks the header's lines. What is invalid comes out empty; the reason says what was, or what will be,
    /// dropped.
    pub(super) fn parse(lines: &Lines<'a>) -> (Self, Option<MalformedReason>) {
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
            if keys.iter().take(count).any(|known| *known == key) {
                reason = Some(MalformedReason::DuplicateKey);
            } else if let Some(slot) = keys.get_mut(count) {
                *slot = key;
                count = count.saturating_add(1);
            } else {
                reason = Some(MalformedReason::TooManyMembers);
            }
        }
        if count == 0 {
            return (Self::EMPTY, None);
        }
        (
            Self {
                lines: lines.clone(),
                fits: reason.is_none(),
            },
            reason,
        )
    }

    /// `true` when the header, whose lines are `current`, says all this just as it stands.
    pub(super) fn stands_in(&self, current: &Lines<'_>, own: Option<(&str, &str)>) -> bool {
        own.is_none() && self.fits && self.lines == *current
    }

    /// The value that goes on: `own` first, then the other members in order, within the limits. `None` for none.
    pub(super) fn write(&self, own: Option<(&str, &str)>) -> Option<String> {
        let own = own.filter(|(key, value)| is_key(key.as_bytes()) && is_value(value.as_bytes()));
        let mut members: Vec<(&str, &str)> = Vec::new();
        members.extend(own);
        for member in self.iter() {
            if !members.iter().any(|(known, _)| *known == member.0) && members.len() < MAX_MEMBERS {
                members.push(member);
            }
        }
        let ours = usize::from(own.is_some());
        while written_length(&members) > MAX_LENGTH && members.len() > ours {
            let long = members.iter().skip(ours).rposition(|(key, value)| {
                key.len().saturating_add(value.len()).saturating_add(1) > LONG_MEMBER
            });
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
        .fold(0_usize, |length, (key, value)| {
            length.saturating_add(key.len()).saturating_add(value.len())
        })
        .saturating_add(members.len().saturating_mul(2).saturating_sub(1))
}

/// The key of a member that follows the grammar.
fn check_member(member: &[u8]) -> Result<&[u8], MalformedReason> {
    let mut parts = member.splitn(2, |byte| *byte == b'=');
    let key = parts
        .next()
        .filter(|key| is_key(key))
        .ok_or(MalformedReason::BadKey)?;
    parts
        .next()
        .filter(|value| is_value(value))
        .ok_or(MalformedReason::BadValue)?;
    Ok(key)
}

/// `key = ( lcalpha / DIGIT ) 0*255 ( keychar )`
fn is_key(key: &[u8]) -> bool {
    matches!(key.first(), Some(b'a'..=b'z' | b'0'..=b'9'))
        && key.len() <= MAX_KEY
        && key.iter().all(
            |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@'),
        )
}

/// `value = 0*255(chr) nblk-chr`: printable ASCII without comma and equals sign, not ending with a space.
fn is_value(value: &[u8]) -> bool {
    matches!(value.last(), Some(last) if *last != b' ')
        && value.len() <= MAX_VALUE
        && value
            .iter()
            .all(|byte| matches!(byte, b' '..=b'~' if *byte != b',' && *byte != b'='))
}
