//! An error of Google's in place of an answer: what it says, and when it is worth coming again, which clients of other
//! vendors read in a header and Google says in the body.

use super::{
    exchange::collect,
    format::{ClientFormat, ToldError},
    repeats::RepeatReason,
};
use crate::http::error::GatewayError;
use bytes::Bytes;
use chrono::Utc;
use formats::{gemini::GoogleFailure, placeholders, thinking};
use gemini::{
    classify::{self, classify},
    dialect::{self, whole_seconds},
    fault::{Fault, Wait},
};
use gemini_balance_actors::{Failure, forward::Answer};
use http::{StatusCode, header};
use keypool::Refusal;
use meter::daily_reset;
use std::time::Duration;

/// No error of Google's is read beyond.
const MAX_ERROR_BYTES: usize = 1024 * 1024;

/// See the module.
pub(super) struct GoogleRefusal {
    status: StatusCode,
    retry_after: Option<String>,
    /// When the pool has a key again, where Google has refused for want of quota.
    opening: Option<Refusal>,
    body: Bytes,
    /// Google's own words; empty where there are none.
    words: String,
}

impl GoogleRefusal {
    /// Reads an answer that is none.
    pub(super) async fn read(answer: Answer) -> Self {
        let Answer { status, headers, body, opening, .. } = answer;
        let retry_after = headers.get(header::RETRY_AFTER).and_then(|after| after.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        let body = collect(body, MAX_ERROR_BYTES).await.unwrap_or_default();
        let words = GoogleFailure::of_body(&body).map(|failure| failure.message).unwrap_or_default();
        Self { status, retry_after, opening, body, words }
    }

    /// For which reason it is worth asking once more, if it says one.
    pub(super) fn reason(&self) -> Option<RepeatReason> {
        if self.status != StatusCode::BAD_REQUEST {
            None
        } else if placeholders::is_about_signatures(&self.words) {
            Some(RepeatReason::Signatures)
        } else if thinking::is_about_levels(&self.words) {
            Some(RepeatReason::ThinkingLevel)
        } else {
            None
        }
    }

    /// Tells it in the client's format.
    pub(super) fn told(&self, format: ClientFormat, id: &str) -> ToldError {
        let fault = self.fault();
        if fault.kind.refuses_key() {
            // The client's own credential was good: it is the pool's that Google refuses.
            let error = GatewayError::Forward(Failure::NoKey(Refusal::AllRetired));
            return format.gateway_error(&error, &error.told(), id);
        }
        let opening = self.opening.clone().map(|refusal| GatewayError::Forward(Failure::NoKey(refusal)));
        let opening =
            opening.filter(|opening| opening.status() == self.status.as_u16()).map(|opening| opening.told());
        let openai = opening.as_ref().map(dialect::GatewayError::openai_words);
        let told = format.google_error(self.status.as_u16(), &self.words, openai, id);
        let retry_after_s = match opening {
            Some(opening) => opening.retry_after_s(),
            None => self.wait(fault.wait).map(whole_seconds),
        };
        ToldError { retry_after_s, ..told }
    }

    fn fault(&self) -> Fault {
        let answer = classify::Answer {
            status: self.status.as_u16(),
            retry_after: self.retry_after.as_deref(),
            body: &self.body,
            tools: false,
        };
        classify(&answer, Utc::now().timestamp())
    }

    /// When it is worth coming again, where Google has said so.
    fn wait(&self, wait: Wait) -> Option<Duration> {
        if !matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return None;
        }
        match wait {
            Wait::For(wait) => Some(wait),
            Wait::DailyReset => Some(daily_reset::until_next(Utc::now())),
            Wait::None | Wait::Backoff | Wait::Long | Wait::Retire => None,
        }
    }
}
