//! Live sessions: lets the caller in, answers the WebSocket upgrade, and hands the connection to a `LiveActor`. What is
//! said on it is none of this room's business.

use super::{
    AppState, admission,
    arrival::{Arrival, stall},
    auth::Refused,
    error::{GatewayError, failure_close},
};
use crate::inflight::{InFlightGuard, RequestKind};
use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodySize, MessageBody},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName},
    },
    web,
};
use bytes::Bytes;
use futures_util::StreamExt;
use gemini::{
    path::{self, CredentialForm, Surface, Target},
    query::query_access_tokens,
};
use gemini_balance_actors::{
    Caller, Failure,
    ledger::LedgerSilent,
    live::{Client, ClientPipe, Ephemeral, LiveJob, Outlet, accept_key},
    upstream::headers,
};
use std::{
    borrow::Cow,
    fmt, io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes handed to the client's socket at a time.
const WRITE_BYTES: usize = 16 * 1024;

/// Whether a request begins a session. One to the same path that is no upgrade is forwarded like any other, and Google
/// says what it thinks of it.
pub(super) fn begins_session(request: &HttpRequest) -> bool {
    let headers = request.headers();
    request.method() == Method::GET
        && headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && lists(headers, &header::CONNECTION, "upgrade")
        && !headers.contains_key(header::CONTENT_LENGTH)
        && !headers.contains_key(header::TRANSFER_ENCODING)
        && headers.contains_key(header::SEC_WEBSOCKET_KEY)
        && headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
        && target(request, CredentialForm::None).is_ok_and(|target| target.surface == Surface::Live)
}

fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
}

fn target(request: &HttpRequest, form: CredentialForm) -> Result<Target, GatewayError> {
    let uri = request.uri();
    path::parse(request.method().as_str(), uri.path(), uri.query(), form).map_err(GatewayError::Path)
}

/// Who opens a session, and with which credential of Google's own, if it is one.
pub(super) struct Opener {
    caller: Caller,
    ephemeral: Option<Ephemeral>,
}

/// Lets in whom the gate knows, and whoever shows an ephemeral token that was made through the gateway.
pub(super) async fn admit(
    request: &HttpRequest,
    face: &AppState,
    caller: Result<Caller, Refused>,
) -> Result<Opener, GatewayError> {
    let refused = match caller {
        Ok(caller) => return Ok(Opener { caller, ephemeral: None }),
        Err(refused @ (Refused::GuessedTooOften { .. } | Refused::Denied { .. })) => {
            return Err(refused.into());
        }
        Err(refused) => refused,
    };
    let Some(token) = ephemeral_token(request) else { return Err(refused.into()) };
    let found = face.live.ephemeral(&token).await;
    let found = found.map_err(|LedgerSilent| GatewayError::Forward(Failure::LedgerSilent))?;
    let (name, ephemeral) = found.ok_or(GatewayError::CredentialUnknown)?;
    let caller = face.gate.named(&name)?;
    Ok(Opener { caller, ephemeral: Some(ephemeral) })
}

/// The ephemeral token that a request shows, in any of the places where SDKs put one.
fn ephemeral_token(request: &HttpRequest) -> Option<String> {
    let text = |value: &header::HeaderValue| value.to_str().ok().map(str::trim).map(str::to_owned);
    let in_header = request.headers().get_all("x-goog-api-key").filter_map(text);
    let authorized = request.headers().get_all(header::AUTHORIZATION).filter_map(text);
    let authorized = authorized.filter_map(|value| {
        let (scheme, token) = value.split_once(' ')?;
        let is_token = ["token", "bearer"].into_iter().any(|known| scheme.eq_ignore_ascii_case(known));
        is_token.then(|| token.trim().to_owned())
    });
    let query = request.uri().query().unwrap_or_default();
    let in_query = query_access_tokens(query).chain(path::query_credentials(query)).map(Cow::into_owned);
    in_header.chain(authorized).chain(in_query).find(|token| token.starts_with("auth_tokens/"))
}

/// Answers the upgrade of a caller who was let in, and starts the session.
pub(super) async fn open(
    request: &HttpRequest,
    payload: web::Payload,
    face: &AppState,
    arrival: &mut Arrival,
    opener: Opener,
) -> Result<HttpResponse, GatewayError> {
    let Opener { caller, ephemeral } = opener;
    let target = target(request, arrival.form)?;
    let account = admission::admit(face, &caller, request.method().as_str(), &target).await?;
    arrival.set_kind(RequestKind::Live);
    let guard = arrival.take_guard(&face.in_flight);
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
    let accept = accept_key(key.map_or(&[], header::HeaderValue::as_bytes));
    let incoming = payload.into_inner().map(|bytes| bytes.map_err(io::Error::other));
    let (pipe, gone, outlet) = ClientPipe::new(incoming.boxed_local());
    let job = LiveJob {
        id: arrival.id.clone(),
        caller,
        target,
        headers: headers::up(|| {
            request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
        }),
        ephemeral,
        setup_within: Duration::from_secs(face.settings.body_timeout_s),
        told: failure_close,
        stall: stall(request),
        arrived: arrival.at,
    };
    let in_flight = face.in_flight.clone();
    let going_down = Box::pin(async move { in_flight.cut().await });
    face.live.start(job, account, Client { pipe, gone, going_down });
    Ok(HttpResponse::build(StatusCode::SWITCHING_PROTOCOLS)
        .upgrade("websocket")
        .insert_header((header::SEC_WEBSOCKET_ACCEPT, accept))
        .insert_header(("x-request-id", arrival.id.as_str()))
        .body(SessionBody { outlet, unwritten: true, _passage: guard }))
}

/// What a session writes, as actix-web puts it on the socket.
struct SessionBody {
    outlet: Outlet,
    /// Whether actix-web may hold bytes that it has not written yet: it writes when it is told to wait.
    unwritten: bool,
    _passage: InFlightGuard,
}

/// The session is over, and its connection with it. To a body that merely ends actix-web would add a wait for the
/// client's next request, while the client waits for the server to close, as the protocol has it (RFC 6455 §7.1.1).
#[derive(Debug)]
struct Over;

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the session is over")
    }
}

impl std::error::Error for Over {}

impl MessageBody for SessionBody {
    type Error = Over;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Over>>> {
        let mut space = [MaybeUninit::uninit(); WRITE_BYTES];
        let mut space = ReadBuf::uninit(&mut space);
        match Pin::new(&mut self.outlet.bytes).poll_read(cx, &mut space) {
            Poll::Ready(Ok(())) if !space.filled().is_empty() => {
                self.unwritten = true;
                Poll::Ready(Some(Ok(Bytes::copy_from_slice(space.filled()))))
            }
            // The last bytes are to be written before the connection goes.
            Poll::Ready(_) if std::mem::take(&mut self.unwritten) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(_) => Poll::Ready(Some(Err(Over))),
            Poll::Pending => {
                self.unwritten = false;
                Poll::Pending
            }
        }
    }
}
