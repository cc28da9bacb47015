//! The Live API: the WebSocket upgrade, its credentials, and the session behind it. `token` makes ephemeral tokens, `said`
//! reads what a client says, `session` is the conversation.

mod said;
mod session;
mod token;

use std::sync::Arc;
use std::time::Duration;

use h2::Reason;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

pub(crate) use token::create_token;

use crate::answer::Answer;
use crate::auth::{Caller, Credentials};
use crate::error::{ApiError, Frame};
use crate::exchange::{Exchange, arrival};
use crate::fault::Fault;
use crate::line::Peer;
use crate::refusals::Asker;
use crate::respond::{AnyBody, Outlet, before_head, instead, respond};
use crate::route::{LiveMethod, Operation, Route, Surface};
use crate::rule::{Stage, Subject};
use crate::world::World;
use session::Session;

/// Whether the path is for [`serve`].
pub(crate) fn claims(path: &str) -> bool {
    LiveMethod::of(path).is_some()
}

/// Answers an upgrade; the session goes on by itself.
///
/// # Errors
/// With the reason for which an HTTP/2 stream is to be reset.
pub(crate) async fn serve(
    world: &Arc<World>,
    peer: Peer,
    request: Request<Incoming>,
) -> Result<Response<AnyBody>, Reason> {
    let (mut parts, _) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let (version, method) = LiveMethod::of(&path).unwrap_or((String::new(), LiveMethod::Content));
    let route = Route { surface: Surface::Native, version, operation: Operation::Live(method) };
    let credentials = Credentials::of(&parts.headers, parts.uri.query());
    let mut exchange = Exchange::begin(world, arrival(world, &parts, &peer.control, credentials.secret()));

    let strike = world.strike(
        Stage::Body,
        &Subject {
            key: exchange.key(),
            project: exchange.project(),
            model: None,
            path: &path,
            method: parts.method.as_str(),
        },
    );
    let delivery = strike.as_ref().and_then(|strike| strike.delivery);
    let fault = strike.map(|strike| strike.fault);
    if let Some(fault) = &fault {
        exchange.fault(fault.kind());
    }
    before_head(fault.as_ref(), &mut exchange, &peer).await?;

    let asker = Asker {
        secret: exchange.key().unwrap_or_default(),
        project: exchange.project().or(exchange.key()).unwrap_or_default(),
        model: "",
        route: &route,
    };
    let refused = instead(fault.as_ref(), Frame::Object, &asker);
    let refused = match refused {
        Some(answer) => answer,
        None => match open(world, &credentials, &route, method, &mut parts) {
            Ok((caller, upgrade, response)) => {
                exchange.status(StatusCode::SWITCHING_PROTOCOLS.as_u16());
                let session = Session::new(world, caller, route, exchange, peer.control, fault);
                tokio::spawn(async move {
                    if let Ok(upgraded) = upgrade.await {
                        session.run(upgraded).await;
                    }
                });
                return Ok(response);
            }
            Err(error) => Answer::error(&error, Frame::Object),
        },
    };
    let outlet = Outlet { peer, coding: None, delivery, bodiless: false, interval: Duration::ZERO };
    outlet.peer.control.expect_head();
    Ok(respond(refused, fault.as_ref(), exchange, outlet).map(Either::Left))
}

fn open(
    world: &World,
    credentials: &Credentials,
    route: &Route,
    method: LiveMethod,
    parts: &mut Parts,
) -> Result<(Caller, OnUpgrade, Response<AnyBody>), ApiError> {
    let caller = credentials.admit_live(world, route, method)?;
    let key = parts.headers.get(SEC_WEBSOCKET_KEY);
    let (Some(key), Some(upgrade), true) = (key, parts.extensions.remove::<OnUpgrade>(), upgrades(parts))
    else {
        return Err(ApiError::new(400, "Request is not a WebSocket upgrade."));
    };
    let accept = derive_accept_key(key.as_bytes());
    let mut response = Response::new(Either::Right(Full::default()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    Ok((caller, upgrade, response))
}

fn upgrades(parts: &Parts) -> bool {
    fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    }
    parts.method == Method::GET
        && lists(&parts.headers, &UPGRADE, "websocket")
        && lists(&parts.headers, &CONNECTION, "upgrade")
        && parts.headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
}

/// The faults that strike inside a session; the others have struck before it, or do not apply to one.
#[derive(Debug, Clone)]
enum Trouble {
    Close { after: u64, code: Option<u16>, reason: String },
    GoAway { after: u64 },
    Stall { after: u64 },
    Reset { after: u64 },
    Truncate { after: u64 },
    Text,
}

impl Trouble {
    fn of(fault: Fault) -> Option<Self> {
        Some(match fault {
            Fault::LiveClose { after_messages, code, reason } => {
                Self::Close { after: after_messages, code, reason }
            }
            Fault::LiveGoAway { after_messages } => Self::GoAway { after: after_messages },
            Fault::LiveText => Self::Text,
            Fault::Stall { after_events } => Self::Stall { after: after_events },
            Fault::Reset { after_events } => Self::Reset { after: after_events },
            Fault::Truncate { after_events } => Self::Truncate { after: after_events },
            _ => return None,
        })
    }
}
