//! Everything the simulated Google remembers. The control endpoint and [`crate::Simulator`]'s methods both end here.

mod grants;
mod ids;
mod intake;
mod registry;
mod uploads;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

pub(crate) use grants::{Found, Grants, Token};
pub(crate) use ids::LOWER;
pub(crate) use ids::MIXED;
pub(crate) use intake::{Intake, Whole};
pub(crate) use registry::{Content, Event, Finish, Registry, Resource, Shelf, Work, merge, stamp};
pub use registry::{OwnedResource, WrongOwner};
pub(crate) use uploads::{Announced, Session, UploadStage, Uploads};

use crate::calls::Calls;
use crate::coding::Coding;
use crate::config::{Config, Shape, UnknownKeys};
use crate::conversation::{ConversationState, Conversations, ScriptedConversation, ScriptedStep};
use crate::door::Door;
use crate::error::ApiError;
use crate::journal::{Arrival, End, Entry, Journal, LoggedRequest, spell};
use crate::keys::{Key, KeyState};
use crate::lifecycle::Lifecycle;
use crate::models::Model;
use crate::prefix::{Prefixes, prefixes};
use crate::prompt::Prompt;
use crate::quota::{Meter, Metered, Now, Quota};
use crate::rule::{Faults, Rule, RuleState, Stage, Strike, Subject};
use crate::stats::{SignatureCounts, Stats, count};
use crate::strictness::Strictness;

/// The counters of [`Stats`] that are not atomics of their own.
#[derive(Default)]
struct Totals {
    requests: u64,
    by_key: BTreeMap<String, u64>,
    calls: Calls,
    by_status: BTreeMap<u16, u64>,
    by_model: BTreeMap<String, u64>,
    by_fault: BTreeMap<String, u64>,
    clients_left: u64,
    wrong_owner: u64,
    signatures: SignatureCounts,
}

pub(crate) struct World {
    started: Instant,
    started_unix: Duration,
    /// How far the clock that quotas go by is ahead of the real one.
    clock_offset_s: AtomicI64,
    unknown_keys: UnknownKeys,
    pub(crate) models: Vec<Model>,
    pub(crate) max_body_bytes: usize,
    pub(crate) tls: bool,
    keys: RwLock<HashMap<String, Key>>,
    shape: RwLock<Shape>,
    codings: RwLock<Vec<Coding>>,
    pub(crate) door: Arc<Door>,
    faults: Mutex<Faults>,
    conversations: Mutex<Conversations>,
    strictness: RwLock<Strictness>,
    /// The longest prompts of models, in tokens.
    input_limits: RwLock<BTreeMap<String, u64>>,
    meter: Mutex<Meter>,
    prefixes: Option<Mutex<Prefixes>>,
    /// What projects own.
    pub(crate) resources: Registry,
    pub(crate) uploads: Uploads,
    lifecycle: RwLock<Lifecycle>,
    journal: Mutex<Journal>,
    live: Mutex<Grants>,
    totals: Mutex<Totals>,
    answers: AtomicU64,
    open_requests: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) open_connections: AtomicU64,
    pub(crate) malformed: AtomicU64,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn by_secret(keys: Vec<Key>) -> HashMap<String, Key> {
    keys.into_iter().map(|key| (key.secret.clone(), key)).collect()
}

impl World {
    pub(crate) fn new(config: Config, door: Door) -> Self {
        Self {
            started: Instant::now(),
            started_unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            clock_offset_s: AtomicI64::new(0),
            unknown_keys: config.unknown_keys,
            models: config.models,
            max_body_bytes: config.max_body_bytes,
            tls: config.tls.is_some(),
            keys: RwLock::new(by_secret(config.keys)),
            shape: RwLock::new(config.shape),
            codings: RwLock::new(config.codings),
            door: Arc::new(door),
            faults: Mutex::new(Faults::new(config.faults)),
            conversations: Mutex::new(Conversations::new(config.conversations)),
            strictness: RwLock::new(config.strictness),
            input_limits: RwLock::default(),
            meter: Mutex::new(Meter::new(config.quotas, config.quota_minute, config.quota_window)),
            prefixes: config.prefix_cache.map(|cache| Mutex::new(Prefixes::new(cache))),
            resources: Registry::default(),
            uploads: Uploads::default(),
            lifecycle: RwLock::new(config.lifecycle),
            journal: Mutex::new(Journal::new(config.log_capacity)),
            live: Mutex::default(),
            totals: Mutex::default(),
            answers: AtomicU64::new(0),
            open_requests: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            open_connections: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
        }
    }

    /// Unix time that a change of the clock does not bend.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from((self.started_unix + self.started.elapsed()).as_millis()).unwrap_or(u64::MAX)
    }

    /// Unix time by the clock that quotas go by.
    pub(crate) fn clock(&self) -> Duration {
        let real = self.started_unix + self.started.elapsed();
        let offset = self.clock_offset_s();
        let by = Duration::from_secs(offset.unsigned_abs());
        if offset < 0 { real.saturating_sub(by) } else { real.saturating_add(by) }
    }

    pub(crate) fn clock_offset_s(&self) -> i64 {
        self.clock_offset_s.load(Ordering::Relaxed)
    }

    pub(crate) fn set_clock_offset_s(&self, offset_s: i64) {
        self.clock_offset_s.store(offset_s, Ordering::Relaxed);
    }

    /// A number no other answer has.
    pub(crate) fn next_answer(&self) -> u64 {
        self.answers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn unknown_keys(&self) -> UnknownKeys {
        self.unknown_keys
    }

    pub(crate) fn key(&self, secret: &str) -> Option<Key> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(secret).cloned()
    }

    /// The project of a known key or ephemeral token.
    pub(crate) fn project(&self, secret: &str) -> Option<String> {
        self.key(secret).map(|key| key.project).or_else(|| self.live().owner(secret))
    }

    /// The Live API's tokens and handles.
    pub(crate) fn live(&self) -> MutexGuard<'_, Grants> {
        lock(&self.live)
    }

    pub(crate) fn set_keys(&self, keys: Vec<Key>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = by_secret(keys);
    }

    /// Whether the key exists.
    pub(crate) fn set_key_state(&self, secret: &str, state: KeyState) -> bool {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.get_mut(secret).map(|key| key.state = state).is_some()
    }

    pub(crate) fn model(&self, id: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.id == id)
    }

    pub(crate) fn shape(&self) -> Shape {
        *self.shape.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_shape(&self, shape: Shape) {
        *self.shape.write().unwrap_or_else(PoisonError::into_inner) = shape;
    }

    pub(crate) fn codings(&self) -> Vec<Coding> {
        self.codings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_codings(&self, codings: Vec<Coding>) {
        *self.codings.write().unwrap_or_else(PoisonError::into_inner) = codings;
    }

    pub(crate) fn lifecycle(&self) -> Lifecycle {
        self.lifecycle.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_lifecycle(&self, lifecycle: Lifecycle) {
        *self.lifecycle.write().unwrap_or_else(PoisonError::into_inner) = lifecycle;
    }

    /// How long work takes from `now` on.
    pub(crate) fn work(&self, now: Duration, finish: Finish) -> Work {
        let lifecycle = self.lifecycle();
        let due = now + Duration::from_secs(lifecycle.work_s);
        Work { polls: lifecycle.work_polls, due, meanwhile: None, finish }
    }

    pub(crate) fn faults(&self) -> Vec<RuleState> {
        lock(&self.faults).states()
    }

    pub(crate) fn set_faults(&self, rules: Vec<Rule>) {
        *lock(&self.faults) = Faults::new(rules);
    }

    pub(crate) fn strike(&self, stage: Stage, subject: &Subject<'_>) -> Option<Strike> {
        lock(&self.faults).strike(stage, subject)
    }

    pub(crate) fn conversations(&self) -> Vec<ConversationState> {
        lock(&self.conversations).states()
    }

    pub(crate) fn set_conversations(&self, conversations: Vec<ScriptedConversation>) {
        *lock(&self.conversations) = Conversations::new(conversations);
    }

    /// The answer to a request of `bytes` bytes, if one is scripted.
    pub(crate) fn scripted(
        &self,
        subject: &Subject<'_>,
        prompt: &Prompt,
        request: &Value,
        bytes: usize,
    ) -> Option<ScriptedStep> {
        lock(&self.conversations).step(subject, prompt, request, bytes)
    }

    pub(crate) fn strictness(&self) -> Strictness {
        *self.strictness.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_strictness(&self, strictness: Strictness) {
        *self.strictness.write().unwrap_or_else(PoisonError::into_inner) = strictness;
    }

    pub(crate) fn input_limits(&self) -> BTreeMap<String, u64> {
        self.input_limits.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_input_limits(&self, limits: BTreeMap<String, u64>) {
        *self.input_limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// The longest prompt that a model takes, in tokens, if there is a limit.
    pub(crate) fn input_limit(&self, model: &str) -> Option<u64> {
        self.input_limits.read().unwrap_or_else(PoisonError::into_inner).get(model).copied()
    }

    /// Adds to the counts of signatures.
    pub(crate) fn count_signatures(&self, counts: SignatureCounts) {
        lock(&self.totals).signatures.add(counts);
    }

    pub(crate) fn quotas(&self) -> Vec<Quota> {
        lock(&self.meter).quotas().to_vec()
    }

    pub(crate) fn set_quotas(&self, quotas: Vec<Quota>) {
        lock(&self.meter).set(quotas);
    }

    /// Counts a request of this project, or refuses it.
    pub(crate) fn meter(
        &self,
        project: &str,
        model: &str,
        metered: Metered,
        tokens: u64,
    ) -> Result<(), ApiError> {
        let mut meter = lock(&self.meter);
        if meter.quotas().is_empty() {
            return Ok(());
        }
        meter.take(project, model, metered, tokens, Now::at(self.clock()))
    }

    /// How many tokens of a prompt that is served now were cached.
    pub(crate) fn cached_tokens(&self, project: &str, model: &str, request: &Value, prompt: &Prompt) -> u64 {
        let Some(memory) = &self.prefixes else { return 0 };
        let prefixes = prefixes(project, model, request, prompt);
        lock(memory).serve(&prefixes, self.clock())
    }

    pub(crate) fn arrived(&self, arrival: Arrival) -> Arc<Entry> {
        let entry = Arc::new(Entry::new(arrival));
        self.open_requests.fetch_add(1, Ordering::Relaxed);
        lock(&self.journal).push(Arc::clone(&entry));
        let mut totals = lock(&self.totals);
        totals.requests += 1;
        if let Some(key) = &entry.arrival.key {
            count(&mut totals.by_key, key);
            totals.calls.arrived(key, entry.arrival.at_ms);
        }
        entry
    }

    pub(crate) fn asked_for(&self, arrival: &Arrival, model: Option<&str>) {
        let mut totals = lock(&self.totals);
        if let Some(model) = model {
            count(&mut totals.by_model, model);
        }
        if let Some(key) = &arrival.key {
            totals.calls.asked_for(key, model.unwrap_or_default(), arrival.at_ms);
        }
    }

    /// A resource of another project was asked for.
    pub(crate) fn wrong_owner(&self) {
        lock(&self.totals).wrong_owner += 1;
    }

    pub(crate) fn struck(&self, kind: &str) {
        count(&mut lock(&self.totals).by_fault, kind);
    }

    pub(crate) fn answered(&self, arrival: &Arrival, model: Option<&str>, status: u16) {
        let mut totals = lock(&self.totals);
        *totals.by_status.entry(status).or_default() += 1;
        if let Some(key) = &arrival.key {
            totals.calls.answered(key, model.unwrap_or_default(), status);
        }
    }

    pub(crate) fn ended(&self, end: End) {
        self.open_requests.fetch_sub(1, Ordering::Relaxed);
        if end == End::ClientLeft {
            lock(&self.totals).clients_left += 1;
        }
    }

    pub(crate) fn requests(&self) -> Vec<LoggedRequest> {
        let lines = lock(&self.journal).lines();
        spell(&lines)
    }

    /// Forgets requests, counts, quota windows and cached prefixes; keys, faults, conversations, limits, shape and
    /// resources stay.
    pub(crate) fn reset(&self) {
        self.resources.forget_refusals();
        lock(&self.journal).clear();
        lock(&self.meter).reset();
        if let Some(memory) = &self.prefixes {
            lock(memory).reset();
        }
        *lock(&self.totals) = Totals::default();
        self.malformed.store(0, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> Stats {
        let totals = lock(&self.totals);
        Stats {
            requests: totals.requests,
            by_key: totals.by_key.clone(),
            calls: totals.calls.by_key(),
            by_status: totals.by_status.clone(),
            by_model: totals.by_model.clone(),
            by_fault: totals.by_fault.clone(),
            signatures: totals.signatures,
            clients_left: totals.clients_left,
            wrong_owner: self.resources.wrong_owner() + totals.wrong_owner,
            open_requests: self.open_requests.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            open_connections: self.open_connections.load(Ordering::Relaxed),
            malformed: self.malformed.load(Ordering::Relaxed),
            turned_away: self.door.turned_away.load(Ordering::Relaxed),
        }
    }
}
