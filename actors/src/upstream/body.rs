//! The body of an upstream answer: read chunk by chunk with an idle timeout, or as far as it is there already, and put
//! together again without copying a single chunk.

use super::lanes::AnswerStream;
use bytes::{Bytes, BytesMut};
use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};
use tokio::time::timeout;

/// The upstream's body.
pub(crate) struct Body {
    /// `None` of an answer whose body is not to be read.
    inner: Option<AnswerStream>,
    /// It broke off before: the library's body would say that it has ended.
    broken: bool,
    idle_timeout: Duration,
}

/// The body broke off, or nothing came of it for too long.
#[derive(Debug)]
pub(crate) struct BodyError;

/// What is there of a body without waiting for the network.
pub(crate) enum Ready {
    Chunk(Bytes),
    End,
    NotYet,
    Broken,
}

/// How much of a wait is still none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// What is not there is not there.
    Not,
    /// Until the tasks that are ready, the connection's own among them, have run once.
    OneTurn,
}

impl Body {
    /// `idle_timeout` is how long the next bytes may take.
    pub(crate) fn new(inner: Option<AnswerStream>, idle_timeout: Duration) -> Self {
        Self { inner, broken: false, idle_timeout }
    }

    fn poll_chunk(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        if self.broken {
            return Poll::Ready(Err(BodyError));
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(Ok(None)) };
        loop {
            return match std::task::ready!(http_body::Body::poll_frame(Pin::new(&mut *inner), cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) if !chunk.is_empty() => Poll::Ready(Ok(Some(chunk))),
                    _ => continue, // an empty frame, or trailers, which HTTP/1.1 clients did not ask for
                },
                Some(Err(_)) => {
                    self.broken = true;
                    Poll::Ready(Err(BodyError))
                }
                None => Poll::Ready(Ok(None)),
            };
        }
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        let idle_timeout = self.idle_timeout;
        timeout(idle_timeout, poll_fn(|cx| self.poll_chunk(cx))).await.unwrap_or(Err(BodyError))
    }

    /// The next bytes if they are there.
    pub(crate) async fn next_ready(&mut self, patience: Patience) -> Ready {
        let turns: &[u8] = if patience == Patience::OneTurn { &[1, 0] } else { &[0] };
        for yields_left in turns {
            let polled = poll_fn(|cx| Poll::Ready(self.poll_chunk(cx))).await;
            match polled {
                Poll::Ready(Ok(Some(chunk))) => return Ready::Chunk(chunk),
                Poll::Ready(Ok(None)) => return Ready::End,
                Poll::Ready(Err(BodyError)) => return Ready::Broken,
                Poll::Pending if *yields_left > 0 => tokio::task::yield_now().await,
                Poll::Pending => {}
            }
        }
        Ready::NotYet
    }
}

/// Chunks put together; a single one is passed on without a copy.
#[derive(Default)]
pub(crate) struct Joined {
    first: Bytes,
    all: BytesMut,
}

impl Joined {
    /// Beyond this nothing is gained by joining more, and each piece that waits for a slow client costs as much.
    pub(crate) const ENOUGH: usize = 24 * 1024;

    pub(crate) fn push(&mut self, chunk: Bytes) {
        if self.first.is_empty() && self.all.is_empty() {
            self.first = chunk;
            return;
        }
        if self.all.is_empty() {
            let both = self.first.len() + chunk.len();
            self.all.reserve(both.max((both * 2).min(Self::ENOUGH)));
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&chunk);
    }

    /// What there is so far.
    pub(crate) fn bytes(&self) -> Bytes {
        if self.all.is_empty() { self.first.clone() } else { Bytes::copy_from_slice(&self.all) }
    }

    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}
