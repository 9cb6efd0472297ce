//! Sets of detectors.

use crate::config::Detector;

/// A set of detectors, and whether a text is escaped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detectors(u32);

/// The bits behind the detectors': how the text may read as something else than its bytes.
const PERCENT_ENCODING: u32 = 1 << Detector::COUNT;
const OTHER_CHARACTERS: u32 = PERCENT_ENCODING << 1;
/// And the first part of [`Detector::UrlCredentials`].
const SCHEME: u32 = OTHER_CHARACTERS << 1;

impl Detectors {
    /// No detector.
    pub const NONE: Self = Self(0);

    /// From the automaton's bits.
    pub(super) const fn from_bits(bits: u32) -> Self {
        let set = Self(bits);
        // User and password stand behind `://` and before an `@`.
        if bits & SCHEME != 0 && set.has(Detector::Email) { set.with(Detector::UrlCredentials) } else { set }
    }

    /// The set with `detector` in it.
    #[must_use]
    pub const fn with(self, detector: Detector) -> Self {
        Self(self.0 | 1 << detector as u32)
    }

    /// Whether `detector` is in it.
    pub const fn has(self, detector: Detector) -> bool {
        self.0 & (1 << detector as u32) != 0
    }

    /// Whether any of `other` is in it.
    pub(super) const fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether `detector` is in it and no other.
    pub(super) const fn is_only(self, detector: Detector) -> bool {
        self.0 & (PERCENT_ENCODING - 1) == 1 << detector as u32
    }

    /// Those that are in both.
    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether there is no detector in it.
    pub const fn is_empty(self) -> bool {
        self.0 & (PERCENT_ENCODING - 1) == 0
    }

    /// Whether something in the text may be percent-encoded.
    pub(super) const fn is_percent_encoded(self) -> bool {
        self.0 & PERCENT_ENCODING != 0
    }

    /// Whether there are characters beyond ASCII, or JSON's escapes.
    pub(super) const fn has_other_characters(self) -> bool {
        self.0 & OTHER_CHARACTERS != 0
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::triggers::NAMES;
    use super::*;

    #[test]
    fn every_detector_has_its_own_name() {
        assert_eq!(NAMES[Detector::COUNT..], ["percent_encoding", "other_characters", "scheme"]);
        for (detector, name) in Detector::ALL.iter().zip(NAMES) {
            assert_eq!(detector.name(), name, "the automaton's bits are in the order of the detectors");
        }
    }
}
