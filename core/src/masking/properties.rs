//! Properties of the parts, for any text.

use proptest::prelude::*;

use super::automaton::{triggered, triggered_in};
use super::detect::find_all;
use super::detector::Detectors;
use super::fold::{Cursor, DEEPEST};
use crate::config::Detector;

/// Texts made of what secrets are made of.
fn texts() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        4 => "[0-9]{1,6}",
        2 => "[ +.%:@/='\"_-]{1,3}",
        2 => "[a-zA-Z]{1,4}",
        1 => "(%[0-9a-fA-F]{2}){1,3}",
        1 => "\\PC{1,2}",
        3 => proptest::sample::select(vec![
            "13812345678", "4111111111111111", "11010119900501235X", "GB82WEST12345698765432", "123-45-6789",
            "a@b.cd", "@example.com", "://", "u:p@", "Bearer ", "basic ", "eyJhbGciOiJIUzI1NiJ9", ".", "AKIAIOSFODNN7EXAMPLE",
            "xoxb-", "ghp_", "-----", "BEGIN ", "PRIVATE KEY", "END ", "203.0.113.7", "2001:db8::1", "%25", "\\u0031", "１３",
            "\u{200b}", "REDACTED", "***", "hooks.slack.com/services/", "sk_live_", "AIza",
        ]).prop_map(str::to_owned),
    ];
    proptest::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

fn all_detectors() -> Detectors {
    Detector::ALL.iter().fold(Detectors::NONE, |all, one| all.with(*one))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// A detector finds nothing in a text without its trigger.
    #[test]
    fn triggers_miss_nothing(text in texts(), level in 0..=DEEPEST) {
        let triggers = triggered_in(Cursor::new(text.as_bytes(), level));
        find_all(&text, level, all_detectors(), &mut |found| {
            assert!(triggers.has(found.detector), "{:?} in {text:?} at level {level}", found.detector);
        });
    }

    /// A plain text reads as its bytes.
    #[test]
    fn both_ways_to_run_agree(text in "[ -$&-\\[\\]-~]{0,60}") {
        prop_assert_eq!(triggered(text.as_bytes()), triggered_in(Cursor::new(text.as_bytes(), 0)));
    }

    /// What is passed over without being read holds nothing: the shortcuts for a text that reads as it is written find
    /// what is found without them, which a text without a `%` shows at the next level.
    #[test]
    fn shortcuts_miss_nothing(text in texts(), only_mail in any::<bool>()) {
        let text = text.replace('%', "-");
        let detectors = if only_mail { Detectors::NONE.with(Detector::Email) } else { all_detectors() };
        let found = |level| {
            let mut all = Vec::new();
            find_all(&text, level, detectors, &mut |found| all.push(found));
            all
        };
        prop_assert_eq!(found(0), found(1));
    }

    /// Secrets come in order, do not overlap, and begin and end at characters.
    #[test]
    fn places_are_in_order(text in texts(), level in 0..=DEEPEST) {
        let mut last = 0;
        find_all(&text, level, all_detectors(), &mut |found| {
            assert!(last <= found.start && found.start < found.end, "{found:?} in {text:?}");
            assert!(text.get(found.start..found.end).is_some(), "{found:?} in {text:?}");
            last = found.end;
        });
    }
}
