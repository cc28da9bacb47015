//! The whole route table. Health, the API page and the document it shows are the gateway's own; what is in another vendor's
//! format is translated; everything else is forwarded. Nothing is forwarded for a caller who is not let in.

use super::{docs, forward, health, me, translated};
use actix_web::{dev::RequestHead, guard, http::Method, web};
use gemini::path::folded;
use std::borrow::Cow;

/// Registers every route.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/health", web::get().to(health::health))
        .route("/health", web::head().to(health::health))
        .route("/health/live", web::get().to(health::live))
        .route("/health/live", web::head().to(health::live))
        .route("/health/ready", web::get().to(health::ready))
        .route("/health/ready", web::head().to(health::ready))
        .route("/me", web::get().to(me::me))
        .route("/openapi.json", web::get().to(docs::openapi));
    translated_routes(config);
    docs::page(config);
    #[cfg(debug_assertions)]
    config
        .route("/debug/panic/key_manager", web::post().to(forward::panic_key_manager))
        .route("/debug/panic/store", web::post().to(forward::panic_store));
    config.default_service(web::to(forward::forward));
}

/// Where the paths of other vendors' formats begin. Some are here to be refused in the format's words, rather than by Google with
/// a page: what belongs to a format and is not served, and paths with a `/v1` too many, as a base URL with one makes them.
const TRANSLATED: [&str; 6] = [
    "/v1/messages",
    "/v1/responses",
    "/anthropic",
    "/v1/conversations",
    "/v1/v1/messages",
    "/v1/v1/responses",
];
/// What Google's OpenAI layer serves beneath `/v1`, whatever headers a client adds.
const GOOGLES: [&str; 6] = ["models", "chat", "embeddings", "images", "videos", "batches"];
/// Where the models are. Three kinds of clients read them; those of Anthropic's say so.
const MODELS: &str = "/v1/models";
/// What clients of Anthropic's send with every request.
const ANTHROPIC_VERSION: &str = "anthropic-version";

/// Registers the routes of other vendors' formats. As scopes, since a pattern would be tried on every request's path.
fn translated_routes(config: &mut web::ServiceConfig) {
    for path in TRANSLATED {
        config.service(web::scope(path).default_service(web::to(translated::serve)));
    }
    let models = guard::fn_guard(|context| reads_models(context.head()));
    config.service(web::scope(MODELS).guard(models).default_service(web::to(translated::serve)));
    // Where a base URL ends in a slash, there are two: such a path is the one it folds to, as those that are forwarded are.
    // And what Anthropic's clients ask for otherwise is not served at all, which they are told in their format.
    let folds =
        guard::fn_guard(|context| folds_to_translated(context.head()) || is_of_anthropic(context.head()));
    config.service(web::scope("").guard(folds).default_service(web::to(translated::serve)));
}

/// Whether Anthropic's clients ask for the models.
fn reads_models(head: &RequestHead) -> bool {
    head.method == Method::GET && head.headers().contains_key(ANTHROPIC_VERSION)
}

/// Whether a client of Anthropic's asks for what Google does not have.
fn is_of_anthropic(head: &RequestHead) -> bool {
    if !head.headers().contains_key(ANTHROPIC_VERSION) {
        return false;
    }
    let path = folded(head.uri.path());
    let first = path.strip_prefix("/v1/").and_then(|beneath| beneath.split('/').next());
    is_in(&path, "/v1") && !first.is_some_and(|first| GOOGLES.contains(&first))
}

/// Whether a path is another, or beneath it.
fn is_in(path: &str, scope: &str) -> bool {
    path.strip_prefix(scope).is_some_and(|within| within.is_empty() || within.starts_with('/'))
}

/// Whether a path has slashes too many, and is one of another vendor's format without them.
fn folds_to_translated(head: &RequestHead) -> bool {
    let Cow::Owned(path) = folded(head.uri.path()) else { return false };
    TRANSLATED.into_iter().any(|scope| is_in(&path, scope)) || is_in(&path, MODELS) && reads_models(head)
}
