//! Attribute values that configuration states (resource attributes and the like).

/// A value of one of the types that OpenTelemetry attributes have.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// Text.
    String(String),
    /// Truth.
    Bool(bool),
    /// A signed 64-bit integer.
    Int(i64),
    /// A finite double.
    Double(f64),
    /// A list of texts.
    StringArray(Vec<String>),
    /// A list of truths.
    BoolArray(Vec<bool>),
    /// A list of integers.
    IntArray(Vec<i64>),
    /// A list of doubles.
    DoubleArray(Vec<f64>),
}

/// A named attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Never empty.
    pub name: String,
    /// Its value.
    pub value: AttributeValue,
}
