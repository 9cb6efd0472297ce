//! The part of Envoy's expression language that a filter needs to read several attributes at once: a list of
//! attributes, each perhaps guarded: `[request.time, has(response.code) ? response.code : '']`.
//!
//! Envoy's foreign functions `expr_create` and `expr_evaluate` make and evaluate expressions; a list comes back as
//! header lines, each element a name without a value.

/// An attribute of a list, by its path with a NUL between the segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) path: Vec<u8>,
    /// Whether it is an empty text where there is no such attribute; else the whole expression fails.
    pub(crate) guarded: bool,
}

/// Reads an expression; `None` for one that is not of this form.
pub(crate) fn parse(text: &str) -> Option<Vec<Element>> {
    let list = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    if list.trim().is_empty() {
        return Some(Vec::new());
    }
    list.split(',').map(|element| parse_element(element.trim())).collect()
}

fn parse_element(text: &str) -> Option<Element> {
    let Some(rest) = text.strip_prefix("has(") else {
        return Some(Element { path: path(text)?, guarded: false });
    };
    let (asked, rest) = rest.split_once(')')?;
    let given = rest.trim().strip_prefix('?')?.trim().strip_suffix("''")?.trim().strip_suffix(':')?.trim();
    (asked.trim() == given).then_some(())?;
    Some(Element { path: path(given)?, guarded: true })
}

fn path(text: &str) -> Option<Vec<u8>> {
    let is_name =
        |segment: &str| !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let segments: Vec<&str> = text.split('.').collect();
    segments.iter().all(|segment| is_name(segment)).then(|| segments.join("\0").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_attributes_are_read() {
        let element = |path: &str, guarded| Element { path: path.replace('.', "\0").into_bytes(), guarded };
        let table = [
            ("[]", Some(vec![]), "empty"),
            ("[request.time]", Some(vec![element("request.time", false)]), "one"),
            (
                "[request.time, has(response.code) ? response.code : '']",
                Some(vec![element("request.time", false), element("response.code", true)]),
                "a guard",
            ),
            ("request.time", None, "no list"),
            ("[request.time,]", None, "an empty element"),
            ("[has(response.code) ? response.flags : '']", None, "a guard of another"),
            ("[has(response.code) ? response.code : 'x']", None, "another default"),
            ("[string(request.time)]", None, "a function"),
        ];
        for (text, expected, why) in table {
            assert_eq!(parse(text), expected, "{why}");
        }
    }
}
