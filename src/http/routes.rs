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

/// Where the paths of other vendors' formats begin.
const TRANSLATED: [&str; 3] = ["/v1/messages", "/v1/responses", "/anthropic"];
/// Where the models are. Three kinds of clients read them; those of Anthropic's say so.
const MODELS: &str = "/v1/models";

/// Registers the routes of other vendors' formats. As scopes, since a pattern would be tried on every request's path.
fn translated_routes(config: &mut web::ServiceConfig) {
    for path in TRANSLATED {
        config.service(web::scope(path).default_service(web::to(translated::serve)));
    }
    let models = guard::fn_guard(|context| reads_models(context.head()));
    config.service(web::scope(MODELS).guard(models).default_service(web::to(translated::serve)));
    // Where a base URL ends in a slash, there are two: such a path is the one it folds to, as those that are forwarded are.
    let folds = guard::fn_guard(|context| folds_to_translated(context.head()));
    config.service(web::scope("").guard(folds).default_service(web::to(translated::serve)));
}

/// Whether Anthropic's clients ask for the models.
fn reads_models(head: &RequestHead) -> bool {
    head.method == Method::GET && head.headers().contains_key("anthropic-version")
}

/// Whether a path has slashes too many, and is one of another vendor's format without them.
fn folds_to_translated(head: &RequestHead) -> bool {
    let Cow::Owned(path) = folded(head.uri.path()) else { return false };
    let is_in = |scope: &str| {
        path.strip_prefix(scope).is_some_and(|within| within.is_empty() || within.starts_with('/'))
    };
    TRANSLATED.into_iter().any(is_in) || is_in(MODELS) && reads_models(head)
}
