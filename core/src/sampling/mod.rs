//! Sampling: whether a trace that starts or passes here is recorded. One file a sampler.
//!
//! Source: OpenTelemetry specification, Trace SDK, "Sampling". A sampler sees the trace id and what the parent
//! said; it never sees a clock or a header, so a decision can be replayed from its input alone.

mod parent_based;
mod ratio;

pub use parent_based::ParentBased;
pub use ratio::TraceIdRatioBased;

use crate::config::SamplerConfig;
use crate::trace::{ParentDecision, TraceId};

/// What a sampler decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplingInput {
    /// The trace that the span will belong to.
    pub trace_id: TraceId,
    /// Where the span comes from.
    pub parent: Parent,
}

/// The parent of the span to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// There is none: the trace starts here.
    None,
    /// It came over the wire, with this to say.
    Remote(ParentDecision),
    /// It is another span of this proxy.
    Local {
        /// Whether that span is recorded.
        sampled: bool,
    },
}

/// What a sampler answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// No span is recorded and the `sampled` flag goes out unset.
    Drop,
    /// The span is recorded and the `sampled` flag goes out set.
    RecordAndSample,
}

impl Decision {
    /// `true` when a span is recorded.
    pub const fn is_sampled(self) -> bool {
        matches!(self, Self::RecordAndSample)
    }
}

/// A configured sampler.
#[derive(Clone, Debug, PartialEq)]
pub enum Sampler {
    /// `always_on`.
    AlwaysOn,
    /// `always_off`.
    AlwaysOff,
    /// `trace_id_ratio_based`.
    TraceIdRatioBased(TraceIdRatioBased),
    /// `parent_based`.
    ParentBased(Box<ParentBased>),
}

impl Sampler {
    /// The sampler that a checked configuration asks for.
    pub fn new(config: &SamplerConfig) -> Self {
        match config {
            SamplerConfig::AlwaysOn => Self::AlwaysOn,
            SamplerConfig::AlwaysOff => Self::AlwaysOff,
            SamplerConfig::TraceIdRatioBased { ratio } => Self::TraceIdRatioBased(TraceIdRatioBased::new(*ratio)),
            SamplerConfig::ParentBased(branches) => Self::ParentBased(Box::new(ParentBased::new(branches))),
        }
    }

    /// The decision for one span. Deterministic.
    pub fn decide(&self, input: &SamplingInput) -> Decision {
        match self {
            Self::AlwaysOn => Decision::RecordAndSample,
            Self::AlwaysOff => Decision::Drop,
            Self::TraceIdRatioBased(ratio) => ratio.decide(input.trace_id),
            Self::ParentBased(branches) => branches.decide(input),
        }
    }
}
