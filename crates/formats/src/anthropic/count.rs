//! Counting of tokens: `POST /v1/messages/count_tokens` by Google's `:countTokens`, which costs no generation quota.

use bytes::Bytes;
use serde::Deserialize;

use super::request::{RequestPurpose, translate};
use crate::call::{AnswerFault, GeminiCall};
use crate::error::TranslationError;
use crate::gemini::GoogleFailure;
use crate::models::ModelMap;

/// Translates the body of `POST /v1/messages/count_tokens` for Google's `:countTokens` of the call's model. It is as
/// `messages` has it, but that nothing about the answer has to be said.
pub fn count_tokens(
    body: &[u8],
    models: &ModelMap,
    is_listed: &dyn Fn(&str) -> bool,
) -> Result<GeminiCall, TranslationError> {
    translate(body, models, is_listed, None, RequestPurpose::Count)
}

/// Returns the client's body for Google's answer to `:countTokens`.
pub fn count_answer(google: &[u8]) -> Result<Bytes, AnswerFault> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Counted {
        total_tokens: Option<u64>,
    }

    let counted = serde_json::from_slice::<Counted>(google).ok().and_then(|counted| counted.total_tokens);
    match counted {
        Some(tokens) => Ok(Bytes::from(format!(r#"{{"input_tokens":{tokens}}}"#))),
        None => Err(GoogleFailure::of_body(google).map_or(AnswerFault::Unreadable, AnswerFault::Google)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_the_clients_or_a_fault() {
        let counted = count_answer(br#"{"totalTokens":31,"promptTokensDetails":[]}"#).unwrap();
        assert_eq!(&counted[..], br#"{"input_tokens":31}"#);
        assert_eq!(count_answer(b"<html>"), Err(AnswerFault::Unreadable));
        assert_eq!(count_answer(b"{}"), Err(AnswerFault::Unreadable));
        let refused = count_answer(br#"{"error":{"code":429,"message":"slow down"}}"#);
        assert!(matches!(refused, Err(AnswerFault::Google(failure)) if failure.code == 429));
    }
}
