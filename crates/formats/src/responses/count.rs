//! What `POST /v1/responses/input_tokens` answers, from Google's `:countTokens`. Its request is `request`'s.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::answer::bytes_of;
use crate::call::AnswerFault;
use crate::gemini::GoogleFailure;
use crate::json::raw_of;

/// Returns the client's body for Google's answer to `:countTokens`.
pub fn input_tokens_answer(google: &[u8]) -> Result<Bytes, AnswerFault> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct CountedTokens<'a> {
        total_tokens: Option<u64>,
        #[serde(borrow)]
        error: Option<&'a RawValue>,
    }
    #[derive(Serialize)]
    struct InputTokens {
        object: &'static str,
        input_tokens: u64,
    }
    let counted: CountedTokens<'_> = serde_json::from_slice(google).map_err(|_| AnswerFault::Unreadable)?;
    if counted.error.is_some() {
        return Err(AnswerFault::Google(GoogleFailure::of_body(google).unwrap_or_default()));
    }
    let input_tokens = counted.total_tokens.ok_or(AnswerFault::Unreadable)?;
    Ok(bytes_of(raw_of(&InputTokens { object: "response.input_tokens", input_tokens })))
}
