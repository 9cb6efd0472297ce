//! Envoy's other way to hand a configuration over: the bytes of a `google.protobuf.Struct`.
//!
//! A plugin's `configuration` is an `Any`. Envoy passes a `StringValue`'s text and, for every other message, the
//! message's own bytes; so a `Struct`, which YAML writers like best, arrives encoded.

use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value};

/// The JSON text of an encoded `Struct`, keys in alphabetical order (a `Struct` has no order of its own). `None` if
/// the bytes are none.
pub(crate) fn to_json(bytes: &[u8]) -> Option<Vec<u8>> {
    let message = Struct::decode(bytes).ok()?;
    let mut json = Vec::new();
    put_object(&message, &mut json)?;
    Some(json)
}

fn put_object(message: &Struct, json: &mut Vec<u8>) -> Option<()> {
    let mut before = b'{';
    for (key, field) in &message.fields {
        json.push(before);
        put_text(key, json)?;
        json.push(b':');
        put_value(field, json)?;
        before = b',';
    }
    if message.fields.is_empty() {
        json.push(before);
    }
    json.push(b'}');
    Some(())
}

fn put_list(items: &[Value], json: &mut Vec<u8>) -> Option<()> {
    json.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        put_value(item, json)?;
    }
    json.push(b']');
    Some(())
}

/// `None` for a value of no kind: no `Struct` that an encoder wrote has one, but text that happens to decode does.
fn put_value(message: &Value, json: &mut Vec<u8>) -> Option<()> {
    match message.kind.as_ref()? {
        Kind::NullValue(_) => json.extend_from_slice(b"null"),
        Kind::NumberValue(number) if number.is_finite() => serde_json::to_writer(json, number).ok()?,
        // JSON has no NaN and no infinity, and neither has any key of the configuration.
        Kind::NumberValue(_) => return None,
        Kind::StringValue(text) => put_text(text, json)?,
        Kind::BoolValue(truth) => json.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Kind::StructValue(fields) => put_object(fields, json)?,
        Kind::ListValue(list) => put_list(&list.values, json)?,
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
    fn what_is_neither_is_reported_as_json() {
        for bytes in [&b"tracer_provider: {}"[..], b"\n{", b"\x0a\xff", b"\xff\xfe"] {
            let text = Config::from_plugin_configuration(bytes).unwrap_err().to_string();
            assert!(text.contains("JSON"), "{text}");
        }
    }
}
