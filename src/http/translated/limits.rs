//! The limits of a caller's own token in the headers in which the vendors' clients look for theirs: how much there is in a
//! minute, and what of it is left.

use super::format::ClientFormat;
use actix_web::HttpResponseBuilder;
use callers::{AccountReading, LimitName, Opens};
use chrono::{DateTime, SecondsFormat, Utc};
use std::time::Duration;

/// In which a minute's limit is free again, whatever was used of it.
const MINUTE: Duration = Duration::from_secs(60);

/// Writes them into an answer's headers.
pub(super) fn write(
    format: ClientFormat,
    reading: &AccountReading,
    now: DateTime<Utc>,
    response: &mut HttpResponseBuilder,
) {
    for limit in &reading.limits {
        let word = match limit.name {
            LimitName::Rpm => "requests",
            LimitName::Tpm => "tokens",
            _ => continue,
        };
        let left = limit.limit.saturating_sub(limit.used);
        let reset = match limit.opens {
            Opens::After(wait) if left == 0 => wait,
            _ if limit.used == 0 => Duration::ZERO,
            _ => MINUTE,
        };
        let names = match format {
            ClientFormat::Messages => {
                ["limit", "remaining", "reset"].map(|of| format!("anthropic-ratelimit-{word}-{of}"))
            }
            ClientFormat::Responses => {
                ["limit", "remaining", "reset"].map(|of| format!("x-ratelimit-{of}-{word}"))
            }
        };
        let reset = match format {
            ClientFormat::Messages => (now + reset).to_rfc3339_opts(SecondsFormat::Secs, true),
            ClientFormat::Responses => format!("{}s", reset.as_millis().div_ceil(1_000)),
        };
        for (name, value) in names.into_iter().zip([limit.limit.to_string(), left.to_string(), reset]) {
            response.insert_header((name, value));
        }
    }
}
