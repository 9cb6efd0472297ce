//! `propagator`.

use crate::PropagatorKind;
use crate::error::{nearest, quote};
use crate::ordered::OrderedMap;
use crate::pairs::report_entry;
use crate::reader::{Key, Reader, built};

const KEYS: &[Key] = &[built("composite"), built("composite_list")];

const NAMES: &[Key] = &[built("tracecontext"), built("baggage"), built("b3"), built("b3multi"), built("jaeger")];

const KINDS: &[(&str, PropagatorKind)] = &[
    ("tracecontext", PropagatorKind::TraceContext),
    ("baggage", PropagatorKind::Baggage),
    ("b3", PropagatorKind::B3),
    ("b3multi", PropagatorKind::B3Multi),
    ("jaeger", PropagatorKind::Jaeger),
];

/// Reads `propagator`: `composite`, then what `composite_list` adds, each format once.
pub(crate) fn read(reader: &Reader<'_>) -> Vec<PropagatorKind> {
    let Some(object) = reader.object(KEYS) else {
        return Vec::new();
    };
    let mut kinds = OrderedMap::new();
    for entry in object.optional("composite").and_then(|list| list.list(1)).unwrap_or_default() {
        if let Some((name, settings)) = entry.component("propagator", NAMES) {
            settings.object_or_null(&[]);
            if let Some(kind) = kind_of(name) {
                kinds.set(name.to_owned(), kind);
            }
        }
    }
    if let Some(list) = object.nullable("composite_list") {
        for (name, kind) in read_list(&list) {
            kinds.set(name, kind);
        }
    }
    kinds.into_entries().into_iter().map(|(_, kind)| kind).collect()
}

/// `OTEL_PROPAGATORS`' form: names with commas between them; `none` alone adds nothing.
fn read_list(reader: &Reader<'_>) -> Vec<(String, PropagatorKind)> {
    let Some(text) = reader.text() else {
        return Vec::new();
    };
    let entries: Vec<(usize, &str)> =
        (1..).zip(text.split(',').map(str::trim)).filter(|(_, entry)| !entry.is_empty()).collect();
    if let [(_, "none")] = entries.as_slice() {
        return Vec::new();
    }
    let mut kinds = Vec::new();
    for (position, entry) in entries {
        match kind_of(entry) {
            Some(kind) => kinds.push((entry.to_owned(), kind)),
            None if entry == "none" => report_entry(reader, position, entry, "none on its own, without other entries"),
            None => {
                let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
                let meant = nearest(entry, names.iter().copied())
                    .map(|name| format!(" (did you mean {}?)", quote(name)))
                    .unwrap_or_default();
                report_entry(reader, position, entry, &format!("one of {}, or none alone{meant}", names.join(", ")));
            }
        }
    }
    kinds
}

fn kind_of(name: &str) -> Option<PropagatorKind> {
    KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use crate::PropagatorKind::{self, B3, B3Multi, Baggage, Jaeger, TraceContext};
    use crate::testing::{accepted, rejected_for};

    #[test]
    fn formats_stand_once_in_order_of_preference() {
        let cases: &[(&str, &[PropagatorKind], &str)] = &[
            ("{}", &[], "none unless named"),
            (r#"{"composite": [{"b3": {}}, {"tracecontext": null}]}"#, &[B3, TraceContext], "in order"),
            (r#"{"composite": [{"b3": {}}, {"b3": {}}]}"#, &[B3], "once"),
            (
                r#"{"composite_list": "tracecontext, baggage,b3,b3multi,jaeger"}"#,
                &[TraceContext, Baggage, B3, B3Multi, Jaeger],
                "the list",
            ),
            (
                r#"{"composite_list": "baggage,tracecontext", "composite": [{"tracecontext": {}}]}"#,
                &[TraceContext, Baggage],
                "the list comes after",
            ),
            (r#"{"composite_list": "none"}"#, &[], "none"),
            (r#"{"composite_list": "none", "composite": [{"jaeger": {}}]}"#, &[Jaeger], "none adds nothing"),
            (r#"{"composite_list": null}"#, &[], "null"),
            (r#"{"composite_list": ""}"#, &[], "empty"),
        ];
        for (text, kinds, why) in cases {
            assert_eq!(accepted(&format!("\"propagator\": {text}")).propagators, *kinds, "{why}");
        }
    }

    #[test]
    fn other_formats_are_errors() {
        let cases = [
            (
                r#"{"composite": [{"xray": {}}]}"#,
                ".composite[0].xray",
                "no such propagator; allowed: tracecontext",
                "not offered",
            ),
            (r#"{"composite": [{"ottrace": {}}]}"#, ".composite[0].ottrace", "no such propagator", "not offered"),
            (r#"{"composite": [{"b3mutli": {}}]}"#, ".composite[0].b3mutli", "did you mean \"b3multi\"", "mistyped"),
            (r#"{"composite": []}"#, ".composite", "at least 1", "empty"),
            (r#"{"composite": null}"#, ".composite", "a list", "the schema takes no null"),
            (r#"{"composite": ["b3"]}"#, ".composite[0]", "whose one key names the propagator", "a name is no object"),
            (r#"{"composite": [{"b3": {}, "baggage": {}}]}"#, ".composite[0]", "an object with 2 keys", "two in one"),
            (r#"{"composite": [{}]}"#, ".composite[0]", "an object with 0 keys", "none in one"),
            (
                r#"{"composite": [{"b3": {"single": true}}]}"#,
                ".composite[0].b3.single",
                "no keys are allowed",
                "settings",
            ),
            (r#"{"composite": [{"b3": true}]}"#, ".composite[0].b3", "an object or null", "not an object"),
            (
                r#"{"composite_list": "b3,tracecontent"}"#,
                ".composite_list",
                "did you mean \"tracecontext\"",
                "mistyped in the list",
            ),
            (r#"{"composite_list": "none,b3"}"#, ".composite_list", "none on its own", "none with others"),
        ];
        for (text, place, words, why) in cases {
            rejected_for(&format!("\"propagator\": {text}"), &format!("$.propagator{place}"), words, why);
        }
    }
}
