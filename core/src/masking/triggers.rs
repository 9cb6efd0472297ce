//! What the automaton looks for. This file is read twice: by the crate, whose tests compare the names, and by
//! `build.rs`, which compiles the patterns into one automaton. So it is self-contained.
//!
//! A trigger need not be exact. It has to stand in every text in which its detector finds something, and in as few
//! others as can be had: a text with a trigger is read again, by the detector's own code.

/// The detectors' names, as configuration and counters have them, in the order of their bits.
#[allow(dead_code, reason = "read by build.rs, and compared with the detectors by a test")]
pub(crate) const NAMES: [&str; 20] = [
    "private_key",
    "url_credentials",
    "http_credentials",
    "jwt",
    "aws_access_key",
    "gcp_key",
    "github_token",
    "slack_token",
    "stripe_key",
    "email",
    "iban",
    "cn_resident_id",
    "payment_card",
    "cn_mobile_number",
    "us_ssn",
    "ipv4",
    "ipv6",
    // Not detectors: the text may say something else than its bytes, because of percent-encoding, or because of
    // characters beyond ASCII and JSON's escapes. Then it is looked at again, as it reads.
    "percent_encoding",
    "other_characters",
    // Not a detector either: the first part of one.
    "scheme",
];

/// Patterns in the syntax of the `regex` crate, over bytes, each with the name whose bit it sets.
#[allow(dead_code, reason = "read by build.rs")]
pub(crate) const TRIGGERS: &[(&str, &str)] = &[
    ("private_key", r"BEGIN[ +]"),
    ("http_credentials", r"(?i)bearer|basic"),
    ("jwt", r"eyJ"),
    ("aws_access_key", r"AKIA|ASIA|ABIA|ACCA"),
    ("gcp_key", r"AIza|GOCSP|ya29\."),
    ("github_token", r"gh[oprsu]_|github_p"),
    ("slack_token", r"xox[abceoprs]|xapp-|hooks\."),
    ("stripe_key", r"[sr]k_[lt]|whsec"),
    ("email", r"@"),
    // With an `@` somewhere, url_credentials: one pattern for both would make the automaton larger by half.
    ("scheme", r"://"),
    // Of pairs of hexadecimal letters only the countries: ids are made of those.
    ("iban", r"(?i)(^|[^A-Z0-9])([G-Z][A-Z]|[A-F][G-Z]|A[DE]|B[AE]|[DE]E)[0-9]{2}"),
    ("cn_resident_id", r"[0-9]([ +.-]*[0-9]){10}"),
    ("payment_card", r"[0-9]([ +.-]*[0-9]){10}"),
    ("cn_mobile_number", r"[0-9]([ +.-]*[0-9]){10}"),
    ("us_ssn", r"[ +.-][0-9]{2}[ +.-][0-9]"),
    ("ipv4", r"\."),
    ("ipv6", r":"),
    ("percent_encoding", r"%[0-9A-Fa-f]"),
    ("other_characters", r"\\u|[\x80-\xff]"),
];
