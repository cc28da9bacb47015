//! Errors that Google says, in every form in which they come, as far as a client's format puts them into other words.
//! What they mean for keys is `gemini::classify`'s business.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{JsonStr, as_str};

/// An error that Google says in place of an answer or an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoogleFailure {
    /// `code`, the HTTP status it stands for; 0 if it is none.
    pub code: u16,
    /// `status`: `UNAVAILABLE`.
    pub status: String,
    /// `message`.
    pub message: String,
}

/// A prompt that the model cannot take whole, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptTooLong {
    /// What it has, if Google says it.
    pub tokens: Option<u64>,
    /// What it may have, if Google says it.
    pub most: Option<u64>,
}

#[derive(Deserialize)]
struct WireFailure<'a> {
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    status: Option<JsonStr<'a>>,
    message: Option<JsonStr<'a>>,
}

#[derive(Deserialize)]
struct WireError<'a> {
    #[serde(borrow)]
    error: &'a RawValue,
}

impl GoogleFailure {
    /// Reads an error's body: an object or a list of one. `None` if it is neither.
    pub fn of_body(body: &[u8]) -> Option<Self> {
        let wire: WireError<'_> = if body.trim_ascii_start().starts_with(b"[") {
            serde_json::from_slice::<Vec<WireError<'_>>>(body).ok()?.into_iter().next()?
        } else {
            serde_json::from_slice(body).ok()?
        };
        Some(Self::of_value(wire.error))
    }

    /// Reads the value of `error`. What it lacks is left empty.
    pub(super) fn of_value(raw: &RawValue) -> Self {
        let Ok(wire) = serde_json::from_str::<WireFailure<'_>>(raw.get()) else {
            return Self { message: as_str(raw).unwrap_or_default().to_string(), ..Self::default() };
        };
        Self {
            code: wire.code.and_then(|code| code.get().trim_matches('"').parse().ok()).unwrap_or_default(),
            status: wire.status.unwrap_or_default().to_string(),
            message: wire.message.unwrap_or_default().to_string(),
        }
    }

    /// Whether a 400 says that the request itself is too large: "Request payload size exceeds the limit: 20971520 bytes."
    pub fn payload_too_large(&self) -> bool {
        self.message.to_ascii_lowercase().contains("payload size exceeds")
    }

    /// What a 400 says of a prompt that is too long: "The input token count (1200000) exceeds the maximum number of tokens
    /// allowed (1048576)." `None` if it is about something else.
    pub fn prompt_too_long(&self) -> Option<PromptTooLong> {
        if !self.message.contains("exceeds the maximum number of tokens") {
            return None;
        }
        let mut numbers = self
            .message
            .split(|letter: char| !letter.is_ascii_digit())
            .filter(|digits| digits.len() > 2)
            .map(|digits| digits.parse().ok());
        let (tokens, most) = (numbers.next().flatten(), numbers.next().flatten());
        // Of a single number nobody knows which it is, but Google's bound is always said last.
        Some(if most.is_none() {
            PromptTooLong { tokens: None, most: tokens }
        } else {
            PromptTooLong { tokens, most }
        })
    }
}

/// Strikes out long numbers that follow the word `project`: they are the operator's, not the client's.
pub fn without_projects(message: &str) -> String {
    const LONG: usize = 6;
    const NEAR: usize = 24;
    let mut kept = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(from.len());
        kept.push_str(before);
        let near: String = kept.chars().rev().take(NEAR).collect();
        let is_project = end >= LONG && near.to_ascii_lowercase().contains("tcejorp");
        kept.push_str(if is_project { "***" } else { &from[..end] });
        rest = &from[end..];
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_an_object_or_a_list_of_one() {
        let is = |body: &str, code, message: &str| {
            let failure = GoogleFailure::of_body(body.as_bytes()).unwrap();
            assert_eq!((failure.code, failure.message.as_str()), (code, message), "{body}");
        };
        is(r#"{"error":{"code":429,"message":"a","details":[{}]}}"#, 429, "a");
        is(r#"[{"error":{"code":"400","message":"b"}}]"#, 400, "b");
        is(r#"{"error":"c"}"#, 0, "c");
        is(r#"{"error":{"code":-1,"message":null}}"#, 0, "");
        for body in ["", "<html>", "{}", "[]", "[3]"] {
            assert_eq!(GoogleFailure::of_body(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn a_prompt_that_is_too_long_is_known_by_googles_words() {
        let of = |message: &str| {
            GoogleFailure { message: message.to_owned(), ..GoogleFailure::default() }.prompt_too_long()
        };
        assert_eq!(
            of("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
            Some(PromptTooLong { tokens: Some(1_200_000), most: Some(1_048_576) })
        );
        assert_eq!(
            of("The input token count exceeds the maximum number of tokens allowed 1048576."),
            Some(PromptTooLong { tokens: None, most: Some(1_048_576) })
        );
        assert_eq!(of("API key not valid."), None);
    }

    #[test]
    fn numbers_of_projects_are_struck_out_and_no_others() {
        let google = "Quota 1234567 exceeded for consumer 'project_number:123456789012' and projects/98765432/x, limit 60";
        let told = "Quota 1234567 exceeded for consumer 'project_number:***' and projects/***/x, limit 60";
        assert_eq!(without_projects(google), told);
    }
}
