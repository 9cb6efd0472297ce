//! The service: every text from traffic, under the key of the attribute that it becomes a part of.

use std::borrow::Cow;

use super::automaton::triggered;
use super::counts::{MaskedBy, MaskingCounts};
use super::detector::Detectors;
use super::fields::Rules;
use super::hash::Hasher;
use super::rules::{Dropped, treat};
use super::stand_in::{REDACTED, REDACTED_USERINFO};
use super::{Masked, engine, pattern, query};
use crate::config::{Action, Detector, InstrumentationConfig, MaskingConfig, MaskingMode, PatternRule, Treatment};
use crate::percent;

/// Headers whose whole value is a credential: captured, they show only that they were there.
const CREDENTIAL_HEADERS: &[&str] =
    &["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-amz-security-token"];

/// Decides what of a traffic text may leave. Built once from checked configuration.
///
/// Each method takes the key of the attribute that the text is for, and gives `None` where the whole attribute must be
/// left out. In mode `report` configured rules and detectors only count; what the semantic conventions ask for, and
/// credentials in headers and URLs, is masked in either mode.
#[derive(Clone, Debug)]
pub struct Masker {
    reports: bool,
    active: Detectors,
    /// For each detector, what is done with what it finds.
    actions: [Action; Detector::COUNT],
    patterns: Vec<PatternRule>,
    headers: Rules,
    query_parameters: Rules,
    cookies: Rules,
    path_parameters: Rules,
    attributes: Rules,
    /// Of the semantic conventions (`url.query`).
    sensitive_query_parameters: Vec<String>,
    hasher: Option<Hasher>,
    counts: MaskingCounts,
}

impl Masker {
    /// From checked configuration.
    #[inline]
    pub fn new(config: &MaskingConfig, instrumentation: &InstrumentationConfig) -> Self {
        let mut masker = Self {
            reports: config.mode == MaskingMode::Report,
            active: Detectors::NONE,
            actions: [Action::Mask; Detector::COUNT],
            patterns: config.patterns.clone(),
            headers: Rules::default(),
            query_parameters: Rules::default(),
            cookies: Rules::default(),
            path_parameters: Rules::default(),
            attributes: Rules::default(),
            sensitive_query_parameters: instrumentation.sensitive_query_parameters.clone(),
            hasher: config.hash_key.as_ref().and_then(|key| Hasher::new(key.as_bytes())),
            counts: MaskingCounts::default(),
        };
        for (detector, action) in Detector::ALL.iter().zip(&mut masker.actions) {
            if let Some(configured) = config.detectors.get(*detector) {
                masker.active = masker.active.with(*detector);
                *action = configured;
            }
        }
        for rule in &config.fields {
            masker.headers.add(&rule.headers, rule.treatment);
            masker.query_parameters.add(&rule.query_parameters, rule.treatment);
            masker.cookies.add(&rule.cookies, rule.treatment);
            masker.path_parameters.add(&rule.path_parameters, rule.treatment);
            masker.attributes.add(&rule.attributes, rule.treatment);
        }
        masker
    }

    /// How often what was masked since the counts were last taken.
    pub const fn counts(&self) -> &MaskingCounts {
        &self.counts
    }

    /// How often anything was masked, or in mode `report` found, since the start. A text that leaves this number as it was
    /// can be taken for harmless the next time too.
    pub(crate) fn total(&self) -> u64 {
        self.counts.total()
    }

    /// The name of what masked, as configuration has it.
    pub fn name_of(&self, by: MaskedBy) -> &str {
        match by {
            MaskedBy::Detector(index) => Detector::ALL.get(index).map_or("", |detector| detector.name()),
            MaskedBy::Pattern(index) => self.patterns.get(index).map_or("", |rule| rule.name.as_str()),
            MaskedBy::Field => "field",
        }
    }

    /// Any text. Bytes that are not UTF-8 become U+FFFD.
    pub fn value<'a>(&self, key: &str, bytes: &'a [u8]) -> Option<Masked<'a>> {
        self.finish(key, Ok(text(bytes)))
    }

    /// The value of the header `name` (lower case).
    pub fn header<'a>(&self, key: &str, name: &str, value: &'a [u8]) -> Option<Masked<'a>> {
        let text = text(value);
        let treatment = self.headers.find(name);
        if treatment.is_some() {
            self.count(MaskedBy::Field, key);
        }
        let masked = match (treatment.filter(|_| !self.reports), name) {
            (Some(treatment), _) => treat(&text, treatment, self.hasher.as_ref()),
            (None, "cookie" | "set-cookie") if !self.cookies.is_empty() => self.cookies(key, name == "cookie", text),
            (None, _) if CREDENTIAL_HEADERS.contains(&name) => Ok(Cow::Borrowed(REDACTED)),
            (None, _) => Ok(text),
        };
        self.finish(key, masked)
    }

    /// A URL's query, without its `?`.
    pub fn query<'a>(&self, key: &str, bytes: &'a [u8]) -> Option<Masked<'a>> {
        self.finish(key, self.parameters(key, bytes))
    }

    /// A URL's path; `template` is the route's that it follows.
    pub fn path<'a>(&self, key: &str, bytes: &'a [u8], template: Option<&str>) -> Option<Masked<'a>> {
        self.finish(key, self.segments(key, bytes, template))
    }

    /// A whole URL.
    pub fn url(&self, key: &str, url: &Url<'_>) -> Option<Masked<'static>> {
        let text = self.assemble(key, url).and_then(|text| self.attribute(key, Cow::Owned(text)));
        text.ok().map(Masked)
    }

    fn assemble(&self, key: &str, url: &Url<'_>) -> Result<String, Dropped> {
        // Each part for itself: what is before `://` is no secret of what is behind it.
        let mut text = self.detect(key, text(url.scheme))?.into_owned();
        text.push_str("://");
        text.push_str(&self.detect(key, without_userinfo(url.authority))?);
        if let Some(path) = url.path {
            text.push_str(&self.detect(key, self.segments(key, path, url.template)?)?);
        }
        if let Some(query) = url.query {
            text.push('?');
            text.push_str(&self.detect(key, self.parameters(key, query)?)?);
        }
        Ok(text)
    }

    /// What a value goes through whatever it is: the rule for its attribute, patterns and detectors.
    fn finish<'a>(&self, key: &str, text: Result<Cow<'a, str>, Dropped>) -> Option<Masked<'a>> {
        let text = text.and_then(|text| self.attribute(key, text)).and_then(|text| self.detect(key, text));
        text.ok().map(Masked)
    }

    /// The rule for the attribute as a whole.
    fn attribute<'a>(&self, key: &str, text: Cow<'a, str>) -> Result<Cow<'a, str>, Dropped> {
        let Some(treatment) = self.attributes.find(key) else { return Ok(text) };
        self.count(MaskedBy::Field, key);
        if self.reports { Ok(text) } else { treat(&text, treatment, self.hasher.as_ref()) }
    }

    /// The rule for a field, applied to a value as it is written. `None`: nothing is done.
    fn field(&self, key: &str, rules: &Rules, name: &str, value: &str) -> Result<Option<Cow<'static, str>>, Dropped> {
        let treatment = if value.is_empty() { None } else { rules.find(name) };
        let Some(treatment) = treatment else { return Ok(None) };
        self.count(MaskedBy::Field, key);
        if self.reports {
            return Ok(None);
        }
        // The same value is the same, encoded or not.
        let decoded = percent::decode(value.as_bytes());
        treat(&String::from_utf8_lossy(&decoded), treatment, self.hasher.as_ref()).map(Some)
    }

    fn parameters<'a>(&self, key: &str, bytes: &'a [u8]) -> Result<Cow<'a, str>, Dropped> {
        query::map_values(text(bytes), '&', &mut |name, value| {
            let name = decode_all(name);
            if let Some(instead) = self.field(key, &self.query_parameters, &name, value)? {
                return Ok(Some(instead));
            }
            let is_sensitive = !value.is_empty() && self.sensitive_query_parameters.iter().any(|known| *known == name);
            Ok(is_sensitive.then_some(Cow::Borrowed(REDACTED)))
        })
    }

    /// All cookies' values go; those that a rule names go as it says. What follows the first pair of `set-cookie` are
    /// no cookies.
    fn cookies<'a>(&self, key: &str, all: bool, text: Cow<'a, str>) -> Result<Cow<'a, str>, Dropped> {
        let mut first = true;
        query::map_values(text, ';', &mut |name, value| {
            let is_cookie = all || core::mem::take(&mut first);
            if !is_cookie || value.is_empty() {
                return Ok(None);
            }
            let instead = self.field(key, &self.cookies, name.trim_ascii(), value)?;
            Ok(Some(instead.unwrap_or(Cow::Borrowed(REDACTED))))
        })
    }

    fn segments<'a>(&self, key: &str, bytes: &'a [u8], template: Option<&str>) -> Result<Cow<'a, str>, Dropped> {
        let text = text(bytes);
        let Some(template) = template.filter(|_| !self.path_parameters.is_empty()) else { return Ok(text) };
        let mut names = template.split('/').map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
        let mut masked = String::with_capacity(text.len());
        for (index, segment) in text.split('/').enumerate() {
            if index > 0 {
                masked.push('/');
            }
            let instead = match names.next().flatten() {
                Some(name) => self.field(key, &self.path_parameters, name, segment)?,
                None => None,
            };
            masked.push_str(instead.as_deref().unwrap_or(segment));
        }
        Ok(Cow::Owned(masked))
    }

    /// Patterns, and then the built-in detectors, so that those have the last word.
    fn detect<'a>(&self, key: &str, text: Cow<'a, str>) -> Result<Cow<'a, str>, Dropped> {
        let text = if self.patterns.is_empty() { text } else { self.apply_patterns(key, text)? };
        if self.reports {
            // What would stand there is made, and thrown away: so each secret is counted once, as when masking.
            let _ = engine::mask(Cow::Borrowed(&text), self.active, &mut |found| {
                self.count(found.detector.into(), key);
                Ok(Cow::Borrowed(REDACTED))
            });
            return Ok(text);
        }
        engine::mask(text, self.active, &mut |found| {
            self.count(found.detector.into(), key);
            match self.actions.get(found.detector as usize) {
                Some(Action::Mask) | None => Ok(found.masked),
                Some(action) => {
                    let treatment = Treatment { action: *action, ..Treatment::default() };
                    treat(&found.canonical, treatment, self.hasher.as_ref())
                }
            }
        })
    }

    /// Every place where a pattern fits is replaced once. What two overlap in goes with the one that begins first.
    fn apply_patterns<'a>(&self, key: &str, text: Cow<'a, str>) -> Result<Cow<'a, str>, Dropped> {
        let deepest = if text.contains('%') { engine::depth(&text, triggered(text.as_bytes())) } else { 0 };
        // For each place where something fits, the end of the longest and its rule: a map without a sort.
        let mut places: Vec<Option<(usize, usize)>> = Vec::new();
        for (index, rule) in self.patterns.iter().enumerate() {
            pattern::find_all(&rule.pattern, &text, deepest, &mut |start, end| {
                places.resize(text.len(), None);
                if let Some(place) = places.get_mut(start)
                    && place.is_none_or(|(longest, _)| longest < end)
                {
                    *place = Some((end, index));
                }
            });
        }
        if places.is_empty() {
            return Ok(text);
        }
        let mut masked = String::new();
        let mut copied = 0;
        for (start, place) in places.into_iter().enumerate() {
            let Some((end, index)) = place else { continue };
            let start = start.max(copied);
            let Some(rule) = self.patterns.get(index).filter(|_| end > start) else { continue };
            let (Some(between), Some(value)) = (text.get(copied..start), text.get(start..end)) else { continue };
            self.count(MaskedBy::Pattern(index), key);
            masked.push_str(between);
            if self.reports {
                masked.push_str(value);
            } else {
                masked.push_str(&treat(value, rule.treatment, self.hasher.as_ref())?);
            }
            copied = end;
        }
        masked.push_str(text.get(copied..).unwrap_or_default());
        Ok(Cow::Owned(masked))
    }

    fn count(&self, by: MaskedBy, key: &str) {
        self.counts.increment(by, if self.reports { key } else { "" });
    }
}

/// The parts of a URL.
#[derive(Clone, Copy, Debug, Default)]
pub struct Url<'a> {
    /// Without `://`.
    pub scheme: &'a [u8],
    /// `host` or `host:port`, perhaps with user and password, which go.
    pub authority: &'a [u8],
    /// `None`: it has none (`OPTIONS *`).
    pub path: Option<&'a [u8]>,
    /// Without its `?`.
    pub query: Option<&'a [u8]>,
    /// The route's template that the path follows.
    pub template: Option<&'a str>,
}

/// RFC 3986 §3.2.1: what stands before the last `@` is userinfo.
fn without_userinfo(authority: &[u8]) -> Cow<'_, str> {
    match authority.iter().rposition(|byte| *byte == b'@') {
        None => text(authority),
        Some(at) => {
            let host = authority.get(at..).unwrap_or_default();
            Cow::Owned(format!("{REDACTED_USERINFO}{}", String::from_utf8_lossy(host)))
        }
    }
}

/// The bytes as text; what is not UTF-8 becomes U+FFFD. Checked first and repaired then: the check reads words where the
/// repair reads bytes.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    core::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// A name, percent-decoded until nothing is left to decode.
fn decode_all(name: &str) -> Cow<'_, str> {
    let mut name = Cow::Borrowed(name);
    for _ in 0..super::fold::DEEPEST {
        let decoded = match percent::decode(name.as_bytes()) {
            Cow::Owned(decoded) => String::from_utf8_lossy(&decoded).into_owned(),
            Cow::Borrowed(_) => break,
        };
        name = Cow::Owned(decoded);
    }
    name
}
