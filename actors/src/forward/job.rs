//! What a `ForwardActor` is given and what it hands back: neutral types, so that the HTTP face never sees the upstream
//! client and the actor never sees actix-web.

use super::upload::BodyStream;
use crate::{caller::Caller, ledger::Holding};
use bytes::Bytes;
use gemini::{listing::BadPage, path::Target};
use http::{HeaderMap, Method, StatusCode};
use keypool::Refusal;
use std::time::Instant;
use tokio::sync::mpsc;

/// One request to forward.
#[derive(Clone, Debug)]
pub struct Job {
    /// The request's id.
    pub id: String,
    /// Who called.
    pub caller: Caller,
    /// The method, passed on as it is.
    pub method: Method,
    /// Where it goes and what it asks for.
    pub target: Target,
    /// The client's headers, as `headers::up` has let them through.
    pub headers: HeaderMap,
    /// The whole body: it may have to be sent more than once.
    pub body: Bytes,
    /// A body that passes as it comes, in the place of a whole one.
    pub stream: Option<BodyStream>,
    /// The session, when this is a step of an upload that was begun before.
    pub upload: Option<Holding>,
    /// The gateway's own origin as the client sees it, such as `http://gateway:8000`, to which answers that name the
    /// upstream's are turned.
    pub origin: Option<String>,
    /// When the request arrived.
    pub arrived: Instant,
}

/// The upstream's answer, ready to be passed on.
#[derive(Debug)]
pub struct Answer {
    /// The upstream's status.
    pub status: StatusCode,
    /// The upstream's headers, as `headers::down` has let them through.
    pub headers: HeaderMap,
    /// The body.
    pub body: AnswerBody,
}

/// An answer's body.
#[derive(Debug)]
pub enum AnswerBody {
    /// All of it was there at once.
    Whole(Bytes),
    /// It is still coming.
    Stream {
        /// Its pieces. The channel closing without [`Piece::End`] means it broke off.
        pieces: mpsc::Receiver<Piece>,
        /// Its length, if the upstream has announced one.
        length: Option<u64>,
    },
}

/// A piece of a streamed body.
#[derive(Debug)]
pub enum Piece {
    /// Bytes as they came.
    Chunk(Bytes),
    /// The body is whole.
    End,
}

/// Why the gateway has no upstream answer to pass on.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The pool has no key for it.
    NoKey(Refusal),
    /// The pool did not answer.
    PoolSilent,
    /// The resources it names belong to different projects: no key reaches both.
    TwoProjects(Box<[String; 2]>),
    /// Of the project that owns what it names, the pool has no usable key.
    OwnerGone(Box<str>),
    /// The ledger could not be asked whose the resources are that it names.
    LedgerSilent,
    /// No connection to the upstream.
    Unreachable,
    /// The upstream broke off, or sent something that is not HTTP, before its answer's head was whole.
    HeadLost,
    /// The upstream did not begin to answer in time.
    HeadTimeout,
    /// The upstream did not begin the body of its answer in time, or broke off before the first event.
    BodyLost,
    /// It lists what all projects own, and names no page that there is.
    BadPage(BadPage),
    /// The upstream answered it with what is no page of a list.
    NoPage,
}
