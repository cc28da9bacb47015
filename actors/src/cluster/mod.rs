//! The cluster: what makes several gateways one pool. Actors, each on a thread of its own that may wait for Redis: the
//! [`ClusterActor`] says what this gateway has to say (it beats, tells facts, claims probes), the [`FactReaderActor`] hears what
//! the others say. Nothing else knows that there are others: the key manager leaves words in the `outbox` and takes facts as
//! messages. No handler of the key manager and no request ever waits for either.
//!
//! Whatever Redis does, this gateway serves: a call that fails makes it *alone*, which is said on the health board, and it
//! looks for the others again every quarter of a second.

mod actor;
mod agreement;
mod naming;
mod note;
mod outbox;
mod reader;
mod shared_callers;
mod shared_ledger;
mod shared_usage;
mod slices;
mod token_fact;
mod usage_of_others;
mod usage_tables;
mod view;

pub use actor::ClusterActor;
pub use agreement::SettingsPrint;
// For the crate that feeds them anything; nobody else outside needs them.
#[doc(hidden)]
pub use naming::Naming;
#[doc(hidden)]
pub use note::Note;
pub(crate) use outbox::Outbox;
pub use reader::FactReaderActor;
pub use shared_callers::{SharedCallers, SharedCallersActor};
pub(crate) use shared_ledger::SharedLedger;
pub use shared_ledger::SharedLedgerActor;
pub use shared_usage::{SharedUsage, SharedUsageActor};
use token_fact::SharedTokens;
pub use usage_of_others::GatewaysCounted;
pub use view::{CallersCounted, ClusterView, GatewayView, Presence, WordReach};

use crate::{
    accounting::Accounts,
    caller_cuts::CallerCuts,
    clock::Clock,
    current_keys::CurrentKeys,
    health::Health,
    key_manager::KeyManager,
    key_ring::KeyRing,
    ledger::Ledger,
    store::{KeptTokens, Memory, Store},
    supervisor::{Intensity, Link},
};
use arc_swap::ArcSwap;
use callers::{Directory, TokenChange};
use chrono::{TimeDelta, Utc};
use gemini_balance_cluster::{
    Away, ClusterMember, FactId, Generation, NodeId, PlacedFact, RedisLedger, RedisSettings, Shared,
};
use keypool::Company;
use std::{
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Its name on the health board and in the log.
const NAME: &str = "cluster";
/// The part of the settings' print that is of the instance key.
const INSTANCE_PART: &str = "instance_key";
/// How often an operator's word is looked after while somebody waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// How this gateway finds the others.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// Where Redis is.
    pub redis: RedisSettings,
    /// What this gateway is called: letters, digits, `-`, `_` and `.`, 48 at most.
    pub node: String,
    /// How many gateways share the limits, for one that cannot know.
    pub replicas: NonZeroU32,
}

impl ClusterSettings {
    /// Asks Redis once who is there, and changes nothing. Blocks for some hundred milliseconds at most.
    pub fn look(&self) -> Result<usize, Away> {
        let mut redis = gemini_balance_cluster::Redis::new(Arc::new(self.redis.clone()), node_id(&self.node));
        Ok(redis.nodes()?.iter().filter(|member| member.is_there()).count())
    }
}

/// Makes a handle on what is shared, for this life of the gateway.
pub(crate) type Connect = dyn Fn() -> Box<dyn Shared> + Send + Sync;

/// What the parts of the service hand to the cluster.
pub struct ClusterParts {
    /// The keys as they are.
    pub keys: CurrentKeys,
    /// Who takes the others' facts.
    pub manager: KeyManager,
    /// What this gateway knows.
    pub memory: Arc<Memory>,
    /// What it holds, which is one with what the others do from now on.
    pub ledger: Ledger,
    /// Where what it held before is.
    pub store: Store,
    /// Who calls, and what they have used.
    pub directory: Arc<Directory>,
    /// What of that outlives the process.
    pub kept_tokens: Arc<KeptTokens>,
    /// What ends a caller's requests.
    pub cuts: CallerCuts,
    /// What has been used here, where that is counted.
    pub accounts: Option<Accounts>,
    /// The time, for limits.
    pub clock: Clock,
    /// What the settings say, in a few letters.
    pub print: SettingsPrint,
    /// The version of the program.
    pub version: &'static str,
}

/// The threads that may wait for Redis.
pub struct ClusterArbiters {
    says: actix_rt::Arbiter,
    hears: actix_rt::Arbiter,
    holds: actix_rt::Arbiter,
    counts: actix_rt::Arbiter,
    sums: actix_rt::Arbiter,
}

impl ClusterArbiters {
    /// Starts them.
    pub fn start() -> Self {
        Self {
            says: actix_rt::Arbiter::new(),
            hears: actix_rt::Arbiter::new(),
            holds: actix_rt::Arbiter::new(),
            counts: actix_rt::Arbiter::new(),
            sums: actix_rt::Arbiter::new(),
        }
    }

    /// Ends them, once they have done what they are at.
    pub fn stop(&self) {
        for arbiter in [&self.says, &self.hears, &self.holds, &self.counts, &self.sums] {
            arbiter.stop();
        }
    }
}

/// A handle to the cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<ClusterShared>,
    link: Link<ClusterActor>,
    callers: SharedCallers,
    usage: Option<SharedUsage>,
}

/// What outlives the actors.
struct ClusterShared {
    name: String,
    node: NodeId,
    version: &'static str,
    since_ms: u64,
    keys: CurrentKeys,
    manager: KeyManager,
    memory: Arc<Memory>,
    ledger: Ledger,
    outbox: Arc<Outbox>,
    tokens: SharedTokens,
    print: ArcSwap<SettingsPrint>,
    health: Arc<Health>,
    connect: Box<Connect>,
    company: Mutex<KnownCompany>,
    /// The last fact that the pool has taken over.
    applied: Mutex<FactId>,
    /// By how many milliseconds this machine's clock is before the shared one.
    clock_ahead_ms: AtomicI64,
    /// Facts told and heard, calls that failed: for meters.
    told: AtomicU64,
    heard: AtomicU64,
    failed: AtomicU64,
}

/// Who else is there, as far as is known.
struct KnownCompany {
    presence: Presence,
    members: Vec<ClusterMember>,
    /// When `members` was read.
    read_at: Option<Instant>,
    generation: Generation,
    /// Since when somebody's settings differ.
    differs_since: Option<Instant>,
    /// What was said of that last.
    complaint: Option<String>,
}

impl ClusterShared {
    fn company(&self) -> MutexGuard<'_, KnownCompany> {
        self.company.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn applied(&self) -> FactId {
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool has taken over all facts up to there.
    fn has_applied(&self, to: FactId) {
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = to;
        self.outbox.has_read(to);
    }

    /// The shared clock shows this now.
    fn set_clock(&self, at_ms: u64) {
        let shared = i64::try_from(at_ms).unwrap_or_default();
        self.clock_ahead_ms.store(Utc::now().timestamp_millis() - shared, Ordering::Relaxed);
    }

    /// How long ago that was.
    fn age_of(&self, fact: FactId) -> Duration {
        let now = Utc::now().timestamp_millis() - self.clock_ahead_ms.load(Ordering::Relaxed);
        Duration::from_millis(u64::try_from(now).unwrap_or_default().saturating_sub(fact.ms))
    }

    /// What the gateways call things, by this one's keys and clock.
    fn naming<'a>(&'a self, ring: &'a KeyRing) -> Naming<'a> {
        let ahead = TimeDelta::milliseconds(self.clock_ahead_ms.load(Ordering::Relaxed));
        Naming { ring, node: &self.node, ahead }
    }

    /// What the settings come to, and which instance key the tokens are hashed under.
    fn print(&self) -> SettingsPrint {
        let instance = self.tokens.directory.instance().map(String::from);
        // Eight of its letters tell one key from another.
        let print = instance.as_deref().and_then(|print| print.get(..8)).unwrap_or("-");
        self.print.load().with(INSTANCE_PART, print)
    }

    /// Takes over what another gateway has told of a token, unless this one has said something since.
    fn hear_token(&self, placed: &PlacedFact) {
        let Some(Note::Token { name, body, .. }) = Note::of(&placed.fact) else { return };
        if !self.outbox.outruns_note(placed.fact.subject(), placed.id) {
            self.tokens.hear(&name, &body, name_of(placed.fact.origin()));
        }
    }

    fn is_together(&self) -> bool {
        matches!(self.company().presence, Presence::Together { .. })
    }

    fn note_failure(&self, _: &Away) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Cluster {
    /// Starts its actors, each on an arbiter whose thread may wait.
    pub fn start(
        on: &ClusterArbiters,
        settings: ClusterSettings,
        parts: ClusterParts,
        intensity: Intensity,
        health: Arc<Health>,
    ) -> Self {
        let node = node_id(&settings.node);
        let (redis, id) = (Arc::new(settings.redis), node.clone());
        let of_ledger = Arc::clone(&redis);
        let connect = Box::new(move || -> Box<dyn Shared> {
            Box::new(gemini_balance_cluster::Redis::new(Arc::clone(&redis), id.clone()))
        });
        let name = settings.node;
        let ClusterParts { keys, manager, memory, ledger, store, clock, print, version, .. } = parts;
        let (directory, kept_tokens, cuts) = (parts.directory, parts.kept_tokens, parts.cuts);
        let open = {
            let node = node.clone();
            Box::new(move || -> Box<dyn gemini_balance_store::Ledger> {
                Box::new(RedisLedger::new(Arc::clone(&of_ledger), node.clone()))
            })
        };
        let held = ledger.clone();
        let shared_ledger = SharedLedger::start(
            &on.holds.handle(),
            held,
            open,
            manager.outbox(),
            intensity,
            Arc::clone(&health),
        );
        ledger.share(shared_ledger, store);
        let shared = Arc::new(ClusterShared {
            name,
            node,
            version,
            since_ms: u64::try_from(Utc::now().timestamp_millis()).unwrap_or_default(),
            keys,
            outbox: manager.outbox(),
            tokens: SharedTokens { directory: Arc::clone(&directory), kept: kept_tokens, cuts },
            manager,
            memory,
            ledger,
            print: ArcSwap::from_pointee(print),
            health: Arc::clone(&health),
            connect,
            company: Mutex::new(KnownCompany {
                presence: Presence::Alone { since: Instant::now(), why: None },
                members: Vec::new(),
                read_at: None,
                generation: Generation::default(),
                differs_since: None,
                complaint: None,
            }),
            applied: Mutex::new(FactId::START),
            clock_ahead_ms: AtomicI64::new(0),
            told: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        shared.manager.keep_company(Company::Alone);
        shared.manager.weigh(settings.replicas.get(), Vec::new());
        shared.outbox.want_all();
        let link = actor::start(&on.says.handle(), &shared, intensity, &health);
        reader::start(&on.hears.handle(), &shared, link.clone(), intensity, Arc::clone(&health));
        let accounts = parts.accounts.clone();
        let usage = parts.accounts.map(|accounts| {
            let health = Arc::clone(&health);
            SharedUsage::start(&on.sums.handle(), &shared, accounts, intensity, health)
        });
        let counts = on.counts.handle();
        let callers = SharedCallers::start(&counts, &shared, directory, accounts, clock, intensity, health);
        let nudged = link.clone();
        shared.outbox.connect(Box::new(move || {
            nudged.nudge(actor::Turn);
        }));
        Self { shared, link, callers, usage }
    }

    /// Returns who counts clients' tokens together with this gateway.
    pub fn callers(&self) -> SharedCallers {
        self.callers.clone()
    }

    /// Returns what all gateways have used, where this one counts it.
    pub fn usage(&self) -> Option<&SharedUsage> {
        self.usage.as_ref()
    }

    /// Tells the others that the settings are these from now on.
    pub fn revise(&self, print: SettingsPrint) {
        self.shared.print.store(Arc::new(print));
    }

    /// Tells the others of tokens that were made or changed here. `cut`: what their callers have under way is to end.
    pub fn tell_tokens(&self, changes: &[TokenChange], cut: bool) {
        let notes = changes.iter().filter_map(|change| self.shared.tokens.note(change, cut));
        notes.for_each(|note| self.shared.outbox.note(note));
    }

    /// Returns over how many gateways the use of callers counts now.
    pub fn counted(&self) -> CallersCounted {
        view::counted(&self.shared, self.callers.is_together())
    }

    /// Returns who is there, and how they are.
    pub fn view(&self) -> ClusterView {
        view::of(&self.shared)
    }

    /// The same for what was said of a token: a gateway with another instance key cannot do it.
    pub async fn word_of_token(&self, at_most: Duration) -> WordReach {
        let mut reach = self.word(at_most).await;
        for gateway in view::of(&self.shared).gateways {
            let differs = gateway.differs_in.iter().any(|part| part == INSTANCE_PART);
            if differs && !reach.silent.contains(&gateway.name) {
                reach.done = reach.done.saturating_sub(1);
                reach.silent.push(gateway.name);
            }
        }
        reach
    }

    /// Waits until all gateways have done what this one has said, for so long at most.
    pub async fn word(&self, at_most: Duration) -> WordReach {
        let deadline = tokio::time::Instant::now() + at_most;
        loop {
            let reach = view::reach(&self.shared);
            let is_everywhere = reach.is_everywhere() && view::knows_who_is_there(&self.shared);
            if is_everywhere || reach.alone.is_some() || tokio::time::Instant::now() >= deadline {
                return reach;
            }
            self.link.nudge(actor::Look);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Tells what is untold, and leaves. Called when the service ends.
    pub async fn leave(&self, at_most: Duration) {
        let now = tokio::time::Instant::now();
        let (told_until, deadline) = (now + at_most * 3 / 4, now + at_most);
        // Each on a thread of its own.
        let usage = async {
            if let Some(usage) = &self.usage {
                usage.flush(told_until).await;
            }
        };
        futures_util::future::join(self.callers.flush(told_until), usage).await;
        let _ = tokio::time::timeout_at(deadline, self.link.send(actor::Leave, deadline)).await;
    }

    /// Makes the actor panic, for the tests of its supervision.
    #[cfg(debug_assertions)]
    pub fn panic(&self) {
        self.link.nudge(actor::Panic);
    }
}

/// This life of the gateway, by its name and what no other life has.
fn node_id(name: &str) -> NodeId {
    let id = format!("{name}.{:08x}", fastrand::u32(..));
    #[expect(
        clippy::expect_used,
        reason = "a dot and eight digits behind a name that was checked with the settings"
    )]
    NodeId::new(&id).expect("a name that fits")
}

/// Returns what the operator calls a gateway, by its id.
fn name_of(node: &NodeId) -> &str {
    node.as_str().rsplit_once('.').map_or(node.as_str(), |(name, _)| name)
}
