//! Random ids.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng};

use super::{SpanId, TraceId};

/// Makes random ids from a seed (OpenTelemetry specification, Trace SDK, "Id Generators"; W3C Trace Context Level 2
/// §3.2.2.5 "random-trace-id": at least the right-most 7 bytes are random; here all 16 are).
///
/// xoshiro256++: fast, and with 256 bits of state the streams of a fleet's workers do not meet. Ids are not secrets.
#[derive(Clone, Debug)]
pub struct IdGenerator(Xoshiro256PlusPlus);

impl IdGenerator {
    /// From 32 random bytes.
    #[inline]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(Xoshiro256PlusPlus::from_seed(seed))
    }

    /// A new trace id.
    pub fn trace_id(&mut self) -> TraceId {
        loop {
            let high = u128::from(self.0.next_u64()) << 64;
            // Zero comes once in 2^128 draws, and never twice in a row: the loop ends.
            if let Some(id) = TraceId::new(high | u128::from(self.0.next_u64())) {
                return id;
            }
        }
    }

    /// A new span id.
    pub fn span_id(&mut self) -> SpanId {
        loop {
            if let Some(id) = SpanId::new(self.0.next_u64()) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn the_seed_decides() {
        let ids = |seed| {
            let mut generator = IdGenerator::from_seed([seed; 32]);
            (generator.trace_id(), generator.span_id(), generator.trace_id())
        };
        assert_eq!(ids(1), ids(1));
        assert_ne!(ids(1), ids(2));
        assert_ne!(ids(1).0, ids(1).2);
        // A seed of zeros is the one state that xoshiro cannot leave; the library avoids it.
        assert_ne!(ids(0).0, ids(0).2);
    }
}
