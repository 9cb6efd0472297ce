//! The built-in detectors by name. What they find, and how, is the logic's.

macro_rules! detectors {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal,)*) => {
        /// A kind of sensitive data that is recognised by its shape.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Detector {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Detector {
            /// All of them, in the order of their discriminants.
            pub const ALL: &'static [Detector] = &[$(Detector::$variant,)*];

            /// The name in configuration and counters.
            pub const fn name(self) -> &'static str {
                match self { $(Detector::$variant => $name,)* }
            }
        }
    };
}

detectors! {
    /// PEM private keys.
    PrivateKey = "private_key",
    /// User and password in a URL (RFC 3986 §3.2.1).
    UrlCredentials = "url_credentials",
    /// `Bearer` and `Basic` credentials (RFC 6750, RFC 7617).
    HttpCredentials = "http_credentials",
    /// JSON Web Tokens, signed or encrypted (RFC 7515, RFC 7516, compact form).
    Jwt = "jwt",
    /// AWS access key ids.
    AwsAccessKey = "aws_access_key",
    /// Google API keys, OAuth client secrets and access tokens.
    GcpKey = "gcp_key",
    /// GitHub tokens.
    GithubToken = "github_token",
    /// Slack tokens and webhook addresses.
    SlackToken = "slack_token",
    /// Stripe secret and restricted keys, and webhook secrets.
    StripeKey = "stripe_key",
    /// E-mail addresses.
    Email = "email",
    /// International bank account numbers (ISO 13616), by country, length and check digits.
    Iban = "iban",
    /// Chinese resident identity numbers (GB 11643), by region, date and check digit.
    CnResidentId = "cn_resident_id",
    /// Payment card numbers (ISO/IEC 7812), by network, length and check digit.
    PaymentCard = "payment_card",
    /// Chinese mobile numbers.
    CnMobileNumber = "cn_mobile_number",
    /// US social security numbers, written with separators.
    UsSsn = "us_ssn",
    /// IPv4 addresses.
    Ipv4 = "ipv4",
    /// IPv6 addresses.
    Ipv6 = "ipv6",
}

impl Detector {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Whether it is on unless configuration says otherwise. Addresses are what an operator looks for in a span.
    pub const fn is_default(self) -> bool {
        !matches!(self, Self::Ipv4 | Self::Ipv6)
    }
}
