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

/// What is taken at once on the word of a `Content-Length`.
const TRUSTED_LENGTH: usize = 1024 * 1024;

/// The memory that all request bodies may take together.
#[derive(Clone, Debug)]
pub struct BodyBudget {
    left: Arc<AtomicUsize>,
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
        Self { left: Arc::new(AtomicUsize::new(bytes)) }
    }

    fn reserve(&self) -> Reserved {
        Reserved { budget: self.clone(), bytes: 0 }
    }
}

impl Reserved {
    fn grow(&mut self, bytes: usize) -> Result<(), BodyRefused> {
        let taken = self
            .budget
            .left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(bytes));
        taken.map_err(|_| BodyRefused::Busy)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Ordering::AcqRel);
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

/// Reads the body whole. `announced` is its `Content-Length`.
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
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(BodyRefused::TooLong);
    }
    let read = async {
        // Most bodies are one chunk, which is passed on without a copy.
        let first = match payload.next().await {
            None => return Ok(Bytes::new()),
            Some(chunk) => chunk.map_err(|_| BodyRefused::Broken)?,
        };
        if first.len() > limit {
            return Err(BodyRefused::TooLong);
        }
        reserved.grow(first.len())?;
        if announced == Some(first.len() as u64) {
            return Ok(first);
        }
        let expected = announced.map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX));
        let mut body = BytesMut::with_capacity(expected.min(TRUSTED_LENGTH).max(first.len()));
        body.extend_from_slice(&first);
        drop(first);
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| BodyRefused::Broken)?;
            if body.len() + chunk.len() > limit {
                return Err(BodyRefused::TooLong);
            }
            reserved.grow(chunk.len())?;
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    };
    let body = tokio::time::timeout(time, read).await.map_err(|_| BodyRefused::TooSlow)??;
    Ok((body, reserved))
}
