//! An answer in another vendor's events, made of Google's as they come: what a client reads of a translated stream. It holds
//! one event of Google's and what it became.

use super::state::ResponseKeeper;
use crate::{http::bodies::AnswerCopy, inflight::InFlightGuard};
use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use formats::{AnswerFault, AnswerStream, StreamEnd};
use gemini::event_data::EventData;
use gemini_balance_actors::forward::{AnswerBody, Piece};
use std::{
    convert::Infallible,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};

/// After so long without an event a client is shown that the connection lives, in formats that know how.
const PING_AFTER: Duration = Duration::from_secs(15);

/// What is said of a stream that broke off.
const BROKEN: &str = "the Gemini API broke off in the middle of the answer";

/// No more is set aside for what a piece of Google's becomes before it is known.
const MAX_RESERVED_BYTES: usize = 64 * 1024;

/// Google's events, with the machine that they go through.
pub(super) struct TranslatedStream {
    source: AnswerBody,
    events: EventData,
    machine: Box<dyn AnswerStream>,
    out: Vec<u8>,
    /// Whether all was said. Where the answer broke off, that is the client's last event: what the format has for it. The
    /// body then ends cleanly all the same, since clients that see their connection break may drop what they have not read.
    is_over: bool,
    /// Who keeps the answer once it is whole, if it is to be kept.
    keeper: Option<ResponseKeeper>,
    /// The answer being kept: until it is, its last bytes wait, since its client may go on from it at once.
    keeping: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl TranslatedStream {
    /// Begins one, which `keeper` keeps once it is whole: that may be before its client is sent anything.
    pub(super) fn new(
        source: AnswerBody,
        machine: Box<dyn AnswerStream>,
        keeper: Option<ResponseKeeper>,
    ) -> Self {
        Self {
            source,
            events: EventData::default(),
            machine,
            out: Vec::new(),
            is_over: false,
            keeper,
            keeping: None,
        }
    }

    /// Reads until the client can be sent something, or there is a fault that it can be told with a status.
    pub(super) async fn begin(&mut self) -> Result<(), AnswerFault> {
        while !self.is_over && !self.machine.has_begun() && self.machine.fault().is_none() {
            match &mut self.source {
                AnswerBody::Whole(bytes) => {
                    let bytes = mem::take(bytes);
                    self.take(Some(Piece::Last(bytes)));
                }
                AnswerBody::Absent { .. } => self.take(Some(Piece::Last(Bytes::new()))),
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

    /// Takes the next piece of Google's, and makes the client's events of it; `None` says that the answer broke off.
    fn take(&mut self, piece: Option<Piece>) {
        let (bytes, end) = match piece {
            Some(Piece::Chunk(bytes)) => (bytes, None),
            Some(Piece::Last(bytes)) => (bytes, Some(StreamEnd::Complete)),
            None => (Bytes::new(), Some(StreamEnd::Broken(BROKEN.to_owned()))),
        };
        let Self { events, machine, out, .. } = self;
        // What it becomes is about as long.
        out.reserve(bytes.len().min(MAX_RESERVED_BYTES));
        let mut push = |event: &[u8]| machine.push_into(event, out);
        let is_readable = events.push(&bytes, &mut push).is_ok();
        let end = match end {
            Some(end) => {
                events.finish(&mut push);
                end
            }
            None if is_readable => return,
            None => StreamEnd::Broken("an event of the Gemini API is too long".to_owned()),
        };
        self.machine.end_into(end, &mut self.out);
        if let (Some(keeper), Some(response)) = (self.keeper.take(), self.machine.response()) {
            self.keeping = Some(Box::pin(keeper.keep(response.clone())));
        }
        self.is_over = true;
    }
}

/// The body as actix-web writes it.
pub(super) struct TranslatedBody {
    stream: TranslatedStream,
    /// The word that the connection lives, and when it is due.
    ping: Option<(&'static [u8], Pin<Box<Sleep>>)>,
    /// Boxed, since hardly anybody asks for one.
    copy: Option<Box<AnswerCopy>>,
    _passage: InFlightGuard,
}

impl TranslatedBody {
    pub(super) fn new(
        stream: TranslatedStream,
        ping: Option<&'static [u8]>,
        copy: Option<AnswerCopy>,
        guard: InFlightGuard,
    ) -> Self {
        let ping = ping.map(|word| (word, Box::pin(sleep(PING_AFTER))));
        Self { stream, ping, copy: copy.map(Box::new), _passage: guard }
    }
}

impl MessageBody for TranslatedBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = &mut *self;
        loop {
            if let Some(keeping) = &mut this.stream.keeping {
                ready!(keeping.as_mut().poll(cx));
                this.stream.keeping = None;
            }
            if !this.stream.out.is_empty() {
                if let Some((_, due)) = &mut this.ping {
                    due.as_mut().reset(Instant::now() + PING_AFTER);
                }
                let told = Bytes::from(mem::take(&mut this.stream.out));
                if let Some(copy) = &mut this.copy {
                    copy.see(&told);
                }
                return Poll::Ready(Some(Ok(told)));
            }
            if this.stream.is_over {
                return Poll::Ready(None);
            }
            let piece = match &mut this.stream.source {
                AnswerBody::Whole(bytes) => Some(Piece::Last(mem::take(bytes))),
                AnswerBody::Absent { .. } => Some(Piece::Last(Bytes::new())),
                AnswerBody::Stream { pieces, .. } => match pieces.poll_recv(cx) {
                    Poll::Ready(piece) => piece,
                    Poll::Pending => {
                        if let Some((word, due)) = &mut this.ping
                            && due.as_mut().poll(cx).is_ready()
                        {
                            this.stream.out.extend_from_slice(word);
                            continue;
                        }
                        return Poll::Pending;
                    }
                },
            };
            this.stream.take(piece);
        }
    }
}
