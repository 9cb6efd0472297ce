//! Whether and when a failed export is tried again.
//!
//! Sources: OTLP specification 1.x, "Failures" of OTLP/gRPC and of OTLP/HTTP; gRPC, "HTTP to gRPC Status Code
//! Mapping"; google.rpc `RetryInfo`; RFC 9110 §10.2.3 `Retry-After`.

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng};

use crate::config::short;
use crate::protobuf::{Field, delimited, next_field, number};

/// What an answer says about another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request would fail again.
    Never,
    /// The request was too large; its halves may not be.
    InHalves,
    /// Later, as the sender sees fit.
    Backoff,
    /// After so many ms: the backend said when.
    After(u64),
}

/// How long a sender waits before its tries.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    jitter: SplitMix64,
}

/// The wait before the first retry, ms; it doubles with each further one.
const FIRST_WAIT_MS: u64 = 1_000;

/// The shortest wait that chance gives the first retry, and that any retry has, ms.
pub(super) const SHORTEST_WAIT_MS: u64 = FIRST_WAIT_MS / 2;

/// The longest wait, ms.
const LONGEST_WAIT_MS: u64 = 30_000;

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self { jitter: SplitMix64::seed_from_u64(seed) }
    }

    /// How many ms to wait after `failures` failures in a row: exponential, and between half of that and all of it, so
    /// that a fleet whose backend went away does not come back to it in step.
    #[inline]
    pub(super) fn wait_ms(&mut self, failures: u32) -> u64 {
        let doublings = failures.saturating_sub(1).min(16);
        let wait = FIRST_WAIT_MS.checked_shl(doublings).unwrap_or(LONGEST_WAIT_MS).min(LONGEST_WAIT_MS);
        let half = wait / 2;
        half.saturating_add(self.jitter.next_u64().checked_rem(half.saturating_add(1)).unwrap_or(0))
    }
}

/// What an HTTP status says. `now` is in ns since the Unix epoch, for a `Retry-After` that is a date.
#[inline]
pub(super) fn by_http_status(status: &[u8], retry_after: Option<&[u8]>, now: u64) -> Retry {
    match status {
        b"429" | b"502" | b"503" | b"504" => match retry_after.and_then(|value| delay_ms(value, now)) {
            Some(ms) => Retry::After(ms),
            None => Retry::Backoff,
        },
        b"413" => Retry::InHalves,
        _ => Retry::Never,
    }
}

/// `Retry-After`: seconds, or a date.
#[inline]
fn delay_ms(value: &[u8], now: u64) -> Option<u64> {
    let text = core::str::from_utf8(value).ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let date_ms = u64::try_from(date.as_millis()).ok()?;
    Some(date_ms.saturating_sub(now / 1_000_000))
}

/// What a gRPC status says. `details` is `grpc-status-details-bin`.
#[inline]
pub(super) fn by_grpc_status(code: &[u8], message: &str, details: Option<&[u8]>) -> Retry {
    let told = || details.and_then(retry_info_ms);
    match code {
        // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS
        b"1" | b"4" | b"10" | b"11" | b"14" | b"15" => told().map_or(Retry::Backoff, Retry::After),
        // RESOURCE_EXHAUSTED: the backend recovers only if it says when. gRPC servers answer the same to a message
        // that is above their limit, and say so in words only.
        b"8" => match told() {
            Some(ms) => Retry::After(ms),
            None if is_about_size(message) => Retry::InHalves,
            None => Retry::Never,
        },
        _ => Retry::Never,
    }
}

/// What gRPC implementations say of a message above the receiver's limit: "larger than max" (Go, C++, Python),
/// "exceeds maximum size" (Java), "message length too large" (Rust).
#[inline]
fn is_about_size(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["larger than max", "exceeds maximum", "too large"].iter().any(|words| short::find(&message, words).is_some())
}

/// The delay of a `google.rpc.RetryInfo` among the details of a `google.rpc.Status`.
#[inline]
fn retry_info_ms(details: &[u8]) -> Option<u64> {
    // Binary metadata is base64, with or without its padding.
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&base64::alphabet::STANDARD, lenient).decode(details).ok()?;
    let mut status = bytes.as_slice();
    while let Some(field) = next_field(&mut status) {
        if let (3, Field::Delimited(detail)) = field
            && delimited(detail, 1).is_some_and(|url| url.ends_with(b"/google.rpc.RetryInfo"))
        {
            // RetryInfo.retry_delay, and a Duration's seconds and nanos.
            let delay = delimited(delimited(detail, 2)?, 1)?;
            let seconds = i64::from_le_bytes(number(delay, 1).to_le_bytes());
            // An int32: of a longer varint the low bits count.
            let [a, b, c, d, ..] = number(delay, 2).to_le_bytes();
            let nanos = i64::from(i32::from_le_bytes([a, b, c, d]));
            let [seconds, nanos] = [seconds, nanos].map(|part| u64::try_from(part).unwrap_or(0));
            return Some(seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use prost::Message;

    use super::*;

    /// `google.rpc.Status`, as far as it concerns a retry.
    #[derive(Clone, PartialEq, Message)]
    struct RpcStatus {
        #[prost(message, repeated, tag = "3")]
        details: Vec<prost_types::Any>,
    }

    /// `google.rpc.RetryInfo`
    #[derive(Clone, PartialEq, Message)]
    struct RetryInfo {
        #[prost(message, optional, tag = "1")]
        retry_delay: Option<prost_types::Duration>,
    }

    fn details(delay: Option<prost_types::Duration>) -> String {
        let info = RetryInfo { retry_delay: delay };
        let any =
            |name: &str, value| prost_types::Any { type_url: format!("type.googleapis.com/google.rpc.{name}"), value };
        let status = RpcStatus { details: vec![any("Help", vec![1, 2]), any("RetryInfo", info.encode_to_vec())] };
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(status.encode_to_vec())
    }

    #[test]
    fn http_statuses() {
        let now = 784_111_777_000_000_000; // Sun, 06 Nov 1994 08:49:37 GMT
        let table: &[(&str, Option<&str>, Retry, &str)] = &[
            ("429", None, Retry::Backoff, "too many requests"),
            ("502", None, Retry::Backoff, "bad gateway"),
            ("503", Some("7"), Retry::After(7_000), "seconds"),
            ("503", Some("0"), Retry::After(0), "at once"),
            ("503", Some("Sun, 06 Nov 1994 08:49:42 GMT"), Retry::After(5_000), "a date"),
            ("503", Some("Sun, 06 Nov 1994 08:00:00 GMT"), Retry::After(0), "a date that has passed"),
            ("503", Some("soon"), Retry::Backoff, "neither"),
            ("503", Some("-1"), Retry::Backoff, "no number of seconds"),
            ("504", None, Retry::Backoff, "gateway timeout"),
            ("500", Some("7"), Retry::Never, "not among those that may be retried"),
            ("400", None, Retry::Never, "bad data stays bad"),
            ("401", None, Retry::Never, "no credentials"),
            ("413", None, Retry::InHalves, "too large"),
        ];
        for (status, after, expected, why) in table {
            assert_eq!(by_http_status(status.as_bytes(), after.map(str::as_bytes), now), *expected, "{status}: {why}");
        }
    }

    #[test]
    fn grpc_statuses() {
        let told = details(Some(prost_types::Duration { seconds: 2, nanos: 500_000_000 }));
        let untold = details(None);
        let negative = details(Some(prost_types::Duration { seconds: -2, nanos: -1 }));
        let table: &[(&str, &str, Option<&str>, Retry, &str)] = &[
            ("14", "", None, Retry::Backoff, "unavailable"),
            ("14", "", Some(&told), Retry::After(2_500), "unavailable, and the backend says for how long"),
            ("8", "quota", Some(&told), Retry::After(2_500), "exhausted, and recovering"),
            ("8", "quota", None, Retry::Never, "exhausted, and not recovering"),
            ("8", "quota", Some(&untold), Retry::Never, "RetryInfo without a delay"),
            ("8", "quota", Some(&negative), Retry::After(0), "a delay in the past"),
            ("8", "quota", Some("%%%"), Retry::Never, "details that are no base64"),
            ("8", "quota", Some("AAAA"), Retry::Never, "details that are no status"),
            (
                "8",
                "grpc: received message larger than max (5000000 vs. 4194304)",
                None,
                Retry::InHalves,
                "too large, in Go's words",
            ),
            ("1", "", None, Retry::Backoff, "cancelled"),
            ("4", "", None, Retry::Backoff, "deadline exceeded"),
            ("10", "", None, Retry::Backoff, "aborted"),
            ("11", "", None, Retry::Backoff, "out of range"),
            ("15", "", None, Retry::Backoff, "data loss"),
            ("2", "", None, Retry::Never, "unknown"),
            ("3", "", Some(&told), Retry::Never, "invalid argument, whatever the details say"),
            ("7", "", None, Retry::Never, "permission denied"),
            ("12", "", None, Retry::Never, "unimplemented"),
            ("13", "", None, Retry::Never, "internal"),
            ("16", "", None, Retry::Never, "unauthenticated"),
            ("", "", None, Retry::Never, "no number"),
        ];
        for (code, message, details, expected, why) in table {
            let found = by_grpc_status(code.as_bytes(), message, details.map(str::as_bytes));
            assert_eq!(found, *expected, "{code}: {why}");
        }
    }

    #[test]
    fn waits_double_and_differ() {
        let mut backoff = Backoff::new(7);
        for (failures, most) in [(1, 1_000), (2, 2_000), (3, 4_000), (6, 30_000), (60, 30_000), (u32::MAX, 30_000)] {
            for _ in 0..100 {
                let wait = backoff.wait_ms(failures);
                assert!((most / 2..=most).contains(&wait), "{failures}: {wait}");
            }
        }
        assert_ne!(Backoff::new(1).wait_ms(9), Backoff::new(2).wait_ms(9));
    }
}
