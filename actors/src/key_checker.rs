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
use tokio::time::Instant;

/// How long the key manager may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks the retired keys. See the module.
pub struct KeyCheckerActor {
    keys: KeyManager,
    prober: Result<Rc<Prober>, UpstreamError>,
    every: Duration,
}

impl KeyCheckerActor {
    /// Starts it on `arbiter`, to check `every` so often.
    pub fn start(
        arbiter: &actix_rt::ArbiterHandle,
        keys: KeyManager,
        upstream: UpstreamSettings,
        every: Duration,
        intensity: Intensity,
        health: Arc<Health>,
    ) {
        let factory =
            move || Self { keys: keys.clone(), prober: Prober::new(upstream.clone()).map(Rc::new), every };
        supervise(arbiter, Child { name: "key_checker", mailbox: 1, intensity, factory }, health);
    }
}

impl Actor for KeyCheckerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Ok(prober) = &self.prober else { return };
        let (keys, prober, every) = (self.keys.clone(), Rc::clone(prober), self.every);
        ctx.spawn(
            async move {
                loop {
                    tokio::time::sleep(every).await;
                    check(&keys, &prober).await;
                }
            }
            .into_actor(self),
        );
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
