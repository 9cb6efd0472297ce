//! What a caller said about sampling. "Not sampled" and "nothing said yet" are different things.

/// The sampling decision that came with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParentDecision {
    /// The caller recorded its span and asks for ours (W3C `sampled`, B3 `1`).
    Sampled,
    /// The caller asks for this very trace to be looked at (B3 `d`, Jaeger debug). To a sampler it is `Sampled`; it
    /// goes on as debug where it is sampled.
    Debug,
    /// The caller decided against recording (W3C flag unset, B3 `0`).
    NotSampled,
    /// The caller passed ids on and left the decision to us (B3 with no sampling state).
    Deferred,
}

impl ParentDecision {
    /// `true` for [`Sampled`](Self::Sampled) and [`Debug`](Self::Debug).
    pub const fn is_sampled(self) -> bool {
        matches!(self, Self::Sampled | Self::Debug)
    }
}
