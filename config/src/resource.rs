//! `resource`.

use crate::ResourceConfig;
use crate::attribute::{Attribute, AttributeValue};
use crate::ordered::OrderedMap;
use crate::pairs::read_pairs;
use crate::reader::{Key, Reader, built, not_offered};

const KEYS: &[Key] =
    &[built("attributes"), built("attributes_list"), built("schema_url"), built("detection/development")];

const DETECTION_KEYS: &[Key] = &[
    built("detectors"),
    not_offered(
        "attributes",
        "what the node's metadata says about the service and its pod is always added; give an attribute another \
         value under $.resource.attributes",
    ),
];

const FROM_METADATA: &str = "the service.* and k8s.* attributes come from the node's metadata without a detector; write \
                             others under $.resource.attributes";

const DETECTORS: &[Key] = &[
    built("service"),
    not_offered("container", FROM_METADATA),
    not_offered("host", FROM_METADATA),
    not_offered("process", FROM_METADATA),
];

const ENTRY_KEYS: &[Key] = &[built("name"), built("value"), built("type")];

/// `type` of an attribute.
#[derive(Clone, Copy)]
enum Type {
    One(Scalar),
    Array(Scalar),
}

#[derive(Clone, Copy)]
enum Scalar {
    String,
    Bool,
    Int,
    Double,
}

const TYPES: &[(&str, Type)] = &[
    ("string", Type::One(Scalar::String)),
    ("bool", Type::One(Scalar::Bool)),
    ("int", Type::One(Scalar::Int)),
    ("double", Type::One(Scalar::Double)),
    ("string_array", Type::Array(Scalar::String)),
    ("bool_array", Type::Array(Scalar::Bool)),
    ("int_array", Type::Array(Scalar::Int)),
    ("double_array", Type::Array(Scalar::Double)),
];

/// Reads `resource`: `attributes` before `attributes_list`, each name once. A name that stands twice in the same
/// list has its last value.
pub(crate) fn read(reader: &Reader<'_>) -> ResourceConfig {
    let Some(object) = reader.object(KEYS) else {
        return ResourceConfig::default();
    };
    if let Some(detection) = object.optional("detection/development") {
        check_detection(&detection);
    }
    let mut attributes = OrderedMap::new();
    for entry in object.optional("attributes").and_then(|list| list.list(1)).unwrap_or_default() {
        if let Some((name, value)) = read_entry(&entry) {
            attributes.set(name, value);
        }
    }
    if let Some(list) = object.nullable("attributes_list") {
        let mut listed = OrderedMap::new();
        for pair in read_pairs(&list) {
            listed.set(pair.name, AttributeValue::String(pair.value));
        }
        attributes.append_missing(listed);
    }
    ResourceConfig {
        attributes: attributes.into_entries().into_iter().map(|(name, value)| Attribute { name, value }).collect(),
        schema_url: object.nullable("schema_url").and_then(|url| url.text()).filter(|url| !url.is_empty()),
    }
}

/// An entry of `attributes`; `None` if it is wrong, or if its value is null, which says to ignore it.
fn read_entry(reader: &Reader<'_>) -> Option<(String, AttributeValue)> {
    let object = reader.object(ENTRY_KEYS)?;
    let name = object.required("name", "a string").and_then(|name| name.non_empty_text());
    let kind = match object.nullable("type") {
        Some(kind) => kind.one_of(TYPES),
        None => Some(Type::One(Scalar::String)),
    };
    let value = object.required("value", "a value of the entry's type, or null to ignore the entry")?;
    let kind = kind?;
    if value.is_null() {
        return None;
    }
    let value = read_value(&value, kind)?;
    Some((name?, value))
}

fn read_value(reader: &Reader<'_>, kind: Type) -> Option<AttributeValue> {
    Some(match kind {
        Type::One(Scalar::String) => AttributeValue::String(read_string(reader)?),
        Type::One(Scalar::Bool) => AttributeValue::Bool(reader.boolean()?),
        Type::One(Scalar::Int) => AttributeValue::Int(reader.integer(i64::MIN..=i64::MAX)?),
        Type::One(Scalar::Double) => AttributeValue::Double(reader.double()?),
        Type::Array(Scalar::String) => AttributeValue::StringArray(read_items(reader, Reader::text)?),
        Type::Array(Scalar::Bool) => AttributeValue::BoolArray(read_items(reader, Reader::boolean)?),
        Type::Array(Scalar::Int) => {
            AttributeValue::IntArray(read_items(reader, |item| item.integer(i64::MIN..=i64::MAX))?)
        }
        Type::Array(Scalar::Double) => AttributeValue::DoubleArray(read_items(reader, Reader::double)?),
    })
}

/// A string is also the type of an entry that states none, so the error says how to state one.
fn read_string(reader: &Reader<'_>) -> Option<String> {
    if reader.is_string() {
        return reader.text();
    }
    reader.wrong_type("a string, unless the entry's \"type\" says otherwise (int, double, bool, string_array, …)")
}

fn read_items<'d, T>(reader: &Reader<'d>, read: impl Fn(&Reader<'d>) -> Option<T>) -> Option<Vec<T>> {
    Some(reader.list(1)?.iter().filter_map(read).collect())
}

/// Detection is always on: the node's metadata is what a proxy can detect, and `service` asks for no more.
fn check_detection(reader: &Reader<'_>) {
    let Some(object) = reader.object(DETECTION_KEYS) else {
        return;
    };
    for detector in object.optional("detectors").and_then(|list| list.list(1)).unwrap_or_default() {
        if let Some((_, settings)) = detector.component("resource detector", DETECTORS) {
            settings.object_or_null(&[]);
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use crate::attribute::{Attribute, AttributeValue as Value};
    use crate::testing::{accepted, rejected, rejected_at, rejected_for};

    fn attributes(section: &str) -> Vec<(String, Value)> {
        let config = accepted(&format!("\"resource\": {section}"));
        config.resource.attributes.into_iter().map(|Attribute { name, value }| (name, value)).collect()
    }

    fn entry(value: &str) -> String {
        format!(r#""resource": {{"attributes": [{{"name": "a", {value}}}]}}"#)
    }

    #[test]
    fn each_type_has_its_values() {
        let cases = [
            (r#""value": "x""#, Value::String("x".into())),
            (r#""value": "x", "type": null"#, Value::String("x".into())),
            (r#""value": "", "type": "string""#, Value::String(String::new())),
            (r#""value": true, "type": "bool""#, Value::Bool(true)),
            (r#""value": 7, "type": "int""#, Value::Int(7)),
            (r#""value": 7.0, "type": "int""#, Value::Int(7)),
            (r#""value": -9223372036854775808, "type": "int""#, Value::Int(i64::MIN)),
            (r#""value": 7, "type": "double""#, Value::Double(7.0)),
            (r#""value": 1.5, "type": "double""#, Value::Double(1.5)),
            (r#""value": ["x", "y"], "type": "string_array""#, Value::StringArray(vec!["x".into(), "y".into()])),
            (r#""value": [true], "type": "bool_array""#, Value::BoolArray(vec![true])),
            (r#""value": [1, 2.0], "type": "int_array""#, Value::IntArray(vec![1, 2])),
            (r#""value": [1, 2.5], "type": "double_array""#, Value::DoubleArray(vec![1.0, 2.5])),
        ];
        for (text, value) in cases {
            assert_eq!(accepted(&entry(text)).resource.attributes[0].value, value, "{text}");
        }
    }

    #[test]
    fn values_of_other_types_are_errors() {
        let cases = [
            (r#""value": 7"#, ".value", "\"type\"", "no type stated means string"),
            (r#""value": "7", "type": "int""#, ".value", "an integer", "text for an int"),
            (r#""value": 7.5, "type": "int""#, ".value", "out of range", "not whole"),
            (r#""value": 9223372036854775808, "type": "int""#, ".value", "out of range", "beyond 64 bits"),
            (r#""value": 1, "type": "bool""#, ".value", "true or false", "number for a bool"),
            (r#""value": "x", "type": "string_array""#, ".value", "a list", "one for many"),
            (r#""value": [], "type": "string_array""#, ".value", "at least 1", "an empty list"),
            (r#""value": ["x", 1], "type": "string_array""#, ".value[1]", "a string", "mixed"),
            (r#""value": [null], "type": "int_array""#, ".value[0]", "an integer", "null inside"),
            (r#""value": 1, "type": "integer""#, ".type", "allowed: string, bool", "no such type"),
            (r#""type": "int""#, "", "\"value\" is missing", "no value"),
            (r#""value": {"x": 1}"#, ".value", "an object with 1 key", "an object"),
        ];
        for (text, place, words, why) in cases {
            rejected_for(&entry(text), &format!("$.resource.attributes[0]{place}"), words, why);
        }
        rejected_at(
            r#""resource": {"attributes": [{"name": "", "value": "x"}]}"#,
            "$.resource.attributes[0].name",
            "not empty",
        );
        rejected_at(r#""resource": {"attributes": []}"#, "$.resource.attributes", "at least 1");
        rejected_at(r#""resource": null"#, "$.resource", "found null; allowed is an object");
    }

    #[test]
    fn the_entries_go_before_the_list() {
        let found = attributes(
            r#"{"attributes_list": "c=list,b=first,b=list,", "attributes": [
                {"name": "a", "value": 1, "type": "int"}, {"name": "b", "value": "entry"},
                {"name": "ignored", "value": null}, {"name": "a", "value": 2, "type": "int"}]}"#,
        );
        let text = |text: &str| Value::String(text.to_owned());
        let expected = [("a", Value::Int(2)), ("b", text("entry")), ("c", text("list"))];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn a_wrong_entry_of_the_list_is_named() {
        let path = "$.resource.attributes_list";
        rejected_at(r#""resource": {"attributes_list": "a=1,b"}"#, path, "entry 2 is \"b\"; allowed is name=value");
        assert_eq!(rejected(r#""resource": {"attributes_list": "a,b,c=%"}"#).len(), 3, "all of them");
        assert!(attributes(r#"{"attributes_list": null, "schema_url": null}"#).is_empty());
    }

    #[test]
    fn detection_is_what_a_proxy_can_detect() {
        accepted(r#""resource": {"detection/development": {}}"#);
        accepted(r#""resource": {"detection/development": {"detectors": [{"service": {}}, {"service": null}]}}"#);
        for detector in ["container", "host", "process"] {
            rejected_at(
                &format!(r#""resource": {{"detection/development": {{"detectors": [{{"{detector}": null}}]}}}}"#),
                &format!("$.resource[\"detection/development\"].detectors[0].{detector}"),
                "metadata",
            );
        }
        rejected_at(
            r#""resource": {"detection/development": {"attributes": {"excluded": ["k8s.*"]}}}"#,
            "$.resource[\"detection/development\"].attributes",
            "under $.resource.attributes",
        );
    }
}
