//! The attributes of one measurement, borrowed: sorted and hashed as they are put, so that the series that they belong
//! to is found without an allocation.

use crate::masking::Masked;

/// How many attributes a set has room for.
pub const MOST_ATTRIBUTES: usize = 12;

/// How much of a text becomes a part of a series, bytes: every series keeps its texts.
pub const MOST_TEXT_BYTES: usize = 256;

/// Attributes of a measurement: each key once, in ascending order. Text is masked text, by type.
///
/// Made once for a stream, and used for all of its measurements: of each, an instrument takes those attributes that its
/// series have ([`Definition::attributes`](super::Definition::attributes)).
#[derive(Clone, Copy, Debug, Default)]
pub struct AttributeSet<'a> {
    entries: [Entry<'a>; MOST_ATTRIBUTES],
    count: usize,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry<'a> {
    pub(super) key: &'static str,
    pub(super) value: Value<'a>,
    hash: u64,
}

/// A value, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Int(i64),
    Bool(bool),
}

impl Default for Value<'_> {
    fn default() -> Self {
        Self::Int(0)
    }
}

impl<'a> AttributeSet<'a> {
    /// Without attributes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a text: of a long one, its first [`MOST_TEXT_BYTES`].
    pub fn put_text(&mut self, key: &'static str, text: &'a Masked<'_>) {
        let text = text.as_str();
        self.put(key, Value::Text(text.get(..text.floor_char_boundary(MOST_TEXT_BYTES)).unwrap_or_default()));
    }

    /// Puts an integer.
    pub fn put_int(&mut self, key: &'static str, number: i64) {
        self.put(key, Value::Int(number));
    }

    /// Puts a truth.
    pub fn put_bool(&mut self, key: &'static str, truth: bool) {
        self.put(key, Value::Bool(truth));
    }

    /// A key that is there already takes the new value. Cheapest in ascending order of keys; beyond
    /// [`MOST_ATTRIBUTES`] a new key is not taken.
    pub(super) fn put(&mut self, key: &'static str, value: Value<'a>) {
        let entry = Entry { key, value, hash: hash(key, value) };
        let at = match self.entries().binary_search_by(|entry| entry.key.cmp(key)) {
            Ok(at) => {
                if let Some(known) = self.entries.get_mut(at) {
                    *known = entry;
                }
                return;
            }
            Err(at) => at,
        };
        if self.count < MOST_ATTRIBUTES
            && let Some(tail) = self.entries.get_mut(at..=self.count)
        {
            tail.rotate_right(1);
            if let Some(first) = tail.first_mut() {
                *first = entry;
            }
            self.count = self.count.saturating_add(1);
        }
    }

    pub(super) fn entries(&self) -> &[Entry<'a>] {
        self.entries.get(..self.count).unwrap_or_default()
    }

    /// Those of the attributes whose keys are among `keys`, which are in ascending order.
    pub fn select<'s>(&'s self, keys: &[&'static str]) -> Selected<'a, 's> {
        let mut selected = Selected { set: self, mask: 0, hash: 0 };
        let mut keys = keys.iter().peekable();
        for (bit, entry) in self.entries().iter().enumerate() {
            while keys.next_if(|key| **key < entry.key).is_some() {}
            if keys.next_if(|key| **key == entry.key).is_some() {
                selected.mask |= 1_u16.unbounded_shl(u32::try_from(bit).unwrap_or(u32::MAX));
                selected.hash = selected.hash.wrapping_add(entry.hash);
            }
        }
        selected
    }
}

/// A selection of a set's attributes, with its hash: what a [`SeriesTable`](super::SeriesTable) looks a series up by.
#[derive(Clone, Copy, Debug)]
pub struct Selected<'a, 's> {
    set: &'s AttributeSet<'a>,
    mask: u16,
    hash: u64,
}

impl<'a, 's> Selected<'a, 's> {
    /// The same selection always has the same.
    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'s Entry<'a>> + use<'a, 's> {
        let mask = self.mask;
        let is_selected = move |bit: &usize| u32::try_from(*bit).is_ok_and(|bit| mask & 1_u16.unbounded_shl(bit) != 0);
        self.set.entries().iter().enumerate().filter(move |(bit, _)| is_selected(bit)).map(|(_, entry)| entry)
    }

    /// Those attributes of the set that are not selected and whose keys are among `keys`, with owners of their own.
    pub(super) fn others(&self, keys: &[&'static str]) -> OwnedAttributes {
        let all = self.set.select(keys);
        let others = Self { mask: all.mask & !self.mask, ..*self };
        OwnedAttributes::from(&others)
    }
}

/// Attributes that have an owner: a series' own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedAttributes(Box<[(&'static str, OwnedValue)]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum OwnedValue {
    Text(Box<str>),
    Int(i64),
    Bool(bool),
}

impl OwnedValue {
    fn borrow(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Int(number) => Value::Int(*number),
            Self::Bool(truth) => Value::Bool(*truth),
        }
    }
}

impl From<&Selected<'_, '_>> for OwnedAttributes {
    fn from(selected: &Selected<'_, '_>) -> Self {
        let owned = |entry: &Entry<'_>| {
            let value = match entry.value {
                Value::Text(text) => OwnedValue::Text(text.into()),
                Value::Int(number) => OwnedValue::Int(number),
                Value::Bool(truth) => OwnedValue::Bool(truth),
            };
            (entry.key, value)
        };
        Self(selected.iter().map(owned).collect())
    }
}

impl OwnedAttributes {
    pub(super) fn equals(&self, selected: &Selected<'_, '_>) -> bool {
        let mut known = self.0.iter();
        let all = selected
            .iter()
            .all(|entry| known.next().is_some_and(|(key, value)| *key == entry.key && value.borrow() == entry.value));
        all && known.next().is_none()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, Value<'_>)> {
        self.0.iter().map(|(key, value)| (*key, value.borrow()))
    }
}

/// One attribute's hash. Those of a set are added up, so that a selection's needs no second look at the bytes. Not
/// keyed: who makes sets collide on purpose makes the cap's number of comparisons, and no more.
fn hash(key: &str, value: Value<'_>) -> u64 {
    let state = mix_text(0x9e37_79b9_7f4a_7c15, key);
    finish(match value {
        Value::Text(text) => mix_text(state, text),
        Value::Int(number) => mix(mix(state, 1), number.cast_unsigned()),
        Value::Bool(truth) => mix(mix(state, 2), u64::from(truth)),
    })
}

fn mix_text(mut state: u64, text: &str) -> u64 {
    let (chunks, rest) = text.as_bytes().as_chunks::<8>();
    for chunk in chunks {
        state = mix(state, u64::from_le_bytes(*chunk));
    }
    let mut last = [0_u8; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    mix(mix(state, u64::from_le_bytes(last)), text.len() as u64)
}

const fn mix(state: u64, word: u64) -> u64 {
    (state.rotate_left(23) ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd)
}

/// Spreads the last words' bits over all (the finalizer of `MurmurHash3`).
const fn finish(mut state: u64) -> u64 {
    state ^= state >> 33;
    state = state.wrapping_mul(0xff51_afd7_ed55_8ccd);
    state ^= state >> 33;
    state = state.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    state ^ (state >> 33)
}
