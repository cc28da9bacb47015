//! What is shared, in memory: for tests in which several nodes live in one process and time is driven by hand. It keeps the
//! same rules as Redis, and can lose what a Redis loses: answers, connections, itself.

mod bucket;
mod buckets;
mod facts;
mod members;
mod sums;
mod tables;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    SCHEMA,
    away::Away,
    bucket::{BucketName, Draw, Drawn},
    fact::{Fact, FactId, KnownFacts, PlacedFact, Reading, TellReply},
    node::{Beat, ClusterMember, ClusterState, Generation, NodeId},
    shared::{ClaimReply, Shared},
    sums::{AddReply, Addition},
    tables::{BookId, TableChange, TableContent, TableReply, TableStep, UsageTable},
};
use bucket::CommonBucket;
use sums::CommonSums;

/// When a new one's clock begins: 2026, in milliseconds since 1970.
const BEGINNING_MS: u64 = 1_767_225_600_000;

/// Shared state in memory. A clone is the same one.
#[derive(Clone, Debug, Default)]
pub struct Common {
    state: Arc<Mutex<CommonState>>,
}

/// What becomes of a node's next calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// They do not arrive, until [`Common::heal`].
    Cut,
    /// The next one is carried out, but its answer is lost.
    LostAnswer,
}

#[derive(Debug)]
struct CommonState {
    now_ms: u64,
    schema: u64,
    /// Which run of the server it is, as far as nodes can tell.
    run: u64,
    meta: Meta,
    members: BTreeMap<NodeId, (u64, Beat)>,
    claims: HashMap<String, (NodeId, u64)>,
    rec: BTreeMap<String, PlacedFact>,
    facts: BTreeMap<FactId, Fact>,
    /// The last fact that was cut off.
    cut_off: FactId,
    buckets: HashMap<BucketName, CommonBucket>,
    sums: HashMap<String, CommonSums>,
    /// Usage books with who keeps them, and when that was said last.
    books: BTreeMap<(BookId, NodeId), u64>,
    tables: HashMap<UsageTable, TableContent>,
    cut: BTreeSet<NodeId>,
    losing: BTreeSet<NodeId>,
}

/// The run of the shared state.
#[derive(Clone, Copy, Debug, Default)]
struct Meta {
    run: u64,
    generation: u64,
    hold_until: u64,
    heard: u64,
}

impl Default for CommonState {
    fn default() -> Self {
        Self {
            now_ms: BEGINNING_MS,
            schema: SCHEMA,
            run: 1,
            meta: Meta::default(),
            members: BTreeMap::new(),
            claims: HashMap::new(),
            rec: BTreeMap::new(),
            facts: BTreeMap::new(),
            cut_off: FactId::START,
            buckets: HashMap::new(),
            sums: HashMap::new(),
            books: BTreeMap::new(),
            tables: HashMap::new(),
            cut: BTreeSet::new(),
            losing: BTreeSet::new(),
        }
    }
}

impl Common {
    /// Returns the handle of a node.
    pub fn node(&self, node: NodeId) -> CommonNode {
        CommonNode { common: self.clone(), node }
    }

    /// Lets so much time pass.
    pub fn pass(&self, time: Duration) {
        let mut state = self.lock();
        state.now_ms += u64::try_from(time.as_millis()).unwrap_or_default();
    }

    /// Sets the shared clock, to an earlier moment too.
    pub fn set_clock(&self, now_ms: u64) {
        self.lock().now_ms = now_ms;
    }

    /// Returns what the shared clock says.
    pub fn now_ms(&self) -> u64 {
        self.lock().now_ms
    }

    /// Is from now on another server with the same content, as after a failover.
    pub fn fail_over(&self) {
        self.lock().run += 1;
    }

    /// Is from now on a server that is empty.
    pub fn lose_everything(&self) {
        let mut state = self.lock();
        let fresh = CommonState { now_ms: state.now_ms, run: state.run + 1, ..CommonState::default() };
        let (cut, losing) = (std::mem::take(&mut state.cut), std::mem::take(&mut state.losing));
        *state = CommonState { cut, losing, ..fresh };
    }

    /// Is from now on what a newer version has written.
    pub fn set_schema(&self, schema: u64) {
        self.lock().schema = schema;
    }

    /// Troubles a node.
    pub fn trouble(&self, node: &NodeId, trouble: Trouble) {
        let mut state = self.lock();
        match trouble {
            Trouble::Cut => state.cut.insert(node.clone()),
            Trouble::LostAnswer => state.losing.insert(node.clone()),
        };
    }

    /// Lets the calls of a node that was cut arrive again.
    pub fn heal(&self, node: &NodeId) {
        self.lock().cut.remove(node);
    }

    fn lock(&self) -> MutexGuard<'_, CommonState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CommonState {
    /// What `greet` of the scripts does.
    fn greet(&mut self, comes_back: bool) -> Result<ClusterState, Away> {
        const HOLD_MS: u64 = 1_000;
        const SILENT_MS: u64 = 2_000;
        if self.schema > SCHEMA {
            return Err(Away::Newer { found: self.schema, known: SCHEMA });
        }
        let (now, meta) = (self.now_ms, &mut self.meta);
        if meta.run != self.run {
            meta.run = self.run;
            meta.generation = (meta.generation + 1).max(now);
            meta.hold_until = now + HOLD_MS;
        } else if comes_back && now.saturating_sub(meta.heard) > SILENT_MS {
            meta.hold_until = now + HOLD_MS;
        }
        meta.hold_until = meta.hold_until.min(now + HOLD_MS);
        meta.heard = now;
        Ok(ClusterState {
            at_ms: now,
            generation: Generation(meta.generation),
            hold: Duration::from_millis(meta.hold_until.saturating_sub(now)),
        })
    }
}

/// A node's handle on a [`Common`]. Calls never wait: what is to be waited for, the test makes happen.
#[derive(Clone, Debug)]
pub struct CommonNode {
    common: Common,
    node: NodeId,
}

impl CommonNode {
    /// Carries a call out, unless the node is in trouble.
    fn call<T>(&self, call: impl FnOnce(&mut CommonState, &NodeId) -> Result<T, Away>) -> Result<T, Away> {
        let mut state = self.common.lock();
        if state.cut.contains(&self.node) {
            return Err(Away::TimedOut);
        }
        let answer = call(&mut state, &self.node);
        if state.losing.remove(&self.node) { Err(Away::TimedOut) } else { answer }
    }
}

impl Shared for CommonNode {
    fn hello(&mut self) -> Result<ClusterState, Away> {
        self.call(|state, _| state.greet(true))
    }

    fn beat(&mut self, beat: &Beat) -> Result<ClusterState, Away> {
        self.call(|state, node| state.beat(node, beat))
    }

    fn nodes(&mut self) -> Result<Vec<ClusterMember>, Away> {
        self.call(|state, _| Ok(state.nodes()))
    }

    fn leave(&mut self) -> Result<(), Away> {
        self.call(|state, node| {
            state.members.remove(node);
            Ok(())
        })
    }

    fn tell(&mut self, facts: &[Fact], seen: FactId) -> Result<Vec<TellReply>, Away> {
        self.call(|state, _| Ok(facts.iter().map(|fact| state.tell(fact, seen)).collect()))
    }

    fn known(&mut self) -> Result<KnownFacts, Away> {
        self.call(|state, _| Ok(state.known()))
    }

    fn facts(&mut self, after: FactId, _: Duration) -> Result<Reading, Away> {
        self.call(|state, _| Ok(state.read(after)))
    }

    fn claim(&mut self, site: &str, patience: Duration) -> Result<ClaimReply, Away> {
        self.call(|state, node| Ok(state.claim(node, site, patience)))
    }

    fn release(&mut self, site: &str) -> Result<(), Away> {
        self.call(|state, node| {
            if state.claims.get(site).is_some_and(|(holder, _)| holder == node) {
                state.claims.remove(site);
            }
            Ok(())
        })
    }

    fn take(&mut self, draws: &[Draw]) -> Result<Vec<Drawn>, Away> {
        self.call(|state, node| Ok(draws.iter().map(|draw| state.take(node, draw)).collect()))
    }

    fn close(&mut self, bucket: &BucketName, time: Duration) -> Result<(), Away> {
        self.call(|state, _| {
            state.close(bucket, time);
            Ok(())
        })
    }

    fn add(&mut self, addition: &Addition) -> Result<AddReply, Away> {
        self.call(|state, node| Ok(state.add(node, addition)))
    }

    fn sums(&mut self, name: &str) -> Result<BTreeMap<String, i64>, Away> {
        self.call(|state, _| Ok(state.sums(name)))
    }

    fn keep_book(&mut self, book: &BookId) -> Result<(), Away> {
        self.call(|state, node| {
            state.keep_book(node, book);
            Ok(())
        })
    }

    fn books(&mut self) -> Result<Vec<(BookId, NodeId)>, Away> {
        self.call(|state, _| Ok(state.books()))
    }

    fn write_table(&mut self, change: &TableChange) -> Result<TableReply, Away> {
        self.call(|state, _| Ok(state.write_table(change)))
    }

    fn tables(&mut self, step: TableStep, from: i64, to: i64) -> Result<Vec<(i64, BookId)>, Away> {
        self.call(|state, _| Ok(state.tables(step, from, to)))
    }

    fn read_tables(&mut self, tables: &[UsageTable]) -> Result<Vec<TableContent>, Away> {
        self.call(|state, _| Ok(tables.iter().map(|table| state.read_table(table)).collect()))
    }
}
