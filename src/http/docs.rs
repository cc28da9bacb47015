//! The API page: `/docs`, drawn by an interface that is part of the binary from the OpenAPI document at `/openapi.json`.
//! The document is put together here; what it says of each endpoint is in `endpoints`. Both are for whoever asks: they
//! hold nothing of the configuration.

mod endpoints;

use super::{body::BodyRefused, error::GatewayError};
use actix_web::{
    HttpResponse,
    body::MessageBody,
    http::header::{self, HeaderValue},
    middleware::DefaultHeaders,
    web,
};
use callers::Denial;
use endpoints::{Example, Role, endpoints};
use gemini::path::{ErrorForm, PathError};
use gemini_balance_actors::Failure;
use keypool::{NamedQuota, Refusal};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use utoipa::openapi::{
    Components, ComponentsBuilder, Content, ContentBuilder, Header, HttpMethod, InfoBuilder, ObjectBuilder,
    OpenApi, OpenApiBuilder, PathItem, Paths, PathsBuilder, Ref, RefOr, Required, Response, ResponseBuilder,
    Schema, Type,
    path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
    request_body::RequestBodyBuilder,
    security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    server::Server,
    tag::TagBuilder,
};
use utoipa_swagger_ui::{Config, SwaggerUi};

const ABOUT: &str = "\
The whole Gemini API behind one address, on a pool of keys. The endpoints below are the usual ones, not all: **any other \
path** under `/v1`, `/v1beta` or `/v1alpha` (or a version yet to come), `/upload` and `/download` with a version, and \
the OpenAI layer under `/v1beta/openai`, `/openai/v1` or `/v1`, **is forwarded as well**, with any method. Request and \
answer bodies pass byte for byte, so Google's own reference holds for every field, and Google's errors come unchanged.

A client shows its gateway token as `x-goog-api-key`, `x-api-key`, `Authorization: Bearer` or `?key=`, on any path. Paths \
under `/v1` that both formats know (`/v1/models`, `/v1/files`, `/v1/batches`) are OpenAI's for a Bearer token and \
Google's otherwise.

Pages in browsers may call from the origins in `server.cors_origins`, which are all unless the operator has narrowed them.

Errors that the gateway makes itself come in the format of the path. Every forwarded answer and every such error \
carries `x-request-id`, the name of the request in the gateway's logs.";

/// The page loads nothing from anywhere else, and cannot.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
);

/// The names of the three ways to show a token.
const GOOG_HEADER: &str = "x-goog-api-key";
const BEARER: &str = "bearer";
const QUERY_KEY: &str = "key";

/// `GET /openapi.json`
pub(super) async fn openapi() -> HttpResponse {
    HttpResponse::Ok().json(document())
}

/// `GET /docs`
pub(super) fn page(config: &mut web::ServiceConfig) {
    // Relative addresses, so that the page works under a proxy's prefix too; and no validator, which would be a request
    // to its makers' server.
    let ui = Config::new(["../openapi.json"]).validator_url("none").default_models_expand_depth(-1);
    config.service(
        web::scope("/docs")
            .wrap(DefaultHeaders::new().add((header::CONTENT_SECURITY_POLICY, POLICY)))
            .route("", web::get().to(|| async { web::Redirect::to("docs/") }))
            .service(SwaggerUi::new("/{_:.*}").config(ui)),
    );
}

fn document() -> OpenApi {
    let tags = [Role::Gateway, Role::Caller, Role::Gemini, Role::OpenAi, Role::Translated]
        .map(|role| TagBuilder::new().name(role.tag()).description(Some(role.about())).build());
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("gemini-balance")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(ABOUT)),
        )
        .servers(Some([Server::new("./")]))
        .tags(Some(tags))
        .paths(paths())
        .components(Some(components()))
        .build()
}

fn paths() -> Paths {
    let mut paths = PathsBuilder::new();
    for endpoint in endpoints() {
        let mut operation = OperationBuilder::new()
            .tag(endpoint.role.tag())
            .summary(Some(endpoint.summary))
            .operation_id(Some(endpoint.id))
            .parameters(Some(parameters(&endpoint)))
            .response("200", answer(endpoint.answer_about, &endpoint.answers));
        if let Some(request) = &endpoint.request {
            operation = operation.request_body(Some(
                RequestBodyBuilder::new()
                    .required(Some(Required::True))
                    .content(request.media_type, content(request))
                    .build(),
            ));
        }
        if let Some(text) = endpoint.about {
            operation = operation.description(Some(text));
        }
        let operation = match endpoint.role {
            Role::Gateway => not_ready(operation, endpoint.unavailable.as_ref()),
            Role::Caller => asked(operation),
            Role::Gemini => forwarded(operation, ErrorForm::Status, [GOOG_HEADER, BEARER, QUERY_KEY]),
            Role::OpenAi => forwarded(operation, ErrorForm::OpenAi, [BEARER, GOOG_HEADER, QUERY_KEY]),
            Role::Translated => translated(operation),
        };
        paths = paths.path(endpoint.path, PathItem::new(endpoint.method, operation));
    }
    paths.build()
}

/// The parameters of the path, with an example each, and of the query.
fn parameters(endpoint: &endpoints::Endpoint) -> Vec<Parameter> {
    endpoint
        .parameters
        .iter()
        .map(|parameter| {
            let in_path = endpoint.path.contains(&format!("{{{}}}", parameter.name));
            ParameterBuilder::new()
                .name(parameter.name)
                .parameter_in(if in_path { ParameterIn::Path } else { ParameterIn::Query })
                .required(if in_path { Required::True } else { Required::False })
                .description(Some(parameter.about))
                .example(parameter.example.map(Into::into))
                .schema(Some(text_schema()))
                .build()
        })
        .collect()
}

fn not_ready(operation: OperationBuilder, unavailable: Option<&Example>) -> Operation {
    let operation = operation.securities(Some(Vec::<SecurityRequirement>::new()));
    match unavailable {
        Some(example) => operation
            .response("503", answer("Requests cannot be served, and why.", std::slice::from_ref(example))),
        None => operation,
    }
    .build()
}

/// Any one credential will do, and there is no other error than that of one that will not.
fn asked(operation: OperationBuilder) -> Operation {
    let operation = operation.securities(Some(
        [GOOG_HEADER, BEARER, QUERY_KEY]
            .map(|name| SecurityRequirement::new(name, std::iter::empty::<String>())),
    ));
    let unknown = response_name(&GatewayError::CredentialUnknown, ErrorForm::Status);
    operation.response("401", Ref::from_response_name(unknown)).build()
}

/// Any one credential will do. Errors are the vendor's, in its own form.
fn translated(operation: OperationBuilder) -> Operation {
    let securities = [BEARER, GOOG_HEADER, QUERY_KEY]
        .map(|name| SecurityRequirement::new(name, std::iter::empty::<String>()));
    operation
        .securities(Some(securities))
        .response(
            "default",
            Response::new("An error, Google's or the gateway's, in the vendor's own words and form."),
        )
        .build()
}

/// Any one credential will do; the first is the format's own. The gateway's errors are named, Google's can be any.
fn forwarded(operation: OperationBuilder, form: ErrorForm, credentials: [&str; 3]) -> Operation {
    let mut operation = operation.securities(Some(
        credentials.map(|name| SecurityRequirement::new(name, std::iter::empty::<String>())),
    ));
    for (error, _) in errors() {
        let status = error.status().as_str().to_owned();
        operation = operation.response(status, Ref::from_response_name(response_name(&error, form)));
    }
    operation
        .response("default", Response::new("Google's own answer, unchanged: any status, any body."))
        .build()
}

fn answer(about: &str, examples: &[Example]) -> Response {
    let mut response = ResponseBuilder::new().description(about);
    for example in examples {
        response = response.content(example.media_type, content(example));
    }
    response.build()
}

fn content(example: &Example) -> Content {
    let schema = match &example.value {
        Value::String(_) => text_schema(),
        _ => RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::Object).build())),
    };
    ContentBuilder::new().schema(Some(schema)).example(Some(example.value.clone())).build()
}

fn text_schema() -> RefOr<Schema> {
    RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(Type::String).build()))
}

/// One error of each status that the gateway makes itself, and when. All of them are in `docs/errors.md`.
fn errors() -> [(GatewayError, &'static str); 10] {
    let spent = NamedQuota {
        id: Arc::from("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"),
        model: Some(Arc::from("gemini-2.5-flash")),
        daily: false,
    };
    let cooling = Refusal::Cooling { back_in: Duration::from_secs(34), quota: Some(Arc::new(spent)) };
    [
        (GatewayError::Path(PathError::EncodedSlash), "The path could be read in two ways."),
        (GatewayError::CredentialUnknown, "No credential, or one that is not known."),
        (
            GatewayError::Denied(Denial::Model),
            "The caller's token does not allow the model or the surface; `x-gemini-balance-limit` says which.",
        ),
        (GatewayError::Body(BodyRefused::TooSlow, 0), "The request body did not arrive in time."),
        (
            GatewayError::Body(BodyRefused::TooLong, 104_857_600),
            "The request body is longer than `server.max_body_bytes`.",
        ),
        (
            GatewayError::Forward(Failure::NoKey(cooling)),
            "No key is free, within `pool.max_wait_ms`; `Retry-After` says when the first is back. Google's own 429 \
             comes instead when a key was tried. Or a limit of the caller's own token is reached, which \
             `x-gemini-balance-limit` then names.",
        ),
        (GatewayError::Crashed, "A bug of the gateway."),
        (GatewayError::Forward(Failure::Unreachable), "Google cannot be reached, or broke off."),
        (
            GatewayError::Forward(Failure::NoKey(Refusal::AllRetired)),
            "No key is usable, or the gateway is too busy.",
        ),
        (GatewayError::Forward(Failure::HeadTimeout), "Google did not begin to answer in time."),
    ]
}

fn response_name(error: &GatewayError, form: ErrorForm) -> String {
    let form = match form {
        ErrorForm::Status => "gemini",
        ErrorForm::Worded => "interactions",
        ErrorForm::OpenAi => "openai",
    };
    format!("{form}_{}", error.status().as_u16())
}

fn components() -> Components {
    let key = |make: fn(ApiKeyValue) -> ApiKey, name, about: &str| {
        SecurityScheme::ApiKey(make(ApiKeyValue::with_description(name, about)))
    };
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.description = Some("As OpenAI's SDKs send it.".to_owned());
    let mut components = ComponentsBuilder::new()
        .security_scheme(GOOG_HEADER, key(ApiKey::Header, "x-goog-api-key", "As Google's SDKs send it."))
        .security_scheme(BEARER, SecurityScheme::Http(bearer))
        .security_scheme(QUERY_KEY, key(ApiKey::Query, "key", "Taken out of the query before it goes up."));
    for form in [ErrorForm::Status, ErrorForm::OpenAi] {
        for (error, when) in errors() {
            components = components.response(response_name(&error, form), error_response(&error, form, when));
        }
    }
    components.build()
}

/// The error as a client would see it.
fn error_response(error: &GatewayError, form: ErrorForm, when: &str) -> Response {
    let shown = error.response(form, "0f3c9a1b7d5e2468");
    let mut response = ResponseBuilder::new().description(when);
    for name in [header::RETRY_AFTER, header::WWW_AUTHENTICATE] {
        if let Some(value) = shown.headers().get(&name).and_then(|value| value.to_str().ok()) {
            let mut header = Header::new(text_schema());
            header.description = Some(format!("Such as `{value}`."));
            response = response.header(name.as_str(), header);
        }
    }
    let body = shown.into_body().try_into_bytes().unwrap_or_default();
    let value = serde_json::from_slice(&body).unwrap_or_default();
    // Without a schema: Google's own errors come under the same statuses, and its OpenAI layer puts some in a list.
    response.content("application/json", ContentBuilder::new().example(Some(value)).build()).build()
}

/// The methods that the document uses.
const GET: HttpMethod = HttpMethod::Get;
const POST: HttpMethod = HttpMethod::Post;
