//! `/events`: what changes, as it changes, over one connection a page: the overview and the newest requests, each in full at
//! first and then what is new in it, once a second. Nothing is computed while nobody listens, and a listener whose session
//! has ended hears no more.

use super::{
    Desk,
    api::{line, overview_of},
    gate::{answer, session_id},
    table::RouteTable,
};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use futures_util::stream;
use serde_json::{Map, Value};
use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How many pages may listen at once.
const MOST: usize = 8;
const EVERY: Duration = Duration::from_secs(1);
/// A line without meaning after so many seconds of silence, so that proxies keep the connection.
const HEARTBEAT_S: u32 = 15;
/// The most bytes of one event, and the most requests in it.
const MOST_BYTES: usize = 64 * 1024;
const MOST_REQUESTS: usize = 50;

/// Adds the path.
pub(super) fn routes(table: &mut RouteTable) {
    table.get("/events", listen);
}

/// How many listen.
#[derive(Clone, Debug, Default)]
pub(super) struct Listeners(Arc<AtomicUsize>);

/// One that listens, until it is dropped.
struct Listener(Listeners);

impl Listeners {
    fn enter(&self) -> Option<Listener> {
        let entered = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| (count < MOST).then_some(count + 1));
        entered.ok().map(|_| Listener(self.clone()))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a page wants to hear of.
#[derive(Clone, Copy, Debug, Default)]
struct Topics {
    overview: bool,
    requests: bool,
}

async fn listen(
    request: HttpRequest,
    parameters: web::Query<HashMap<String, String>>,
    desk: web::Data<Desk>,
) -> HttpResponse {
    let mut topics = Topics::default();
    for topic in parameters.get("topics").map_or("overview", String::as_str).split(',') {
        match topic {
            "overview" => topics.overview = true,
            "requests" => topics.requests = true,
            _ => return answer(400, "topics are overview and requests"),
        }
    }
    let Some(listener) = desk.listeners.enter() else {
        return answer(429, "eight pages listen already; close one");
    };
    let feed = Feed {
        session: session_id(&request, &desk),
        desk,
        topics,
        _listener: listener,
        ticks: ticks(),
        overview: Map::new(),
        newest: None,
        silent_s: HEARTBEAT_S,
    };
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(stream::unfold(feed, Feed::next))
}

fn ticks() -> Interval {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// What one listener has heard so far.
struct Feed {
    desk: web::Data<Desk>,
    /// The session's id; none of a program, which showed the token.
    session: Option<String>,
    topics: Topics,
    _listener: Listener,
    ticks: Interval,
    overview: Map<String, Value>,
    /// The newest request that was told of.
    newest: Option<u64>,
    silent_s: u32,
}

impl Feed {
    /// Waits until there is something to tell; ends with the session.
    async fn next(mut self) -> Option<(Result<web::Bytes, Infallible>, Self)> {
        loop {
            self.ticks.tick().await;
            let is_open =
                self.session.as_deref().is_none_or(|id| self.desk.sessions.is_open(id, Instant::now()));
            if !is_open {
                return None;
            }
            let mut text = String::new();
            if self.topics.overview {
                self.tell_overview(&mut text).await;
            }
            if self.topics.requests {
                self.tell_requests(&mut text);
            }
            self.silent_s += 1;
            if text.is_empty() && self.silent_s >= HEARTBEAT_S {
                text.push_str(": still here\n\n");
            }
            if !text.is_empty() {
                self.silent_s = 0;
                return Some((Ok(text.into()), self));
            }
        }
    }

    async fn tell_overview(&mut self, text: &mut String) {
        let Some(now) = overview_of(&self.desk).await else {
            text.push_str("event: trouble\ndata: {\"why\":\"the key manager does not answer\"}\n\n");
            return;
        };
        let changed: Map<String, Value> =
            now.iter().filter(|(name, value)| self.overview.get(*name) != Some(*value)).map(owned).collect();
        if !changed.is_empty() {
            let _ = write!(text, "event: overview\ndata: {}\n\n", Value::Object(changed));
        }
        self.overview = now;
    }

    /// The newest first, as far as there is room: who wants all reads `/api/requests`.
    fn tell_requests(&mut self, text: &mut String) {
        let Some(accounts) = &self.desk.operated.accounts else { return };
        let known = self.newest;
        let mut lines = String::new();
        let newest = accounts.recent(None, MOST_REQUESTS, |_| true);
        for (number, transaction) in newest.iter().take_while(|(number, _)| Some(*number) > known) {
            let line = line(transaction).to_string();
            if lines.len() + line.len() > MOST_BYTES {
                break;
            }
            let comma = if lines.is_empty() { "" } else { "," };
            let _ = write!(lines, "{comma}{line}");
            self.newest = self.newest.max(Some(*number));
        }
        if !lines.is_empty() {
            let _ = write!(text, "event: requests\ndata: [{lines}]\n\n");
        }
    }
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_listen_and_no_more_until_one_leaves() {
        let listeners = Listeners::default();
        let mut all: Vec<_> = (0..MOST).map(|_| listeners.enter().unwrap()).collect();
        assert!(listeners.enter().is_none());
        all.pop();
        assert!(listeners.enter().is_some());
    }
}
