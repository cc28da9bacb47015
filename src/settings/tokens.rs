//! The clients' tokens, from `[auth]` and `ACCESS_TOKENS`, as pairs of name and secret.

use super::{Admin, Resources, Settings, SettingsError, TokenEntry, Upstream, keys::secret_of};
use gemini_balance_actors::{Secret, Visibility};
use std::{fmt, path::Path};

/// The variable that names tokens.
const VARIABLE: &str = "ACCESS_TOKENS";
/// The variable that names the operator's token.
const ADMIN_VARIABLE: &str = "ADMIN_TOKEN";

/// One client's token.
#[derive(Clone, Debug)]
pub struct Token {
    /// What logs call the client.
    pub name: String,
    /// The token itself.
    pub secret: Secret,
    /// Which resources exist for the client.
    pub visibility: Visibility,
}

impl Settings {
    /// Every token with its client's name.
    pub fn tokens(&self) -> Result<Vec<Token>, SettingsError> {
        self.read_tokens().map_err(|error| self.name_source(error))
    }

    fn read_tokens(&self) -> Result<Vec<Token>, SettingsError> {
        let mut tokens: Vec<Token> = Vec::new();
        for (position, entry) in self.auth.tokens.iter().enumerate() {
            let name = format!("auth.tokens[{position}]");
            let secret = secret_of(&name, &entry.secret, entry.secret_file.as_deref())?;
            let visibility = match entry.resources {
                Resources::Own => Visibility::Own,
                Resources::All => Visibility::All,
            };
            tokens.push(Token { name: entry.name.clone(), secret: Secret::new(secret), visibility });
        }
        let list = if self.environment { std::env::var(VARIABLE).unwrap_or_default() } else { String::new() };
        for (position, entry) in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).enumerate()
        {
            let place = position + 1;
            let Some((name, secret)) = entry.split_once('=') else {
                let why = format!("must look like alice=secret,bob=secret; its entry {place} has no =");
                return Err(SettingsError::refused(VARIABLE, why));
            };
            let (name, secret) = (name.trim(), secret.trim());
            if name.is_empty() || secret.is_empty() {
                return Err(SettingsError::refused(
                    VARIABLE,
                    format!("has an empty name or secret in its entry {place}"),
                ));
            }
            tokens.push(Token {
                name: name.to_owned(),
                secret: Secret::new(secret),
                visibility: Visibility::Own,
            });
        }
        for (position, Token { name, secret, .. }) in tokens.iter().enumerate() {
            if name.trim().is_empty() {
                return Err(SettingsError::refused("auth.tokens", "holds an entry without a name"));
            }
            if tokens[..position].iter().any(|other| other.secret == *secret) {
                return Err(SettingsError::refused(
                    "auth.tokens",
                    format!("or {VARIABLE} gives {name} a token that is another client's as well"),
                ));
            }
        }
        Ok(tokens)
    }
}

impl Settings {
    /// The operator's token, if there is one.
    pub fn admin_token(&self) -> Result<Option<Secret>, SettingsError> {
        self.read_admin_token().map_err(|error| self.name_source(error))
    }

    fn read_admin_token(&self) -> Result<Option<Secret>, SettingsError> {
        let admin = &self.admin;
        let from_environment =
            if self.environment { std::env::var(ADMIN_VARIABLE).unwrap_or_default() } else { String::new() };
        let file = Some(admin.token_file.trim()).filter(|file| !file.is_empty()).map(Path::new);
        let given = if admin.token.trim().is_empty() && file.is_none() {
            from_environment
        } else {
            admin.token.clone()
        };
        if given.trim().is_empty() && file.is_none() {
            return Ok(None);
        }
        let token = Secret::new(token_of(&given, file)?);
        let tokens = self.tokens()?;
        // Without tokens the pool's keys are the clients' credentials.
        let is_a_clients = if tokens.is_empty() {
            self.key_ring()?.keys().iter().any(|key| *key.secret() == token)
        } else {
            tokens.iter().any(|other| other.secret == token)
        };
        if is_a_clients {
            return Err(SettingsError::refused(
                "admin.token",
                "is a client's credential as well; it must be one of its own",
            ));
        }
        Ok(Some(token))
    }
}

/// The operator's token, given in place or in a file.
fn token_of(token: &str, file: Option<&Path>) -> Result<String, SettingsError> {
    let Some(path) = file else { return Ok(token.trim().to_owned()) };
    if !token.trim().is_empty() {
        return Err(SettingsError::refused("admin.token", "is set, and admin.token_file too; one is enough"));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| SettingsError::unreadable("admin.token_file", path, &error))?;
    match text.trim() {
        "" => Err(SettingsError::refused("admin.token_file", "names a file that is empty")),
        token => Ok(token.to_owned()),
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEntry").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The proxy's URL may hold its password.
        f.debug_struct("Upstream").field("gemini_base_url", &self.gemini_base_url).finish_non_exhaustive()
    }
}
