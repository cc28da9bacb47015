//! The one handler of everything that is forwarded: lets the caller in, reads what they want, takes the body in, and
//! starts a `ForwardActor`.

use super::{
    AppState, admission,
    arrival::{Arrival, let_in, stall},
    body::{BodyRefused, Reserved, take_in},
    clear::{clear, is_clear},
    error::GatewayError,
    live,
    respond::{respond, with_unread},
    upload,
};
use crate::inflight::RequestKind;
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use bytes::Bytes;
use futures_util::FutureExt;
use gemini::{operation::Streaming, path};
use gemini_balance_actors::{Job, forward::BodyStream, upstream::headers};
use std::{panic::AssertUnwindSafe, rc::Rc, time::Duration};

/// Forwards one request.
pub(super) async fn forward(
    request: HttpRequest,
    payload: web::Payload,
    face: web::Data<Rc<AppState>>,
) -> HttpResponse {
    let mut payload = Some(payload);
    let mut arrival = Arrival::of(&request, &face);
    // The panic guard: a bug in here costs this request only, and its client is told.
    let handled = AssertUnwindSafe(handle(&request, &mut payload, &face, &mut arrival)).catch_unwind().await;
    let error = match handled {
        Ok(Ok(response)) => return response,
        Ok(Err(error)) => error,
        Err(_) => GatewayError::Crashed,
    };
    let response = arrival.refuse(&request, &face, &error);
    match payload {
        Some(payload) => with_unread(response, payload),
        None => response,
    }
}

async fn handle(
    request: &HttpRequest,
    payload: &mut Option<web::Payload>,
    face: &AppState,
    arrival: &mut Arrival,
) -> Result<HttpResponse, GatewayError> {
    if live::begins_session(request) {
        let opener = Box::pin(live::admit(request, face, arrival.caller.clone())).await?;
        let_in(request);
        let payload = payload.take().ok_or(GatewayError::Crashed)?;
        return Box::pin(live::open(request, payload, face, arrival, opener)).await;
    }
    let uri = request.uri();
    let target = path::parse(request.method().as_str(), uri.path(), uri.query(), arrival.form);
    let (mut target, caller) = match (target, arrival.caller.clone()) {
        (Ok(target), caller) => (target, caller),
        (Err(error), Ok(_)) => return Err(GatewayError::Path(error)),
        // Nothing is said to strangers.
        (Err(_), Err(refused)) => return Err(refused.into()),
    };
    let (caller, upload) = upload::admit(face, &mut target, caller).await?;
    if arrival.caller.is_err() {
        let_in(request);
    }
    let account = admission::admit(face, &caller, request.method().as_str(), &target).await?;
    let payload = payload.as_mut().ok_or(GatewayError::Crashed)?;
    let announced = announced(request);
    let streams = upload::streams(&target, request.headers(), announced);
    if streams {
        arrival.set_kind(RequestKind::Upload);
    } else if matches!(target.operation.streaming, Streaming::Sse | Streaming::JsonArray) {
        arrival.set_kind(RequestKind::Stream);
    }
    let (pieces, stream) = if streams {
        let limit = face.settings.max_upload_bytes;
        if announced.is_some_and(|length| length > limit) {
            return Err(GatewayError::Body(BodyRefused::TooLong, limit));
        }
        let (pieces, stream) = BodyStream::new(announced);
        (Some(pieces), Some(stream))
    } else {
        (None, None)
    };
    let (body, _reserved) = if streams {
        (Bytes::new(), None)
    } else {
        let (body, reserved) = read_body(payload, announced, face).await?;
        (body, Some(reserved))
    };
    let clear = if is_clear(request.headers(), &body) {
        None
    } else {
        // Boxed, as few requests come here and all would carry its memory.
        Box::pin(clear(request.headers(), &body, face.settings.max_body_bytes, &face.budget)).await
    };
    let (clear, _clear_reserved) = clear.map_or((None, None), |it| (Some(it.bytes), it.reserved));
    if let Some(bodies) = &face.bodies {
        let shown = clear.as_ref().unwrap_or(&body);
        bodies.request(&arrival.id, request.method().as_str(), &target.path, shown);
    }
    let method = http::Method::from_bytes(request.method().as_str().as_bytes())
        .map_err(|_| GatewayError::Path(path::PathError::NotServed))?;
    let job = Job {
        id: arrival.id.clone(),
        caller,
        method,
        target,
        headers: headers::up(|| {
            request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
        }),
        body,
        clear,
        stream,
        upload,
        origin: face.origins.of(request).map(|origin| origin.to_string()),
        stall: stall(request),
        conversation: None,
        prefer: None,
        translated: None,
        bodies: None,
        arrived: arrival.at,
    };
    let is_told_by_answer = job.target.operation.streaming == Streaming::Unknown;
    let reply = face.forwarder.start(job, account);
    let (reply, is_read) = match pieces {
        None => (reply.await, true),
        Some(pieces) => {
            let (limit, patience) = (face.settings.max_upload_bytes, face.settings.body_timeout_s);
            // Boxed, as few requests come here and all would carry its memory.
            Box::pin(upload::pass_on(payload, pieces, reply, limit, Duration::from_secs(patience)))
                .await
                .map_err(|refused| GatewayError::Body(refused, limit))?
        }
    };
    match reply {
        Ok(Ok(answer)) => {
            let copy = face.bodies.as_ref().map(|bodies| {
                let coding = answer.headers.get(http::header::CONTENT_ENCODING);
                bodies.answer(&arrival.id, answer.status.as_u16(), coding.map(http::HeaderValue::as_bytes))
            });
            // Of the OpenAI layer's paths only the answer says that it streams.
            if is_told_by_answer && is_event_stream(&answer.headers) {
                arrival.set_kind(RequestKind::Stream);
            }
            // What is left of an upload's body would be read as the next request.
            let guard = arrival.take_guard(&face.in_flight);
            Ok(respond(answer, &arrival.id, guard, face.in_flight.is_draining() || !is_read, copy))
        }
        Ok(Err(failure)) => Err(GatewayError::Forward(failure)),
        Err(_) => Err(GatewayError::Crashed),
    }
}

fn is_event_stream(headers: &http::HeaderMap) -> bool {
    let content_type = headers.get(http::header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// The length of the body, if it is known.
pub(super) fn announced(request: &HttpRequest) -> Option<u64> {
    let headers = request.headers();
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let is_chunked = headers.contains_key(header::TRANSFER_ENCODING);
    if announced.is_none() && !is_chunked && request.version() < actix_web::http::Version::HTTP_2 {
        Some(0)
    } else {
        announced
    }
}

pub(super) async fn read_body(
    payload: &mut web::Payload,
    announced: Option<u64>,
    face: &AppState,
) -> Result<(Bytes, Reserved), GatewayError> {
    let limit = face.settings.max_body_bytes;
    let time = Duration::from_secs(face.settings.body_timeout_s);
    take_in(payload, announced, limit, &face.budget, time)
        .await
        .map_err(|refused| GatewayError::Body(refused, limit as u64))
}

/// Makes the key manager panic, for the tests of its supervision.
#[cfg(debug_assertions)]
pub(super) async fn panic_key_manager(face: web::Data<Rc<AppState>>) -> HttpResponse {
    if !face.test_panics {
        return HttpResponse::NotFound().finish();
    }
    face.keys.panic();
    HttpResponse::Accepted().finish()
}

/// Makes the store actor panic, for the tests of its supervision.
#[cfg(debug_assertions)]
pub(super) async fn panic_store(face: web::Data<Rc<AppState>>) -> HttpResponse {
    if !face.test_panics {
        return HttpResponse::NotFound().finish();
    }
    face.store.panic();
    HttpResponse::Accepted().finish()
}
