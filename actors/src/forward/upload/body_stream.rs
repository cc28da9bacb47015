//! A request body that passes as it comes, without being held: two pieces between the client's socket and the upstream's,
//! never more. It can be sent once.

use crate::upstream::BodyBroken;
use bytes::Bytes;
use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::sync::mpsc;

/// Pieces between the client and the upstream.
const PIECES: usize = 2;

/// The client's body broke off.
#[derive(Debug)]
pub struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client's body broke off")
    }
}

impl std::error::Error for BrokenOff {}

/// A request body that is sent once, as it comes. The clones are one body.
#[derive(Clone)]
pub struct BodyStream {
    shared: Arc<BodyStreamState>,
}

struct BodyStreamState {
    pieces: Mutex<Option<mpsc::Receiver<Result<Bytes, BrokenOff>>>>,
    length: Option<u64>,
    passed: AtomicU64,
    ended: AtomicBool,
}

impl BodyStream {
    /// A body and the way to fill it. `length` is what the client has announced.
    pub fn new(length: Option<u64>) -> (mpsc::Sender<Result<Bytes, BrokenOff>>, Self) {
        let (sender, pieces) = mpsc::channel(PIECES);
        let (passed, ended) = (AtomicU64::new(0), AtomicBool::new(false));
        let shared = BodyStreamState { pieces: Mutex::new(Some(pieces)), length, passed, ended };
        (sender, Self { shared: Arc::new(shared) })
    }

    /// How many bytes have passed.
    pub(in crate::forward) fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::Relaxed)
    }

    /// Whether all have.
    pub(in crate::forward) fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Relaxed)
    }

    /// The body, to whoever asks first.
    pub(in crate::forward) fn take(&self) -> Option<StreamedBody> {
        let pieces = self.shared.pieces.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(StreamedBody { pieces, left: self.shared.length, shared: Arc::clone(&self.shared) })
    }
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyStream").field("length", &self.shared.length).finish_non_exhaustive()
    }
}

/// The body as the upstream client reads it: with its length, if that is known, so that it is not chunked anew.
pub(in crate::forward) struct StreamedBody {
    pieces: mpsc::Receiver<Result<Bytes, BrokenOff>>,
    left: Option<u64>,
    shared: Arc<BodyStreamState>,
}

impl http_body::Body for StreamedBody {
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyBroken>>> {
        match std::task::ready!(self.pieces.poll_recv(cx)) {
            Some(Ok(piece)) => {
                let length = piece.len() as u64;
                self.shared.passed.fetch_add(length, Ordering::Relaxed);
                self.left = self.left.map(|left| left.saturating_sub(length));
                if self.left == Some(0) {
                    self.shared.ended.store(true, Ordering::Relaxed);
                }
                Poll::Ready(Some(Ok(http_body::Frame::data(piece))))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            None if self.left.is_none_or(|left| left == 0) => {
                self.shared.ended.store(true, Ordering::Relaxed);
                Poll::Ready(None)
            }
            // Whoever filled it went away.
            None => Poll::Ready(Some(Err(BrokenOff.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.left.map_or_else(http_body::SizeHint::default, http_body::SizeHint::with_exact)
    }
}
