//! TLS towards the clients: the certificate from `server.tls`, the rustls configuration that serves it, and the watch that
//! takes a renewed one into use. Connections that are open keep the certificate they began with.
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
    fs, io,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

const CERT_FILE: &str = "server.tls.cert_file";
const KEY_FILE: &str = "server.tls.key_file";

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// Where the certificate and its key are.
#[derive(Clone, Debug)]
pub(crate) struct PemFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// A digest of both files, by which a change is noticed.
type Fingerprint = [u8; 32];

/// A certificate with its key, ready to be served.
struct Loaded {
    fingerprint: Fingerprint,
    key: Arc<CertifiedKey>,
}

/// What clients are shown, and where it came from.
pub(crate) struct Certificate {
    files: PemFiles,
    shown: Arc<Shown>,
    fingerprint: Fingerprint,
}

/// The certificate of handshakes to come.
struct Shown(RwLock<Arc<CertifiedKey>>);

impl PemFiles {
    fn load(&self) -> Result<Loaded, SettingsError> {
        let unreadable = |setting, path, error: io::Error| SettingsError::unreadable(setting, path, &error);
        let cert = fs::read(&self.cert).map_err(|error| unreadable(CERT_FILE, &self.cert, error))?;
        let key = fs::read(&self.key).map_err(|error| unreadable(KEY_FILE, &self.key, error))?;
        let refused = |setting, why: &str| SettingsError::refused(setting, why);
        // What a PEM error says may repeat the line it is about.
        let chain = CertificateDer::pem_slice_iter(&cert)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| refused(CERT_FILE, "names a file that is not PEM"))?;
        if chain.is_empty() {
            return Err(refused(CERT_FILE, "names a file without a certificate (PEM: BEGIN CERTIFICATE)"));
        }
        let private = PrivateKeyDer::from_pem_slice(&key).map_err(|_| {
            refused(
                KEY_FILE,
                "names a file without a private key (PEM: BEGIN PRIVATE KEY, and without a passphrase)",
            )
        })?;
        let certified = CertifiedKey::from_der(chain, private, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                refused(KEY_FILE, &format!("is not the key of the certificate in {CERT_FILE}"))
            }
            rustls::Error::InvalidCertificate(error) => {
                refused(CERT_FILE, &format!("names a file whose certificate cannot be used: {error:?}"))
            }
            error => refused(KEY_FILE, &format!("names a file whose key cannot be used: {error}")),
        })?;
        let fingerprint = Sha256::new().chain_update(&cert).chain_update([0]).chain_update(&key).finalize();
        Ok(Loaded { fingerprint: fingerprint.into(), key: Arc::new(certified) })
    }
}

/// The certificate in use, for whoever asks until when it holds.
#[derive(Clone)]
pub(crate) struct CertificateInUse(Arc<Shown>);

impl CertificateInUse {
    /// When it ends, in seconds of Unix time; `None` of one that says so in no way that is known.
    pub(crate) fn not_after(&self) -> Option<i64> {
        let key = Arc::clone(&self.0.0.read().unwrap_or_else(PoisonError::into_inner));
        not_after::of(key.cert.first()?)
    }
}

impl Certificate {
    /// The certificate in use, now and later.
    pub(crate) fn in_use(&self) -> CertificateInUse {
        CertificateInUse(Arc::clone(&self.shown))
    }

    /// Reads the certificate for the first time.
    pub(crate) fn load(files: PemFiles) -> Result<Self, SettingsError> {
        let Loaded { fingerprint, key } = files.load()?;
        Ok(Self { files, shown: Arc::new(Shown(RwLock::new(key))), fingerprint })
    }

    /// What a listener serves this certificate with, and those that come after it.
    pub(crate) fn server_config(&self) -> Result<ServerConfig, rustls::Error> {
        Ok(ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.shown) as Arc<dyn ResolvesServerCert>))
    }

    /// Takes renewed files into use, until the process ends. SIGHUP has them looked at at once. Files that are no good
    /// leave the certificate as it is.
    pub(crate) async fn watch(self) -> io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut watch = Watch { in_use: self.fingerprint, seen: None, said: None };
        loop {
            let is_asked = tokio::select! {
                () = tokio::time::sleep(EVERY) => false,
                _ = hangup.recv() => true,
            };
            let files = self.files.clone();
            // On a thread that may wait for the disk.
            let Ok(loaded) = tokio::task::spawn_blocking(move || files.load()).await else { continue };
            match watch.consider(loaded, is_asked) {
                CertificateChange::Nothing => {}
                CertificateChange::Renewed(key) => {
                    self.shown.show(key);
                    log::info!(target: "tls", "the certificate in {} is in use", self.files.cert.display());
                }
                CertificateChange::Unusable(error) => {
                    log::error!(target: "tls", "{error}; the certificate that was read before stays in use");
                }
            }
        }
    }
}

/// What was seen of the files so far.
struct Watch {
    in_use: Fingerprint,
    /// What the last look found wrong.
    seen: Option<SettingsError>,
    /// What was last said to be wrong.
    said: Option<SettingsError>,
}

/// What a look at the files comes to.
enum CertificateChange {
    Nothing,
    Renewed(Arc<CertifiedKey>),
    Unusable(SettingsError),
}

impl Watch {
    /// What is wrong is said once, and only when it is still wrong at the next look: the two files are seldom replaced
    /// in the same moment. Unless the operator has asked.
    fn consider(&mut self, loaded: Result<Loaded, SettingsError>, is_asked: bool) -> CertificateChange {
        match loaded {
            Ok(Loaded { fingerprint, key }) => {
                (self.seen, self.said) = (None, None);
                if fingerprint == self.in_use && !is_asked {
                    return CertificateChange::Nothing;
                }
                self.in_use = fingerprint;
                CertificateChange::Renewed(key)
            }
            Err(error) => {
                let is_lasting = self.seen.replace(error.clone()).as_ref() == Some(&error);
                if is_asked || (is_lasting && self.said.as_ref() != Some(&error)) {
                    self.said = Some(error.clone());
                    return CertificateChange::Unusable(error);
                }
                CertificateChange::Nothing
            }
        }
    }
}

impl Shown {
    fn show(&self, key: Arc<CertifiedKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = key;
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown")
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
        let files = PemFiles { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        fs::write(&files.cert, cert).unwrap();
        fs::write(&files.key, key).unwrap();
        (folder, files)
    }

    fn refusal(cert: &str, key: &str) -> String {
        let (_folder, files) = files(cert, key);
        files.load().err().unwrap().to_string()
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

    #[test]
    fn a_lasting_fault_is_said_once_and_a_passing_one_never() {
        let (cert, key) = pair();
        let (folder, good) = files(&cert, &key);
        let missing = PemFiles { cert: folder.path().join("nowhere"), ..good.clone() };
        let in_use = good.load().unwrap().fingerprint;
        let mut watch = Watch { in_use, seen: None, said: None };
        let mut look = |files: &PemFiles, is_asked| match watch.consider(files.load(), is_asked) {
            CertificateChange::Nothing => "nothing",
            CertificateChange::Renewed(_) => "renewed",
            CertificateChange::Unusable(_) => "unusable",
        };
        assert_eq!(look(&good, false), "nothing");
        assert_eq!(look(&missing, false), "nothing");
        assert_eq!(look(&good, false), "nothing");
        assert_eq!(look(&missing, false), "nothing");
        assert_eq!(look(&missing, false), "unusable");
        assert_eq!(look(&missing, false), "nothing");
        assert_eq!(look(&missing, true), "unusable");
        assert_eq!(look(&good, true), "renewed");
        let (cert, key) = pair();
        fs::write(&good.cert, cert).unwrap();
        assert_eq!(look(&good, false), "nothing");
        fs::write(&good.key, key).unwrap();
        assert_eq!(look(&good, false), "renewed");
        assert_eq!(look(&good, false), "nothing");
    }
}
