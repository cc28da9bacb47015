//! Requests to hosts that are not Google's: where traces are collected. No key, no proxy, no pool; an answer is read whole.

use super::{
    Body, Joined,
    client::{HttpClient, RequestBody},
    error::UpstreamError,
};
use bytes::Bytes;
use http::{Request, Response};
use std::time::Duration;

/// For a connection to be made, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// For the next bytes of an answer.
const IDLE: Duration = Duration::from_secs(10);
/// An answer is read up to so many bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// A client for such hosts.
pub(crate) struct PlainClient(HttpClient);

impl PlainClient {
    /// Makes one that trusts these certificates (PEM) besides the system's.
    pub(crate) fn new(extra_roots: &[Vec<u8>]) -> Result<Self, UpstreamError> {
        HttpClient::direct(extra_roots, CONNECT).map(Self)
    }

    /// Sends a request and reads its answer. The error says why there is none, for the operator.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let (head, body) = request.into_parts();
        let sent = self.0.send(head.method, head.uri, head.headers, RequestBody::Whole(body)).await;
        let (head, body) = sent.map_err(|error| error.why())?.into_parts();
        let mut body = Body::new(Some(body), IDLE);
        let mut read = Joined::default();
        while let Some(chunk) = body.next().await.map_err(|_| "the answer broke off".to_owned())? {
            read.push(chunk);
            if read.len() > MAX_ANSWER {
                return Err("the answer is too long".to_owned());
            }
        }
        Ok(Response::from_parts(head, read.into_bytes()))
    }
}
