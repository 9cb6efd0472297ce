//! Envoy's other way to hand a configuration over: the bytes of a `google.protobuf.Struct`.
//!
//! A plugin's `configuration` is an `Any`. Envoy passes a `StringValue`'s text and, for every other message, the
//! message's own bytes; so a `Struct`, which YAML writers like best, arrives encoded.

use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use serde_json::Value as Json;

/// The JSON text of an encoded `Struct`, keys in alphabetical order (a `Struct` has no order of its own). `None` if
/// the bytes are none.
pub(crate) fn to_json(bytes: &[u8]) -> Option<Vec<u8>> {
    let message = Struct::decode(bytes).ok()?;
    serde_json::to_vec(&object(message)?).ok()
}

fn object(message: Struct) -> Option<Json> {
    let fields = message.fields.into_iter().map(|(key, field)| Some((key, value(field)?)));
    fields.collect::<Option<serde_json::Map<_, _>>>().map(Json::Object)
}

/// `None` for a value of no kind: no `Struct` that an encoder wrote has one, but text that happens to decode does.
fn value(message: Value) -> Option<Json> {
    Some(match message.kind? {
        Kind::NullValue(_) => Json::Null,
        // JSON has no NaN and no infinity, and neither has any key of the configuration.
        Kind::NumberValue(number) => serde_json::Number::from_f64(number).map(Json::Number)?,
        Kind::StringValue(text) => Json::String(text),
        Kind::BoolValue(truth) => Json::Bool(truth),
        Kind::StructValue(fields) => object(fields)?,
        Kind::ListValue(list) => Json::Array(list.values.into_iter().map(value).collect::<Option<_>>()?),
    })
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::Config;

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
    fn what_is_neither_is_reported_as_json() {
        for bytes in [&b"tracer_provider: {}"[..], b"\n{", b"\x0a\xff", b"\xff\xfe"] {
            let text = Config::from_plugin_configuration(bytes).unwrap_err().to_string();
            assert!(text.contains("JSON"), "{text}");
        }
    }
}
