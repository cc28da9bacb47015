//! A request's way through the simulator: log it, read it, let a fault strike, check the credential, answer.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, Version};
use hyper::body::Incoming;
use serde_json::Value;
use url::form_urlencoded;

use crate::answer::Answer;
use crate::auth::Credentials;
use crate::error::{ApiError, Frame};
use crate::exchange::Exchange;
use crate::google::Asker;
use crate::inflow::Inflow;
use crate::journal::{Arrival, End};
use crate::keys::Key;
use crate::line::Control;
use crate::resources::{self, Target, Upload};
use crate::respond::{AnswerBody, Outlet, before_head, instead, respond, takes_gzip};
use crate::route::{Operation, Route, Surface};
use crate::rule::Subject;
use crate::world::World;
use crate::{native, openai};

/// A request that Google has let in.
pub(crate) struct Call<'a> {
    pub(crate) world: &'a World,
    pub(crate) route: &'a Route,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) key: Key,
    /// The body, where it is JSON.
    pub(crate) json: Value,
    /// The body as it came.
    pub(crate) body: &'a [u8],
}

impl Call<'_> {
    /// The first query parameter of this name.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        parameter(self.query, name)
    }

    /// Whether a query parameter is true; Python's SDK writes `True`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.parameter(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    form_urlencoded::parse(query?.as_bytes()).find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
}

pub(crate) async fn serve(
    world: &Arc<World>,
    control: Arc<Control>,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let (parts, incoming) = request.into_parts();
    let path = parts.uri.path();
    let query = parts.uri.query();
    let credentials = Credentials::of(&parts.headers, query);
    let route = Route::of(&parts.method, path);
    let mut exchange = Exchange::begin(world, arrival(world, &parts, &control, credentials.secret()));

    let mut outlet = Outlet {
        control,
        version: parts.version,
        gzip: takes_gzip(&parts.headers),
        bodiless: parts.method == Method::HEAD,
        interval: std::time::Duration::from_millis(world.shape().interval_ms),
    };
    if let Operation::Upload(target) = &route.operation {
        let asked = (&parts, &route, target, &credentials);
        return take_in(world, asked, incoming, exchange, outlet).await;
    }
    let received = receive(Inflow::new(incoming, &exchange), world.max_body_bytes).await;
    let Ok(body) = received else {
        exchange.end(End::ClientLeft);
        outlet.gzip = false;
        return respond(Answer::error(&ApiError::usual(400), Frame::Object), None, exchange, outlet);
    };
    outlet.control.expect_head();
    let json = match &body {
        Received::Whole(body) => json(&route, body),
        Received::TooLarge => Err(ApiError::new(
            400,
            format!("Request payload size exceeds the limit: {} bytes.", world.max_body_bytes),
        )),
    };
    let model = route.model().or_else(|| {
        let named = route.surface == Surface::OpenAi || matches!(route.operation, Operation::Owned(_));
        let model = json.as_ref().ok()?.get("model").filter(|_| named)?.as_str()?;
        Some(model.strip_prefix("models/").unwrap_or(model))
    });
    exchange.asked_for(model);

    let fault = world.strike(&Subject {
        key: exchange.key(),
        project: exchange.project(),
        model,
        path,
        method: parts.method.as_str(),
    });
    if let Some(fault) = &fault {
        exchange.fault(fault.kind());
    }
    before_head(fault.as_ref(), &mut exchange, &outlet.control).await;

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
                match route.surface {
                    Surface::Native => native::answer(&call),
                    Surface::OpenAi => openai::answer(&call),
                }
            })
        };
        answered.unwrap_or_else(|error| Answer::error(&error, frame))
    });
    respond(answer, fault.as_ref(), exchange, outlet)
}

/// A request below `/upload/`, whose body is not held. A fault that puts another answer in the place of the normal one
/// leaves nothing stored; one that breaks the connection comes after the bytes have been taken in.
async fn take_in(
    world: &Arc<World>,
    (parts, route, target, credentials): (&Parts, &Route, &Target, &Credentials),
    incoming: Incoming,
    mut exchange: Exchange,
    mut outlet: Outlet,
) -> Response<AnswerBody> {
    exchange.asked_for(None);
    let fault = world.strike(&Subject {
        key: exchange.key(),
        project: exchange.project(),
        model: None,
        path: parts.uri.path(),
        method: parts.method.as_str(),
    });
    if let Some(fault) = &fault {
        exchange.fault(fault.kind());
    }
    let asker = Asker {
        secret: exchange.key().unwrap_or_default(),
        project: exchange.project().or(exchange.key()).unwrap_or_default(),
        model: "",
        route,
    };
    let frame = frame(route, None);
    let replaced = instead(fault.as_ref(), frame, &asker);
    let mut inflow = Inflow::new(incoming, &exchange);
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
        exchange.end(End::ClientLeft);
        outlet.gzip = false;
        return respond(Answer::error(&ApiError::usual(400), Frame::Object), None, exchange, outlet);
    };
    outlet.control.expect_head();
    before_head(fault.as_ref(), &mut exchange, &outlet.control).await;
    respond(answer, fault.as_ref(), exchange, outlet)
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

pub(crate) fn arrival(world: &World, parts: &Parts, control: &Control, secret: Option<&str>) -> Arrival {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let seen = if parts.version == Version::HTTP_2 {
        None
    } else {
        control.take_head(&format!("{} {target} HTTP/1.", parts.method))
    };
    Arrival {
        at_ms: world.now_ms(),
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        head: seen.unwrap_or_else(|| lines(&parts.headers)),
        version: parts.version,
        key: secret.map(str::to_owned),
        project: secret.and_then(|secret| world.project(secret)),
    }
}

fn lines(headers: &HeaderMap) -> Box<[u8]> {
    let mut lines = Vec::with_capacity(512);
    for (name, value) in headers {
        lines.extend_from_slice(name.as_str().as_bytes());
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value.as_bytes());
        lines.push(b'\n');
    }
    lines.into()
}

enum Received {
    Whole(Bytes),
    TooLarge,
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
