//! The whole route table. Everything but health, the API page and the document it shows is forwarded, and nothing is
//! forwarded for a caller who is not let in.

use super::{docs, forward, health, me};
use actix_web::web;

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
    docs::page(config);
    #[cfg(debug_assertions)]
    config
        .route("/debug/panic/key_manager", web::post().to(forward::panic_key_manager))
        .route("/debug/panic/store", web::post().to(forward::panic_store));
    config.default_service(web::to(forward::forward));
}
