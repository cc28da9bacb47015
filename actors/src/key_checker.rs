//! The `KeyCheckerActor`: asks Google from time to time about the keys that are retired, with a request that spends no
//! quota, and tells the key manager of those that are well again. Which keys are retired is the pool's to say.

use crate::{
    health::Health,
    key_manager::{KeyManager, Verb, VerbKind},
    supervisor::{Child, Intensity, supervise},
    upstream::{
        UpstreamError, UpstreamSettings,
        probe::{KeyHealth, Prober},
    },
};
use actix::{Actor, AsyncContext, Context, WrapFuture};
use keypool::KeyState;
use std::{rc::Rc, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// How long the key manager may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks the retired keys. See the module.
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
    ) {
        let factory = move || Self {
            keys: keys.clone(),
            prober: Prober::new(upstream.clone()).map(Rc::new),
            every: every.clone(),
        };
        supervise(arbiter, Child { name: "key_checker", mailbox: 1, intensity, factory }, health);
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
                    check(&keys, &prober).await;
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
            KeyHealth::Well => {
                log::info!(target: "pool", "key {} is well again: Google accepts it", view.id);
                let verb = Verb { kind: VerbKind::Reset, key: view.id.clone() };
                let _ = keys.verb(verb, Instant::now() + PATIENCE).await;
            }
            KeyHealth::Unwell { status, fault } => {
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
