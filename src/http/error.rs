//! The errors that the gateway makes itself, and the only place that chooses their statuses. Each says what to do, in
//! the caller's dialect. They are listed for operators in `docs/errors.md`; a test holds the two together.

use super::{
    auth::Refused,
    body::BodyRefused,
    denied,
    translated::{ClientFormat, ToldError},
};
use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use callers::Denial;
use formats::TranslationError;
use gemini::{
    dialect::{self, ErrorForm, whole_seconds},
    path::PathError,
};
use gemini_balance_actors::{Failure, live::Close};
use keypool::Refusal;
use std::{borrow::Cow, time::Duration};

/// An error of the gateway's own.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum GatewayError {
    /// No credential at all.
    CredentialMissing,
    /// A credential nobody knows.
    CredentialUnknown,
    /// A credential that was not looked at, after too many that nobody knows.
    GuessedTooOften {
        /// For how much longer.
        wait: Duration,
    },
    /// What the caller's own token does not allow, or not now.
    Denied(Denial),
    /// A method that is never served.
    MethodNotServed,
    /// A browser's question for a page that may not call.
    OriginNotAllowed,
    /// A path that is not served, or not well-formed.
    Path(PathError),
    /// A request body that was not taken in.
    Body(BodyRefused, u64),
    /// An upload that nobody here has begun, or that is another caller's.
    NoUpload,
    /// A path of another vendor's that is not served.
    NotTranslated(ClientFormat),
    /// A response that is not kept, or another caller's.
    NoResponse,
    /// A request in another vendor's format that cannot be translated.
    Translation(TranslationError),
    /// No answer to pass on.
    Forward(Failure),
    /// A bug: the actor died.
    Crashed,
}

impl From<Refused> for GatewayError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Missing => Self::CredentialMissing,
            Refused::Unknown => Self::CredentialUnknown,
            Refused::GuessedTooOften { wait } => Self::GuessedTooOften { wait },
            Refused::Denied { denial, .. } => Self::Denied(denial),
        }
    }
}

/// How a Live session is closed for a failure: by then the client's upgrade has been answered, so there is no status.
pub(super) fn failure_close(failure: &Failure) -> Close {
    let error = GatewayError::Forward(failure.clone());
    let code = match error.status() {
        _ if matches!(failure, Failure::NoKey(Refusal::RouteDown { .. })) => 1013,
        // Try Again Later (registered with IANA).
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => 1013,
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => 1008,
        _ => 1011,
    };
    Close { code, reason: error.message().into_owned() }
}

/// What a client is told of a failure, for the transaction log: status and message.
pub fn told_of(failure: &Failure) -> (u16, Cow<'static, str>) {
    let error = GatewayError::Forward(failure.clone());
    (error.status().as_u16(), error.message())
}

impl GatewayError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::CredentialMissing | Self::CredentialUnknown => StatusCode::UNAUTHORIZED,
            Self::GuessedTooOften { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Denied(denial) => status_of_denial(denial),
            Self::MethodNotServed => StatusCode::METHOD_NOT_ALLOWED,
            Self::OriginNotAllowed => StatusCode::FORBIDDEN,
            Self::Path(PathError::NotServed)
            | Self::NoUpload
            | Self::NotTranslated(_)
            | Self::NoResponse
            | Self::Translation(TranslationError::UnknownModel(_)) => StatusCode::NOT_FOUND,
            Self::Path(_) | Self::Body(BodyRefused::Broken, _) | Self::Translation(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Body(BodyRefused::TooLong, _) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyRefused::TooSlow, _) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyRefused::Busy, _) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Crashed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Forward(failure) => match failure {
                Failure::Denied(denial) => status_of_denial(denial),
                Failure::NoKey(Refusal::NoneAllowed) => StatusCode::FORBIDDEN,
                Failure::NoKey(
                    Refusal::AllRetired
                    | Refusal::AllDisabled
                    | Refusal::ModelDown { .. }
                    | Refusal::RetryBudget,
                )
                | Failure::PoolSilent
                | Failure::OwnerGone(_)
                | Failure::LedgerSilent => StatusCode::SERVICE_UNAVAILABLE,
                Failure::NoKey(Refusal::RouteDown { .. })
                | Failure::Unreachable
                | Failure::HeadLost
                | Failure::BodyLost
                | Failure::NotGoogle(_)
                | Failure::NoPage => StatusCode::BAD_GATEWAY,
                Failure::NoKey(_) => StatusCode::TOO_MANY_REQUESTS,
                Failure::TwoProjects(_) | Failure::BadPage(_) => StatusCode::BAD_REQUEST,
                Failure::HeadTimeout => StatusCode::GATEWAY_TIMEOUT,
            },
        }
    }

    /// The code of google.rpc that goes with the status.
    fn grpc_status(&self) -> &'static str {
        match self.status() {
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => "INVALID_ARGUMENT",
            StatusCode::UNAUTHORIZED => "UNAUTHENTICATED",
            StatusCode::FORBIDDEN => "PERMISSION_DENIED",
            StatusCode::METHOD_NOT_ALLOWED => "UNIMPLEMENTED",
            StatusCode::NOT_FOUND => "NOT_FOUND",
            StatusCode::TOO_MANY_REQUESTS => "RESOURCE_EXHAUSTED",
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => "DEADLINE_EXCEEDED",
            StatusCode::INTERNAL_SERVER_ERROR => "INTERNAL",
            _ => "UNAVAILABLE",
        }
    }

    pub(super) fn message(&self) -> Cow<'static, str> {
        match self {
            Self::CredentialMissing => {
                "No credential: send your gateway token as `x-goog-api-key`, `Authorization: Bearer` or `?key=`.".into()
            }
            Self::CredentialUnknown => {
                "The credential is not known to this gateway: ask its operator for a token.".into()
            }
            Self::GuessedTooOften { wait } => format!(
                "Too many credentials from this address are not known to this gateway: wait {} s, then send one that its operator has given out.",
                whole_seconds(*wait)
            )
            .into(),
            Self::MethodNotServed => {
                "This method is not served here: send GET, POST, PUT, PATCH or DELETE.".into()
            }
            Self::OriginNotAllowed => {
                "Pages of this origin may not call this gateway: ask its operator to add it to server.cors_origins.".into()
            }
            Self::Denied(denial) => denied::message(denial),
            Self::Path(error) => error.to_string().into(),
            Self::NoResponse => {
                "No response of yours is kept under this id: it was never stored, is past formats.responses.ttl_h, or was deleted.".into()
            }
            Self::NotTranslated(format) => format.what_is_served().into(),
            Self::Translation(error) => error.to_string().into(),
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
            Self::NoUpload => {
                "No upload of yours is under way at this address: begin it again.".into()
            }
            Self::Crashed => {
                "The gateway failed on this request: try again, and give its operator the x-request-id.".into()
            }
            Self::Forward(failure) => match failure {
                Failure::Denied(denial) => denied::message(denial),
                Failure::NoKey(Refusal::AllRetired) => {
                    "No key of the pool is usable: its operator must replace or reset the retired keys.".into()
                }
                Failure::NoKey(Refusal::AllDisabled) => {
                    "No key of the pool is usable: its operator has disabled all that may serve this request.".into()
                }
                Failure::NoKey(Refusal::NoneAllowed) => {
                    "No key of the pool may serve this request: ask the gateway's operator.".into()
                }
                Failure::NoKey(Refusal::ModelDown { .. } | Refusal::RetryBudget) => {
                    "The model fails on every key at the moment: try again in a while, or use another model.".into()
                }
                Failure::NoKey(Refusal::RouteDown { .. }) => {
                    "The Gemini API cannot be reached from this gateway at the moment: try again in a second; if it stays so, its operator should check the network, the proxy and upstream.gemini_base_url.".into()
                }
                Failure::NoKey(refusal) => match refusal.back_in().map(whole_seconds) {
                    Some(seconds) => format!(
                        "No key of the pool is free: {}. Try again in {seconds} s.",
                        reason(refusal)
                    )
                    .into(),
                    None => "No key of the pool is left to try for this request: try again in a moment.".into(),
                },
                Failure::TwoProjects(names) => format!(
                    "{} and {} belong to different Google projects, and no key reaches both: make one of them again close in time to the other.",
                    names[0], names[1]
                )
                .into(),
                Failure::OwnerGone(name) => format!(
                    "The pool has no usable key of the project that owns {name}: its operator must replace, reset or enable one, or it has to be made again."
                )
                .into(),
                Failure::LedgerSilent => {
                    "The gateway cannot look up whose the named resources are: try again in a moment.".into()
                }
                Failure::PoolSilent => "The key pool did not answer in time: try again in a moment.".into(),
                Failure::Unreachable => {
                    "The Gemini API cannot be reached from this gateway: try again; if it stays so, its operator should check the network, the proxy and upstream.gemini_base_url.".into()
                }
                Failure::HeadLost | Failure::BodyLost => {
                    "The Gemini API broke off before it answered: try again.".into()
                }
                Failure::NotGoogle(status) => format!(
                    "What answered is not the Gemini API but something on the way there (status {status}): try again; if it stays so, the gateway's operator should check the network, the proxy and upstream.gemini_base_url."
                )
                .into(),
                Failure::HeadTimeout => {
                    "The Gemini API did not begin to answer in time: try again, or ask for less.".into()
                }
                Failure::BadPage(bad) => bad.to_string().into(),
                Failure::NoPage => {
                    "The Gemini API answered with what is no page of this list: ask for it in JSON, and with the items' own member among `fields`.".into()
                }
            },
        }
    }

    /// When it is worth trying again, where that is known.
    fn retry_in(&self) -> Option<Duration> {
        match self {
            Self::Forward(Failure::NoKey(refusal)) => refusal.back_in(),
            // The way to Google is tried once a second while it fails, that to the ledger more often.
            Self::Body(BodyRefused::Busy, _)
            | Self::Forward(
                Failure::LedgerSilent
                | Failure::Unreachable
                | Failure::HeadLost
                | Failure::BodyLost
                | Failure::NotGoogle(_),
            ) => Some(Duration::from_secs(1)),
            Self::GuessedTooOften { wait } => Some(*wait),
            _ => self.denial().and_then(denied::retry_in),
        }
    }

    /// What its own token has against it.
    pub(super) fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Denied(denial) | Self::Forward(Failure::Denied(denial)) => Some(denial),
            _ => None,
        }
    }

    /// The quota of Google's that is spent, where it is known which.
    fn spent_quota(&self) -> Option<dialect::SpentQuota<'static>> {
        let Self::Forward(Failure::NoKey(Refusal::Cooling { quota: Some(quota), .. })) = self else {
            return None;
        };
        let model = quota.model.as_deref().map(|model| model.to_owned().into());
        Some(dialect::SpentQuota { id: quota.id.to_string().into(), model })
    }

    /// As the client reads it.
    pub(super) fn told(&self) -> dialect::GatewayError<'static> {
        dialect::GatewayError {
            retry_in: self.retry_in(),
            quota: self.denial().and_then(denied::quota).or_else(|| self.spent_quota()),
            openai: self.denial().map(denied::openai_words),
            ..dialect::GatewayError::new(self.status().as_u16(), self.grpc_status(), self.message())
        }
    }

    /// Makes the answer, in the caller's format.
    pub(super) fn response(&self, form: impl Into<AnswerForm>, id: &str) -> HttpResponse {
        let told = self.told();
        let form: AnswerForm = form.into();
        let (status, body) = match form {
            AnswerForm::Google(form) => (self.status(), told.body(form)),
            AnswerForm::Translated(format) => {
                let ToldError { status, body, .. } = format.gateway_error(self, &told, id);
                (StatusCode::from_u16(status).unwrap_or(self.status()), body)
            }
        };
        let mut response = HttpResponse::build(status);
        response.content_type("application/json; charset=UTF-8");
        match form {
            AnswerForm::Google(_) => _ = response.insert_header(("x-request-id", id)),
            AnswerForm::Translated(format) => format.name_request(&mut response, id),
        }
        if let Some(seconds) = told.retry_after_s() {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        match self {
            // What is left of the body would be read as the next request.
            Self::Body(BodyRefused::TooLong | BodyRefused::TooSlow | BodyRefused::Broken, _) => {
                response.force_close();
            }
            Self::MethodNotServed => {
                response.insert_header((header::ALLOW, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
            }
            Self::CredentialMissing
            | Self::CredentialUnknown
            | Self::Denied(Denial::Disabled | Denial::Expired) => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"gemini-balance\""));
            }
            _ => {}
        }
        if let Some(word) = self.denial().and_then(Denial::limit_word) {
            response.insert_header((denied::LIMIT_HEADER, word));
        }
        if let Some(Denial::Limit(reached)) = self.denial()
            && denied::is_spent(reached)
        {
            // OpenAI's clients try a 429 again but for this.
            response.insert_header(("x-should-retry", "false"));
        }
        response.body(body)
    }
}

/// The format in which an error is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum AnswerForm {
    /// One that Google itself speaks.
    Google(ErrorForm),
    /// Another vendor's.
    Translated(ClientFormat),
}

impl From<ErrorForm> for AnswerForm {
    fn from(form: ErrorForm) -> Self {
        Self::Google(form)
    }
}

fn status_of_denial(denial: &Denial) -> StatusCode {
    match denial {
        Denial::Disabled | Denial::Expired | Denial::Cut => StatusCode::UNAUTHORIZED,
        Denial::Surface(_) | Denial::Model | Denial::HiddenModel | Denial::Projects => StatusCode::FORBIDDEN,
        Denial::Limit(_) => StatusCode::TOO_MANY_REQUESTS,
    }
}

fn reason(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Cooling { .. } => "all that may serve this request are cooling down",
        Refusal::QueueFull { .. } => "too many requests are waiting for one",
        Refusal::WaitedTooLong { .. } => "none came back in time",
        Refusal::AllRetired => "all are retired",
        Refusal::AllDisabled => "all are disabled",
        Refusal::NoneAllowed => "none may serve this request",
        Refusal::NoneLeft => "all were tried",
        Refusal::ModelDown { .. } | Refusal::RetryBudget => "the model fails on every key",
        Refusal::RouteDown { .. } => "the Gemini API cannot be reached",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::body::MessageBody;
    use callers::{LimitName, LimitReached, Opens, SurfaceName};
    use gemini::listing::BadPage;
    use gemini_balance_actors::live::Notice;
    use serde_json::Value;

    const BACK_IN: Duration = Duration::from_secs(34);

    fn denial_after(denial: &Denial) -> Option<Denial> {
        let limit = |name, limit| {
            let opens = Opens::After(BACK_IN);
            Some(Denial::Limit(LimitReached { name, limit, opens }))
        };
        match denial {
            Denial::Disabled => Some(Denial::Expired),
            Denial::Expired => Some(Denial::Cut),
            Denial::Cut => Some(Denial::Surface(SurfaceName::Live)),
            Denial::Surface(_) => Some(Denial::Model),
            Denial::Model => Some(Denial::HiddenModel),
            Denial::HiddenModel => Some(Denial::Projects),
            Denial::Projects => limit(LimitName::Rpm, 60),
            Denial::Limit(LimitReached { opens: Opens::WhenOthersEnd, .. }) => {
                Some(Denial::Limit(LimitReached {
                    name: LimitName::TokensDay,
                    limit: 1_000_000,
                    opens: Opens::Never,
                }))
            }
            Denial::Limit(LimitReached { opens: Opens::Never, .. }) => None,
            Denial::Limit(reached) => match reached.name {
                LimitName::Rpm => limit(LimitName::Tpm, 100_000),
                LimitName::Tpm => limit(LimitName::Rpd, 1_000),
                LimitName::Rpd => limit(LimitName::Concurrent, 4),
                LimitName::Concurrent => limit(LimitName::TokensDay, 1_000_000),
                LimitName::TokensDay => limit(LimitName::TokensMonth, 20_000_000),
                LimitName::TokensMonth => limit(LimitName::MoneyDay, 500_000_000),
                LimitName::MoneyDay => limit(LimitName::MoneyMonth, 5_000_000_000),
                LimitName::MoneyMonth => {
                    Some(Denial::Limit(LimitReached { opens: Opens::WhenOthersEnd, ..*reached }))
                }
            },
        }
    }

    /// One error after another, until each was there. The match has no wildcard, so that a new one cannot be left out.
    fn after(error: &GatewayError) -> Option<GatewayError> {
        use BodyRefused::{Broken, Busy, TooLong, TooSlow};
        use GatewayError::{
            Body, Crashed, CredentialMissing, CredentialUnknown, Denied, Forward, GuessedTooOften,
            MethodNotServed, NoResponse, NotTranslated, OriginNotAllowed, Path, Translation,
        };
        use Refusal::{
            AllDisabled, AllRetired, Cooling, ModelDown, NoneAllowed, NoneLeft, QueueFull, RetryBudget,
            RouteDown, WaitedTooLong,
        };
        let limit = 104_857_600;
        let no_key = |refusal| Forward(Failure::NoKey(refusal));
        Some(match error {
            CredentialMissing => CredentialUnknown,
            CredentialUnknown => GuessedTooOften { wait: BACK_IN },
            GuessedTooOften { .. } => Denied(Denial::Disabled),
            Denied(denial) => denial_after(denial).map_or(MethodNotServed, Denied),
            MethodNotServed => OriginNotAllowed,
            OriginNotAllowed => Path(PathError::TooLong),
            Path(PathError::TooLong) => Path(PathError::NotAbsolute),
            Path(PathError::NotAbsolute) => Path(PathError::DotSegment),
            Path(PathError::DotSegment) => Path(PathError::EncodedSlash),
            Path(PathError::EncodedSlash) => Path(PathError::Backslash),
            Path(PathError::Backslash) => Path(PathError::ControlCharacter),
            Path(PathError::ControlCharacter) => Path(PathError::MalformedEscape),
            Path(PathError::MalformedEscape) => Path(PathError::UnencodedByte(b'"')),
            Path(PathError::UnencodedByte(_)) => Path(PathError::NotServed),
            Path(PathError::NotServed) => GatewayError::NoUpload,
            GatewayError::NoUpload => NotTranslated(ClientFormat::Messages),
            NotTranslated(ClientFormat::Messages) => NotTranslated(ClientFormat::Responses),
            NotTranslated(ClientFormat::Responses) => NoResponse,
            NoResponse => Translation(TranslationError::UnknownModel("mistral".to_owned())),
            Translation(_) => Body(TooSlow, limit),
            Body(TooSlow, _) => Body(TooLong, limit),
            Body(TooLong, _) => Body(Broken, limit),
            Body(Broken, _) => Body(Busy, limit),
            Body(Busy, _) => no_key(Cooling { back_in: BACK_IN, quota: None }),
            Forward(Failure::NoKey(Cooling { .. })) => no_key(QueueFull { back_in: BACK_IN }),
            Forward(Failure::NoKey(QueueFull { .. })) => no_key(WaitedTooLong { back_in: BACK_IN }),
            Forward(Failure::NoKey(WaitedTooLong { .. })) => no_key(NoneLeft),
            Forward(Failure::NoKey(NoneLeft)) => no_key(ModelDown { back_in: BACK_IN }),
            Forward(Failure::NoKey(ModelDown { .. })) => {
                no_key(RouteDown { back_in: Duration::from_millis(700) })
            }
            Forward(Failure::NoKey(RouteDown { .. })) => no_key(RetryBudget),
            Forward(Failure::NoKey(RetryBudget)) => no_key(AllRetired),
            Forward(Failure::NoKey(AllRetired)) => no_key(AllDisabled),
            Forward(Failure::NoKey(AllDisabled)) => no_key(NoneAllowed),
            Forward(Failure::NoKey(NoneAllowed)) => Forward(Failure::PoolSilent),
            Forward(Failure::PoolSilent) => {
                Forward(Failure::TwoProjects(Box::new(["files/a".to_owned(), "files/b".to_owned()])))
            }
            Forward(Failure::TwoProjects(_)) => Forward(Failure::OwnerGone("files/a".into())),
            Forward(Failure::OwnerGone(_)) => Forward(Failure::LedgerSilent),
            Forward(Failure::LedgerSilent) => Forward(Failure::Unreachable),
            Forward(Failure::Unreachable) => Forward(Failure::HeadLost),
            Forward(Failure::HeadLost) => Forward(Failure::BodyLost),
            Forward(Failure::BodyLost) => Forward(Failure::NotGoogle(403)),
            Forward(Failure::NotGoogle(_)) => Forward(Failure::HeadTimeout),
            Forward(Failure::HeadTimeout) => Forward(Failure::BadPage(BadPage::Size)),
            Forward(Failure::BadPage(BadPage::Size)) => Forward(Failure::BadPage(BadPage::Token)),
            Forward(Failure::BadPage(BadPage::Token)) => Forward(Failure::BadPage(BadPage::After)),
            Forward(Failure::BadPage(BadPage::After)) => Forward(Failure::NoPage),
            Forward(Failure::NoPage) => Forward(Failure::Denied(Denial::Disabled)),
            Forward(Failure::Denied(_)) => Crashed,
            Crashed => return None,
        })
    }

    fn all() -> impl Iterator<Item = GatewayError> {
        std::iter::successors(Some(GatewayError::CredentialMissing), after)
    }

    /// The error object that a client reads.
    fn answered(error: &GatewayError, form: ErrorForm) -> Value {
        let response = error.response(form, "id");
        assert_eq!(response.headers().get("x-request-id").unwrap(), "id");
        let body = response.into_body().try_into_bytes().unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()["error"].take()
    }

    #[test]
    fn every_error_is_listed_as_it_is_answered() {
        let list = include_str!("../../docs/errors.md");
        for error in all() {
            let native = answered(&error, ErrorForm::Status);
            let openai = answered(&error, ErrorForm::OpenAi);
            assert_eq!(native["message"], openai["message"]);
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let mut words = format!("`{}`", text(&openai["type"]));
            if let Some(code) = openai["code"].as_str() {
                words = format!("{words}, `{code}`");
            }
            let row = format!(
                "| {} | `{}` | {words} | {} | ",
                native["code"],
                text(&native["status"]),
                text(&native["message"])
            );
            assert!(list.contains(&row), "docs/errors.md lacks: {row}");
        }
    }

    #[test]
    fn every_close_is_listed_as_it_is_sent() {
        let list = include_str!("../../docs/errors.md");
        for Close { code, reason } in Notice::all().map(|notice| notice.close()) {
            let row = format!("| {code} | {reason} | ");
            assert!(list.contains(&row), "docs/errors.md lacks: {row}");
        }
        let cooling = Failure::NoKey(Refusal::Cooling { back_in: BACK_IN, quota: None });
        let route_down = Failure::NoKey(Refusal::RouteDown { back_in: BACK_IN });
        let codes = [cooling, route_down, Failure::PoolSilent, Failure::Unreachable, Failure::HeadTimeout]
            .map(|failure| failure_close(&failure).code);
        assert_eq!(codes, [1013, 1013, 1013, 1011, 1011]);
    }

    #[test]
    fn a_client_is_told_when_to_come_back_where_that_is_known() {
        let retry_after = |error: &GatewayError| {
            let response = error.response(ErrorForm::Status, "id");
            response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned())
        };
        let waits = all().filter_map(|error| retry_after(&error)).collect::<Vec<_>>();
        // Those of a token: eight limits, and what others have set aside; then a body, the pool's, and the faults of the way.
        let of_token = [["34"; 8].as_slice(), &["1"]].concat();
        assert_eq!(waits, [&["34"], &*of_token, &["1", "34", "34", "34", "34", "1"], &["1"; 5]].concat());
        let short = Refusal::Cooling { back_in: Duration::from_millis(1), quota: None };
        assert_eq!(retry_after(&GatewayError::Forward(Failure::NoKey(short))).as_deref(), Some("1"));
    }
}
