//! An answer in another vendor's events, made of Google's as they come: what a client reads of a translated stream. It holds
//! one event of Google's and what it became.

use super::{format::StreamMachine, state::ResponseKeeper};
use crate::inflight::InFlightGuard;
use actix_web::body::{BodySize, MessageBody};
use bytes::{Bytes, BytesMut};
use formats::{AnswerFault, StreamEnd};
use gemini::event_data::EventData;
use gemini_balance_actors::forward::{AnswerBody, Piece};
use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};

/// After so long without an event a client is shown that the connection lives, in formats that know how.
const PING_AFTER: Duration = Duration::from_secs(15);

/// What is said of a stream that broke off.
const BROKEN: &str = "the Gemini API broke off in the middle of the answer";

/// Google's events, with the machine that they go through.
pub(super) struct TranslatedStream {
    source: AnswerBody,
    events: EventData,
    machine: StreamMachine,
    out: BytesMut,
    state: StreamState,
    /// Who keeps the answer once it is whole, if it is to be kept.
    keeper: Option<ResponseKeeper>,
    /// The answer being kept: until it is, its last bytes wait, since its client may go on from it at once.
    keeping: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamState {
    Open,
    /// All was said.
    Ended,
    /// It broke off, and the client was told.
    Broken,
}

impl TranslatedStream {
    pub(super) fn new(source: AnswerBody, machine: StreamMachine) -> Self {
        Self {
            source,
            events: EventData::default(),
            machine,
            out: BytesMut::new(),
            state: StreamState::Open,
            keeper: None,
            keeping: None,
        }
    }

    /// Has the answer kept once it is whole.
    pub(super) fn kept_by(self, keeper: Option<ResponseKeeper>) -> Self {
        Self { keeper, ..self }
    }

    /// Reads until the client can be sent something, or there is a fault that it can be told with a status.
    pub(super) async fn begin(&mut self) -> Result<(), AnswerFault> {
        while self.state == StreamState::Open && !self.machine.has_begun() && self.machine.fault().is_none() {
            match &mut self.source {
                AnswerBody::Whole(bytes) => {
                    let bytes = mem::take(bytes);
                    self.take(Some(Piece::Last(bytes)));
                }
                AnswerBody::Stream { pieces, .. } => {
                    let piece = pieces.recv().await;
                    self.take(piece);
                }
            }
        }
        match self.machine.fault() {
            Some(fault) if !self.machine.has_begun() => Err(fault.clone()),
            _ => Ok(()),
        }
    }

    /// The machine, once all was said.
    fn take(&mut self, piece: Option<Piece>) {
        let (bytes, end) = match piece {
            Some(Piece::Chunk(bytes)) => (bytes, None),
            Some(Piece::Last(bytes)) => (bytes, Some(StreamEnd::Complete)),
            None => (Bytes::new(), Some(StreamEnd::Broken(BROKEN.to_owned()))),
        };
        let Self { events, machine, out, .. } = self;
        let mut push = |event: &[u8]| machine.push(event).iter().for_each(|made| out.extend_from_slice(made));
        let is_readable = events.push(&bytes, &mut push).is_ok();
        let end = match end {
            Some(end) => {
                events.finish(&mut push);
                end
            }
            None if is_readable => return,
            None => StreamEnd::Broken("an event of the Gemini API is too long".to_owned()),
        };
        let broke = matches!(end, StreamEnd::Broken(_));
        self.machine.end(end).iter().for_each(|made| self.out.extend_from_slice(made));
        let failed = broke || self.machine.fault().is_some();
        if let (Some(keeper), Some(response)) = (self.keeper.take(), self.machine.response()) {
            self.keeping = Some(Box::pin(keeper.keep(response.clone())));
        }
        self.state = if failed { StreamState::Broken } else { StreamState::Ended };
    }
}

/// The body as actix-web writes it.
pub(super) struct TranslatedBody {
    stream: TranslatedStream,
    /// The word that the connection lives, and when it is due.
    ping: Option<(&'static [u8], Pin<Box<Sleep>>)>,
    /// Whether actix-web may hold bytes that it has not written yet: it writes when it is told to wait.
    unwritten: bool,
    _passage: InFlightGuard,
}

impl TranslatedBody {
    pub(super) fn new(stream: TranslatedStream, ping: Option<&'static [u8]>, guard: InFlightGuard) -> Self {
        let ping = ping.map(|word| (word, Box::pin(sleep(PING_AFTER))));
        Self { stream, ping, unwritten: true, _passage: guard }
    }
}

/// The answer broke off: actix-web closes the connection without a clean end.
#[derive(Debug)]
pub(super) struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the upstream's answer broke off")
    }
}

impl std::error::Error for BrokenOff {}

impl MessageBody for TranslatedBody {
    type Error = BrokenOff;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        let this = &mut *self;
        loop {
            if let Some(keeping) = &mut this.stream.keeping {
                ready!(keeping.as_mut().poll(cx));
                this.stream.keeping = None;
            }
            if !this.stream.out.is_empty() {
                this.unwritten = true;
                if let Some((_, due)) = &mut this.ping {
                    due.as_mut().reset(Instant::now() + PING_AFTER);
                }
                return Poll::Ready(Some(Ok(this.stream.out.split().freeze())));
            }
            match this.stream.state {
                StreamState::Open => {}
                StreamState::Ended => return Poll::Ready(None),
                // What was said last must be written before the connection is closed.
                StreamState::Broken if mem::take(&mut this.unwritten) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                StreamState::Broken => return Poll::Ready(Some(Err(BrokenOff))),
            }
            let piece = match &mut this.stream.source {
                AnswerBody::Whole(bytes) => Some(Piece::Last(mem::take(bytes))),
                AnswerBody::Stream { pieces, .. } => match pieces.poll_recv(cx) {
                    Poll::Ready(piece) => piece,
                    Poll::Pending => {
                        if let Some((word, due)) = &mut this.ping
                            && due.as_mut().poll(cx).is_ready()
                        {
                            this.stream.out.extend_from_slice(word);
                            continue;
                        }
                        this.unwritten = false;
                        return Poll::Pending;
                    }
                },
            };
            this.stream.take(piece);
        }
    }
}
