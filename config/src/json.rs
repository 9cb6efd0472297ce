//! JSON text as a tree that keeps what a configuration check needs and `serde_json::Value` drops: the order of
//! keys, keys that stand twice, and each value's place in the document.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A value and where it stands.
#[derive(Debug)]
pub struct Node {
    /// How many values begin before this one; errors are listed in this order.
    pub order: u32,
    /// The value.
    pub value: Value,
}

impl Node {
    /// The member of an object under `name`, unless it is null; of several the first.
    pub fn member(&self, name: &str) -> Option<&Self> {
        let Value::Object(members) = &self.value else { return None };
        let (_, member) = members.iter().find(|(key, _)| key == name)?;
        (!matches!(member.value, Value::Null)).then_some(member)
    }
}

/// A JSON value.
#[derive(Debug)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    String(String),
    /// An array.
    List(Vec<Node>),
    /// In document order. A key may stand twice; [`crate::reader`] reports it.
    Object(Vec<(String, Node)>),
}

/// A JSON number. Envoy hands a `Struct` over with every number written as a double, so 5000 and 5000.0 are the
/// same integer here.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// Written without a fraction and without an exponent.
    Integer(i128),
    /// Written with one.
    Double(f64),
}

impl Number {
    /// The number, if it has no fractional part.
    pub fn as_integer(self) -> Option<i128> {
        match self {
            Self::Integer(integer) => Some(integer),
            Self::Double(double) if double.fract() == 0.0 =>
            {
                #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, far outside every range")]
                Some(double as i128)
            }
            Self::Double(_) => None,
        }
    }

    /// The nearest double.
    pub fn as_double(self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "a double attribute takes the nearest double")]
            Self::Integer(integer) => integer as f64,
            Self::Double(double) => double,
        }
    }
}

impl From<f64> for Number {
    /// As a person would write it: whole without a fraction, as long as each whole number is a double.
    fn from(number: f64) -> Self {
        const MOST: f64 = 9_007_199_254_740_992.0;
        let whole = Self::Double(number).as_integer().filter(|_| number.abs() <= MOST);
        whole.map_or(Self::Double(number), Self::Integer)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => write!(f, "{integer}"),
            // The shortest text that reads back, in scientific form where the number is huge or tiny. As `serde_json` writes
            // it, so that the standard library's own way, 17 KiB of code, is in no module.
            Self::Double(double) => f.write_str(zmij::Buffer::new().format(*double)),
        }
    }
}

/// Parses a whole document. At most 128 levels deep, as `serde_json` limits it. Errors carry line and column.
pub fn parse(text: &[u8]) -> Result<Node, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let node = NodeSeed(&Cell::new(0)).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(node)
}

/// Numbers the nodes in the order in which they begin.
#[derive(Clone, Copy)]
struct NodeSeed<'c>(&'c Cell<u32>);

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let order = self.0.get();
        self.0.set(order.saturating_add(1));
        let value = deserializer.deserialize_any(self)?;
        Ok(Node { order, value })
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(Number::Integer(value.into())))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(Number::Integer(value.into())))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(Number::Double(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = access.next_key_seed(KeySeed)? {
            members.push((key, access.next_value_seed(self)?));
        }
        Ok(Value::Object(members))
    }
}

/// A key. `String` reads one too, and brings what it says of keys that are no text, which JSON has not.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        Ok(key.to_owned())
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{Node, Number, Value, parse};

    #[test]
    fn numbers_that_are_whole_are_integers_however_they_are_written() {
        let cases = [
            ("5000", Some(5000)),
            ("5000.0", Some(5000)),
            ("5e3", Some(5000)),
            ("-0.0", Some(0)),
            ("18446744073709551615", Some(18_446_744_073_709_551_615)),
            ("5000.5", None),
            ("1e-9", None),
        ];
        for (text, integer) in cases {
            let Node { value: Value::Number(number), .. } = parse(text.as_bytes()).unwrap() else {
                panic!("{text} is a number")
            };
            assert_eq!(number.as_integer(), integer, "{text}");
        }
    }

    #[test]
    fn numbers_are_written_as_one_would() {
        let cases = [
            (5.0, "5"),
            (-0.0, "0"),
            (0.1, "0.1"),
            (1e-9, "1e-9"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (1e300, "1e+300"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "NaN"),
        ];
        for (number, text) in cases {
            assert_eq!(Number::from(number).to_string(), text);
        }
        assert_eq!(Number::Double(5000.0).to_string(), "5000.0", "as it was written");
    }

    #[test]
    fn a_double_beyond_every_integer_saturates() {
        assert_eq!(Number::Double(1e300).as_integer(), Some(i128::MAX));
        assert_eq!(Number::Double(-1e300).as_integer(), Some(i128::MIN));
    }

    #[test]
    fn values_are_numbered_as_they_begin_and_doubled_keys_are_kept() {
        let Value::Object(members) = parse(br#"{"a": [1, 2], "a": 3}"#).unwrap().value else { panic!("an object") };
        let found: Vec<_> = members.iter().map(|(key, node)| (key.as_str(), node.order)).collect();
        assert_eq!(found, [("a", 1), ("a", 4)]);
    }

    #[test]
    fn depth_is_limited() {
        let deep = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
        assert!(parse(&deep(100)).is_ok());
        assert!(parse(&deep(100_000)).is_err());
    }

    #[test]
    fn what_follows_the_document_is_an_error() {
        assert!(parse(b"{} {}").is_err());
        assert!(parse(b"{} \n").is_ok());
    }
}
