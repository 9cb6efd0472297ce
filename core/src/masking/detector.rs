//! The built-in detectors by name, and sets of them.

use super::triggers::NAMES;

macro_rules! detectors {
    ($($(#[doc = $doc:literal])* $variant:ident,)*) => {
        /// A kind of sensitive data that is recognised by its shape.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Detector {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Detector {
            /// All of them, in the order of their discriminants.
            pub const ALL: &'static [Detector] = &[$(Detector::$variant,)*];
        }
    };
}

detectors! {
    /// PEM private keys.
    PrivateKey,
    /// User and password in a URL (RFC 3986 §3.2.1).
    UrlCredentials,
    /// `Bearer` and `Basic` credentials (RFC 6750, RFC 7617).
    HttpCredentials,
    /// JSON Web Tokens, signed or encrypted (RFC 7515, RFC 7516, compact form).
    Jwt,
    /// AWS access key ids.
    AwsAccessKey,
    /// Google API keys, OAuth client secrets and access tokens.
    GcpKey,
    /// GitHub tokens.
    GithubToken,
    /// Slack tokens and webhook addresses.
    SlackToken,
    /// Stripe secret and restricted keys, and webhook secrets.
    StripeKey,
    /// E-mail addresses.
    Email,
    /// International bank account numbers (ISO 13616), by country, length and check digits.
    Iban,
    /// Chinese resident identity numbers (GB 11643), by region, date and check digit.
    CnResidentId,
    /// Payment card numbers (ISO/IEC 7812), by network, length and check digit.
    PaymentCard,
    /// Chinese mobile numbers.
    CnMobileNumber,
    /// US social security numbers, written with separators.
    UsSsn,
    /// IPv4 addresses.
    Ipv4,
    /// IPv6 addresses.
    Ipv6,
}

impl Detector {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The name in configuration and counters.
    #[expect(clippy::indexing_slicing, reason = "there is a name for each, or the crate does not compile")]
    pub const fn name(self) -> &'static str {
        const { assert!(NAMES.len() > Detector::COUNT) };
        NAMES[self as usize]
    }

    /// Whether it is on unless configuration says otherwise. Addresses are what an operator looks for in a span.
    pub const fn is_default(self) -> bool {
        !matches!(self, Self::Ipv4 | Self::Ipv6)
    }
}

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

    use super::*;

    #[test]
    fn every_detector_has_its_own_name() {
        assert_eq!(NAMES[Detector::COUNT..], ["percent_encoding", "other_characters", "scheme"]);
        let names = [(Detector::Jwt, "jwt"), (Detector::PaymentCard, "payment_card"), (Detector::Ipv6, "ipv6")];
        for (detector, name) in names {
            assert_eq!(detector.name(), name);
        }
    }
}
