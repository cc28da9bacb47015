//! Passes an open answer's body on to the client, as it comes and no faster than the client reads. Notices at once when
//! the client leaves; shows it when the upstream breaks off, instead of a silent end.

use super::{
    job::Piece,
    observe::{Observed, Observer, Release},
};
use crate::{
    caller_cuts::CUT_MESSAGE,
    transaction::End,
    upstream::{Body, BodyError, Coding, Joined, Patience, Ready},
};
use bytes::Bytes;
use gemini::dialect::{GatewayError, StreamForm};
use std::{
    future::Future,
    time::{Duration, Instant},
};
use tokio::{
    sync::mpsc::{self, PermitIterator, error::TrySendError},
    time::timeout,
};

/// What may lie between the upstream and the client: one piece, and the word that it was the last. With pieces of about
/// [`Joined::ENOUGH`] and what the sockets hold, this bounds a stream's memory.
pub(super) const PIECES: usize = 2;

/// How long a client may take for the word that its stream is ended.
const FAREWELL: Duration = Duration::from_millis(500);

/// Chunks that follow each other faster than this are probably not alone.
const BURST: Duration = Duration::from_millis(5);

/// What was passed on, and how it ended.
pub(super) struct Relayed {
    pub(super) end: End,
    pub(super) bytes: u64,
    pub(super) observed: Observed,
}

/// How a streamed body is framed, for the event that tells of a break.
#[derive(Clone, Copy)]
pub(super) struct Framing {
    /// `None` when the body is no stream of events.
    pub(super) form: Option<StreamForm>,
    pub(super) coding: Coding,
}

impl Framing {
    /// Returns the last event of a stream that ends before its time, where one can be put after what was passed on.
    fn last_event(self, tail: &Tail, error: &GatewayError<'_>) -> Option<Bytes> {
        let form =
            self.form.filter(|form| self.coding == Coding::Identity && tail.is_at_event_boundary(*form))?;
        Some(error.stream_event(form).into())
    }
}

/// Passes `body` on into `pieces` until its end, until either side breaks off, or until `cut` resolves, which ends it as refused. `tail` is the end of what was passed
/// on before.
pub(super) async fn relay(
    mut body: Body,
    pieces: mpsc::Sender<Piece>,
    write_timeout: Duration,
    framing: Framing,
    mut tail: Tail,
    observer: &mut Observer,
    mut cut: impl Future<Output = ()> + Unpin,
) -> Relayed {
    let mut bytes = 0;
    let mut last_came = Instant::now();
    let mut held = Bytes::new();
    loop {
        let mut joined = Joined::default();
        let first = tokio::select! {
            biased; // where there is more to pass on, the passing on tells whether the client is there
            () = &mut cut => {
                if let Some(event) = framing.last_event(&tail, &cut_off()) {
                    // One that does not read is not told.
                    let _ = timeout(FAREWELL, pieces.send(Piece::Chunk(event))).await;
                }
                return Relayed { end: End::Refused, bytes, observed: observer.end() };
            }
            chunk = body.next() => chunk,
            () = pieces.closed() => {
                return Relayed { end: End::ClientLeft, bytes, observed: observer.end() };
            }
        };
        let mut state = match first {
            Ok(Some(chunk)) => {
                observer.see(&chunk);
                joined.push(chunk);
                Ready::NotYet
            }
            Ok(None) => Ready::End,
            Err(BodyError) => Ready::Broken,
        };
        // A client that does not read holds one chunk here, and a piece on its way.
        let needed = if matches!(state, Ready::End) { 1 } else { PIECES };
        let reserved = tokio::select! {
            biased;
            reserved = reserve(&pieces, needed, write_timeout) => reserved,
            () = &mut cut => Err(End::Refused),
        };
        let mut room = match reserved {
            Ok(room) => room,
            Err(end) => return Relayed { end, bytes, observed: observer.end() },
        };
        // One write for all that is there already, rather than one each. Where events come one by one, looking for more
        // would cost as much as passing on what there is.
        let patience = if last_came.elapsed() < BURST { Patience::OneTurn } else { Patience::Not };
        last_came = Instant::now();
        while matches!(state, Ready::NotYet) && joined.len() < Joined::ENOUGH {
            state = body.next_ready(patience).await;
            match std::mem::replace(&mut state, Ready::NotYet) {
                Ready::Chunk(chunk) => {
                    observer.see(&chunk);
                    joined.push(chunk);
                }
                Ready::NotYet => break,
                other => state = other,
            }
        }
        observer.let_document_pass();
        // Before the client can name in its next request what the end brings.
        let mut at_end = matches!(state, Ready::End | Ready::Broken).then(|| observer.end());
        if observer.has_learnt() {
            // Boxed, since nearly no stream has its memory in use.
            Box::pin(observer.let_others_know()).await;
        }
        let mut piece = joined.into_bytes();
        if observer.mentions_error() {
            let mut joined = Joined::default();
            joined.push(std::mem::take(&mut held));
            joined.push(piece);
            piece = match observer.release(joined.into_bytes(), at_end.is_some()) {
                Release::Pass(piece) => piece,
                Release::Hold(piece) => {
                    held = piece;
                    continue;
                }
                Release::Never(_) => {
                    at_end = at_end.or_else(|| Some(observer.end()));
                    state = Ready::Broken;
                    Bytes::new()
                }
            };
        }
        let length = piece.len() as u64;
        if matches!(state, Ready::End) {
            let observed = at_end.unwrap_or_else(|| observer.end());
            hand_on(&mut room, Piece::Last(piece));
            return Relayed { end: End::Complete, bytes: bytes + length, observed };
        }
        if !piece.is_empty() {
            tail.see(&piece);
            hand_on(&mut room, Piece::Chunk(piece));
            bytes += length;
        }
        let Some(observed) = at_end else { continue };
        if let Some(event) = framing.last_event(&tail, &broke_off()) {
            hand_on(&mut room, Piece::Chunk(event));
        }
        // Closing the channel without `Piece::Last` breaks the client's connection: no clean end.
        return Relayed { end: End::UpstreamBroke, bytes, observed };
    }
}

/// Waits until the client has taken all but so much that `needed` pieces have room.
async fn reserve(
    pieces: &mpsc::Sender<Piece>,
    needed: usize,
    write_timeout: Duration,
) -> Result<PermitIterator<'_, Piece>, End> {
    match pieces.try_reserve_many(needed) {
        Ok(room) => Ok(room),
        Err(TrySendError::Closed(())) => Err(End::ClientLeft),
        Err(TrySendError::Full(())) => match timeout(write_timeout, pieces.reserve_many(needed)).await {
            Ok(room) => room.map_err(|_| End::ClientLeft),
            Err(_) => Err(End::ClientStalled),
        },
    }
}

fn hand_on(room: &mut PermitIterator<'_, Piece>, piece: Piece) {
    if let Some(permit) = room.next() {
        permit.send(piece);
    }
}

/// The last thing a client reads of a stream that broke off.
fn broke_off() -> GatewayError<'static> {
    let message = "The Gemini API broke off in the middle of its answer: what came so far is not all of it.";
    GatewayError::new(503, "UNAVAILABLE", message)
}

/// The last thing a client reads of a stream that the operator has ended.
fn cut_off() -> GatewayError<'static> {
    GatewayError::new(401, "UNAUTHENTICATED", CUT_MESSAGE)
}

/// The last bytes passed on.
#[derive(Default)]
pub(super) struct Tail([u8; 4]);

impl Tail {
    /// Of a body that begins with `bytes`.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut tail = Self::default();
        tail.see(bytes);
        tail
    }

    fn see(&mut self, bytes: &[u8]) {
        for byte in &bytes[bytes.len().saturating_sub(4)..] {
            self.0.rotate_left(1);
            self.0[3] = *byte;
        }
    }

    /// Whether an event of our own would stand on its own: after a blank line, or after a JSON array's element. Of the
    /// latter a brace is all there is to go by; inside an element the array does not parse with an event or without.
    fn is_at_event_boundary(&self, form: StreamForm) -> bool {
        match form {
            StreamForm::Sse | StreamForm::Interaction | StreamForm::OpenAi => {
                self.0.ends_with(b"\n\n") || self.0.ends_with(b"\r\n\r\n")
            }
            StreamForm::JsonArray => self.0.trim_ascii_end().ends_with(b"}"),
        }
    }
}
