//! `meter_provider.views`: which streams of data points instruments become.

use crate::Wildcard;
use crate::error::{Problem, nearest};
use crate::meter::SERIES;
use crate::reader::{Key, Object, Reader, built, not_offered};
use crate::{Instrument, InstrumentKind};

/// One of `views`.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewConfig {
    /// What the selector selects; never empty.
    pub instruments: Vec<Instrument>,
    /// `stream.name`; only where one instrument is selected.
    pub name: Option<String>,
    /// `stream.description`.
    pub description: Option<String>,
    /// `stream.aggregation`.
    pub aggregation: AggregationConfig,
    /// `stream.attribute_keys`.
    pub attribute_keys: AttributeKeysConfig,
    /// `stream.aggregation_cardinality_limit`; `None`: the reader's.
    pub cardinality_limit: Option<u32>,
}

/// `aggregation`.
#[derive(Clone, Debug, PartialEq)]
pub enum AggregationConfig {
    /// `default`: by the instrument's kind, and for histograms by the exporter's preference.
    Default,
    /// `drop`: no stream.
    Drop,
    /// `sum`.
    Sum,
    /// `explicit_bucket_histogram`.
    Explicit {
        /// Rising; each the inclusive upper one of its bucket.
        boundaries: Vec<f64>,
        /// Whether the least and the greatest value are told.
        record_min_max: bool,
    },
    /// `base2_exponential_bucket_histogram`.
    Exponential {
        /// Buckets, at least 2; default 160.
        max_size: u32,
        /// The resolution that it begins with, from -10 to 20; default 20.
        max_scale: i32,
        /// Whether the least and the greatest value are told.
        record_min_max: bool,
    },
}

/// `attribute_keys`: which attributes a stream's series keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeKeysConfig {
    included: Option<Vec<Wildcard>>,
    excluded: Vec<Wildcard>,
}

impl AttributeKeysConfig {
    /// Whether the attribute with this key is kept.
    pub fn keeps(&self, key: &str) -> bool {
        let matches = |patterns: &[Wildcard]| patterns.iter().any(|pattern| pattern.matches(key.as_bytes()));
        self.included.as_deref().is_none_or(matches) && !matches(&self.excluded)
    }
}

const KEYS: &[Key] = &[built("selector"), built("stream")];

const SELECTOR_KEYS: &[Key] = &[
    built("instrument_name"),
    built("instrument_type"),
    built("unit"),
    built("meter_name"),
    built("meter_version"),
    built("meter_schema_url"),
];

const STREAM_KEYS: &[Key] = &[
    built("name"),
    built("description"),
    built("aggregation"),
    built("aggregation_cardinality_limit"),
    built("attribute_keys"),
];

/// The kinds of instruments that the standard has, and which of them the filter has.
const INSTRUMENT_TYPES: &[(&str, Option<InstrumentKind>)] = &[
    ("counter", Some(InstrumentKind::Counter)),
    ("up_down_counter", Some(InstrumentKind::UpDownCounter)),
    ("histogram", Some(InstrumentKind::Histogram)),
    ("gauge", None),
    ("observable_counter", None),
    ("observable_gauge", None),
    ("observable_up_down_counter", None),
];

const AGGREGATIONS: &[Key] = &[
    built("default"),
    built("drop"),
    built("sum"),
    built("explicit_bucket_histogram"),
    built("base2_exponential_bucket_histogram"),
    not_offered("last_value", "no instrument of the filter is a gauge: use sum, or a histogram"),
];

const EXPLICIT_KEYS: &[Key] = &[built("boundaries"), built("record_min_max")];

const EXPONENTIAL_KEYS: &[Key] = &[built("max_scale"), built("max_size"), built("record_min_max")];

const ATTRIBUTE_KEYS: &[Key] = &[built("included"), built("excluded")];

/// The SDKs' boundaries where a view asks for explicit ones and names none.
const DEFAULT_BOUNDARIES: &[f64] =
    &[0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1_000.0, 2_500.0, 5_000.0, 7_500.0, 10_000.0];

/// How many buckets a histogram may be given: every series has them.
const MOST_BUCKETS: u32 = 1_024;

/// How many views there may be.
const MOST_VIEWS: usize = 256;

/// Reads `views`.
pub(crate) fn read(list: &Reader<'_>) -> Vec<ViewConfig> {
    let entries = list.list(1).unwrap_or_default();
    if entries.len() > MOST_VIEWS {
        list.report(Problem::TooManyItems { found: entries.len(), most: MOST_VIEWS });
        return Vec::new();
    }
    let mut views: Vec<ViewConfig> = Vec::new();
    for entry in &entries {
        let Some(view) = read_view(entry) else { continue };
        if let Some(name) = views.iter().find_map(|earlier| conflict(earlier, &view)) {
            entry.report(Problem::Conflict {
                found: format!("a second stream with the name {}", crate::error::quote(&name)),
                allowed: "one stream of a name: give one of the two another name, or select other instruments"
                    .to_owned(),
            });
        }
        views.push(view);
    }
    views
}

/// The name that two views give to two streams (Metrics SDK, "View": conflicting metric identities).
fn conflict(one: &ViewConfig, other: &ViewConfig) -> Option<String> {
    if [one, other].iter().any(|view| view.aggregation == AggregationConfig::Drop) {
        return None;
    }
    let names = |view: &ViewConfig| -> Vec<String> {
        let name =
            |instrument: &Instrument| view.name.clone().unwrap_or_else(|| instrument.definition().name.to_owned());
        view.instruments.iter().map(name).collect()
    };
    let others = names(other);
    names(one).into_iter().find(|name| others.contains(name))
}

fn read_view(reader: &Reader<'_>) -> Option<ViewConfig> {
    let object = reader.object(KEYS)?;
    let selector = object.required("selector", "an object that selects instruments");
    let stream = object.required("stream", "an object that says what becomes of them");
    let instruments = selector.as_ref().and_then(read_selector);
    let stream = stream?.object(STREAM_KEYS)?;
    let name = stream.nullable("name").and_then(|name| read_name(&name, instruments.as_deref()));
    let aggregation = stream
        .optional("aggregation")
        .and_then(|aggregation| read_aggregation(&aggregation, instruments.as_deref()))
        .unwrap_or(AggregationConfig::Default);
    Some(ViewConfig {
        name,
        description: stream.nullable("description").and_then(|text| text.text()),
        aggregation,
        attribute_keys: stream.optional("attribute_keys").map(|keys| read_attribute_keys(&keys)).unwrap_or_default(),
        cardinality_limit: stream.integer("aggregation_cardinality_limit", SERIES),
        instruments: instruments?,
    })
}

/// All that is said has to fit (Metrics SDK, "Instrument selection criteria"). Selecting nothing is an error: a
/// mistyped name would be ignored otherwise.
fn read_selector(reader: &Reader<'_>) -> Option<Vec<Instrument>> {
    let object = reader.object(SELECTOR_KEYS)?;
    let text = |key| object.nullable(key).and_then(|text| text.non_empty_text());
    let (unit, meter_name) = (text("unit"), text("meter_name"));
    let (meter_version, schema_url) = (text("meter_version"), text("meter_schema_url"));
    let kind = object.nullable("instrument_type").and_then(|kind| kind.one_of(INSTRUMENT_TYPES));
    let mut selected = Instrument::ALL.to_vec();
    if let Some(reader) = object.nullable("instrument_name") {
        // Instrument names are the same in either case.
        let pattern = Wildcard::new(&reader.non_empty_text()?.to_ascii_lowercase());
        selected.retain(|instrument| pattern.matches(instrument.definition().name.as_bytes()));
        if selected.is_empty() {
            let names = || Instrument::ALL.iter().map(|instrument| instrument.definition().name);
            reader.report(Problem::NotOneOf {
                found: reader.found(),
                allowed: names().collect(),
                nearest: nearest(&reader.text().unwrap_or_default(), names()),
            });
            return None;
        }
    }
    let is_ours = meter_name.is_none_or(|name| Wildcard::new(&name).matches(crate::SCOPE_NAME.as_bytes()))
        && meter_version.is_none_or(|version| version == crate::VERSION)
        && schema_url.is_none_or(|url| url == crate::semconv::SCHEMA_URL);
    selected.retain(|instrument| {
        let definition = instrument.definition();
        is_ours
            && unit.as_deref().is_none_or(|unit| unit == definition.unit)
            && kind.is_none_or(|kind| kind == Some(definition.kind))
    });
    if selected.is_empty() {
        reader.report_malformed(
            "a selector that selects a metric of the filter, whose meter is meshspan, whose units are s, By, {request} \
             and the like, and whose types are counter, up_down_counter and histogram",
        );
        return None;
    }
    Some(selected)
}

/// Metrics API, "Instrument name syntax". A name for several instruments would make one metric of them.
fn read_name(reader: &Reader<'_>, instruments: Option<&[Instrument]>) -> Option<String> {
    let name = reader.text()?;
    let is_name = name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/'));
    if !is_name {
        reader.report_malformed(
            "a metric's name: a letter, and up to 254 letters, digits, and characters of _, ., - and / behind it",
        );
        return None;
    }
    if let Some(several @ [_, _, ..]) = instruments {
        reader.report(Problem::Conflict {
            found: format!("{} for {} instruments", reader.found(), several.len()),
            allowed: "a name only where the selector selects one instrument".to_owned(),
        });
        return None;
    }
    Some(name)
}

fn read_aggregation(reader: &Reader<'_>, instruments: Option<&[Instrument]>) -> Option<AggregationConfig> {
    let (name, settings) = reader.component("aggregation", AGGREGATIONS)?;
    let aggregation = match name {
        "explicit_bucket_histogram" => {
            let object = settings.object_or_null(EXPLICIT_KEYS)?;
            AggregationConfig::Explicit {
                boundaries: match object.optional("boundaries") {
                    Some(list) => read_boundaries(&list)?,
                    None => DEFAULT_BOUNDARIES.to_vec(),
                },
                record_min_max: read_min_max(&object),
            }
        }
        "base2_exponential_bucket_histogram" => {
            let object = settings.object_or_null(EXPONENTIAL_KEYS)?;
            AggregationConfig::Exponential {
                max_size: object.integer("max_size", 2..=MOST_BUCKETS).unwrap_or(EXPONENTIAL_SIZE),
                max_scale: object
                    .nullable("max_scale")
                    .and_then(|scale| scale.integer(-10..=20))
                    .unwrap_or(EXPONENTIAL_SCALE),
                record_min_max: read_min_max(&object),
            }
        }
        _ => {
            settings.object_or_null(&[])?;
            match name {
                "drop" => AggregationConfig::Drop,
                "sum" => AggregationConfig::Sum,
                _ => AggregationConfig::Default,
            }
        }
    };
    let is_histogram =
        matches!(aggregation, AggregationConfig::Explicit { .. } | AggregationConfig::Exponential { .. });
    let is_up_down = |instrument: &&Instrument| instrument.definition().kind == InstrumentKind::UpDownCounter;
    if is_histogram && let Some(instrument) = instruments.unwrap_or_default().iter().find(is_up_down) {
        reader.report(Problem::Conflict {
            found: format!("a histogram of the up-down counter {}", instrument.definition().name),
            allowed: "default, sum or drop for it: its measurements may be negative".to_owned(),
        });
        return None;
    }
    Some(aggregation)
}

/// The specification's default of `max_size`, buckets.
pub const EXPONENTIAL_SIZE: u32 = 160;
/// The specification's default of `max_scale`.
pub const EXPONENTIAL_SCALE: i32 = 20;

fn read_min_max(object: &Object<'_>) -> bool {
    object.nullable("record_min_max").and_then(|truth| truth.boolean()).unwrap_or(true)
}

fn read_boundaries(list: &Reader<'_>) -> Option<Vec<f64>> {
    let items = list.list(0)?;
    let most = usize::try_from(MOST_BUCKETS).unwrap_or(usize::MAX).saturating_sub(1);
    if items.len() > most {
        list.report(Problem::TooManyItems { found: items.len(), most });
        return None;
    }
    let mut boundaries: Vec<f64> = Vec::with_capacity(items.len());
    for item in &items {
        let boundary = item.double()?;
        if !boundary.is_finite() || boundaries.last().is_some_and(|last| *last >= boundary) {
            item.report_malformed("a boundary that is greater than the one before it");
            return None;
        }
        boundaries.push(boundary);
    }
    Some(boundaries)
}

fn read_attribute_keys(reader: &Reader<'_>) -> AttributeKeysConfig {
    let Some(object) = reader.object(ATTRIBUTE_KEYS) else { return AttributeKeysConfig::default() };
    let patterns = |key| {
        let texts = object.optional(key)?.texts(1)?;
        Some(texts.iter().map(|text| Wildcard::new(text)).collect::<Vec<_>>())
    };
    AttributeKeysConfig { included: patterns("included"), excluded: patterns("excluded").unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::testing::{accepted, rejected, rejected_for};

    fn with(views: &str) -> String {
        format!(
            r#""meter_provider": {{"readers": [{{"periodic": {{"exporter": {{"otlp_grpc": {{}}}}}}}}], "views": [{views}]}}"#
        )
    }

    fn view(text: &str) -> ViewConfig {
        accepted(&with(text)).meter.unwrap().views.remove(0)
    }

    fn selected(selector: &str) -> Vec<&'static str> {
        let view = view(&format!(r#"{{"selector": {{{selector}}}, "stream": {{}}}}"#));
        view.instruments.iter().map(|instrument| instrument.definition().name).collect()
    }

    #[test]
    fn selectors_select_what_fits_all_they_say() {
        assert_eq!(selected(r#""instrument_name": "http.server.request.duration""#), ["http.server.request.duration"]);
        assert_eq!(selected(r#""instrument_name": "HTTP.Server.Request.Duration""#).len(), 1, "in either case");
        assert_eq!(
            selected(r#""instrument_name": "http.*.active_requests", "instrument_type": "up_down_counter""#),
            ["http.server.active_requests", "http.client.active_requests"]
        );
        assert_eq!(selected(r#""instrument_name": "http.????er.request.duration""#).len(), 1, "one character each");
        assert_eq!(selected("").len(), Instrument::ALL.len(), "nothing said");
        assert_eq!(selected(r#""instrument_name": "*", "meter_name": "mesh*""#).len(), Instrument::ALL.len());
        assert!(selected(r#""unit": "By""#).iter().all(|name| name.contains(".body.size")));
        let url = crate::semconv::SCHEMA_URL;
        let ours = format!(r#""meter_version": "{}", "meter_schema_url": "{url}""#, crate::VERSION);
        assert_eq!(selected(&ours).len(), Instrument::ALL.len());
    }

    #[test]
    fn streams_say_what_becomes_of_them() {
        let read = view(
            r#"{"selector": {"instrument_name": "http.server.request.duration"}, "stream": {
                "name": "server/duration", "description": "", "aggregation_cardinality_limit": 7,
                "aggregation": {"explicit_bucket_histogram": {"boundaries": [0.1, 1, 10], "record_min_max": false}},
                "attribute_keys": {"included": ["http.*", "url.scheme"], "excluded": ["http.route"]}}}"#,
        );
        assert_eq!((read.name.as_deref(), read.description.as_deref()), (Some("server/duration"), Some("")));
        assert_eq!(read.cardinality_limit, Some(7));
        let expected = AggregationConfig::Explicit { boundaries: vec![0.1, 1.0, 10.0], record_min_max: false };
        assert_eq!(read.aggregation, expected);
        let kept =
            ["http.request.method", "http.route", "url.scheme", "error.type"].map(|key| read.attribute_keys.keeps(key));
        assert_eq!(kept, [true, false, true, false]);
        let aggregations = [
            (r#"{"default": {}}"#, AggregationConfig::Default),
            (r#"{"drop": null}"#, AggregationConfig::Drop),
            (r#"{"sum": {}}"#, AggregationConfig::Sum),
            (
                r#"{"explicit_bucket_histogram": {"boundaries": []}}"#,
                AggregationConfig::Explicit { boundaries: vec![], record_min_max: true },
            ),
            (
                r#"{"explicit_bucket_histogram": null}"#,
                AggregationConfig::Explicit { boundaries: DEFAULT_BOUNDARIES.to_vec(), record_min_max: true },
            ),
            (
                r#"{"base2_exponential_bucket_histogram": {"max_scale": -3}}"#,
                AggregationConfig::Exponential { max_size: 160, max_scale: -3, record_min_max: true },
            ),
        ];
        for (text, expected) in aggregations {
            let selector = r#"{"instrument_name": "http.server.request.duration"}"#;
            let read = view(&format!(r#"{{"selector": {selector}, "stream": {{"aggregation": {text}}}}}"#));
            assert_eq!(read.aggregation, expected, "{text}");
            assert!(read.attribute_keys.keeps("anything"));
        }
    }

    #[test]
    fn wrong_views_are_errors() {
        let cases = [
            (r#"{"stream": {}}"#, "", "\"selector\" is missing", "no selector"),
            (r#"{"selector": {}}"#, "", "\"stream\" is missing", "no stream"),
            (
                r#"{"selector": {"instrument_name": "http.server.request.durations"}, "stream": {}}"#,
                ".selector.instrument_name",
                "did you mean \"http.server.request.duration\"",
                "unknown",
            ),
            (
                r#"{"selector": {"instrument_name": "jvm.*"}, "stream": {}}"#,
                ".selector.instrument_name",
                "allowed: http.server.request.duration",
                "another's",
            ),
            (
                r#"{"selector": {"instrument_type": "gauge"}, "stream": {}}"#,
                ".selector",
                "selects a metric of the filter",
                "there is none",
            ),
            (r#"{"selector": {"unit": "ms"}, "stream": {}}"#, ".selector", "units are s", "no such unit"),
            (
                r#"{"selector": {"meter_name": "other"}, "stream": {}}"#,
                ".selector",
                "meter is meshspan",
                "another meter",
            ),
            (
                r#"{"selector": {"instrument_type": "meter"}, "stream": {}}"#,
                ".selector.instrument_type",
                "allowed: counter",
                "no such type",
            ),
            (
                r#"{"selector": {"instrument_name": "http.*"}, "stream": {"name": "one"}}"#,
                ".stream.name",
                "only where the selector selects one",
                "one name for several",
            ),
            (
                r#"{"selector": {"instrument_name": "meshspan.upstream.retries"}, "stream": {"name": "1st"}}"#,
                ".stream.name",
                "a letter",
                "no name",
            ),
            (
                r#"{"selector": {}, "stream": {"aggregation_cardinality_limit": 0}}"#,
                ".stream.aggregation_cardinality_limit",
                "found 0, out of range; allowed is an integer from 1",
                "a cap of nothing",
            ),
            (
                r#"{"selector": {}, "stream": {"aggregation": {"last_value": {}}}}"#,
                ".stream.aggregation.last_value",
                "is a gauge",
                "no gauges",
            ),
            (
                r#"{"selector": {}, "stream": {"aggregation": {"explicit_bucket_histogram": {}}}}"#,
                ".stream.aggregation",
                "up-down counter http.server.active_requests",
                "negative measurements",
            ),
            (
                r#"{"selector": {"unit": "s"}, "stream": {"aggregation":
                    {"explicit_bucket_histogram": {"boundaries": [1, 1]}}}}"#,
                ".stream.aggregation.explicit_bucket_histogram.boundaries[1]",
                "greater than the one before",
                "not rising",
            ),
            (
                r#"{"selector": {"unit": "s"}, "stream": {"aggregation":
                    {"base2_exponential_bucket_histogram": {"max_size": 1}}}}"#,
                ".stream.aggregation.base2_exponential_bucket_histogram.max_size",
                "from 2 to 1024",
                "too few",
            ),
            (
                r#"{"selector": {"unit": "s"}, "stream": {"aggregation":
                    {"base2_exponential_bucket_histogram": {"max_scale": 21}}}}"#,
                ".stream.aggregation.base2_exponential_bucket_histogram.max_scale",
                "from -10 to 20",
                "too fine",
            ),
            (
                r#"{"selector": {}, "stream": {"attribute_keys": {"included": []}}}"#,
                ".stream.attribute_keys.included",
                "at least 1",
                "an empty list",
            ),
        ];
        for (text, place, words, why) in cases {
            rejected_for(&with(text), &format!("$.meter_provider.views[0]{place}"), words, why);
        }
    }

    #[test]
    fn a_metric_has_one_stream_of_a_name() {
        let all = r#"{"selector": {"instrument_name": "http.*"}, "stream": {}}"#;
        let one = |stream: &str| {
            format!(r#"{{"selector": {{"instrument_name": "http.server.request.duration"}}, "stream": {{{stream}}}}}"#)
        };
        let errors = rejected(&with(&format!("{all}, {}", one(r#""aggregation_cardinality_limit": 5"#))));
        assert!(errors[0].contains("views[1]") && errors[0].contains("a second stream"), "{errors:?}");
        accepted(&with(&format!("{all}, {}", one(r#""name": "other""#))));
        accepted(&with(&format!("{all}, {}", one(r#""aggregation": {"drop": {}}"#))));
        let drop = r#"{"selector": {}, "stream": {"aggregation": {"drop": {}}}}"#;
        accepted(&with(&format!("{drop}, {}", one(""))));
    }
}
