//! Puts an answer on the wire: Google's headers, the faults of the head, and the body played step by step.

use std::future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::header::{
    ALT_SVC, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, SERVER, SET_COOKIE, VARY,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::answer::{Answer, MEDIA, Payload};
use crate::coding::Coding;
use crate::error::{self, ApiError};
use crate::exchange::Exchange;
use crate::fault::{Delivery, Fault};
use crate::frames::go_away;
use crate::journal::End;
use crate::line::{Break, Peer};
use crate::middlebox;
use crate::refusals::Asker;
use crate::script::{Script, Step, Steps};

/// An answer's body, or one that the control endpoint or an upgrade gives.
pub(crate) type AnyBody = Either<AnswerBody, Full<Bytes>>;

/// Where the answer goes.
pub(crate) struct Outlet {
    pub(crate) peer: Peer,
    /// The client takes it.
    pub(crate) coding: Option<Coding>,
    pub(crate) delivery: Option<Delivery>,
    /// HEAD: no body is sent.
    pub(crate) bodiless: bool,
    pub(crate) interval: Duration,
}

/// The faults that keep the head back. Returns once there is to be one; some never do.
///
/// # Errors
/// With the reason for which the HTTP/2 stream is to be reset in the place of a head.
pub(crate) async fn before_head(
    fault: Option<&Fault>,
    exchange: &mut Exchange,
    peer: &Peer,
) -> Result<(), Reason> {
    let fin = (Bytes::new(), Break::Fin);
    let (first, then) = match (fault, peer.stream) {
        (Some(Fault::DelayHead { ms }), _) => {
            tokio::time::sleep(Duration::from_millis(*ms)).await;
            return Ok(());
        }
        (Some(Fault::StallHead), _) => return future::pending().await,
        (Some(Fault::ResetHead), _) => (Bytes::new(), Break::Reset),
        (Some(Fault::PartialHead), _) => (
            Bytes::from_static(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nserver-tim"),
            Break::Fin,
        ),
        (Some(Fault::GoAway { code, processed: true }), Some(stream)) => {
            peer.control.write_between(go_away(stream, *code));
            return Ok(());
        }
        (Some(Fault::GoAway { code, processed: false }), Some(stream)) => {
            // Streams of clients have odd numbers; 0 says that none was processed.
            let before = stream.saturating_sub(2);
            peer.control.write_between(go_away(before, *code));
            exchange.end(End::Faulted);
            return future::pending().await;
        }
        (Some(Fault::RefuseStream), Some(_)) => {
            exchange.end(End::Faulted);
            return Err(Reason::REFUSED_STREAM);
        }
        (Some(Fault::CloseHead | Fault::RefuseStream | Fault::GoAway { processed: false, .. }), _) => fin,
        _ => return Ok(()),
    };
    peer.control.break_after(first, then);
    exchange.end(End::Faulted);
    future::pending().await
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
        Fault::Middlebox { status, page, body, .. } => {
            Some(middlebox::answer(*status, *page, body.as_deref()))
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
    let coding = outlet.coding.filter(|_| answer.content_type != MEDIA && !empty && !answer.foreign);
    let script = Script::new(answer.payload, outlet.interval, coding, fault, outlet.delivery);
    let mut response = Response::new(());
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    if !answer.content_type.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    }
    if !answer.foreign {
        google_headers(headers, answer.status);
    }
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    if let Some(coding) = script.coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    if let Some(length) = script.content_length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    faulty_headers(headers, fault);
    if outlet.peer.stream.is_none() && matches!(fault, Some(Fault::GoAway { .. })) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    exchange.status(answer.status.as_u16());
    let after = fault.and_then(AfterAnswer::of);
    response.map(|()| AnswerBody::new(script, exchange, outlet, after))
}

fn google_headers(headers: &mut HeaderMap, status: StatusCode) {
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
        Some(Fault::Status { headers, .. } | Fault::Middlebox { headers, .. }) => headers,
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

/// What becomes of the connection once the answer is complete.
#[derive(Debug, Clone, Copy)]
struct AfterAnswer {
    after: Option<Duration>,
    how: Break,
}

impl AfterAnswer {
    fn of(fault: &Fault) -> Option<Self> {
        let Fault::CloseKept { after_ms, reset } = fault else { return None };
        let how = if *reset { Break::Reset } else { Break::Fin };
        Some(Self { after: after_ms.map(Duration::from_millis), how })
    }

    fn carry_out(self, peer: &Peer) {
        let Some(after) = self.after else { return peer.control.break_at_next_request(self.how) };
        let control = Arc::downgrade(&peer.control);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            if let Some(control) = control.upgrade() {
                control.break_after(Bytes::new(), self.how);
            }
        });
    }
}

/// Plays a script to hyper.
pub(crate) struct AnswerBody {
    steps: Steps,
    exchange: Exchange,
    peer: Peer,
    after: Option<AfterAnswer>,
    /// What is left of an announced length.
    remaining: Option<u64>,
    held: Option<Step>,
    /// Something was handed over since the last pause; hyper writes it out when the body pauses.
    unflushed: bool,
    pause: Option<Pin<Box<Sleep>>>,
    due: Instant,
    state: PlayState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlayState {
    Playing,
    Pausing,
    /// Nothing more comes; the connection is being broken or stays silent.
    Stuck,
    /// The next poll fails, which makes hyper reset the HTTP/2 stream for this reason.
    Failing(Reason),
}

impl AnswerBody {
    fn new(script: Script, exchange: Exchange, outlet: Outlet, after: Option<AfterAnswer>) -> Self {
        let mut body = Self {
            steps: script.steps,
            exchange,
            peer: outlet.peer,
            after,
            remaining: script.content_length,
            held: None,
            unflushed: false,
            pause: None,
            due: Instant::now(),
            state: PlayState::Playing,
        };
        if outlet.bodiless || script.content_length == Some(0) {
            body.complete();
        }
        body
    }

    fn complete(&mut self) {
        self.exchange.end(End::Complete);
        if let Some(after) = self.after.take() {
            after.carry_out(&self.peer);
        }
    }

    /// Resetting a stream throws away what it has queued: the connection is given time to write it.
    fn fail_soon(&mut self, reason: Reason) {
        self.exchange.end(End::Faulted);
        self.due = Instant::now() + Duration::from_millis(10);
        self.pause_until_due();
        self.state = PlayState::Failing(reason);
    }

    fn pause_until_due(&mut self) {
        let due = self.due;
        match &mut self.pause {
            Some(sleep) => sleep.as_mut().reset(due),
            none => *none = Some(Box::pin(tokio::time::sleep_until(due))),
        }
        self.state = PlayState::Pausing;
    }

    fn break_off(&mut self, how: Break) {
        self.exchange.end(End::Faulted);
        self.peer.control.break_after(Bytes::new(), how);
        self.state = PlayState::Stuck;
    }

    fn send(&mut self, bytes: Bytes) -> Frame<Bytes> {
        self.unflushed = true;
        self.exchange.sent(&bytes);
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.saturating_sub(bytes.len() as u64);
            if *remaining == 0 {
                self.complete();
            }
        }
        Frame::data(bytes)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        loop {
            match self.state {
                PlayState::Playing => {}
                PlayState::Pausing => {
                    self.unflushed = false;
                    if let Some(pause) = &mut self.pause {
                        ready!(pause.as_mut().poll(cx));
                    }
                    self.state = PlayState::Playing;
                }
                PlayState::Stuck => return Poll::Pending,
                PlayState::Failing(reason) => {
                    if let Some(pause) = &mut self.pause {
                        ready!(pause.as_mut().poll(cx));
                    }
                    return Poll::Ready(Some(Err(reason.into())));
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
                Some(Step::Stall) => self.state = PlayState::Stuck,
                Some(Step::Break(Break::Fin)) if self.peer.stream.is_some() => {
                    self.fail_soon(Reason::INTERNAL_ERROR);
                }
                Some(Step::ResetStream(code)) if self.peer.stream.is_some() => self.fail_soon(code.into()),
                Some(Step::Break(how)) => self.break_off(how),
                Some(Step::ResetStream(_)) => self.break_off(Break::Reset),
                None => {
                    self.complete();
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
