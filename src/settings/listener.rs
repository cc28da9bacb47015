//! What `[server]` says of how clients reach the gateway: its certificate, and the address they know it by.

use super::{Server, Settings, SettingsError, Tls, host};
use crate::{
    http::{CorsOrigins, Origins, PublicOrigin, TrustedProxies},
    tls::{Certificate, PemFiles},
};

impl Server {
    /// Whether clients speak TLS to the gateway.
    pub(crate) fn has_tls(&self) -> bool {
        !self.tls.cert_file.trim().is_empty() || !self.tls.key_file.trim().is_empty()
    }
}

impl Tls {
    /// Returns the files that this section names: both or none.
    pub(super) fn files(&self, section: &'static str) -> Result<Option<PemFiles>, SettingsError> {
        let (cert, key) = (self.cert_file.trim(), self.key_file.trim());
        let alone = |missing: &str, given: &str| {
            let why = format!("must be set as well as {section}.{given}");
            Err(SettingsError::refused(&format!("{section}.{missing}"), why))
        };
        match (cert, key) {
            ("", "") => Ok(None),
            ("", _) => alone("cert_file", "key_file"),
            (_, "") => alone("key_file", "cert_file"),
            (cert, key) => Ok(Some(PemFiles { section, cert: cert.into(), key: key.into() })),
        }
    }
}

impl Settings {
    /// The certificate to serve, if there is one to be.
    pub(crate) fn certificate(&self) -> Result<Option<Certificate>, SettingsError> {
        self.read_certificate().map_err(|error| self.name_source(error))
    }

    fn read_certificate(&self) -> Result<Option<Certificate>, SettingsError> {
        self.server.tls.files("server.tls")?.map(Certificate::load).transpose()
    }

    /// Whose pages may call.
    pub fn cors(&self) -> Result<CorsOrigins, SettingsError> {
        CorsOrigins::parse(&self.server.cors_origins).map_err(|entry| {
            let why =
                format!("holds {entry:?}, which is neither \"*\" nor an origin such as https://page.example");
            self.name_source(SettingsError::refused("server.cors_origins", why))
        })
    }

    /// How the gateway's own address is found.
    pub fn origins(&self) -> Result<Origins, SettingsError> {
        self.read_origins().map_err(|error| self.name_source(error))
    }

    fn read_origins(&self) -> Result<Origins, SettingsError> {
        let public = match self.server.public_url.trim() {
            "" => None,
            text => Some(PublicOrigin::parse(text).map_err(|why| {
                SettingsError::refused("server.public_url", format!("{why}{}", host::bracket_hint(text)))
            })?),
        };
        let proxies: Vec<String> =
            self.server.trusted_proxies.iter().map(|entry| host::without_brackets(entry)).collect();
        let trusted = TrustedProxies::parse(&proxies).map_err(|entry| {
            let why =
                format!("holds {entry:?}, which is neither an address nor a network such as 10.0.0.0/8");
            SettingsError::refused("server.trusted_proxies", why)
        })?;
        Ok(Origins::new(public, trusted))
    }
}
