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
    let headers = limits.flat_map(|limit| of_limit(format, &limit, now.wall).into_iter().flatten());
    headers.filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?))).collect()
}

/// Returns what is told of one limit.
fn of_limit(format: ClientFormat, limit: &LimitReading, now: DateTime<Utc>) -> Option<[(String, String); 3]> {
    let word = match limit.name {
        LimitName::Rpm => "requests",
        LimitName::Tpm => "tokens",
        _ => return None,
    };
    let left = limit.limit.saturating_sub(limit.used);
    let reset = match limit.opens {
        Opens::After(wait) if left == 0 => wait,
        _ if limit.used == 0 => Duration::ZERO,
        _ => MINUTE,
    };
    let name = |of: &str| match format {
        ClientFormat::Messages => format!("anthropic-ratelimit-{word}-{of}"),
        ClientFormat::Responses => format!("x-ratelimit-{of}-{word}"),
    };
    let reset = match format {
        ClientFormat::Messages => (now + reset).to_rfc3339_opts(SecondsFormat::Secs, true),
        ClientFormat::Responses => format!("{}s", reset.as_millis().div_ceil(1_000)),
    };
    Some([
        (name("limit"), limit.limit.to_string()),
        (name("remaining"), left.to_string()),
        (name("reset"), reset),
    ])
}
