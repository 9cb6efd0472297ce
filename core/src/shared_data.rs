//! What the workers of one proxy share: small values by key, changed only by whoever saw the latest.
//!
//! Source: proxy-wasm ABI v0.2.1, `proxy_get_shared_data` and `proxy_set_shared_data`. The host's store is
//! process-wide and behind a lock, so it is asked seldom: for a lease, not for each request.

/// The host's store.
pub trait SharedData {
    /// The value under `key`, and its version.
    fn get(&mut self, key: &str) -> Stored;

    /// Puts `value` under `key`, if what stands there still has the version that was `seen`; with none, if nothing stands
    /// there yet. Says whether it was put: of workers that saw the same, one hears yes.
    fn set(&mut self, key: &str, value: &[u8], seen: Option<u32>) -> bool;
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Nothing yet.
    Nothing,
    /// A value, and its version.
    Value(Vec<u8>, u32),
    /// The store does not answer.
    Unavailable,
}

/// No store at all: a worker by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl SharedData for Alone {
    fn get(&mut self, _: &str) -> Stored {
        Stored::Unavailable
    }

    fn set(&mut self, _: &str, _: &[u8], _: Option<u32>) -> bool {
        false
    }
}

/// How often a change is tried when other workers come first. Each failure is another worker's success.
const TRIES: u32 = 8;

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome<T> {
    /// It stands, or there was nothing to change.
    Done(T),
    /// Others were first each time.
    Busy,
    /// There is no store.
    Unavailable,
}

/// Changes the value under `key`: `change` makes of what stands there what shall stand there, if anything, and an
/// answer.
pub(crate) fn update<T>(
    shared: &mut dyn SharedData,
    key: &str,
    mut change: impl FnMut(Option<&[u8]>) -> (Option<Vec<u8>>, T),
) -> Outcome<T> {
    for _ in 0..TRIES {
        let (value, seen) = match shared.get(key) {
            Stored::Unavailable => return Outcome::Unavailable,
            Stored::Nothing => (None, None),
            Stored::Value(value, version) => (Some(value), Some(version)),
        };
        let (changed, answer) = change(value.as_deref());
        let Some(changed) = changed else { return Outcome::Done(answer) };
        if shared.set(key, &changed, seen) {
            return Outcome::Done(answer);
        }
    }
    Outcome::Busy
}

#[cfg(test)]
pub(crate) mod testing {
    use std::collections::BTreeMap;

    use super::{SharedData, Stored};

    /// A store as the adapter makes of the host's: versions count up. Counts how often it is asked.
    #[derive(Debug, Default)]
    pub(crate) struct Store {
        pub(crate) values: BTreeMap<String, (Vec<u8>, u32)>,
        pub(crate) gets: u32,
        pub(crate) sets: u32,
        /// That many changes fail as if another worker had been first.
        pub(crate) conflicts: u32,
        /// What another worker puts under any key that is looked at, right after the look.
        pub(crate) rival: Option<Vec<u8>>,
    }

    impl SharedData for Store {
        fn get(&mut self, key: &str) -> Stored {
            self.gets += 1;
            let stored = match self.values.get(key) {
                Some((value, version)) => Stored::Value(value.clone(), *version),
                None => Stored::Nothing,
            };
            if let Some(value) = self.rival.take() {
                let version = self.values.get(key).map_or(0, |(_, version)| *version);
                self.values.insert(key.to_owned(), (value, version + 1));
            }
            stored
        }

        fn set(&mut self, key: &str, value: &[u8], seen: Option<u32>) -> bool {
            self.sets += 1;
            if self.conflicts > 0 {
                self.conflicts -= 1;
                return false;
            }
            let current = self.values.get(key).map(|(_, version)| *version);
            if seen != current {
                return false;
            }
            self.values.insert(key.to_owned(), (value.to_vec(), current.unwrap_or(0) + 1));
            true
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::testing::Store;
    use super::*;

    #[test]
    fn a_change_is_tried_again_when_another_worker_was_first() {
        let mut store = Store { conflicts: TRIES - 1, ..Store::default() };
        let add = |value: Option<&[u8]>| {
            let sum = value.and_then(|value| value.first()).map_or(1, |value| value + 1);
            (Some(vec![sum]), sum)
        };
        assert_eq!(update(&mut store, "k", add), Outcome::Done(1));
        assert_eq!(update(&mut store, "k", add), Outcome::Done(2));
        store.conflicts = TRIES;
        assert_eq!(update(&mut store, "k", add), Outcome::Busy, "not for ever");
        assert_eq!(store.values.get("k"), Some(&(vec![2], 2)));
        assert_eq!(update(&mut Alone, "k", add), Outcome::Unavailable);
    }

    #[test]
    fn the_first_value_of_another_worker_is_not_overwritten() {
        for (before, rival) in [(None, vec![7]), (Some(vec![3]), vec![7])] {
            let mut store = Store::default();
            store.values.extend(before.clone().map(|value| ("k".to_owned(), (value, 1))));
            store.rival = Some(rival);
            let add = |value: Option<&[u8]>| (Some(vec![value.map_or(1, |value| value[0] + 1)]), ());
            assert_eq!(update(&mut store, "k", add), Outcome::Done(()));
            assert_eq!(store.values["k"].0, [8], "before: {before:?}");
            assert_eq!((store.gets, store.sets), (2, 2));
        }
    }

    #[test]
    fn what_does_not_change_is_not_written() {
        let mut store = Store::default();
        assert_eq!(update(&mut store, "k", |_| (None, 7)), Outcome::Done(7));
        assert_eq!((store.gets, store.sets), (1, 0));
    }
}
