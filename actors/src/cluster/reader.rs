//! The `FactReaderActor`: hears what the other gateways say, in the one order of all facts, and hands it to the key manager. At
//! the start, after this gateway was alone, and where facts have passed unheard, it reads all that holds; what this gateway
//! knows beyond that, it then tells.

use super::{
    ClusterShared,
    actor::{ClusterActor, Look},
    note::Note,
};
use crate::{
    health::Health,
    supervisor::{Child, Intensity, Link, supervise},
};
use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};
use gemini_balance_cluster::{Away, PlacedFact, Reading, Shared};
use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// Its name on the health board and in the log.
const NAME: &str = "cluster_facts";
/// How long a call waits for the next fact. The actor can be stopped between two of them.
const WAIT: Duration = Duration::from_millis(900);
/// The pause after a call that failed.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the key manager may take for a batch.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module.
pub struct FactReaderActor {
    cluster: Arc<ClusterShared>,
    link: Link<ClusterActor>,
}

pub(super) fn start(
    arbiter: &actix_rt::ArbiterHandle,
    cluster: &Arc<ClusterShared>,
    link: Link<ClusterActor>,
    intensity: Intensity,
    health: Arc<Health>,
) {
    let cluster = Arc::clone(cluster);
    let factory = move || FactReaderActor { cluster: Arc::clone(&cluster), link: link.clone() };
    supervise(arbiter, Child { name: NAME, mailbox: 4, intensity, factory }, health);
}

impl Actor for FactReaderActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (cluster, link) = (Arc::clone(&self.cluster), self.link.clone());
        let reading = async move {
            let mut shared = (cluster.connect)();
            loop {
                if let Err(away) = read(&cluster, &link, &mut *shared).await {
                    cluster.note_failure(&away);
                    // What came meanwhile, and whether it is the same order still, is not known.
                    cluster.outbox.want_all();
                    tokio::time::sleep(PAUSE).await;
                }
                // The other tasks of this thread have their turn between two calls.
                tokio::task::yield_now().await;
            }
        };
        ctx.spawn(reading.into_actor(self).map(|(), _, _| ()));
    }
}

/// Reads what comes next, and has it taken over.
async fn read(
    cluster: &ClusterShared,
    link: &Link<ClusterActor>,
    shared: &mut dyn Shared,
) -> Result<(), Away> {
    // Not before the other actor has joined, so that it is known to which generation all belongs.
    if !cluster.is_together() {
        tokio::time::sleep(PAUSE / 10).await;
        return Ok(());
    }
    if cluster.outbox.takes_all() {
        let known = shared.known()?;
        let end = known.end;
        let told: HashSet<Box<str>> = known.facts.iter().map(|placed| placed.fact.subject().into()).collect();
        if hear(cluster, known.facts).await {
            cluster.has_applied(end);
            tell_what_nobody_knows(cluster, &told);
            link.nudge(Look);
        } else {
            cluster.outbox.want_all();
        }
        return Ok(());
    }
    match shared.facts(cluster.applied(), WAIT)? {
        Reading::Facts(facts) => {
            let Some(end) = facts.last().map(|placed| placed.id) else { return Ok(()) };
            let others = facts.into_iter().filter(|placed| *placed.fact.origin() != cluster.node).collect();
            if hear(cluster, others).await {
                cluster.has_applied(end);
                link.nudge(Look);
            }
        }
        Reading::Trimmed => cluster.outbox.want_all(),
    }
    Ok(())
}

/// Has the pool take over what others have told; whether it has.
async fn hear(cluster: &ClusterShared, facts: Vec<PlacedFact>) -> bool {
    let ring = cluster.keys.ring();
    let naming = cluster.naming(&ring);
    for placed in &facts {
        match Note::of(&placed.fact) {
            None => {}
            Some(Note::Moved(name)) => cluster.ledger.look_up_anew(&name),
            Some(Note::Creation { caller, key }) => {
                cluster.ledger.created_elsewhere(&caller, &key, cluster.age_of(placed.id));
            }
            Some(Note::Token { .. }) => cluster.hear_token(placed),
        }
    }
    let heard: Vec<_> = facts.iter().filter_map(|placed| naming.heard(placed)).collect();
    cluster.heard.fetch_add(facts.len() as u64, Ordering::Relaxed);
    heard.is_empty() || cluster.manager.hear(heard, tokio::time::Instant::now() + PATIENCE).await
}

/// What this gateway knows and the others do not: after a Redis that came back empty, and of a gateway that was alone.
fn tell_what_nobody_knows(cluster: &ClusterShared, told: &HashSet<Box<str>>) {
    let ring = cluster.keys.ring();
    let naming = cluster.naming(&ring);
    for record in cluster.memory.records().iter().filter_map(keypool::Record::to_tell) {
        if record.is_clear() {
            continue;
        }
        let is_told = naming.site_of(&record.subject).is_none_or(|subject| told.contains(subject.as_str()));
        if !is_told {
            cluster.outbox.tell(record);
        }
    }
    for note in cluster.tokens.all().filter(|note| !told.contains(note.subject().as_str())) {
        cluster.outbox.note_again(note);
    }
}
