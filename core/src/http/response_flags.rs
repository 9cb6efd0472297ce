//! Envoy's response flags: what the proxy itself has to say about how a stream ended.
//!
//! Source: Envoy, `CoreResponseFlag`, whose order is the bit order of the `response.flags` attribute, and "Access
//! logging", `%RESPONSE_FLAGS%` and `%RESPONSE_FLAGS_LONG%`, whose spellings these are.

/// A set of flags, as the `response.flags` attribute gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseFlags(pub u64);

/// What a flag says about the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The stream did not come to its end, or the proxy could not do its work.
    Failure,
    /// The proxy did what it was asked to do.
    Note,
}

/// What kind of thing flags say: few enough to be a metric's attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlagClass {
    /// The upstream could not be reached: no host that is healthy, no connection, no cluster, no address.
    UpstreamUnreachable,
    /// The upstream, or the proxy, broke off a request that was under way.
    UpstreamReset,
    /// The upstream was tried as often as is allowed.
    RetriesExhausted,
    /// Somebody took too long.
    Timeout,
    /// The proxy, or a circuit breaker, takes no more.
    Overload,
    /// A rate limit was reached, or could not be asked about.
    RateLimited,
    /// No route fits.
    NoRoute,
    /// An authorization service said no.
    Unauthorized,
    /// The caller left.
    DownstreamLeft,
    /// The request was none that the proxy takes.
    BadRequest,
    /// A fault was injected.
    FaultInjected,
    /// The answer is from the proxy's cache.
    Cache,
    /// The proxy lacks a part of its configuration.
    Configuration,
    /// A flag that this version does not know.
    Other,
}

impl FlagClass {
    /// The attribute's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamReset => "upstream_reset",
            Self::RetriesExhausted => "retries_exhausted",
            Self::Timeout => "timeout",
            Self::Overload => "overload",
            Self::RateLimited => "rate_limited",
            Self::NoRoute => "no_route",
            Self::Unauthorized => "unauthorized",
            Self::DownstreamLeft => "downstream_left",
            Self::BadRequest => "bad_request",
            Self::FaultInjected => "fault_injected",
            Self::Cache => "cache",
            Self::Configuration => "configuration",
            Self::Other => "other",
        }
    }
}

struct Flag {
    short: &'static str,
    long: &'static str,
    meaning: Meaning,
    class: FlagClass,
}

const fn failure(short: &'static str, long: &'static str, class: FlagClass) -> Flag {
    Flag { short, long, meaning: Meaning::Failure, class }
}

const fn note(short: &'static str, long: &'static str, class: FlagClass) -> Flag {
    Flag { short, long, meaning: Meaning::Note, class }
}

/// By bit.
const FLAGS: &[Flag] = &[
    failure("LH", "FailedLocalHealthCheck", FlagClass::UpstreamUnreachable),
    failure("UH", "NoHealthyUpstream", FlagClass::UpstreamUnreachable),
    failure("UT", "UpstreamRequestTimeout", FlagClass::Timeout),
    failure("LR", "LocalReset", FlagClass::UpstreamReset),
    failure("UR", "UpstreamRemoteReset", FlagClass::UpstreamReset),
    failure("UF", "UpstreamConnectionFailure", FlagClass::UpstreamUnreachable),
    failure("UC", "UpstreamConnectionTermination", FlagClass::UpstreamReset),
    failure("UO", "UpstreamOverflow", FlagClass::Overload),
    failure("NR", "NoRouteFound", FlagClass::NoRoute),
    note("DI", "DelayInjected", FlagClass::FaultInjected),
    note("FI", "FaultInjected", FlagClass::FaultInjected),
    note("RL", "RateLimited", FlagClass::RateLimited),
    note("UAEX", "UnauthorizedExternalService", FlagClass::Unauthorized),
    note("RLSE", "RateLimitServiceError", FlagClass::RateLimited),
    failure("DC", "DownstreamConnectionTermination", FlagClass::DownstreamLeft),
    failure("URX", "UpstreamRetryLimitExceeded", FlagClass::RetriesExhausted),
    failure("SI", "StreamIdleTimeout", FlagClass::Timeout),
    failure("IH", "InvalidEnvoyRequestHeaders", FlagClass::BadRequest),
    failure("DPE", "DownstreamProtocolError", FlagClass::BadRequest),
    failure("UMSDR", "UpstreamMaxStreamDurationReached", FlagClass::Timeout),
    note("RFCF", "ResponseFromCacheFilter", FlagClass::Cache),
    failure("NFCF", "NoFilterConfigFound", FlagClass::Configuration),
    failure("DT", "DurationTimeout", FlagClass::Timeout),
    failure("UPE", "UpstreamProtocolError", FlagClass::UpstreamReset),
    failure("NC", "NoClusterFound", FlagClass::UpstreamUnreachable),
    failure("OM", "OverloadManagerTerminated", FlagClass::Overload),
    failure("DF", "DnsResolutionFailed", FlagClass::UpstreamUnreachable),
    failure("DO", "DropOverload", FlagClass::Overload),
    failure("DR", "DownstreamRemoteReset", FlagClass::DownstreamLeft),
    failure("UDO", "UnconditionalDropOverload", FlagClass::Overload),
];

/// The bit of `ResponseFromCacheFilter`.
const FROM_CACHE: u64 = 1 << 20;

impl ResponseFlags {
    /// Whether a cache filter of this Envoy answered.
    pub const fn is_from_cache(self) -> bool {
        self.0 & FROM_CACHE != 0
    }

    fn set(self) -> impl Iterator<Item = &'static Flag> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            while rest != 0 {
                let bit = rest.trailing_zeros();
                // The lowest of them goes.
                rest &= rest.wrapping_sub(1);
                if let Some(flag) = usize::try_from(bit).ok().and_then(|bit| FLAGS.get(bit)) {
                    return Some(flag);
                }
            }
            None
        })
    }

    /// The short names of the flags that are set (`UF`), in bit order. Bits that this version does not know are
    /// left out.
    pub fn short_names(self) -> impl Iterator<Item = &'static str> {
        self.set().map(|flag| flag.short)
    }

    /// Whether the client left before the end: its connection closed, or it reset the stream.
    pub fn client_left(self) -> bool {
        self.set().any(|flag| matches!(flag.short, "DC" | "DR"))
    }

    /// What kinds of things the flags say, each once.
    pub fn classes(self) -> impl Iterator<Item = FlagClass> {
        let unknown = self.0.checked_shr(u32::try_from(FLAGS.len()).unwrap_or(u32::MAX)).unwrap_or(0) != 0;
        let mut seen: u32 = 0;
        let known = self.set().map(|flag| flag.class);
        known.chain(unknown.then_some(FlagClass::Other)).filter(move |class| {
            let bit = 1_u32.unbounded_shl(*class as u32);
            let is_new = seen & bit == 0;
            seen |= bit;
            is_new
        })
    }

    /// Whether the proxy turned the request away: it takes no more, or there is nobody whom it could ask.
    pub fn rejects(self) -> bool {
        use FlagClass::{NoRoute, Overload, RateLimited};
        let is_refusal = |flag: &Flag| {
            matches!(flag.class, NoRoute | Overload | RateLimited) || matches!(flag.short, "LH" | "UH" | "NC")
        };
        self.set().any(is_refusal)
    }

    /// Whether the upstream may have seen the request: nothing says that it did not.
    pub fn reached_upstream(self) -> bool {
        !self.rejects() && !self.set().any(|flag| matches!(flag.short, "UF" | "DF" | "UAEX" | "NFCF"))
    }

    /// The long name of the first flag that says the stream failed (`UpstreamConnectionFailure`).
    pub fn failure(self) -> Option<&'static str> {
        self.set().find(|flag| flag.meaning == Meaning::Failure).map(|flag| flag.long)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn classes_say_what_happened() {
        let table: &[(u64, &[&str], bool, bool, &str)] = &[
            (0, &[], false, true, "no flag"),
            (1 << 5 | 1 << 15, &["upstream_unreachable", "retries_exhausted"], false, false, "UF, URX"),
            (1 << 5 | 1 << 24, &["upstream_unreachable"], true, false, "UF, NC: one class, once"),
            (1 << 7, &["overload"], true, false, "UO: a circuit breaker"),
            (1 << 1, &["upstream_unreachable"], true, false, "UH"),
            (1 << 11, &["rate_limited"], true, false, "RL"),
            (1 << 4, &["upstream_reset"], false, true, "UR: it had the request"),
            (1 << 2, &["timeout"], false, true, "UT"),
            (1 << 20, &["cache"], false, true, "RFCF"),
            (1 << 14, &["downstream_left"], false, true, "DC"),
            (1 << 62 | 1 << 63, &["other"], false, true, "bits of a newer Envoy"),
        ];
        for (bits, classes, rejects, reached, why) in table {
            let flags = ResponseFlags(*bits);
            assert_eq!(flags.classes().map(FlagClass::as_str).collect::<Vec<_>>(), *classes, "{why}");
            assert_eq!((flags.rejects(), flags.reached_upstream()), (*rejects, *reached), "{why}");
        }
    }

    #[test]
    fn bits_have_names() {
        let table: &[(u64, &[&str], Option<&str>, &str)] = &[
            (0, &[], None, "no flag"),
            (1 << 5 | 1 << 15, &["UF", "URX"], Some("UpstreamConnectionFailure"), "two failures: the first bit"),
            (1 << 20, &["RFCF"], None, "served from cache is no failure"),
            (1 << 9 | 1 << 14, &["DI", "DC"], Some("DownstreamConnectionTermination"), "a note and a failure"),
            (1 << 28, &["DR"], Some("DownstreamRemoteReset"), "the client reset the stream"),
            (1 << 63, &[], None, "a bit of a newer Envoy"),
        ];
        for (bits, short, failure, why) in table {
            let flags = ResponseFlags(*bits);
            assert_eq!(flags.short_names().collect::<Vec<_>>(), *short, "{why}");
            assert_eq!(flags.failure(), *failure, "{why}");
            assert_eq!(flags.client_left(), short.iter().any(|short| ["DC", "DR"].contains(short)), "{why}");
        }
    }
}
