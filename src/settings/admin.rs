//! What `[admin]` says of the operator's listener: its address, the name it has for browsers, and the certificate it is served
//! with. An address that others can reach needs TLS and a long token.

use super::{Settings, SettingsError, host};
use crate::{
    http::PublicOrigin,
    tls::{Certificate, PemFiles},
};
use gemini_balance_actors::Secret;
use std::net::{SocketAddr, ToSocketAddrs};

/// A token that opens a listener which others reach is no shorter, in characters.
const SHORTEST_ABROAD: usize = 32;

impl Settings {
    /// The address of the operator's listener.
    pub(crate) fn admin_address(&self) -> Result<SocketAddr, SettingsError> {
        (self.admin.host.as_str(), self.admin.port)
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
            .ok_or_else(|| self.name_source(SettingsError::refused("admin.host", "is not an address")))
    }

    /// Refuses a token that is too short for an address which others can reach.
    pub(crate) fn check_admin_token(&self, token: &Secret) -> Result<(), SettingsError> {
        if self.admin_address()?.ip().is_loopback() || token.expose().chars().count() >= SHORTEST_ABROAD {
            return Ok(());
        }
        let why = format!(
            "can be reached from elsewhere: the operator's token must have {SHORTEST_ABROAD} characters or more \
             (openssl rand -hex 32 makes one)"
        );
        Err(self.name_source(SettingsError::refused("admin.host", why)))
    }

    /// The files of the certificate that the operator's listener is served with: those of `admin.tls`, else where others can
    /// reach it the clients'; none on loopback.
    pub(crate) fn admin_tls_files(&self) -> Result<Option<PemFiles>, SettingsError> {
        let own = self.admin.tls.files("admin.tls").map_err(|error| self.name_source(error))?;
        if own.is_some() || self.admin_address()?.ip().is_loopback() {
            return Ok(own);
        }
        let clients = self.server.tls.files("server.tls").map_err(|error| self.name_source(error))?;
        let why = "can be reached from elsewhere and needs TLS: set admin.tls (or server.tls, which serves both), or take a \
                   loopback address such as 127.0.0.1";
        clients.map(Some).ok_or_else(|| self.name_source(SettingsError::refused("admin.host", why)))
    }

    /// The certificate that the operator's listener is served with, if it has TLS.
    pub(crate) fn admin_certificate(&self) -> Result<Option<Certificate>, SettingsError> {
        let files = self.admin_tls_files()?;
        files.map(Certificate::load).transpose().map_err(|error| self.name_source(error))
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
}
