//! What a `ForwardActor` is given and what it hands back: neutral types, so that the HTTP face never sees the upstream
//! client and the actor never sees actix-web.

use super::upload::BodyStream;
use crate::{caller::Caller, client_stall::ClientStall, ledger::Holding, transaction::Translated};
use bytes::Bytes;
use gemini::{
    operation::Ownership,
    path::{Surface, Target},
};
use http::{HeaderMap, Method, StatusCode, header};
use keypool::{KeyId, Refusal};
use std::{fmt, sync::Arc, time::Instant};
use tokio::sync::mpsc;

/// One request to forward.
#[derive(Clone, Debug)]
pub struct Job {
    /// The request's id.
    pub id: String,
    /// The caller that was let in.
    pub caller: Caller,
    /// The method, passed on as it is.
    pub method: Method,
    /// Where it goes and what it asks for.
    pub target: Target,
    /// The client's headers, as `headers::up` has let them through.
    pub headers: HeaderMap,
    /// The whole body: it may have to be sent more than once.
    pub body: Bytes,
    /// The same in the clear, where it is compressed or not in plain UTF-8, to be looked into.
    pub clear: Option<Bytes>,
    /// A body that passes as it comes, in the place of a whole one.
    pub stream: Option<BodyStream>,
    /// The session, when this is a step of an upload that was begun before.
    pub upload: Option<Holding>,
    /// The gateway's own origin as the client sees it, such as `http://gateway:8000`, to which answers that name the
    /// upstream's are turned.
    pub origin: Option<String>,
    /// What becomes of the client's connection, where it is known.
    pub stall: Option<ClientStall>,
    /// A hash of what the client calls its conversation, whose steps are kept together.
    pub conversation: Option<u64>,
    /// A key whose project had better serve this, as long as that can be at once: it has served the same before.
    pub prefer: Option<KeyId>,
    /// What the client asked for in a format that is none of Google's, where this was made of it.
    pub translated: Option<Box<Translated>>,
    /// What makes the body for another model, where it is written for the one in the path.
    pub bodies: Option<BodiesByModel>,
    /// When the request arrived.
    pub arrived: Instant,
}

/// Makes the bodies with which another model can be asked the same: of a request that was made of another vendor's format,
/// whose settings and history are written as its own model takes them. Cheap to clone.
#[derive(Clone)]
pub struct BodiesByModel(Arc<MakeBodies>);

type MakeBodies = dyn Fn(&str) -> Vec<Bytes> + Send + Sync;

impl BodiesByModel {
    /// Makes one of what returns the bodies for a model, the best first: the next is for a model that refuses the one before.
    pub fn new(bodies: impl Fn(&str) -> Vec<Bytes> + Send + Sync + 'static) -> Self {
        Self(Arc::new(bodies))
    }

    /// Returns the bodies for a model, the best first; none where it cannot be asked this.
    pub(super) fn of(&self, model: &str) -> Vec<Bytes> {
        (self.0)(model)
    }
}

impl fmt::Debug for BodiesByModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodiesByModel")
    }
}

impl Job {
    /// Returns the body as it is to be looked into.
    pub fn clear_body(&self) -> &Bytes {
        self.clear.as_ref().unwrap_or(&self.body)
    }

    /// Whether a model is to say or make something: what is not answered with more than a head is no answer.
    pub(super) fn generates(&self) -> bool {
        let operation = &self.target.operation;
        let is_for_model = match self.target.surface {
            Surface::Native => operation.model.is_some() && operation.verb.is_some(),
            Surface::OpenAi => operation.ownership == Ownership::Free,
            Surface::Upload | Surface::Download | Surface::Live => false,
        };
        self.method == Method::POST && is_for_model
    }

    /// Makes a question of the gateway's own, in the course of the request `id`: a GET that nobody sees the answer of.
    pub(super) fn question(id: &str, target: &Target) -> Self {
        Self {
            id: id.to_owned(),
            caller: Caller::gateway(),
            method: Method::GET,
            target: target.clone(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            clear: None,
            stream: None,
            upload: None,
            origin: None,
            stall: None,
            conversation: None,
            prefer: None,
            translated: None,
            bodies: None,
            arrived: Instant::now(),
        }
    }
}

/// The upstream's answer, ready to be passed on.
#[derive(Debug)]
pub struct Answer {
    /// The upstream's status.
    pub status: StatusCode,
    /// The upstream's headers, as `headers::down` has let them through.
    pub headers: HeaderMap,
    /// The body, whole or still coming.
    pub body: AnswerBody,
    /// Where it is Google's refusal for want of quota, of a request that was made of another vendor's format: why the pool
    /// would give its like no key now, and when that ends.
    pub opening: Option<Refusal>,
    /// The key of the last attempt, on which the answer came.
    pub served_by: Option<KeyId>,
}

impl Answer {
    /// Makes one that is whole. To HEAD only the body's length is told: the upstream's, which `headers` brings then.
    pub(super) fn whole(method: &Method, status: StatusCode, mut headers: HeaderMap, body: Bytes) -> Self {
        if *method != Method::HEAD {
            return Self { status, headers, body: AnswerBody::Whole(body), opening: None, served_by: None };
        }
        let upstream = headers.remove(header::CONTENT_LENGTH);
        let upstream = upstream.and_then(|length| length.to_str().ok()?.parse().ok());
        let length = if body.is_empty() { upstream } else { Some(body.len() as u64) };
        Self { status, headers, body: AnswerBody::Absent { length }, opening: None, served_by: None }
    }
}

/// An answer's body.
#[derive(Debug)]
pub enum AnswerBody {
    /// All of it was there at once.
    Whole(Bytes),
    /// There is none, since the request was a HEAD.
    Absent {
        /// How long GET's would be, if the upstream has said so.
        length: Option<u64>,
    },
    /// It is still coming.
    Stream {
        /// Its pieces. The channel closing without [`Piece::Last`] means it broke off.
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
    /// The last bytes, none where no more came: with them the body is whole. They come together so that the client gets
    /// them and the end in one write.
    Last(Bytes),
}
