//! The way to a supervised actor: an address that is swapped when the actor is restarted. A message sent while it is
//! down waits for the new one, within the sender's deadline; it does not fail.

use actix::{Actor, Addr, Context, Handler, MailboxError, Message, dev::ToEnvelope};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// Why a message was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// The deadline passed: the actor is busy or being restarted.
    Deadline,
    /// The supervisor has given the actor up.
    GivenUp,
}

/// A shared handle to a supervised actor. Cheap to clone.
pub struct Link<A: Actor> {
    address: watch::Receiver<Option<Addr<A>>>,
}

impl<A: Actor> Clone for Link<A> {
    fn clone(&self) -> Self {
        Self { address: self.address.clone() }
    }
}

impl<A: Actor<Context = Context<A>>> Link<A> {
    pub(super) fn new(address: watch::Receiver<Option<Addr<A>>>) -> Self {
        Self { address }
    }

    /// Sends `message` and waits for its answer; sends it again to the next life of an actor that died with it.
    pub async fn send<M>(&self, message: M, deadline: Instant) -> Result<M::Result, LinkError>
    where
        A: Handler<M>,
        M: Message + Clone + Send + 'static,
        M::Result: Send,
        A::Context: ToEnvelope<A, M>,
    {
        // The common case neither subscribes nor sets a timer before the actor has had its chance to answer.
        let mut died = match self.current() {
            Some(address) => match timeout_at(deadline, address.send(message.clone())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Err(_) | Ok(Err(MailboxError::Timeout)) => return Err(LinkError::Deadline),
                Ok(Err(MailboxError::Closed)) => Some(address),
            },
            None => None,
        };
        let mut changes = self.address.clone();
        loop {
            let address = timeout_at(deadline, next_life(&mut changes, died.as_ref()))
                .await
                .map_err(|_| LinkError::Deadline)?
                .ok_or(LinkError::GivenUp)?;
            match timeout_at(deadline, address.send(message.clone())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Err(_) | Ok(Err(MailboxError::Timeout)) => return Err(LinkError::Deadline),
                Ok(Err(MailboxError::Closed)) => died = Some(address),
            }
        }
    }

    /// Sends a message whose answer nobody needs, unless the mailbox is full or the actor is down.
    pub fn nudge<M>(&self, message: M) -> bool
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
        A::Context: ToEnvelope<A, M>,
    {
        self.current().is_some_and(|address| address.try_send(message).is_ok())
    }

    fn current(&self) -> Option<Addr<A>> {
        self.address.borrow().clone()
    }
}

/// Waits for an address other than the one that died; `None` when there will be none.
async fn next_life<A: Actor>(
    changes: &mut watch::Receiver<Option<Addr<A>>>,
    died: Option<&Addr<A>>,
) -> Option<Addr<A>> {
    loop {
        if let Some(address) = &*changes.borrow_and_update()
            && died != Some(address)
        {
            return Some(address.clone());
        }
        changes.changed().await.ok()?;
    }
}
