//! Each detector with what it finds and what it leaves alone; every spelling of a secret.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::config::{FieldRule, InstrumentationConfig, MaskingConfig, MaskingMode, PatternRule};

fn masker() -> Masker {
    Masker::new(&MaskingConfig::default(), &InstrumentationConfig::default())
}

fn masked_by(masker: &Masker, text: &str) -> String {
    masker.value("key", text.as_bytes()).map_or_else(|| "(dropped)".to_owned(), |masked| masked.as_str().to_owned())
}

/// Tells every case that fails.
fn check(masker: &Masker, table: &[(&str, &str, &str)]) {
    let failures: Vec<_> = table
        .iter()
        .filter_map(|(text, expected, why)| {
            let found = masked_by(masker, text);
            (found != *expected).then(|| format!("{why}: {text:?} became {found:?}, not {expected:?}"))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// All stay as they are.
fn check_unchanged(masker: &Masker, table: &[(&str, &str)]) {
    let table: Vec<_> = table.iter().map(|(text, why)| (*text, *text, *why)).collect();
    check(masker, &table);
}

#[test]
fn chinese_mobile_numbers() {
    check(
        &masker(),
        &[
            ("13812345678", "138****5678", "the plain number"),
            ("tel=13812345678&x=1", "tel=138****5678&x=1", "among parameters"),
            ("/users/19912345678/orders", "/users/199****5678/orders", "in a path"),
            ("+8613812345678", "+86138****5678", "with +86"),
            ("+86 138 1234 5678", "+86 138****5678", "with +86 and spaces"),
            ("0086-13812345678", "0086-138****5678", "with 0086"),
            ("008613812345678", "0086138****5678", "with 0086 and nothing between"),
            ("8613812345678", "86138****5678", "with 86"),
            ("138-1234-5678", "138****5678", "dashes"),
            ("138.1234.5678", "138****5678", "dots"),
            ("138 12345678", "138****5678", "one space"),
            ("call 13812345678 or 13912345678", "call 138****5678 or 139****5678", "two of them"),
            ("tel13812345678", "tel138****5678", "behind letters that are no hexadecimal digits"),
            ("手机13812345678元", "手机138****5678元", "between Chinese characters"),
            ("id_13812345678_x", "id_138****5678_x", "between underscores"),
            (r#"{"phone":"13812345678"}"#, r#"{"phone":"138****5678"}"#, "in JSON"),
        ],
    );
    check_unchanged(
        &masker(),
        &[
            ("12812345678", "no mobile prefix"),
            ("1381234567", "ten digits"),
            ("138123456789", "twelve digits"),
            ("913812345678", "within a longer run"),
            ("1700000000", "seconds since the epoch"),
            ("1700000000000", "milliseconds since the epoch"),
            ("1700000000000000", "microseconds since the epoch"),
            ("1700000000000000000", "nanoseconds since the epoch"),
            ("1700000000.123", "seconds with a fraction"),
            ("0.13812345678", "a fraction"),
            ("139.69171234", "a longitude"),
            ("4bf92f13812345678a3ce929d0e0e473", "within a trace id"),
            ("a13812345678", "a hexadecimal number"),
            ("13812345-6781-4f3b-8a3c-138123456781", "a UUID"),
            ("2026-11-23 10:22:33", "a time"),
            ("138 1 2 3 4 5 6 7 8", "digits one by one"),
        ],
    );
}

#[test]
fn chinese_resident_ids() {
    check(
        &masker(),
        &[
            ("11010119900501235X", "110101********235X", "the plain id"),
            ("11010119900501235x", "110101********235X", "a small x"),
            ("id=440308199901101512;", "id=440308********1512;", "a digit at the end"),
            ("110101 19900501 235X", "110101********235X", "in groups"),
            ("/id/110101-19900501-235X/x", "/id/110101********235X/x", "with dashes, in a path"),
        ],
    );
    check_unchanged(
        &masker(),
        &[
            ("110101199005012351", "a wrong check digit"),
            ("11010119901301235X", "no such month"),
            ("11010119900230235X", "no such day"),
            ("99010119900501235X", "no such region"),
            ("111010119900501235X", "within a longer run"),
            ("11010119900501235Xa", "a letter behind it"),
        ],
    );
}

#[test]
fn payment_cards() {
    check(
        &masker(),
        &[
            ("4111111111111111", "************1111", "Visa"),
            ("5555555555554444", "************4444", "Mastercard"),
            ("2223003122003222", "************3222", "Mastercard's newer range"),
            ("378282246310005", "***********0005", "American Express"),
            ("30569309025904", "**********5904", "Diners Club"),
            ("6011111111111117", "************1117", "Discover"),
            ("3530111333300000", "************0000", "JCB"),
            ("6200000000000005", "************0005", "UnionPay"),
            ("6205500000000000004", "***************0004", "nineteen digits"),
            ("4222222222222", "*********2222", "thirteen digits"),
            ("4111 1111 1111 1111", "************1111", "spaces"),
            ("4111-1111-1111-1111", "************1111", "dashes"),
            ("4111+1111+1111+1111", "************1111", "plus signs"),
            ("3782 822463 10005", "***********0005", "American Express's groups"),
            ("card:4111111111111111 exp 12/27", "card:************1111 exp 12/27", "in a text"),
        ],
    );
    check_unchanged(
        &masker(),
        &[
            ("4111111111111112", "a wrong check digit"),
            ("411111111111", "twelve digits"),
            ("41111111111111111116", "twenty digits"),
            ("1234567812345670", "a valid check digit, but no network"),
            ("2026112310223354", "a number that begins with a date"),
            ("0.4111111111111111", "a fraction"),
            ("12.4222222222222", "decimals"),
            ("41-11111111-111111", "groups that no card has"),
            ("a4111111111111111b", "within a hexadecimal number"),
        ],
    );
}

#[test]
fn mail_addresses() {
    check(
        &masker(),
        &[
            ("alice@example.com", "a***@example.com", "the plain address"),
            ("mailto:alice@example.com?x=1", "mailto:a***@example.com?x=1", "in a URL"),
            ("a.b+tag@mail.example.co.uk", "a***@mail.example.co.uk", "dots and a tag"),
            ("<alice@example.com>,<bob@example.org>", "<a***@example.com>,<b***@example.org>", "two"),
            ("13812345678@qq.com", "1***@qq.com", "a number for a name"),
            ("alice@例子.公司", "a***@例子.公司", "an international domain"),
            ("张三@example.com", "***@example.com", "an international name"),
            ("Alice@EXAMPLE.COM.", "A***@EXAMPLE.COM.", "a dot behind it"),
        ],
    );
    check_unchanged(
        &masker(),
        &[
            ("/@user/repo", "no name before it"),
            ("user@host", "no domain"),
            ("/npm/lodash@4.17.21/lodash.min.js", "a version"),
            ("/img/icon@2x.png", "a file"),
            ("vue@3.global.js", "another file"),
            ("a@b@c", "twice"),
            ("@", "alone"),
            ("a.@example.com", "a dot before the @"),
            ("a***@example.com", "masked before"),
            ("root@10.0.0.1", "an address instead of a domain"),
        ],
    );
}

#[test]
fn bank_accounts() {
    check(
        &masker(),
        &[
            ("GB82WEST12345698765432", "GB****5432", "the plain number"),
            ("GB82 WEST 1234 5698 7654 32", "GB****5432", "in groups"),
            ("gb82west12345698765432", "GB****5432", "small letters"),
            ("iban=DE89+3704+0044+0532+0130+00&x", "iban=DE****3000&x", "in a query"),
            ("NO9386011117947", "NO****7947", "the shortest"),
        ],
    );
    check_unchanged(
        &masker(),
        &[
            ("GB82WEST12345698765433", "wrong check digits"),
            ("GB82WEST1234569876543", "too short"),
            ("GB82WEST123456987654321", "too long"),
            ("XX82WEST12345698765432", "no such country"),
            ("GB82 WEST1234 5698 7654 32", "odd groups"),
        ],
    );
}

#[test]
fn social_security_numbers() {
    check(
        &masker(),
        &[
            ("123-45-6789", "***-**-6789", "dashes"),
            ("ssn=123+45+6789&x", "ssn=***-**-6789&x", "plus signs"),
            ("123 45 6789", "***-**-6789", "spaces"),
        ],
    );
    check_unchanged(
        &masker(),
        &[
            ("123456789", "no separators: any number"),
            ("000-45-6789", "no such area"),
            ("666-45-6789", "no such area"),
            ("900-45-6789", "no such area"),
            ("123-00-6789", "no such group"),
            ("123-45-0000", "no such number"),
            ("123-45 6789", "two kinds of separators"),
            ("2023-123-45-6789", "within a longer number"),
            ("123-45-67890", "too long"),
            ("123-45-6789-1", "goes on"),
        ],
    );
}

const JWT: &str =
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";

#[test]
fn tokens_and_credentials() {
    let jwt_in_text = format!("token={JWT}&x=1");
    let bearer = format!("Bearer {JWT}");
    check(
        &masker(),
        &[
            (JWT, "REDACTED", "a JWT"),
            (&jwt_in_text, "token=REDACTED&x=1", "a JWT among parameters"),
            ("eyJhbGciOiJIUzI1NiJ9..dozjgNryP4J3jVmNHl0w5N", "REDACTED", "a JWT with its payload elsewhere"),
            (&bearer, "Bearer REDACTED", "a bearer's JWT"),
            ("bearer abc123def456", "bearer REDACTED", "a bearer's short token"),
            ("auth=Bearer+abc123def456&x", "auth=Bearer+REDACTED&x", "with a plus sign"),
            ("Basic dXNlcjpwYXNzd29yZA==", "Basic REDACTED", "user and password"),
            ("http://u:p@host/", "http://REDACTED:REDACTED@host/", "in a URL"),
            ("postgres://app:s3cr3t@db:5432/x", "postgres://REDACTED:REDACTED@db:5432/x", "in another URL"),
            ("redis://:p%40ss@cache", "redis://REDACTED:REDACTED@cache", "no user"),
            ("ftp://u:p@ss@host", "ftp://REDACTED:REDACTED@host", "an @ in the password"),
        ],
    );
    check_unchanged(
        &masker(),
        &[
            ("eyJhIjoxfQ", "an object in base64"),
            ("eyJhbGciOiJIUzI1NiJ9.abc", "too short"),
            ("bearer authentication required", "words"),
            ("Basic authentication", "words"),
            ("Bearer REDACTED", "masked before"),
            ("http://host:8080/@user", "a port and a path"),
            ("ssh://git@host/x", "a user alone"),
            ("http://REDACTED:REDACTED@host.example/", "masked before"),
        ],
    );
}

#[test]
fn keys_of_makers() {
    // Put together here, so that no scanner takes this file for a leak.
    let joined = |parts: &[&str]| parts.concat();
    let letters = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789";
    let keys = [
        (joined(&["AKIA", "IOSFODNN7EXAMPLE"]), "AWS"),
        (joined(&["ASIA", "IOSFODNN7EXAMPLE"]), "AWS, temporary"),
        (joined(&["AIza", &letters[..35]]), "Google's API key"),
        (joined(&["GOCSPX-", &letters[..28]]), "Google's client secret"),
        (joined(&["ya29.", letters, letters]), "Google's access token"),
        (joined(&["ghp_", letters]), "GitHub"),
        (joined(&["ghs_", letters]), "GitHub, of an app"),
        (joined(&["github_pat_", &letters[..22], "_", letters]), "GitHub, fine-grained"),
        (joined(&["xoxb-", "123456789012-", &letters[..24]]), "Slack"),
        (joined(&["xapp-", "1-A123-456-", &letters[..24]]), "Slack, of an app"),
        (joined(&["hooks.slack.com/services/", "T0000/B0000/", &letters[..24]]), "Slack's webhook"),
        (joined(&["sk_live_", &letters[..24]]), "Stripe"),
        (joined(&["rk_test_", &letters[..24]]), "Stripe, restricted"),
        (joined(&["whsec_", letters]), "Stripe's webhook secret"),
    ];
    for (key, why) in &keys {
        assert_eq!(masked_by(&masker(), key), REDACTED, "{why}");
        assert_eq!(masked_by(&masker(), &format!("a={key}&b")), "a=REDACTED&b", "{why}, among parameters");
    }
    check_unchanged(
        &masker(),
        &[
            ("AKIAIOSFODNN7EXAMPL", "too short"),
            ("AKIAIOSFODNN7EXAMPLE1X", "too long"),
            ("ghp_short", "too short"),
            ("sk_live_", "nothing behind it"),
            ("xox-city", "no token"),
            ("task_live_AbCdEfGhIjKlMn", "within a word"),
        ],
    );
}

#[test]
fn private_keys() {
    let dashes = "-----";
    let pem = format!("{dashes}BEGIN RSA PRIVATE KEY{dashes}\nMIIEow\n{dashes}END RSA PRIVATE KEY{dashes}");
    let cut = format!("{dashes}BEGIN PRIVATE KEY{dashes}\nMIIEow");
    let form = format!("key={dashes}BEGIN+EC+PRIVATE+KEY{dashes}%0AMIIEow%0A{dashes}END+EC+PRIVATE+KEY{dashes}&x=1");
    let public = format!("{dashes}BEGIN PUBLIC KEY{dashes}\nMIIEow");
    check(
        &masker(),
        &[
            (&pem, "REDACTED", "a key"),
            (&format!("a {pem} b"), "a REDACTED b", "in a text"),
            (&cut, "REDACTED", "cut"),
            (&form, "key=REDACTED&x=1", "in a form"),
            (&public, &public, "a public key"),
        ],
    );
}

#[test]
fn addresses_on_request() {
    let mut config = MaskingConfig::default();
    for detector in [Detector::Ipv4, Detector::Ipv6] {
        config.detectors.set(detector, Some(Action::Mask));
    }
    let masker = Masker::new(&config, &InstrumentationConfig::default());
    check(
        &masker,
        &[
            ("203.0.113.7", "203.0.113.*", "version 4"),
            ("203.0.113.7:8080", "203.0.113.*:8080", "with a port"),
            ("2001:db8:85a3::8a2e:370:7334", "2001:db8:*", "version 6"),
            ("[2001:db8::1]:443", "[2001:db8:*]:443", "in brackets"),
            ("fe80::1", "fe80:*", "one group"),
            ("::1", "*", "none"),
        ],
    );
    check_unchanged(
        &masker,
        &[
            ("1.2.3.4.5", "five parts"),
            ("1.2.3.256", "no octet"),
            ("01.2.3.4", "a leading zero"),
            ("v1.2.3.4", "a version"),
            ("10:22:33", "a time"),
            ("std::fmt", "a path"),
            ("aa:bb:cc:dd:ee:ff", "a hardware address"),
        ],
    );
    check_unchanged(&self::masker(), &[("203.0.113.7", "off by default"), ("2001:db8::1", "off by default")]);
}

#[test]
fn however_it_is_written() {
    check(
        &masker(),
        &[
            ("%31%33%38%31%32%33%34%35%36%37%38", "138****5678", "every character encoded"),
            ("%2531%2533812345678", "138****5678", "twice"),
            ("%25%33%31381234567%38", "138****5678", "an escape that is itself encoded"),
            ("%25%33%3113812345678", "%25%33%3113812345678", "twelve digits in the end"),
            ("%13812345678", "%138****5678", "a stray % before it"),
            ("13812345678%zz", "138****5678%zz", "a broken escape behind it"),
            ("13812345678%", "138****5678%", "a stray % behind it"),
            ("alice%40example.com", "a***%40example.com", "an encoded @"),
            ("%61lice%2540example%252ecom", "a***%2540example%252ecom", "encoded once and twice"),
            ("%7B%22phone%22%3A%2213812345678%22%7D", "%7B%22phone%22%3A%22138****5678%22%7D", "JSON, encoded"),
            (r"\u0031\u0033812345678", "138****5678", "JSON's escapes"),
            ("１３８１２３４５６７８", "138****5678", "full-width digits"),
            ("%EF%BC%91%ef%bc%93812345678", "138****5678", "full-width digits, encoded in either case"),
            ("alice＠example.com", "a***＠example.com", "a full-width @"),
            ("138\u{a0}1234\u{2011}5678", "138****5678", "a no-break space and dash"),
            ("138\u{200b}12345678", "138****5678", "a zero-width space"),
            ("a=%2B8613812345678", "a=%2B86138****5678", "an encoded +"),
            ("4111%201111%201111%201111", "************1111", "encoded spaces"),
            ("%4B%3D4111111111111111", "%4B%3D************1111", "behind an encoded letter"),
            ("http%3A%2F%2Fu%3Ap%40host", "http%3A%2F%2FREDACTED:REDACTED%40host", "a URL in a parameter"),
        ],
    );
}

#[test]
fn what_is_no_secret_stays() {
    check_unchanged(
        &masker(),
        &[
            ("", "nothing"),
            ("/api/v1/users/42/orders/2026112312345678", "an order's number"),
            ("550e8400-e29b-41d4-a716-446655440000", "a UUID"),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a traceparent"),
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "a ULID"),
            ("2026-11-23T10:22:33.123456789Z", "a time"),
            ("Mon, 23 Nov 2026 10:22:33 GMT", "a date"),
            ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0", "a browser"),
            ("W/\"686897696a7c876b7e\"", "an entity tag"),
            ("北京市朝阳区", "an address in words"),
            ("a\u{fffd}b%", "odds and ends"),
            ("1.2.3-4+5", "a version"),
            ("31.230416,121.473701", "a place"),
            ("ot=th:c;rv:9b8233f7e3a151", "sampling state"),
        ],
    );
}

#[test]
fn actions() {
    let with = |action| {
        let mut config =
            MaskingConfig { hash_key: crate::config::Config::from_json(
                br#"{"file_format": "1.1", "distribution": {"meshspan": {"masking": {"hash_key": "0123456789abcdef"}}}}"#,
            ).unwrap().meshspan.masking.hash_key, ..MaskingConfig::default() };
        for detector in Detector::ALL {
            config.detectors.set(*detector, Some(action));
        }
        Masker::new(&config, &InstrumentationConfig::default())
    };
    check(&with(Action::Redact), &[("a 13812345678 b", "a REDACTED b", "a number"), ("u@a.com", "REDACTED", "mail")]);
    check(&with(Action::Drop), &[("a 13812345678 b", "(dropped)", "all of it goes"), ("a", "a", "nothing to hide")]);
    let hashing = with(Action::Hash);
    let one = masked_by(&hashing, "13812345678");
    assert!(one.starts_with("hmac-") && one.len() == 21, "{one}");
    for spelling in ["138-1234-5678", "%313812345678", "１３８１２３４５６７８"] {
        assert_eq!(masked_by(&hashing, spelling), one, "equal values are equal, however they are written");
    }
    assert_ne!(masked_by(&hashing, "13812345679"), one);
}

fn with_field(rule: FieldRule) -> Masker {
    let config = MaskingConfig { fields: vec![rule], ..MaskingConfig::default() };
    Masker::new(&config, &InstrumentationConfig::default())
}

fn globs(names: &[&str]) -> Vec<Glob> {
    names.iter().map(|name| Glob::new(name)).collect()
}

#[test]
fn credentials_never_show() {
    let masker = masker();
    let header = |name: &str, value: &str| masker.header("k", name, value.as_bytes()).unwrap().as_str().to_owned();
    let table: &[(&str, &str, &str)] = &[
        ("authorization", "Bearer abc", REDACTED),
        ("cookie", "session=1", REDACTED),
        ("set-cookie", "session=1; Path=/", REDACTED),
        ("x-tenant", "blue", "blue"),
        ("x-phone", "13812345678", "138****5678"),
    ];
    for (name, value, expected) in table {
        assert_eq!(header(name, value), *expected, "{name}");
    }
}

#[test]
fn fields_by_name() {
    let treatment = Treatment { action: Action::Redact, kept: KeptEnds::default() };
    let masker = with_field(FieldRule {
        headers: globs(&["x-user-*"]),
        query_parameters: globs(&["*token", "name"]),
        cookies: globs(&["none"]),
        path_parameters: globs(&["user"]),
        attributes: globs(&["baggage.*"]),
        treatment,
    });
    let text = |masked: Option<Masked<'_>>| masked.unwrap().as_str().to_owned();
    assert_eq!(text(masker.header("k", "x-user-name", b"alice")), REDACTED);
    assert_eq!(text(masker.header("k", "x-name", b"alice")), "alice");
    let table: &[(&str, &str, &str)] = &[
        ("Name=alice&b=1", "Name=REDACTED&b=1", "a configured parameter"),
        ("%6eame=alice&access_token=1", "%6eame=REDACTED&access_token=REDACTED", "an encoded name, and a pattern"),
        ("sig=1&SIG=1", "sig=REDACTED&SIG=1", "the conventions' names have case"),
        ("name=&token", "name=&token", "no values"),
        ("tel=13812345678", "tel=138****5678", "another parameter"),
    ];
    for (query, expected, why) in table {
        assert_eq!(text(masker.query("url.query", query.as_bytes())), *expected, "{why}");
    }
    let cookies = text(masker.header("k", "cookie", b"a=1; none=2; c="));
    assert_eq!(cookies, "a=REDACTED; none=REDACTED; c=");
    let cookie = text(masker.header("k", "set-cookie", b"a=1; Path=/; Max-Age=5"));
    assert_eq!(cookie, "a=REDACTED; Path=/; Max-Age=5");
    let path = |path: &str, template| text(masker.path("url.path", path.as_bytes(), template));
    assert_eq!(path("/users/alice/orders/7", Some("/users/{user}/orders/{id}")), "/users/REDACTED/orders/7");
    assert_eq!(path("/users/alice", None), "/users/alice");
    assert_eq!(path("/users/alice/x", Some("/users/{user}/**")), "/users/REDACTED/x");
    assert_eq!(text(masker.value("baggage.user", b"alice")), REDACTED);
    assert_eq!(text(masker.value("url.path", b"alice")), "alice");
}

#[test]
fn a_dropped_field_takes_its_attribute_along() {
    let treatment = Treatment { action: Action::Drop, kept: KeptEnds::default() };
    let masker = with_field(FieldRule {
        query_parameters: globs(&["a"]),
        path_parameters: globs(&["id"]),
        treatment,
        ..FieldRule::default()
    });
    assert_eq!(masker.query("url.query", b"a=1&b=2"), None);
    assert_eq!(masker.query("url.query", b"b=2").unwrap().as_str(), "b=2");
    let url = Url { scheme: b"http", authority: b"h", path: Some(b"/x/1"), query: None, template: Some("/x/{id}") };
    assert_eq!(masker.url("url.full", &url), None);
}

#[test]
fn urls_lose_user_and_password() {
    let url = Url {
        scheme: b"https",
        authority: b"u:p@shop.example:8443",
        path: Some(b"/13812345678"),
        query: Some(b"sig=1"),
        template: None,
    };
    let expected = "https://REDACTED:REDACTED@shop.example:8443/138****5678?sig=REDACTED";
    assert_eq!(masker().url("url.full", &url).unwrap().as_str(), expected);
    let url = Url { scheme: b"http", authority: b"h", ..Url::default() };
    assert_eq!(masker().url("url.full", &url).unwrap().as_str(), "http://h");
}

fn with_pattern(source: &str, action: Action, first: u32, last: u32) -> MaskingConfig {
    let treatment = Treatment { action, kept: KeptEnds { first, last } };
    let rule = PatternRule { name: "own".to_owned(), pattern: Pattern::compile(source).unwrap(), treatment };
    MaskingConfig { patterns: vec![rule], ..MaskingConfig::default() }
}

#[test]
fn patterns_of_the_operator() {
    let masker = Masker::new(&with_pattern("EMP-[0-9]{6}", Action::Mask, 4, 2), &InstrumentationConfig::default());
    check(
        &masker,
        &[
            ("a EMP-123456 b", "a EMP-****56 b", "what it fits"),
            ("EMP%2D123456", "EMP%****56", "encoded"),
            ("EMP-12345", "EMP-12345", "what it does not fit"),
            ("EMP-123456 13812345678", "EMP-****56 138****5678", "beside a built-in detector"),
        ],
    );
    let masker = Masker::new(&with_pattern("[a-z]+", Action::Drop, 0, 0), &InstrumentationConfig::default());
    check(&masker, &[("123", "123", "nothing"), ("12a", "(dropped)", "all of it")]);
}

#[test]
fn report_counts_and_masks_nothing() {
    let config = MaskingConfig { mode: MaskingMode::Report, ..with_pattern("EMP-[0-9]{6}", Action::Drop, 0, 0) };
    let masker = Masker::new(&config, &InstrumentationConfig::default());
    let text = "EMP-123456 13812345678 %313812345678 138-1234-5678";
    assert_eq!(masker.value("url.path", text.as_bytes()).unwrap().as_str(), text);
    assert_eq!(masker.header("k", "authorization", b"Basic x").unwrap().as_str(), REDACTED, "in either mode");
    assert_eq!(masker.query("q", b"sig=1").unwrap().as_str(), "sig=REDACTED", "in either mode");
    let counts: Vec<_> = masker
        .counts()
        .take()
        .map(|(by, key, count)| (masker.name_of(by).to_owned(), key.to_string(), count))
        .collect();
    let key = || "url.path".to_owned();
    assert_eq!(counts, [("own".to_owned(), key(), 1), ("cn_mobile_number".to_owned(), key(), 3)]);
}

#[test]
fn what_is_masked_is_counted() {
    let masker = masker();
    assert_eq!(masked_by(&masker, "13812345678 13912345678 a@b.de"), "138****5678 139****5678 a***@b.de");
    let counts: Vec<_> =
        masker.counts().take().map(|(by, key, count)| (masker.name_of(by).to_owned(), key, count)).collect();
    assert_eq!(counts, [("cn_mobile_number".to_owned(), "".into(), 2), ("email".to_owned(), "".into(), 1)]);
}

#[test]
fn bytes_that_are_no_text_become_replacement_characters() {
    assert_eq!(masker().value("key", b"a\xffb").unwrap().as_str(), "a\u{fffd}b");
}
