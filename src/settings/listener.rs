//! What `[server]` says of how clients reach the gateway: its certificate, and the address they know it by; and where
//! `[admin]` puts the operator's listener.

use super::{Server, Settings, SettingsError, host};
use crate::{
    http::{CorsOrigins, Origins, PublicOrigin, TrustedProxies},
    tls::{Certificate, PemFiles},
};
use std::net::{SocketAddr, ToSocketAddrs};

impl Server {
    /// Whether clients speak TLS to the gateway.
    pub(crate) fn has_tls(&self) -> bool {
        !self.tls.cert_file.trim().is_empty() || !self.tls.key_file.trim().is_empty()
    }
}

impl Settings {
    /// The certificate to serve, if there is one to be.
    pub(crate) fn certificate(&self) -> Result<Option<Certificate>, SettingsError> {
        self.read_certificate().map_err(|error| self.name_source(error))
    }

    fn read_certificate(&self) -> Result<Option<Certificate>, SettingsError> {
        let (cert, key) = (self.server.tls.cert_file.trim(), self.server.tls.key_file.trim());
        match (cert, key) {
            ("", "") => Ok(None),
            ("", _) => Err(SettingsError::refused(
                "server.tls.cert_file",
                "must be set as well as server.tls.key_file",
            )),
            (_, "") => Err(SettingsError::refused(
                "server.tls.key_file",
                "must be set as well as server.tls.cert_file",
            )),
            (cert, key) => Certificate::load(PemFiles { cert: cert.into(), key: key.into() }).map(Some),
        }
    }

    /// The address of the operator's listener, refused unless it is this machine's own.
    pub(crate) fn admin_address(&self) -> Result<SocketAddr, SettingsError> {
        let refused = |why| self.name_source(SettingsError::refused("admin.host", why));
        let address = (self.admin.host.as_str(), self.admin.port)
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
            .ok_or_else(|| refused("is not an address"))?;
        if address.ip().is_loopback() {
            Ok(address)
        } else {
            Err(refused(
                "must be a loopback address such as 127.0.0.1: the listener has no TLS; use a tunnel from elsewhere",
            ))
        }
    }

    /// The origin by which browsers know the operator's listener, if a proxy is before it.
    pub(crate) fn admin_public_origin(&self) -> Result<Option<String>, SettingsError> {
        let text = self.admin.public_url.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let refused = |why: &str| self.name_source(SettingsError::refused("admin.public_url", why));
        PublicOrigin::parse(text)
            .map_err(|why| refused(&format!("{why}{}", host::bracket_hint(text))))?
            .without_prefix()
            .map(Some)
            .ok_or_else(|| refused("must be an origin alone, such as https://gw.example, without a path"))
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
