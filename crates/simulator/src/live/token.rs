//! `POST auth_tokens`: an ephemeral token, with which a client opens a session without a key.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::answer::Answer;
use crate::call::Call;
use crate::error::ApiError;
use crate::prompt::field;
use crate::world::{Token, World};

/// Google's own figures (docs of 17 Sep 2026).
const TOKEN_LIFE: Duration = Duration::from_secs(30 * 60);
const TOKEN_START: Duration = Duration::from_secs(60);

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
    call.world.live().issue_token(name.clone(), token);
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
