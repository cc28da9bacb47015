//! An error of Google's in place of an answer: what it says, and when it is worth coming again, which clients of other
//! vendors read in a header and Google says in the body.

use super::{
    exchange::collect,
    format::{ClientFormat, ToldError},
};
use bytes::Bytes;
use chrono::Utc;
use formats::{gemini::GoogleFailure, placeholders, thinking};
use gemini::{
    classify::{self, classify},
    dialect::whole_seconds,
    fault::Wait,
};
use gemini_balance_actors::forward::Answer;
use http::{StatusCode, header};
use meter::daily_reset;
use std::time::Duration;

/// No error of Google's is read beyond.
const MAX_ERROR_BYTES: usize = 1024 * 1024;

/// See the module.
pub(super) struct GoogleRefusal {
    status: StatusCode,
    retry_after: Option<String>,
    body: Bytes,
    /// Google's own words; empty where there are none.
    words: String,
}

impl GoogleRefusal {
    /// Reads an answer that is none.
    pub(super) async fn read(answer: Answer) -> Self {
        let Answer { status, headers, body } = answer;
        let retry_after = headers.get(header::RETRY_AFTER).and_then(|after| after.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        let body = collect(body, MAX_ERROR_BYTES).await.unwrap_or_default();
        let words = GoogleFailure::of_body(&body).map(|failure| failure.message).unwrap_or_default();
        Self { status, retry_after, body, words }
    }

    /// Whether it says that a signature in the request is none.
    pub(super) fn is_about_signatures(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST && placeholders::is_about_signatures(&self.words)
    }

    /// Whether it says that the model does not know the level of thinking in the request.
    pub(super) fn is_about_levels(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST && thinking::is_about_levels(&self.words)
    }

    /// Tells it in the client's format.
    pub(super) fn told(&self, format: ClientFormat, id: &str) -> ToldError {
        let told = format.google_error(self.status.as_u16(), &self.words, id);
        ToldError { retry_after_s: self.wait().map(whole_seconds), ..told }
    }

    /// When it is worth coming again, where Google has said so.
    fn wait(&self) -> Option<Duration> {
        if !matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return None;
        }
        let now = Utc::now();
        let answer = classify::Answer {
            status: self.status.as_u16(),
            retry_after: self.retry_after.as_deref(),
            body: &self.body,
            tools: false,
        };
        match classify(&answer, now.timestamp()).wait {
            Wait::For(wait) => Some(wait),
            Wait::DailyReset => Some(daily_reset::until_next(now)),
            Wait::None | Wait::Backoff | Wait::Long | Wait::Retire => None,
        }
    }
}
