//! The `KeyManagerActor`: owner of the key pool. It answers lease messages, takes reports, and performs the effects the
//! pool's rules ask for. Its handlers are synchronous and never wait for I/O. The rules live in `keypool`, the secrets
//! in the [`KeyRing`], which the pool never sees.

mod company;
mod event_counts;
mod inbox;
mod lease;
mod messages;
mod reconcile;
#[cfg(test)]
mod tests;

pub(crate) use company::HeardFact;
pub use event_counts::PoolEventCounts;
pub(crate) use lease::WithoutKey;
pub use lease::{Lease, LeaseError, WaitingLease};
pub use messages::{
    LeaseKey, LeaseReply, Reconcile, Reports, TakePage, TakeProjects, TakeSnapshot, Verb, VerbKind,
};
pub use reconcile::ReconcileError;

use crate::{
    clock::Clock,
    cluster::Outbox,
    current_keys::CurrentKeys,
    health::Health,
    key_ring::{Key, KeyRing},
    store::Memory,
    supervisor::{Child, Intensity, Link, LinkError, supervise},
};
use actix::{Actor, AsyncContext, Context, Handler, MessageResult, SpawnHandle};
use arc_swap::ArcSwap;
use event_counts::EventCounts;
use inbox::{Inbox, Note};
pub use keypool::Reconciled;
use keypool::{
    Answer, Company, Effect, Effects, Event, Grant, KeyId, KeyPage, LeaseRequest, PageRequest, Pool,
    PoolError, PoolReading, ProjectView, Refusal, Settings, Snapshot, Ticket,
};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::oneshot, time::Instant};

/// How many lease messages may wait in the mailbox before senders wait outside it.
const MAILBOX: usize = 1024;

/// How long a report that nobody waits for may lie in the inbox. With what the pool and the store gather, counts are
/// written within a second.
const BOOK_EVERY: Duration = Duration::from_millis(200);

/// How long the pool may take for a word that its asker can do without.
const SHORTLY: Duration = Duration::from_secs(2);

/// The pool's owner. Started by [`KeyManager::start`] under supervision; spoken to through [`KeyManager`].
pub struct KeyManagerActor {
    pool: Pool,
    shared: Arc<KeyManagerState>,
    waiting: HashMap<Ticket, Waiter>,
    effects: Effects,
    timer: Option<SpawnHandle>,
}

/// A request that waits in line.
struct Waiter {
    model: Option<Arc<str>>,
    answer: oneshot::Sender<Result<Lease, Refusal>>,
}

/// What outlives one life of the actor.
struct KeyManagerState {
    keys: CurrentKeys,
    /// The rules and limits in force.
    rules: ArcSwap<Settings>,
    /// How many lives the actor's pool has had.
    lives: AtomicU64,
    clock: Clock,
    inbox: Arc<Inbox>,
    memory: Arc<Memory>,
    events: EventCounts,
    /// What other gateways are to know, where there are any.
    outbox: Arc<Outbox>,
    company: ArcSwap<Company>,
}

fn log_event(event: &Event) {
    let level = match event {
        Event::Retired { .. } => log::Level::Error,
        Event::Cooling { .. } | Event::RouteDown => log::Level::Warn,
        _ => log::Level::Info,
    };
    log::log!(target: "pool", level, "{event}");
}

/// A handle to the key manager, whichever life of it is running. Cheap to clone.
#[derive(Clone)]
pub struct KeyManager {
    link: Link<KeyManagerActor>,
    shared: Arc<KeyManagerState>,
}

impl KeyManager {
    /// Starts the actor on `arbiter` under supervision. Fails when the pool's settings or keys are refused.
    pub fn start(
        arbiter: &actix_rt::ArbiterHandle,
        keys: CurrentKeys,
        memory: Arc<Memory>,
        rules: Settings,
        intensity: Intensity,
        health: Arc<Health>,
    ) -> Result<Self, PoolError> {
        Pool::new(rules.clone(), keys.ring().specs(), 0)?;
        let shared = Arc::new(KeyManagerState {
            keys,
            rules: ArcSwap::from_pointee(rules),
            lives: AtomicU64::new(0),
            clock: Clock::start(),
            inbox: Arc::new(Inbox::default()),
            memory,
            events: EventCounts::default(),
            outbox: Arc::default(),
            company: ArcSwap::from_pointee(Company::None),
        });
        let factory = {
            let shared = Arc::clone(&shared);
            move || KeyManagerActor::new(Arc::clone(&shared))
        };
        let link =
            supervise(arbiter, Child { name: "key_manager", mailbox: MAILBOX, intensity, factory }, health);
        let nudged = link.clone();
        shared.inbox.connect(Box::new(move || nudged.nudge(Reports)));
        Ok(Self { link, shared })
    }

    /// Asks for a key for one attempt, waiting in line if the pool says so.
    pub async fn lease(&self, request: LeaseRequest, deadline: Instant) -> Result<Lease, LeaseError> {
        self.lease_or_tell(request, deadline, &()).await
    }

    /// The same, and tells `told` why there is no key as long as there is none.
    pub(crate) async fn lease_or_tell<T: WithoutKey>(
        &self,
        request: LeaseRequest,
        deadline: Instant,
        told: &T,
    ) -> Result<Lease, LeaseError> {
        loop {
            match self.link.send(LeaseKey(request.clone()), deadline).await? {
                LeaseReply::Granted(lease) => return Ok(lease),
                LeaseReply::Refused(refusal, passed_over) => {
                    told.refused(None, &refusal, passed_over);
                    return Err(LeaseError::Refused(refusal));
                }
                LeaseReply::Waiting(mut waiting) => {
                    let wait = told.waits(waiting.take_passed_over());
                    if let Some(result) = waiting.granted().await {
                        return result.map_err(|refusal| {
                            told.refused(Some(wait), &refusal, None);
                            LeaseError::Refused(refusal)
                        });
                    }
                    // That life of the actor has ended: stand in the next one's line.
                }
            }
        }
    }

    /// The pool as it stands, for people.
    pub async fn snapshot(&self, deadline: Instant) -> Result<Snapshot, LinkError> {
        self.link.send(TakeSnapshot, deadline).await
    }

    /// The pool in figures, with the fullest `most_quotas` of all known limits.
    pub async fn reading(&self, most_quotas: usize, deadline: Instant) -> Result<PoolReading, LinkError> {
        self.link.send(messages::TakeReading(most_quotas), deadline).await
    }

    /// How often something was left alone since the process began, and why.
    pub fn event_counts(&self) -> PoolEventCounts {
        self.shared.events.read()
    }

    /// Returns the keys that are asked for, and how the pool stands as a whole: for whoever looks often, or at many keys.
    pub async fn page(&self, request: PageRequest, deadline: Instant) -> Result<KeyPage, LinkError> {
        self.link.send(TakePage(request), deadline).await
    }

    /// Each project in the pool, in the order of their first keys.
    pub async fn projects(&self, deadline: Instant) -> Result<Vec<ProjectView>, LinkError> {
        self.link.send(TakeProjects, deadline).await
    }

    /// Tells whether two keys are of one project, as far as the pool knows. A pool that does not answer is taken to
    /// agree: whoever asks goes to it, or to the upstream, for the next word anyhow.
    pub(crate) async fn share_a_project(&self, one: &KeyId, other: &KeyId) -> bool {
        if one == other {
            return true;
        }
        let asked = messages::ShareAProject(one.clone(), other.clone());
        self.link.send(asked, Instant::now() + SHORTLY).await.unwrap_or(true)
    }

    /// An operator's word on one key.
    pub async fn verb(&self, verb: Verb, deadline: Instant) -> Result<Result<(), PoolError>, LinkError> {
        self.link.send(verb, deadline).await
    }

    /// Replaces the set of keys, and the rules if the change has any. Streams under way go on; no request that begins
    /// afterwards is served by a key that is gone, and those in line are served or refused by the new set at once.
    ///
    /// # Errors
    /// The set or the rules make no sense, and nothing has changed; or there was no answer in time.
    pub async fn reconcile(
        &self,
        change: Reconcile,
        deadline: Instant,
    ) -> Result<Reconciled, ReconcileError> {
        // Held to the end: that the former keys are wiped should not be the actor's work.
        let _former = self.ring();
        match self.link.send(change, deadline).await {
            Ok(result) => result.map_err(ReconcileError::Refused),
            Err(error) => Err(ReconcileError::Unanswered(error)),
        }
    }

    /// Tells whether a key is still there, by whatever name: one that was leased a moment ago may have gone since.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.ring().with_fingerprint(key.fingerprint()).is_some()
    }

    /// The keys and their secrets, as they are now.
    pub fn ring(&self) -> Arc<KeyRing> {
        self.shared.keys.ring()
    }

    /// Makes the actor panic, for the tests of its supervision.
    #[cfg(debug_assertions)]
    pub fn panic(&self) {
        self.link.nudge(messages::Panic);
    }
}

impl KeyManagerState {
    /// Makes another pool, which knows what the former ones have left.
    fn pool(&self, rules: &Settings, ring: &KeyRing) -> Result<Pool, PoolError> {
        let life = self.lives.fetch_add(1, Ordering::Relaxed) + 1;
        let mut pool = Pool::new(rules.clone(), ring.key_set(), life)?;
        pool.restore(self.memory.records(), self.clock.now());
        Ok(pool)
    }
}

impl KeyManagerActor {
    fn new(shared: Arc<KeyManagerState>) -> Self {
        // Starting and each change checked these rules and keys, so a refusal here is a bug, and a death the supervisor
        // counts.
        #[expect(clippy::expect_used, reason = "checked by KeyManager::start and Reconcile")]
        let pool = shared
            .pool(&shared.rules.load(), &shared.keys.ring())
            .expect("rules and keys that were accepted before");
        Self { pool, shared, waiting: HashMap::new(), effects: Effects::default(), timer: None }
    }

    /// Tells the request that it has this lease, if its key is still there.
    fn lease(&mut self, grant: Grant, model: Option<Arc<str>>) -> Option<Lease> {
        Lease::new(grant, model, &self.shared.keys.ring(), &self.shared.inbox)
    }

    /// Books what happened since the last message. Reports cost no message of their own: see [`Inbox`].
    fn take_reports(&mut self) {
        if self.shared.inbox.is_empty() {
            return;
        }
        let now = self.shared.clock.now();
        for note in self.shared.inbox.drain() {
            match note {
                Note::Settled(settlement) => self.pool.settle(&settlement, now, &mut self.effects),
                Note::Vouched(grant, model) => {
                    self.pool.vouch(grant.lease, &grant.key, &model, now, &mut self.effects);
                }
                Note::Left(ticket) => {
                    self.waiting.remove(&ticket);
                    self.pool.cancel(ticket);
                }
            }
        }
    }

    /// Does what the pool asked for.
    fn perform(&mut self, ctx: &mut Context<Self>) {
        loop {
            let effects: Vec<Effect> = self.effects.drain().collect();
            for effect in effects {
                match effect {
                    Effect::Granted(ticket, grant) => {
                        let waiter = self.waiting.remove(&ticket);
                        let (model, answer) =
                            waiter.map_or((None, None), |waiter| (waiter.model, Some(waiter.answer)));
                        let lease = self.lease(grant, model);
                        if let (Some(answer), Some(lease)) = (answer, lease) {
                            // If the client has left, the lease comes back and settles itself right here.
                            let _ = answer.send(Ok(lease));
                        }
                    }
                    Effect::Refused(ticket, refusal) => {
                        if let Some(waiter) = self.waiting.remove(&ticket) {
                            let _ = waiter.answer.send(Err(refusal));
                        }
                    }
                    Effect::Persist(record) => self.shared.memory.keep(record),
                    Effect::Tell(record) => self.shared.outbox.tell(record),
                    Effect::Claim(subject, patience) => self.shared.outbox.claim(subject, patience),
                    Effect::Release(subject) => self.shared.outbox.release(subject),
                    Effect::Draw => self.draw(),
                    Effect::WakeAt(at) => self.wake_at(at, ctx),
                    Effect::Log(event) => {
                        self.shared.events.note(&event);
                        log_event(&event);
                    }
                }
            }
            self.shared.inbox.set_hears_heads(self.pool.is_route_in_doubt());
            // Notes left before the flag stood were not announced, so look once more after setting it.
            self.shared.inbox.set_urgent(!self.waiting.is_empty());
            self.take_reports();
            if self.effects.is_empty() {
                return;
            }
        }
    }

    /// Sets the timer in the place of the one before, whichever is earlier: that one's time may have come without it, with a
    /// message that arrived a moment before it.
    fn wake_at(&mut self, at: Duration, ctx: &mut Context<Self>) {
        if let Some(handle) = self.timer.take() {
            ctx.cancel_future(handle);
        }
        let wait = at.saturating_sub(self.shared.clock.now().mono);
        let handle = ctx.run_later(wait, |actor, ctx| {
            actor.timer = None;
            actor.take_reports();
            actor.pool.wake(actor.shared.clock.now(), &mut actor.effects);
            actor.perform(ctx);
        });
        self.timer = Some(handle);
    }
}

impl Actor for KeyManagerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.stand_as(**self.shared.company.load());
        // Reports made while no life was running, and timers the last one had set.
        self.take_reports();
        self.pool.wake(self.shared.clock.now(), &mut self.effects);
        self.perform(ctx);
        // Reports that nobody waits for are booked before long even if no further request comes.
        ctx.run_interval(BOOK_EVERY, |actor, ctx| {
            actor.take_reports();
            actor.perform(ctx);
            actor.draw();
        });
    }
}

impl Handler<LeaseKey> for KeyManagerActor {
    type Result = MessageResult<LeaseKey>;

    fn handle(&mut self, LeaseKey(request): LeaseKey, ctx: &mut Self::Context) -> Self::Result {
        self.take_reports();
        let now = self.shared.clock.now();
        let reply = match self.pool.lease(&request, now, &mut self.effects) {
            Answer::Granted(grant) => {
                let lease = self.lease(grant, request.model);
                lease.map_or(LeaseReply::Refused(Refusal::NoneLeft, None), LeaseReply::Granted)
            }
            Answer::Refused(refusal) => LeaseReply::Refused(refusal, self.pool.obstacles(&request, now)),
            Answer::Waiting(ticket) => {
                let passed_over = self.pool.obstacles(&request, now);
                let (sender, receiver) = oneshot::channel();
                self.waiting.insert(ticket, Waiter { model: request.model, answer: sender });
                LeaseReply::Waiting(WaitingLease::new(ticket, passed_over, receiver, &self.shared.inbox))
            }
        };
        self.perform(ctx);
        MessageResult(reply)
    }
}

impl Handler<Reports> for KeyManagerActor {
    type Result = ();

    fn handle(&mut self, Reports: Reports, ctx: &mut Self::Context) {
        self.shared.inbox.nudge_arrived();
        self.take_reports();
        self.perform(ctx);
    }
}

impl Handler<TakeSnapshot> for KeyManagerActor {
    type Result = MessageResult<TakeSnapshot>;

    fn handle(&mut self, TakeSnapshot: TakeSnapshot, ctx: &mut Self::Context) -> Self::Result {
        self.take_reports();
        // Time may have jumped since anybody asked for a key.
        self.pool.wake(self.shared.clock.now(), &mut self.effects);
        self.perform(ctx);
        MessageResult(self.pool.snapshot(self.shared.clock.now()))
    }
}

impl Handler<messages::TakeReading> for KeyManagerActor {
    type Result = MessageResult<messages::TakeReading>;

    fn handle(&mut self, asked: messages::TakeReading, ctx: &mut Self::Context) -> Self::Result {
        self.take_reports();
        self.pool.wake(self.shared.clock.now(), &mut self.effects);
        self.perform(ctx);
        MessageResult(self.pool.reading(asked.0, self.shared.clock.now()))
    }
}

impl Handler<TakePage> for KeyManagerActor {
    type Result = MessageResult<TakePage>;

    fn handle(&mut self, TakePage(request): TakePage, ctx: &mut Self::Context) -> Self::Result {
        self.take_reports();
        // Time may have jumped since anybody asked for a key.
        self.pool.wake(self.shared.clock.now(), &mut self.effects);
        self.perform(ctx);
        MessageResult(self.pool.page(&request, self.shared.clock.now()))
    }
}

impl Handler<TakeProjects> for KeyManagerActor {
    type Result = MessageResult<TakeProjects>;

    fn handle(&mut self, TakeProjects: TakeProjects, ctx: &mut Self::Context) -> Self::Result {
        self.take_reports();
        self.perform(ctx);
        MessageResult(self.pool.projects())
    }
}

impl Handler<messages::ShareAProject> for KeyManagerActor {
    type Result = bool;

    fn handle(&mut self, asked: messages::ShareAProject, ctx: &mut Self::Context) -> bool {
        // A refusal that lies in the inbox may have named the project.
        self.take_reports();
        self.perform(ctx);
        self.pool.share_a_project(&asked.0, &asked.1)
    }
}

impl Handler<Verb> for KeyManagerActor {
    type Result = MessageResult<Verb>;

    fn handle(&mut self, verb: Verb, ctx: &mut Self::Context) -> Self::Result {
        self.take_reports();
        let now = self.shared.clock.now();
        let result = match verb.kind {
            VerbKind::Enable => self.pool.enable(&verb.key, now, &mut self.effects),
            VerbKind::Disable => self.pool.disable(&verb.key, now, &mut self.effects),
            VerbKind::Reset => self.pool.reset(&verb.key, now, &mut self.effects),
        };
        self.perform(ctx);
        MessageResult(result)
    }
}

#[cfg(debug_assertions)]
impl Handler<messages::Panic> for KeyManagerActor {
    type Result = ();

    fn handle(&mut self, _: messages::Panic, _: &mut Self::Context) {
        panic!("a test asked for this panic");
    }
}
