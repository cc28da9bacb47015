//! The clients' tokens, from `[auth]` and `ACCESS_TOKENS`, as pairs of name and secret.

use super::{
    Admin, Resources, Settings, SettingsError, TokenEntry, Upstream,
    keys::secret_of,
    secret_text::{self, SecretKind},
    text_file::read_text,
    variables::variable_text,
};
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
            let secret = secret_of(&name, SecretKind::Token, &entry.secret, entry.secret_file.as_deref())?;
            let client = secret_text::checked_name(&name, &entry.name)?.to_owned();
            let visibility = match entry.resources {
                Resources::Own => Visibility::Own,
                Resources::All => Visibility::All,
            };
            tokens.push(Token { name: client, secret: Secret::new(secret), visibility });
        }
        let list = if self.environment { variable_text(VARIABLE)? } else { String::new() };
        for entry in secret_text::entries(&list) {
            let place = secret_text::place_in(VARIABLE, entry.place);
            let Some((name, secret)) = entry.text.split_once('=') else {
                let why = "has no =; the list looks like alice=secret,bob=secret";
                return Err(SettingsError::refused(&place, why));
            };
            let secret = secret_text::one(&place, SecretKind::Token, secret)?;
            tokens.push(Token {
                name: secret_text::checked_name(&place, name)?.to_owned(),
                secret: Secret::new(secret),
                visibility: Visibility::Own,
            });
        }
        for (position, Token { name, secret, .. }) in tokens.iter().enumerate() {
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
        let file = Some(admin.token_file.trim()).filter(|file| !file.is_empty()).map(Path::new);
        let token = match (admin.token.trim(), file) {
            ("", None) => {
                let given = if self.environment { variable_text(ADMIN_VARIABLE)? } else { String::new() };
                if given.trim().is_empty() {
                    return Ok(None);
                }
                secret_text::one(ADMIN_VARIABLE, SecretKind::Token, &given)?
            }
            ("", Some(path)) => {
                let setting = "admin.token_file";
                secret_text::one(setting, SecretKind::Token, &read_text(setting, path)?)?
            }
            (_, Some(_)) => {
                let why = "is set, and admin.token_file too; one is enough";
                return Err(SettingsError::refused("admin.token", why));
            }
            (token, None) => secret_text::one("admin.token", SecretKind::Token, token)?,
        };
        let token = Secret::new(token);
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
