//! `composite/development`: samplers that state a threshold, put together by rules.

use crate::adaptive::{self, AdaptiveConfig};
use crate::error::{Problem, nearest};
use crate::rate_limiting::{self, RateLimitingConfig};
use crate::reader::{Key, Reader, built, not_offered};
use crate::sampler::{MOST_LEVELS, read_ratio};
use crate::token::is_token;

/// A composable sampler.
#[derive(Clone, Debug, PartialEq)]
pub enum ComposableConfig {
    /// `always_on`.
    AlwaysOn,
    /// `always_off`.
    AlwaysOff,
    /// `probability`.
    Probability {
        /// Between 0 and 1, both allowed.
        ratio: f64,
    },
    /// `parent_threshold`.
    ParentThreshold {
        /// For a span without a parent.
        root: Box<ComposableConfig>,
    },
    /// `rate_limiting`, which is our own.
    RateLimiting(RateLimitingConfig),
    /// `adaptive`, which is our own.
    Adaptive(AdaptiveConfig),
    /// `rule_based`: the first rule that matches decides. No rule at all: nothing is sampled.
    RuleBased {
        /// In order.
        rules: Vec<RuleConfig>,
    },
}

/// One of `rules`. All conditions have to match; with none, every span matches.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleConfig {
    /// `attribute_values`.
    pub attribute_values: Option<AttributeValuesConfig>,
    /// `attribute_patterns`.
    pub attribute_patterns: Option<AttributePatternsConfig>,
    /// `span_kinds`; empty: any.
    pub span_kinds: Vec<SpanKindConfig>,
    /// `parent`; empty: any.
    pub parents: Vec<SpanParentConfig>,
    /// `sampler`.
    pub sampler: ComposableConfig,
}

/// `attribute_values`: the attribute is there and has one of the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeValuesConfig {
    /// `key`.
    pub key: StartAttribute,
    /// `values`, at least one.
    pub values: Vec<String>,
}

/// `attribute_patterns`: the attribute is there, matches one of `included`, and none of `excluded`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributePatternsConfig {
    /// `key`.
    pub key: StartAttribute,
    /// `included`; empty: any value.
    pub included: Vec<String>,
    /// `excluded`.
    pub excluded: Vec<String>,
}

/// One of `span_kinds`. A proxy's spans are of the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKindConfig {
    /// `server`.
    Server,
    /// `client`.
    Client,
    /// `internal`, `producer` or `consumer`: never a proxy's span.
    Other,
}

/// One of `parent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanParentConfig {
    /// `none`: the trace begins here.
    None,
    /// `remote`: the caller's span.
    Remote,
    /// `local`: a gateway's SERVER span.
    Local,
}

/// An attribute that is known when a span starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartAttribute {
    /// `http.request.method`: a known method, or `_OTHER`.
    Method,
    /// `url.path`, without the query.
    Path,
    /// `url.query`, without its `?`.
    Query,
    /// `url.scheme`.
    Scheme,
    /// `http.route`: the template of `distribution.meshspan.routes` that the path follows.
    Route,
    /// `server.address`: the host of `:authority`.
    ServerAddress,
    /// `server.port`.
    ServerPort,
    /// `user_agent.original`.
    UserAgent,
    /// `http.request.header.NAME`; the name is in lower case.
    Header(String),
    /// `rpc.system.name`, and its older name `rpc.system`: `grpc`, or not there.
    RpcSystem,
    /// `rpc.service`: of a gRPC request, the service with its package.
    RpcService,
    /// `rpc.method`: of a gRPC request, service and method, as in `shop.Cart/AddItem`.
    RpcMethod,
    /// `envoy.upstream.cluster`: the cluster that the request is routed to.
    UpstreamCluster,
    /// `envoy.route.name`.
    RouteName,
    /// An attribute of the resource: the same for every span of this proxy.
    Resource(String),
}

const HEADER: &str = "http.request.header.";

/// Names of attributes, and what they are. Those of the resource are told by their prefix.
const ATTRIBUTES: &[(&str, StartAttribute)] = &[
    ("http.request.method", StartAttribute::Method),
    ("url.path", StartAttribute::Path),
    ("url.query", StartAttribute::Query),
    ("url.scheme", StartAttribute::Scheme),
    ("http.route", StartAttribute::Route),
    ("server.address", StartAttribute::ServerAddress),
    ("server.port", StartAttribute::ServerPort),
    ("user_agent.original", StartAttribute::UserAgent),
    ("rpc.system.name", StartAttribute::RpcSystem),
    ("rpc.system", StartAttribute::RpcSystem),
    ("rpc.service", StartAttribute::RpcService),
    ("rpc.method", StartAttribute::RpcMethod),
    ("envoy.upstream.cluster", StartAttribute::UpstreamCluster),
    ("envoy.route.name", StartAttribute::RouteName),
];

/// What attributes of the resource begin with.
const RESOURCE: &[&str] = &["service.", "k8s.", "deployment.", "cloud.", "host.", "container."];

const SAMPLERS: &[Key] = &[
    built("always_on"),
    built("always_off"),
    built("probability"),
    built("parent_threshold"),
    built("rule_based"),
    built("rate_limiting"),
    built("adaptive"),
    not_offered(
        "always_record",
        "a span that is recorded and not sampled is never exported; \
         to export what failed or was slow, although it was not sampled, is what distribution.meshspan.keep is for",
    ),
];

const PARENT_THRESHOLD_KEYS: &[Key] = &[built("root")];
const RULE_BASED_KEYS: &[Key] = &[built("rules")];
const RULE_KEYS: &[Key] =
    &[built("attribute_values"), built("attribute_patterns"), built("span_kinds"), built("parent"), built("sampler")];
const VALUES_KEYS: &[Key] = &[built("key"), built("values")];
const PATTERNS_KEYS: &[Key] = &[built("key"), built("included"), built("excluded")];

const SPAN_KINDS: &[(&str, SpanKindConfig)] = &[
    ("server", SpanKindConfig::Server),
    ("client", SpanKindConfig::Client),
    ("internal", SpanKindConfig::Other),
    ("producer", SpanKindConfig::Other),
    ("consumer", SpanKindConfig::Other),
];

const PARENTS: &[(&str, SpanParentConfig)] =
    &[("none", SpanParentConfig::None), ("remote", SpanParentConfig::Remote), ("local", SpanParentConfig::Local)];

/// How many rules a list of them, and how many values or patterns a rule may have.
const MOST_ITEMS: usize = 1_000;

/// How many bytes a pattern may have. What a `*` costs grows with it.
const MOST_PATTERN_BYTES: usize = 256;

const SAMPLER_REQUIRED: &str = "an object whose one key names the composable sampler, such as probability";

/// Reads a composable sampler; `None` if it is wrong. `level` counts the samplers around it.
pub(crate) fn read(reader: &Reader<'_>, level: u32) -> Option<ComposableConfig> {
    if level > MOST_LEVELS {
        reader.report(Problem::TooDeep { most: MOST_LEVELS });
        return None;
    }
    let (name, settings) = reader.component("composable sampler", SAMPLERS)?;
    match name {
        "always_on" => settings.object_or_null(&[]).map(|_| ComposableConfig::AlwaysOn),
        "always_off" => settings.object_or_null(&[]).map(|_| ComposableConfig::AlwaysOff),
        "probability" => Some(ComposableConfig::Probability { ratio: read_ratio(&settings)? }),
        "adaptive" => adaptive::read(&settings).map(ComposableConfig::Adaptive),
        "rate_limiting" => rate_limiting::read(&settings).map(ComposableConfig::RateLimiting),
        "parent_threshold" => {
            let object = settings.object(PARENT_THRESHOLD_KEYS)?;
            let root = read(&object.required("root", SAMPLER_REQUIRED)?, level.saturating_add(1))?;
            Some(ComposableConfig::ParentThreshold { root: Box::new(root) })
        }
        _ => {
            let object = settings.object_or_null(RULE_BASED_KEYS)?;
            let Some(rules) = object.optional("rules") else {
                return Some(ComposableConfig::RuleBased { rules: Vec::new() });
            };
            let rules = items(&rules, 1)?;
            let rules = rules.iter().filter_map(|rule| read_rule(rule, level)).collect();
            Some(ComposableConfig::RuleBased { rules })
        }
    }
}

fn read_rule(reader: &Reader<'_>, level: u32) -> Option<RuleConfig> {
    let object = reader.object(RULE_KEYS)?;
    let words = |key| object.optional(key).and_then(|list| list.list(1)).unwrap_or_default();
    let rule = RuleConfig {
        attribute_values: object.optional("attribute_values").and_then(|values| read_values(&values)),
        attribute_patterns: object.optional("attribute_patterns").and_then(|patterns| read_patterns(&patterns)),
        span_kinds: words("span_kinds").iter().filter_map(|kind| kind.one_of(SPAN_KINDS)).collect(),
        parents: words("parent").iter().filter_map(|parent| parent.one_of(PARENTS)).collect(),
        sampler: ComposableConfig::AlwaysOff,
    };
    let sampler = read(&object.required("sampler", SAMPLER_REQUIRED)?, level.saturating_add(1))?;
    Some(RuleConfig { sampler, ..rule })
}

fn read_values(reader: &Reader<'_>) -> Option<AttributeValuesConfig> {
    let object = reader.object(VALUES_KEYS)?;
    let key = object.required("key", "the name of an attribute").and_then(|key| read_key(&key));
    let values = object.required("values", "a list of values").and_then(|values| items(&values, 1));
    let values = values?.iter().filter_map(Reader::text).collect();
    Some(AttributeValuesConfig { key: key?, values })
}

fn read_patterns(reader: &Reader<'_>) -> Option<AttributePatternsConfig> {
    let object = reader.object(PATTERNS_KEYS)?;
    let key = object.required("key", "the name of an attribute").and_then(|key| read_key(&key));
    let patterns = |key| {
        let items = object.optional(key).and_then(|patterns| items(&patterns, 1)).unwrap_or_default();
        items.iter().filter_map(read_pattern).collect::<Vec<_>>()
    };
    let (included, excluded) = (patterns("included"), patterns("excluded"));
    Some(AttributePatternsConfig { key: key?, included, excluded })
}

/// A text with wildcards.
pub(crate) fn read_pattern(reader: &Reader<'_>) -> Option<String> {
    let pattern = reader.text()?;
    if pattern.len() > MOST_PATTERN_BYTES {
        reader.report_malformed(format!("a pattern of at most {MOST_PATTERN_BYTES} bytes"));
        return None;
    }
    Some(pattern)
}

fn items<'d>(reader: &Reader<'d>, least: usize) -> Option<Vec<Reader<'d>>> {
    let items = reader.list(least)?;
    if items.len() > MOST_ITEMS {
        reader.report(Problem::TooManyItems { found: items.len(), most: MOST_ITEMS });
        return None;
    }
    Some(items)
}

fn read_key(reader: &Reader<'_>) -> Option<StartAttribute> {
    let key = reader.non_empty_text()?;
    if let Some((_, attribute)) = ATTRIBUTES.iter().find(|(name, _)| *name == key) {
        return Some(attribute.clone());
    }
    if let Some(name) = key.strip_prefix(HEADER) {
        if !is_token(name) || name.starts_with(':') {
            reader.report_malformed("http.request.header. and the name of a header");
            return None;
        }
        return Some(StartAttribute::Header(name.to_ascii_lowercase()));
    }
    if RESOURCE.iter().any(|prefix| key.starts_with(prefix)) {
        return Some(StartAttribute::Resource(key));
    }
    let names = ATTRIBUTES.iter().map(|(name, _)| *name);
    reader.report(Problem::NotOneOf {
        found: reader.found(),
        allowed: names.clone().chain(["http.request.header.NAME", "service.…", "k8s.…"]).collect(),
        nearest: nearest(&key, names),
    });
    None
}

#[cfg(test)]
#[allow(clippy::too_many_lines, reason = "tables")]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::SamplerConfig;
    use crate::testing::{accepted, rejected_for};

    const PATH: &str = "$.tracer_provider.sampler[\"composite/development\"]";

    fn with(composite: &str) -> String {
        format!(
            r#""tracer_provider": {{"sampler": {{"composite/development": {composite}}},
                "processors": [{{"batch": {{"exporter": {{"otlp_grpc": null}}}}}}]}}"#
        )
    }

    fn composite(text: &str) -> ComposableConfig {
        let SamplerConfig::Composite(composite) = accepted(&with(text)).tracer.unwrap().sampler else { panic!() };
        *composite
    }

    fn rule(conditions: &str) -> RuleConfig {
        let comma = if conditions.is_empty() { "" } else { ", " };
        let text =
            format!(r#"{{"rule_based": {{"rules": [{{{conditions}{comma}"sampler": {{"always_on": {{}}}}}}]}}}}"#);
        let ComposableConfig::RuleBased { mut rules } = composite(&text) else { panic!() };
        rules.remove(0)
    }

    #[test]
    fn composable_samplers() {
        let cases = [
            (r#"{"always_on": {}}"#, ComposableConfig::AlwaysOn),
            (r#"{"always_off": null}"#, ComposableConfig::AlwaysOff),
            (r#"{"probability": null}"#, ComposableConfig::Probability { ratio: 1.0 }),
            (r#"{"probability": {"ratio": 0.25}}"#, ComposableConfig::Probability { ratio: 0.25 }),
            (
                r#"{"parent_threshold": {"root": {"always_on": null}}}"#,
                ComposableConfig::ParentThreshold { root: Box::new(ComposableConfig::AlwaysOn) },
            ),
            (r#"{"rule_based": null}"#, ComposableConfig::RuleBased { rules: Vec::new() }),
            (r#"{"rule_based": {}}"#, ComposableConfig::RuleBased { rules: Vec::new() }),
        ];
        for (text, expected) in cases {
            assert_eq!(composite(text), expected, "{text}");
        }
    }

    #[test]
    fn rules() {
        let any = rule("");
        assert_eq!(
            any,
            RuleConfig {
                attribute_values: None,
                attribute_patterns: None,
                span_kinds: Vec::new(),
                parents: Vec::new(),
                sampler: ComposableConfig::AlwaysOn
            }
        );
        assert_eq!(
            rule(r#""span_kinds": ["server", "consumer"], "parent": ["none", "local", "remote"]"#),
            RuleConfig {
                span_kinds: vec![SpanKindConfig::Server, SpanKindConfig::Other],
                parents: vec![SpanParentConfig::None, SpanParentConfig::Local, SpanParentConfig::Remote],
                ..any.clone()
            }
        );
        assert_eq!(
            rule(
                r#""attribute_values": {"key": "http.request.header.X-Tenant", "values": ["a"]},
                   "attribute_patterns": {"key": "url.path", "included": ["/a*"], "excluded": ["/ab?"]}"#
            ),
            RuleConfig {
                attribute_values: Some(AttributeValuesConfig {
                    key: StartAttribute::Header("x-tenant".to_owned()),
                    values: vec!["a".to_owned()]
                }),
                attribute_patterns: Some(AttributePatternsConfig {
                    key: StartAttribute::Path,
                    included: vec!["/a*".to_owned()],
                    excluded: vec!["/ab?".to_owned()]
                }),
                ..any
            }
        );
        let namespace = rule(r#""attribute_values": {"key": "k8s.namespace.name", "values": ["shop"]}"#);
        let resource = StartAttribute::Resource("k8s.namespace.name".to_owned());
        assert_eq!(namespace.attribute_values.unwrap().key, resource);
        for (name, attribute) in ATTRIBUTES {
            let rule = rule(&format!(r#""attribute_patterns": {{"key": "{name}"}}"#));
            assert_eq!(rule.attribute_patterns.unwrap().key, *attribute, "{name}");
        }
    }

    #[test]
    fn wrong_composites_are_errors() {
        let cases = [
            ("null", "", "names the composable sampler", "null"),
            ("{}", "", "names the composable sampler", "none"),
            (
                r#"{"trace_id_ratio_based": {}}"#,
                ".trace_id_ratio_based",
                "no such composable sampler",
                "not composable",
            ),
            (r#"{"always_record": {}}"#, ".always_record", "keep", "nothing would come of it"),
            (r#"{"probability": {"ratio": 1.5}}"#, ".probability.ratio", "from 0 to 1", "above 1"),
            (r#"{"probability": {"rate": 1}}"#, ".probability.rate", "no such key", "another name"),
            (r#"{"parent_threshold": {}}"#, ".parent_threshold", "\"root\" is missing", "no root"),
            (r#"{"parent_threshold": null}"#, ".parent_threshold", "an object", "no root"),
            (r#"{"parent_threshold": {"root": null}}"#, ".parent_threshold.root", "found null", "no root"),
            (r#"{"rule_based": {"rules": []}}"#, ".rule_based.rules", "at least 1", "an empty list of rules"),
            (r#"{"rule_based": {"rules": null}}"#, ".rule_based.rules", "a list", "the standard has no null here"),
            (r#"{"rule_based": {"rules": [{}]}}"#, ".rule_based.rules[0]", "\"sampler\" is missing", "no sampler"),
            (
                r#"{"rule_based": {"rules": [{"sampler": {"always_on": {}}, "name": "x"}]}}"#,
                ".rule_based.rules[0].name",
                "no such key",
                "rules have no names in the standard",
            ),
        ];
        for (text, place, words, why) in cases {
            rejected_for(&with(text), &format!("{PATH}{place}"), words, why);
        }
        let at = format!("{PATH}.rule_based.rules[0]");
        let long = format!(r#""attribute_patterns": {{"key": "url.path", "included": ["{}"]}}"#, "*".repeat(257));
        let many = vec!["\"a\""; 1_001].join(",");
        let many = format!(r#""attribute_values": {{"key": "url.path", "values": [{many}]}}"#);
        let cases = [
            (r#""span_kinds": []"#, ".span_kinds", "at least 1", "no kind"),
            (r#""span_kinds": ["SERVER"]"#, ".span_kinds[0]", "did you mean \"server\"", "upper case"),
            (r#""parent": ["some"]"#, ".parent[0]", "allowed: none, remote, local", "unknown"),
            (r#""attribute_values": {"key": "url.path"}"#, ".attribute_values", "\"values\" is missing", "no values"),
            (
                r#""attribute_values": {"key": "url.path", "values": []}"#,
                ".attribute_values.values",
                "at least 1",
                "no values",
            ),
            (
                r#""attribute_values": {"key": "url.path", "values": [404]}"#,
                ".attribute_values.values[0]",
                "a string",
                "numbers are matched as texts",
            ),
            (r#""attribute_values": {"values": ["a"]}"#, ".attribute_values", "\"key\" is missing", "no key"),
            (r#""attribute_patterns": {"key": ""}"#, ".attribute_patterns.key", "not empty", "an empty key"),
            (
                r#""attribute_patterns": {"key": "http.response.status_code"}"#,
                ".attribute_patterns.key",
                "allowed",
                "not known when the span starts",
            ),
            (
                r#""attribute_patterns": {"key": "url.pth"}"#,
                ".attribute_patterns.key",
                "did you mean \"url.path\"",
                "mistyped",
            ),
            (
                r#""attribute_patterns": {"key": "http.request.header."}"#,
                ".attribute_patterns.key",
                "name of a header",
                "no name",
            ),
            (
                r#""attribute_patterns": {"key": "url.path", "included": []}"#,
                ".attribute_patterns.included",
                "at least 1",
                "an empty list",
            ),
            (&long, ".attribute_patterns.included[0]", "at most 256 bytes", "a pattern is bounded"),
            (&many, ".attribute_values.values", "at most 1000", "values are bounded"),
        ];
        for (conditions, place, words, why) in cases {
            let text =
                format!(r#"{{"rule_based": {{"rules": [{{{conditions}, "sampler": {{"always_on": {{}}}}}}]}}}}"#);
            rejected_for(&with(&text), &format!("{at}{place}"), words, why);
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| {
            (2..levels).fold(r#"{"always_on": {}}"#.to_owned(), |inner, _| {
                format!(r#"{{"parent_threshold": {{"root": {inner}}}}}"#)
            })
        };
        composite(&nested(16));
        let path = format!("{PATH}{}", ".parent_threshold.root".repeat(15));
        rejected_for(&with(&nested(17)), &path, "16 levels", "composite is the first of them");
    }
}
