//! `distribution`, and in it `meshspan`: what the standard has no key for.

use std::collections::BTreeMap;

use super::endpoint::check_host_and_port;
use super::error::{Problem, nearest, quote};
use super::ordered::unique;
use super::reader::{Key, Object, Reader, built, not_yet};
use super::token::is_token;
use super::{Clusters, MeshspanConfig, Role};

const NAME: &str = "meshspan";

const KEYS: &[Key] = &[
    built("role"),
    built("clusters"),
    built("routes"),
    built("baggage_attributes"),
    not_yet("keep"),
    not_yet("masking"),
    not_yet("metrics"),
    not_yet("logs"),
    not_yet("l4"),
    not_yet("limits"),
];

const ROLES: &[(&str, Role)] = &[
    ("auto", Role::Auto),
    ("server", Role::Server),
    ("client", Role::Client),
    ("gateway", Role::Gateway),
];

/// How many route templates a configuration may have.
const MOST_ROUTES: usize = 10_000;

impl Default for MeshspanConfig {
    fn default() -> Self {
        Self {
            role: Role::Auto,
            clusters: Clusters::new(),
            routes: Vec::new(),
            baggage_attributes: Vec::new(),
        }
    }
}

/// Reads `distribution`. Other vendors' sections are theirs; a key that is nearly ours is an error.
pub(super) fn read(reader: &Reader<'_>) -> MeshspanConfig {
    let mut config = MeshspanConfig::default();
    reader.expect_object();
    if reader.is_empty_object() {
        reader.report(Problem::NoKeys);
    }
    for (name, section) in reader.members() {
        if name == NAME {
            config = read_meshspan(&section);
        } else if nearest(name, [NAME]).is_some() {
            section.report(Problem::UnknownKey {
                allowed: vec![NAME],
                nearest: Some(NAME),
            });
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
        role: object
            .nullable("role")
            .and_then(|role| role.one_of(ROLES))
            .unwrap_or(Role::Auto),
        clusters: read_clusters(&object),
        routes: object
            .nullable("routes")
            .map(|routes| read_routes(&routes))
            .unwrap_or_default(),
        baggage_attributes: object
            .nullable("baggage_attributes")
            .map(|keys| read_baggage_keys(&keys))
            .unwrap_or_default(),
    }
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
        reader.report(Problem::TooManyItems {
            found: items.len(),
            most: MOST_ROUTES,
        });
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
            item.report(Problem::DuplicateItem {
                found: item.found(),
                first,
            });
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
    if let Some(name) = segment
        .strip_prefix('{')
        .and_then(|segment| segment.strip_suffix('}'))
    {
        let named = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        return if named {
            Ok(())
        } else {
            Err("{name} with a name made of letters, digits, _, - and .")
        };
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
    if segment
        .chars()
        .any(|character| character.is_whitespace() || character.is_control())
    {
        return Err("a path template without spaces and control characters");
    }
    Ok(())
}

/// Two templates that differ in names alone match the same paths.
fn without_names(template: &str) -> String {
    let segments = template.split('/').map(|segment| {
        if segment.starts_with('{') {
            "{}"
        } else {
            segment
        }
    });
    segments.collect::<Vec<_>>().join("/")
}
