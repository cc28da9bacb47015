//! A request's body as it comes in: counted and hashed for the log, whoever reads it and however much of it is kept.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use sha2::{Digest, Sha256};

use crate::exchange::Exchange;

/// The body, not yet read to its end.
pub(crate) struct Inflow<'a> {
    incoming: Incoming,
    exchange: &'a Exchange,
    digest: Sha256,
    /// How many bytes may still be read before no more are; none: all.
    left: Option<u64>,
}

impl<'a> Inflow<'a> {
    pub(crate) fn new(incoming: Incoming, exchange: &'a Exchange) -> Self {
        Self { incoming, exchange, digest: Sha256::new(), left: None }
    }

    /// The same, of which no more is read after so many bytes; a smaller one is.
    pub(crate) fn stalling(self, after_bytes: Option<u64>) -> Self {
        Self { left: after_bytes, ..self }
    }

    /// The next piece; none at the end, which the log then knows of.
    ///
    /// # Errors
    /// When the client goes away.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, hyper::Error> {
        if self.left == Some(0) && !self.incoming.is_end_stream() {
            // What hyper has not been asked for opens no window.
            return std::future::pending().await;
        }
        while !self.incoming.is_end_stream()
            && let Some(frame) = self.incoming.frame().await
        {
            let Ok(bytes) = frame?.into_data() else { continue };
            self.exchange.received(bytes.len());
            self.digest.update(&bytes);
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(bytes.len() as u64);
            }
            return Ok(Some(bytes));
        }
        self.exchange.body(self.digest.clone().finalize().into());
        Ok(None)
    }

    /// Reads what is left: a client hears an answer only after it has written.
    pub(crate) async fn drain(&mut self) -> Result<(), hyper::Error> {
        while self.next().await?.is_some() {}
        Ok(())
    }
}
