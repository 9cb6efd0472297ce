//! A map for what has ids that count up and is mostly gone soon: a proxy's streams.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

/// How many of the newest are found by their place alone. A power of two.
const RECENT: usize = 64;

/// A map from ids that count up. The newest lie side by side, found without hashing; one that stays while others come
/// moves to a map behind.
#[derive(Clone, Debug)]
pub struct RecentMap<T> {
    recent: Vec<Option<(u32, T)>>,
    /// With a hasher that needs no randomness: a host that gives none must not make a callback trap.
    older: HashMap<u32, T, BuildHasherDefault<DefaultHasher>>,
}

impl<T> Default for RecentMap<T> {
    fn default() -> Self {
        Self::new()
    }
}

const fn place(id: u32) -> usize {
    id as usize & (RECENT - 1)
}

impl<T> RecentMap<T> {
    /// Without anything in it. It takes its room with the first value.
    pub const fn new() -> Self {
        Self { recent: Vec::new(), older: HashMap::with_hasher(BuildHasherDefault::new()) }
    }

    /// Puts a value in; one that had this id is gone.
    pub fn insert(&mut self, id: u32, value: T) {
        if !self.older.is_empty() {
            self.older.remove(&id);
        }
        if self.recent.is_empty() {
            self.recent.resize_with(RECENT, || None);
        }
        let Some(slot) = self.recent.get_mut(place(id)) else { return };
        if let Some((other, value)) = slot.replace((id, value))
            && other != id
        {
            self.older.insert(other, value);
        }
    }

    /// The value with this id.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        match self.recent.get_mut(place(id)) {
            Some(Some((found, value))) if *found == id => Some(value),
            _ if self.older.is_empty() => None,
            _ => self.older.get_mut(&id),
        }
    }

    /// Takes a value out.
    pub fn remove(&mut self, id: u32) -> Option<T> {
        match self.recent.get_mut(place(id)) {
            Some(slot) if slot.as_ref().is_some_and(|(found, _)| *found == id) => slot.take().map(|(_, value)| value),
            _ if self.older.is_empty() => None,
            _ => self.older.remove(&id),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn one_that_stays_is_found_among_thousands_that_go() {
        let mut map = RecentMap::default();
        map.insert(1, "stays");
        for id in 2..10_000 {
            map.insert(id, "goes");
            assert_eq!(map.remove(id), Some("goes"));
            assert_eq!(map.remove(id), None, "it is gone");
        }
        assert_eq!(map.get_mut(1).copied(), Some("stays"));
        map.insert(1, "new");
        assert_eq!((map.remove(1), map.remove(1), map.get_mut(1)), (Some("new"), None, None));
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(deeds in proptest::collection::vec((0..3_u8, 0..200_u32, any::<u16>()), 0..400)) {
            let (mut map, mut model) = (RecentMap::default(), HashMap::new());
            for (deed, id, value) in deeds {
                match deed {
                    0 => {
                        map.insert(id, value);
                        model.insert(id, value);
                    }
                    1 => prop_assert_eq!(map.remove(id), model.remove(&id)),
                    _ => prop_assert_eq!(map.get_mut(id), model.get_mut(&id)),
                }
            }
        }
    }
}
