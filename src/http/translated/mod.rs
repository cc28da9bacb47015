//! Requests in other vendors' formats: each is translated into an ordinary `Job` for Google, and its answer back. What is
//! translated into what is known to the crate `formats`; everything below speaks Gemini. The routes are in `routes`, the
//! way of one request in `exchange`.

mod client_request;
mod exchange;
mod format;
mod google_refusal;
mod kept;
mod limits;
mod listed;
mod listing;
mod repeats;
mod state;
mod stream;

pub(super) use format::{ClientFormat, ToldError};
pub(crate) use kept::KeptResponses;
pub(crate) use listed::ListedModels;
pub(crate) use repeats::{RepeatReason, TranslationRepeats};

use super::{AppState, arrival::Arrival, error::GatewayError, respond::with_unread};
use actix_web::{HttpRequest, HttpResponse, http::Method, web};
use exchange::Exchange;
use futures_util::FutureExt;
use gemini::path::folded;
use std::{panic::AssertUnwindSafe, rc::Rc};

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TranslatedPath<'a> {
    /// `POST /v1/messages`, `POST /v1/responses`: an answer.
    Answer,
    /// How many tokens a request has.
    Count,
    /// `GET`, `DELETE /v1/responses/ID`: what is kept.
    Kept(&'a str),
    /// `GET /v1/responses/ID/input_items`
    Items(&'a str),
    /// The models, or one of them.
    Models(Option<&'a str>),
}

/// Serves a request whose path belongs to a format of another vendor's.
pub(super) async fn serve(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<Rc<AppState>>,
) -> HttpResponse {
    let format = format_of(&folded(request.path()));
    let mut payload = Some(payload);
    let mut arrival = Arrival::of(&request, &state);
    // The panic guard: a bug in here costs this request only, and its client is told.
    let handled = handle(&request, &mut payload, &state, &mut arrival, format);
    let error = match AssertUnwindSafe(handled).catch_unwind().await {
        Ok(Ok(response)) => return response,
        Ok(Err(error)) => error,
        Err(_) => GatewayError::Crashed,
    };
    let mut response = arrival.refuse_in(&request, &state, &error, format);
    if let Ok(caller) = &arrival.caller {
        for (name, value) in limits::headers(format, caller, state.clock) {
            response.headers_mut().insert(name, value);
        }
    }
    match payload {
        Some(payload) => with_unread(response, payload),
        None => response,
    }
}

async fn handle(
    request: &HttpRequest,
    payload: &mut Option<web::Payload>,
    state: &AppState,
    arrival: &mut Arrival,
    format: ClientFormat,
) -> Result<HttpResponse, GatewayError> {
    let caller = arrival.caller.clone()?;
    let not_served = GatewayError::NotTranslated(format);
    if !state.current.formats.contains(&format.name()) {
        return Err(not_served);
    }
    let path = folded(request.path());
    let asked = read_path(request.method(), &path, format).ok_or(not_served)?;
    let exchange = Exchange { request, state, format, caller };
    match asked {
        TranslatedPath::Answer => Box::pin(exchange.answer(payload, arrival)).await,
        TranslatedPath::Count => Box::pin(exchange.count(payload, arrival)).await,
        TranslatedPath::Kept(id) if request.method() == Method::DELETE => exchange.forget(id, arrival).await,
        TranslatedPath::Kept(id) => exchange.show(id, arrival).await,
        TranslatedPath::Items(id) => exchange.items(id, arrival).await,
        TranslatedPath::Models(id) => Box::pin(exchange.models(id, arrival)).await,
    }
}

/// Seconds since 1970.
fn now_s() -> u64 {
    u64::try_from(chrono::Utc::now().timestamp()).unwrap_or_default()
}

/// The prefix under which all of Anthropic's paths are, for those whose `/v1` is taken.
const ANTHROPIC: &str = "/anthropic";

/// Returns the format that a path belongs to. Like all of a path that is read here, it is folded.
fn format_of(path: &str) -> ClientFormat {
    let of_responses = ["/v1/responses", "/v1/v1/responses", "/v1/conversations"];
    let is_responses = of_responses.into_iter().any(|start| path.starts_with(start));
    if is_responses { ClientFormat::Responses } else { ClientFormat::Messages }
}

/// Reads what a method and a path ask for in a format; `None` where nothing is served.
fn read_path<'a>(method: &Method, path: &'a str, format: ClientFormat) -> Option<TranslatedPath<'a>> {
    let path = path.strip_prefix(ANTHROPIC).unwrap_or(path).strip_prefix("/v1/")?.trim_end_matches('/');
    let steps: Vec<&str> = path.split('/').collect();
    Some(match (format, method.as_str(), steps.as_slice()) {
        (ClientFormat::Messages, "POST", ["messages"]) | (ClientFormat::Responses, "POST", ["responses"]) => {
            TranslatedPath::Answer
        }
        (ClientFormat::Messages, "POST", ["messages", "count_tokens"])
        | (ClientFormat::Responses, "POST", ["responses", "input_tokens"]) => TranslatedPath::Count,
        (ClientFormat::Responses, "GET" | "DELETE", ["responses", id]) => TranslatedPath::Kept(id),
        (ClientFormat::Responses, "GET", ["responses", id, "input_items"]) => TranslatedPath::Items(id),
        (ClientFormat::Messages, "GET", ["models"]) => TranslatedPath::Models(None),
        (ClientFormat::Messages, "GET", ["models", id]) => TranslatedPath::Models(Some(id)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_asks_for_one_thing_and_all_others_are_told_so_in_their_format() {
        for (method, path, expected) in [
            ("POST", "/v1/messages", Some(TranslatedPath::Answer)),
            ("POST", "/v1/messages/", Some(TranslatedPath::Answer)),
            ("POST", "/anthropic/v1/messages", Some(TranslatedPath::Answer)),
            ("GET", "/v1/messages", None),
            ("POST", "/v1/messages/count_tokens", Some(TranslatedPath::Count)),
            ("POST", "/v1/messages/batches", None),
            ("POST", "/anthropic/v1/files", None),
            ("GET", "/anthropic/v1/models", Some(TranslatedPath::Models(None))),
            ("GET", "/v1/models/gemini-x", Some(TranslatedPath::Models(Some("gemini-x")))),
            ("POST", "/v1/responses", Some(TranslatedPath::Answer)),
            ("POST", "/v1/responses/input_tokens", Some(TranslatedPath::Count)),
            ("GET", "/v1/responses/resp_1", Some(TranslatedPath::Kept("resp_1"))),
            ("DELETE", "/v1/responses/resp_1", Some(TranslatedPath::Kept("resp_1"))),
            ("GET", "/v1/responses/resp_1/input_items", Some(TranslatedPath::Items("resp_1"))),
            ("POST", "/v1/responses/compact", None),
            ("POST", "/v1/conversations", None),
            ("POST", "/v1/v1/messages", None),
            ("POST", "/v1/v1/responses", None),
            ("GET", "/v1/files", None),
            ("POST", "/v1/responses/resp_1/cancel", None),
        ] {
            let method = method.parse().unwrap();
            assert_eq!(read_path(&method, path, format_of(path)), expected, "{method} {path}");
        }
        for path in ["/v1/responses/compact", "/v1/conversations/conv_1/items", "/v1/v1/responses"] {
            assert_eq!(format_of(path), ClientFormat::Responses, "{path}");
        }
        for path in ["/v1/v1/messages", "/v1/files", "/anthropic/v1/files"] {
            assert_eq!(format_of(path), ClientFormat::Messages, "{path}");
        }
    }
}
