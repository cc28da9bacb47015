//! The control endpoint, `/_simulator/`: what [`crate::Simulator`]'s methods do, over HTTP. Its requests are not logged.

use std::fmt::Display;
use std::io;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::quota::Now;
use crate::world::World;

/// Where it lives.
pub(crate) const PREFIX: &str = "/_simulator/";
const BODY_LIMIT: usize = 16 * 1024 * 1024;

type Reply = (StatusCode, Vec<u8>);

pub(crate) async fn answer(world: &World, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let resource = parts.uri.path().trim_start_matches(PREFIX);
    let (status, body) = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => act(world, &parts.method, resource, parts.uri.query(), &body.to_bytes()),
        Err(error) => refused(StatusCode::BAD_REQUEST, error),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn act(world: &World, method: &Method, resource: &str, query: Option<&str>, body: &[u8]) -> Reply {
    match (method.as_str(), resource) {
        ("GET", "faults") => shown(&world.faults()),
        ("PUT", "faults") => replaced(body, |rules| world.set_faults(rules)),
        ("DELETE", "faults") => {
            world.set_faults(Vec::new());
            done()
        }
        ("GET", "conversations") => shown(&world.conversations()),
        ("PUT", "conversations") => replaced(body, |list| world.set_conversations(list)),
        ("DELETE", "conversations") => {
            world.set_conversations(Vec::new());
            done()
        }
        ("GET", "strictness") => shown(&world.strictness()),
        ("PUT", "strictness") => replaced(body, |strictness| world.set_strictness(strictness)),
        ("GET", "input_limits") => shown(&world.input_limits()),
        ("PUT", "input_limits") => replaced(body, |limits| world.set_input_limits(limits)),
        ("GET", "shape") => shown(&world.shape()),
        ("PUT", "shape") => replaced(body, |shape| world.set_shape(shape)),
        ("GET", "codings") => shown(&world.codings()),
        ("PUT", "codings") => replaced(body, |codings| world.set_codings(codings)),
        ("GET", "outage") => shown(&world.door.outage()),
        ("PUT", "outage") => tried(body, |outage| world.door.set_outage(outage)),
        ("DELETE", "outage") => match world.door.end_outage() {
            Ok(()) => done(),
            Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, error),
        },
        ("PUT", "keys") => replaced(body, |keys| world.set_keys(keys)),
        ("GET", "quotas") => shown(&world.quotas()),
        ("PUT", "quotas") => replaced(body, |quotas| world.set_quotas(quotas)),
        ("GET", "clock") => shown(&clock(world)),
        ("PUT", "clock") => replaced(body, |clock: Clock| world.set_clock_offset_s(clock.offset_s)),
        ("GET", "requests") => {
            let mut requests = world.requests();
            if let Some(since) = since(query) {
                requests.retain(|request| request.seq > since);
            }
            shown(&requests)
        }
        ("GET", "resources") => shown(&world.resources.all(world.clock())),
        ("GET", "wrong_owners") => shown(&world.resources.refusals()),
        ("GET", "lifecycle") => shown(&world.lifecycle()),
        ("PUT", "lifecycle") => replaced(body, |lifecycle| world.set_lifecycle(lifecycle)),
        ("GET", "stats") => shown(&world.stats()),
        ("POST", "reset") => {
            world.reset();
            done()
        }
        _ => refused(
            StatusCode::NOT_FOUND,
            "there are: GET PUT DELETE faults; GET PUT DELETE conversations; GET PUT input_limits; GET PUT strictness; GET PUT DELETE outage; GET PUT shape; GET PUT codings; PUT keys; GET PUT quotas; GET PUT clock; GET PUT lifecycle; GET resources; GET wrong_owners; GET requests[?since=SEQ]; GET stats; POST reset",
        ),
    }
}

/// How far the clock that quotas go by is ahead of the real one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clock {
    offset_s: i64,
}

fn clock(world: &World) -> Value {
    let now = Now::at(world.clock());
    json!({
        "offset_s": world.clock_offset_s(),
        "unix_ms": u64::try_from(now.unix.as_millis()).unwrap_or(u64::MAX),
        "los_angeles_date": now.day.to_string(),
    })
}

/// `?since=SEQ`: only requests after that one.
fn since(query: Option<&str>) -> Option<u64> {
    let (_, since) = form_urlencoded::parse(query?.as_bytes()).find(|(name, _)| name == "since")?;
    since.parse().ok()
}

fn shown(value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

fn done() -> Reply {
    shown(&json!({"done": true}))
}

fn replaced<T: DeserializeOwned>(body: &[u8], set: impl FnOnce(T)) -> Reply {
    match serde_json::from_slice(body) {
        Ok(value) => {
            set(value);
            done()
        }
        Err(error) => refused(StatusCode::BAD_REQUEST, error),
    }
}

/// The same for what may fail.
fn tried<T: DeserializeOwned>(body: &[u8], set: impl FnOnce(T) -> io::Result<()>) -> Reply {
    let mut outcome = Ok(());
    let reply = replaced(body, |value| outcome = set(value));
    match outcome {
        Ok(()) => reply,
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

fn refused(status: StatusCode, why: impl Display) -> Reply {
    let body: Value = json!({"error": why.to_string()});
    (status, body.to_string().into_bytes())
}
