//! A request's way through the simulator: log it, read it, let a fault strike, check the credential, answer.

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use h2::Reason;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use hyper::body::Incoming;
use serde_json::Value;

use crate::answer::Answer;
use crate::auth::Credentials;
use crate::call::{Call, parameter};
use crate::coding::{self, Coding};
use crate::error::{ApiError, Frame};
use crate::exchange::{Exchange, arrival};
use crate::fault::Fault;
use crate::inflow::Inflow;
use crate::journal::End;
use crate::line::Peer;
use crate::refusals::Asker;
use crate::resources::{self, Upload};
use crate::respond::{AnswerBody, Outlet, before_head, instead, respond};
use crate::route::{Operation, Route, Surface, Target};
use crate::rule::{Stage, Strike, Subject};
use crate::world::World;
use crate::{live, native, openai};

/// Answers a request, or says for which reason its HTTP/2 stream is to be reset.
pub(crate) async fn serve(
    world: &Arc<World>,
    peer: Peer,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Reason> {
    let (parts, incoming) = request.into_parts();
    let path = parts.uri.path();
    let query = parts.uri.query();
    let credentials = Credentials::of(&parts.headers, query);
    let route = Route::of(&parts.method, path);
    let mut exchange = Exchange::begin(world, arrival(world, &parts, &peer.control, credentials.secret()));

    let mut outlet = Outlet {
        peer,
        coding: Coding::agreed(&world.codings(), &parts.headers),
        delivery: None,
        bodiless: parts.method == Method::HEAD,
        interval: std::time::Duration::from_millis(world.shape().interval_ms),
    };
    if let Operation::Upload(target) = &route.operation {
        let asked = (&parts, &route, target, &credentials);
        return take_in(world, asked, incoming, exchange, outlet).await;
    }
    let early = strike(world, &mut exchange, Stage::Head, route.model(), &parts);
    let stalls = early.as_ref().and_then(|strike| stalls_after(&strike.fault));
    let received = receive(Inflow::new(incoming, &exchange).stalling(stalls), world.max_body_bytes).await;
    let Ok(body) = received else {
        return Ok(left(exchange, outlet));
    };
    outlet.peer.control.expect_head();
    let body = body.plain(&parts.headers, world.max_body_bytes);
    let json = match &body {
        Received::Whole(body) => json(&route, body),
        Received::TooLarge => Err(ApiError::new(
            400,
            format!("Request payload size exceeds the limit: {} bytes.", world.max_body_bytes),
        )),
        Received::Unreadable => Err(ApiError::usual(400)),
    };
    let model = route.model().or_else(|| {
        let named = route.surface == Surface::OpenAi || matches!(route.operation, Operation::Owned(_));
        let model = json.as_ref().ok()?.get("model").filter(|_| named)?.as_str()?;
        Some(model.strip_prefix("models/").unwrap_or(model))
    });
    exchange.asked_for(model);

    let strike = early.or_else(|| strike(world, &mut exchange, Stage::Body, model, &parts));
    outlet.delivery = strike.as_ref().and_then(|strike| strike.delivery);
    let fault = strike.map(|strike| strike.fault);
    before_head(fault.as_ref(), &mut exchange, &outlet.peer).await?;

    let frame = frame(&route, query);
    let asker = Asker {
        secret: exchange.key().unwrap_or_default(),
        project: exchange.project().or(exchange.key()).unwrap_or_default(),
        model: model.unwrap_or_default(),
        route: &route,
    };
    let answer = instead(fault.as_ref(), frame, &asker).unwrap_or_else(|| {
        let admitted = credentials.admit(world, &route);
        let body = if let Received::Whole(body) = &body { &body[..] } else { &[] };
        let answered = if let Operation::Media(name) = &route.operation {
            resources::media(world, name)
        } else {
            admitted.and_then(|key| {
                let call = Call { world, route: &route, path, query, key, json: json?, body };
                resources::check_mentions(&call)?;
                answered(&call)
            })
        };
        answered.unwrap_or_else(|error| Answer::error(&error, frame))
    });
    Ok(respond(answer, fault.as_ref(), exchange, outlet))
}

/// The answer of whoever knows the operation.
fn answered(call: &Call<'_>) -> Result<Answer, ApiError> {
    match (call.route.surface, &call.route.operation) {
        (Surface::OpenAi, _) => openai::answer(call),
        (Surface::Native, Operation::Owned(place)) => resources::answer(call, place),
        (Surface::Native, Operation::Download(name)) => resources::download(call, name),
        (Surface::Native, Operation::CreateToken) => live::create_token(call),
        (Surface::Native, _) => native::answer(call),
    }
}

/// What happens to a request at this stage of it.
fn strike(
    world: &World,
    exchange: &mut Exchange,
    stage: Stage,
    model: Option<&str>,
    parts: &Parts,
) -> Option<Strike> {
    let strike = world.strike(
        stage,
        &Subject {
            key: exchange.key(),
            project: exchange.project(),
            model,
            path: parts.uri.path(),
            method: parts.method.as_str(),
        },
    )?;
    exchange.fault(strike.fault.kind());
    Some(strike)
}

fn stalls_after(fault: &Fault) -> Option<u64> {
    let Fault::StallRequest { after_bytes } = fault else { return None };
    Some(*after_bytes)
}

/// What hyper is given for a client that is gone.
fn left(mut exchange: Exchange, mut outlet: Outlet) -> Response<AnswerBody> {
    exchange.end(End::ClientLeft);
    outlet.coding = None;
    respond(Answer::error(&ApiError::usual(400), Frame::Object), None, exchange, outlet)
}

/// A request below `/upload/`, whose body is not held. A fault that puts another answer in the place of the normal one
/// leaves nothing stored; one that breaks the connection comes after the bytes have been taken in.
async fn take_in(
    world: &Arc<World>,
    (parts, route, target, credentials): (&Parts, &Route, &Target, &Credentials),
    incoming: Incoming,
    mut exchange: Exchange,
    mut outlet: Outlet,
) -> Result<Response<AnswerBody>, Reason> {
    exchange.asked_for(None);
    let strike = strike(world, &mut exchange, Stage::Head, None, parts)
        .or_else(|| strike(world, &mut exchange, Stage::Body, None, parts));
    outlet.delivery = strike.as_ref().and_then(|strike| strike.delivery);
    let fault = strike.map(|strike| strike.fault);
    let asker = Asker {
        secret: exchange.key().unwrap_or_default(),
        project: exchange.project().or(exchange.key()).unwrap_or_default(),
        model: "",
        route,
    };
    let frame = frame(route, None);
    let replaced = instead(fault.as_ref(), frame, &asker);
    let stalls = fault.as_ref().and_then(stalls_after);
    let mut inflow = Inflow::new(incoming, &exchange).stalling(stalls);
    let answered = if let Some(answer) = replaced {
        inflow.drain().await.map(|()| answer)
    } else {
        let upload = Upload {
            world,
            route,
            target,
            headers: &parts.headers,
            query: parts.uri.query(),
            credentials,
            frame,
            origin: origin(world, parts),
        };
        upload.answer(&mut inflow).await
    };
    let Ok(answer) = answered else {
        return Ok(left(exchange, outlet));
    };
    outlet.peer.control.expect_head();
    before_head(fault.as_ref(), &mut exchange, &outlet.peer).await?;
    Ok(respond(answer, fault.as_ref(), exchange, outlet))
}

/// Scheme and authority by which the client came.
fn origin(world: &World, parts: &Parts) -> String {
    let scheme = if world.tls { "https" } else { "http" };
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    format!("{scheme}://{}", host.or(authority).unwrap_or("localhost"))
}

/// How Google wraps an error of this request.
fn frame(route: &Route, query: Option<&str>) -> Frame {
    let modern = match &route.operation {
        Operation::Owned(place) => place.kind.modern(),
        Operation::Upload(target) => matches!(target, Target::Environment(_)),
        _ => false,
    };
    if modern {
        return Frame::Worded;
    }
    let streamed = matches!(route.operation, Operation::StreamGenerate(_));
    if route.surface == Surface::OpenAi || streamed && parameter(query, "alt").as_deref() != Some("sse") {
        Frame::Array
    } else {
        Frame::Object
    }
}

enum Received {
    Whole(Bytes),
    TooLarge,
    /// It is not in the coding that it says it is in.
    Unreadable,
}

impl Received {
    /// The same without its content coding.
    fn plain(self, headers: &HeaderMap, limit: usize) -> Self {
        let Self::Whole(body) = self else { return self };
        match coding::plain(headers, &body, limit) {
            Ok(body) => Self::Whole(body),
            Err(error) if error.kind() == ErrorKind::FileTooLarge => Self::TooLarge,
            Err(_) => Self::Unreadable,
        }
    }
}

/// Reads all of the body, even of one that is too large: the client hears the answer only after it has written.
async fn receive(mut inflow: Inflow<'_>, limit: usize) -> Result<Received, hyper::Error> {
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    let mut size = 0;
    while let Some(bytes) = inflow.next().await? {
        size += bytes.len();
        if size > limit {
            whole.clear();
        } else if size == bytes.len() {
            // Most bodies come in one piece and need not be copied.
            first = bytes;
        } else {
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&bytes);
        }
    }
    if size > limit {
        return Ok(Received::TooLarge);
    }
    Ok(Received::Whole(if whole.is_empty() { first } else { whole.freeze() }))
}

fn json(route: &Route, body: &[u8]) -> Result<Value, ApiError> {
    use Operation::{
        BatchEmbed, ChatCompletions, CountTokens, CreateToken, CreateVideo, Embed, Generate, Images,
        OpenAiEmbeddings, Owned, Predict, StreamGenerate,
    };
    match route.operation {
        Generate(_) | StreamGenerate(_) | CountTokens(_) | Embed(_) | BatchEmbed(_) | Predict(_)
        | ChatCompletions | OpenAiEmbeddings | Images | CreateToken => {
            if body.is_empty() {
                return Ok(Value::Object(serde_json::Map::new()));
            }
            parse(body)
        }
        Owned(_) if body.is_empty() => Ok(Value::Object(serde_json::Map::new())),
        Owned(_) => parse(body),
        // JSON or a form.
        CreateVideo => Ok(serde_json::from_slice(body).unwrap_or_default()),
        _ => Ok(Value::Null),
    }
}

fn parse(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        let word = if error.is_eof() { "Expected a value or closing token" } else { "Unexpected token" };
        ApiError::new(400, format!("Invalid JSON payload received. {word}.\n{error}"))
    })
}
