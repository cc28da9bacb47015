//! Kept responses of OpenAI's Responses format: bytes under a caller's name and an id, for a time. What is in them is the
//! format's business. They hold what callers have said, so the file is its owner's alone, and what is forgotten is
//! overwritten.

use crate::StoreError;
use std::collections::{BTreeMap, HashMap};

/// Responses by caller and id. Times are seconds since 1970.
pub trait ResponseBook: Send {
    /// Keeps one, in the place of another of the same caller and id.
    fn keep(&mut self, owner: &str, id: &str, at: u64, body: &[u8]) -> Result<(), StoreError>;

    /// Finds one of this caller's that was kept at `since` or later.
    fn find(&mut self, owner: &str, id: &str, since: u64) -> Result<Option<Vec<u8>>, StoreError>;

    /// Forgets one of this caller's; whether there was one.
    fn forget(&mut self, owner: &str, id: &str) -> Result<bool, StoreError>;

    /// Forgets all that were kept before `since`, and the oldest until the bodies of the rest are `most_bytes` or less.
    fn prune(&mut self, since: u64, most_bytes: u64) -> Result<(), StoreError>;

    /// Says whether what is written goes where the next process will look for it: a file that was removed or replaced under its
    /// owner is to be opened anew. One in memory is always in its place.
    fn check_place(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A response book in memory.
#[derive(Debug, Default)]
pub struct ResponseMemory {
    places: HashMap<(String, String), u64>,
    /// By the order in which they came.
    kept: BTreeMap<u64, KeptBody>,
    next: u64,
    bytes: u64,
}

#[derive(Debug)]
struct KeptBody {
    owner: String,
    id: String,
    at: u64,
    body: Vec<u8>,
}

impl ResponseMemory {
    fn remove(&mut self, place: u64) -> bool {
        let Some(kept) = self.kept.remove(&place) else { return false };
        self.bytes -= kept.body.len() as u64;
        self.places.remove(&(kept.owner, kept.id));
        true
    }
}

impl ResponseBook for ResponseMemory {
    fn keep(&mut self, owner: &str, id: &str, at: u64, body: &[u8]) -> Result<(), StoreError> {
        self.forget(owner, id)?;
        let (owner, id) = (owner.to_owned(), id.to_owned());
        self.places.insert((owner.clone(), id.clone()), self.next);
        self.kept.insert(self.next, KeptBody { owner, id, at, body: body.to_vec() });
        self.next += 1;
        self.bytes += body.len() as u64;
        Ok(())
    }

    fn find(&mut self, owner: &str, id: &str, since: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let kept = self.places.get(&(owner.to_owned(), id.to_owned())).and_then(|place| self.kept.get(place));
        Ok(kept.filter(|kept| kept.at >= since).map(|kept| kept.body.clone()))
    }

    fn forget(&mut self, owner: &str, id: &str) -> Result<bool, StoreError> {
        let place = self.places.get(&(owner.to_owned(), id.to_owned())).copied();
        Ok(place.is_some_and(|place| self.remove(place)))
    }

    fn prune(&mut self, since: u64, most_bytes: u64) -> Result<(), StoreError> {
        while let Some((&place, oldest)) = self.kept.first_key_value()
            && (oldest.at < since || self.bytes > most_bytes)
        {
            self.remove(place);
        }
        Ok(())
    }
}
