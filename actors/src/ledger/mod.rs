//! The ledger: which project owns a resource of Google's, and who made it. Everything lately used lies in memory, from
//! which every worker reads without a message; what is not there is asked of the store, and what changes is written
//! behind by the `StoreActor`. It knows nothing of requests: `forward::binding` reads it, `forward::learning` fills it.

mod holdings;
mod recent;
mod source;

use crate::{
    cluster::SharedLedger,
    current_keys::CurrentKeys,
    key_ring::Key,
    store::{Store, WriteBehind},
};
use chrono::{DateTime, TimeDelta, Utc};
pub use gemini_balance_store::Holding;
use gemini_balance_store::{LedgerChange, StoreError};
use holdings::{Holdings, Seen};
use keypool::KeyId;
use recent::Recent;
use sha2::{Digest, Sha256};
use source::{Found, LedgerSource};
use std::{
    borrow::Cow,
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::{Duration, Instant},
};

/// How many holdings of a former process are looked at when this one starts.
const WARM: usize = 1_000;

/// How many changes are written at once.
const AT_ONCE: usize = 1_000;

/// How long an answer waits until the other gateways know what it names.
const LET_KNOW: Duration = Duration::from_millis(50);

/// How long a holding outlives the resource itself: a name that is forgotten too early would be taken for one that was
/// made outside the gateway, and so for anybody's.
const GRACE: TimeDelta = TimeDelta::days(1);

/// The ledger could not be asked, so nobody knows whose a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerSilent;

/// A handle to the ledger. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<LedgerState>,
}

struct LedgerState {
    keys: CurrentKeys,
    holdings: Mutex<Holdings>,
    recent: Mutex<Recent>,
    /// Names that are being asked for, so that each is asked for once at a time.
    asking: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
    source: OnceLock<LedgerSource>,
}

impl Ledger {
    /// An empty one. `window` is how long after a creation the same caller's next one goes to the same project.
    pub fn new(keys: CurrentKeys, window: Duration) -> Self {
        Self {
            shared: Arc::new(LedgerState {
                keys,
                holdings: Mutex::default(),
                recent: Mutex::new(Recent::new(window)),
                asking: Mutex::default(),
                source: OnceLock::new(),
            }),
        }
    }

    /// From now on what is not in memory is asked of `store`.
    pub fn connect(&self, store: Store) {
        let _ = self.shared.source.set(LedgerSource::Own(store));
    }

    /// From now on it is one ledger with those of other gateways. What is in `own` of this one's is still found.
    pub(crate) fn share(&self, shared: SharedLedger, own: Store) {
        let _ = self.shared.source.set(LedgerSource::Shared(shared, own));
    }

    fn source(&self) -> Option<&LedgerSource> {
        self.shared.source.get()
    }

    /// What the other gateways are told, where there are any.
    fn others(&self) -> Option<&SharedLedger> {
        match self.source()? {
            LedgerSource::Shared(shared, _) => Some(shared),
            LedgerSource::Own(_) => None,
        }
    }

    /// Changes how long after a creation the same caller's next one goes to the same project.
    pub fn set_window(&self, window: Duration) {
        self.recent().set_window(window);
    }

    fn holdings(&self) -> MutexGuard<'_, Holdings> {
        self.shared.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.shared.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who holds this; `None` if nobody here has heard of it.
    pub async fn find(&self, name: &str) -> Result<Option<Holding>, LedgerSilent> {
        match self.holdings().see(name) {
            Seen::Held(holding) => return Ok(Some(holding)),
            Seen::Gone => return Ok(None),
            Seen::NotHere => {}
        }
        Ok(self.ask_store(vec![name.to_owned()]).await?.pop().flatten())
    }

    /// The same for many names, in their order.
    pub async fn find_all(&self, names: &[String]) -> Result<Vec<Option<Holding>>, LedgerSilent> {
        let mut found: Vec<Option<Holding>> = vec![None; names.len()];
        let mut missing = Vec::new();
        {
            let mut holdings = self.holdings();
            for (place, name) in names.iter().enumerate() {
                match holdings.see(name) {
                    Seen::Held(holding) => found[place] = Some(holding),
                    Seen::Gone => {}
                    Seen::NotHere => missing.push(place),
                }
            }
        }
        if !missing.is_empty() {
            let asked = missing.iter().map(|place| names[*place].clone()).collect();
            for (place, holding) in missing.into_iter().zip(self.ask_store(asked).await?) {
                found[place] = holding;
            }
        }
        Ok(found)
    }

    async fn ask_store(&self, names: Vec<String>) -> Result<Vec<Option<Holding>>, LedgerSilent> {
        let Some(source) = self.source() else { return Ok(vec![None; names.len()]) };
        let Found { holdings: found, unshared } = source.find(names).await.ok_or(LedgerSilent)?;
        let mut holdings = self.holdings();
        for holding in found.iter().flatten() {
            holdings.remember(holding.clone());
        }
        for holding in unshared {
            holdings.put(holding);
        }
        Ok(found)
    }

    /// A key of the project that owns it: the one that made it, else another with its project's label. `None` when the
    /// pool has no such key any more.
    pub fn owner(&self, holding: &Holding) -> Option<KeyId> {
        let ring = self.shared.keys.ring();
        let maker = ring.with_fingerprint(&holding.key);
        let owning = maker.or_else(|| holding.project.as_deref().and_then(|project| ring.first_of(project)));
        owning.map(|key| key.id().clone())
    }

    /// Remembers that `key` has made, or owns, what `name` names. Whoever made it first stays its maker.
    pub fn learn(&self, name: &str, key: &Key, maker: Option<&str>, until: Option<DateTime<Utc>>) {
        let now = Utc::now();
        let expires = until.map(|until| until + GRACE).or_else(|| lifetime(name).map(|lives| now + lives));
        let mut holdings = self.holdings();
        holdings.clear_absence(name);
        let before = match holdings.see(name) {
            Seen::Held(before) => Some(before),
            Seen::Gone | Seen::NotHere => None,
        };
        if let Some(before) = &before
            && before.key == key.fingerprint()
            && (until.is_none() || before.expires == expires)
        {
            return;
        }
        // Some ids are the caller's choice, and may be taken in another project: that does not take the first away.
        if let Some(before) = &before
            && before.caller.as_deref() != maker
            && before.key != key.fingerprint()
            && (before.project.is_none() || before.project.as_deref() != key.project())
        {
            return;
        }
        let moves = before.as_ref().is_some_and(|before| before.key != key.fingerprint());
        let (caller, made) = before.map_or((maker.map(str::to_owned), now), |it| (it.caller, it.made));
        holdings.put(Holding {
            name: name.to_owned(),
            key: key.fingerprint().to_owned(),
            project: key.project().map(str::to_owned),
            caller,
            expires,
            address: None,
            made,
        });
        drop(holdings);
        if let Some(source) = self.source() {
            source.nudge();
        }
        if moves && let Some(others) = self.others() {
            others.tell_moved(name);
        }
    }

    /// Remembers an upload session, and writes it before long; see [`Ledger::settle`].
    pub fn hold(&self, holding: Holding) {
        self.holdings().put(holding);
        if let Some(source) = self.source() {
            source.nudge();
        }
    }

    /// Waits, for a short while, until what was changed is written. For what its maker cannot do without.
    pub async fn settle(&self, at_most: Duration) {
        if let Some(source) = self.source() {
            source.flush(at_most).await;
        }
    }

    /// Waits, for a short while, until the other gateways know what was learnt: a client may ask any of them next.
    pub(crate) async fn let_others_know(&self) {
        if let Some(source) = self.source()
            && source.is_shared()
            && self.has_unwritten()
        {
            source.flush(LET_KNOW).await;
        }
    }

    /// Tells whether something is to be written.
    pub(crate) fn has_unwritten(&self) -> bool {
        self.holdings().has_unwritten()
    }

    /// Writes what has changed. What an error kept from being written still waits.
    pub(crate) fn write_to<S: gemini_balance_store::Ledger + ?Sized>(
        &self,
        store: &mut S,
    ) -> Result<(), StoreError> {
        let mut changes = self.holdings().take_unwritten();
        while !changes.is_empty() {
            let rest = changes.split_off(changes.len().min(AT_ONCE));
            if let Err(error) = store.record(&changes) {
                let mut holdings = self.holdings();
                holdings.give_back(changes);
                holdings.give_back(rest);
                return Err(error);
            }
            changes = rest;
        }
        Ok(())
    }

    /// Writes what lies in memory and is not there any more: the store has lost some of what it had.
    pub(crate) fn write_what_is_lost<S: gemini_balance_store::Ledger + ?Sized>(
        &self,
        store: &mut S,
    ) -> Result<usize, StoreError> {
        let (now, mut lost) = (Utc::now(), 0);
        for held in self.holdings().written().chunks(AT_ONCE) {
            let names: Vec<&str> = held.iter().map(|holding| holding.name.as_str()).collect();
            let found = store.find(&names, now)?;
            let missing =
                held.iter().zip(found).filter(|(held, found)| found.is_none() && !held.has_expired(now));
            let changes: Vec<_> = missing.map(|(held, _)| LedgerChange::Put(held.clone())).collect();
            store.record(&changes)?;
            lost += changes.len();
        }
        Ok(lost)
    }

    /// The ledger of all gateways may have lost some of what it had: what is known here is written there again.
    pub(crate) fn restore_shared(&self) {
        if let Some(others) = self.others() {
            others.write_what_is_lost();
        }
    }

    /// Another gateway says that this is gone, or somebody else's: it is to be looked up again.
    pub(crate) fn look_up_anew(&self, name: &str) {
        self.holdings().leave_out(name);
    }

    /// Another gateway says that `caller` made something on this key, so long ago.
    pub(crate) fn created_elsewhere(&self, caller: &str, fingerprint: &str, ago: Duration) {
        let ring = self.shared.keys.ring();
        if let (Some(key), Some(then)) = (ring.with_fingerprint(fingerprint), Instant::now().checked_sub(ago))
        {
            self.recent().heard(&Arc::from(caller), key.id().clone(), then);
        }
    }

    /// It was deleted.
    pub fn forget(&self, name: &str) {
        self.holdings().forget(name);
        if let Some(others) = self.others() {
            others.nudge();
            others.tell_moved(name);
        }
    }

    /// Where `caller` has made something lately.
    pub fn last_creation(&self, caller: &str) -> Option<KeyId> {
        self.recent().last(caller, Instant::now())
    }

    /// `caller` has just made something on this key.
    pub fn created(&self, caller: &Arc<str>, key: &KeyId) {
        let is_news = self.recent().made(caller, key, Instant::now());
        if is_news && let Some(others) = self.others() {
            let ring = self.shared.keys.ring();
            others.tell_creation(caller, ring.find(key).map_or("", |key| key.fingerprint()));
        }
    }

    /// Whether every project was asked for `name` a moment ago, and none has it.
    pub fn is_absent(&self, name: &str) -> bool {
        self.holdings().is_absent(name, Instant::now())
    }

    /// Every project was asked for `name`, and none has it.
    pub fn note_absence(&self, name: &str) {
        self.holdings().note_absence(name, Instant::now());
    }

    /// Held while projects are asked for `name`, so that who comes second need not ask again.
    pub fn asking(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut asking = self.shared.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = asking.get(name).and_then(Weak::upgrade) {
            return held;
        }
        asking.retain(|_, held| held.strong_count() > 0);
        let held = Arc::default();
        asking.insert(name.to_owned(), Arc::downgrade(&held));
        held
    }

    /// What a former process held last: its callers' creations stay together across a restart.
    fn warm(&self, newest_first: Vec<Holding>) {
        let now = Utc::now();
        for holding in newest_first.into_iter().rev() {
            if let (Some(caller), Some(key)) = (&holding.caller, self.owner(&holding)) {
                let age = (now - holding.made).to_std().unwrap_or_default();
                if let Some(then) = Instant::now().checked_sub(age) {
                    self.recent().heard(&Arc::from(caller.as_str()), key, then);
                }
            }
            self.holdings().remember(holding);
        }
    }
}

impl WriteBehind for Ledger {
    fn load(&self, store: &mut dyn gemini_balance_store::Store) -> Result<(), StoreError> {
        match store.newest(WARM, Utc::now()) {
            Ok(holdings) => self.warm(holdings),
            // They are found when they are asked for.
            Err(error) => log::error!(target: "store", "{error}"),
        }
        Ok(())
    }

    fn write(&self, store: &mut dyn gemini_balance_store::Store) -> Result<(), StoreError> {
        self.write_to(store)
    }
}

/// How long Google keeps a resource whose answer does not say. `None`: until it is deleted, or for how long is not known.
fn lifetime(name: &str) -> Option<TimeDelta> {
    let (collection, _) = name.split_once('/')?;
    match collection {
        "files" => Some(TimeDelta::hours(48) + GRACE),
        "interactions" => Some(TimeDelta::days(55) + GRACE),
        "cachedContents" => Some(TimeDelta::days(30)),
        "auth_tokens" | "liveHandles" => Some(GRACE),
        _ => None,
    }
}

/// The name under which the ledger has what Google calls `name`: its own, but for those that are secrets. They are
/// sealed: a Live session's resumption handle, which is `liveHandles/H` here, by what Google calls it, `H`; an ephemeral
/// token by the whole `auth_tokens/T`, which is what its bearer shows.
pub fn entry(name: &str) -> Cow<'_, str> {
    match name.split_once('/') {
        Some((collection @ ("liveHandles" | "continuationTokens"), secret)) => {
            sealed(collection, secret).into()
        }
        Some((collection @ "auth_tokens", _)) => sealed(collection, name).into(),
        // Longer than any of Google's: made up, and not to be remembered at its length.
        Some((collection, id)) if id.len() > LONGEST_ID => sealed(collection, name).into(),
        _ => name.into(),
    }
}

/// The longest id that stands in the ledger as it is, in bytes.
const LONGEST_ID: usize = 512;

/// The name under which a secret stands in the ledger: its hash, since the store is not encrypted.
pub fn sealed(collection: &str, secret: &str) -> String {
    let mut name = String::with_capacity(collection.len() + 65);
    let _ = write!(name, "{collection}/");
    for byte in Sha256::digest(secret.as_bytes()) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Secret, key_ring::KeyRing};
    use keypool::{KeySpec, Project};

    fn ring() -> KeyRing {
        let key = |id: &str, project: Option<&str>| {
            let project = project.map(Project::from);
            (KeySpec { id: KeyId::from(id), project, weight: 1 }, Secret::new(format!("AIza-{id}")))
        };
        let keys = vec![key("a", Some("p")), key("b", Some("p")), key("c", None)];
        KeyRing::new(keys).unwrap()
    }

    fn ledger() -> (Ledger, Arc<KeyRing>) {
        let keys = CurrentKeys::new(ring());
        (Ledger::new(keys.clone(), Duration::from_secs(600)), keys.ring())
    }

    #[tokio::test]
    async fn what_was_learnt_is_found_with_its_maker() {
        let (ledger, ring) = ledger();
        ledger.learn("files/x", &ring.keys()[1], Some("alice"), None);
        let held = ledger.find("files/x").await.unwrap().unwrap();
        assert_eq!((held.caller.as_deref(), ledger.owner(&held)), (Some("alice"), Some("b".into())));
        assert_eq!(ledger.find("files/y").await, Ok(None));
    }

    #[tokio::test]
    async fn a_later_answer_changes_the_expiry_and_not_the_maker() {
        let (ledger, ring) = ledger();
        ledger.learn("cachedContents/x", &ring.keys()[0], Some("alice"), None);
        let until = Utc::now() + TimeDelta::days(90);
        ledger.learn("cachedContents/x", &ring.keys()[0], Some("bob"), Some(until));
        let held = ledger.find("cachedContents/x").await.unwrap().unwrap();
        assert_eq!((held.caller.as_deref(), held.expires), (Some("alice"), Some(until + GRACE)));
    }

    #[tokio::test]
    async fn an_id_that_another_takes_in_another_project_stays_with_the_first() {
        let (ledger, ring) = ledger();
        ledger.learn("agents/x", &ring.keys()[0], Some("alice"), None);
        ledger.learn("agents/x", &ring.keys()[2], Some("bob"), None);
        let held = ledger.find("agents/x").await.unwrap().unwrap();
        assert_eq!((held.caller.as_deref(), ledger.owner(&held)), (Some("alice"), Some("a".into())));
        ledger.learn("agents/x", &ring.keys()[2], Some("alice"), None);
        let held = ledger.find("agents/x").await.unwrap().unwrap();
        assert_eq!(ledger.owner(&held), Some("c".into()), "made again by the same caller elsewhere");
    }

    #[tokio::test]
    async fn a_key_that_is_gone_is_stood_in_for_by_its_project() {
        let (ledger, _) = ledger();
        let held = |project: Option<&str>| Holding {
            name: "files/x".into(),
            key: "key-gone".into(),
            project: project.map(str::to_owned),
            caller: None,
            expires: None,
            address: None,
            made: Utc::now(),
        };
        assert_eq!(ledger.owner(&held(Some("p"))), Some("a".into()));
        assert_eq!(ledger.owner(&held(Some("elsewhere"))), None);
        assert_eq!(ledger.owner(&held(None)), None);
    }

    #[tokio::test]
    async fn what_is_forgotten_is_not_asked_of_the_store_again() {
        let (ledger, ring) = ledger();
        ledger.learn("files/x", &ring.keys()[0], None, None);
        ledger.holdings().take_unwritten();
        ledger.forget("files/x");
        assert_eq!(ledger.find("files/x").await, Ok(None));
        assert_eq!(ledger.holdings().take_unwritten(), [LedgerChange::Forget("files/x".into())]);
    }

    #[test]
    fn handles_and_tokens_stand_sealed_and_other_names_as_they_are() {
        assert_eq!(entry("liveHandles/a/b"), sealed("liveHandles", "a/b"));
        assert_eq!(entry("auth_tokens/a"), sealed("auth_tokens", "auth_tokens/a"));
        assert_eq!(entry("files/a"), "files/a");
        let (longest, longer) = (format!("files/{}", "a".repeat(512)), format!("files/{}", "a".repeat(513)));
        assert_eq!(entry(&longest), longest);
        assert_eq!(entry(&longer), sealed("files", &longer));
    }

    #[test]
    fn a_secret_is_named_by_its_hash() {
        let name = sealed("uploads", "canary");
        assert!(name.starts_with("uploads/") && !name.contains("canary") && name.len() == 8 + 64);
    }
}
