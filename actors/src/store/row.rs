//! How a record lies in the store. Beside it stands the fingerprint of the key it speaks of: a label may be given to
//! another key tomorrow, and what was held against the old one does not concern the new.

use crate::key_ring::KeyRing;
use chrono::Utc;
use gemini_balance_store::{Change, RecordId, Stored};
use keypool::{KeyId, Owner, Record, Subject};
use serde::{Deserialize, Serialize};

/// What kind of row this is, among those of the store.
const KIND: &str = "pool";

#[derive(Serialize, Deserialize)]
struct Body<R> {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    fingerprint: Option<String>,
    record: R,
}

/// The key a subject hangs on, if it is one key.
fn key_of(subject: &Subject) -> Option<&KeyId> {
    match subject {
        Subject::Key { key } | Subject::Usage { key } | Subject::ModelUsage { key, .. } => Some(key),
        Subject::Project { project }
        | Subject::Model { project, .. }
        | Subject::Limits { project, .. }
        | Subject::Tool { project, .. } => match project {
            Owner::Key(key) => Some(key),
            Owner::Project(_) | Owner::Number(_) => None,
        },
    }
}

pub(super) fn encode(record: &Record, ring: &KeyRing) -> Option<Change> {
    let id = RecordId::new(KIND, serde_json::to_string(&record.subject).ok()?);
    if record.is_clear() {
        return Some(Change::Forget(id));
    }
    let fingerprint =
        key_of(&record.subject).and_then(|id| ring.find(id)).map(|key| key.fingerprint().to_owned());
    let body = serde_json::to_string(&Body { fingerprint, record }).ok()?;
    Some(Change::Put(Stored { id, body, updated: Utc::now() }))
}

/// `None` for a row of another kind, of a key that is here no more, or of a form that is not known.
pub(super) fn decode(row: &Stored, ring: &KeyRing) -> Option<Record> {
    if row.id.kind() != KIND {
        return None;
    }
    let Body { fingerprint, record }: Body<Record> = serde_json::from_str(&row.body).ok()?;
    let same_key = match key_of(&record.subject) {
        None => true,
        Some(id) => ring.find(id).is_some_and(|key| fingerprint.as_deref() == Some(key.fingerprint())),
    };
    same_key.then_some(record)
}
