//! How often something was masked. Kept apart from the plugin's counters, which take them at the tick.

use std::cell::{Cell, RefCell};

use crate::config::Detector;

/// What said that a value is sensitive. A closed set: detectors are built in, patterns configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MaskedBy {
    /// A built-in detector, by its place in [`Detector::ALL`].
    Detector(usize),
    /// A configured pattern, by its place in the configuration.
    Pattern(usize),
    /// The value's name or place (a header, a query parameter, …).
    Field,
}

impl From<Detector> for MaskedBy {
    fn from(detector: Detector) -> Self {
        Self::Detector(detector as usize)
    }
}

/// Counts not yet taken. They are kept in a cell, so that masking a text needs no exclusive access to anything.
#[derive(Debug, Default)]
pub struct MaskingCounts {
    /// By what, and in mode `report` the attribute's key; the key is empty in mode `enforce`. Few, so no map.
    counts: RefCell<Vec<(MaskedBy, Box<str>, u64)>>,
    /// How often there was no room for one more entry.
    uncounted: Cell<u64>,
    /// All since the start.
    total: Cell<u64>,
}

/// Entries at the most: fifty detectors and patterns on eighty attributes. Only mode `report` comes near.
const MOST: usize = 4_096;

impl Clone for MaskingCounts {
    /// A copy counts for itself, from zero.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl MaskingCounts {
    /// One more. `key`: the attribute's, where it is to be told apart.
    pub(super) fn increment(&self, by: MaskedBy, key: &str) {
        self.total.set(self.total.get().wrapping_add(1));
        // Nothing that counts calls anything that counts, so it is never borrowed.
        let Ok(mut counts) = self.counts.try_borrow_mut() else { return };
        if let Some((_, _, count)) = counts.iter_mut().find(|(known, of, _)| *known == by && **of == *key) {
            *count = count.saturating_add(1);
        } else if counts.len() < MOST {
            counts.push((by, key.into(), 1));
        } else {
            self.uncounted.set(self.uncounted.get().saturating_add(1));
        }
    }

    /// How many there were since the start, taken or not.
    pub(super) const fn total(&self) -> u64 {
        self.total.get()
    }

    /// Takes the number of those that there was no room for.
    pub fn take_uncounted(&self) -> u64 {
        self.uncounted.take()
    }

    /// Takes all counts: by what, the attribute's key (empty in mode `enforce`), and how many.
    pub fn take(&self) -> impl Iterator<Item = (MaskedBy, Box<str>, u64)> + use<> {
        let counts = self.counts.try_borrow_mut().map(|mut counts| core::mem::take(&mut *counts)).unwrap_or_default();
        counts.into_iter()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn what_is_taken_is_gone() {
        let counts = MaskingCounts::default();
        counts.increment(Detector::Jwt.into(), "");
        counts.increment(Detector::Jwt.into(), "");
        counts.increment(MaskedBy::Field, "url.query");
        let taken: Vec<_> = counts.take().collect();
        assert_eq!(taken, [(Detector::Jwt.into(), "".into(), 2), (MaskedBy::Field, "url.query".into(), 1)]);
        assert_eq!(counts.take().count(), 0);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let counts = MaskingCounts::default();
        for number in 0..MOST + 3 {
            counts.increment(Detector::Jwt.into(), &number.to_string());
        }
        counts.increment(Detector::Jwt.into(), "0");
        assert_eq!((counts.take().count(), counts.take_uncounted(), counts.take_uncounted()), (MOST, 3, 0));
        counts.increment(Detector::Jwt.into(), "there is room again");
        assert_eq!((counts.take().count(), counts.take_uncounted()), (1, 0));
    }
}
