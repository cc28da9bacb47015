//! What TLS to the upstream trusts and offers: the system's authorities, and those of `upstream.ca_file`.

use super::{causes::Causes, error::UpstreamError};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::sync::Arc;

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
    let provider = Arc::new(rustls::crypto::ring::default_provider());
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
        rustls_platform_verifier::Verifier::new(Arc::clone(&provider))
    } else {
        rustls_platform_verifier::Verifier::new_with_extra_roots(roots, Arc::clone(&provider))
    };
    let verifier = verifier.map_err(|error| unusable(&error))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = match offer {
        Offer::Both => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Offer::Http1 => vec![b"http/1.1".to_vec()],
    };
    Ok(Arc::new(config))
}

fn unusable(error: &dyn std::error::Error) -> UpstreamError {
    UpstreamError::new(CA_FILE, Causes(error).to_string())
}
