//! Texts that most of a proxy's streams have alike: masked and encoded once, and not for each span.
//!
//! A sidecar sees the same few user agents, clusters and upstream hosts all day. What masking leaves as it is, and counts
//! nothing of, it will leave so the next time; so the encoded attribute is kept beside the text that it came from, a few of
//! each kind, the newest in place of an older one.

use std::cell::RefCell;

use crate::masking::Masker;
use crate::semconv::{self, envoy};
use crate::span::{EncodedAttribute, SpanAttributes};

/// An attribute whose texts are few in most places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Familiar {
    UrlScheme,
    ServerAddress,
    UserAgent,
    ProtocolVersion,
    ClientAddress,
    PeerAddress,
    CodeDetails,
    Cluster,
    UpstreamHost,
    RouteName,
}

impl Familiar {
    const COUNT: usize = 10;

    /// The attribute's key.
    const fn key(self) -> &'static str {
        match self {
            Self::UrlScheme => semconv::URL_SCHEME,
            Self::ServerAddress => semconv::SERVER_ADDRESS,
            Self::UserAgent => semconv::USER_AGENT_ORIGINAL,
            Self::ProtocolVersion => semconv::NETWORK_PROTOCOL_VERSION,
            Self::ClientAddress => semconv::CLIENT_ADDRESS,
            Self::PeerAddress => semconv::NETWORK_PEER_ADDRESS,
            Self::CodeDetails => envoy::RESPONSE_CODE_DETAILS,
            Self::Cluster => envoy::UPSTREAM_CLUSTER,
            Self::UpstreamHost => envoy::UPSTREAM_HOST,
            Self::RouteName => envoy::ROUTE_NAME,
        }
    }
}

/// How many texts of one attribute are kept.
const WAYS: usize = 4;

/// A longer text is not kept, bytes: so all of them take 30 KiB at the most.
const LONGEST: usize = 256;

#[derive(Clone, Debug, Default)]
struct Entry {
    text: Vec<u8>,
    /// `None`: the entry holds nothing.
    encoded: Option<EncodedAttribute>,
}

/// Texts on their way into a span: the masking service, and what is known to need no masking.
#[derive(Clone, Debug)]
pub(super) struct FamiliarTexts(RefCell<Box<[Entry]>>);

impl Default for FamiliarTexts {
    fn default() -> Self {
        Self(RefCell::new(vec![Entry::default(); Familiar::COUNT.saturating_mul(WAYS)].into()))
    }
}

impl FamiliarTexts {
    /// Records the text, masked by `masker`, which is always the same one.
    pub(super) fn put(&self, attribute: Familiar, text: &[u8], masker: &Masker, attributes: &mut SpanAttributes) {
        let put = |attributes: &mut SpanAttributes| {
            if let Some(masked) = masker.value(attribute.key(), text) {
                attributes.put_text(attribute.key(), &masked);
            }
        };
        // Nothing that is called from here calls back; and if it did, the text would be masked once more.
        let Ok(mut entries) = self.0.try_borrow_mut() else { return put(attributes) };
        let Some(entry) = entries.get_mut(place(attribute, text)).filter(|_| text.len() <= LONGEST) else {
            return put(attributes);
        };
        if let Some(encoded) = &entry.encoded
            && entry.text == text
        {
            // One that may not fit is cut, or counted as dropped.
            if !attributes.put_encoded(encoded) {
                put(attributes);
            }
            return;
        }
        let before = masker.total();
        let Some(safe) = masker.value(attribute.key(), text) else { return };
        let mut encoded = entry.encoded.take().unwrap_or_default();
        let whole = attributes.put_text_keeping(attribute.key(), &safe, &mut encoded);
        if whole && masker.total() == before {
            entry.text.clear();
            entry.text.extend_from_slice(text);
            entry.encoded = Some(encoded);
        }
    }
}

/// Where a text is looked for: by its length and its last byte, in which ports, versions and names differ.
fn place(attribute: Familiar, text: &[u8]) -> usize {
    let last = text.last().copied().map_or(0, usize::from);
    let way = text.len().wrapping_add(last) % WAYS;
    (attribute as usize).saturating_mul(WAYS).saturating_add(way)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::config::{Config, SpanLimits};

    fn masker(masking: &str) -> Masker {
        let text = format!(r#"{{"file_format": "1.1", "distribution": {{"meshspan": {{"masking": {masking}}}}}}}"#);
        let config = Config::from_json(text.as_bytes()).unwrap();
        Masker::new(&config.meshspan.masking, &config.instrumentation)
    }

    /// What each text comes to: by way of what is kept, and by masking alone.
    fn both(masker: &Masker, texts: &[&[u8]], limits: SpanLimits) -> Vec<(Vec<u8>, Vec<u8>)> {
        let familiar = FamiliarTexts::default();
        let attribute = Familiar::UserAgent;
        texts
            .iter()
            .map(|text| {
                let (mut one, mut other) = (SpanAttributes::new(limits), SpanAttributes::new(limits));
                familiar.put(attribute, text, masker, &mut one);
                if let Some(masked) = masker.value(attribute.key(), text) {
                    other.put_text(attribute.key(), &masked);
                }
                assert_eq!((one.dropped(), one.truncated()), (other.dropped(), other.truncated()));
                (one.as_bytes().to_vec(), other.as_bytes().to_vec())
            })
            .collect()
    }

    #[test]
    fn what_is_kept_says_what_masking_says() {
        let long = "x".repeat(2 * LONGEST);
        let texts: &[(&[u8], &str)] = &[
            (b"curl/8.5", "new"),
            (b"curl/8.5", "known"),
            (b"lruc/5.8", "same length, another end"),
            (b"curl/8.5 13812345678", "a secret"),
            (b"curl/8.5 13812345678", "a secret is never known"),
            (b"curl/\xff", "no UTF-8"),
            (b"curl/\xff", "no UTF-8, known"),
            (b"", "empty"),
            (b"", "empty, known"),
            (long.as_bytes(), "too long"),
            (long.as_bytes(), "too long, again"),
            (b"curl/8.5", "known, or turned out by another"),
        ];
        let only: Vec<&[u8]> = texts.iter().map(|(text, _)| *text).collect();
        let small = SpanLimits { attribute_bytes: 60, ..SpanLimits::default() };
        let none = SpanLimits { attribute_count: 0, ..SpanLimits::default() };
        for (limits, of) in [(SpanLimits::default(), "the usual"), (small, "sixty bytes"), (none, "no attributes")] {
            for ((one, other), (_, why)) in both(&masker("{}"), &only, limits).iter().zip(texts) {
                assert_eq!(one, other, "{of}: {why}");
            }
        }
    }

    #[test]
    fn what_masking_counts_is_counted_each_time() {
        for mode in ["enforce", "report"] {
            let masker = masker(&format!(r#"{{"mode": "{mode}"}}"#));
            let texts: [&[u8]; 3] = [b"call 13812345678"; 3];
            both(&masker, &texts, SpanLimits::default());
            // Three times on each way.
            let counted: u64 = masker.counts().take().map(|(_, _, count)| count).sum();
            assert_eq!(counted, 6, "{mode}");
        }
    }

    #[test]
    fn an_attribute_of_another_kind_is_another() {
        let (masker, familiar) = (masker("{}"), FamiliarTexts::default());
        let mut attributes = SpanAttributes::new(SpanLimits::default());
        for attribute in [Familiar::Cluster, Familiar::RouteName, Familiar::Cluster] {
            familiar.put(attribute, b"shop", &masker, &mut attributes);
        }
        let text = String::from_utf8_lossy(attributes.as_bytes()).into_owned();
        assert_eq!(text.matches(envoy::UPSTREAM_CLUSTER).count(), 2);
        assert_eq!(text.matches(envoy::ROUTE_NAME).count(), 1);
    }
}
