//! A cursor over the document: a value, and where errors go. Each method checks one thing, reports what is wrong, and
//! returns `None` then, so that reading goes on and all errors are found in one pass. Where a value stands is only
//! looked for when there is something to say of it.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::error::{ConfigError, ConfigErrors, JsonPath, Problem, count, nearest, quote};
use crate::json::{Node, Value};

/// More errors than this are counted and not kept, so that a hostile document costs no more memory than its size.
const KEPT: usize = 4096;

/// After this many errors no more suggestions are looked for: a suggestion costs time, and far fewer are ever shown.
const SUGGESTED: usize = 500;

/// Where errors go.
#[derive(Default)]
pub(crate) struct Sink {
    /// In document order, each with the order of the value that it belongs to.
    errors: Cell<Vec<(u32, ConfigError)>>,
    total: Cell<usize>,
}

impl Sink {
    fn push(&self, document: &Node, order: u32, problem: Problem) {
        self.total.set(self.total.get().saturating_add(1));
        let mut errors = self.errors.take();
        if errors.len() < KEPT {
            // After those of the same value.
            let place = errors.partition_point(|(before, _)| *before <= order);
            errors.insert(place, (order, ConfigError { path: path_to(document, order), problem }));
        }
        self.errors.set(errors);
    }

    /// Whether one more suggestion is worth its time.
    fn takes_suggestions(&self) -> bool {
        self.total.get() < SUGGESTED
    }

    /// All errors in document order; `None` if there are none.
    pub(crate) fn into_errors(self) -> Option<ConfigErrors> {
        let errors: Vec<ConfigError> = self.errors.into_inner().into_iter().map(|(_, error)| error).collect();
        (!errors.is_empty()).then(|| ConfigErrors::new(errors, self.total.get()))
    }
}

/// A key that the standard or the contract knows, and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    name: &'static str,
    support: Support,
}

#[derive(Clone, Copy, Debug)]
enum Support {
    Built,
    NotYetBuilt,
    NotOffered { instead: &'static str },
}

/// A key that this version reads.
pub(crate) const fn built(name: &'static str) -> Key {
    Key { name, support: Support::Built }
}

/// A key of the contract that a later version reads.
pub(crate) const fn not_yet(name: &'static str) -> Key {
    Key { name, support: Support::NotYetBuilt }
}

/// A key of the standard that a proxy cannot offer, and what to use instead.
pub(crate) const fn not_offered(name: &'static str, instead: &'static str) -> Key {
    Key { name, support: Support::NotOffered { instead } }
}

impl Key {
    /// What is wrong with using it.
    fn problem(self) -> Option<Problem> {
        match self.support {
            Support::Built => None,
            Support::NotYetBuilt => Some(Problem::NotYetBuilt),
            Support::NotOffered { instead } => Some(Problem::NotOffered { instead }),
        }
    }
}

/// The names that are worth listing as allowed.
fn allowed_names(keys: &'static [Key]) -> Vec<&'static str> {
    keys.iter().filter(|key| matches!(key.support, Support::Built)).map(|key| key.name).collect()
}

fn nearest_name(found: &str, keys: &'static [Key]) -> Option<&'static str> {
    nearest(found, keys.iter().map(|key| key.name))
}

/// A value somewhere in the document.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'d> {
    node: &'d Node,
    document: &'d Node,
    /// Never show the value.
    secret: bool,
    sink: &'d Sink,
}

impl<'d> Reader<'d> {
    /// The whole document. Reports the keys that stand twice, anywhere in it.
    pub(crate) fn document(node: &'d Node, sink: &'d Sink) -> Self {
        let reader = Self { node, document: node, secret: false, sink };
        reader.report_duplicate_keys();
        reader
    }

    /// Reports that something is wrong with this value.
    #[cold]
    pub(crate) fn report(&self, problem: Problem) {
        self.sink.push(self.document, self.node.order, problem);
    }

    /// Reports a text with its own grammar that does not follow it.
    pub(crate) fn report_malformed(&self, allowed: impl Into<String>) {
        self.report(Problem::Malformed { found: self.found(), allowed: allowed.into() });
    }

    /// The value as an error shows it.
    pub(crate) fn found(&self) -> String {
        match &self.node.value {
            Value::Null => "null".to_owned(),
            Value::List(items) => format!("a list with {}", count(items.len(), "item")),
            Value::Object(members) => format!("an object with {}", count(members.len(), "key")),
            Value::String(text) => self.found_text(text),
            Value::Bool(_) if self.secret => "a boolean (not shown)".to_owned(),
            Value::Number(_) if self.secret => "a number (not shown)".to_owned(),
            Value::Bool(truth) => truth.to_string(),
            Value::Number(number) => number.to_string(),
        }
    }

    /// A part of this value as an error shows it.
    pub(crate) fn found_text(&self, text: &str) -> String {
        if self.secret {
            format!("a string with {} (not shown)", count(text.chars().count(), "character"))
        } else {
            quote(text)
        }
    }

    /// The same value, never to be shown.
    pub(crate) fn kept_secret(&self) -> Self {
        Self { secret: true, ..*self }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.node.value, Value::Null)
    }

    pub(crate) fn is_empty_object(&self) -> bool {
        matches!(&self.node.value, Value::Object(members) if members.is_empty())
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self.node.value, Value::Object(_))
    }

    pub(crate) fn is_string(&self) -> bool {
        matches!(self.node.value, Value::String(_))
    }

    /// A text, with `$$` read as `$`. `${…}` is an error.
    pub(crate) fn text(&self) -> Option<String> {
        let Value::String(text) = &self.node.value else {
            return self.wrong_type("a string");
        };
        let Some(text) = without_substitution(text) else {
            self.report(Problem::Substitution { found: self.found() });
            return None;
        };
        Some(text.into_owned())
    }

    /// A text of at least one character.
    pub(crate) fn non_empty_text(&self) -> Option<String> {
        let text = self.text()?;
        if text.is_empty() {
            self.report_malformed("a string that is not empty");
            return None;
        }
        Some(text)
    }

    /// One of the words of `table`, and what it stands for.
    pub(crate) fn one_of<T: Copy>(&self, table: &[(&'static str, T)]) -> Option<T> {
        let text = if self.is_string() { self.text()? } else { String::new() };
        let words = table.iter().map(|(word, _)| *word);
        let found = table.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            self.report(Problem::NotOneOf {
                found: self.found(),
                allowed: words.clone().collect(),
                nearest: nearest(&text, words),
            });
        }
        found.map(|(_, meaning)| *meaning)
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        self.boolean_or("true or false")
    }

    /// A boolean where something else may stand too; `allowed` says all of it.
    pub(crate) fn boolean_or(&self, allowed: &str) -> Option<bool> {
        match self.node.value {
            Value::Bool(truth) => Some(truth),
            _ => self.wrong_type(allowed),
        }
    }

    /// A whole number in `range`; 5000.0 is one.
    pub(crate) fn integer<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: Copy + Into<i128> + TryFrom<i128>,
    {
        let (least, most): (i128, i128) = ((*range.start()).into(), (*range.end()).into());
        let allowed = || {
            if least == most { format!("the integer {least}") } else { format!("an integer from {least} to {most}") }
        };
        let Value::Number(number) = self.node.value else {
            return self.wrong_type(&allowed());
        };
        let integer = number.as_integer().filter(|integer| (least..=most).contains(integer));
        let Some(integer) = integer.and_then(|integer| T::try_from(integer).ok()) else {
            self.report(Problem::OutOfRange { found: self.found(), allowed: allowed() });
            return None;
        };
        Some(integer)
    }

    /// Any number.
    pub(crate) fn double(&self) -> Option<f64> {
        match self.node.value {
            Value::Number(number) => Some(number.as_double()),
            _ => self.wrong_type("a number"),
        }
    }

    /// A number from 0 to 1, both allowed.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let Value::Number(number) = self.node.value else {
            return self.wrong_type("a number from 0 to 1");
        };
        let ratio = number.as_double();
        if !(0.0..=1.0).contains(&ratio) {
            self.report(Problem::OutOfRange { found: self.found(), allowed: "a number from 0 to 1".to_owned() });
            return None;
        }
        Some(ratio)
    }

    /// The items of a list with at least `least` of them.
    pub(crate) fn list(&self, least: usize) -> Option<Vec<Self>> {
        let Value::List(items) = &self.node.value else {
            return self.wrong_type("a list");
        };
        if items.len() < least {
            self.report(Problem::TooFewItems { found: items.len(), least });
            return None;
        }
        Some(items.iter().map(|node| Self { node, ..*self }).collect())
    }

    /// A list of texts; those that are wrong are reported and left out.
    pub(crate) fn texts(&self, least: usize) -> Option<Vec<String>> {
        Some(self.list(least)?.iter().filter_map(Self::text).collect())
    }

    /// An object whose keys are all of `keys`. Reports every key that is not, or that cannot be used.
    pub(crate) fn object(&self, keys: &'static [Key]) -> Option<Object<'d>> {
        let Value::Object(_) = &self.node.value else {
            return self.wrong_type("an object");
        };
        for (name, member) in self.members() {
            let problem = match keys.iter().find(|key| key.name == name) {
                // A null is as good as leaving the key out.
                Some(_) if member.is_null() => None,
                Some(key) => key.problem(),
                None => {
                    let nearest = if self.sink.takes_suggestions() { nearest_name(name, keys) } else { None };
                    Some(Problem::UnknownKey { allowed: allowed_names(keys), nearest })
                }
            };
            if let Some(problem) = problem {
                member.report(problem);
            }
        }
        Some(Object { reader: *self, keys })
    }

    /// Like [`Self::object`]; null stands for an object without keys.
    pub(crate) fn object_or_null(&self, keys: &'static [Key]) -> Option<Object<'d>> {
        if self.is_null() {
            return Some(Object { reader: *self, keys });
        }
        if !matches!(self.node.value, Value::Object(_)) {
            return self.wrong_type("an object or null");
        }
        self.object(keys)
    }

    /// An object with exactly one key, which names a component of `keys`; its value is the component's own
    /// configuration.
    pub(crate) fn component(&self, kind: &'static str, keys: &'static [Key]) -> Option<(&'static str, Self)> {
        let Value::Object(members) = &self.node.value else {
            return self.wrong_type(&format!("an object whose one key names the {kind}"));
        };
        let [_] = members.as_slice() else {
            let allowed = allowed_names(keys);
            self.report(Problem::NotOneComponent { kind, found: members.len(), allowed });
            return None;
        };
        let (name, member) = self.members().next()?;
        let Some(key) = keys.iter().find(|key| key.name == name) else {
            let nearest = nearest_name(name, keys);
            member.report(Problem::UnknownComponent { kind, allowed: allowed_names(keys), nearest });
            return None;
        };
        if let Some(problem) = key.problem() {
            member.report(problem);
            return None;
        }
        Some((key.name, member))
    }

    /// The members of an object in document order; none if this is not an object.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&'d str, Self)> {
        self.entries().iter().map(|(name, node)| (name.as_str(), self.member(name, node)))
    }

    fn entries(&self) -> &'d [(String, Node)] {
        match &self.node.value {
            Value::Object(members) => members,
            _ => &[],
        }
    }

    /// Reports unless this is an object. What is in it is not looked at.
    pub(crate) fn expect_object(&self) {
        if !matches!(self.node.value, Value::Object(_)) {
            self.wrong_type::<()>("an object");
        }
    }

    fn member(&self, name: &str, node: &'d Node) -> Self {
        Self { node, secret: self.secret || matches!(name, "headers" | "headers_list"), ..*self }
    }

    /// Reports a value of another type. A text that asks for substitution is told about that instead.
    pub(crate) fn wrong_type<T>(&self, allowed: &str) -> Option<T> {
        let found = self.found();
        self.report(match &self.node.value {
            Value::String(text) if without_substitution(text).is_none() => Problem::Substitution { found },
            _ => Problem::WrongType { found, allowed: allowed.to_owned() },
        });
        None
    }

    fn report_duplicate_keys(&self) {
        let mut seen = BTreeSet::new();
        for (name, member) in self.members() {
            if !seen.insert(name) {
                member.report(Problem::DuplicateKey);
            }
            member.report_duplicate_keys();
        }
        if let Value::List(items) = &self.node.value {
            for node in items {
                Self { node, ..*self }.report_duplicate_keys();
            }
        }
    }
}

/// An object whose keys were checked against a table.
pub(crate) struct Object<'d> {
    reader: Reader<'d>,
    keys: &'static [Key],
}

impl<'d> Object<'d> {
    /// The value under `key`, if the key is there; null is passed on, for the value's own check.
    pub(crate) fn optional(&self, key: &'static str) -> Option<Reader<'d>> {
        debug_assert!(self.keys.iter().any(|known| known.name == key), "{key} is not in its table");
        let mut entries = self.reader.entries().iter();
        let (name, node) = entries.find(|(name, _)| name == key)?;
        Some(self.reader.member(name, node))
    }

    /// The value under `key`, if the key is there and its value is not null.
    pub(crate) fn nullable(&self, key: &'static str) -> Option<Reader<'d>> {
        self.optional(key).filter(|member| !member.is_null())
    }

    /// The value under `key`. A key that is not there is reported; `allowed` says what has to be.
    pub(crate) fn required(&self, key: &'static str, allowed: &'static str) -> Option<Reader<'d>> {
        let member = self.optional(key);
        if member.is_none() {
            self.reader.report(Problem::MissingKey { key, allowed });
        }
        member
    }

    /// A whole number under `key`; `None` if there is none, it is null, or it is wrong.
    pub(crate) fn integer(&self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        self.nullable(key)?.integer(range)
    }
}

/// Where the value with this number stands. Values are numbered as they begin, so that each is in the last of its
/// neighbours that begins no later.
fn path_to(document: &Node, order: u32) -> JsonPath {
    let mut path = JsonPath::root();
    let mut at = document;
    while at.order < order {
        let child = match &at.value {
            Value::Object(members) => {
                let after = members.partition_point(|(_, node)| node.order <= order);
                after.checked_sub(1).and_then(|index| members.get(index)).map(|(name, node)| (path.key(name), node))
            }
            Value::List(items) => {
                let after = items.partition_point(|node| node.order <= order);
                after.checked_sub(1).and_then(|index| Some((path.index(index), items.get(index)?)))
            }
            _ => None,
        };
        let Some((longer, node)) = child else { break };
        (path, at) = (longer, node);
    }
    path
}

/// `text` with every `$$` as `$`, as the standard's file format escapes it; `None` if it holds `${…}`.
fn without_substitution(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('$') {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character == '$' {
            let after = rest.as_str();
            if after.starts_with('{') && after.contains('}') {
                return None;
            }
            if after.starts_with('$') {
                rest.next();
            }
        }
        plain.push(character);
    }
    Some(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::without_substitution;
    use crate::testing::{accepted, rejected, rejected_at};

    #[test]
    fn dollars_follow_the_file_format() {
        let cases = [
            ("plain", Some("plain"), "no dollar"),
            ("a$b", Some("a$b"), "a lone dollar is itself"),
            ("$$", Some("$"), "escaped"),
            ("$$$$", Some("$$"), "escaped twice"),
            ("$${A}", Some("${A}"), "an escaped dollar begins no substitution"),
            ("${A", Some("${A"), "not closed"),
            ("$A", Some("$A"), "braces are needed"),
            ("${A}", None, "a substitution"),
            ("x-${env:A:-default}-y", None, "with a prefix and a default"),
            ("$$${A}", None, "an escaped dollar, then a substitution"),
            ("${}", None, "an invalid reference is an error in a file, too"),
        ];
        for (text, expected, why) in cases {
            assert_eq!(without_substitution(text).as_deref(), expected, "{text}: {why}");
        }
    }

    #[test]
    fn a_substitution_is_told_apart_from_a_wrong_type() {
        rejected_at(r#""disabled": "${OTEL_SDK_DISABLED}""#, "$.disabled", "environment variables");
        rejected_at(r#""log_level": "${LEVEL:-info}""#, "$.log_level", "environment variables");
    }

    #[test]
    fn an_escaped_dollar_is_one() {
        let config = accepted(r#""resource": {"attributes": [{"name": "price", "value": "$${5}"}]}"#);
        let crate::attribute::AttributeValue::String(value) = &config.resource.attributes[0].value else { panic!() };
        assert_eq!(value, "${5}");
    }

    #[test]
    fn a_key_that_stands_twice_is_an_error_even_in_a_section_of_others() {
        rejected_at(r#""disabled": true, "disabled": false"#, "$.disabled", "more than once");
        rejected_at(
            r#""instrumentation/development": {"java": {"a": {"b": [{"c": 1, "c": 1}]}}}"#,
            "$[\"instrumentation/development\"].java.a.b[0].c",
            "more than once",
        );
    }

    #[test]
    fn errors_come_in_document_order() {
        let errors =
            rejected(r#""a": 1, "tracer_provider": {"processors": 1, "b": 1}, "distribution": {"c": 1}, "d": 1"#);
        let paths: Vec<_> = errors.iter().map(|error| error.split(':').next().unwrap()).collect();
        assert_eq!(paths, ["$.a", "$.tracer_provider.processors", "$.tracer_provider.b", "$.distribution.c", "$.d"]);
    }
}
