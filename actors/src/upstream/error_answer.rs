//! Reads an answer that is an error: as much of its body as comes in ten seconds, what fault it states, and what a client may
//! be told of it. Where the body was lost on the way the status is not: the client reads what came, or what Google usually
//! says.

use super::{Body, BodyError, Coding, Joined, decoded, provider::Provider};
use crate::key_ring::Key;
use bytes::Bytes;
use gemini::{
    classify::{self, error_message_of_part},
    dialect::ErrorForm,
    fault::{Fault, Kind},
    usual_error::usual_error,
};
use http::{HeaderMap, HeaderValue, header, response::Parts};
use std::{borrow::Cow, time::Duration};
use tokio::time::{Instant, timeout_at};

/// For the whole body of an error answer.
const TIME: Duration = Duration::from_secs(10);
/// An error answer is read up to this many bytes, coded and in the clear; a longer one is not Google's.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// An error answer.
pub(crate) struct JudgedError {
    /// What it says.
    pub(crate) fault: Fault,
    /// What a client may be told; `None` when it is no answer of Google's.
    pub(crate) told: Option<Told>,
}

/// The body that a client may be told.
pub(crate) struct Told {
    /// Without any key.
    pub(crate) body: Bytes,
    form: BodyForm,
}

/// How the body stands to the one that came.
enum BodyForm {
    AsItCame,
    /// The same text, its content coding undone.
    Clear,
    /// Words in the place of those that were lost.
    Usual,
}

impl Told {
    /// Makes the answer's headers, as they go down, fit the body.
    pub(crate) fn fit(&self, headers: &mut HeaderMap) {
        if matches!(self.form, BodyForm::Clear | BodyForm::Usual) {
            headers.remove(header::CONTENT_ENCODING);
            headers.remove(header::CONTENT_LENGTH);
        }
        if matches!(self.form, BodyForm::Usual) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
        }
    }
}

/// What was asked, as far as it matters for an error.
pub(crate) struct RequestContext<'a> {
    pub(crate) key: &'a Key,
    /// Whether the request asked for a tool that Google runs, such as `google_search`.
    pub(crate) tools: bool,
    /// Whether the answer has a body: to HEAD there is none.
    pub(crate) has_body: bool,
    /// How the caller reads errors.
    pub(crate) form: ErrorForm,
}

/// Reads the rest of an error answer.
pub(crate) async fn read_error(head: &Parts, mut body: Body, asked: &RequestContext<'_>) -> JudgedError {
    let deadline = Instant::now() + TIME;
    let mut read = Joined::default();
    let is_whole = loop {
        match timeout_at(deadline, body.next()).await {
            Ok(Ok(Some(chunk))) => read.push(chunk),
            Ok(Ok(None)) => break true,
            Ok(Err(BodyError)) | Err(_) => break false,
        }
        if read.len() > MAX_BYTES {
            break false;
        }
    };
    judge(head, read.into_bytes(), is_whole, asked)
}

fn judge(head: &Parts, body: Bytes, is_whole: bool, asked: &RequestContext<'_>) -> JudgedError {
    let provider: Provider = asked.key.provider();
    let status = head.status.as_u16();
    let clear = decoded(Coding::of(&head.headers), &body, MAX_BYTES);
    // What cannot be looked through is as good as lost: it could hold the key.
    let is_readable = is_whole && clear.as_ref().is_some_and(|clear| clear.len() < MAX_BYTES);
    let clear = clear.unwrap_or_default();
    let content_type = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_page = content_type.starts_with(b"text/html") || clear.trim_ascii_start().starts_with(b"<");
    let answer = classify::Answer {
        status,
        retry_after: head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()),
        body: &clear,
        tools: asked.tools,
    };
    let fault = if (is_readable && asked.has_body) || is_page {
        provider.fault(&answer)
    } else {
        provider.fault_of_part(&answer)
    };
    if fault.kind == Kind::NotGoogle {
        return JudgedError { fault, told: None };
    }
    let secret = asked.key.secret().expose();
    let redacted = match classify::redact(&clear, &[secret]) {
        Cow::Owned(redacted) => Some(Bytes::from(redacted)),
        Cow::Borrowed(_) => None,
    };
    let told = match redacted {
        None if is_readable => Told { body, form: BodyForm::AsItCame },
        // The key is in there: the client gets the text without it, in the clear.
        Some(redacted) if is_readable => Told { body: redacted, form: BodyForm::Clear },
        redacted if error_message_of_part(&clear).is_some() => {
            Told { body: redacted.unwrap_or_else(|| clear.into()), form: BodyForm::Clear }
        }
        _ => Told { body: usual_error(status).body(asked.form).into(), form: BodyForm::Usual },
    };
    JudgedError { fault, told: Some(told) }
}
