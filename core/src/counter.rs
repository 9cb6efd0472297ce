//! What the filter counts about itself. Increments are kept here and handed to the host in one go at the tick, so
//! that counting costs a request nothing but an addition.

use std::borrow::Cow;

use crate::propagation::{Format, MalformedReason};
use crate::sampling::SamplerKind;

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $variant:ident => $name:literal,)*) => {
        /// One counter. A closed set, so no traffic can add a series.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Counter {
            /// All of them, in the order of their discriminants.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant,)*];

            /// The metric's name, in Prometheus' spelling.
            pub const fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name,)* }
            }
        }

        /// How many counters there are.
        const COUNT: usize = Counter::ALL.len();
    };
}

counters! {
    /// Streams seen, recorded or not.
    Streams => "meshspan_streams_total",
    /// Streams of which only the end was seen (local replies, protocol errors).
    StreamsLogOnly => "meshspan_streams_log_only_total",
    /// Spans that were recorded; counted when their stream ends.
    SpansStarted => "meshspan_spans_started_total",
    /// Requests that the sampler decided against.
    SpansNotSampled => "meshspan_spans_not_sampled_total",
    /// Streams that cannot be kept in the end, because there was no room to hold their request's headers.
    KeepNoRoom => "meshspan_keep_no_room_total",
    /// Streams that cannot be logged in the end, because there was no room to hold their request's headers.
    LogsNoRoom => "meshspan_logs_no_room_total",
    /// Lines of JSON that were not written because too many were in the same second.
    LogLinesDropped => "meshspan_log_lines_dropped_total",
    /// Attributes left out of log records for the logger's own limits.
    LogAttributesDropped => "meshspan_log_attributes_dropped_total",
    /// Requests of a remote sampler that were not answered, or not with 200.
    SamplingRemoteFailed => "meshspan_sampling_remote_failed_total",
    /// Answers to a remote sampler that could not be used.
    SamplingRemoteMalformed => "meshspan_sampling_remote_malformed_total",
    /// `traceresponse` headers of upstreams that could not be read.
    TraceResponseMalformed => "meshspan_traceresponse_malformed_total",
    /// Decisions of a remote sampler about operations that have no lower bound, because there are too many operations.
    SamplingRemoteOperationsOverLimit => "meshspan_sampling_remote_operations_over_limit_total",
    /// Decisions by the randomness of a caller's trace id that nobody says is random.
    SamplingPresumedRandom => "meshspan_sampling_presumed_random_total",
    /// Decisions of `trace_id_ratio_based` about traces that callers began.
    SamplingRatioBelowParent => "meshspan_sampling_ratio_below_parent_total",
    /// Recorded spans whose stream went away without a log callback.
    SpansDroppedNoLog => "meshspan_spans_dropped_no_log_total",
    /// Attributes left out because a span was at its limit.
    AttributesDropped => "meshspan_attributes_dropped_total",
    /// Attributes cut because all of a span's together were at their cap in bytes.
    AttributesTruncated => "meshspan_attributes_truncated_total",
    /// Masked values that no other counter counts, because there were too many kinds of them.
    MaskingUncounted => "meshspan_masking_uncounted_total",
    /// Measurements that went to an overflow series of an OTLP reader, because their metric was at its cap.
    MetricsOtlpOverflowed => "meshspan_metrics_otlp_overflowed_total",
    /// Measurements that went to an overflow series, because a metric had as many series as it may.
    MetricsOverflowed => "meshspan_metrics_overflowed_total",
    /// Values of histograms that were given up, because the host does not take them.
    MetricsValuesLost => "meshspan_metrics_values_lost_total",
    /// Parents taken from `traceparent`.
    ExtractedTraceContext => "meshspan_propagation_extracted_tracecontext_total",
    /// Parents taken from `b3`.
    ExtractedB3 => "meshspan_propagation_extracted_b3_total",
    /// Parents taken from the `x-b3-*` headers.
    ExtractedB3Multi => "meshspan_propagation_extracted_b3multi_total",
    /// Parents taken from `uber-trace-id`.
    ExtractedJaeger => "meshspan_propagation_extracted_jaeger_total",
    /// Host calls that did not answer Ok where Ok was needed.
    HostCallsFailed => "meshspan_host_calls_failed_total",
    /// Header maps from the host that could not be read.
    HeaderMapsMalformed => "meshspan_header_maps_malformed_total",
}

/// One series to count: a plain counter, or one of the closed set of what can be wrong with a trace header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// A plain counter.
    Counter(Counter),
    /// A header that was malformed, by format and reason.
    Malformed(Format, MalformedReason),
    /// A sampler's decisions, by sampler and by whether it was to sample.
    Decision(SamplerKind, bool),
}

impl Series {
    /// How many series there can be.
    pub const COUNT: usize = COUNT + Format::COUNT * MalformedReason::COUNT + DECISIONS;

    /// A number below [`COUNT`](Self::COUNT), the same for the same series.
    pub const fn index(self) -> usize {
        match self {
            Self::Counter(counter) => counter as usize,
            Self::Malformed(format, reason) => malformed_index(format, reason).saturating_add(COUNT),
            Self::Decision(kind, sampled) => {
                decision_index(kind, sampled).saturating_add(COUNT + Format::COUNT * MalformedReason::COUNT)
            }
        }
    }

    /// The metric's name, in Prometheus' spelling.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Self::Counter(counter) => Cow::Borrowed(counter.name()),
            Self::Malformed(format, reason) => {
                let (format, reason) = (format.as_str(), reason.as_str());
                Cow::Owned(format!("meshspan_propagation_malformed_{format}_{reason}_total"))
            }
            Self::Decision(kind, sampled) => {
                let outcome = if sampled { "sampled" } else { "dropped" };
                Cow::Owned(format!("meshspan_sampling_{}_{outcome}_total", kind.as_str()))
            }
        }
    }
}

const fn malformed_index(format: Format, reason: MalformedReason) -> usize {
    (format as usize).saturating_mul(MalformedReason::COUNT).saturating_add(reason as usize)
}

/// How many series of decisions there are.
const DECISIONS: usize = SamplerKind::COUNT * 2;

const fn decision_index(kind: SamplerKind, sampled: bool) -> usize {
    (kind as usize).saturating_mul(2).saturating_add(sampled as usize)
}

/// Increments not yet handed to the host.
#[derive(Clone, Debug)]
pub struct Counters {
    pending: [u64; COUNT],
    malformed: [u64; Format::COUNT * MalformedReason::COUNT],
    decisions: [u64; DECISIONS],
}

impl Default for Counters {
    fn default() -> Self {
        Self { pending: [0; COUNT], malformed: [0; Format::COUNT * MalformedReason::COUNT], decisions: [0; DECISIONS] }
    }
}

impl Counters {
    /// Counts `by` more.
    pub fn add(&mut self, counter: Counter, by: u64) {
        if let Some(pending) = self.pending.get_mut(counter as usize) {
            *pending = pending.saturating_add(by);
        }
    }

    /// Counts one more.
    pub fn increment(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Counts one more malformed header.
    pub fn increment_malformed(&mut self, format: Format, reason: MalformedReason) {
        self.add_series(Series::Malformed(format, reason), 1);
    }

    /// Counts one more decision of a sampler.
    pub fn increment_decision(&mut self, kind: SamplerKind, sampled: bool) {
        self.add_series(Series::Decision(kind, sampled), 1);
    }

    /// Counts `by` more of any series: what was taken and could not be handed over comes back this way.
    pub fn add_series(&mut self, series: Series, by: u64) {
        match series {
            Series::Counter(counter) => self.add(counter, by),
            Series::Malformed(format, reason) => {
                if let Some(pending) = self.malformed.get_mut(malformed_index(format, reason)) {
                    *pending = pending.saturating_add(by);
                }
            }
            Series::Decision(kind, sampled) => {
                if let Some(pending) = self.decisions.get_mut(decision_index(kind, sampled)) {
                    *pending = pending.saturating_add(by);
                }
            }
        }
    }

    /// What has been counted and not yet taken.
    pub fn pending(&self, counter: Counter) -> u64 {
        self.pending.get(counter as usize).copied().unwrap_or(0)
    }

    /// Takes every increment that is not zero.
    pub fn take(&mut self) -> impl Iterator<Item = (Series, u64)> {
        let taken = core::mem::take(self);
        let malformed = Format::ALL
            .iter()
            .flat_map(|format| MalformedReason::ALL.iter().map(|reason| Series::Malformed(*format, *reason)));
        let plain = Counter::ALL.iter().map(|counter| Series::Counter(*counter));
        let decisions = SamplerKind::ALL
            .iter()
            .flat_map(|sampler| [false, true].map(|sampled| Series::Decision(*sampler, sampled)));
        let all = plain.zip(taken.pending).chain(malformed.zip(taken.malformed)).chain(decisions.zip(taken.decisions));
        all.filter(|(_, by)| *by > 0)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn names_are_prometheus_counters_and_unique() {
        let mut counters = Counters::default();
        for counter in Counter::ALL {
            counters.increment(*counter);
        }
        for format in Format::ALL {
            for reason in MalformedReason::ALL {
                counters.increment_malformed(*format, *reason);
            }
        }
        for sampler in SamplerKind::ALL {
            counters.increment_decision(*sampler, false);
            counters.increment_decision(*sampler, true);
        }
        let series: Vec<_> = counters.take().map(|(series, _)| series).collect();
        let indices: Vec<_> = series.iter().map(|series| series.index()).collect();
        assert_eq!(indices, (0..Series::COUNT).collect::<Vec<_>>());
        let mut names: Vec<_> = series.iter().map(|series| series.name()).collect();
        for name in &names {
            assert!(name.starts_with("meshspan_") && name.ends_with("_total"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'));
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Series::COUNT);
    }

    #[test]
    fn what_is_taken_is_gone() {
        let mut counters = Counters::default();
        counters.add(Counter::SpansStarted, 2);
        counters.increment(Counter::SpansStarted);
        assert_eq!(counters.take().collect::<Vec<_>>(), [(Series::Counter(Counter::SpansStarted), 3)]);
        assert_eq!(counters.take().count(), 0);
    }
}
