//! Texts for the properties: made of secrets and of what secrets are made of, in every encoding.

use proptest::prelude::*;

/// Secrets in the spelling in which nothing of them may be found again.
pub(crate) const SECRETS: &[&str] = &[
    "13812345678",
    "19900001111",
    "11010119900501235X",
    "440308199901101512",
    "4111111111111111",
    "6200000000000005",
    "378282246310005",
    "alice.smith@",
    "GB82WEST12345698765432",
    "123-45-6789",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N",
    "AKIAIOSFODNN7EXAMPLE",
];

/// What a secret is written with where it needs more than itself.
fn completed(secret: &str) -> String {
    if secret.ends_with('@') { format!("{secret}example.com") } else { secret.to_owned() }
}

fn percent(text: &str, upper: bool) -> String {
    let escape = |byte: u8| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
    text.bytes().fold(String::new(), |all, byte| all + &escape(byte))
}

fn wide(text: &str) -> String {
    let wide = |character: char| match character {
        '!'..='~' => char::from_u32(u32::from(character) + 0xfee0).unwrap_or(character),
        other => other,
    };
    text.chars().map(wide).collect()
}

/// Ways to write the same text.
fn encoded(text: &str, way: u8) -> String {
    match way {
        0 => text.to_owned(),
        1 => percent(text, true),
        2 => percent(text, false),
        3 => percent(&percent(text, true), false),
        4 => text.replace('@', "%40").replace('.', "%2E"),
        5 => percent(text, true).replace('%', "%25"),
        6 => wide(text),
        7 => percent(&wide(text), true),
        8 => text.chars().fold(String::new(), |all, one| all + &format!("\\u{:04x}", u32::from(one))),
        _ => format!("%7B%22key%22%3A%22{text}%22%7D"),
    }
}

fn surroundings() -> impl Strategy<Value = (&'static str, &'static str)> {
    proptest::sample::select(vec![
        ("", ""),
        ("/users/", "/orders"),
        ("q=", "&page=2"),
        ("{\"key\":\"", "\"}"),
        ("error: <", ">: not found"),
        ("tenant=", ",region=cn"),
        ("a=1; b=", "; c=2"),
        ("电话", "。"),
        ("%", "%"),
        ("%zz", "%4"),
        ("%zz=", "%4"),
    ])
}

/// A secret, and a text with it.
pub(crate) fn planted() -> impl Strategy<Value = (String, String)> {
    let planted = (proptest::sample::select(SECRETS), 0_u8..10, surroundings());
    // An account number is one only where a word begins: letters and digits alone are many things.
    let planted = planted
        .prop_filter("within a word", |(secret, _, (before, _))| !(secret.starts_with("GB") && *before == "%zz"));
    planted.prop_map(|(secret, way, (before, after))| {
        (secret.to_owned(), format!("{before}{}{after}", encoded(&completed(secret), way)))
    })
}

/// A text as it is written, and percent-decoded once, twice and three times, full-width forms as ASCII.
pub(crate) fn readings(text: &str) -> Vec<String> {
    let mut readings = vec![text.to_owned()];
    for _ in 0..3 {
        let last = readings.last().cloned().unwrap_or_default();
        readings.push(String::from_utf8_lossy(&decode(last.as_bytes())).into_owned());
    }
    let narrow = |text: &String| {
        text.chars()
            .map(|character| match character {
                '！'..='～' => char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character),
                other => other,
            })
            .collect()
    };
    let narrowed: Vec<String> = readings.iter().map(narrow).collect();
    readings.extend(narrowed);
    readings
}

fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    decoded
}

/// Anything, but mostly what detectors look at.
pub(crate) fn texts() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        3 => planted().prop_map(|(_, text)| text),
        3 => "[0-9]{1,6}",
        2 => "[ +.%:@/='\"_*-]{1,3}",
        2 => "[a-zA-Z]{1,4}",
        1 => "(%[0-9a-fA-F]{2}){1,3}",
        1 => "\\PC{1,2}",
        1 => proptest::sample::select(vec![
            "://", "u:p@", "Bearer ", "basic ", "-----BEGIN ", "PRIVATE KEY", "-----END ", "203.0.113.7", "2001:db8::1",
            "%25", "\u{200b}", "REDACTED", "***", "hmac-", "sk_live_", "example.com",
        ]).prop_map(str::to_owned),
    ];
    proptest::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}
