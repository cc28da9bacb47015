//! What `[metrics]` becomes: who may scrape, and where.

use super::{
    Metrics, Settings, SettingsError,
    secret_text::{self, SecretKind},
    text_file::read_text,
};
use gemini_balance_actors::Secret;
use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs},
    path::Path,
};

/// A token that opens an address which others reach is no shorter.
const SHORTEST_ABROAD: usize = 16;

impl Settings {
    /// The token that opens the metrics and nothing else, if there is one.
    pub fn metrics_token(&self) -> Result<Option<Secret>, SettingsError> {
        self.read_metrics_token().map_err(|error| self.name_source(error))
    }

    fn read_metrics_token(&self) -> Result<Option<Secret>, SettingsError> {
        let metrics = &self.metrics;
        let file = Some(metrics.token_file.trim()).filter(|file| !file.is_empty()).map(Path::new);
        let token = match (metrics.token.trim(), file) {
            ("", None) => return Ok(None),
            ("", Some(path)) => {
                let setting = "metrics.token_file";
                secret_text::one(setting, SecretKind::Token, &read_text(setting, path)?)?
            }
            (_, Some(_)) => {
                let why = "is set, and metrics.token_file too; one is enough";
                return Err(SettingsError::refused("metrics.token", why));
            }
            (token, None) => secret_text::one("metrics.token", SecretKind::Token, token)?,
        };
        let token = Secret::new(token);
        if self.is_a_clients(&token)? || self.admin_token()?.is_some_and(|admin| admin == token) {
            let why = "is a client's credential or the operator's as well; it must be one of its own, since it opens less";
            return Err(SettingsError::refused("metrics.token", why));
        }
        Ok(Some(token))
    }

    /// The address of its own on which the metrics are, if there is to be one, checked.
    pub fn metrics_listen(&self) -> Result<Option<SocketAddr>, SettingsError> {
        self.read_metrics_listen().map_err(|error| self.name_source(error))
    }

    fn read_metrics_listen(&self) -> Result<Option<SocketAddr>, SettingsError> {
        const SETTING: &str = "metrics.listen";
        let text = self.metrics.listen.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let address = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        let address = address.ok_or_else(|| {
            SettingsError::refused(
                SETTING,
                "must be an address with a port, such as 127.0.0.1:9464 or [::1]:9464",
            )
        })?;
        match self.read_metrics_token()? {
            None => Err(SettingsError::refused(SETTING, "needs metrics.token or metrics.token_file as well")),
            Some(token) if !address.ip().is_loopback() && token.expose().len() < SHORTEST_ABROAD => {
                let why = format!(
                    "can be reached from elsewhere: metrics.token must have {SHORTEST_ABROAD} characters or more"
                );
                Err(SettingsError::refused(SETTING, why))
            }
            Some(_) => Ok(Some(address)),
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("listen", &self.listen)
            .field("per_key", &self.per_key)
            .finish_non_exhaustive()
    }
}
