//! The errors that the gateway makes itself, and the only place that chooses their statuses. Each says what to do, in
//! the caller's dialect. They are listed for operators in `docs/errors.md`; a test holds the two together.

use super::body::BodyRefused;
use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use gemini::path::{Dialect, PathError};
use gemini_balance_actors::forward::Failure;
use keypool::Refusal;
use std::{borrow::Cow, time::Duration};

/// An error of the gateway's own.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum GatewayError {
    /// No credential at all.
    CredentialMissing,
    /// A credential nobody knows.
    CredentialUnknown,
    /// A path that is not served, or not well-formed.
    Path(PathError),
    /// A request body that was not taken in.
    Body(BodyRefused, usize),
    /// No answer to pass on.
    Forward(Failure),
    /// A bug: the actor died.
    Crashed,
}

/// The HTTP status of a failure, for the transaction log.
pub fn status_of(failure: &Failure) -> u16 {
    GatewayError::Forward(failure.clone()).status().as_u16()
}

impl GatewayError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::CredentialMissing | Self::CredentialUnknown => StatusCode::UNAUTHORIZED,
            Self::Path(PathError::NotServed) => StatusCode::NOT_FOUND,
            Self::Path(_) | Self::Body(BodyRefused::Broken, _) => StatusCode::BAD_REQUEST,
            Self::Body(BodyRefused::TooLong, _) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyRefused::TooSlow, _) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyRefused::Busy, _) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Crashed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Forward(failure) => match failure {
                Failure::NoKey(Refusal::AllRetired) | Failure::PoolSilent => StatusCode::SERVICE_UNAVAILABLE,
                Failure::NoKey(_) => StatusCode::TOO_MANY_REQUESTS,
                Failure::Unreachable | Failure::HeadLost | Failure::BodyLost => StatusCode::BAD_GATEWAY,
                Failure::HeadTimeout => StatusCode::GATEWAY_TIMEOUT,
            },
        }
    }

    /// The code of google.rpc that goes with the status.
    fn grpc_status(&self) -> &'static str {
        match self.status() {
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => "INVALID_ARGUMENT",
            StatusCode::UNAUTHORIZED => "UNAUTHENTICATED",
            StatusCode::NOT_FOUND => "NOT_FOUND",
            StatusCode::TOO_MANY_REQUESTS => "RESOURCE_EXHAUSTED",
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => "DEADLINE_EXCEEDED",
            StatusCode::INTERNAL_SERVER_ERROR => "INTERNAL",
            _ => "UNAVAILABLE",
        }
    }

    fn message(&self) -> Cow<'static, str> {
        match self {
            Self::CredentialMissing => {
                "No credential: send your gateway token as `x-goog-api-key`, `Authorization: Bearer` or `?key=`.".into()
            }
            Self::CredentialUnknown => {
                "The credential is not known to this gateway: ask its operator for a token.".into()
            }
            Self::Path(error) => error.to_string().into(),
            Self::Body(BodyRefused::TooLong, limit) => format!(
                "The request body is over this gateway's limit of {limit} bytes: send less, or upload files first and name them."
            )
            .into(),
            Self::Body(BodyRefused::TooSlow, _) => "The request body did not arrive in time: send it again.".into(),
            Self::Body(BodyRefused::Broken, _) => {
                "The request body broke off or is not framed as its headers say: send it again.".into()
            }
            Self::Body(BodyRefused::Busy, _) => {
                "The gateway holds as many request bodies as it may: try again in a moment.".into()
            }
            Self::Crashed => {
                "The gateway failed on this request: try again, and give its operator the x-request-id.".into()
            }
            Self::Forward(failure) => match failure {
                Failure::NoKey(Refusal::AllRetired) => {
                    "No key of the pool is usable: its operator must replace or reset the retired keys.".into()
                }
                Failure::NoKey(refusal) => match retry_after(refusal) {
                    Some(seconds) => format!(
                        "No key of the pool is free: {}. Try again in {seconds} s.",
                        reason(refusal)
                    )
                    .into(),
                    None => "No key of the pool is left to try for this request: try again in a moment.".into(),
                },
                Failure::PoolSilent => "The key pool did not answer in time: try again in a moment.".into(),
                Failure::Unreachable => {
                    "The Gemini API cannot be reached from this gateway: try again; if it stays so, its operator should check the network, the proxy and upstream.gemini_base_url.".into()
                }
                Failure::HeadLost | Failure::BodyLost => {
                    "The Gemini API broke off before it answered: try again.".into()
                }
                Failure::HeadTimeout => {
                    "The Gemini API did not begin to answer in time: try again, or ask for less.".into()
                }
            },
        }
    }

    /// The answer.
    pub(super) fn response(&self, dialect: Dialect, id: &str) -> HttpResponse {
        let status = self.status();
        let body = gemini::dialect::error_body(dialect, status.as_u16(), self.grpc_status(), &self.message());
        let mut response = HttpResponse::build(status);
        response.content_type("application/json; charset=UTF-8").insert_header(("x-request-id", id));
        match self {
            Self::Forward(Failure::NoKey(refusal)) => {
                if let Some(seconds) = retry_after(refusal) {
                    response.insert_header((header::RETRY_AFTER, seconds.to_string()));
                }
            }
            Self::Body(BodyRefused::Busy, _) => {
                response.insert_header((header::RETRY_AFTER, "1"));
            }
            // What is left of the body would be read as the next request.
            Self::Body(..) => {
                response.force_close();
            }
            Self::CredentialMissing | Self::CredentialUnknown => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"gemini-balance\""));
            }
            _ => {}
        }
        response.body(body)
    }
}

fn reason(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Cooling { .. } => "all that may serve this request are cooling down",
        Refusal::QueueFull { .. } => "too many requests are waiting for one",
        Refusal::WaitedTooLong { .. } => "none came back in time",
        Refusal::AllRetired => "all are retired",
        Refusal::NoneLeft => "all were tried",
    }
}

/// Whole seconds until a key is back, at least one.
fn retry_after(refusal: &Refusal) -> Option<u64> {
    let whole =
        |back_in: Duration| u64::try_from(back_in.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1);
    refusal.back_in().map(whole)
}
