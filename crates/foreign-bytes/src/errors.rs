//! Error bodies: whatever an upstream or a middlebox answers with is read without a panic, however it is cut, and what is
//! no error of Google's blames nobody, but for a status that speaks of load.

use crate::SECRET;
use gemini::{
    classify::{Answer, classify, classify_by_status, error_message, redact},
    fault::{Fault, Kind},
};

const STATUSES: [u16; 12] = [400, 401, 402, 403, 404, 407, 429, 499, 500, 503, 504, 599];

/// See the module.
pub fn run(input: &[u8]) {
    let [choice, at, body @ ..] = input else { return };
    let status = STATUSES[usize::from(*choice) % STATUSES.len()];
    let retry_after = std::str::from_utf8(&body[..body.len().min(usize::from(*at) % 40)]).ok();
    let answer = |body| Answer { status, retry_after, body, tools: *choice >= 128 };
    for body in [body, &body[..body.len().min(usize::from(*at))]] {
        let whole = classify(&answer(body), 1_790_000_000);
        let _ = classify_by_status(&answer(body), 1_790_000_000);
        let _ = error_message(body);
        let is_json = serde_json::from_slice::<serde_json::Value>(body).is_ok();
        if !is_json && matches!(status, 401..=403 | 407 | 501..=502 | 504..=599) {
            assert_eq!(whole, Fault::not_google());
        }
        // What says of load what it is, is believed in whatever form but a page's.
        if !is_json && matches!(status, 429 | 500 | 503) && whole != Fault::not_google() {
            assert!(!body.trim_ascii_start().starts_with(b"<"));
            let expected = match status {
                429 => Kind::RateLimited,
                500 => Kind::Internal,
                _ => Kind::Overloaded,
            };
            assert_eq!(whole.kind, expected);
        }
    }
    // A key in the middle of anything is gone from it.
    let at = usize::from(*at).min(body.len());
    let quoted = [&body[..at], SECRET.as_bytes(), &body[at..]].concat();
    let redacted = redact(&quoted, &[SECRET]);
    assert!(!redacted.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()));
}
