//! Puts an answer on the wire: Google's headers, the faults of the head, and the body played step by step.

use std::future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ALT_SVC, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, SERVER, SET_COOKIE,
    VARY, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::answer::{Answer, MEDIA, Payload};
use crate::error::{self, ApiError};
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::google::Asker;
use crate::journal::End;
use crate::line::{Break, Control};
use crate::script::{Script, Step, Steps};

/// Where the answer goes.
pub(crate) struct Outlet {
    pub(crate) control: Arc<Control>,
    pub(crate) version: Version,
    /// The client takes gzip.
    pub(crate) gzip: bool,
    /// HEAD: no body is sent.
    pub(crate) bodiless: bool,
    pub(crate) interval: Duration,
}

/// Whether `accept-encoding` allows gzip.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"))
                && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    })
}

/// The faults that keep the head back. Returns once there is to be one; some never do.
pub(crate) async fn before_head(fault: Option<&Fault>, exchange: &mut Exchange, control: &Control) {
    let (first, then) = match fault {
        Some(Fault::DelayHead { ms }) => return tokio::time::sleep(Duration::from_millis(*ms)).await,
        Some(Fault::StallHead) => return future::pending().await,
        Some(Fault::ResetHead) => (Bytes::new(), Break::Reset),
        Some(Fault::CloseHead) => (Bytes::new(), Break::Fin),
        Some(Fault::PartialHead) => (
            Bytes::from_static(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nserver-tim"),
            Break::Fin,
        ),
        _ => return,
    };
    control.break_after(first, then);
    exchange.end(End::Faulted);
    future::pending::<()>().await;
}

/// The answer that a fault puts in the place of the normal one, if it does.
pub(crate) fn instead(fault: Option<&Fault>, frame: error::Frame, asker: &Asker<'_>) -> Option<Answer> {
    match fault? {
        Fault::Google { error } => Some(Answer::error(&error.told(asker), frame)),
        Fault::Status { status, body, .. } => {
            let mut answer = Answer::error(&ApiError::usual(*status), frame);
            answer.status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            match body {
                None => {}
                Some(serde_json::Value::String(text)) => answer.payload = Payload::Whole(text.clone().into()),
                Some(value) => answer.payload = Payload::Whole(format!("{value:#}\n").into()),
            }
            Some(answer)
        }
        Fault::Redirect { .. } => {
            Some(Answer::new(StatusCode::FOUND, "text/html; charset=UTF-8", Bytes::new()))
        }
        _ => None,
    }
}

/// The response for hyper, headers and body.
pub(crate) fn respond(
    answer: Answer,
    fault: Option<&Fault>,
    exchange: Exchange,
    outlet: Outlet,
) -> Response<AnswerBody> {
    let empty = matches!(&answer.payload, Payload::Whole(body) if body.is_empty());
    let gzip = outlet.gzip && answer.content_type != MEDIA && !empty;
    let script = Script::new(answer.payload, outlet.interval, gzip, fault);
    let mut response = Response::new(());
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    google_headers(headers, answer.status, answer.content_type);
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    if script.gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Some(length) = script.content_length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    faulty_headers(headers, fault);
    exchange.status(answer.status.as_u16());
    response.map(|()| AnswerBody::new(script, exchange, outlet))
}

fn google_headers(headers: &mut HeaderMap, status: StatusCode, content_type: &'static str) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(VARY, HeaderValue::from_static("Origin, X-Origin, Referer"));
    headers.insert(SERVER, HeaderValue::from_static("scaffolding on HTTPServer2"));
    headers.insert("x-xss-protection", HeaderValue::from_static("0"));
    headers.insert("x-frame-options", HeaderValue::from_static("SAMEORIGIN"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("server-timing", HeaderValue::from_static("gfet4t7; dur=12"));
    if status.is_success() {
        headers.insert("x-gemini-service-tier", HeaderValue::from_static("standard"));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(
            WWW_AUTHENTICATE,
            HeaderValue::from_static(
                "Bearer realm=\"https://accounts.google.com/\", error=\"invalid_token\"",
            ),
        );
    }
    headers.insert(ALT_SVC, HeaderValue::from_static("h3=\":443\"; ma=2592000,h3-29=\":443\"; ma=2592000"));
    headers.insert(SET_COOKIE, HeaderValue::from_static("NID=simulated; path=/; Secure; HttpOnly"));
}

fn faulty_headers(headers: &mut HeaderMap, fault: Option<&Fault>) {
    let set = match fault {
        Some(Fault::Headers { set }) => set,
        Some(Fault::Status { headers, .. }) => headers,
        Some(Fault::BigHeaders { kib }) => {
            if let Ok(value) = HeaderValue::from_str(&"x".repeat(kib * 1024)) {
                headers.insert("x-big", value);
            }
            return;
        }
        Some(Fault::ManyHeaders { count }) => {
            for n in 0..*count {
                if let Ok(name) = HeaderName::from_bytes(format!("x-many-{n}").as_bytes()) {
                    // A map of headers holds some 30,000.
                    let _ = headers.try_insert(name, HeaderValue::from_static("1"));
                }
            }
            return;
        }
        Some(Fault::Redirect { location }) => {
            if let Ok(value) = HeaderValue::from_str(location) {
                headers.insert(LOCATION, value);
            }
            return;
        }
        _ => return,
    };
    for (name, value) in set {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            headers.insert(name, value);
        }
    }
}

/// Plays a script to hyper.
pub(crate) struct AnswerBody {
    steps: Steps,
    exchange: Exchange,
    control: Arc<Control>,
    multiplexed: bool,
    /// What is left of an announced length.
    remaining: Option<u64>,
    held: Option<Step>,
    /// Something was handed over since the last pause; hyper writes it out when the body pauses.
    unflushed: bool,
    pause: Option<Pin<Box<Sleep>>>,
    due: Instant,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Playing,
    Pausing,
    /// Nothing more comes; the connection is being broken or stays silent.
    Stuck,
    /// The next poll fails, which makes hyper reset the HTTP/2 stream.
    Failing,
}

impl AnswerBody {
    fn new(script: Script, mut exchange: Exchange, outlet: Outlet) -> Self {
        if outlet.bodiless || script.content_length == Some(0) {
            exchange.end(End::Complete);
        }
        Self {
            steps: script.steps,
            exchange,
            control: outlet.control,
            multiplexed: outlet.version == Version::HTTP_2,
            remaining: script.content_length,
            held: None,
            unflushed: false,
            pause: None,
            due: Instant::now(),
            state: State::Playing,
        }
    }

    fn pause_until_due(&mut self) {
        let due = self.due;
        match &mut self.pause {
            Some(sleep) => sleep.as_mut().reset(due),
            none => *none = Some(Box::pin(tokio::time::sleep_until(due))),
        }
        self.state = State::Pausing;
    }

    fn send(&mut self, bytes: Bytes) -> Frame<Bytes> {
        self.unflushed = true;
        self.exchange.sent(&bytes);
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.saturating_sub(bytes.len() as u64);
            if *remaining == 0 {
                self.exchange.end(End::Complete);
            }
        }
        Frame::data(bytes)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            match self.state {
                State::Playing => {}
                State::Pausing => {
                    self.unflushed = false;
                    if let Some(pause) = &mut self.pause {
                        ready!(pause.as_mut().poll(cx));
                    }
                    self.state = State::Playing;
                }
                State::Stuck => return Poll::Pending,
                State::Failing => {
                    if let Some(pause) = &mut self.pause {
                        ready!(pause.as_mut().poll(cx));
                    }
                    return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
                }
            }
            let step = self.held.take().or_else(|| self.steps.next());
            match step {
                Some(Step::Send(bytes)) if bytes.is_empty() => {}
                Some(Step::Send(bytes)) if self.unflushed => {
                    // Each piece is written out by itself, so that events arrive as events.
                    self.unflushed = false;
                    self.held = Some(Step::Send(bytes));
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Send(bytes)) => return Poll::Ready(Some(Ok(self.send(bytes)))),
                Some(Step::Wait(pause)) => {
                    // A reader that fell behind is not flooded afterwards.
                    self.due = (self.due + pause).max(Instant::now());
                    self.pause_until_due();
                }
                Some(Step::Stall) => self.state = State::Stuck,
                Some(Step::Break(Break::Fin)) if self.multiplexed => {
                    self.exchange.end(End::Faulted);
                    // Resetting a stream throws away what it has queued; give the connection time to write it.
                    self.due = Instant::now() + Duration::from_millis(10);
                    self.pause_until_due();
                    self.state = State::Failing;
                }
                Some(Step::Break(how)) => {
                    self.exchange.end(End::Faulted);
                    self.control.break_after(Bytes::new(), how);
                    self.state = State::Stuck;
                }
                None => {
                    self.exchange.end(End::Complete);
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
