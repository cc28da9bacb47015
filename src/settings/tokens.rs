//! The clients' tokens, from `[auth]` and `ACCESS_TOKENS`, as pairs of name and secret.

use super::{
    Admin, Settings, SettingsError, TokenBudget, TokenEntry, Upstream,
    keys::secret_of,
    secret_text::{self, SecretKind},
    text_file::read_text,
};
use callers::{CallerLimits, CallerSpec, Globs};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use gemini_balance_actors::Secret;
use std::{collections::HashSet, fmt, path::Path};

/// The variable that names tokens.
const VARIABLE: &str = "ACCESS_TOKENS";
/// The variable that names the operator's token.
const ADMIN_VARIABLE: &str = "ADMIN_TOKEN";

/// One client's token.
#[derive(Clone, Debug)]
pub struct Token {
    /// Who the client is and what it may do.
    pub spec: CallerSpec,
    /// The token itself.
    pub secret: Secret,
}

impl Settings {
    /// Every token with its client.
    pub fn tokens(&self) -> Result<Vec<Token>, SettingsError> {
        self.read_tokens().map_err(|error| self.name_source(error))
    }

    pub(super) fn read_tokens(&self) -> Result<Vec<Token>, SettingsError> {
        let mut tokens: Vec<Token> = Vec::new();
        for (position, entry) in self.auth.tokens.iter().enumerate() {
            let name = format!("auth.tokens[{position}]");
            let secret = secret_of(&name, SecretKind::Token, &entry.secret, entry.secret_file.as_deref())?;
            tokens
                .push(Token { spec: client_spec(&name, entry, Expiry::Fixed)?, secret: Secret::new(secret) });
        }
        let list = self.environment.text(VARIABLE)?;
        for entry in secret_text::entries(&list) {
            let place = secret_text::place_in(VARIABLE, entry.place);
            let Some((name, secret)) = entry.text.split_once('=') else {
                let why = "has no =; the list looks like alice=secret,bob=secret";
                return Err(SettingsError::refused(&place, why));
            };
            let secret = secret_text::one(&place, SecretKind::Token, secret)?;
            tokens.push(Token {
                spec: CallerSpec::new(secret_text::checked_name(&place, name)?),
                secret: Secret::new(secret),
            });
        }
        let mut secrets = HashSet::with_capacity(tokens.len());
        for Token { spec, secret } in &tokens {
            if !secrets.insert(secret.expose()) {
                return Err(SettingsError::refused(
                    "auth.tokens",
                    format!("or {VARIABLE} gives {} a token that is another client's as well", spec.name),
                ));
            }
        }
        Ok(tokens)
    }
}

/// How an expiry may be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// As a time or a date: a span would begin anew with each start.
    Fixed,
    /// As a span from now as well.
    SpanFromNow,
}

/// What an entry says of its client.
pub(crate) fn client_spec(
    place: &str,
    entry: &TokenEntry,
    expiry: Expiry,
) -> Result<CallerSpec, SettingsError> {
    let refused =
        |field: &str, why: &str| SettingsError::refused(&format!("{place}.{field}"), why.to_owned());
    let expires = entry.expires.as_deref().map(|text| {
        let moment = match expiry {
            Expiry::Fixed => fixed_moment(text)
                .ok_or("must be a time such as 2027-01-31T12:00:00Z, or a date such as 2027-01-31"),
            Expiry::SpanFromNow => moment(text, Utc::now()),
        };
        moment.map_err(|why| refused("expires", why))
    });
    let money = |field: &str, units: Option<f64>| {
        units
            .map(|units| billionths(units).map_err(|why| refused(&format!("budget.{field}"), why)))
            .transpose()
    };
    let TokenBudget { tokens_day, tokens_month, money_day, money_month } = entry.budget;
    let spec = CallerSpec {
        note: entry.note.clone(),
        expires: expires.transpose()?,
        enabled: entry.enabled,
        resources: entry.resources,
        surfaces: entry.surfaces.clone().map(Into::into).unwrap_or_default(),
        models: entry.models.as_ref().map(Globs::of_models).unwrap_or_default(),
        projects: entry.projects.clone().map(Into::into).unwrap_or_default(),
        limits: CallerLimits {
            rpm: entry.rpm,
            tpm: entry.tpm,
            rpd: entry.rpd,
            concurrent: entry.concurrent,
            tokens_day,
            tokens_month,
            money_day: money("money_day", money_day)?,
            money_month: money("money_month", money_month)?,
        },
        ..CallerSpec::new(secret_text::checked_name(place, &entry.name)?)
    };
    spec.check().map_err(|error| SettingsError::refused(place, format!("is no good: {error}")))?;
    Ok(spec)
}

/// Reads an amount of money as billionths.
fn billionths(units: f64) -> Result<u64, &'static str> {
    const MOST: f64 = 1e9;
    if !(units > 0.0 && units <= MOST) {
        return Err("must be more than 0, and at most 1000000000");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within bounds, and rounded")]
    Ok(((units * 1e9).round() as u64).max(1))
}

/// Reads a time: RFC 3339, a date (its beginning in UTC), or a span from now such as `90d`, `12h`, `30m`, `45s`, with `-`
/// for the past.
fn moment(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, &'static str> {
    const WHY: &str = "must be a time such as 2027-01-31T12:00:00Z, a date such as 2027-01-31, or a span such as 90d or 12h";
    let after = || now.checked_add_signed(span(text.trim())?);
    fixed_moment(text).or_else(after).ok_or(WHY)
}

/// Reads a time or a date.
fn fixed_moment(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    let moment = DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.to_utc());
    moment.or_else(|| Some(text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN).and_utc()))
}

/// Reads a span: `90d`, `12h`, `30m`, `45s`, `-24h`.
pub(crate) fn span(text: &str) -> Option<TimeDelta> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let unit = digits.chars().last()?;
    let seconds = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return None,
    };
    let digits = &digits[..digits.len() - 1];
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count = if is_number { digits.parse::<i64>().ok()? } else { return None };
    TimeDelta::try_seconds(count.checked_mul(seconds)?.checked_mul(sign)?)
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
                let given = self.environment.text(ADMIN_VARIABLE)?;
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
        if self.is_a_clients(&token)? {
            return Err(SettingsError::refused(
                "admin.token",
                "is a client's credential as well; it must be one of its own",
            ));
        }
        Ok(Some(token))
    }

    /// Whether clients are let in with this.
    pub(super) fn is_a_clients(&self, token: &Secret) -> Result<bool, SettingsError> {
        let tokens = self.tokens()?;
        // Without tokens the pool's keys are the clients' credentials.
        Ok(if tokens.is_empty() {
            // A command may be given nothing but the token.
            self.configured_keys().is_ok_and(|ring| ring.keys().iter().any(|key| key.secret() == token))
        } else {
            tokens.iter().any(|other| other.secret == *token)
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_a_date_or_a_span() {
        let now: DateTime<Utc> = "2026-07-15T12:00:00Z".parse().unwrap();
        for (text, moment_is) in [
            ("2027-01-31T12:00:00+02:00", "2027-01-31T10:00:00Z"),
            ("2027-01-31", "2027-01-31T00:00:00Z"),
            ("90d", "2026-10-13T12:00:00Z"),
            ("12h", "2026-07-16T00:00:00Z"),
            ("30m", "2026-07-15T12:30:00Z"),
            (" 45s ", "2026-07-15T12:00:45Z"),
            ("-24h", "2026-07-14T12:00:00Z"),
        ] {
            assert_eq!(moment(text, now), Ok(moment_is.parse().unwrap()), "{text}");
        }
        for text in [
            "",
            "d",
            "-",
            "90",
            "90 d",
            "+90d",
            "90x",
            "1.5h",
            "9999999999999999d",
            "99999999999d",
            "tomorrow",
            "é",
        ] {
            assert!(moment(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn money_is_more_than_nothing_and_no_riddle() {
        for (units, is) in
            [(5.0, 5_000_000_000), (0.1, 100_000_000), (1e-12, 1), (1e9, 1_000_000_000_000_000_000)]
        {
            assert_eq!(billionths(units), Ok(is));
        }
        for units in [0.0, -1.0, f64::NAN, f64::INFINITY, 1.1e9] {
            assert!(billionths(units).is_err(), "{units}");
        }
    }
}
