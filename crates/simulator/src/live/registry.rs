//! What outlives a connection of the Live API: ephemeral tokens and resumption handles, each of one project.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::answer::Answer;
use crate::dispatch::Call;
use crate::error::ApiError;
use crate::prompt::field;
use crate::world::World;

/// Google's own figures (docs of 17 Sep 2026 for tokens, of June 2026 for handles).
const TOKEN_LIFE: Duration = Duration::from_secs(30 * 60);
const TOKEN_START: Duration = Duration::from_secs(60);
const HANDLE_LIFE: Duration = Duration::from_secs(2 * 60 * 60);

struct Token {
    project: String,
    /// None is without limit.
    uses: Option<u64>,
    start_by: Duration,
    expires: Duration,
}

struct Handle {
    project: String,
    expires: Duration,
}

/// Times are Unix time by the clock that quotas go by.
#[derive(Default)]
pub(crate) struct Registry {
    tokens: HashMap<String, Token>,
    handles: HashMap<String, Handle>,
}

/// What a handle is to a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Own,
    /// Another project's.
    Foreign,
    /// Never issued, or expired.
    Nothing,
}

impl Registry {
    /// The project of a token, whether or not it may still be used.
    pub(crate) fn owner(&self, token: &str) -> Option<String> {
        self.tokens.get(token).map(|token| token.project.clone())
    }

    /// Spends one use of a token; gives its project.
    pub(crate) fn spend(&mut self, token: &str, now: Duration) -> Option<String> {
        let token = self.tokens.get_mut(token)?;
        if now > token.start_by || now > token.expires || token.uses == Some(0) {
            return None;
        }
        token.uses = token.uses.map(|uses| uses - 1);
        Some(token.project.clone())
    }

    pub(crate) fn issue_handle(&mut self, handle: String, project: &str, now: Duration) {
        let expires = now + HANDLE_LIFE;
        self.handles.insert(handle, Handle { project: project.to_owned(), expires });
    }

    pub(crate) fn find(&self, handle: &str, project: &str, now: Duration) -> Found {
        match self.handles.get(handle) {
            Some(handle) if now > handle.expires => Found::Nothing,
            Some(handle) if handle.project == project => Found::Own,
            Some(_) => Found::Foreign,
            None => Found::Nothing,
        }
    }
}

/// A name no other has.
pub(crate) fn fresh(world: &World, kind: &str) -> String {
    let seed = format!("{kind} {} {}", world.next_answer(), world.now_ms());
    URL_SAFE_NO_PAD.encode(Sha256::digest(seed))
}

/// `POST auth_tokens`. The settings stand at the top or under `authToken`.
pub(crate) fn create_token(call: &Call<'_>) -> Result<Answer, ApiError> {
    let now = call.world.clock();
    let wanted = field(&call.json, "authToken", "auth_token").unwrap_or(&call.json);
    let uses = match field(wanted, "uses", "uses") {
        None => Some(1),
        Some(uses) => match uses.as_u64() {
            Some(0) => None,
            Some(uses) => Some(uses),
            None => return Err(ApiError::new(400, "Invalid value at 'auth_token.uses' (TYPE_INT32)")),
        },
    };
    let expires = moment(wanted, "expireTime", "expire_time")?.unwrap_or(now + TOKEN_LIFE);
    let start_by = moment(wanted, "newSessionExpireTime", "new_session_expire_time")?;
    let start_by = start_by.unwrap_or(now + TOKEN_START);
    let name = format!("auth_tokens/{}", fresh(call.world, "token"));
    let token = Token { project: call.key.project.clone(), uses, start_by, expires };
    call.world.live().tokens.insert(name.clone(), token);
    Ok(Answer::pretty(&json!({
        "name": name,
        "uses": uses.unwrap_or(0),
        "expireTime": written(expires),
        "newSessionExpireTime": written(start_by),
    })))
}

fn moment(value: &Value, camel: &str, snake: &str) -> Result<Option<Duration>, ApiError> {
    let Some(text) = field(value, camel, snake) else { return Ok(None) };
    let read = text.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    let millis = read.and_then(|time| u64::try_from(time.timestamp_millis()).ok());
    match millis {
        Some(millis) => Ok(Some(Duration::from_millis(millis))),
        None => Err(ApiError::new(400, format!("Invalid value at 'auth_token.{snake}' (Timestamp)"))),
    }
}

fn written(unix: Duration) -> String {
    let millis = i64::try_from(unix.as_millis()).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(millis)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_790_000_000);

    fn registry() -> Registry {
        let mut registry = Registry::default();
        let token = Token {
            project: "alpha".to_owned(),
            uses: Some(1),
            start_by: NOW + TOKEN_START,
            expires: NOW + TOKEN_LIFE,
        };
        registry.tokens.insert("auth_tokens/a".to_owned(), token);
        registry.issue_handle("h".to_owned(), "alpha", NOW);
        registry
    }

    #[test]
    fn a_token_starts_one_session_within_its_minute() {
        let mut late = registry();
        assert_eq!(late.spend("auth_tokens/a", NOW + Duration::from_secs(61)), None);
        let mut registry = registry();
        assert_eq!(registry.spend("auth_tokens/a", NOW), Some("alpha".to_owned()));
        assert_eq!(registry.spend("auth_tokens/a", NOW), None);
        assert_eq!(registry.spend("auth_tokens/b", NOW), None);
        assert_eq!(registry.owner("auth_tokens/a"), Some("alpha".to_owned()));
    }

    #[test]
    fn a_handle_is_its_projects_for_two_hours() {
        let registry = registry();
        assert_eq!(registry.find("h", "alpha", NOW + HANDLE_LIFE), Found::Own);
        assert_eq!(registry.find("h", "beta", NOW), Found::Foreign);
        assert_eq!(registry.find("h", "alpha", NOW + HANDLE_LIFE + Duration::from_secs(1)), Found::Nothing);
        assert_eq!(registry.find("i", "alpha", NOW), Found::Nothing);
    }
}
