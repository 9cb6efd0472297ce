//! What the filter is to come to, and which rows of the table say so.

use crate::variant::Variant;

/// What one variant adds in CPU time, over what another adds.
#[derive(Debug, PartialEq)]
pub(crate) struct Comparison {
    pub(crate) name: &'static str,
    pub(crate) above: Variant,
    pub(crate) below: Variant,
    /// The ratio is to be no more than this,
    pub(crate) mark: f64,
    /// and at best this.
    pub(crate) hope: f64,
}

/// The ratios that have a mark.
pub(crate) static COMPARISONS: [Comparison; 5] = [
    Comparison {
        name: "100 % sampled, against the native tracer at 100 %",
        above: Variant::MESHSPAN,
        below: Variant::NATIVE,
        mark: 1.0,
        hope: 0.6,
    },
    Comparison {
        name: "1 % sampled, against the native tracer at 1 %",
        above: Variant::MESHSPAN_ONE_PERCENT,
        below: Variant::NATIVE_ONE_PERCENT,
        mark: 1.5,
        hope: 1.0,
    },
    Comparison {
        name: "parent says no, against the native tracer at 1 %",
        above: Variant::MESHSPAN_PARENT,
        below: Variant::NATIVE_ONE_PERCENT,
        mark: 1.5,
        hope: 1.0,
    },
    Comparison {
        name: "metrics + spans at 100 %, against the native tracer at 100 %",
        above: Variant::MESHSPAN_METRICS,
        below: Variant::NATIVE,
        mark: 1.2,
        hope: 0.8,
    },
    Comparison {
        name: "three signals, against the native tracer at 100 % with Envoy's OTLP access log",
        above: Variant::MESHSPAN_ALL,
        below: Variant::NATIVE_LOGS,
        mark: 1.0,
        hope: 0.7,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compared_is_measured() {
        for Comparison { name, above, below, mark, hope } in &COMPARISONS {
            assert!(Variant::TRACERS.contains(above) && Variant::TRACERS.contains(below), "{name}");
            assert!(hope < mark, "{name}");
        }
    }
}
