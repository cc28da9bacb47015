//! The records: small JSON documents, each with an identity, replaced whole. What is in a body is its writer's affair.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::StoreError;

/// Keeps records. Not for sharing: one owner calls it, and each call blocks.
pub trait Records: Send {
    /// Every record, ordered by id (kind, then key, byte by byte). The state after some whole batch.
    fn load(&mut self) -> Result<Vec<Stored>, StoreError>;

    /// Carries out the changes in their order: all of them, or, on an error, none. A later `load` on this or any other
    /// handle sees them, and so does the next process.
    fn save(&mut self, batch: &[Change]) -> Result<(), StoreError>;

    /// Makes what was saved survive the machine's sudden end too, not only the process's. Costs a write to the disk: call
    /// it now and then, or after what must not be lost.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// Says whether what is written goes where the next process will look for it: a file that was removed or replaced under its
    /// owner is to be opened anew. One in memory is always in its place.
    fn check_place(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What a record is about. At most one record has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    kind: Box<str>,
    key: Box<str>,
}

impl RecordId {
    /// `kind` parts the subjects of different writers; `key` is a text that names the subject, the same in every process
    /// and version, and no secret.
    pub fn new(kind: impl Into<Box<str>>, key: impl Into<Box<str>>) -> Self {
        Self { kind: kind.into(), key: key.into() }
    }

    /// The kind of subject.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The subject, among those of its kind.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key)
    }
}

/// A record as the store keeps it: it does not read the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What it is about.
    pub id: RecordId,
    /// JSON, returned as it was given.
    pub body: String,
    /// When its writer made it; kept to the microsecond.
    pub updated: DateTime<Utc>,
}

/// A change to the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The record is there now, in place of any other with its id.
    Put(Stored),
    /// There is no record with this id any more. None needs to have been there.
    Forget(RecordId),
}
