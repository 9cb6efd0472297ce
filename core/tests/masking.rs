//! Masking as the rest of the crate uses it: what holds for every text, how often it is wrong, and what its page says.
#![cfg(not(target_arch = "wasm32"))]

#[path = "masking/corpus.rs"]
mod corpus;
#[path = "masking/examples.rs"]
mod examples;
#[path = "masking/strategies.rs"]
mod strategies;

use std::collections::BTreeMap;

use meshspan_core::config::Config;
use meshspan_core::masking::{Detector, Masker};
use proptest::prelude::*;

fn masker(masking: &str) -> Masker {
    let text = format!(r#"{{"file_format": "1.1", "distribution": {{"meshspan": {{"masking": {masking}}}}}}}"#);
    let config = Config::from_json(text.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"));
    Masker::new(&config.meshspan.masking, &config.instrumentation)
}

const ALL: &str = r#"{"detectors": {"ipv4": true, "ipv6": true}}"#;
const ALL_REPORTED: &str = r#"{"mode": "report", "detectors": {"ipv4": true, "ipv6": true}}"#;

fn hashing() -> String {
    let hash = |detector: &Detector| format!(r#""{}": "hash""#, detector.name());
    let detectors: Vec<_> = Detector::ALL.iter().map(hash).collect();
    format!(r#"{{"hash_key": "0123456789abcdef", "detectors": {{{}}}}}"#, detectors.join(", "))
}

fn masked(masker: &Masker, bytes: &[u8]) -> String {
    masker.value("key", bytes).expect("no action drops").as_str().to_owned()
}

/// What a masker in mode `report` finds in a text.
fn found(reporter: &Masker, text: &str) -> BTreeMap<String, u64> {
    assert_eq!(masked(reporter, text.as_bytes()), text, "a report changes nothing");
    reporter.counts().take().map(|(by, _, count)| (reporter.name_of(by).to_owned(), count)).collect()
}

/// What holds for every text and every action that leaves the attribute there.
fn check(masker: &Masker, reporter: &Masker, bytes: &[u8]) {
    let once = masked(masker, bytes);
    assert_eq!(masked(masker, once.as_bytes()), once, "masking again changes nothing");
    assert!(once.len() <= bytes.len() * 8 + 64, "{} bytes became {}", bytes.len(), once.len());
    assert_eq!(found(reporter, &once), BTreeMap::new(), "nothing is left in {once:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn no_secret_is_left_in_any_text(text in strategies::texts()) {
        for masking in [ALL, &hashing()] {
            check(&masker(masking), &masker(ALL_REPORTED), text.as_bytes());
        }
    }

    #[test]
    fn no_secret_is_left_in_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&masker(ALL), &masker(ALL_REPORTED), &bytes);
    }

    /// However a secret is encoded and whatever stands around it, what is left of it is what its detector shows.
    #[test]
    fn a_planted_secret_goes((secret, text) in strategies::planted()) {
        let once = masked(&masker(ALL), text.as_bytes());
        for reading in strategies::readings(&once) {
            assert!(!reading.contains(&secret), "{secret} is in {reading:?}, from {text:?}");
        }
    }
}

#[test]
fn a_text_without_a_secret_is_not_copied() {
    let masker = masker(ALL);
    for text in corpus::ordinary().iter().filter(|text| !text.contains(['%', '@'])).take(100) {
        let value = masker.value("key", text.as_bytes()).unwrap();
        if value.as_str() == text {
            assert!(std::ptr::eq(value.as_str().as_ptr(), text.as_ptr()), "{text}");
        }
    }
}

/// How many of ten thousand ordinary values each detector takes for a secret. The corpus is always the same, and the
/// page says: none. (Of random digits that begin as a card's do, one in ten would be taken for one.)
#[test]
fn ordinary_values_stay() {
    let reporter = masker(ALL_REPORTED.replace(r#""ipv4": true, "ipv6": true"#, "").as_str());
    let corpus = corpus::ordinary();
    assert_eq!(corpus.len(), 10_000);
    let mut totals: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for text in &corpus {
        for (name, _) in found(&reporter, text) {
            totals.entry(name).or_default().push(text.clone());
        }
    }
    for detector in Detector::ALL.iter().filter(|detector| detector.is_default()) {
        let wrong = totals.get(detector.name()).map(Vec::as_slice).unwrap_or_default();
        println!(
            "{:<18} {:>3} of {}  {:?}",
            detector.name(),
            wrong.len(),
            corpus.len(),
            wrong.iter().take(3).collect::<Vec<_>>()
        );
        assert!(wrong.is_empty(), "{}: {wrong:?}", detector.name());
    }
}

/// The table in the page is what the code does. `UPDATE_DOCS=1` writes it anew.
#[test]
fn the_page_says_what_happens() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/masking.md");
    let page = std::fs::read_to_string(&path).expect("the page is there");
    let (begin, end) = ("<!-- examples: written by core/tests/masking.rs -->\n", "<!-- end of examples -->");
    let (head, rest) = page.split_once(begin).expect("the page has a place for the table");
    let (_, tail) = rest.split_once(end).expect("the table has an end");
    let expected = format!("{head}{begin}\n{}\n{end}{tail}", examples::table(&masker(ALL)));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, expected).expect("the page can be written");
        return;
    }
    assert!(page == expected, "docs/masking.md is not what the code does: run again with UPDATE_DOCS=1");
}
