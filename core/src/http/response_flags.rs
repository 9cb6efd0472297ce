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

struct Flag {
    short: &'static str,
    long: &'static str,
    meaning: Meaning,
}

const fn failure(short: &'static str, long: &'static str) -> Flag {
    Flag { short, long, meaning: Meaning::Failure }
}

const fn note(short: &'static str, long: &'static str) -> Flag {
    Flag { short, long, meaning: Meaning::Note }
}

/// By bit.
const FLAGS: &[Flag] = &[
    failure("LH", "FailedLocalHealthCheck"),
    failure("UH", "NoHealthyUpstream"),
    failure("UT", "UpstreamRequestTimeout"),
    failure("LR", "LocalReset"),
    failure("UR", "UpstreamRemoteReset"),
    failure("UF", "UpstreamConnectionFailure"),
    failure("UC", "UpstreamConnectionTermination"),
    failure("UO", "UpstreamOverflow"),
    failure("NR", "NoRouteFound"),
    note("DI", "DelayInjected"),
    note("FI", "FaultInjected"),
    note("RL", "RateLimited"),
    note("UAEX", "UnauthorizedExternalService"),
    note("RLSE", "RateLimitServiceError"),
    failure("DC", "DownstreamConnectionTermination"),
    failure("URX", "UpstreamRetryLimitExceeded"),
    failure("SI", "StreamIdleTimeout"),
    failure("IH", "InvalidEnvoyRequestHeaders"),
    failure("DPE", "DownstreamProtocolError"),
    failure("UMSDR", "UpstreamMaxStreamDurationReached"),
    note("RFCF", "ResponseFromCacheFilter"),
    failure("NFCF", "NoFilterConfigFound"),
    failure("DT", "DurationTimeout"),
    failure("UPE", "UpstreamProtocolError"),
    failure("NC", "NoClusterFound"),
    failure("OM", "OverloadManagerTerminated"),
    failure("DF", "DnsResolutionFailed"),
    failure("DO", "DropOverload"),
    failure("DR", "DownstreamRemoteReset"),
    failure("UDO", "UnconditionalDropOverload"),
];

/// The bit of `ResponseFromCacheFilter`.
const FROM_CACHE: u64 = 1 << 20;

impl ResponseFlags {
    /// Whether a cache filter of this Envoy answered.
    pub const fn is_from_cache(self) -> bool {
        self.0 & FROM_CACHE != 0
    }

    fn set(self) -> impl Iterator<Item = &'static Flag> {
        FLAGS.iter().enumerate().filter_map(move |(bit, flag)| {
            let bit = u32::try_from(bit).ok()?;
            (self.0.checked_shr(bit)? & 1 == 1).then_some(flag)
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
