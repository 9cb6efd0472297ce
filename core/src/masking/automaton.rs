//! The automaton that `build.rs` made of all triggers: which detectors could find something in a text, told in one
//! pass over it.

use super::detector::Detectors;
use super::fold::Cursor;

#[allow(clippy::unreadable_literal, reason = "written by a program, for a program")]
mod table {
    include!(concat!(env!("OUT_DIR"), "/automaton.rs"));
}
use table::{ACCEPTS, CLASSES, FIRST_ACCEPTING, TRANSITIONS};

/// Where the automaton is.
#[derive(Clone, Copy)]
struct State(u8);

impl State {
    const START: Self = Self(0);

    #[inline]
    fn next(self, byte: u8) -> Self {
        let class = CLASSES.get(usize::from(byte)).copied().unwrap_or(0);
        // Every state and class has a slot: the table was written so.
        let slot = usize::from(self.0) << 6 | usize::from(class);
        Self(TRANSITIONS.get(slot).copied().unwrap_or(0))
    }

    #[inline]
    fn accepts(self) -> u32 {
        match self.0.checked_sub(FIRST_ACCEPTING) {
            None => 0,
            Some(place) => ACCEPTS.get(usize::from(place)).copied().unwrap_or(0),
        }
    }
}

/// The detectors whose triggers stand in `text`, read byte by byte.
pub(super) fn triggered(text: &[u8]) -> Detectors {
    let mut state = State::START;
    let mut bits = 0;
    for byte in text {
        state = state.next(*byte);
        if state.0 >= FIRST_ACCEPTING {
            bits |= state.accepts();
        }
    }
    Detectors::from_bits(bits)
}

/// The detectors whose triggers stand in a text as `cursor` reads it.
pub(super) fn triggered_in(mut cursor: Cursor<'_>) -> Detectors {
    let mut state = State::START;
    let mut bits = 0;
    while let Some(byte) = cursor.next_in_loop() {
        state = state.next(byte);
        bits |= state.accepts();
    }
    Detectors::from_bits(bits)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::config::Detector;

    #[test]
    fn triggers_are_told_apart() {
        let table: &[(&str, &[Detector])] = &[
            ("", &[]),
            ("/api/v1/users/42?page=3&sort=name", &[]),
            ("1700000000", &[]),
            ("eyJhbGciOiJI", &[Detector::Jwt]),
            ("xoxb-1", &[Detector::SlackToken]),
            ("a@b eyJhbGciOiJI", &[Detector::Email, Detector::Jwt]),
        ];
        for (text, expected) in table {
            let expected = expected.iter().fold(Detectors::NONE, |all, one| all.with(*one));
            assert_eq!(triggered(text.as_bytes()), expected, "{text}");
            assert_eq!(triggered_in(Cursor::new(text.as_bytes(), 0)), expected, "{text}");
        }
    }

    #[test]
    fn the_table_is_small() {
        let size = size_of_val(&TRANSITIONS) + size_of_val(&ACCEPTS);
        assert!(size < 20 << 10, "{size} bytes of the module");
    }
}
