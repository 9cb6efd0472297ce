//! `distribution`, and in it `meshspan`: what the standard has no key for.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::GrpcMethod;
use crate::endpoint::check_host_and_port;
use crate::error::{Problem, nearest, quote};
use crate::ordered::unique;
use crate::reader::{Key, Object, Reader, built, not_yet};
use crate::token::is_token;
use crate::{Clusters, Inject, LimitsConfig, MaskingConfig, MeshspanConfig, MetricsConfig, ResponseConfig, Role};
use crate::{force, keep, logs, masking, metrics, response};

const NAME: &str = "meshspan";

const KEYS: &[Key] = &[
    built("role"),
    built("clusters"),
    built("routes"),
    built("inject"),
    built("rpc"),
    built("limits"),
    built("baggage_attributes"),
    built("keep"),
    built("force"),
    built("logs"),
    built("masking"),
    built("response"),
    built("metrics"),
    not_yet("l4"),
];

const ROLES: &[(&str, Role)] =
    &[("auto", Role::Auto), ("server", Role::Server), ("client", Role::Client), ("gateway", Role::Gateway)];

const INJECTS: &[(&str, Inject)] = &[("headers", Inject::Headers), ("filter_state", Inject::FilterState)];

const RPC_KEYS: &[Key] = &[built("known_methods")];

const LIMITS_KEYS: &[Key] = &[
    built("max_queue_bytes"),
    built("max_request_size"),
    built("max_in_flight"),
    built("max_attribute_bytes"),
    built("max_retry_age"),
];

/// A queue or a batch that holds less than this could not hold one large span.
const LEAST_BATCH_BYTES: u32 = 128 << 10;

/// How many requests of one exporter may be under way on one worker.
const IN_FLIGHT: RangeInclusive<u32> = 1..=16;

/// What the attributes of one span may at least and at most take: room for a few, and less than the least batch.
const ATTRIBUTE_BYTES: RangeInclusive<u32> = 1 << 10..=64 << 10;

/// How many methods a configuration may list.
const MOST_METHODS: usize = 10_000;

/// How many route templates a configuration may have.
const MOST_ROUTES: usize = 10_000;

impl Default for MeshspanConfig {
    fn default() -> Self {
        Self {
            role: Role::Auto,
            clusters: Clusters::new(),
            routes: Vec::new(),
            inject: Inject::Headers,
            known_rpc_methods: None,
            limits: LimitsConfig::default(),
            keep: None,
            logs: None,
            force: None,
            baggage_attributes: Vec::new(),
            masking: MaskingConfig::default(),
            response: ResponseConfig::default(),
            metrics: MetricsConfig::default(),
        }
    }
}

/// Reads `distribution`. Other vendors' sections are theirs; a key that is nearly ours is an error.
pub(crate) fn read(reader: &Reader<'_>) -> MeshspanConfig {
    let mut config = MeshspanConfig::default();
    reader.expect_object();
    if reader.is_empty_object() {
        reader.report(Problem::NoKeys);
    }
    for (name, section) in reader.members() {
        if name == NAME {
            config = read_meshspan(&section);
        } else if nearest(name, [NAME]).is_some() {
            section.report(Problem::UnknownKey { allowed: vec![NAME], nearest: Some(NAME) });
        } else {
            section.expect_object();
        }
    }
    config
}

fn read_meshspan(reader: &Reader<'_>) -> MeshspanConfig {
    let Some(object) = reader.object(KEYS) else {
        return MeshspanConfig::default();
    };
    MeshspanConfig {
        role: object.nullable("role").and_then(|role| role.one_of(ROLES)).unwrap_or(Role::Auto),
        clusters: read_clusters(&object),
        routes: object.nullable("routes").map(|routes| read_routes(&routes)).unwrap_or_default(),
        inject: object.nullable("inject").and_then(|inject| inject.one_of(INJECTS)).unwrap_or(Inject::Headers),
        known_rpc_methods: object.nullable("rpc").and_then(|rpc| read_known_methods(&rpc)),
        limits: object.nullable("limits").map(|limits| read_limits(&limits)).unwrap_or_default(),
        keep: object.nullable("keep").and_then(|keep| keep::read(&keep)),
        logs: object.nullable("logs").and_then(|logs| logs::read(&logs)),
        force: object.nullable("force").and_then(|force| force::read(&force)),
        baggage_attributes: object
            .nullable("baggage_attributes")
            .map(|keys| read_baggage_keys(&keys))
            .unwrap_or_default(),
        masking: object.nullable("masking").map(|section| masking::read(&section)).unwrap_or_default(),
        response: object.nullable("response").map(|section| response::read(&section)).unwrap_or_default(),
        metrics: object.nullable("metrics").map(|section| metrics::read(&section)).unwrap_or_default(),
    }
}

fn read_limits(reader: &Reader<'_>) -> LimitsConfig {
    let default = LimitsConfig::default();
    let Some(object) = reader.object(LIMITS_KEYS) else { return default };
    let bytes = |key, least, default| object.integer(key, least..=u32::MAX).unwrap_or(default);
    LimitsConfig {
        max_queue_bytes: bytes("max_queue_bytes", LEAST_BATCH_BYTES, default.max_queue_bytes),
        max_request_size: bytes("max_request_size", LEAST_BATCH_BYTES, default.max_request_size),
        max_in_flight: object.integer("max_in_flight", IN_FLIGHT).unwrap_or(default.max_in_flight),
        max_attribute_bytes: object
            .integer("max_attribute_bytes", ATTRIBUTE_BYTES)
            .unwrap_or(default.max_attribute_bytes),
        max_retry_age_ms: object.integer("max_retry_age", 0..=u32::MAX).unwrap_or(default.max_retry_age_ms),
    }
}

/// `rpc.known_methods`. An empty list is one: no method is known then.
fn read_known_methods(reader: &Reader<'_>) -> Option<Vec<String>> {
    let methods = reader.object(RPC_KEYS)?.nullable("known_methods")?;
    let items = methods.list(0)?;
    if items.len() > MOST_METHODS {
        methods.report(Problem::TooManyItems { found: items.len(), most: MOST_METHODS });
        return None;
    }
    let names = items.iter().filter_map(|item| {
        let name = item.text()?;
        // `*` stands for any method's name.
        let named = name.strip_suffix("/*").map_or_else(|| name.clone(), |service| format!("{service}/any"));
        if GrpcMethod::parse(named.as_bytes()).is_none() {
            item.report_malformed("a method as package.Service/Method, or package.Service/* for all of a service");
            return None;
        }
        Some(name)
    });
    Some(unique(names))
}

fn read_clusters(object: &Object<'_>) -> Clusters {
    let Some(reader) = object.nullable("clusters") else {
        return Clusters::new();
    };
    reader.expect_object();
    let mut clusters = Clusters::new();
    for (address, cluster) in reader.members() {
        if let Err(allowed) = check_host_and_port(address) {
            cluster.report(Problem::Malformed {
                found: format!("the key {}", quote(address)),
                allowed: allowed.to_owned(),
            });
        }
        if let Some(cluster) = cluster.non_empty_text() {
            clusters.insert(address.to_owned(), cluster);
        }
    }
    clusters
}

fn read_baggage_keys(reader: &Reader<'_>) -> Vec<String> {
    let items = reader.list(0).unwrap_or_default();
    unique(items.iter().filter_map(|item| {
        let key = item.text()?;
        if !is_token(&key) {
            item.report_malformed("a baggage key, made of letters, digits and !#$%&'*+-.^_`|~");
            return None;
        }
        Some(key)
    }))
}

fn read_routes(reader: &Reader<'_>) -> Vec<String> {
    let items = reader.list(0).unwrap_or_default();
    if items.len() > MOST_ROUTES {
        reader.report(Problem::TooManyItems { found: items.len(), most: MOST_ROUTES });
        return Vec::new();
    }
    let mut routes = Vec::new();
    let mut first_of = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        let Some(route) = item.text() else { continue };
        if let Err(allowed) = validate_route_template(&route) {
            item.report_malformed(allowed);
            continue;
        }
        let first = *first_of.entry(without_names(&route)).or_insert(index);
        if first == index {
            routes.push(route);
        } else {
            item.report(Problem::DuplicateItem { found: item.found(), first });
        }
    }
    routes
}

/// Checks a path template: `/`, or segments that each follow a `/`. A segment is literal text, or `{name}` for any
/// one segment that is not empty, or, in last place only, `**` for all that follows. A template may end with `/`.
/// Names are made of letters, digits, `_`, `-` and `.`. The error says what is allowed.
pub fn validate_route_template(template: &str) -> Result<(), &'static str> {
    let Some(rest) = template.strip_prefix('/') else {
        return Err("a path template that begins with /, such as /users/{id}");
    };
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "" | "**" if last => {}
            "" => return Err("a path template without empty segments (//)"),
            segment => validate_segment(segment)?,
        }
    }
    Ok(())
}

fn validate_segment(segment: &str) -> Result<(), &'static str> {
    if let Some(name) = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}')) {
        let named = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        return if named { Ok(()) } else { Err("{name} with a name made of letters, digits, _, - and .") };
    }
    if segment.contains('*') {
        return Err("* only as /** at the end; write {name} for one segment");
    }
    if segment.contains(['{', '}']) {
        return Err("{name} as a whole segment, such as /users/{id}");
    }
    if segment.contains(['?', '#']) {
        return Err("a path template, without a query (?) or fragment (#)");
    }
    if segment.chars().any(|character| character.is_whitespace() || character.is_control()) {
        return Err("a path template without spaces and control characters");
    }
    Ok(())
}

/// Two templates that differ in names alone match the same paths.
fn without_names(template: &str) -> String {
    let segments = template.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::validate_route_template;
    use crate::testing::{accepted, rejected, rejected_at};
    use crate::{MeshspanConfig, Role};

    fn section(text: &str) -> String {
        format!(r#""distribution": {{"meshspan": {text}}}"#)
    }

    fn meshspan(text: &str) -> MeshspanConfig {
        accepted(&section(text)).meshspan
    }

    #[test]
    fn roles() {
        let cases =
            [("auto", Role::Auto), ("server", Role::Server), ("client", Role::Client), ("gateway", Role::Gateway)];
        for (text, role) in cases {
            assert_eq!(meshspan(&format!(r#"{{"role": "{text}"}}"#)).role, role);
        }
        assert_eq!(meshspan("{}").role, Role::Auto);
        rejected_at(&section(r#"{"role": "Gateway"}"#), "$.distribution.meshspan.role", "did you mean \"gateway\"");
    }

    #[test]
    fn methods_can_be_listed() {
        assert_eq!(meshspan("{}").known_rpc_methods, None, "else they are learnt");
        assert_eq!(meshspan(r#"{"rpc": {}}"#).known_rpc_methods, None);
        assert_eq!(meshspan(r#"{"rpc": {"known_methods": []}}"#).known_rpc_methods, Some(Vec::new()), "none");
        let listed = meshspan(r#"{"rpc": {"known_methods": ["a.B/C", "a.B/*", "a.B/C"]}}"#).known_rpc_methods;
        assert_eq!(listed.unwrap_or_default(), ["a.B/C", "a.B/*"], "each once");
        // No method; a slash in front; no such patterns.
        for name in ["a.B", "/a.B/C", "a.*/C", "*"] {
            let text = section(&format!(r#"{{"rpc": {{"known_methods": ["{name}"]}}}}"#));
            rejected_at(&text, "$.distribution.meshspan.rpc.known_methods[0]", "package.Service/Method");
        }
        rejected_at(&section(r#"{"rpc": {"methods": []}}"#), "$.distribution.meshspan.rpc.methods", "known_methods");
    }

    #[test]
    fn clusters_reach_endpoints_wherever_they_stand() {
        let config = accepted(
            r#""tracer_provider": {"processors": [{"simple": {"exporter": {"otlp_grpc": {"endpoint": "http://c:1"}}}}]},
               "distribution": {"meshspan": {"clusters": {"c:1": "mapped", "unused:2": "x"}}}"#,
        );
        assert_eq!(config.tracer.unwrap().processors[0].exporter.endpoint.cluster, "mapped");
        rejected_at(&section(r#"{"clusters": {"c": "x"}}"#), "$.distribution.meshspan.clusters.c", "with the port");
        rejected_at(&section(r#"{"clusters": {"c:1": ""}}"#), "$.distribution.meshspan.clusters[\"c:1\"]", "not empty");
        rejected_at(&section(r#"{"clusters": ["c:1"]}"#), "$.distribution.meshspan.clusters", "an object");
    }

    #[test]
    fn templates() {
        let valid = [
            "/",
            "/users",
            "/users/",
            "/users/{id}",
            "/{a}/{b.c-d_1}",
            "/static/**",
            "/**",
            "/a%20b",
            "/a:b;c=d",
            "/ü",
        ];
        for template in valid {
            assert_eq!(validate_route_template(template), Ok(()), "{template}");
        }
        let invalid = [
            ("", "empty"),
            ("users", "no slash"),
            ("http://a/b", "a URL"),
            ("//", "an empty segment"),
            ("/a//b", "an empty segment"),
            ("/{}", "no name"),
            ("/{a", "not closed"),
            ("/a}", "not opened"),
            ("/{a}{b}", "two names in one segment"),
            ("/a{b}", "a part of a segment"),
            ("/{a b}", "a space in a name"),
            ("/{a*}", "a star in a name"),
            ("/*", "one star"),
            ("/**/a", "** before the end"),
            ("/a**", "** with text"),
            ("/a?b", "a query"),
            ("/a#b", "a fragment"),
            ("/a b", "a space"),
            ("/a\n", "a line break"),
        ];
        for (template, why) in invalid {
            assert!(validate_route_template(template).is_err(), "{template:?}: {why}");
        }
    }

    #[test]
    fn routes_stand_once() {
        assert_eq!(meshspan(r#"{"routes": ["/b", "/a/{id}", "/a/x"]}"#).routes, ["/b", "/a/{id}", "/a/x"], "in order");
        let path = "$.distribution.meshspan.routes[2]";
        rejected_at(&section(r#"{"routes": ["/a", "/b/{x}", "/b/{y}"]}"#), path, "the same as item [1]");
        rejected_at(&section(r#"{"routes": ["/a", "/b", "/a"]}"#), path, "the same as item [0]");
        rejected_at(&section(r#"{"routes": ["/a", "/b", "c"]}"#), path, "begins with /");
        let many: Vec<String> = (0..10_001).map(|number| format!("\"/{number}\"")).collect();
        accepted(&section(&format!(r#"{{"routes": [{}]}}"#, many[1..].join(","))));
        let path = "$.distribution.meshspan.routes";
        rejected_at(&section(&format!(r#"{{"routes": [{}]}}"#, many.join(","))), path, "at most 10000");
    }

    #[test]
    fn baggage_keys() {
        assert_eq!(
            meshspan(r#"{"baggage_attributes": ["tenant", "Tenant", "tenant"]}"#).baggage_attributes,
            ["tenant", "Tenant"]
        );
        rejected_at(
            &section(r#"{"baggage_attributes": ["a=b"]}"#),
            "$.distribution.meshspan.baggage_attributes[0]",
            "a baggage key",
        );
    }

    #[test]
    fn what_a_later_version_builds_is_not_ignored() {
        rejected_at(&section(r#"{"l4": {}}"#), "$.distribution.meshspan.l4", "not yet built");
    }

    #[test]
    fn distributions_of_others_are_theirs() {
        accepted(r#""distribution": {"vendor": {"anything": ["${GOES}"]}}"#);
        rejected_at(r#""distribution": {"vendor": 1}"#, "$.distribution.vendor", "an object");
        rejected_at(r#""distribution": {}"#, "$.distribution", "empty");
        rejected_at(r#""distribution": {"meshpan": {}}"#, "$.distribution.meshpan", "did you mean \"meshspan\"");
        assert_eq!(rejected(r#""distribution": 1"#).len(), 1);
    }
}
