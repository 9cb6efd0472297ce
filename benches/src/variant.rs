//! What is compared: one Envoy each, alike but for what it does with a request, and what is sent to it.

use crate::proxy::{MetricsWay, Proxy, Settings};
use crate::sampler::Sampler;

/// A way to run Envoy under a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Variant {
    pub(crate) proxy: Proxy,
    pub(crate) request: RequestKind,
}

/// What its requests are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// As a browser's, without a trace context.
    Plain,
    /// The same, with a `traceparent` that says that the caller did not sample.
    UnsampledParent,
    /// With so many header lines in all, `traceparent` not among them.
    Lines(usize),
}

/// What a variant's collector has to have got at the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Expected {
    /// The share of requests that make a span, 0 to 1.
    pub(crate) spans: f64,
    /// Whether that share is an upper bound only.
    pub(crate) at_most: bool,
    /// Whether each request makes a log record.
    pub(crate) logs: bool,
    /// How each request is counted in `http.server.request.duration`, where it is.
    pub(crate) metrics: Option<MetricsWay>,
}

impl Variant {
    const fn plain(proxy: Proxy) -> Self {
        Self { proxy, request: RequestKind::Plain }
    }

    const fn unsampled_parent(proxy: Proxy) -> Self {
        Self { proxy, request: RequestKind::UnsampledParent }
    }

    /// No tracing at all. All others with the same requests are measured against it.
    pub(crate) const FILTERLESS: Self = Self::plain(Proxy::Filterless);
    /// The filter that does nothing.
    pub(crate) const EMPTY: Self = Self::plain(Proxy::EmptyFilter);
    /// The native tracer, everything sampled.
    pub(crate) const NATIVE: Self = Self::plain(Proxy::Native { percent: 100.0, access_log: false });
    /// The same at 1 %.
    pub(crate) const NATIVE_ONE_PERCENT: Self = Self::plain(Proxy::Native { percent: 1.0, access_log: false });
    /// The native tracer whose parents say no.
    pub(crate) const NATIVE_PARENT: Self = Self::unsampled_parent(Proxy::Native { percent: 100.0, access_log: false });
    /// The native tracer, everything sampled, and Envoy's OTLP access log.
    pub(crate) const NATIVE_LOGS: Self = Self::plain(Proxy::Native { percent: 100.0, access_log: true });
    /// The filter, everything sampled.
    pub(crate) const MESHSPAN: Self = Self::plain(Proxy::Meshspan(Settings::TRACES));
    /// The same at 1 %.
    pub(crate) const MESHSPAN_ONE_PERCENT: Self =
        Self::plain(Proxy::Meshspan(Settings { percent: Some(1.0), ..Settings::NOTHING }));
    /// The filter whose parents say no.
    pub(crate) const MESHSPAN_PARENT: Self = Self::unsampled_parent(Proxy::Meshspan(Settings::TRACES));
    /// The lean module at 1 %.
    pub(crate) const LEAN_ONE_PERCENT: Self =
        Self::plain(Proxy::Meshspan(Settings { percent: Some(1.0), lean: true, ..Settings::NOTHING }));
    /// The lean module whose parents say no.
    pub(crate) const LEAN_PARENT: Self =
        Self::unsampled_parent(Proxy::Meshspan(Settings { lean: true, ..Settings::TRACES }));
    /// The filter with metrics, and everything sampled.
    pub(crate) const MESHSPAN_METRICS: Self =
        Self::plain(Proxy::Meshspan(Settings { metrics: Some(MetricsWay::Otlp), ..Settings::TRACES }));
    /// The filter with metrics and logs, and everything sampled.
    pub(crate) const MESHSPAN_ALL: Self =
        Self::plain(Proxy::Meshspan(Settings { metrics: Some(MetricsWay::Otlp), logs: true, ..Settings::TRACES }));

    /// Those of the main table, in its order.
    pub(crate) const TRACERS: &[Self] = &[
        Self::FILTERLESS,
        Self::plain(Proxy::Again),
        Self::EMPTY,
        Self::plain(Proxy::Lua),
        Self::NATIVE,
        Self::plain(Proxy::Zipkin),
        Self::MESHSPAN,
        Self::NATIVE_ONE_PERCENT,
        Self::MESHSPAN_ONE_PERCENT,
        Self::LEAN_ONE_PERCENT,
        Self::unsampled_parent(Proxy::Filterless),
        Self::NATIVE_PARENT,
        Self::MESHSPAN_PARENT,
        Self::LEAN_PARENT,
        Self::plain(Proxy::Meshspan(Settings { metrics: Some(MetricsWay::Prometheus), ..Settings::NOTHING })),
        Self::plain(Proxy::Meshspan(Settings { metrics: Some(MetricsWay::Otlp), ..Settings::NOTHING })),
        Self::plain(Proxy::Meshspan(Settings { logs: true, ..Settings::NOTHING })),
        Self::MESHSPAN_METRICS,
        Self::NATIVE_LOGS,
        Self::MESHSPAN_ALL,
    ];

    /// Those of the table of samplers, in its order.
    pub(crate) fn samplers() -> Vec<Self> {
        Sampler::ALL.iter().map(|sampler| Self::plain(Proxy::Sampler(*sampler))).collect()
    }

    const fn lines(proxy: Proxy, lines: usize) -> Self {
        Self { proxy, request: RequestKind::Lines(lines) }
    }

    /// The filter with so many header lines; everything sampled, or nothing.
    pub(crate) const fn with_lines(lines: usize, sampled: bool) -> Self {
        let percent = if sampled { 100.0 } else { 0.0 };
        Self::lines(Proxy::Meshspan(Settings { percent: Some(percent), ..Settings::NOTHING }), lines)
    }

    /// The filter with 50 header lines, of which so many become attributes.
    pub(crate) const fn with_captured(captured: usize) -> Self {
        Self::lines(Proxy::Meshspan(Settings { captured, ..Settings::TRACES }), 50)
    }

    /// The filter with so many route templates.
    pub(crate) const fn with_routes(routes: usize) -> Self {
        Self::lines(Proxy::Meshspan(Settings { routes, ..Settings::TRACES }), 10)
    }

    /// Those of the table of growth, in its order.
    pub(crate) fn growth() -> Vec<Self> {
        let lines = [5, 10, 20, 50];
        let mut variants = vec![Self::lines(Proxy::Filterless, 5), Self::lines(Proxy::Again, 5)];
        variants.extend(lines.iter().skip(1).map(|lines| Self::lines(Proxy::Filterless, *lines)));
        variants.extend(lines.map(|lines| Self::with_lines(lines, false)));
        variants.extend(lines.map(|lines| Self::with_lines(lines, true)));
        variants.extend([10, 20, 40].map(Self::with_captured));
        variants.extend([1, 100, 10_000].map(Self::with_routes));
        variants
    }

    /// Whether it is the first one over again, so that any difference is the method's.
    pub(crate) fn is_control(self) -> bool {
        matches!(self.proxy, Proxy::Again | Proxy::Sampler(Sampler::AlwaysOffAgain))
    }

    /// Whether others with the same requests are measured against it.
    pub(crate) fn is_base(self) -> bool {
        matches!(self.proxy, Proxy::Filterless | Proxy::Sampler(Sampler::AlwaysOff))
    }

    /// Where among these the one stands that `variants[index]` is measured against; none for that one itself.
    pub(crate) fn base_of(variants: &[Self], index: usize) -> Option<usize> {
        let variant = variants.get(index)?;
        let base = variants.iter().position(|base| base.is_base() && base.request == variant.request)?;
        (base != index).then_some(base)
    }

    /// Its name in tables.
    pub(crate) fn name(self) -> String {
        let proxy = self.proxy.name();
        match self.request {
            RequestKind::Plain => proxy,
            RequestKind::UnsampledParent => match self.proxy {
                Proxy::Filterless => format!("{proxy}; parent says no"),
                Proxy::Native { .. } => "native tracer, parent says no".to_owned(),
                Proxy::Meshspan(Settings { lean: true, .. }) => "meshspan, lean module, parent says no".to_owned(),
                _ => "meshspan, parent says no".to_owned(),
            },
            RequestKind::Lines(lines) => format!("{proxy}; {lines} headers"),
        }
    }

    /// What its collector has to get.
    pub(crate) fn expected(self) -> Expected {
        let mut expected = self.proxy.expected();
        if self.request == RequestKind::UnsampledParent {
            expected.spans = 0.0;
        }
        expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_measured_against_the_one_with_its_requests() {
        for variants in [Variant::TRACERS.to_vec(), Variant::growth()] {
            for (index, variant) in variants.iter().enumerate() {
                match Variant::base_of(&variants, index) {
                    Some(base) => assert_eq!(
                        (variants[base].proxy, variants[base].request),
                        (Proxy::Filterless, variant.request),
                        "{}",
                        variant.name()
                    ),
                    None => assert_eq!(variant.proxy, Proxy::Filterless),
                }
            }
        }
        let samplers = Variant::samplers();
        assert_eq!(Variant::base_of(&samplers, 0), None);
        assert!((1..samplers.len()).all(|index| Variant::base_of(&samplers, index) == Some(0)));
    }

    #[test]
    fn names_tell_them_apart() {
        for variants in [Variant::TRACERS.to_vec(), Variant::samplers(), Variant::growth()] {
            let names: std::collections::BTreeSet<_> = variants.iter().map(|variant| variant.name()).collect();
            assert_eq!(names.len(), variants.len(), "{names:#?}");
        }
    }
}
