//! How the tokens made while the service runs lie in the store: one record each, by the caller's name, and one that says
//! that there ever was one.

use super::write_behind::WriteBehind;
use callers::{Directory, KeptToken, TokenChange, TokenHash};
use chrono::Utc;
use gemini_balance_store::{Change, RecordId, Store, StoreError, Stored};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// What kind of row this is, among those of the store.
const KIND: &str = "token";
/// The record that says that a token was made once. No caller has this name.
const EVER_MADE: &str = "";

/// The tokens of a [`Directory`], and those of their changes that are not written yet.
pub struct KeptTokens {
    directory: Arc<Directory>,
    unwritten: Mutex<HashMap<RecordId, Change>>,
    /// Whether what a former process has left is in the directory.
    is_loaded: AtomicBool,
}

#[derive(Serialize, Deserialize)]
struct EverMade {
    instance: TokenHash,
}

impl KeptTokens {
    /// Makes the keeper of this directory.
    pub fn new(directory: Arc<Directory>) -> Self {
        Self { directory, unwritten: Mutex::default(), is_loaded: AtomicBool::new(false) }
    }

    /// Takes changes that are to be written.
    pub fn keep(&self, changes: Vec<TokenChange>) {
        let mut unwritten = self.lock();
        for change in changes.into_iter().filter_map(encode) {
            unwritten.insert(id_of(&change).clone(), change);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RecordId, Change>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WriteBehind for KeptTokens {
    fn load(&self, store: &mut dyn Store) -> Result<(), StoreError> {
        let rows = store.load()?;
        // What is yet to be written is newer.
        let newer = self.lock();
        let kept = rows.iter().filter(|row| !newer.contains_key(&row.id)).filter_map(decode);
        if !self.directory.restore(kept) {
            log::error!(target: "store", "the tokens in the store were made under another instance key (store.instance_key_file): none of them is let in until it is rotated");
        }
        self.is_loaded.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn write(&self, store: &mut dyn Store) -> Result<(), StoreError> {
        if !self.is_loaded.load(Ordering::Relaxed) {
            // It could not be read when the service started.
            self.load(store)?;
        }
        let changes = std::mem::take(&mut *self.lock());
        let rows: Vec<_> = changes.values().cloned().collect();
        store.save(&rows).inspect_err(|_| {
            let mut unwritten = self.lock();
            for (id, change) in changes {
                unwritten.entry(id).or_insert(change);
            }
        })
    }

    fn all_is_unwritten(&self) {
        let kept = self.directory.kept();
        let mut unwritten = self.lock();
        for change in kept.into_iter().filter_map(encode) {
            unwritten.entry(id_of(&change).clone()).or_insert(change);
        }
    }
}

fn id_of(change: &Change) -> &RecordId {
    match change {
        Change::Put(stored) => &stored.id,
        Change::Forget(id) => id,
    }
}

fn encode(change: TokenChange) -> Option<Change> {
    let id = |name: &str| RecordId::new(KIND, name);
    let put = |id, body| Change::Put(Stored { id, body, updated: Utc::now() });
    Some(match change {
        TokenChange::Put(token) => put(id(&token.spec.name), serde_json::to_string(&token).ok()?),
        TokenChange::Forget(name) => Change::Forget(id(&name)),
        TokenChange::EverMade(instance) => {
            put(id(EVER_MADE), serde_json::to_string(&EverMade { instance }).ok()?)
        }
    })
}

/// `None` for a row of another kind, or one that cannot be read.
fn decode(row: &Stored) -> Option<TokenChange> {
    if row.id.kind() != KIND {
        return None;
    }
    if row.id.key() == EVER_MADE {
        let EverMade { instance } = serde_json::from_str(&row.body).ok()?;
        return Some(TokenChange::EverMade(instance));
    }
    match serde_json::from_str::<KeptToken>(&row.body) {
        Ok(token) => Some(TokenChange::Put(Box::new(token))),
        Err(error) => {
            log::error!(target: "store", "the token {} cannot be read: {error}", row.id.key());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use callers::{CallerSpec, InstanceKey, PoolKey};
    use chrono_tz::Tz;
    use gemini_balance_store::{Memory, Records};
    use std::time::Duration;

    const POOL_KEY: &[u8] = b"AIza-pool";

    fn keeper(key: u8) -> (Arc<Directory>, KeptTokens) {
        let directory = Arc::new(Directory::new(InstanceKey::new(&[key; 32]), Tz::UTC));
        (Arc::clone(&directory), KeptTokens::new(directory))
    }

    fn add(directory: &Directory, kept: &KeptTokens, name: &str, random: u8) -> String {
        let now = meter::Now { mono: Duration::ZERO, wall: Utc::now() };
        let (token, changes) = directory.add(CallerSpec::new(name), &[random; 32], now).unwrap();
        kept.keep(changes);
        token.expose().to_owned()
    }

    fn knows(directory: &Directory, token: &str) -> bool {
        directory.identify(token.as_bytes(), Utc::now()).is_some()
    }

    #[test]
    fn the_next_process_knows_the_tokens_and_the_store_holds_none_of_them() {
        let mut store = Memory::default();
        let (directory, kept) = keeper(1);
        kept.load(&mut store).unwrap();
        let token = add(&directory, &kept, "alice", 7);
        let gone = add(&directory, &kept, "bob", 8);
        kept.write(&mut store).unwrap();
        kept.keep(directory.remove("bob").unwrap());
        kept.write(&mut store).unwrap();
        let rows = store.load().unwrap();
        assert_eq!(rows.iter().map(|row| row.id.key()).collect::<Vec<_>>(), ["", "alice"]);
        for fragment in token.as_bytes().windows(8).map(|bytes| std::str::from_utf8(bytes).unwrap()) {
            assert!(rows.iter().all(|row| !row.body.contains(fragment)), "{fragment}");
        }
        let (next, kept) = keeper(1);
        kept.load(&mut store).unwrap();
        assert!(knows(&next, &token) && !knows(&next, &gone));
        let (stranger, kept) = keeper(2);
        kept.load(&mut store).unwrap();
        assert!(!knows(&stranger, &token), "the instance key is another one");
    }

    #[test]
    fn a_store_that_is_there_late_adds_to_what_was_made_meanwhile() {
        let mut store = Memory::default();
        let (directory, kept) = keeper(1);
        kept.load(&mut store).unwrap();
        let former = [("alice", 1), ("bob", 2)].map(|(name, random)| add(&directory, &kept, name, random));
        kept.write(&mut store).unwrap();
        // The next one cannot read it at first.
        let (directory, kept) = keeper(1);
        directory.close_to_pool_keys();
        let meanwhile = add(&directory, &kept, "bob", 3);
        kept.all_is_unwritten();
        kept.write(&mut store).unwrap();
        assert!(knows(&directory, &former[0]) && knows(&directory, &meanwhile));
        assert!(!knows(&directory, &former[1]), "bob's was replaced");
        let (third, kept) = keeper(1);
        kept.load(&mut store).unwrap();
        assert!(knows(&third, &former[0]) && knows(&third, &meanwhile) && !knows(&third, &former[1]));
    }

    #[test]
    fn one_last_token_that_is_removed_leaves_a_record_that_says_so() {
        let mut store = Memory::default();
        let (directory, kept) = keeper(1);
        kept.load(&mut store).unwrap();
        add(&directory, &kept, "alice", 1);
        kept.keep(directory.remove("alice").unwrap());
        kept.write(&mut store).unwrap();
        let (next, kept) = keeper(1);
        next.set_pool_keys([(PoolKey { id: "key".into(), project: None }, POOL_KEY)]);
        assert!(next.opens_to_pool_keys());
        kept.load(&mut store).unwrap();
        assert!(!next.opens_to_pool_keys());
        assert!(next.identify(POOL_KEY, Utc::now()).is_none());
    }
}
