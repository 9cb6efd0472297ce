//! What may be done with a value that must not leave. Doing it is the logic's.

/// What becomes of a sensitive value. Names stay; values go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// `mask`, the default: a part is shown. What part, the detector knows; of a field's or a pattern's value it is
    /// what [`KeptEnds`] say.
    #[default]
    Mask,
    /// `redact`: `REDACTED` stands in its place.
    Redact,
    /// `hash`: a keyed hash stands in its place, so that equal values can still be found to be equal.
    Hash,
    /// `drop`: the whole attribute is left out.
    Drop,
}

/// How many characters of both ends `mask` keeps of a field's or a pattern's value; by default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptEnds {
    /// `keep_first`
    pub first: u32,
    /// `keep_last`
    pub last: u32,
}

/// An action with all that it needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Treatment {
    /// What is done.
    pub action: Action,
    /// For [`Action::Mask`].
    pub kept: KeptEnds,
}
