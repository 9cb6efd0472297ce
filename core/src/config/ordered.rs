//! Named values in order of first appearance, each name once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// A map that remembers in which order its names came.
#[derive(Debug)]
pub(super) struct OrderedMap<V> {
    entries: Vec<(String, V)>,
    positions: BTreeMap<String, usize>,
}

impl<V> OrderedMap<V> {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
            positions: BTreeMap::new(),
        }
    }

    /// Sets `name` to `value`. A name that is there keeps its place and takes the new value.
    pub(super) fn set(&mut self, name: String, value: V) {
        let next = self.entries.len();
        match self.positions.entry(name) {
            Entry::Vacant(vacant) => {
                self.entries.push((vacant.key().clone(), value));
                vacant.insert(next);
            }
            Entry::Occupied(occupied) => {
                if let Some(entry) = self.entries.get_mut(*occupied.get()) {
                    entry.1 = value;
                }
            }
        }
    }

    /// Appends those of `other` whose names are not here: what is here has the higher priority.
    pub(super) fn append_missing(&mut self, other: Self) {
        for (name, value) in other.entries {
            if !self.positions.contains_key(&name) {
                self.set(name, value);
            }
        }
    }

    /// The entries, in order.
    pub(super) fn into_entries(self) -> Vec<(String, V)> {
        self.entries
    }
}

/// Each name once, in order of first appearance.
pub(super) fn unique(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut map = OrderedMap::new();
    for name in names {
        map.set(name, ());
    }
    map.into_entries()
        .into_iter()
        .map(|(name, ())| name)
        .collect()
}
