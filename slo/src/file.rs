//! The file of objectives, read and checked: every mistake is told, each with its place.

use std::collections::BTreeSet;
use std::fmt;

use serde_yaml_ng::{Mapping, Value};

use crate::link::{self, TraceLink};
use crate::names::DURATION_BUCKETS_MS;

/// A checked file.
#[derive(Clone, Debug, PartialEq)]
pub struct SloFile {
    /// How the alerts lead to traces; without it they do not.
    pub trace_link: Option<TraceLink>,
    /// At least one; their ids differ.
    pub slos: Vec<Slo>,
}

/// One objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// Its name in labels: letters, digits, `-` and `_`.
    pub id: String,
    /// `service.name` of the proxy that serves.
    pub service: String,
    /// `http.route`, or the method `package.Service/Method`; all of the service's requests without it.
    pub route: Option<String>,
    /// Which requests count.
    pub protocol: Protocol,
    /// How many of them have to be good.
    pub objective: Objective,
    /// What is good.
    pub kind: Kind,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP requests.
    Http,
    /// gRPC calls.
    Rpc,
}

/// What makes a request good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was not the server that failed.
    Availability,
    /// Of those that did not fail: it took no longer than so many milliseconds, one of [`DURATION_BUCKETS_MS`].
    Latency(u32),
}

/// The share of requests that have to be good, in percent: more than 0 and less than 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective(f64);

impl Objective {
    fn new(percent: f64) -> Option<Self> {
        (percent > 0.0 && percent < 100.0).then_some(Self(percent))
    }

    /// The share of requests that may be bad, from 0 to 1.
    pub(crate) fn budget(self) -> f64 {
        (100.0 - self.0) / 100.0
    }

    /// [`Self::budget`] as a decimal, without what binary fractions leave behind.
    pub(crate) fn budget_decimal(self) -> String {
        decimal(self.budget())
    }

    /// The share of requests that have to be good, from 0 to 1, as a decimal.
    pub(crate) fn ratio_decimal(self) -> String {
        decimal(self.0 / 100.0)
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

fn decimal(value: f64) -> String {
    let text = format!("{value:.12}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What is wrong, and where: `slos[2].objective`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Empty for the file as a whole.
    pub path: String,
    /// A sentence: what stood there, and what is allowed.
    pub text: String,
}

/// All mistakes of a file, in the order of their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(formatter, "the file has {count} mistake{}:", if count == 1 { "" } else { "s" })?;
        for Mistake { path, text } in &self.0 {
            let colon = if path.is_empty() { "" } else { ": " };
            write!(formatter, "\n  {path}{colon}{text}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

impl SloFile {
    /// Reads a file's text, YAML or JSON.
    ///
    /// # Errors
    /// With every mistake that was found.
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        let mut reader = Reader::default();
        let file = match serde_yaml_ng::from_str::<Value>(text) {
            Ok(value) => reader.file(&value),
            Err(error) => reader.wrong("", format!("this is not YAML: {error}")),
        };
        match file {
            Some(file) if reader.mistakes.is_empty() => Ok(file),
            _ => Err(Mistakes(reader.mistakes)),
        }
    }
}

/// Collects mistakes. What could not be read is `None`, and somebody has been told why.
#[derive(Default)]
pub(crate) struct Reader {
    mistakes: Vec<Mistake>,
}

impl Reader {
    pub(crate) fn wrong<T>(&mut self, path: &str, text: impl Into<String>) -> Option<T> {
        self.mistakes.push(Mistake { path: path.to_owned(), text: text.into() });
        None
    }

    fn file(&mut self, value: &Value) -> Option<SloFile> {
        let map = self.map("", value, &["slos", "trace_link"])?;
        let trace_link = map.get("trace_link").and_then(|value| link::read(self, "trace_link", value));
        let list = match map.get("slos") {
            Some(Value::Sequence(list)) if !list.is_empty() => list,
            Some(other) => {
                return self
                    .wrong("slos", format!("{} stands here; it must be a list of at least one SLO", shown(other)));
            }
            None => return self.wrong("slos", "is missing; it is the list of SLOs"),
        };
        let slos: Vec<Option<Slo>> =
            list.iter().enumerate().map(|(index, value)| self.slo(&format!("slos[{index}]"), value)).collect();
        self.ids_differ(list);
        Some(SloFile { trace_link, slos: slos.into_iter().collect::<Option<_>>()? })
    }

    /// Two with the same id would count as one, in records and in alerts.
    fn ids_differ(&mut self, list: &[Value]) {
        let mut seen = BTreeSet::new();
        for (index, slo) in list.iter().enumerate() {
            let Some(id) = slo.get("id").and_then(Value::as_str) else { continue };
            if !seen.insert(id) {
                self.wrong::<()>(
                    &format!("slos[{index}].id"),
                    format!("{id:?} is the id of another SLO above; ids must differ"),
                );
            }
        }
    }

    fn slo(&mut self, path: &str, value: &Value) -> Option<Slo> {
        const KEYS: [&str; 7] = ["id", "service", "route", "protocol", "objective", "kind", "threshold"];
        let map = self.map(path, value, &KEYS)?;
        let at = |key: &str| format!("{path}.{key}");
        let id = self.required(path, map, "id").and_then(|id| self.id(&at("id"), id));
        let service = self.required(path, map, "service").and_then(|text| self.text(&at("service"), text));
        let route = map.get("route").map(|text| self.text(&at("route"), text));
        let protocol = map.get("protocol").map_or(Some(Protocol::Http), |word| {
            self.word(&at("protocol"), word, &[("http", Protocol::Http), ("rpc", Protocol::Rpc)])
        });
        let objective =
            self.required(path, map, "objective").and_then(|number| self.objective(&at("objective"), number));
        let is_latency = self
            .required(path, map, "kind")
            .and_then(|word| self.word(&at("kind"), word, &[("availability", false), ("latency", true)]));
        let kind = match (is_latency, map.get("threshold")) {
            (Some(true), Some(threshold)) => self.threshold(&at("threshold"), threshold).map(Kind::Latency),
            (Some(true), None) => self.wrong(
                &at("threshold"),
                "is missing; a latency SLO needs the duration that is still good, such as 250ms",
            ),
            (Some(false), Some(_)) => self.wrong(&at("threshold"), "only an SLO of kind latency has one"),
            (Some(false), None) => Some(Kind::Availability),
            (None, _) => None,
        };
        let route = match route {
            Some(None) => return None,
            Some(route) => route,
            None => None,
        };
        Some(Slo { id: id?, service: service?, route, protocol: protocol?, objective: objective?, kind: kind? })
    }

    /// A mapping with no other keys than these.
    pub(crate) fn map<'v>(&mut self, path: &str, value: &'v Value, keys: &[&str]) -> Option<&'v Mapping> {
        let Value::Mapping(map) = value else {
            return self
                .wrong(path, format!("{} stands here; it must be a mapping with {}", shown(value), listed(keys)));
        };
        for key in map.keys() {
            let key = key.as_str().map_or_else(|| shown(key), str::to_owned);
            if keys.contains(&key.as_str()) {
                continue;
            }
            let nearest = keys.iter().map(|known| (strsim::damerau_levenshtein(&key, known), known)).min();
            let hint = match nearest {
                Some((steps, known)) if steps <= 1 + known.len() / 4 => format!("did you mean `{known}`?"),
                _ => format!("known are {}", listed(keys)),
            };
            let place = if path.is_empty() { key } else { format!("{path}.{key}") };
            self.wrong::<()>(&place, format!("is not a known key; {hint}"));
        }
        Some(map)
    }

    fn required<'v>(&mut self, path: &str, map: &'v Mapping, key: &str) -> Option<&'v Value> {
        map.get(key).or_else(|| self.wrong(&format!("{path}.{key}"), "is missing"))
    }

    fn id(&mut self, path: &str, value: &Value) -> Option<String> {
        let id = self.text(path, value)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.chars().all(allowed) {
            return Some(id);
        }
        self.wrong(path, format!("{id:?} stands here; an id is made of letters, digits, - and _"))
    }

    /// Text that is not empty, on one line.
    pub(crate) fn text(&mut self, path: &str, value: &Value) -> Option<String> {
        match value.as_str() {
            Some(text) if !text.is_empty() && !text.chars().any(char::is_control) => Some(text.to_owned()),
            _ => self.wrong(path, format!("{} stands here; it must be text on one line, and not empty", shown(value))),
        }
    }

    fn word<T: Copy>(&mut self, path: &str, value: &Value, words: &[(&str, T)]) -> Option<T> {
        let found = words.iter().find(|(word, _)| value.as_str() == Some(word)).map(|(_, meaning)| *meaning);
        found.or_else(|| {
            let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(path, format!("{} stands here; allowed are {}", shown(value), listed(&all)))
        })
    }

    fn objective(&mut self, path: &str, value: &Value) -> Option<Objective> {
        value.as_f64().and_then(Objective::new).or_else(|| {
            let rule = "it must be a number of percent, greater than 0 and less than 100, such as 99.9";
            self.wrong(path, format!("{} stands here; {rule}", shown(value)))
        })
    }

    /// `250`, `250ms` or `1s`, where there is a bucket that ends so.
    fn threshold(&mut self, path: &str, value: &Value) -> Option<u32> {
        let milliseconds = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => match (text.strip_suffix("ms"), text.strip_suffix('s')) {
                (Some(number), _) => number.parse().ok(),
                (None, Some(number)) => number.parse::<f64>().ok().map(|seconds| seconds * 1000.0),
                (None, None) => None,
            },
            _ => None,
        };
        let edge = |found: f64| DURATION_BUCKETS_MS.into_iter().find(|edge| (f64::from(*edge) - found).abs() < 1e-6);
        milliseconds.and_then(edge).or_else(|| {
            let edges: Vec<String> = DURATION_BUCKETS_MS.iter().map(u32::to_string).collect();
            let rule = "it must be one of the histogram's edges, in milliseconds";
            self.wrong(path, format!("{} stands here; {rule}: {}", shown(value), edges.join(", ")))
        })
    }
}

/// `a, b and c`.
pub(crate) fn listed(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => words.concat(),
    }
}

/// A value as a person knows it.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{text:?}"),
        Value::Sequence(list) if list.is_empty() => "an empty list".to_owned(),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(_) => "a mapping".to_owned(),
        Value::Tagged(tagged) => format!("the tag {}", tagged.tag),
    }
}
