//! Takes a request's body in, whole, since it may have to be sent more than once: within a limit for one, a budget for
//! all together, and a time.

use actix_web::web;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The pieces in which a body of unknown length is collected.
const SEGMENT_BYTES: usize = 1024 * 1024;

/// The memory that all request bodies may take together.
#[derive(Clone, Debug)]
pub struct BodyBudget {
    shared: Arc<SharedBudget>,
}

#[derive(Debug)]
struct SharedBudget {
    most: AtomicUsize,
    taken: AtomicUsize,
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    budget: BodyBudget,
    bytes: usize,
}

impl BodyBudget {
    /// `bytes` for all.
    pub fn new(bytes: usize) -> Self {
        let (most, taken) = (AtomicUsize::new(bytes), AtomicUsize::new(0));
        Self { shared: Arc::new(SharedBudget { most, taken }) }
    }

    /// Changes how much there is for all. What is taken already stays so, even where that is more.
    pub(crate) fn set_most(&self, bytes: usize) {
        self.shared.most.store(bytes, Ordering::Relaxed);
    }

    /// Begins to reserve: nothing yet.
    pub(super) fn reserve(&self) -> Reserved {
        Reserved { budget: self.clone(), bytes: 0 }
    }
}

impl Reserved {
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), BodyRefused> {
        let SharedBudget { most, taken } = &*self.budget.shared;
        let most = most.load(Ordering::Relaxed);
        let fits = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= most);
        taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).map_err(|_| BodyRefused::Busy)?;
        self.bytes += bytes;
        Ok(())
    }

    /// What was reserved as `expected` takes `actual`, which may be a little more or less.
    fn settle(&mut self, expected: usize, actual: usize) {
        if actual < expected {
            let back = (expected - actual).min(self.bytes);
            self.budget.shared.taken.fetch_sub(back, Ordering::AcqRel);
            self.bytes -= back;
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.shared.taken.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Why a body was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyRefused {
    /// Longer than one may be.
    TooLong,
    /// All together take too much already.
    Busy,
    /// It did not come in time.
    TooSlow,
    /// It broke off, or its framing is wrong.
    Broken,
}

/// Reads the body whole. `announced` is its `Content-Length`. What is reserved is what its memory takes: a known length is
/// reserved and allocated in full at once, an unknown one as it grows, and no byte is held twice.
pub(super) async fn take_in(
    payload: &mut web::Payload,
    announced: Option<u64>,
    limit: usize,
    budget: &BodyBudget,
    time: Duration,
) -> Result<(Bytes, Reserved), BodyRefused> {
    let mut reserved = budget.reserve();
    if announced == Some(0) {
        return Ok((Bytes::new(), reserved));
    }
    let announced = announced.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if announced.is_some_and(|length| length > limit) {
        return Err(BodyRefused::TooLong);
    }
    let read = async {
        // Most bodies are one chunk, which is passed on without a copy.
        let first = match payload.next().await {
            None => return Ok(Bytes::new()),
            Some(chunk) => chunk.map_err(|_| BodyRefused::Broken)?,
        };
        match announced {
            Some(length) => {
                reserved.grow(length)?;
                if first.len() == length { Ok(first) } else { read_known(payload, first, length).await }
            }
            None => read_unknown(payload, first, limit, &mut reserved).await,
        }
    };
    let body = tokio::time::timeout(time, read).await.map_err(|_| BodyRefused::TooSlow)??;
    Ok((body, reserved))
}

/// A body of this length, in one piece of memory from the start.
async fn read_known(payload: &mut web::Payload, first: Bytes, length: usize) -> Result<Bytes, BodyRefused> {
    let mut body = BytesMut::with_capacity(length);
    let mut chunk = first;
    loop {
        if chunk.len() > length - body.len() {
            return Err(BodyRefused::Broken);
        }
        body.extend_from_slice(&chunk);
        drop(chunk);
        // Where the framing says otherwise there may be no end after it.
        if body.len() == length {
            return Ok(body.freeze());
        }
        chunk = match payload.next().await {
            None => return Err(BodyRefused::Broken),
            Some(chunk) => chunk.map_err(|_| BodyRefused::Broken)?,
        };
    }
}

/// A body of a length that shows at its end: collected in segments, each of which goes as it is joined to the others.
async fn read_unknown(
    payload: &mut web::Payload,
    first: Bytes,
    limit: usize,
    reserved: &mut Reserved,
) -> Result<Bytes, BodyRefused> {
    let mut full: Vec<Bytes> = Vec::new();
    let mut segment = BytesMut::new();
    let mut length = 0;
    let mut next = Some(first);
    while let Some(chunk) = next {
        length += chunk.len();
        if length > limit {
            return Err(BodyRefused::TooLong);
        }
        if segment.capacity() - segment.len() < chunk.len() {
            // The first segment may be small, as most bodies are.
            let wanted = chunk.len().max(if full.is_empty() { segment.len() * 2 } else { SEGMENT_BYTES });
            if segment.capacity() >= SEGMENT_BYTES {
                full.push(std::mem::take(&mut segment).freeze());
            }
            let before = segment.capacity();
            reserved.grow(wanted)?;
            segment.reserve(wanted);
            reserved.settle(before + wanted, segment.capacity());
        }
        segment.extend_from_slice(&chunk);
        drop(chunk);
        next = payload.next().await.transpose().map_err(|_| BodyRefused::Broken)?;
    }
    if full.is_empty() {
        return Ok(segment.freeze());
    }
    full.push(segment.freeze());
    let mut body = BytesMut::with_capacity(length);
    for segment in full {
        body.extend_from_slice(&segment);
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::{FromRequest, error::PayloadError, test::TestRequest};
    use futures_util::stream;

    async fn taken(
        chunks: &[usize],
        announced: Option<u64>,
        budget: &BodyBudget,
    ) -> Result<(Bytes, Reserved), BodyRefused> {
        let mut byte = 0_u8;
        let chunks: Vec<_> = chunks
            .iter()
            .map(|length| {
                let bytes = (0..*length).map(|_| {
                    byte = byte.wrapping_add(1);
                    byte
                });
                Ok::<_, PayloadError>(bytes.collect::<Bytes>())
            })
            .collect();
        let stream: std::pin::Pin<Box<dyn futures_util::Stream<Item = _>>> = Box::pin(stream::iter(chunks));
        let (request, _) = TestRequest::default().to_http_parts();
        let mut payload = actix_web::dev::Payload::from(stream);
        let mut payload = web::Payload::from_request(&request, &mut payload).await.unwrap();
        take_in(&mut payload, announced, 8 << 20, budget, Duration::from_secs(5)).await
    }

    fn left(budget: &BodyBudget) -> usize {
        let SharedBudget { most, taken } = &*budget.shared;
        most.load(Ordering::Acquire) - taken.load(Ordering::Acquire)
    }

    #[test]
    fn a_budget_that_shrinks_takes_nothing_away_and_gives_nothing_more_until_there_is_room() {
        let budget = BodyBudget::new(100);
        let mut held = budget.reserve();
        assert_eq!(held.grow(80), Ok(()));
        budget.set_most(50);
        assert_eq!(budget.reserve().grow(1), Err(BodyRefused::Busy));
        drop(held);
        assert_eq!(budget.reserve().grow(50), Ok(()));
        assert_eq!(budget.reserve().grow(51), Err(BodyRefused::Busy));
        budget.set_most(51);
        assert_eq!(budget.reserve().grow(51), Ok(()));
    }

    #[actix_web::test]
    async fn what_is_reserved_is_what_the_memory_takes() {
        for chunks in [&[10][..], &[1_000, 2_000], &[65_536; 40], &[3_000_000, 5, 1_500_000], &[1; 500]] {
            let length: usize = chunks.iter().sum();
            let whole: Vec<u8> = (1..=u8::MAX).chain([0]).cycle().take(length).collect();
            for announced in [Some(length as u64), None] {
                let budget = BodyBudget::new(16 << 20);
                let (body, reserved) = taken(chunks, announced, &budget).await.unwrap();
                assert!(body == whole, "{} chunks", chunks.len());
                let taken = (16 << 20) - left(&budget);
                assert!(taken >= length && taken <= 2 * length + SEGMENT_BYTES, "{taken} for {length}");
                if announced.is_some() {
                    assert_eq!(taken, length);
                }
                drop(reserved);
                assert_eq!(left(&budget), 16 << 20);
            }
        }
    }

    #[actix_web::test]
    async fn a_length_that_does_not_fit_is_refused_before_the_body_comes() {
        let budget = BodyBudget::new(1 << 20);
        assert_eq!(taken(&[10, 10], Some(2 << 20), &budget).await.err(), Some(BodyRefused::Busy));
        assert_eq!(taken(&[10], Some(9 << 20), &budget).await.err(), Some(BodyRefused::TooLong));
        assert_eq!(taken(&[1 << 20, 1 << 20], None, &budget).await.err(), Some(BodyRefused::Busy));
        assert_eq!(left(&budget), 1 << 20);
    }

    #[actix_web::test]
    async fn a_body_that_is_not_as_long_as_it_says_is_refused() {
        let budget = BodyBudget::new(1 << 20);
        assert_eq!(taken(&[10, 5], Some(20), &budget).await.err(), Some(BodyRefused::Broken));
        assert_eq!(taken(&[10, 15], Some(20), &budget).await.err(), Some(BodyRefused::Broken));
        // What has no end of its own ends where it says.
        let (body, _) = taken(&[10, 10, 7], Some(20), &budget).await.unwrap();
        assert_eq!(body.len(), 20);
    }
}
