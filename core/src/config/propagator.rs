//! `propagator`.

use super::PropagatorKind;
use super::error::{nearest, quote};
use super::ordered::OrderedMap;
use super::pairs::report_entry;
use super::reader::{Key, Reader, built};

const KEYS: &[Key] = &[built("composite"), built("composite_list")];

const NAMES: &[Key] = &[
    built("tracecontext"),
    built("baggage"),
    built("b3"),
    built("b3multi"),
    built("jaeger"),
];

const KINDS: &[(&str, PropagatorKind)] = &[
    ("tracecontext", PropagatorKind::TraceContext),
    ("baggage", PropagatorKind::Baggage),
    ("b3", PropagatorKind::B3),
    ("b3multi", PropagatorKind::B3Multi),
    ("jaeger", PropagatorKind::Jaeger),
];

/// Reads `propagator`: `composite`, then what `composite_list` adds, each format once.
pub(super) fn read(reader: &Reader<'_>) -> Vec<PropagatorKind> {
    let Some(object) = reader.object(KEYS) else {
        return Vec::new();
    };
    let mut kinds = OrderedMap::new();
    for entry in object
        .optional("composite")
        .and_then(|list| list.list(1))
        .unwrap_or_default()
    {
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
    kinds
        .into_entries()
        .into_iter()
        .map(|(_, kind)| kind)
        .collect()
}

/// `OTEL_PROPAGATORS`' form: names with commas between them; `none` alone adds nothing.
fn read_list(reader: &Reader<'_>) -> Vec<(String, PropagatorKind)> {
    let Some(text) = reader.text() else {
        return Vec::new();
    };
    let entries: Vec<(usize, &str)> = (1..)
        .zip(text.split(',').map(str::trim))
        .filter(|(_, entry)| !entry.is_empty())
        .collect();
    if let [(_, "none")] = entries.as_slice() {
        return Vec::new();
    }
    let mut kinds = Vec::new();
    for (position, entry) in entries {
        match kind_of(entry) {
            Some(kind) => kinds.push((entry.to_owned(), kind)),
            None if entry == "none" => report_entry(
                reader,
                position,
                entry,
                "none on its own, without other entries",
            ),
            None => {
                let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
                let meant = nearest(entry, names.iter().copied())
                    .map(|name| format!(" (did you mean {}?)", quote(name)))
                    .unwrap_or_default();
                report_entry(
                    reader,
                    position,
                    entry,
                    &format!("one of {}, or none alone{meant}", names.join(", ")),
                );
            }
        }
    }
    kinds
}

fn kind_of(name: &str) -> Option<PropagatorKind> {
    KINDS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, kind)| *kind)
}
