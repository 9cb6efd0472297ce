//! Named values in order of first appearance, each name once.

use crate::SortedMap;

/// A map that remembers in which order its names came.
#[derive(Debug)]
pub(crate) struct OrderedMap<V> {
    entries: Vec<(String, V)>,
    positions: SortedMap<String, usize>,
}

impl<V> OrderedMap<V> {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new(), positions: SortedMap::new() }
    }

    /// Sets `name` to `value`. A name that is there keeps its place and takes the new value.
    pub(crate) fn set(&mut self, name: String, value: V) {
        match self.positions.get(&name) {
            None => {
                self.positions.insert(name.clone(), self.entries.len());
                self.entries.push((name, value));
            }
            Some(at) => {
                if let Some(entry) = self.entries.get_mut(*at) {
                    entry.1 = value;
                }
            }
        }
    }

    /// Appends those of `other` whose names are not here: what is here has the higher priority.
    pub(crate) fn append_missing(&mut self, other: Self) {
        for (name, value) in other.entries {
            if !self.positions.contains_key(&name) {
                self.set(name, value);
            }
        }
    }

    /// The entries, in order.
    pub(crate) fn into_entries(self) -> Vec<(String, V)> {
        self.entries
    }
}

/// Each name once, in order of first appearance.
pub(crate) fn unique(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut map = OrderedMap::new();
    for name in names {
        map.set(name, ());
    }
    map.into_entries().into_iter().map(|(name, ())| name).collect()
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{OrderedMap, unique};

    #[test]
    fn the_first_place_and_the_last_value_win() {
        let mut map = OrderedMap::new();
        for (name, value) in [("a", 1), ("b", 2), ("a", 3)] {
            map.set(name.to_owned(), value);
        }
        let mut lower = OrderedMap::new();
        for (name, value) in [("c", 4), ("b", 5)] {
            lower.set(name.to_owned(), value);
        }
        map.append_missing(lower);
        let entries = map.into_entries();
        let entries: Vec<_> = entries.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(entries, [("a", 3), ("b", 2), ("c", 4)]);
    }

    #[test]
    fn unique_keeps_the_order() {
        let names = ["b", "a", "b"].map(str::to_owned);
        assert_eq!(unique(names), ["b", "a"]);
    }
}
