//! The API page: `/docs`, drawn from the OpenAPI document at `/openapi.json` by an interface that is part of the binary.

use actix_web::{HttpResponse, web};
use utoipa::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

/// The service's endpoints, for the document.
#[derive(OpenApi)]
#[openapi(info(
    title = "gemini-balance",
    description = "The whole Gemini API behind one address, on a pool of keys. Any other path of the Gemini API is forwarded as well."
))]
struct Document;

/// `GET /openapi.json`
pub(super) async fn openapi() -> HttpResponse {
    HttpResponse::Ok().json(Document::openapi())
}

/// `GET /docs`
pub(super) fn page(config: &mut web::ServiceConfig) {
    config
        .route("/docs", web::get().to(|| async { web::Redirect::to("docs/") }))
        .service(SwaggerUi::new("/docs/{_:.*}").config(utoipa_swagger_ui::Config::from("/openapi.json")));
}
