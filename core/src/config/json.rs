//! JSON text as a tree that keeps what a configuration check needs and `serde_json::Value` drops: the order of
//! keys, keys that stand twice, and each value's place in the document.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    /// How many values begin before this one; errors are listed in this order.
    pub(super) order: u32,
    /// The value.
    pub(super) value: Value,
}

/// A JSON value.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Node>),
    /// In document order. A key may stand twice; [`super::reader`] reports it.
    Object(Vec<(String, Node)>),
}

/// A JSON number. Envoy hands a `Struct` over with every number written as a double, so 5000 and 5000.0 are the
/// same integer here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Integer(i128),
    Double(f64),
}

impl Number {
    /// The number, if it has no fractional part.
    pub(super) fn as_integer(self) -> Option<i128> {
        match self {
            Self::Integer(integer) => Some(integer),
            Self::Double(double) if double.fract() == 0.0 =>
            {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "the cast saturates, far outside every range"
                )]
                Some(double as i128)
            }
            Self::Double(_) => None,
        }
    }

    /// The nearest double.
    pub(super) fn as_double(self) -> f64 {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a double attribute takes the nearest double"
            )]
            Self::Integer(integer) => integer as f64,
            Self::Double(double) => double,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => write!(f, "{integer}"),
            // Debug: shortest text that reads back, in scientific form where the number is huge or tiny.
            Self::Double(double) => write!(f, "{double:?}"),
        }
    }
}

/// Parses a whole document. At most 128 levels deep, as `serde_json` limits it. Errors carry line and column.
pub(super) fn parse(text: &[u8]) -> Result<Node, serde_json::Error> {
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
        while let Some(key) = access.next_key::<String>()? {
            members.push((key, access.next_value_seed(self)?));
        }
        Ok(Value::Object(members))
    }
}
