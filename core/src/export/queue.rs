//! The queue of one processor: encoded items (spans, log records, metrics), kept as the batches they will leave in.

use std::collections::VecDeque;

/// Items that leave together.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    /// Encoded fields, one after the other.
    pub(super) bytes: Vec<u8>,
    /// How many items they are; a metric is as many as it has data points.
    pub(super) items: u32,
    /// The count of each field, in order; empty where each is one.
    counts: Vec<u32>,
}

impl Batch {
    /// The batch as two of half as many fields each; `None` when it has one field only.
    pub(super) fn halves(self) -> Option<[Self; 2]> {
        let fields = if self.counts.is_empty() { usize::try_from(self.items).ok()? } else { self.counts.len() };
        let first = fields / 2;
        if first == 0 {
            return None;
        }
        let mut rest = self.bytes.as_slice();
        for _ in 0..first {
            rest = behind_field(rest)?;
        }
        let (one, other) = self.bytes.split_at_checked(self.bytes.len().saturating_sub(rest.len()))?;
        let (counts_of_one, counts_of_other) = self.counts.split_at_checked(first).unwrap_or_default();
        let items = match counts_of_one {
            [] => u32::try_from(first).ok()?,
            counts => counts.iter().fold(0, |sum, count| count.saturating_add(sum)),
        };
        let other_items = self.items.saturating_sub(items);
        Some([
            Self { bytes: one.to_vec(), items, counts: counts_of_one.to_vec() },
            Self { bytes: other.to_vec(), items: other_items, counts: counts_of_other.to_vec() },
        ])
    }
}

/// What stands behind the first length-delimited field.
fn behind_field(mut bytes: &[u8]) -> Option<&[u8]> {
    prost::encoding::decode_varint(&mut bytes).ok()?;
    let length = prost::encoding::decode_varint(&mut bytes).ok()?;
    bytes.get(usize::try_from(length).ok()?..)
}

/// How much an item would be missed. The order of the variants is the order in which a full queue lets items go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Importance {
    /// Of a trace that this proxy began, or that its caller did not sample: no other's trace gets a hole.
    OwnTrace,
    /// Of a trace that the caller sampled: others hold the rest of it.
    SampledByParent,
    /// Failed or slow: what people look for.
    ErrorOrSlow,
}

/// How many kinds of [`Importance`] there are.
const LANES: usize = 3;

/// A first-in, first-out queue with a cap. Items are appended to the last batch, so nothing is moved again until
/// a batch is sent. A full queue lets go of what matters less than the newcomer, the newest first: what has waited
/// longest is nearest to its way out.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    batches: VecDeque<Filling>,
    items: u32,
    bytes: usize,
    caps: Caps,
}

/// What bounds a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    /// Items waiting.
    pub(super) items: u32,
    /// Bytes of encoded items waiting.
    pub(super) bytes: usize,
    /// Items of one batch, at least 1.
    pub(super) batch_items: u32,
    /// Bytes of encoded items of one batch; one field alone may be more, here and in items.
    pub(super) batch_bytes: usize,
}

/// A batch that waits, its items by importance.
#[derive(Clone, Debug, Default)]
struct Filling {
    lanes: [Lane; LANES],
    items: u32,
    bytes: usize,
}

/// Items of one importance.
#[derive(Clone, Debug, Default)]
struct Lane {
    bytes: Vec<u8>,
    /// Length and count of each, to take the last one off again.
    fields: Vec<(u32, u32)>,
}

impl Filling {
    fn push(&mut self, item: &[u8], count: u32, importance: Importance) {
        if let Some(lane) = self.lanes.get_mut(importance as usize) {
            lane.bytes.extend_from_slice(item);
            lane.fields.push((u32::try_from(item.len()).unwrap_or(u32::MAX), count));
            self.items = self.items.saturating_add(count);
            self.bytes = self.bytes.saturating_add(item.len());
        }
    }

    /// Takes the newest item of a lane off, and says how long it was and for how many it counts.
    fn evict(&mut self, lane: usize) -> Option<(usize, u32)> {
        let lane = self.lanes.get_mut(lane)?;
        let (length, count) = lane.fields.pop()?;
        let length = usize::try_from(length).ok()?;
        lane.bytes.truncate(lane.bytes.len().saturating_sub(length));
        self.items = self.items.saturating_sub(count);
        self.bytes = self.bytes.saturating_sub(length);
        Some((length, count))
    }

    fn seal(self) -> Batch {
        // Most items are one each, and need no list of that.
        let fields = self.lanes.iter().rev().flat_map(|lane| &lane.fields).map(|(_, count)| *count);
        let counts = if fields.clone().all(|count| count == 1) { Vec::new() } else { fields.collect() };
        let mut lanes = self.lanes.into_iter().rev().map(|lane| lane.bytes).filter(|bytes| !bytes.is_empty());
        let mut bytes = lanes.next().unwrap_or_default();
        lanes.for_each(|lane| bytes.extend_from_slice(&lane));
        Batch { bytes, items: self.items, counts }
    }
}

impl Queue {
    #[inline]
    pub(super) fn new(caps: Caps) -> Self {
        Self { batches: VecDeque::new(), items: 0, bytes: 0, caps }
    }

    /// Appends an item that counts for `count`. How many items were lost for it: those that made room, or the item itself
    /// where nothing that matters less is left.
    pub(super) fn push(&mut self, item: &[u8], count: u32, importance: Importance) -> u64 {
        let mut lost: u64 = 0;
        if !self.has_room(item.len(), count) {
            if !self.can_make_room(item.len(), count, importance) {
                return u64::from(count);
            }
            while !self.has_room(item.len(), count)
                && let Some(evicted) = self.evict_below(importance)
            {
                lost = lost.saturating_add(u64::from(evicted));
            }
        }
        self.bytes = self.bytes.saturating_add(item.len());
        self.items = self.items.saturating_add(count);
        match self.batches.back_mut() {
            Some(batch)
                if batch.items.saturating_add(count) <= self.caps.batch_items
                    && batch.bytes.saturating_add(item.len()) <= self.caps.batch_bytes =>
            {
                batch.push(item, count, importance);
            }
            _ => {
                let mut batch = Filling::default();
                batch.push(item, count, importance);
                self.batches.push_back(batch);
            }
        }
        lost
    }

    fn has_room(&self, length: usize, count: u32) -> bool {
        self.items.saturating_add(count) <= self.caps.items && self.bytes.saturating_add(length) <= self.caps.bytes
    }

    /// Whether there would be room without all that matters less.
    fn can_make_room(&self, length: usize, count: u32, importance: Importance) -> bool {
        let less = self.batches.iter().flat_map(|batch| batch.lanes.iter().take(importance as usize));
        let (items, bytes) = less.fold((0_u32, 0_usize), |(items, bytes), lane| {
            let items = lane.fields.iter().fold(items, |sum, (_, count)| sum.saturating_add(*count));
            (items, bytes.saturating_add(lane.bytes.len()))
        });
        let kept = self.items.saturating_sub(items);
        kept.saturating_add(count) <= self.caps.items
            && self.bytes.saturating_sub(bytes).saturating_add(length) <= self.caps.bytes
    }

    /// Lets the newest of the items go that matter least, if they matter less than `importance`. For how many it counted.
    fn evict_below(&mut self, importance: Importance) -> Option<u32> {
        for lane in 0..importance as usize {
            let evicted = self.batches.iter_mut().enumerate().rev().find_map(|(at, batch)| {
                let (length, count) = batch.evict(lane)?;
                Some((at, length, count, batch.bytes == 0))
            });
            let Some((at, length, count, is_empty)) = evicted else { continue };
            if is_empty {
                self.batches.remove(at);
            }
            self.items = self.items.saturating_sub(count);
            self.bytes = self.bytes.saturating_sub(length);
            return Some(count);
        }
        None
    }

    /// Takes the oldest batch, full or not.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.items = self.items.saturating_sub(batch.items);
        self.bytes = self.bytes.saturating_sub(batch.bytes);
        Some(batch.seal())
    }

    /// Items waiting.
    pub(super) const fn len(&self) -> u32 {
        self.items
    }

    /// Bytes of the items waiting.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether little room is left: less than a fifth, of items or of bytes.
    pub(super) const fn is_nearly_full(&self) -> bool {
        self.items >= self.caps.items.saturating_sub(self.caps.items / 5)
            || self.bytes >= self.caps.bytes.saturating_sub(self.caps.bytes / 5)
    }

    /// Whether the oldest batch takes no more: another has been begun behind it, or it has all that it may have.
    pub(super) fn has_full_batch(&self) -> bool {
        self.batches.len() > 1
            || self
                .batches
                .front()
                .is_some_and(|batch| batch.items >= self.caps.batch_items || batch.bytes >= self.caps.batch_bytes)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::Importance::{ErrorOrSlow, OwnTrace, SampledByParent};
    use super::*;

    fn bytes_of(queue: &mut Queue) -> Option<String> {
        queue.pop().map(|batch| String::from_utf8(batch.bytes).unwrap())
    }

    #[test]
    fn a_full_queue_refuses_the_newest_of_equals() {
        let mut queue = Queue::new(Caps { items: 3, bytes: 1_000, batch_items: 2, batch_bytes: 1_000 });
        assert_eq!([b"a", b"b", b"c", b"d"].map(|item| queue.push(item, 1, OwnTrace)), [0, 0, 0, 1]);
        assert!(queue.has_full_batch());
        let first = queue.pop().unwrap();
        assert_eq!((first.bytes.as_slice(), first.items), (&b"ab"[..], 2));
        assert!(!queue.has_full_batch());
        assert_eq!(queue.push(b"e", 1, OwnTrace), 0);
        let second = queue.pop().unwrap();
        assert_eq!((second.bytes.as_slice(), second.items), (&b"ce"[..], 2));
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
        assert!(queue.pop().is_none());
    }

    #[test]
    fn what_matters_less_makes_room() {
        let mut queue = Queue::new(Caps { items: 4, bytes: 1_000, batch_items: 2, batch_bytes: 1_000 });
        let mut lost = |item: &[u8], importance| queue.push(item, 1, importance);
        assert_eq!(lost(b"1", OwnTrace) + lost(b"2", SampledByParent) + lost(b"3", OwnTrace), 0);
        assert_eq!(lost(b"4", ErrorOrSlow), 0);
        assert_eq!(lost(b"5", SampledByParent), 1, "3 goes, the newest of our own");
        assert_eq!(lost(b"6", OwnTrace), 1, "nothing matters less");
        assert_eq!(lost(b"7", ErrorOrSlow), 1, "1 goes");
        assert_eq!(lost(b"8", ErrorOrSlow), 1, "5 goes, and not 2, which has waited longer");
        assert_eq!(lost(b"9", SampledByParent), 1, "its equal stays");
        assert_eq!(queue.len(), 4);
        for expected in [Some("2"), Some("4"), Some("78"), None] {
            assert_eq!(bytes_of(&mut queue).as_deref(), expected);
        }
    }

    #[test]
    fn one_large_item_may_cost_several_small_ones() {
        let mut queue = Queue::new(Caps { items: 100, bytes: 6, batch_items: 10, batch_bytes: 100 });
        for item in [b"aa", b"bb", b"cc"] {
            assert_eq!(queue.push(item, 1, OwnTrace), 0);
        }
        assert_eq!(queue.push(b"ddd", 1, ErrorOrSlow), 2);
        assert_eq!(queue.push(b"eeeeee", 1, SampledByParent), 1, "the last of our own would not be enough: it stays");
        assert_eq!(bytes_of(&mut queue).as_deref(), Some("dddaa"), "what matters most stands first");
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }

    #[test]
    fn bytes_fill_a_queue_too() {
        let caps = Caps { items: 100, bytes: 5, batch_items: 2, batch_bytes: 100 };
        let mut queue = Queue::new(caps);
        assert_eq!(queue.push(b"aaa", 1, OwnTrace) + queue.push(b"bb", 1, OwnTrace), 0);
        assert_eq!(queue.push(b"c", 1, OwnTrace), 1, "five bytes wait");
        assert!(queue.pop().is_some());
        assert_eq!(queue.push(b"ccccc", 1, OwnTrace), 0, "what has left makes room");
        assert_eq!(queue.push(b"d", 1, OwnTrace), 1);
        assert_eq!(queue.push(b"eeeeee", 1, ErrorOrSlow), 1, "an item that never fits costs no other");
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_batch_comes_apart_between_items() {
        let mut bytes = Vec::new();
        for length in [3_usize, 200, 0, 1, 70] {
            crate::protobuf::put_bytes(&mut bytes, 2, &vec![9; length]);
        }
        let whole = Batch { bytes, items: 5, counts: Vec::new() };
        let [one, other] = whole.clone().halves().unwrap();
        assert_eq!((one.items, other.items), (2, 3));
        assert_eq!(one.bytes.len(), 5 + 203);
        assert_eq!([one.bytes, other.bytes.clone()].concat(), whole.bytes);
        let [single, pair] = other.halves().unwrap();
        assert_eq!((single.items, pair.items), (1, 2));
        assert!(single.halves().is_none(), "one item is not cut");
    }

    #[test]
    fn a_metric_counts_for_its_points() {
        let mut queue = Queue::new(Caps { items: 10, bytes: 1_000, batch_items: 6, batch_bytes: 1_000 });
        let field = |content: &[u8]| {
            let mut bytes = Vec::new();
            crate::protobuf::put_bytes(&mut bytes, 2, content);
            bytes
        };
        assert_eq!(queue.push(&field(b"two"), 2, OwnTrace) + queue.push(&field(b"three"), 3, OwnTrace), 0);
        assert_eq!(queue.push(&field(b"four"), 4, OwnTrace), 0);
        assert_eq!(queue.push(&field(b"five"), 5, OwnTrace), 5, "one point has room, and a metric is not cut");
        assert_eq!((queue.len(), queue.push(&field(b"one"), 1, OwnTrace)), (9, 0));
        assert_eq!(queue.push(&field(b"2"), 2, ErrorOrSlow), 5, "one goes, and that is not enough: four go");
        let first = queue.pop().unwrap();
        assert_eq!(first.items, 5, "seven would be more than a batch");
        let [two, three] = first.halves().unwrap();
        assert_eq!((two.items, three.items), (2, 3));
        assert_eq!((two.bytes, three.bytes.clone()), (field(b"two"), field(b"three")));
        assert!(three.halves().is_none(), "a metric is not cut");
        assert_eq!(queue.pop().map(|batch| batch.items), Some(2));
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }

    #[test]
    fn bytes_close_a_batch_too() {
        let mut queue = Queue::new(Caps { items: 100, bytes: 100, batch_items: 10, batch_bytes: 4 });
        assert!(queue.push(b"aaa", 1, OwnTrace) == 0 && !queue.has_full_batch());
        assert!(queue.push(b"bb", 1, OwnTrace) == 0 && queue.has_full_batch(), "the first takes no more");
        assert_eq!(bytes_of(&mut queue).as_deref(), Some("aaa"));
        assert!(!queue.has_full_batch());
        assert!(queue.push(b"cc", 1, OwnTrace) == 0 && queue.has_full_batch(), "exactly full");
        assert_eq!(queue.push(b"dddddd", 1, OwnTrace), 0, "one item may be larger than a batch");
        assert_eq!(bytes_of(&mut queue).as_deref(), Some("bbcc"));
        assert_eq!(bytes_of(&mut queue).as_deref(), Some("dddddd"));
    }
}
