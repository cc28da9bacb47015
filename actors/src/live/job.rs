//! What a `LiveActor` is given: what the session is to be, and the client's end of it.

use super::{
    close::Close,
    pipe::{ClientPipe, Gone},
};
use crate::{caller::Caller, client_stall::ClientStall, failure::Failure, secret::Secret};
use futures_util::future::LocalBoxFuture;
use gemini::{
    fault::{Fault, Scope},
    path::Target,
};
use http::HeaderMap;
use keypool::{KeyId, Outcome};
use std::time::{Duration, Instant};

/// One session to carry. The client's upgrade has been answered already: SDKs wait for that before they say anything.
#[derive(Debug)]
pub struct LiveJob {
    /// The session's id.
    pub id: String,
    /// The caller that was let in.
    pub caller: Caller,
    /// Where it goes.
    pub target: Target,
    /// The client's headers, as `headers::up` has let them through.
    pub headers: HeaderMap,
    /// The credential of Google's own that the client has shown, which goes up in the place of a key.
    pub ephemeral: Option<Ephemeral>,
    /// How long the client may take for its setup.
    pub setup_within: Duration,
    /// How a client is told of a failure.
    pub told: fn(&Failure) -> Close,
    /// What becomes of the client's connection, where it is known.
    pub stall: Option<ClientStall>,
    /// When the upgrade arrived.
    pub arrived: Instant,
}

impl LiveJob {
    /// What a fault of this session is to the key that it was leased on. A token that has had its time or its uses is
    /// refused in the words in which a bad key is; the key, which was not shown, is well.
    pub(super) fn blame(&self, fault: Fault) -> Outcome {
        if self.ephemeral.is_some() && fault.scope() == Scope::Key {
            return Outcome::Abandoned;
        }
        Outcome::Fault(fault)
    }
}

/// The client's end of a session.
pub struct Client {
    /// The connection to the client.
    pub pipe: ClientPipe,
    /// Resolves when that is gone.
    pub gone: Gone,
    /// Resolves when the service ends and sessions must, too.
    pub going_down: LocalBoxFuture<'static, ()>,
}

/// An ephemeral token that was made through the gateway.
#[derive(Clone, Debug)]
pub struct Ephemeral {
    /// `auth_tokens/...`
    pub token: Secret,
    /// A key of the project that it belongs to.
    pub owner: KeyId,
}
