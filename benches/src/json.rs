//! JSON for files that are read by people and compared line by line: what is deep stands on one line.

use serde_json::Value;

/// Levels that are opened up.
const OPEN: usize = 3;

/// The value, and a line's end.
pub(crate) fn pretty(value: &Value) -> String {
    let mut text = String::new();
    put(&mut text, value, 0);
    text.push('\n');
    text
}

fn put(text: &mut String, value: &Value, depth: usize) {
    let entries: Vec<(Option<&String>, &Value)> = match value {
        Value::Object(map) if depth < OPEN => map.iter().map(|(key, value)| (Some(key), value)).collect(),
        Value::Array(items) if depth < OPEN => items.iter().map(|value| (None, value)).collect(),
        _ => Vec::new(),
    };
    if entries.is_empty() {
        text.push_str(&value.to_string());
        return;
    }
    let (open, close) = if value.is_object() { ('{', '}') } else { ('[', ']') };
    text.push(open);
    for (index, (key, value)) in entries.into_iter().enumerate() {
        text.push_str(if index == 0 { "\n" } else { ",\n" });
        text.push_str(&"  ".repeat(depth + 1));
        if let Some(key) = key {
            text.push_str(&Value::from(key.as_str()).to_string());
            text.push_str(": ");
        }
        put(text, value, depth + 1);
    }
    text.push('\n');
    text.push_str(&"  ".repeat(depth));
    text.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_value() {
        let value = serde_json::json!({"a": [], "b": {"c": [{"d": [1, 2, {"e\"": "\n"}]}, 1.5, null]}, "f": {}});
        let text = pretty(&value);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value, "{text}");
        assert!(text.contains("\n      {\"d\":[1,2,"), "{text}");
    }
}
