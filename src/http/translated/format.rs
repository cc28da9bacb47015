//! Which of the formats a request is in, and what that decides: how requests and answers are translated, and in which words
//! errors are told. The only place that knows both formats by name.

use crate::{http::error::GatewayError, settings::FormatName};
use actix_web::HttpResponseBuilder;
use bytes::Bytes;
use formats::{
    AnswerFault, AnswerSeed, AnswerStream, GeminiCall, TranslationError, UnaryAnswer,
    anthropic::{self, MessagesAnswer, MessagesStream},
    responses::{self, ResponsesAnswer, ResponsesStream},
};
use gemini::dialect;
use gemini_balance_actors::transaction::Translated;

/// A format of another vendor's, as a client speaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum ClientFormat {
    /// Anthropic's Messages.
    Messages,
    /// OpenAI's Responses.
    Responses,
}

/// An error as a client of one of the formats reads it.
pub(in crate::http) struct ToldError {
    pub(in crate::http) status: u16,
    pub(in crate::http) body: String,
    /// In how many seconds it is worth coming again, where that is known.
    pub(in crate::http) retry_after_s: Option<u64>,
}

impl ToldError {
    fn new(status: u16, body: String) -> Self {
        Self { status, body, retry_after_s: None }
    }
}

/// A request as Google is to be asked, with what its answer's translation needs.
pub(super) enum Prepared {
    Messages(Box<GeminiCall>),
    Responses(Box<responses::CreateCall>),
}

impl ClientFormat {
    /// Returns its name in the settings.
    pub(super) fn name(self) -> FormatName {
        match self {
            Self::Messages => FormatName::Anthropic,
            Self::Responses => FormatName::Responses,
        }
    }

    /// Returns what a transaction tells of a request in it.
    pub(in crate::http) fn translated(self, asked_model: &str) -> Translated {
        let format = match self {
            Self::Messages => "anthropic",
            Self::Responses => "responses",
        };
        Translated { format, asked_model: asked_model.chars().take(200).collect::<String>().into() }
    }

    /// Returns what of the vendor's API there is, for those who ask for something else.
    pub(in crate::http) fn what_is_served(self) -> &'static str {
        match self {
            Self::Messages => {
                "This is not served here: of Anthropic's API there are /v1/messages, /v1/messages/count_tokens and /v1/models, unless formats.enabled leaves them out."
            }
            Self::Responses => {
                "This is not served here: of OpenAI's Responses there are POST /v1/responses, POST /v1/responses/input_tokens, GET and DELETE /v1/responses/ID and GET /v1/responses/ID/input_items, unless formats.enabled leaves them out."
            }
        }
    }

    /// Returns what shows a waiting client that the connection lives.
    pub(super) fn ping(self) -> Option<&'static [u8]> {
        match self {
            Self::Messages => Some(anthropic::PING),
            Self::Responses => None,
        }
    }

    /// Names the request in an answer's headers, as the vendor's clients look for it.
    pub(in crate::http) fn name_request(self, response: &mut HttpResponseBuilder, id: &str) {
        response.insert_header(("x-request-id", id));
        if self == Self::Messages {
            response.insert_header(("request-id", id));
        }
    }

    /// Translates Google's count.
    pub(super) fn count_answer(self, google: &[u8]) -> Result<Bytes, AnswerFault> {
        match self {
            Self::Messages => anthropic::count_answer(google),
            Self::Responses => responses::input_tokens_answer(google),
        }
    }

    /// Tells an error of Google's. `openai` is the `type` and the `code` in OpenAI's form, where more is known than the
    /// status says.
    pub(super) fn google_error(
        self,
        status: u16,
        words: &str,
        openai: Option<(&str, Option<&str>)>,
        id: &str,
    ) -> ToldError {
        let words = if words.is_empty() { "the Gemini API has refused the request" } else { words };
        match self {
            Self::Messages => {
                let (status, kind, message) = anthropic::google_error(status, words);
                ToldError::new(status, anthropic::error_body(kind, &message, id, None))
            }
            Self::Responses => {
                let (status, kind, code, message) = responses::google_error(status, words);
                let (kind, code) = openai.unwrap_or((kind, code));
                ToldError::new(status, responses::error_body(kind, &message, None, code))
            }
        }
    }

    /// Tells what is wrong with an answer of Google's of which the client was sent nothing.
    pub(super) fn fault(self, fault: &AnswerFault, id: &str) -> ToldError {
        match self {
            Self::Messages => {
                let (status, kind, message) = anthropic::fault_error(fault);
                ToldError::new(status, anthropic::error_body(kind, &message, id, None))
            }
            Self::Responses => {
                let (status, kind, code, message) = responses::fault_error(fault);
                ToldError::new(status, responses::error_body(kind, &message, None, code))
            }
        }
    }

    /// Tells an error of the gateway's own. `told` is what a client of Google's formats would read.
    pub(in crate::http) fn gateway_error(
        self,
        error: &GatewayError,
        told: &dialect::GatewayError<'_>,
        id: &str,
    ) -> ToldError {
        if let GatewayError::Translation(error) = error {
            return self.translation_error(error, id);
        }
        match self {
            Self::Messages => {
                let (status, kind, _) = anthropic::google_error(told.status, &told.message);
                ToldError::new(status, anthropic::error_body(kind, &told.message, id, None))
            }
            Self::Responses => {
                let (kind, code) = told.openai_words();
                ToldError::new(told.status, responses::error_body(kind, &told.message, None, code))
            }
        }
    }

    fn translation_error(self, error: &TranslationError, id: &str) -> ToldError {
        match self {
            Self::Messages => {
                let (status, kind, details) = anthropic::refusal_of(error);
                ToldError::new(status, anthropic::error_body(kind, &error.to_string(), id, details))
            }
            Self::Responses => {
                let (status, kind, param, code) = responses::refusal_of(error);
                let message = responses::refusal_message(error);
                let body = responses::error_body(kind, &message, param.as_deref(), code);
                ToldError::new(status, body)
            }
        }
    }
}

impl Prepared {
    /// Returns what Google is asked.
    pub(super) fn call(&self) -> &GeminiCall {
        match self {
            Self::Messages(call) => call,
            Self::Responses(create) => &create.call,
        }
    }

    /// Makes the machine for an answer that comes whole.
    pub(super) fn whole(&self, seed: AnswerSeed) -> Box<dyn UnaryAnswer> {
        let memory = self.call().memory.clone();
        match self {
            Self::Messages(_) => Box::new(MessagesAnswer::new(memory, seed)),
            Self::Responses(_) => Box::new(ResponsesAnswer::new(memory, seed)),
        }
    }

    /// Makes the machine for an answer that comes in events.
    pub(super) fn stream(&self, seed: AnswerSeed) -> Box<dyn AnswerStream> {
        let memory = self.call().memory.clone();
        match self {
            Self::Messages(_) => Box::new(MessagesStream::new(memory, seed)),
            Self::Responses(_) => Box::new(ResponsesStream::new(memory, seed)),
        }
    }
}
