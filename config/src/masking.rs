//! `distribution.meshspan.masking`: what must not leave beside what never does.

use crate::error::Problem;
use crate::reader::{Key, Object, Reader, built};
use crate::token::is_token;
use crate::{Action, Detector, Glob, KeptEnds, MOST_PATTERNS, Pattern, Treatment};

/// `distribution.meshspan.masking`.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskingConfig {
    /// `mode`.
    pub mode: MaskingMode,
    /// `detectors`.
    pub detectors: DetectorActions,
    /// `fields`, in order of preference.
    pub fields: Vec<FieldRule>,
    /// `patterns`.
    pub patterns: Vec<PatternRule>,
    /// `hash_key`: there wherever an action is [`Action::Hash`].
    pub hash_key: Option<HashKey>,
}

/// What is done with what each detector finds. By default those of [`Detector::is_default`] mask.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DetectorActions([Option<Action>; Detector::COUNT]);

impl DetectorActions {
    /// No detector is on.
    pub const NONE: Self = Self([None; Detector::COUNT]);

    /// What is done; `None`: the detector is off.
    #[inline]
    pub fn get(&self, detector: Detector) -> Option<Action> {
        self.0.get(detector as usize).copied().flatten()
    }

    /// Switches a detector on, or off.
    pub fn set(&mut self, detector: Detector, action: Option<Action>) {
        if let Some(slot) = self.0.get_mut(detector as usize) {
            *slot = action;
        }
    }
}

impl Default for DetectorActions {
    fn default() -> Self {
        let mut actions = Self::NONE;
        for detector in Detector::ALL.iter().filter(|detector| detector.is_default()) {
            actions.set(*detector, Some(Action::Mask));
        }
        actions
    }
}

impl core::fmt::Debug for DetectorActions {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let on = Detector::ALL.iter().filter_map(|detector| Some((detector.name(), self.get(*detector)?)));
        formatter.debug_map().entries(on).finish()
    }
}

/// Whether masking masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskingMode {
    /// It does.
    Enforce,
    /// It counts what it would mask, by what and attribute key. What the semantic conventions ask for and credentials
    /// in headers and authorities are masked all the same.
    Report,
}

/// An entry of `fields`: the values that are sensitive for where they stand, and what is done with them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldRule {
    /// Names of captured headers.
    pub headers: Vec<Glob>,
    /// Names of query parameters.
    pub query_parameters: Vec<Glob>,
    /// Names of cookies.
    pub cookies: Vec<Glob>,
    /// Names of the segments of route templates: `phone` for `/users/{phone}`.
    pub path_parameters: Vec<Glob>,
    /// Keys of attributes.
    pub attributes: Vec<Glob>,
    /// What is done.
    pub treatment: Treatment,
}

/// An entry of `patterns`.
#[derive(Clone, Debug, PartialEq)]
pub struct PatternRule {
    /// What counters call it: lower-case letters, digits and underscores; no detector has the name.
    pub name: String,
    /// `regex`
    pub pattern: Pattern,
    /// What is done with each place where it fits.
    pub treatment: Treatment,
}

/// The key of hashes. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct HashKey(String);

impl HashKey {
    /// The key itself.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl core::fmt::Debug for HashKey {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("HashKey(not shown)")
    }
}

impl Default for MaskingConfig {
    fn default() -> Self {
        Self {
            mode: MaskingMode::Enforce,
            detectors: DetectorActions::default(),
            fields: Vec::new(),
            patterns: Vec::new(),
            hash_key: None,
        }
    }
}

const KEYS: &[Key] = &[built("mode"), built("detectors"), built("fields"), built("patterns"), built("hash_key")];

const MODES: &[(&str, MaskingMode)] = &[("enforce", MaskingMode::Enforce), ("report", MaskingMode::Report)];

const ACTIONS: &[(&str, Action)] =
    &[("mask", Action::Mask), ("redact", Action::Redact), ("hash", Action::Hash), ("drop", Action::Drop)];

const ACTION_OR_SWITCH: &str = "true, false, \"mask\", \"redact\", \"hash\" or \"drop\"";

const FIELD_KEYS: &[Key] = &[
    built("headers"),
    built("query_parameters"),
    built("cookies"),
    built("path_parameters"),
    built("attributes"),
    built("action"),
    built("keep_first"),
    built("keep_last"),
];

const PATTERN_KEYS: &[Key] = &[built("name"), built("regex"), built("action"), built("keep_first"), built("keep_last")];

const DETECTOR_KEYS: &[Key] = &{
    let mut keys = [built(""); Detector::COUNT];
    let mut index = 0;
    while index < Detector::COUNT {
        #[expect(clippy::indexing_slicing, reason = "at build time, below both lengths")]
        {
            keys[index] = built(Detector::ALL[index].name());
            index += 1;
        }
    }
    keys
};

/// A shorter key could be found by trying all there are.
const LEAST_KEY_BYTES: usize = 16;

/// Nobody keeps so much and hides the rest.
const MOST_KEPT: u32 = 64;

/// Reads `distribution.meshspan.masking`.
pub(crate) fn read(reader: &Reader<'_>) -> MaskingConfig {
    let default = MaskingConfig::default();
    let Some(object) = reader.object(KEYS) else { return default };
    let hash_key = object.nullable("hash_key").and_then(|key| read_hash_key(&key));
    // A key that was refused has been reported; what needs it is not to blame.
    let keyed = object.nullable("hash_key").is_some();
    let detectors = match object.nullable("detectors") {
        Some(detectors) => read_detectors(&detectors, keyed),
        None => default.detectors,
    };
    let items = |key| object.nullable(key).and_then(|list| list.list(0)).unwrap_or_default();
    MaskingConfig {
        mode: object.nullable("mode").and_then(|mode| mode.one_of(MODES)).unwrap_or(default.mode),
        detectors,
        fields: items("fields").iter().filter_map(|item| read_field(item, keyed)).collect(),
        patterns: object.nullable("patterns").map(|list| read_patterns(&list, keyed)).unwrap_or_default(),
        hash_key,
    }
}

fn read_hash_key(reader: &Reader<'_>) -> Option<HashKey> {
    let reader = reader.kept_secret();
    let key = reader.text()?;
    if key.len() < LEAST_KEY_BYTES {
        reader.report_malformed(format!("a string of at least {LEAST_KEY_BYTES} bytes"));
        return None;
    }
    Some(HashKey(key))
}

fn read_detectors(reader: &Reader<'_>, keyed: bool) -> DetectorActions {
    let mut actions = DetectorActions::default();
    let Some(object) = reader.object(DETECTOR_KEYS) else { return actions };
    for detector in Detector::ALL {
        let Some(value) = object.nullable(detector.name()) else { continue };
        if value.is_string() {
            let chosen = value.one_of(ACTIONS);
            check_key(&value, chosen, keyed);
            actions.set(*detector, chosen);
        } else if let Some(on) = value.boolean_or(ACTION_OR_SWITCH) {
            actions.set(*detector, on.then_some(Action::Mask));
        }
    }
    actions
}

fn check_key(reader: &Reader<'_>, action: Option<Action>, keyed: bool) {
    if action == Some(Action::Hash) && !keyed {
        reader.report(Problem::Conflict {
            found: reader.found(),
            allowed: "\"hash\" only together with distribution.meshspan.masking.hash_key".to_owned(),
        });
    }
}

/// `action`, `keep_first` and `keep_last`.
fn read_treatment(object: &Object<'_>, keyed: bool) -> Treatment {
    let mut action = Action::Mask;
    if let Some(value) = object.nullable("action") {
        let chosen = value.one_of(ACTIONS);
        check_key(&value, chosen, keyed);
        action = chosen.unwrap_or(action);
    }
    let kept = |key| {
        let count = object.integer(key, 0..=MOST_KEPT);
        if count.is_some()
            && action != Action::Mask
            && let Some(value) = object.nullable(key)
        {
            let allowed = "only with the action \"mask\"".to_owned();
            value.report(Problem::Conflict { found: value.found(), allowed });
        }
        count.unwrap_or(0)
    };
    Treatment { action, kept: KeptEnds { first: kept("keep_first"), last: kept("keep_last") } }
}

fn read_field(reader: &Reader<'_>, keyed: bool) -> Option<FieldRule> {
    let object = reader.object(FIELD_KEYS)?;
    let globs = |key, is_allowed: fn(&str) -> bool, allowed: &str| {
        let items = object.nullable(key).and_then(|list| list.list(1)).unwrap_or_default();
        let globs = items.iter().filter_map(|item| {
            let text = item.text()?;
            if !is_allowed(&text) {
                item.report_malformed(allowed);
                return None;
            }
            Some(Glob::new(&text))
        });
        globs.collect::<Vec<_>>()
    };
    let is_name = |text: &str| !text.is_empty();
    let rule = FieldRule {
        headers: globs("headers", is_token, "a header name, such as x-user-phone, or a pattern such as x-user-*"),
        query_parameters: globs(
            "query_parameters",
            is_name,
            "the name of a query parameter, or a pattern such as *token",
        ),
        cookies: globs("cookies", is_token, "the name of a cookie, or a pattern such as sess*"),
        path_parameters: globs("path_parameters", is_name, "a name that stands in a route template as {name}"),
        attributes: globs("attributes", is_name, "an attribute's key, or a pattern such as http.request.header.*"),
        treatment: read_treatment(&object, keyed),
    };
    let kinds = ["headers", "query_parameters", "cookies", "path_parameters", "attributes"];
    if kinds.iter().all(|kind| object.nullable(kind).is_none()) {
        reader.report_malformed(format!("an object with at least one of {}", kinds.join(", ")));
        return None;
    }
    Some(rule)
}

fn read_patterns(reader: &Reader<'_>, keyed: bool) -> Vec<PatternRule> {
    let items = reader.list(0).unwrap_or_default();
    if items.len() > MOST_PATTERNS {
        reader.report(Problem::TooManyItems { found: items.len(), most: MOST_PATTERNS });
        return Vec::new();
    }
    let mut rules: Vec<PatternRule> = Vec::new();
    for item in &items {
        let Some(object) = item.object(PATTERN_KEYS) else { continue };
        let treatment = read_treatment(&object, keyed);
        let name = object.required("name", "a name made of a-z, 0-9 and _").and_then(|name| {
            let text = name.text()?;
            let word = !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            let taken = text == "field" || Detector::ALL.iter().any(|detector| detector.name() == text);
            if !word || taken || rules.iter().any(|rule| rule.name == text) {
                name.report_malformed("a name made of a-z, 0-9 and _ that no detector and no other pattern has");
                return None;
            }
            Some(text)
        });
        let pattern = object
            .required("regex", "a regular expression")
            .and_then(|regex| Pattern::compile(&regex.text()?).map_err(|allowed| regex.report_malformed(allowed)).ok());
        if let (Some(name), Some(pattern)) = (name, pattern) {
            rules.push(PatternRule { name, pattern, treatment });
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::testing::{accepted, rejected_for};

    const AT: &str = "$.distribution.meshspan.masking";

    fn section(text: &str) -> String {
        format!(r#""distribution": {{"meshspan": {{"masking": {text}}}}}"#)
    }

    fn masking(text: &str) -> MaskingConfig {
        accepted(&section(text)).meshspan.masking
    }

    #[test]
    fn detectors_are_switched_one_by_one() {
        assert_eq!(masking("{}"), MaskingConfig::default());
        let config = masking(
            r#"{"detectors": {"email": false, "ipv4": true, "payment_card": "hash", "jwt": null, "iban": "drop"},
                "hash_key": "0123456789abcdef"}"#,
        );
        let expected = [
            (Detector::Email, None),
            (Detector::Ipv4, Some(Action::Mask)),
            (Detector::Ipv6, None),
            (Detector::PaymentCard, Some(Action::Hash)),
            (Detector::Jwt, Some(Action::Mask)),
            (Detector::Iban, Some(Action::Drop)),
        ];
        for (detector, action) in expected {
            assert_eq!(config.detectors.get(detector), action, "{}", detector.name());
        }
    }

    #[test]
    fn fields_and_patterns() {
        let config = masking(
            r#"{"mode": "report", "fields": [{"headers": ["X-User-*"], "cookies": ["sid"], "keep_last": 2},
                {"attributes": ["url.query"], "action": "drop"}],
                "patterns": [{"name": "employee", "regex": "EMP-[0-9]{6}", "action": "redact"}]}"#,
        );
        assert_eq!(config.mode, MaskingMode::Report);
        let [first, second] = config.fields.as_slice() else { panic!("two rules") };
        assert_eq!(first.headers, [Glob::new("x-user-*")]);
        assert_eq!(first.treatment.kept, KeptEnds { first: 0, last: 2 });
        assert_eq!(second.treatment.action, Action::Drop);
        assert_eq!(config.patterns[0].name, "employee");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let cases = [
            (r#"{"mode": "off"}"#, ".mode", "enforce, report", "no such mode"),
            (r#"{"detectors": {"emails": false}}"#, ".detectors.emails", "did you mean \"email\"", "unknown detector"),
            (r#"{"detectors": {"email": 1}}"#, ".detectors.email", ACTION_OR_SWITCH, "type"),
            (r#"{"detectors": {"email": "mark"}}"#, ".detectors.email", "did you mean \"mask\"", "unknown action"),
            (r#"{"detectors": {"email": "hash"}}"#, ".detectors.email", "masking.hash_key", "no key"),
            (r#"{"detectors": ["email"]}"#, ".detectors", "an object", "type"),
            (r#"{"hash_key": "short"}"#, ".hash_key", "(not shown)", "a key is never shown"),
            (r#"{"fields": [{"action": "redact"}]}"#, ".fields[0]", "at least one of headers", "no field"),
            (r#"{"fields": [{"headers": []}]}"#, ".fields[0].headers", "at least 1", "an empty list"),
            (r#"{"fields": [{"headers": ["a b"]}]}"#, ".fields[0].headers[0]", "a header name", "no name"),
            (
                r#"{"fields": [{"cookies": ["a"], "action": "hash"}]}"#,
                ".fields[0].action",
                "masking.hash_key",
                "no key",
            ),
            (
                r#"{"fields": [{"cookies": ["a"], "action": "drop", "keep_last": 1}]}"#,
                ".fields[0].keep_last",
                "only with the action \"mask\"",
                "nothing is kept",
            ),
            (r#"{"fields": [{"cookies": ["a"], "keep_last": 65}]}"#, ".fields[0].keep_last", "from 0 to 64", "range"),
            (r#"{"patterns": [{"name": "a"}]}"#, ".patterns[0]", "\"regex\" is missing", "no pattern"),
            (r#"{"patterns": [{"name": "jwt", "regex": "a"}]}"#, ".patterns[0].name", "no detector", "a name taken"),
            (r#"{"patterns": [{"name": "a", "regex": "("}]}"#, ".patterns[0].regex", "groups are closed", "invalid"),
            (
                r#"{"patterns": [{"name": "a", "regex": "(a{900}){900}"}]}"#,
                ".patterns[0].regex",
                "at most 2000 steps",
                "too large",
            ),
            (
                r#"{"patterns": [{"name": "a", "regex": "a*"}]}"#,
                ".patterns[0].regex",
                "at least one character",
                "fits nothing",
            ),
        ];
        for (text, place, words, why) in cases {
            rejected_for(&section(text), &format!("{AT}{place}"), words, why);
        }
        let many = vec![r#"{"name": "a", "regex": "a"}"#; MOST_PATTERNS + 1].join(",");
        rejected_for(
            &section(&format!(r#"{{"patterns": [{many}]}}"#)),
            &format!("{AT}.patterns"),
            "at most 32",
            "many",
        );
    }

    #[test]
    fn a_key_shows_nowhere() {
        let config = masking(r#"{"hash_key": "0123456789abcdef"}"#);
        assert!(!format!("{config:?}").contains("0123456789"));
    }
}
