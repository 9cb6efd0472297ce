//! Series by their attributes, as many as a cap allows.

use super::attributes::{OwnedAttributes, Selected};

/// Values, each for one set of attributes. Finding a known one allocates nothing.
///
/// The cap is the specification's cardinality limit (Metrics SDK, "Cardinality limits"): so many series, of which the
/// last is the one for all that finds no place. That one has the single attribute `otel.metric.overflow`.
#[derive(Clone, Debug)]
pub struct SeriesTable<T> {
    series: Vec<OneSeries<T>>,
    /// Open addressing: where in `series` a hash's value is, plus one; 0 is free. At most half of it is in use.
    slots: Vec<u32>,
    overflow: Option<T>,
    cap: usize,
    overflowed: u64,
}

#[derive(Clone, Debug)]
struct OneSeries<T> {
    hash: u64,
    attributes: OwnedAttributes,
    value: T,
}

impl<T> SeriesTable<T> {
    /// Without series. `cap` counts the overflow series.
    pub const fn new(cap: usize) -> Self {
        Self { series: Vec::new(), slots: Vec::new(), overflow: None, cap, overflowed: 0 }
    }

    /// The value for these attributes, made if it is not there; the overflow's where there is no room for one more.
    pub fn get_or_insert_with(&mut self, attributes: &Selected<'_, '_>, make: impl Fn() -> T) -> &mut T {
        let hash = attributes.hash();
        let at = self.find(hash, attributes).unwrap_or(self.series.len());
        if at == self.series.len() && at.saturating_add(1) < self.cap {
            self.series.push(OneSeries { hash, attributes: OwnedAttributes::from(attributes), value: make() });
            self.enter_last(hash);
        }
        if let Some(series) = self.series.get_mut(at) {
            return &mut series.value;
        }
        self.overflowed = self.overflowed.saturating_add(1);
        self.overflow.get_or_insert_with(make)
    }

    /// The series and their attributes, the oldest first. The overflow series, if there is one, comes last and has no
    /// attributes here.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Option<&OwnedAttributes>, &mut T)> {
        let series = self.series.iter_mut().map(|series| (Some(&series.attributes), &mut series.value));
        series.chain(self.overflow.iter_mut().map(|value| (None, value)))
    }

    /// As [`iter_mut`](Self::iter_mut), to look at.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&OwnedAttributes>, &T)> {
        let series = self.series.iter().map(|series| (Some(&series.attributes), &series.value));
        series.chain(self.overflow.iter().map(|value| (None, value)))
    }

    /// How many series there are, the overflow's with them.
    pub fn len(&self) -> usize {
        self.series.len().saturating_add(usize::from(self.overflow.is_some()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many measurements the overflow series has taken, ever.
    pub const fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Lets go of all series. Room for as many as there were is kept.
    pub fn clear(&mut self) {
        self.series.clear();
        self.slots.fill(0);
        self.overflow = None;
    }

    fn find(&self, hash: u64, attributes: &Selected<'_, '_>) -> Option<usize> {
        let mut slot = self.first_slot(hash);
        // Ends at a free slot, and at least half of them are free.
        loop {
            let at = usize::try_from((*self.slots.get(slot)?).checked_sub(1)?).ok()?;
            let series = self.series.get(at)?;
            if series.hash == hash && series.attributes.equals(attributes) {
                return Some(at);
            }
            slot = self.next_slot(slot);
        }
    }

    /// Makes the last of `series` findable.
    fn enter_last(&mut self, hash: u64) {
        if self.series.len().saturating_mul(2) > self.slots.len() {
            let slots = self.slots.len().saturating_mul(2).max(LEAST_SLOTS);
            self.slots = vec![0; slots];
            for at in 0..self.series.len() {
                let Some(series) = self.series.get(at) else { continue };
                self.enter(series.hash, at);
            }
        } else {
            self.enter(hash, self.series.len().saturating_sub(1));
        }
    }

    fn enter(&mut self, hash: u64, at: usize) {
        let mut free = self.first_slot(hash);
        while self.slots.get(free).is_some_and(|slot| *slot != 0) {
            free = self.next_slot(free);
        }
        if let (Some(slot), Ok(number)) = (self.slots.get_mut(free), u32::try_from(at.saturating_add(1))) {
            *slot = number;
        }
    }

    /// There is always a power of two of slots, or none.
    fn first_slot(&self, hash: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are as good as any")]
        let low = hash as usize;
        low & self.slots.len().wrapping_sub(1)
    }

    fn next_slot(&self, slot: usize) -> usize {
        slot.wrapping_add(1) & self.slots.len().wrapping_sub(1)
    }
}

const LEAST_SLOTS: usize = 16;

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::AttributeSet;
    use super::*;
    use crate::masking::Masked;

    const KEYS: &[&str] = &["a", "b"];

    fn add(table: &mut SeriesTable<u64>, set: &AttributeSet<'_>) {
        *table.get_or_insert_with(&set.select(KEYS), || 0) += 1;
    }

    #[test]
    fn a_set_finds_its_series_however_it_was_put_together() {
        let text = Masked::literal("one");
        let mut table = SeriesTable::new(100);
        let mut set = AttributeSet::new();
        set.put_text("b", &text);
        set.put_int("a", 7);
        set.put_bool("c", true);
        add(&mut table, &set);
        let mut same = AttributeSet::new();
        same.put_int("a", 6);
        same.put_int("a", 7);
        same.put_text("b", &text);
        add(&mut table, &same);
        assert_eq!(table.len(), 1);
        let found: Vec<_> = table.iter_mut().map(|(_, value)| *value).collect();
        assert_eq!(found, [2]);
        let mut others = vec![AttributeSet::new()];
        for (key, value) in [("a", 7), ("a", 6), ("b", 7)] {
            let mut set = AttributeSet::new();
            set.put_int(key, value);
            others.push(set);
        }
        let mut truth = AttributeSet::new();
        truth.put_bool("a", true);
        others.push(truth);
        let digits = Masked::literal("7");
        let mut text = AttributeSet::new();
        text.put_text("a", &digits);
        others.push(text);
        for set in &others {
            add(&mut table, set);
        }
        assert_eq!(table.len(), 1 + others.len(), "all differ");
    }

    #[test]
    fn the_cap_holds_and_the_rest_is_in_the_overflow() {
        for (cap, kept) in [(0_u64, 0_u64), (1, 0), (2, 1), (17, 16), (2_000, 1_999)] {
            let mut table = SeriesTable::new(usize::try_from(cap).unwrap());
            for round in 1..=2 {
                for number in 0..3_000 {
                    let mut set = AttributeSet::new();
                    set.put_int("a", number);
                    add(&mut table, &set);
                }
                assert_eq!(table.len() as u64, kept + 1, "cap {cap}");
                assert_eq!(table.overflowed(), round * (3_000 - kept), "cap {cap}");
            }
            let values: Vec<_> = table.iter_mut().map(|(attributes, value)| (attributes.is_some(), *value)).collect();
            assert_eq!(values.last(), Some(&(false, 2 * (3_000 - kept))), "cap {cap}: the overflow is last");
            assert!(values.iter().rev().skip(1).all(|value| *value == (true, 2)), "cap {cap}");
            table.clear();
            assert!(table.is_empty());
            let mut set = AttributeSet::new();
            set.put_int("a", 5_000);
            add(&mut table, &set);
            assert_eq!(table.len(), 1, "cap {cap}: room again");
        }
    }
}
