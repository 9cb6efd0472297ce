//! What is wrong with a configuration, said so that a person can mend it: where, what stands there, what is
//! allowed.

use std::fmt::{self, Write};

use crate::Config;

/// How many errors the text of [`ConfigErrors`] lists before it only counts.
const LISTED: usize = 50;

/// How many characters of a key or a value an error shows.
const SHOWN_CHARACTERS: usize = 60;

/// All that is wrong with a configuration, in document order. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
    total: usize,
}

/// One error: where, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it is.
    pub path: JsonPath,
    /// What it is.
    pub problem: Problem,
}

/// A place in the document, such as `$.tracer_provider.processors[0]["a/b"].c`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath(String);

/// A kind of error. Its text is the sentence that follows the path. Values are shown as JSON, shortened to 60
/// characters; those that may be secret (headers) only by type and length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// There is no text at all.
    Empty,
    /// The text is not JSON.
    Syntax {
        /// From 1.
        line: usize,
        /// From 1; 0 where the parser knows only the line.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// The key stands in its object already.
    DuplicateKey,
    /// No such key.
    UnknownKey {
        /// The keys that may stand there.
        allowed: Vec<&'static str>,
        /// The most similar one, if one is similar.
        nearest: Option<&'static str>,
    },
    /// A required key is not there.
    MissingKey {
        /// The key.
        key: &'static str,
        /// What its value has to be.
        allowed: &'static str,
    },
    /// An object that has to have a key has none.
    NoKeys,
    /// A value of another JSON type.
    WrongType {
        /// The value.
        found: String,
        /// The types that may stand there.
        allowed: String,
    },
    /// A number that is too small, too large, or not whole.
    OutOfRange {
        /// The value.
        found: String,
        /// The range.
        allowed: String,
    },
    /// A word that is none of a fixed list.
    NotOneOf {
        /// The value.
        found: String,
        /// The list.
        allowed: Vec<&'static str>,
        /// The most similar one, if one is similar.
        nearest: Option<&'static str>,
    },
    /// A list with fewer items than the standard asks for.
    TooFewItems {
        /// Items found.
        found: usize,
        /// Items needed.
        least: usize,
    },
    /// A list with more items than the filter takes.
    TooManyItems {
        /// Items found.
        found: usize,
        /// Items allowed.
        most: usize,
    },
    /// An object whose one key chooses a component has none, or several.
    NotOneComponent {
        /// What is chosen: `sampler`, `exporter`, …
        kind: &'static str,
        /// How many keys it has.
        found: usize,
        /// The keys that may stand there.
        allowed: Vec<&'static str>,
    },
    /// The component that the key names is not one that the filter has.
    UnknownComponent {
        /// What is chosen.
        kind: &'static str,
        /// Those that the filter has.
        allowed: Vec<&'static str>,
        /// The most similar name, if one is similar.
        nearest: Option<&'static str>,
    },
    /// Part of the contract, and not built in this version.
    NotYetBuilt,
    /// Part of the standard that a proxy cannot offer.
    NotOffered {
        /// What to use instead.
        instead: &'static str,
    },
    /// `${…}`: there is no environment to take it from.
    Substitution {
        /// The value.
        found: String,
    },
    /// A text that does not follow its own grammar.
    Malformed {
        /// The value.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// An entry of a comma-separated text is wrong.
    MalformedEntry {
        /// From 1.
        position: usize,
        /// The entry.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// An item that says the same as an earlier one.
    DuplicateItem {
        /// The value.
        found: String,
        /// The index of the earlier one.
        first: usize,
    },
    /// Right on its own, and wrong beside another value.
    Conflict {
        /// The value.
        found: String,
        /// What the other value allows.
        allowed: String,
    },
    /// Nested too deep.
    TooDeep {
        /// Levels allowed.
        most: u32,
    },
}

impl ConfigErrors {
    /// `total` may be more than the errors kept.
    pub(crate) fn new(errors: Vec<ConfigError>, total: usize) -> Self {
        Self { errors, total }
    }

    /// The errors in document order. A document with more than some thousand errors keeps only those.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.errors.iter()
    }

    /// How many errors there are, kept or not.
    pub fn total(&self) -> usize {
        self.total
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {}:", count(self.total, "error"))?;
        for error in self.errors.iter().take(LISTED) {
            write!(f, "\n  {error}")?;
        }
        match self.total.saturating_sub(LISTED) {
            0 => Ok(()),
            more => write!(f, "\n  … and {more} more"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "there is no configuration; the smallest useful one is {}", Config::SMALLEST),
            Self::Syntax { line, column, message } => {
                write!(f, "the text is not JSON (YAML is not read here): {message}, at line {line}, column {column}")
            }
            Self::DuplicateKey => f.write_str("the key stands more than once in its object; keep one of them"),
            Self::UnknownKey { allowed, nearest } => {
                f.write_str("there is no such key")?;
                write_allowed(f, allowed, *nearest)
            }
            Self::MissingKey { key, allowed } => {
                write!(f, "the key \"{key}\" is missing; it has to be {allowed}")
            }
            Self::NoKeys => f.write_str("the object is empty; at least one key has to be there"),
            Self::OutOfRange { found, allowed } => {
                write!(f, "found {found}, out of range; allowed is {allowed}")
            }
            Self::NotOneOf { found, allowed, nearest } => {
                write!(f, "found {found}")?;
                write_allowed(f, allowed, *nearest)
            }
            Self::TooFewItems { found, least } => {
                write!(f, "found a list with {}; allowed are at least {least}", count(*found, "item"))
            }
            Self::TooManyItems { found, most } => {
                write!(f, "found a list with {}; allowed are at most {most}", count(*found, "item"))
            }
            Self::NotOneComponent { kind, found, allowed } => {
                write!(
                    f,
                    "found an object with {}; exactly one has to be there, and it names the {kind}",
                    count(*found, "key")
                )?;
                write_allowed(f, allowed, None)
            }
            Self::UnknownComponent { kind, allowed, nearest } => {
                write!(f, "meshspan has no such {kind}")?;
                write_allowed(f, allowed, *nearest)
            }
            Self::NotYetBuilt => f.write_str("this is understood, but not yet built in this version; leave it out"),
            Self::NotOffered { instead } => write!(f, "a proxy cannot offer this; {instead}"),
            Self::Substitution { found } => write!(
                f,
                "found {found}; environment variables are not substituted inside a proxy: write the value itself \
                 (a literal $ before {{ is written $$)"
            ),
            Self::WrongType { found, allowed }
            | Self::Malformed { found, allowed }
            | Self::Conflict { found, allowed } => write!(f, "found {found}; allowed is {allowed}"),
            Self::MalformedEntry { position, found, allowed } => {
                write!(f, "entry {position} is {found}; allowed is {allowed}")
            }
            Self::DuplicateItem { found, first } => {
                write!(f, "found {found}, which says the same as item [{first}]; keep one of them")
            }
            Self::TooDeep { most } => write!(f, "nested too deep; allowed are {most} levels"),
        }
    }
}

fn write_allowed(f: &mut fmt::Formatter<'_>, allowed: &[&str], nearest: Option<&str>) -> fmt::Result {
    if let Some(nearest) = nearest {
        write!(f, "; did you mean \"{nearest}\"?")?;
        if !allowed.is_empty() {
            return write!(f, " Allowed: {}", allowed.join(", "));
        }
    }
    if allowed.is_empty() {
        f.write_str("; no keys are allowed here")
    } else {
        write!(f, "; allowed: {}", allowed.join(", "))
    }
}

impl JsonPath {
    /// `$`, the document.
    pub(crate) fn root() -> Self {
        Self("$".to_owned())
    }

    /// The value under `key`: `.key`, or `["key"]` where the key is not a plain word.
    pub(crate) fn key(&self, key: &str) -> Self {
        let plain = !key.is_empty()
            && key.chars().count() <= SHOWN_CHARACTERS
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if plain { Self(format!("{}.{key}", self.0)) } else { Self(format!("{}[{}]", self.0, quote(key))) }
    }

    /// The item at `index`, from 0.
    pub(crate) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `1 key`, `2 keys`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// `text` in quotes, shortened, with nothing in it that could break a log line.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for (count, character) in text.chars().enumerate() {
        if count >= SHOWN_CHARACTERS {
            quoted.push('…');
            break;
        }
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            // Line and paragraph separators, and marks that turn the reading direction, are no control characters.
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                write_escape(&mut quoted, character);
            }
            character if character.is_control() => write_escape(&mut quoted, character),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

fn write_escape(text: &mut String, character: char) {
    // Writing to a String cannot fail.
    let _ = write!(text, "\\u{:04x}", u32::from(character));
}

/// The most similar of `known`, if one is similar enough to have been meant.
pub(crate) fn nearest<'k>(found: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let folded = fold(found);
    let length = folded.chars().count();
    // Comparing takes time with the product of the lengths, and nobody mistypes a key this long.
    if length == 0 || length > SHOWN_CHARACTERS {
        return None;
    }
    let most = length.div_ceil(4);
    known
        .into_iter()
        .filter_map(|known| {
            let folded_known = fold(known);
            let distance = strsim::osa_distance(&folded, &folded_known);
            // "same but for a suffix such as /development" is a small mistake whatever the suffix' length.
            let base = folded_known.split('/').next().unwrap_or_default();
            let distance = distance.min(strsim::osa_distance(&folded, base).saturating_add(1));
            if is_long_prefix(&folded, &folded_known) || is_long_prefix(&folded_known, &folded) {
                return Some((distance.min(most), known));
            }
            (distance <= most).then_some((distance, known))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// `warn` of `warning`: the word is there, with too much or too little after it.
fn is_long_prefix(prefix: &str, text: &str) -> bool {
    prefix.len() >= 3 && prefix.len().saturating_mul(2) > text.len() && text.starts_with(prefix)
}

/// `tracerProvider`, `tracer-provider` and `tracer_provider` are the same word.
fn fold(text: &str) -> String {
    // Of ASCII, as all known words are: the standard library's table of all letters has 12 KB.
    let letters = text.chars().filter(|character| !matches!(character, '_' | '-' | ' ' | '.'));
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{JsonPath, nearest, quote};

    #[test]
    fn paths_are_plain_where_keys_are_and_quoted_where_not() {
        let root = JsonPath::root();
        let cases = [
            ("batch", "$.batch"),
            ("b3", "$.b3"),
            ("a/b", "$[\"a/b\"]"),
            ("a b", "$[\"a b\"]"),
            ("", "$[\"\"]"),
            ("a\nb", "$[\"a\\u000ab\"]"),
            ("ä", "$[\"ä\"]"),
        ];
        for (key, path) in cases {
            assert_eq!(root.key(key).to_string(), path);
        }
        assert_eq!(root.key("a").index(2).key("b").to_string(), "$.a[2].b");
    }

    #[test]
    fn quoted_text_is_short_and_breaks_no_line() {
        assert_eq!(quote("a\"b\\c"), r#""a\"b\\c""#);
        assert_eq!(quote("a\r\n\u{0}b\u{202e}\u{85}"), r#""a\u000d\u000a\u0000b\u202e\u0085""#);
        assert_eq!(quote(&"ß".repeat(60)), format!("\"{}\"", "ß".repeat(60)));
        assert_eq!(quote(&"ß".repeat(61)), format!("\"{}…\"", "ß".repeat(60)), "cut between characters");
    }

    #[test]
    fn the_nearest_key_is_one_that_was_meant() {
        let keys = ["schedule_delay", "export_timeout", "max_queue_size", "probability/development", "b3", "b3multi"];
        let cases = [
            ("schedule_dealy", Some("schedule_delay"), "two letters swapped"),
            ("scheduleDelay", Some("schedule_delay"), "camel case"),
            ("max-queue-size", Some("max_queue_size"), "hyphens"),
            ("EXPORT_TIMEOUT", Some("export_timeout"), "upper case"),
            ("probability", Some("probability/development"), "without its suffix"),
            ("b3mutli", Some("b3multi"), "the nearer of two"),
            ("b4", Some("b3"), "one letter"),
            ("schedule_delay_millis", Some("schedule_delay"), "too much after it"),
            ("max_queue", Some("max_queue_size"), "too little after it"),
            ("max", None, "much too little after it"),
            ("xray", None, "nothing like it"),
            ("", None, "empty"),
            ("timeout", None, "too far from export_timeout"),
        ];
        for (found, expected, why) in cases {
            assert_eq!(nearest(found, keys), expected, "{why}");
        }
        assert_eq!(nearest(&"a".repeat(100_000), keys), None, "a long key is not compared");
    }
}
