//! Counters of what arrived, by key, status and model, and gauges of what is open.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::calls::KeyCalls;

/// Counts since the last reset; the `open_` figures are of this moment.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Requests that arrived (the control endpoint's own are not counted).
    pub requests: u64,
    /// The same by credential.
    pub by_key: BTreeMap<String, u64>,
    /// The same in detail: by credential, model and status, with the times of the first and the last.
    pub calls: BTreeMap<String, KeyCalls>,
    /// Answers by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Requests by model.
    pub by_model: BTreeMap<String, u64>,
    /// Requests to which a fault rule applied, by its kind.
    pub by_fault: BTreeMap<String, u64>,
    /// Uses of a resource, in path or body, by a key of a project that does not own it.
    pub wrong_owner: u64,
    /// What became of thought signatures.
    #[serde(default)]
    pub signatures: SignatureCounts,
    /// Exchanges the client left.
    pub clients_left: u64,
    /// Exchanges not yet ended.
    pub open_requests: u64,
    /// Connections accepted since the start.
    pub connections: u64,
    /// Connections open.
    pub open_connections: u64,
    /// Connections that ended because what they carried was not HTTP.
    pub malformed: u64,
    /// Connections that an outage has reset as they came.
    #[serde(default)]
    pub turned_away: u64,
}

// `by_key` and `calls` hold secrets.
impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stats")
            .field("requests", &self.requests)
            .field("by_status", &self.by_status)
            .field("by_model", &self.by_model)
            .field("clients_left", &self.clients_left)
            .field("signatures", &self.signatures)
            .field("wrong_owner", &self.wrong_owner)
            .field("open_requests", &self.open_requests)
            .field("connections", &self.connections)
            .field("open_connections", &self.open_connections)
            .finish_non_exhaustive()
    }
}

/// What became of thought signatures on the native surface, and of the ids that calls have for the same reason. Those that
/// come back are counted anew with every request, whatever model it is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SignatureCounts {
    /// Given with a part of an answer.
    pub issued: u64,
    /// Come back with the part that they were given with.
    pub returned: u64,
    /// Come back as `skip_thought_signature_validator` or its like.
    pub skipped: u64,
    /// Missing where they are demanded; each refused a request.
    pub missing: u64,
    /// Come back altered, made up or with another part.
    pub corrupted: u64,
    /// Answers of functions without the id that their call has.
    pub ids_missing: u64,
}

impl SignatureCounts {
    pub(crate) fn add(&mut self, more: Self) {
        self.issued += more.issued;
        self.returned += more.returned;
        self.skipped += more.skipped;
        self.missing += more.missing;
        self.corrupted += more.corrupted;
        self.ids_missing += more.ids_missing;
    }
}

/// Adds one, allocating the name only the first time.
pub(crate) fn count(map: &mut BTreeMap<String, u64>, name: &str) {
    if let Some(n) = map.get_mut(name) {
        *n += 1;
    } else {
        map.insert(name.to_owned(), 1);
    }
}
