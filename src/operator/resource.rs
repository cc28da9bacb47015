//! What holds for every path of the operator's listener, whatever its handlers do: a write is refused for a parameter that it
//! does not know, what a handler could not even read is refused in the form of all errors, and who asks for the head alone
//! gets it. A path that is there and does not know a method says which it knows. The paths are in `table`.

use super::{gate::answer, parameters};
use actix_web::{
    Error, HttpRequest, HttpResponse,
    body::{BodySize, BoxBody, MessageBody as _},
    dev::{ResourceDef, ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderValue},
    },
    middleware::Next,
    web,
};

/// What a path takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Takes {
    /// The most bytes of a request's body.
    pub(super) body: usize,
    /// What its writes may be asked in the query.
    pub(super) parameters: &'static [&'static str],
}

/// Every path with the methods that it knows.
#[derive(Default)]
pub(super) struct KnownMethods(pub(super) Vec<(ResourceDef, Vec<Method>)>);

/// Whether a method only asks.
fn asks(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Wraps the requests of a path.
pub(super) async fn hold(
    takes: Takes,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if !asks(request.method())
        && let Some(why) = parameters::refusal(takes.parameters, request.query_string())
    {
        return Ok(request.into_response(answer(400, &why)));
    }
    let response = next.call(request).await?;
    let refusal = response.response().error().map(|error| {
        let status = error.as_response_error().status_code();
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => {
                answer(413, &format!("the body is longer than {} bytes", takes.body))
            }
            status => answer(status.as_u16(), &error.to_string()),
        }
    });
    let response = match refusal {
        Some(refusal) => response.into_response(refusal),
        None => response,
    };
    let is_endless = response.request().method() == Method::HEAD
        && matches!(response.response().body().size(), BodySize::Stream);
    Ok(if is_endless { response.map_body(|_, _| BoxBody::new(())) } else { response })
}

/// Answers what no route is for: another path, or a method that a path does not know.
pub(super) async fn no_such_path(request: HttpRequest, known: web::Data<KnownMethods>) -> HttpResponse {
    let path = request.match_info().get_ref().path();
    let fitting = known.0.iter().filter(|(pattern, _)| pattern.is_match(path));
    let mut methods: Vec<&str> = fitting.flat_map(|(_, methods)| methods).map(Method::as_str).collect();
    methods.sort_unstable();
    methods.dedup();
    if methods.is_empty() {
        return answer(404, "there is no such path here; /openapi.json lists them");
    }
    let methods = methods.join(", ");
    let mut refused = answer(405, &format!("this path knows {methods}; /openapi.json says what each does"));
    if let Ok(methods) = HeaderValue::from_str(&methods) {
        refused.headers_mut().insert(header::ALLOW, methods);
    }
    refused
}
