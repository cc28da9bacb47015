//! Whose a resumption handle or an ephemeral token is: the project it belongs to, and the caller who was given it. Both
//! are short-lived, so they are kept in memory.

use chrono::{DateTime, TimeDelta, Utc};
use keypool::KeyIx;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// How long a handle can be used (docs of June 2026).
const HANDLE_LIFE: TimeDelta = TimeDelta::hours(2);
/// Beyond so many the expired are dropped, and when that is not enough, all.
const MOST: usize = 100_000;

#[derive(Clone, Debug)]
struct Held {
    owner: KeyIx,
    caller: Arc<str>,
    expires: DateTime<Utc>,
}

/// What is known of a name for one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The project of this key.
    Project(KeyIx),
    /// Another caller's.
    NotYours,
    /// Nobody here has heard of it.
    Unknown,
}

/// See the module. Cheap to clone; the clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct Bindings(Arc<Mutex<HashMap<String, Held>>>);

impl Bindings {
    /// Who was given an ephemeral token, and a key of the project that it belongs to.
    pub(super) fn token(&self, token: &str) -> Option<(Arc<str>, KeyIx)> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(token).map(|held| (Arc::clone(&held.caller), held.owner))
    }

    /// Whose the handle is.
    pub(super) fn handle(&self, handle: &str, caller: &str, sees_all: bool) -> Owner {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get(handle) {
            Some(held) if sees_all || *held.caller == *caller => Owner::Project(held.owner),
            Some(_) => Owner::NotYours,
            None => Owner::Unknown,
        }
    }

    /// A key's project has given this caller a handle.
    pub(super) fn learn_handle(&self, handle: String, owner: KeyIx, caller: &Arc<str>) {
        let now = Utc::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.retain(|_, held| held.expires > now);
            if all.len() >= MOST {
                all.clear();
            }
        }
        all.insert(handle, Held { owner, caller: Arc::clone(caller), expires: now + HANDLE_LIFE });
    }
}
