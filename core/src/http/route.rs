//! Route templates: from a path to the low-cardinality pattern that it follows.

use std::collections::BTreeMap;
use std::rc::Rc;

/// Templates such as `/users/{id}`, found by walking the path's segments down a tree of theirs.
///
/// A template's segments are literal text, `{name}` (any one segment that is not empty) or, at the end, `**` (the
/// rest, however long, also none). Where several fit, a literal goes before `{name}`, and that before `**`, from
/// the left. The first of two templates that differ in their names only is taken.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    root: Node,
    /// The literal segments' and names' owners.
    templates: Vec<Rc<str>>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    // Not a hash map: the standard library's asks the host for randomness, and traps when it has none.
    literal: BTreeMap<Box<[u8]>, Node>,
    any: Option<Box<Node>>,
    /// The template that ends here.
    here: Option<usize>,
    /// The template that ends here in `**`.
    rest: Option<usize>,
}

/// No path is looked at beyond this many segments: none that a person wrote is longer.
const MAX_SEGMENTS: u32 = 64;

impl RouteTable {
    /// From checked templates.
    #[inline]
    pub fn new(templates: &[String]) -> Self {
        let mut table = Self::default();
        for template in templates {
            let index = table.templates.len();
            table.templates.push(Rc::from(template.as_str()));
            table.root.insert(template.trim_start_matches('/'), index);
        }
        table
    }

    /// The template that `path` (without its query) follows.
    pub fn find(&self, path: &[u8]) -> Option<Rc<str>> {
        if self.templates.is_empty() {
            return None;
        }
        let path = path.strip_prefix(b"/")?;
        let index = self.root.find(Some(path), MAX_SEGMENTS)?;
        self.templates.get(index).cloned()
    }
}

impl Node {
    fn insert(&mut self, template: &str, index: usize) {
        let mut node = self;
        for segment in template.split('/') {
            if segment == "**" {
                node.rest.get_or_insert(index);
                return;
            }
            node = if segment.starts_with('{') && segment.ends_with('}') {
                node.any.get_or_insert_default()
            } else {
                node.literal.entry(segment.as_bytes().into()).or_default()
            };
        }
        node.here.get_or_insert(index);
    }

    /// `path`: what is left, or `None` behind its last segment. Each node of the table is visited at most once.
    fn find(&self, path: Option<&[u8]>, depth: u32) -> Option<usize> {
        let Some(path) = path else { return self.here.or(self.rest) };
        let Some(depth) = depth.checked_sub(1) else { return self.rest };
        let (segment, rest) = match path.iter().position(|byte| *byte == b'/') {
            Some(slash) => {
                let (segment, rest) = path.split_at_checked(slash)?;
                (segment, rest.strip_prefix(b"/"))
            }
            None => (path, None),
        };
        let literal = || self.literal.get(segment).and_then(|node| node.find(rest, depth));
        let any = || match &self.any {
            Some(node) if !segment.is_empty() => node.find(rest, depth),
            _ => None,
        };
        literal().or_else(any).or(self.rest)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn paths_find_their_template() {
        let templates: Vec<String> = [
            "/",
            "/users/{id}",
            "/users/me",
            "/users/{id}/orders/{order}",
            "/users/{name}/orders/latest",
            "/static/**",
            "/static/app.js",
            "/{tenant}/status",
        ]
        .map(String::from)
        .into();
        let table = RouteTable::new(&templates);
        let cases: &[(&str, Option<&str>, &str)] = &[
            ("/", Some("/"), "the root"),
            ("/users/7", Some("/users/{id}"), "a parameter"),
            ("/users/me", Some("/users/me"), "a literal goes before a parameter"),
            ("/users/", None, "a parameter is never empty"),
            ("/users", None, "too short"),
            ("/users/7/orders/9", Some("/users/{id}/orders/{order}"), "two parameters"),
            ("/users/7/orders/latest", Some("/users/{name}/orders/latest"), "the other name at the same place"),
            ("/users/7/orders", None, "a prefix is no match"),
            ("/static/", Some("/static/**"), "the rest may be empty"),
            ("/static", Some("/static/**"), "or not be there"),
            ("/static/a/b/c.css", Some("/static/**"), "or be long"),
            ("/static/app.js", Some("/static/app.js"), "a literal goes before the rest"),
            ("/users/status", Some("/users/{id}"), "from the left: a literal first segment"),
            ("/blue/status", Some("/{tenant}/status"), "a parameter in front"),
            ("users/7", None, "no path"),
            ("", None, "nothing"),
            ("*", None, "OPTIONS *"),
            ("/users/\u{fffd}", Some("/users/{id}"), "any bytes"),
        ];
        for (path, expected, why) in cases {
            assert_eq!(table.find(path.as_bytes()).as_deref(), *expected, "{path}: {why}");
        }
    }

    #[test]
    fn a_path_of_slashes_costs_no_stack() {
        let table = RouteTable::new(&["/{a}/{b}".to_owned(), "/**".to_owned()]);
        assert_eq!(table.find(&vec![b'/'; 60_000]).as_deref(), Some("/**"));
    }
}
