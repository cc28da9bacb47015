//! The `KeyCheckerActor`: asks Google about keys, with a request that spends no quota: from time to time about those that are
//! retired, and about any that an operator names. The key manager is told of those that are well again. Which keys are
//! retired is the pool's to say.

use crate::{
    health::Health,
    key_manager::{KeyManager, Verb, VerbKind},
    key_ring::Key,
    supervisor::{Child, Intensity, Link, LinkError, supervise},
    upstream::{
        UpstreamError, UpstreamSettings,
        probe::{KeyHealth, Prober},
    },
};
use actix::{Actor, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture};
use keypool::{KeyId, KeyState};
use std::{rc::Rc, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// How long the key manager may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many questions of operators may wait.
const MAILBOX: usize = 16;

/// Asks Google about keys, for whoever asks it. Cheap to clone.
#[derive(Clone)]
pub struct KeyChecker {
    link: Link<KeyCheckerActor>,
    keys: KeyManager,
}

/// Why a check has no answer.
#[derive(Clone, Debug)]
pub enum CheckError {
    /// No key has this name.
    UnknownKey,
    /// There is no way to Google with these settings.
    Upstream(UpstreamError),
    /// It took too long, or the checker is no more.
    Unanswered(LinkError),
}

/// Asks about these keys.
#[derive(Clone, Message)]
#[rtype(result = "Result<Vec<KeyHealth>, UpstreamError>")]
struct AskGoogle(Vec<Arc<Key>>);

impl KeyChecker {
    /// Asks Google about keys, a few at a time; the answers are in their order. Five keys take a second.
    pub async fn ask(&self, keys: Vec<Arc<Key>>, deadline: Instant) -> Result<Vec<KeyHealth>, CheckError> {
        let answers = self.link.send(AskGoogle(keys), deadline).await.map_err(CheckError::Unanswered)?;
        answers.map_err(CheckError::Upstream)
    }

    /// Asks about a key of the pool. If it is retired and well again, it is used again.
    pub async fn check(&self, id: &KeyId, deadline: Instant) -> Result<KeyHealth, CheckError> {
        let key = self.keys.ring().find(id).cloned().ok_or(CheckError::UnknownKey)?;
        let health = self.ask(vec![key], deadline).await?.pop().ok_or(CheckError::UnknownKey)?;
        if health == KeyHealth::Well
            && let Ok(snapshot) = self.keys.snapshot(Instant::now() + PATIENCE).await
            && snapshot.keys.iter().any(|view| view.id == *id && view.state == KeyState::Retired)
        {
            take_back(&self.keys, id).await;
        }
        Ok(health)
    }
}

/// Lets a key be used again that was retired and is well.
async fn take_back(keys: &KeyManager, id: &KeyId) {
    log::info!(target: "pool", "key {id} is well again: Google accepts it");
    let verb = Verb { kind: VerbKind::Reset, key: id.clone() };
    let _ = keys.verb(verb, Instant::now() + PATIENCE).await;
}

/// Checks keys. See the module.
pub struct KeyCheckerActor {
    keys: KeyManager,
    prober: Result<Rc<Prober>, UpstreamError>,
    every: watch::Receiver<Duration>,
}

impl KeyCheckerActor {
    /// Starts it on `arbiter`, to check `every` so often, or never where that is nothing. It may change at any time.
    pub fn start(
        arbiter: &actix_rt::ArbiterHandle,
        keys: KeyManager,
        upstream: UpstreamSettings,
        every: watch::Receiver<Duration>,
        intensity: Intensity,
        health: Arc<Health>,
    ) -> KeyChecker {
        let known = keys.clone();
        let factory = move || Self {
            keys: keys.clone(),
            prober: Prober::new(upstream.clone()).map(Rc::new),
            every: every.clone(),
        };
        let child = Child { name: "key_checker", mailbox: MAILBOX, intensity, factory };
        KeyChecker { link: supervise(arbiter, child, health), keys: known }
    }
}

impl Handler<AskGoogle> for KeyCheckerActor {
    type Result = ResponseFuture<Result<Vec<KeyHealth>, UpstreamError>>;

    fn handle(&mut self, AskGoogle(keys): AskGoogle, _: &mut Self::Context) -> Self::Result {
        let prober = self.prober.clone();
        Box::pin(async move {
            let mut answers = Vec::with_capacity(keys.len());
            prober?.ask_each(&keys, |_, health| answers.push(health)).await;
            Ok(answers)
        })
    }
}

impl Actor for KeyCheckerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Ok(prober) = &self.prober else { return };
        let (keys, prober, mut every) = (self.keys.clone(), Rc::clone(prober), self.every.clone());
        ctx.spawn(
            async move {
                while has_passed(&mut every).await {
                    // What one gateway of a cluster finds out, all know.
                    if keys.is_on_duty() {
                        check(&keys, &prober).await;
                    }
                }
            }
            .into_actor(self),
        );
    }
}

/// Waits until it is time for the next check; `false` when nobody can change that time any more and there is none.
async fn has_passed(every: &mut watch::Receiver<Duration>) -> bool {
    loop {
        let wait = *every.borrow_and_update();
        if wait.is_zero() {
            if every.changed().await.is_err() {
                return false;
            }
            continue;
        }
        let time = tokio::time::sleep(wait);
        tokio::select! {
            () = time => return true,
            // The wait begins anew. Without a sender nothing changes.
            Ok(()) = every.changed() => {}
        }
    }
}

async fn check(keys: &KeyManager, prober: &Prober) {
    let Ok(snapshot) = keys.snapshot(Instant::now() + PATIENCE).await else { return };
    for view in snapshot.keys.iter().filter(|view| view.state == KeyState::Retired) {
        let Some(key) = keys.ring().find(&view.id).cloned() else { continue };
        match prober.ask(&key).await {
            KeyHealth::Well => take_back(keys, &view.id).await,
            KeyHealth::Unwell { status, fault, .. } => {
                log::debug!(target: "pool", "key {} stays retired: {status} {fault:?}", view.id);
            }
            // What is on the way answers for every key alike.
            KeyHealth::NotGoogle { .. } | KeyHealth::Unreachable { .. } => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_that_is_changed_begins_anew_and_none_is_no_check() {
        let (sender, mut every) = watch::channel(Duration::from_secs(3_600));
        let waiting = tokio::spawn(async move { (has_passed(&mut every).await, every) });
        sender.send(Duration::ZERO).unwrap();
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        sender.send(Duration::from_millis(1)).unwrap();
        let (is_time, mut every) = waiting.await.unwrap();
        assert!(is_time);
        drop(sender);
        assert!(has_passed(&mut every).await, "the last word holds");
        let (sender, mut never) = watch::channel(Duration::ZERO);
        drop(sender);
        assert!(!has_passed(&mut never).await);
    }
}
