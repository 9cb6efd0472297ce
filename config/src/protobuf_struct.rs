//! Envoy's other way to hand a configuration over: the bytes of a `google.protobuf.Struct`.
//!
//! A plugin's `configuration` is an `Any`. Envoy passes a `StringValue`'s text and, for every other message, the
//! message's own bytes; so a `Struct`, which YAML writers like best, arrives encoded.

use crate::SortedMap;
use crate::wire::{Field, next_field};

/// How deep values may stand in each other: as deep as JSON's may.
const MOST_LEVELS: u32 = 128;

/// The JSON text of an encoded `Struct`, keys in alphabetical order (a `Struct` has no order of its own). `None` if
/// the bytes are none.
pub(crate) fn to_json(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut json = Vec::new();
    put_object(bytes, MOST_LEVELS, &mut json)?;
    Some(json)
}

/// Of `google.protobuf.Struct`: `map<string, Value> fields = 1`. Of a key that stands twice the last counts, as in any map.
fn put_object(mut message: &[u8], levels: u32, json: &mut Vec<u8>) -> Option<()> {
    let mut fields = SortedMap::new();
    while !message.is_empty() {
        match next_field(&mut message)? {
            (1, Field::Delimited(entry)) => {
                let (key, value) = entry_of(entry)?;
                fields.insert(key, value);
            }
            (1, Field::Number(_)) => return None,
            _ => {}
        }
    }
    let mut before = b'{';
    for (key, value) in fields.iter() {
        json.push(before);
        put_text(key, json)?;
        json.push(b':');
        put_value(value, levels.checked_sub(1)?, json)?;
        before = b',';
    }
    if fields.is_empty() {
        json.push(before);
    }
    json.push(b'}');
    Some(())
}

/// A map's entry: `key = 1`, `value = 2`, each empty where it is left out.
fn entry_of(mut entry: &[u8]) -> Option<(&str, &[u8])> {
    let (mut key, mut value) = ("", &[][..]);
    while !entry.is_empty() {
        match next_field(&mut entry)? {
            (1, Field::Delimited(bytes)) => key = core::str::from_utf8(bytes).ok()?,
            (2, Field::Delimited(bytes)) => value = bytes,
            (1 | 2, Field::Number(_)) => return None,
            _ => {}
        }
    }
    Some((key, value))
}

/// Of `google.protobuf.ListValue`: `repeated Value values = 1`.
fn put_list(mut message: &[u8], levels: u32, json: &mut Vec<u8>) -> Option<()> {
    let mut before = b'[';
    while !message.is_empty() {
        match next_field(&mut message)? {
            (1, Field::Delimited(value)) => {
                json.push(before);
                put_value(value, levels.checked_sub(1)?, json)?;
                before = b',';
            }
            (1, Field::Number(_)) => return None,
            _ => {}
        }
    }
    if before == b'[' {
        json.push(before);
    }
    json.push(b']');
    Some(())
}

/// Of `google.protobuf.Value`, one of six fields; the last one counts. `None` for a value of no kind: no `Struct` that an
/// encoder wrote has one, but text that happens to decode does.
fn put_value(mut message: &[u8], levels: u32, json: &mut Vec<u8>) -> Option<()> {
    let mut kind = None;
    while !message.is_empty() {
        let (number, value) = next_field(&mut message)?;
        if (1..=6).contains(&number) {
            kind = Some((number, value));
        }
    }
    match kind? {
        (1, Field::Number(_)) => json.extend_from_slice(b"null"),
        (2, Field::Number(bits)) => {
            // JSON has no NaN and no infinity, and neither has any key of the configuration.
            let number = Some(f64::from_bits(bits)).filter(|number| number.is_finite())?;
            serde_json::to_writer(json, &number).ok()?;
        }
        (3, Field::Delimited(text)) => put_text(core::str::from_utf8(text).ok()?, json)?,
        (4, Field::Number(truth)) => json.extend_from_slice(if truth != 0 { b"true" } else { b"false" }),
        (5, Field::Delimited(message)) => put_object(message, levels, json)?,
        (6, Field::Delimited(message)) => put_list(message, levels, json)?,
        _ => return None,
    }
    Some(())
}

fn put_text(text: &str, json: &mut Vec<u8>) -> Option<()> {
    serde_json::to_writer(json, text).ok()
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use prost::Message;
    use prost_types::value::Kind;
    use prost_types::{Struct, Value};

    use super::*;
    use crate::Config;
    use serde_json::Value as Json;

    fn encoded(json: Json) -> Value {
        Value {
            kind: Some(match json {
                Json::Null => Kind::NullValue(0),
                Json::Bool(truth) => Kind::BoolValue(truth),
                Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
                Json::String(text) => Kind::StringValue(text),
                Json::Array(items) => {
                    Kind::ListValue(prost_types::ListValue { values: items.into_iter().map(encoded).collect() })
                }
                Json::Object(fields) => Kind::StructValue(Struct {
                    fields: fields.into_iter().map(|(key, field)| (key, encoded(field))).collect(),
                }),
            }),
        }
    }

    #[test]
    fn a_struct_says_the_same_as_its_json() {
        let text = Config::SMALLEST;
        let Some(Kind::StructValue(message)) = encoded(serde_json::from_str(text).unwrap()).kind else {
            panic!("an object")
        };
        let from_struct = Config::from_plugin_configuration(&message.encode_to_vec()).unwrap();
        assert_eq!(from_struct, Config::from_json(text.as_bytes()).unwrap());
        assert_eq!(from_struct, Config::from_plugin_configuration(text.as_bytes()).unwrap());
    }

    #[test]
    fn every_kind_of_value_is_written() {
        let text = r#"{"":{},"a":[],"b":[null,true,false,[1.5],{"c":"\"\\\n\u0001é"}],"d":-2e300,"e":5000.0}"#;
        let json: Json = serde_json::from_str(text).unwrap();
        let Some(Kind::StructValue(mut message)) = encoded(json.clone()).kind else { panic!("an object") };
        let written = to_json(&message.encode_to_vec()).unwrap();
        assert_eq!(serde_json::from_slice::<Json>(&written).unwrap(), json);
        for (wrong, why) in [
            (Some(Kind::NumberValue(f64::NAN)), "no number of JSON"),
            (Some(Kind::NumberValue(f64::INFINITY)), "the same"),
            (None, "no kind"),
        ] {
            message.fields.insert("f".to_owned(), Value { kind: wrong });
            assert_eq!(to_json(&message.encode_to_vec()), None, "{why}");
        }
    }

    #[test]
    fn what_stands_too_deep_is_refused_and_not_followed() {
        let nested = |levels: u32| {
            let list = (0..levels).fold(Json::Bool(true), |inner, _| Json::Array(vec![inner]));
            to_json(&Struct { fields: [("a".to_owned(), encoded(list))].into() }.encode_to_vec())
        };
        assert!(nested(100).is_some());
        assert_eq!(nested(MOST_LEVELS), None);
    }

    #[test]
    fn of_a_key_that_stands_twice_the_last_counts() {
        let one =
            |truth: bool| Struct { fields: [("a".to_owned(), encoded(Json::Bool(truth)))].into() }.encode_to_vec();
        assert_eq!(to_json(&[one(true), one(false)].concat()).unwrap(), br#"{"a":false}"#);
    }

    #[test]
    fn what_is_neither_is_reported_as_json() {
        for bytes in [&b"tracer_provider: {}"[..], b"\n{", b"\x0a\xff", b"\xff\xfe"] {
            let text = Config::from_plugin_configuration(bytes).unwrap_err().to_string();
            assert!(text.contains("JSON"), "{text}");
        }
    }
}
