//! What TLS to the upstream trusts and offers: the system's authorities, and those of `upstream.ca_file`.

use super::{causes::Causes, error::UpstreamError};
use rustls::{
    ClientConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use std::sync::{Arc, Mutex, PoisonError};

/// What TLS can fail on before the first connection.
const CA_FILE: &str = "upstream.ca_file";

/// Which protocols are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// HTTP/2, else HTTP/1.1.
    Both,
    /// HTTP/1.1 alone.
    Http1,
}

/// Builds the configuration of all connections that offer the same.
pub(super) fn config(extra_roots: &[Vec<u8>], offer: Offer) -> Result<Arc<ClientConfig>, UpstreamError> {
    let provider = provider();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier(extra_roots)?)
        .with_no_client_auth();
    config.alpn_protocols = match offer {
        Offer::Both => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Offer::Http1 => vec![b"http/1.1".to_vec()],
    };
    Ok(Arc::new(config))
}

/// Who verifies certificates. The last one made is kept: to read the system's authorities takes longer than all else at a
/// start, and each worker needs the same.
static VERIFIER: Mutex<Option<Trust>> = Mutex::new(None);

/// A verifier, and the authorities besides the system's that it was made with.
struct Trust {
    extra_roots: Vec<Vec<u8>>,
    verifier: Arc<Verifier>,
}

fn verifier(extra_roots: &[Vec<u8>]) -> Result<Arc<Verifier>, UpstreamError> {
    let mut kept = VERIFIER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(trust) = &*kept
        && trust.extra_roots == extra_roots
    {
        return Ok(Arc::clone(&trust.verifier));
    }
    let mut roots = Vec::new();
    for pem in extra_roots {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.push(certificate.map_err(|error| unusable(&error))?);
        }
        if roots.len() == before {
            return Err(UpstreamError::new(CA_FILE, "it holds no certificate".to_owned()));
        }
    }
    let verifier = if roots.is_empty() {
        Verifier::new(provider())
    } else {
        Verifier::new_with_extra_roots(roots, provider())
    };
    let verifier = Arc::new(verifier.map_err(|error| unusable(&error))?);
    *kept = Some(Trust { extra_roots: extra_roots.to_vec(), verifier: Arc::clone(&verifier) });
    Ok(verifier)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn unusable(error: &dyn std::error::Error) -> UpstreamError {
    UpstreamError::new(CA_FILE, Causes(error).to_string())
}
