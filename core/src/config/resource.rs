//! `resource`.

use super::ResourceConfig;
use super::ordered::OrderedMap;
use super::pairs::read_pairs;
use super::reader::{Key, Reader, built, not_offered};
use crate::attribute::{Attribute, AttributeValue};

const KEYS: &[Key] = &[
    built("attributes"),
    built("attributes_list"),
    built("schema_url"),
    built("detection/development"),
];

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
pub(super) fn read(reader: &Reader<'_>) -> ResourceConfig {
    let Some(object) = reader.object(KEYS) else {
        return ResourceConfig::default();
    };
    if let Some(detection) = object.optional("detection/development") {
        check_detection(&detection);
    }
    let mut attributes = OrderedMap::new();
    for entry in object
        .optional("attributes")
        .and_then(|list| list.list(1))
        .unwrap_or_default()
    {
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
        attributes: attributes
            .into_entries()
            .into_iter()
            .map(|(name, value)| Attribute { name, value })
            .collect(),
        schema_url: object
            .nullable("schema_url")
            .and_then(|url| url.text())
            .filter(|url| !url.is_empty()),
    }
}

/// An entry of `attributes`; `None` if it is wrong, or if its value is null, which says to ignore it.
fn read_entry(reader: &Reader<'_>) -> Option<(String, AttributeValue)> {
    let object = reader.object(ENTRY_KEYS)?;
    let name = object
        .required("name", "a string")
        .and_then(|name| name.non_empty_text());
    let kind = match object.nullable("type") {
        Some(kind) => kind.one_of(TYPES),
        None => Some(Type::One(Scalar::String)),
    };
    let value = object.required(
        "value",
        "a value of the entry's type, or null to ignore the entry",
    )?;
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
        Type::Array(Scalar::String) => {
            AttributeValue::StringArray(read_items(reader, Reader::text)?)
        }
        Type::Array(Scalar::Bool) => {
            AttributeValue::BoolArray(read_items(reader, Reader::boolean)?)
        }
        Type::Array(Scalar::Int) => AttributeValue::IntArray(read_items(reader, |item| {
            item.integer(i64::MIN..=i64::MAX)
        })?),
        Type::Array(Scalar::Double) => {
            AttributeValue::DoubleArray(read_items(reader, Reader::double)?)
        }
    })
}

/// A string is also the type of an entry that states none, so the error says how to state one.
fn read_string(reader: &Reader<'_>) -> Option<String> {
    if reader.is_string() {
        return reader.text();
    }
    reader.wrong_type(
        "a string, unless the entry's \"type\" says otherwise (int, double, bool, string_array, …)",
    )
}

fn read_items<'d, T>(
    reader: &Reader<'d>,
    read: impl Fn(&Reader<'d>) -> Option<T>,
) -> Option<Vec<T>> {
    Some(reader.list(1)?.iter().filter_map(read).collect())
}

/// Detection is always on: the node's metadata is what a proxy can detect, and `service` asks for no more.
fn check_detection(reader: &Reader<'_>) {
    let Some(object) = reader.object(DETECTION_KEYS) else {
        return;
    };
    for detector in object
        .optional("detectors")
        .and_then(|list| list.list(1))
        .unwrap_or_default()
    {
        if let Some((_, settings)) = detector.component("resource detector", DETECTORS) {
            settings.object_or_null(&[]);
        }
    }
}
