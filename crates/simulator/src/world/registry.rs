//! Who owns what: every resource by name, with its project, its end and the work it waits for.
//! Knows nothing of HTTP but the refusals.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ids::Ids;
use crate::error::ApiError;
use crate::route::Kind;

/// More refusals than this are counted only.
const KEPT_REFUSALS: usize = 1000;

/// A resource and its owner, as the control endpoint shows it. Times are Unix time in milliseconds by the simulator's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedResource {
    /// Its full name, `files/abc`; of what Google knows by a bare id (`interactions`), collection and id.
    pub name: String,
    /// The project of the key that made it.
    pub project: String,
    /// When it was made.
    pub created_at_ms: u64,
    /// When it goes by itself.
    pub expires_at_ms: Option<u64>,
}

/// A use of a resource by a key of a project that does not own it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrongOwner {
    /// The resource.
    pub name: String,
    /// The project that owns it.
    pub owner: String,
    /// The project of the key that came.
    pub caller: String,
}

/// What can be fetched of a resource.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) mime_type: String,
    pub(crate) bytes: Bytes,
}

/// An event of a stream that can be read again.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) frame: Bytes,
}

/// What a resource becomes by itself.
pub(crate) struct Work {
    /// How many readers still see it unfinished.
    pub(crate) polls: u32,
    /// When it is finished at the latest.
    pub(crate) due: Duration,
    /// Its new fields once it has been asked after.
    pub(crate) meanwhile: Option<Value>,
    /// Makes its new fields, and what else there is then.
    pub(crate) finish: Finish,
}

pub(crate) type Finish = Box<dyn FnOnce(&mut Shelf, Duration) -> Value + Send>;

/// Something a project owns.
pub(crate) struct Resource {
    pub(crate) collection: String,
    pub(crate) name: String,
    pub(crate) project: String,
    pub(crate) created: Duration,
    pub(crate) expires: Option<Duration>,
    pub(crate) body: Value,
    pub(crate) content: Option<Content>,
    pub(crate) events: Vec<Event>,
    pub(crate) work: Option<Work>,
    /// Its place in the order of making.
    serial: u64,
}

impl Resource {
    /// A resource made `now`, for as long as its kind usually lives.
    pub(crate) fn new(
        kind: Kind,
        collection: impl Into<String>,
        id: &str,
        project: impl Into<String>,
        now: Duration,
    ) -> Self {
        let collection = collection.into();
        Self {
            name: format!("{collection}/{id}"),
            collection,
            project: project.into(),
            created: now,
            expires: kind.life().map(|life| now + life),
            body: Value::Null,
            content: None,
            events: Vec::new(),
            work: None,
            serial: 0,
        }
    }

    /// Its place in the order of making.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }
}

/// Unix time as protobuf writes it in JSON.
pub(crate) fn stamp(unix: Duration) -> String {
    let secs = i64::try_from(unix.as_secs()).unwrap_or_default();
    let time = DateTime::from_timestamp(secs, unix.subsec_micros() * 1000).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Puts the fields of `new` into `body`, object by object.
pub(crate) fn merge(body: &mut Value, new: Value) {
    match (body, new) {
        (Value::Object(body), Value::Object(new)) => {
            for (name, value) in new {
                merge(body.entry(name).or_insert(Value::Null), value);
            }
        }
        (body, new) => *body = new,
    }
}

/// All resources, in the hands of whoever holds the lock.
#[derive(Default)]
pub(crate) struct Shelf {
    serial: u64,
    by_name: HashMap<String, Resource>,
    collections: HashMap<String, BTreeMap<u64, String>>,
}

impl Shelf {
    /// Puts it on the shelf; work that takes no time is done at once.
    pub(crate) fn insert(&mut self, mut resource: Resource, now: Duration) {
        self.serial += 1;
        resource.serial = self.serial;
        let name = resource.name.clone();
        self.take(&name);
        self.collections.entry(resource.collection.clone()).or_default().insert(self.serial, name.clone());
        self.by_name.insert(name.clone(), resource);
        self.settle(&name, now);
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    fn take(&mut self, name: &str) {
        if let Some(resource) = self.by_name.remove(name)
            && let Some(collection) = self.collections.get_mut(&resource.collection)
        {
            collection.remove(&resource.serial);
        }
    }

    /// Removes it and all that is below it.
    fn take_tree(&mut self, name: &str) {
        self.take(name);
        let below = format!("{name}/");
        let names: Vec<String> = self.by_name.keys().filter(|n| n.starts_with(&below)).cloned().collect();
        for name in names {
            self.take(&name);
        }
    }

    /// Brings a resource to `now`: gone, or its work done.
    fn settle(&mut self, name: &str, now: Duration) {
        let Some(resource) = self.by_name.get_mut(name) else { return };
        if resource.expires.is_some_and(|at| at <= now) {
            self.take_tree(name);
            return;
        }
        let Some(work) = resource.work.take_if(|work| work.polls == 0 || work.due <= now) else { return };
        let new = (work.finish)(self, now);
        if let Some(resource) = self.by_name.get_mut(name) {
            merge(&mut resource.body, new);
        }
    }
}

/// The shelf and its doorkeeper.
#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) ids: Ids,
    shelf: Mutex<Shelf>,
    wrong_owner: AtomicU64,
    refusals: Mutex<VecDeque<WrongOwner>>,
}

impl Registry {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, resource: Resource, now: Duration) {
        self.shelf().insert(resource, now);
    }

    /// Whether anybody has it.
    pub(crate) fn exists(&self, name: &str, now: Duration) -> bool {
        let mut shelf = self.shelf();
        shelf.settle(name, now);
        shelf.contains(name)
    }

    /// Uses a resource of this project; another's, or nobody's, is refused in the words of its kind.
    pub(crate) fn with<T>(
        &self,
        (project, kind, name): (&str, Kind, &str),
        now: Duration,
        act: impl FnOnce(&mut Resource) -> T,
    ) -> Result<T, ApiError> {
        let mut shelf = self.shelf();
        shelf.settle(name, now);
        match shelf.by_name.get_mut(name) {
            Some(resource) if resource.project == project => Ok(act(resource)),
            found => {
                if let Some(resource) = found {
                    self.refused(name, &resource.project, project);
                }
                Err(kind.missing(name))
            }
        }
    }

    /// The resource as one who asks after it sees it; unfinished work comes nearer to its end.
    pub(crate) fn poll(&self, what: (&str, Kind, &str), now: Duration) -> Result<Value, ApiError> {
        self.with(what, now, |resource| {
            let body = resource.body.clone();
            if let Some(work) = &mut resource.work {
                work.polls = work.polls.saturating_sub(1);
                if let Some(new) = work.meanwhile.take() {
                    merge(&mut resource.body, new);
                }
            }
            body
        })
    }

    /// The content of a resource, whoever owns it.
    pub(crate) fn content(&self, name: &str, now: Duration) -> Option<Content> {
        let mut shelf = self.shelf();
        shelf.settle(name, now);
        shelf.by_name.get(name)?.content.clone()
    }

    /// Removes it with all that is below it.
    pub(crate) fn remove(&self, what: (&str, Kind, &str), now: Duration) -> Result<(), ApiError> {
        self.with(what, now, |_| ())?;
        self.shelf().take_tree(what.2);
        Ok(())
    }

    /// Up to `count` of the project's resources in a collection, newest first, older than the one with the number `before`.
    pub(crate) fn newest<T>(
        &self,
        (project, collection): (&str, &str),
        now: Duration,
        before: u64,
        count: usize,
        show: impl Fn(&Resource) -> T,
    ) -> Vec<(u64, T)> {
        let mut shelf = self.shelf();
        let Some(listed) = shelf.collections.get(collection) else { return Vec::new() };
        for name in listed.values().cloned().collect::<Vec<_>>() {
            shelf.settle(&name, now);
        }
        let Some(listed) = shelf.collections.get(collection) else { return Vec::new() };
        let found = listed.range(..before).rev().filter_map(|(_, name)| shelf.by_name.get(name));
        let own = found.filter(|resource| resource.project == project);
        own.take(count).map(|resource| (resource.serial, show(resource))).collect()
    }

    /// A resource of another project was asked for.
    pub(crate) fn refused(&self, name: &str, owner: &str, caller: &str) {
        self.wrong_owner.fetch_add(1, Ordering::Relaxed);
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() >= KEPT_REFUSALS {
            refusals.pop_front();
        }
        refusals.push_back(WrongOwner {
            name: name.to_owned(),
            owner: owner.to_owned(),
            caller: caller.to_owned(),
        });
    }

    /// The newest of these refusals, in order.
    pub(crate) fn refusals(&self) -> Vec<WrongOwner> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(crate) fn wrong_owner(&self) -> u64 {
        self.wrong_owner.load(Ordering::Relaxed)
    }

    pub(crate) fn forget_refusals(&self) {
        self.wrong_owner.store(0, Ordering::Relaxed);
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Everything there is, in the order of making.
    pub(crate) fn all(&self, now: Duration) -> Vec<OwnedResource> {
        let mut shelf = self.shelf();
        for name in shelf.by_name.keys().cloned().collect::<Vec<_>>() {
            shelf.settle(&name, now);
        }
        let mut all: Vec<&Resource> = shelf.by_name.values().collect();
        all.sort_unstable_by_key(|resource| resource.serial);
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        all.into_iter()
            .map(|resource| OwnedResource {
                name: resource.name.clone(),
                project: resource.project.clone(),
                created_at_ms: ms(resource.created),
                expires_at_ms: resource.expires.map(ms),
            })
            .collect()
    }
}
