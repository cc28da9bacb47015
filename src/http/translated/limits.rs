//! The limits of a caller's own token in the headers in which the vendors' clients look for theirs: how much there is in a
//! minute, and what of it is left.

use super::format::ClientFormat;
use actix_web::http::header::{HeaderName, HeaderValue};
use callers::{LimitName, LimitReading, Opens, Registered};
use chrono::{DateTime, SecondsFormat, Utc};
use gemini_balance_actors::{Caller, clock::Clock};
use std::{sync::Arc, time::Duration};

/// In which a minute's limit is free again, whatever was used of it.
const MINUTE: Duration = Duration::from_secs(60);

/// Returns them, of a token that has such limits.
pub(super) fn headers(format: ClientFormat, caller: &Caller, clock: Clock) -> Vec<(HeaderName, HeaderValue)> {
    let is_limited = |token: &&Arc<Registered>| {
        let limits = &token.spec().limits;
        limits.rpm.is_some() || limits.tpm.is_some()
    };
    let Some(token) = caller.token().filter(is_limited) else { return Vec::new() };
    let now = clock.now();
    let limits = token.read(now).limits.into_iter();
    limits.flat_map(|limit| of_limit(format, &limit, now.wall).into_iter().flatten()).collect()
}

/// Returns what is told of one limit: how much it is, what is left of it, and when all of it is again.
fn of_limit(
    format: ClientFormat,
    limit: &LimitReading,
    now: DateTime<Utc>,
) -> Option<[(HeaderName, HeaderValue); 3]> {
    let names = match (format, limit.name) {
        (ClientFormat::Messages, LimitName::Rpm) => [
            "anthropic-ratelimit-requests-limit",
            "anthropic-ratelimit-requests-remaining",
            "anthropic-ratelimit-requests-reset",
        ],
        (ClientFormat::Messages, LimitName::Tpm) => [
            "anthropic-ratelimit-tokens-limit",
            "anthropic-ratelimit-tokens-remaining",
            "anthropic-ratelimit-tokens-reset",
        ],
        (ClientFormat::Responses, LimitName::Rpm) => {
            ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"]
        }
        (ClientFormat::Responses, LimitName::Tpm) => {
            ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"]
        }
        _ => return None,
    };
    let left = limit.limit.saturating_sub(limit.used);
    let reset = match limit.opens {
        Opens::After(wait) if left == 0 => wait,
        _ if limit.used == 0 => Duration::ZERO,
        _ => MINUTE,
    };
    let reset = match format {
        ClientFormat::Messages => (now + reset).to_rfc3339_opts(SecondsFormat::Secs, true),
        ClientFormat::Responses => format!("{}s", reset.as_millis().div_ceil(1_000)),
    };
    let [limited, remaining, resets] = names.map(HeaderName::from_static);
    Some([
        (limited, limit.limit.into()),
        (remaining, left.into()),
        (resets, HeaderValue::try_from(reset).ok()?),
    ])
}
