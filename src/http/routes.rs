//! The whole route table. Health, the API page and the document it shows are the gateway's own; what is in another vendor's
//! format is translated; everything else is forwarded. Nothing is forwarded for a caller who is not let in.

use super::{docs, forward, health, me, translated};
use actix_web::{guard, web};

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

/// Registers the routes of other vendors' formats. As scopes, since a pattern would be tried on every request's path.
fn translated_routes(config: &mut web::ServiceConfig) {
    // Three kinds of clients read the models; those of Anthropic's say so.
    let of_anthropic = guard::fn_guard(|context| context.head().headers().contains_key("anthropic-version"));
    config
        .service(web::scope("/v1/messages").default_service(web::to(translated::serve)))
        .service(web::scope("/v1/responses").default_service(web::to(translated::serve)))
        .service(web::scope("/anthropic").default_service(web::to(translated::serve)))
        .service(
            web::scope("/v1/models")
                .guard(guard::Get())
                .guard(of_anthropic)
                .default_service(web::to(translated::serve)),
        );
}
