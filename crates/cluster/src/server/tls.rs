//! What TLS to Redis trusts: the system's authorities, and those of `cluster.ca_file`.

use std::sync::Arc;

use rustls::{
    ClientConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::Verifier;

use crate::away::Away;

/// Builds what every connection of a handle is made with; it is made once, since reading the system's authorities takes
/// longer than a connection.
pub(super) fn config(extra_roots: &[Vec<u8>]) -> Result<Arc<ClientConfig>, Away> {
    let mut roots = Vec::new();
    for pem in extra_roots {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.push(certificate.map_err(|error| unusable(&error))?);
        }
    }
    let verifier = if roots.is_empty() {
        Verifier::new(provider())
    } else {
        Verifier::new_with_extra_roots(roots, provider())
    };
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier.map_err(|error| unusable(&error))?))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The one provider of cryptography, named rather than installed for the whole process.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn unusable(error: &dyn std::error::Error) -> Away {
    Away::Unreachable { reason: format!("cluster.ca_file: {error}") }
}
