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

/// A first-in, first-out queue with a cap. Spans are appended to the last batch, so nothing is moved again until
/// a batch is sent.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    batches: VecDeque<Batch>,
    spans: u32,
    max_spans: u32,
    max_batch: u32,
}

impl Queue {
    /// Of at most `max_spans`, in batches of at most `max_batch`.
    pub(super) fn new(max_spans: u32, max_batch: u32) -> Self {
        Self { batches: VecDeque::new(), spans: 0, max_spans, max_batch: max_batch.max(1) }
    }

    /// Appends a span, or refuses: a full queue drops the newest.
    pub(super) fn push(&mut self, span: &[u8]) -> bool {
        if self.spans >= self.max_spans {
            return false;
        }
        self.spans = self.spans.saturating_add(1);
        match self.batches.back_mut() {
            Some(batch) if batch.spans < self.max_batch => {
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
        Some(batch)
    }

    /// Spans waiting.
    pub(super) const fn len(&self) -> u32 {
        self.spans
    }

    /// Whether the oldest batch has all the spans that it may have.
    pub(super) fn has_full_batch(&self) -> bool {
        self.batches.front().is_some_and(|batch| batch.spans >= self.max_batch)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_full_queue_refuses_the_newest() {
        let mut queue = Queue::new(3, 2);
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
}
