//! TLS of the listeners: the certificate from `server.tls` or `admin.tls`, and the rustls configuration that serves it. `reload`
//! has a renewed one shown; connections that are open keep the certificate they began with.
//!
//! HTTP/1.1 only, although actix-web could offer HTTP/2 here: no SDK asks a gateway for it, `ws` needs HTTP/1.1, and
//! `server.max_connections` would no longer bound how much is under way.

mod not_after;

use crate::settings::SettingsError;
use rustls::{
    InconsistentKeys, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

/// Where the certificate and its key are.
#[derive(Clone, Debug)]
pub(crate) struct PemFiles {
    /// The section that names them, such as `server.tls`.
    pub(crate) section: &'static str,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl PemFiles {
    fn cert_setting(&self) -> String {
        format!("{}.cert_file", self.section)
    }

    fn key_setting(&self) -> String {
        format!("{}.key_file", self.section)
    }

    /// Reads the certificate alone, without those of its authorities: what a listener that serves these files shows.
    pub(crate) fn leaf(&self) -> Result<CertificateDer<'static>, SettingsError> {
        self.read_chain().map(|(_, leaf, _)| leaf)
    }

    /// Reads the certificates: the file's bytes, the first of them, and those after it.
    fn read_chain(
        &self,
    ) -> Result<(Vec<u8>, CertificateDer<'static>, Vec<CertificateDer<'static>>), SettingsError> {
        let setting = self.cert_setting();
        let bytes =
            fs::read(&self.cert).map_err(|error| SettingsError::unreadable(&setting, &self.cert, &error))?;
        // What a PEM error says may repeat the line it is about.
        let mut chain = CertificateDer::pem_slice_iter(&bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| SettingsError::refused(&setting, "names a file that is not PEM"))?
            .into_iter();
        let Some(leaf) = chain.next() else {
            let why = "names a file without a certificate (PEM: BEGIN CERTIFICATE)";
            return Err(SettingsError::refused(&setting, why));
        };
        let rest = chain.collect();
        Ok((bytes, leaf, rest))
    }
}

/// A digest of both files, by which a change is noticed.
pub(crate) type Fingerprint = [u8; 32];

/// A certificate with its key, ready to be served, and where it came from.
#[derive(Debug)]
pub(crate) struct Certificate {
    files: PemFiles,
    fingerprint: Fingerprint,
    key: Arc<CertifiedKey>,
}

/// The certificate of handshakes to come.
pub(crate) struct ShownCertificate(RwLock<Arc<CertifiedKey>>);

impl Certificate {
    /// Reads both files.
    pub(crate) fn load(files: PemFiles) -> Result<Self, SettingsError> {
        let (cert, leaf, mut chain) = files.read_chain()?;
        chain.insert(0, leaf);
        let (of_cert, of_key) = (files.cert_setting(), files.key_setting());
        let key =
            fs::read(&files.key).map_err(|error| SettingsError::unreadable(&of_key, &files.key, &error))?;
        let refused = |setting: &str, why: &str| SettingsError::refused(setting, why);
        let private = PrivateKeyDer::from_pem_slice(&key).map_err(|_| {
            refused(
                &of_key,
                "names a file without a private key (PEM: BEGIN PRIVATE KEY, and without a passphrase)",
            )
        })?;
        let certified = CertifiedKey::from_der(chain, private, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                refused(&of_key, &format!("is not the key of the certificate in {of_cert}"))
            }
            rustls::Error::InvalidCertificate(error) => {
                refused(&of_cert, &format!("names a file whose certificate cannot be used: {error:?}"))
            }
            error => refused(&of_key, &format!("names a file whose key cannot be used: {error}")),
        })?;
        let fingerprint = Sha256::new().chain_update(&cert).chain_update([0]).chain_update(&key).finalize();
        Ok(Self { files, fingerprint: fingerprint.into(), key: Arc::new(certified) })
    }

    /// A digest of both files.
    pub(crate) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Where it came from.
    pub(crate) fn path(&self) -> &Path {
        &self.files.cert
    }
}

impl ShownCertificate {
    /// Begins with this one.
    pub(crate) fn new(certificate: &Certificate) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::clone(&certificate.key))))
    }

    /// Shows another one from now on; whether it is another.
    pub(crate) fn show(&self, certificate: &Certificate) -> bool {
        let mut shown = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_other = shown.cert != certificate.key.cert;
        *shown = Arc::clone(&certificate.key);
        is_other
    }

    /// What a listener serves it with, and those that come after it.
    pub(crate) fn server_config(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        Ok(ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>))
    }
}

impl ShownCertificate {
    /// When the certificate in use ends, in seconds of Unix time; `None` of one that says so in no way that is known.
    pub(crate) fn not_after(&self) -> Option<i64> {
        let key = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        not_after::of(key.cert.first()?)
    }
}

impl ResolvesServerCert for ShownCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl std::fmt::Debug for ShownCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ShownCertificate")
    }
}

/// The one provider of cryptography, named rather than installed for the whole process.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn files(cert: &str, key: &str) -> (tempfile::TempDir, PemFiles) {
        let folder = tempfile::tempdir().unwrap();
        let files = PemFiles {
            section: "server.tls",
            cert: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
        };
        fs::write(&files.cert, cert).unwrap();
        fs::write(&files.key, key).unwrap();
        (folder, files)
    }

    fn refusal(cert: &str, key: &str) -> String {
        let (_folder, files) = files(cert, key);
        Certificate::load(files).err().unwrap().to_string()
    }

    #[test]
    fn files_that_cannot_be_served_are_refused_by_the_setting_that_names_them() {
        let (cert, key) = pair();
        let (_, other_key) = pair();
        assert!(refusal("", &key).starts_with("server.tls.cert_file names a file without a certificate"));
        assert!(refusal(&key, &key).starts_with("server.tls.cert_file names a file without a certificate"));
        assert!(refusal(&cert, &cert).starts_with("server.tls.key_file names a file without a private key"));
        assert!(refusal(&cert, &other_key).starts_with("server.tls.key_file is not the key of"));
        let cut = cert.replace("-----END CERTIFICATE-----", "");
        assert!(refusal(&cut, &key).starts_with("server.tls.cert_file"));
        let garbled = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let line = refusal(garbled, &key);
        assert!(line.starts_with("server.tls.cert_file names a file whose certificate cannot"), "{line}");
        for (cert, key) in [(&*cert, &*other_key), (garbled, &*key), ("", &*key)] {
            let line = refusal(cert, key);
            let secret = key.lines().nth(1).unwrap();
            assert!(!line.contains(secret) && line.lines().count() == 1, "{line}");
        }
    }
}
