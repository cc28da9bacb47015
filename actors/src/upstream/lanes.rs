//! Several clients of the HTTP library in place of one. Over HTTP/2 each of them keeps one connection to a host, which carries no
//! more than so many answers at once: a request beyond waits until one of the others has ended, and a stream may take minutes.

use http::Version;
use hyper::body::Incoming;
use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

/// How many answers a connection carries at once. Google lets so many, and no server should let fewer (RFC 9113 §6.5.2).
const MOST: usize = 100;

/// The clients, of which the first that has room is used, so that those of a peak fall idle after it.
pub(super) struct Lanes<C> {
    make: Box<dyn Fn() -> C + Send + Sync>,
    all: Mutex<Vec<Lane<C>>>,
    /// Over HTTP/1.1 a client has as many connections as it needs.
    is_multiplexed: AtomicBool,
}

struct Lane<C> {
    client: Arc<C>,
    /// Held by each answer once more.
    places: Arc<()>,
}

/// A place on a client's connection, which is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _held: Arc<()>,
}

impl<C> Lanes<C> {
    pub(super) fn new(make: impl Fn() -> C + Send + Sync + 'static) -> Self {
        Self { make: Box::new(make), all: Mutex::default(), is_multiplexed: AtomicBool::new(true) }
    }

    /// Returns a client with room for one answer more.
    pub(super) fn take(&self) -> (Arc<C>, Place) {
        let is_multiplexed = self.is_multiplexed.load(Ordering::Relaxed);
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = |lane: &&Lane<C>| !is_multiplexed || Arc::strong_count(&lane.places) <= MOST;
        if let Some(lane) = all.iter().find(has_room) {
            return lane.take();
        }
        let lane = Lane { client: Arc::new((self.make)()), places: Arc::default() };
        let taken = lane.take();
        all.push(lane);
        taken
    }

    /// Hears what the upstream speaks.
    pub(super) fn speaks(&self, version: Version) {
        self.is_multiplexed.store(version == Version::HTTP_2, Ordering::Relaxed);
    }
}

impl<C> Lane<C> {
    fn take(&self) -> (Arc<C>, Place) {
        (Arc::clone(&self.client), Place { _held: Arc::clone(&self.places) })
    }
}

/// The body of an answer, which has its place until it has ended or is let go.
pub(crate) struct AnswerStream {
    inner: Incoming,
    place: Option<Place>,
}

impl AnswerStream {
    pub(super) fn new(inner: Incoming, place: Place) -> Self {
        Self { inner, place: Some(place) }
    }
}

impl http_body::Body for AnswerStream {
    type Data = <Incoming as http_body::Body>::Data;
    type Error = <Incoming as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.place = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered() -> Lanes<usize> {
        let made = std::sync::atomic::AtomicUsize::new(0);
        Lanes::new(move || made.fetch_add(1, Ordering::Relaxed))
    }

    #[test]
    fn the_first_that_has_room_is_taken() {
        let lanes = numbered();
        let mut held: Vec<_> = (0..=2 * MOST).map(|_| lanes.take()).collect();
        let clients: Vec<_> = held.iter().map(|(client, _)| **client).collect();
        assert_eq!(clients, [vec![0; MOST], vec![1; MOST], vec![2]].concat());
        held.drain(MOST..MOST + 3);
        assert_eq!([*lanes.take().0, *lanes.take().0], [1, 1], "it was given back");
        held.clear();
        assert_eq!(*lanes.take().0, 0);
    }

    #[test]
    fn over_http_1_there_is_one() {
        let lanes = numbered();
        lanes.speaks(Version::HTTP_11);
        let held: Vec<_> = (0..3 * MOST).map(|_| lanes.take()).collect();
        assert!(held.iter().all(|(client, _)| **client == 0));
        lanes.speaks(Version::HTTP_2);
        assert_eq!(*lanes.take().0, 1);
    }
}
