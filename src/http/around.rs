//! What holds for every answer on the clients' listener, whichever route gives it: methods that are never served, what
//! browsers ask before they call, how the connection goes on, and its entry among the worker's connections. `service`
//! puts this around the routes.

use super::{AppState, WorkerState, arrival::Arrival, cors, error::GatewayError};
use crate::connections::{Connection, UnderWay};
use actix_web::{
    Error, HttpRequest, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse},
    http::{Method, StatusCode, Version},
};
use bytes::Bytes;
use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

/// The longest method that goes up, in bytes: what is longer was made up, and would fill a log.
const MAX_METHOD_BYTES: usize = 32;

/// Answers a request by the routes, or before them.
pub fn around<S>(
    worker: &WorkerState,
    mut request: ServiceRequest,
    routes: &S,
) -> impl Future<Output = Result<ServiceResponse<CountedBody>, Error>> + use<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    // Once a request: what it began with it keeps to its end.
    let (state, container) = worker.take();
    request.add_data_container(container);
    let head = request.head();
    let asked = ConnectionTerms {
        is_before_1_1: head.version < Version::HTTP_11,
        offers_upgrade: head.connection_type() == actix_http::ConnectionType::Upgrade,
        // actix-http takes all that follows for the body, so no other request can.
        is_endless: offers_websocket(&request) || head.method == Method::CONNECT,
    };
    let origin = state.cors.allowed(&head.headers);
    let under_way = request.request().conn_data::<Rc<Connection>>().map(Connection::begin);
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
        asked.finish(&mut response);
        if let Some(origin) = origin
            && !is_preflight(&response)
        {
            cors::open(response.headers_mut(), origin);
        }
        Ok(response.map_body(|_, body| CountedBody { body, _under_way: under_way }))
    }
}

enum Called<F> {
    Early(ServiceResponse<BoxBody>),
    Routes(F),
}

/// What a request says of its connection.
struct ConnectionTerms {
    is_before_1_1: bool,
    offers_upgrade: bool,
    is_endless: bool,
}

impl ConnectionTerms {
    /// Frames the answer in a way that the client can read.
    fn finish(&self, response: &mut ServiceResponse<BoxBody>) {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        let has_length = response.response().body().size() != BodySize::Stream;
        let head = response.response_mut().head_mut();
        if self.is_before_1_1 && !has_length {
            // Such a client knows no chunks: the body ends with the connection.
            head.no_chunking(true);
            head.set_connection_type(actix_http::ConnectionType::Close);
        }
        if self.offers_upgrade || self.is_endless {
            // Or actix-http would take the offer for accepted, and end the connection without a word.
            head.set_connection_type(actix_http::ConnectionType::Close);
        }
    }
}

fn offers_websocket(request: &ServiceRequest) -> bool {
    let upgrade = request.headers().get(actix_web::http::header::UPGRADE);
    upgrade.is_some_and(|to| to.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket"))
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

/// An answer's body, until whose end its request is under way on its connection.
pub struct CountedBody {
    body: BoxBody,
    _under_way: Option<UnderWay>,
}

impl MessageBody for CountedBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
