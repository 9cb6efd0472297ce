//! Certificates that are made for one test, and Envoy's TLS contexts that use them: a mesh's mutual TLS, where a peer is
//! whom the URI in its certificate names (SPIFFE).

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use serde_json::{Value, json};

const DOWNSTREAM_TYPE: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
const UPSTREAM_TYPE: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";

/// A certificate authority.
pub struct Authority {
    /// Its own certificate, PEM.
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    certificate: String,
    key: String,
}

/// Which client certificates a listener wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// One from the authority; without it there is no connection.
    Required,
    /// One from the authority, or none.
    Optional,
    /// Any at all, or none: Envoy looks at it, and does not mind who made it.
    Unverified,
}

impl Authority {
    /// A new one, with a key of its own.
    pub fn new() -> anyhow::Result<Self> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority for one test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).context("cannot make an authority")?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// A certificate with these URIs, in this order; with none it has a DNS name only.
    pub fn identity(&self, uris: &[&str]) -> anyhow::Result<Identity> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let mut params = CertificateParams::new(vec!["peer.test".to_owned()]).context("a name that is none")?;
        // With its issuer's name it would count as signed by itself.
        params.distinguished_name.push(DnType::CommonName, "a peer for one test");
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().context("a URI that is none")?));
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).context("cannot sign a certificate")?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// The transport socket of a listener that is `own`, and of whose callers this authority vouches.
    pub fn downstream(&self, own: &Identity, client: ClientCertificate) -> Value {
        let mut context = json!({
            "@type": DOWNSTREAM_TYPE,
            "require_client_certificate": client == ClientCertificate::Required,
            "common_tls_context": self.common(Some(own)),
        });
        if client == ClientCertificate::Unverified {
            context["common_tls_context"]["validation_context"]["trust_chain_verification"] = "ACCEPT_UNTRUSTED".into();
        }
        socket(&context)
    }

    /// The transport socket of a cluster that calls as `own`, or without a certificate, to where this authority vouches.
    pub fn upstream(&self, own: Option<&Identity>) -> Value {
        socket(&json!({"@type": UPSTREAM_TYPE, "sni": "peer.test", "common_tls_context": self.common(own)}))
    }

    fn common(&self, own: Option<&Identity>) -> Value {
        let certificates = own.map(|own| {
            json!({
                "certificate_chain": {"inline_string": own.certificate},
                "private_key": {"inline_string": own.key},
            })
        });
        json!({
            "tls_certificates": Vec::from_iter(certificates),
            "validation_context": {"trusted_ca": {"inline_string": self.certificate}},
        })
    }
}

fn socket(context: &Value) -> Value {
    json!({"name": "envoy.transport_sockets.tls", "typed_config": context})
}
