//! What holds for every answer on the clients' listener, whichever route gives it: methods that are never served, what
//! browsers ask before they call, and what `connections` has to know. `service` puts this around the routes.

use super::{AppState, WorkerState, arrival::Arrival, cors, error::GatewayError};
use crate::connections::{CountedBody, HttpExchange};
use actix_web::{
    Error, HttpRequest, HttpResponse,
    body::BoxBody,
    dev::{Service, ServiceRequest, ServiceResponse},
    http::StatusCode,
};
use std::{future::Future, rc::Rc};

/// The longest method that goes up, in bytes: what is longer was made up, and would fill a log.
const MAX_METHOD_BYTES: usize = 32;

/// Answers a request by the routes, or before them.
pub(crate) fn around<S>(
    worker: &WorkerState,
    mut request: ServiceRequest,
    routes: &S,
) -> impl Future<Output = Result<ServiceResponse<CountedBody<BoxBody>>, Error>> + use<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    // Once a request: what it began with it keeps to its end.
    let (state, container) = worker.take();
    request.add_data_container(container);
    let origin = state.cors.allowed(request.headers());
    let exchange = HttpExchange::begin(&request);
    let early = early(&state, request.request());
    let called = match early {
        Some(response) => Called::Early(request.into_response(response)),
        None => Called::Routes(routes.call(request)),
    };
    async move {
        let mut response = match called {
            Called::Early(response) => response,
            Called::Routes(response) => response.await?,
        };
        if let Some(origin) = origin
            && !is_preflight(&response)
        {
            cors::open(response.headers_mut(), origin);
        }
        Ok(exchange.answer(response))
    }
}

enum Called<F> {
    Early(ServiceResponse<BoxBody>),
    Routes(F),
}

fn is_preflight(response: &ServiceResponse<BoxBody>) -> bool {
    cors::is_preflight(response.request().method(), response.request().headers())
        && response.status() == StatusCode::NO_CONTENT
}

/// The answer to what no route is asked for.
fn early(state: &Rc<AppState>, request: &HttpRequest) -> Option<HttpResponse> {
    let method = request.method();
    // TRACE would say back what the client has sent, secrets and all (RFC 9110 §9.3.8).
    // Methods are told apart by case, but what is behind a proxy may not do so.
    let is_named = |name: &&str| method.as_str().eq_ignore_ascii_case(name);
    let is_served =
        !["TRACE", "TRACK", "CONNECT"].iter().any(is_named) && method.as_str().len() <= MAX_METHOD_BYTES;
    if !is_served {
        return Some(Arrival::of(request, state).refuse(request, state, &GatewayError::MethodNotServed));
    }
    if state.cors.is_on() && cors::is_preflight(method, request.headers()) {
        return Some(match state.cors.allowed(request.headers()) {
            Some(origin) => cors::preflight(request.headers(), origin),
            None => Arrival::of(request, state).refuse(request, state, &GatewayError::OriginNotAllowed),
        });
    }
    None
}
