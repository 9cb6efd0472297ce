//! The queue of one processor: encoded spans, kept as the batches they will leave in.

use std::collections::VecDeque;

/// Spans that leave together.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    /// Encoded `ScopeSpans.spans` fields, one after the other.
    pub(super) bytes: Vec<u8>,
    /// How many.
    pub(super) spans: u32,
}

impl Batch {
    /// The batch as two of half as many spans each; `None` when it has one span only.
    pub(super) fn halves(self) -> Option<[Self; 2]> {
        let first = self.spans / 2;
        if first == 0 {
            return None;
        }
        let mut rest = self.bytes.as_slice();
        for _ in 0..first {
            rest = behind_field(rest)?;
        }
        let (one, other) = self.bytes.split_at_checked(self.bytes.len().saturating_sub(rest.len()))?;
        Some([
            Self { bytes: one.to_vec(), spans: first },
            Self { bytes: other.to_vec(), spans: self.spans.saturating_sub(first) },
        ])
    }
}

/// What stands behind the first length-delimited field.
fn behind_field(mut bytes: &[u8]) -> Option<&[u8]> {
    prost::encoding::decode_varint(&mut bytes).ok()?;
    let length = prost::encoding::decode_varint(&mut bytes).ok()?;
    bytes.get(usize::try_from(length).ok()?..)
}

/// How much a span would be missed. The order of the variants is the order in which a full queue lets spans go.
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

/// A first-in, first-out queue with a cap. Spans are appended to the last batch, so nothing is moved again until
/// a batch is sent. A full queue lets go of what matters less than the newcomer, the newest first: what has waited
/// longest is nearest to its way out.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    batches: VecDeque<Filling>,
    spans: u32,
    bytes: usize,
    caps: Caps,
}

/// What bounds a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    /// Spans waiting.
    pub(super) spans: u32,
    /// Bytes of encoded spans waiting.
    pub(super) bytes: usize,
    /// Spans of one batch, at least 1.
    pub(super) batch_spans: u32,
    /// Bytes of encoded spans of one batch; one span alone may be more.
    pub(super) batch_bytes: usize,
}

/// A batch that waits, its spans by importance.
#[derive(Clone, Debug, Default)]
struct Filling {
    lanes: [Lane; LANES],
    spans: u32,
    bytes: usize,
}

/// Spans of one importance.
#[derive(Clone, Debug, Default)]
struct Lane {
    bytes: Vec<u8>,
    /// The length of each, to take the last one off again.
    lengths: Vec<u32>,
}

impl Filling {
    fn push(&mut self, span: &[u8], importance: Importance) {
        if let Some(lane) = self.lanes.get_mut(importance as usize) {
            lane.bytes.extend_from_slice(span);
            lane.lengths.push(u32::try_from(span.len()).unwrap_or(u32::MAX));
            self.spans = self.spans.saturating_add(1);
            self.bytes = self.bytes.saturating_add(span.len());
        }
    }

    /// Takes the newest span of a lane off, and says how long it was.
    fn evict(&mut self, lane: usize) -> Option<usize> {
        let lane = self.lanes.get_mut(lane)?;
        let length = usize::try_from(lane.lengths.pop()?).ok()?;
        lane.bytes.truncate(lane.bytes.len().saturating_sub(length));
        self.spans = self.spans.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(length);
        Some(length)
    }

    fn seal(self) -> Batch {
        let mut lanes = self.lanes.into_iter().rev().map(|lane| lane.bytes).filter(|bytes| !bytes.is_empty());
        let mut bytes = lanes.next().unwrap_or_default();
        lanes.for_each(|lane| bytes.extend_from_slice(&lane));
        Batch { bytes, spans: self.spans }
    }
}

impl Queue {
    pub(super) fn new(caps: Caps) -> Self {
        Self { batches: VecDeque::new(), spans: 0, bytes: 0, caps }
    }

    /// Appends a span. How many spans were lost for it: those that made room, or the span itself where nothing that
    /// matters less is left.
    pub(super) fn push(&mut self, span: &[u8], importance: Importance) -> u64 {
        let mut lost: u64 = 0;
        if !self.has_room(span.len()) {
            if !self.can_make_room(span.len(), importance) {
                return 1;
            }
            while !self.has_room(span.len()) && self.evict_below(importance) {
                lost = lost.saturating_add(1);
            }
        }
        self.bytes = self.bytes.saturating_add(span.len());
        self.spans = self.spans.saturating_add(1);
        match self.batches.back_mut() {
            Some(batch)
                if batch.spans < self.caps.batch_spans
                    && batch.bytes.saturating_add(span.len()) <= self.caps.batch_bytes =>
            {
                batch.push(span, importance);
            }
            _ => {
                let mut batch = Filling::default();
                batch.push(span, importance);
                self.batches.push_back(batch);
            }
        }
        lost
    }

    fn has_room(&self, length: usize) -> bool {
        self.spans < self.caps.spans && self.bytes.saturating_add(length) <= self.caps.bytes
    }

    /// Whether there would be room without all that matters less.
    fn can_make_room(&self, length: usize, importance: Importance) -> bool {
        let less = self.batches.iter().flat_map(|batch| batch.lanes.iter().take(importance as usize));
        let (spans, bytes) = less.fold((0_usize, 0_usize), |(spans, bytes), lane| {
            (spans.saturating_add(lane.lengths.len()), bytes.saturating_add(lane.bytes.len()))
        });
        let kept = self.spans.saturating_sub(u32::try_from(spans).unwrap_or(u32::MAX));
        kept < self.caps.spans && self.bytes.saturating_sub(bytes).saturating_add(length) <= self.caps.bytes
    }

    /// Lets the newest of the spans go that matter least, if they matter less than `importance`.
    fn evict_below(&mut self, importance: Importance) -> bool {
        for lane in 0..importance as usize {
            let evicted = self.batches.iter_mut().enumerate().rev().find_map(|(at, batch)| {
                let length = batch.evict(lane)?;
                Some((at, length, batch.spans == 0))
            });
            let Some((at, length, is_empty)) = evicted else { continue };
            if is_empty {
                self.batches.remove(at);
            }
            self.spans = self.spans.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(length);
            return true;
        }
        false
    }

    /// Takes the oldest batch, full or not.
    pub(super) fn pop(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.spans = self.spans.saturating_sub(batch.spans);
        self.bytes = self.bytes.saturating_sub(batch.bytes);
        Some(batch.seal())
    }

    /// Spans waiting.
    pub(super) const fn len(&self) -> u32 {
        self.spans
    }

    /// Bytes of the spans waiting.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether little room is left: less than a fifth, of spans or of bytes.
    pub(super) const fn is_nearly_full(&self) -> bool {
        self.spans >= self.caps.spans.saturating_sub(self.caps.spans / 5)
            || self.bytes >= self.caps.bytes.saturating_sub(self.caps.bytes / 5)
    }

    /// Whether the oldest batch takes no more: another has been begun behind it, or it has all that it may have.
    pub(super) fn has_full_batch(&self) -> bool {
        self.batches.len() > 1
            || self
                .batches
                .front()
                .is_some_and(|batch| batch.spans >= self.caps.batch_spans || batch.bytes >= self.caps.batch_bytes)
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
        let mut queue = Queue::new(Caps { spans: 3, bytes: 1_000, batch_spans: 2, batch_bytes: 1_000 });
        assert_eq!([b"a", b"b", b"c", b"d"].map(|span| queue.push(span, OwnTrace)), [0, 0, 0, 1]);
        assert!(queue.has_full_batch());
        let first = queue.pop().unwrap();
        assert_eq!((first.bytes.as_slice(), first.spans), (&b"ab"[..], 2));
        assert!(!queue.has_full_batch());
        assert_eq!(queue.push(b"e", OwnTrace), 0);
        let second = queue.pop().unwrap();
        assert_eq!((second.bytes.as_slice(), second.spans), (&b"ce"[..], 2));
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
        assert!(queue.pop().is_none());
    }

    #[test]
    fn what_matters_less_makes_room() {
        let mut queue = Queue::new(Caps { spans: 4, bytes: 1_000, batch_spans: 2, batch_bytes: 1_000 });
        let mut lost = |span: &[u8], importance| queue.push(span, importance);
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
    fn one_large_span_may_cost_several_small_ones() {
        let mut queue = Queue::new(Caps { spans: 100, bytes: 6, batch_spans: 10, batch_bytes: 100 });
        for span in [b"aa", b"bb", b"cc"] {
            assert_eq!(queue.push(span, OwnTrace), 0);
        }
        assert_eq!(queue.push(b"ddd", ErrorOrSlow), 2);
        assert_eq!(queue.push(b"eeeeee", SampledByParent), 1, "the last of our own would not be enough: it stays");
        assert_eq!(bytes_of(&mut queue).as_deref(), Some("dddaa"), "what matters most stands first");
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }

    #[test]
    fn bytes_fill_a_queue_too() {
        let caps = Caps { spans: 100, bytes: 5, batch_spans: 2, batch_bytes: 100 };
        let mut queue = Queue::new(caps);
        assert_eq!(queue.push(b"aaa", OwnTrace) + queue.push(b"bb", OwnTrace), 0);
        assert_eq!(queue.push(b"c", OwnTrace), 1, "five bytes wait");
        assert!(queue.pop().is_some());
        assert_eq!(queue.push(b"ccccc", OwnTrace), 0, "what has left makes room");
        assert_eq!(queue.push(b"d", OwnTrace), 1);
        assert_eq!(queue.push(b"eeeeee", ErrorOrSlow), 1, "a span that never fits costs no other");
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_batch_comes_apart_between_spans() {
        let mut bytes = Vec::new();
        for length in [3_usize, 200, 0, 1, 70] {
            crate::protobuf::put_bytes(&mut bytes, 2, &vec![9; length]);
        }
        let whole = Batch { bytes, spans: 5 };
        let [one, other] = whole.clone().halves().unwrap();
        assert_eq!((one.spans, other.spans), (2, 3));
        assert_eq!(one.bytes.len(), 5 + 203);
        assert_eq!([one.bytes, other.bytes.clone()].concat(), whole.bytes);
        let [single, pair] = other.halves().unwrap();
        assert_eq!((single.spans, pair.spans), (1, 2));
        assert!(single.halves().is_none(), "one span is not cut");
    }

    #[test]
    fn bytes_close_a_batch_too() {
        let mut queue = Queue::new(Caps { spans: 100, bytes: 100, batch_spans: 10, batch_bytes: 4 });
        assert!(queue.push(b"aaa", OwnTrace) == 0 && !queue.has_full_batch());
        assert!(queue.push(b"bb", OwnTrace) == 0 && queue.has_full_batch(), "the first takes no more");
        assert_eq!(bytes_of(&mut queue).as_deref(), Some("aaa"));
        assert!(!queue.has_full_batch());
        assert!(queue.push(b"cc", OwnTrace) == 0 && queue.has_full_batch(), "exactly full");
        assert_eq!(queue.push(b"dddddd", OwnTrace), 0, "one span may be larger than a batch");
        assert_eq!(bytes_of(&mut queue).as_deref(), Some("bbcc"));
        assert_eq!(bytes_of(&mut queue).as_deref(), Some("dddddd"));
    }
}
