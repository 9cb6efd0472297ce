//! Keys and tokens whose makers gave them a shape, and PEM private keys.

use super::{Detector, Detectors, Found, KEYS, canonical};
use crate::masking::fold::Cursor;

/// How a key looks: a prefix, and how many characters of which kind follow.
struct Shape {
    detector: Detector,
    prefix: &'static [u8],
    least: usize,
    most: usize,
    accept: fn(u8) -> bool,
    /// Whether the prefix may end a word: `task_live_` has nothing to do with Stripe.
    in_words: bool,
}

const fn shape(
    detector: Detector,
    prefix: &'static [u8],
    (least, most): (usize, usize),
    accept: fn(u8) -> bool,
) -> Shape {
    let in_words = matches!(prefix, [b'A' | b'G' | b'g' | b'y' | b'h', ..]);
    Shape { detector, prefix, least, most, accept, in_words }
}

const fn base32(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'2'..=b'7')
}

const fn base62(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

const fn token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

const fn dotted(byte: u8) -> bool {
    token(byte) || matches!(byte, b'.')
}

const fn path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'/'
}

const LONG: usize = 512;

const SHAPES: &[Shape] = &[
    shape(Detector::AwsAccessKey, b"AKIA", (16, 16), base32),
    shape(Detector::AwsAccessKey, b"ASIA", (16, 16), base32),
    shape(Detector::AwsAccessKey, b"ABIA", (16, 16), base32),
    shape(Detector::AwsAccessKey, b"ACCA", (16, 16), base32),
    shape(Detector::GcpKey, b"AIza", (35, 35), token),
    shape(Detector::GcpKey, b"GOCSPX-", (20, LONG), token),
    shape(Detector::GcpKey, b"ya29.", (20, LONG), dotted),
    shape(Detector::GithubToken, b"ghp_", (30, LONG), base62),
    shape(Detector::GithubToken, b"gho_", (30, LONG), base62),
    shape(Detector::GithubToken, b"ghu_", (30, LONG), base62),
    shape(Detector::GithubToken, b"ghs_", (30, LONG), token),
    shape(Detector::GithubToken, b"ghr_", (30, LONG), base62),
    shape(Detector::GithubToken, b"github_pat_", (22, LONG), token),
    shape(Detector::SlackToken, b"xox", (12, LONG), dotted),
    shape(Detector::SlackToken, b"xapp-", (12, LONG), token),
    shape(Detector::SlackToken, b"hooks.slack.com/services/", (20, LONG), path),
    shape(Detector::SlackToken, b"hooks.slack.com/workflows/", (20, LONG), path),
    shape(Detector::SlackToken, b"hooks.slack.com/triggers/", (20, LONG), path),
    shape(Detector::StripeKey, b"sk_live_", (10, LONG), base62),
    shape(Detector::StripeKey, b"sk_test_", (10, LONG), base62),
    shape(Detector::StripeKey, b"rk_live_", (10, LONG), base62),
    shape(Detector::StripeKey, b"rk_test_", (10, LONG), base62),
    shape(Detector::StripeKey, b"whsec_", (16, LONG), path_or_base64),
];

const fn path_or_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+' | b'=')
}

/// The key that begins at `here` with `byte`. `word`: a word begins there.
pub(super) fn find(here: Cursor<'_>, byte: u8, word: bool, detectors: Detectors) -> Option<Found> {
    if !detectors.has_any(KEYS) {
        return None;
    }
    let fits = |shape: &&Shape| {
        shape.prefix.first() == Some(&byte) && detectors.has(shape.detector) && (word || shape.in_words)
    };
    let mut shapes = SHAPES.iter().filter(fits);
    shapes.find_map(|shape| {
        let mut cursor = here.skip(shape.prefix, false)?;
        // `xox` is followed by the kind of token and a dash.
        if shape.prefix == b"xox" && !is_slack_kind(cursor) {
            return None;
        }
        let count = cursor.skip_while(shape.most, shape.accept);
        // A run that goes on is something else, unless it is only longer than anybody looks.
        let ends = shape.most == LONG || !cursor.peek().is_some_and(token);
        if count < shape.least || !ends {
            return None;
        }
        if shape.most == LONG {
            cursor.skip_while(usize::MAX, shape.accept);
        }
        let text = canonical(here, cursor.position());
        Some(Found::whole(shape.detector, here.position(), cursor.position(), text))
    })
}

fn is_slack_kind(behind: Cursor<'_>) -> bool {
    let mut cursor = behind;
    let kind = cursor.next().is_some_and(|byte| b"abceoprs".contains(&byte));
    kind && matches!(cursor.next(), Some(b'-' | b'.'))
}

/// `-----BEGIN … PRIVATE KEY` where `here` is the first dash, up to the end of its `END` line, or of the text.
pub(super) fn find_private_key(here: Cursor<'_>, detectors: Detectors) -> Option<Found> {
    if !detectors.has(Detector::PrivateKey) {
        return None;
    }
    let mut cursor = here.skip(b"-----BEGIN", false)?;
    let space = |byte: u8| matches!(byte, b' ' | b'+');
    // Up to two words (`RSA`, `EC`, `ENCRYPTED`, `OPENSSH`) before `PRIVATE KEY`.
    let mut words: usize = 0;
    let begin = loop {
        if cursor.skip_while(1, space) == 0 || words > 2 {
            return None;
        }
        let key = cursor
            .skip(b"PRIVATE", false)
            .and_then(|mut behind| (behind.skip_while(1, space) == 1).then_some(behind)?.skip(b"KEY", false));
        if let Some(key) = key {
            break key;
        }
        if cursor.skip_while(9, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) == 0 {
            return None;
        }
        words = words.saturating_add(1);
    };
    let mut cursor = begin;
    let mut ended = false;
    let mut after_end = 0_usize;
    loop {
        let before = cursor;
        let Some(byte) = cursor.next() else { break };
        if !ended {
            ended = byte == b'-' && before.skip(b"-----END", false).is_some();
        } else if byte == b'-' {
            after_end = after_end.saturating_add(1);
            // Five dashes before END, five behind the words.
            if after_end == 9 {
                break;
            }
        }
    }
    let text = canonical(here, cursor.position());
    Some(Found::whole(Detector::PrivateKey, here.position(), cursor.position(), text))
}
