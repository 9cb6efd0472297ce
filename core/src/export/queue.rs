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

/// A first-in, first-out queue with a cap. Spans are appended to the last batch, so nothing is moved again until
/// a batch is sent.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    batches: VecDeque<Batch>,
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

impl Queue {
    pub(super) fn new(caps: Caps) -> Self {
        Self { batches: VecDeque::new(), spans: 0, bytes: 0, caps }
    }

    /// Appends a span, or refuses: a full queue drops the newest.
    pub(super) fn push(&mut self, span: &[u8]) -> bool {
        let bytes = self.bytes.saturating_add(span.len());
        if self.spans >= self.caps.spans || bytes > self.caps.bytes {
            return false;
        }
        self.bytes = bytes;
        self.spans = self.spans.saturating_add(1);
        match self.batches.back_mut() {
            Some(batch)
                if batch.spans < self.caps.batch_spans
                    && batch.bytes.len().saturating_add(span.len()) <= self.caps.batch_bytes =>
            {
                batch.bytes.extend_from_slice(span);
                batch.spans = batch.spans.saturating_add(1);
            }
            _ => self.batches.push_back(Batch { bytes: span.to_vec(), spans: 1 }),
        }
        true
    }

    /// Takes the oldest batch, full or not.
    pub(super) fn pop(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.spans = self.spans.saturating_sub(batch.spans);
        self.bytes = self.bytes.saturating_sub(batch.bytes.len());
        Some(batch)
    }

    /// Spans waiting.
    pub(super) const fn len(&self) -> u32 {
        self.spans
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
                .is_some_and(|batch| batch.spans >= self.caps.batch_spans || batch.bytes.len() >= self.caps.batch_bytes)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_full_queue_refuses_the_newest() {
        let mut queue = Queue::new(Caps { spans: 3, bytes: 1_000, batch_spans: 2, batch_bytes: 1_000 });
        assert!(queue.push(b"a") && queue.push(b"b") && queue.push(b"c"));
        assert!(!queue.push(b"d"));
        assert!(queue.has_full_batch());
        let first = queue.pop().unwrap();
        assert_eq!((first.bytes.as_slice(), first.spans), (&b"ab"[..], 2));
        assert!(!queue.has_full_batch());
        assert!(queue.push(b"e"));
        let second = queue.pop().unwrap();
        assert_eq!((second.bytes.as_slice(), second.spans), (&b"ce"[..], 2));
        assert_eq!(queue.len(), 0);
        assert!(queue.pop().is_none());
    }

    #[test]
    fn bytes_fill_a_queue_too() {
        let caps = Caps { spans: 100, bytes: 5, batch_spans: 2, batch_bytes: 100 };
        let mut queue = Queue::new(caps);
        assert!(queue.push(b"aaa") && queue.push(b"bb"));
        assert!(!queue.push(b"c"), "five bytes wait");
        assert!(queue.pop().is_some());
        assert!(queue.push(b"ccccc") && !queue.push(b"d"), "what has left makes room");
        assert!(!Queue::new(caps).push(b"eeeeee"), "a span that never fits");
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
        assert!(queue.push(b"aaa") && !queue.has_full_batch());
        assert!(queue.push(b"bb") && queue.has_full_batch(), "the first takes no more");
        assert_eq!(queue.pop().map(|batch| batch.bytes).as_deref(), Some(&b"aaa"[..]));
        assert!(!queue.has_full_batch());
        assert!(queue.push(b"cc") && queue.has_full_batch(), "exactly full");
        assert!(queue.push(b"dddddd"), "one span may be larger than a batch");
        assert_eq!(queue.pop().map(|batch| batch.bytes).as_deref(), Some(&b"bbcc"[..]));
        assert_eq!(queue.pop().map(|batch| batch.bytes).as_deref(), Some(&b"dddddd"[..]));
    }
}
