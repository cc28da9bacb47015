//! Upload sessions: what was said at the start, what has arrived, and whether it is over. Each belongs to its `upload_id`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::ids::{Ids, MIXED};
use super::intake::Intake;
use super::place::Target;

/// An upload that nobody finishes is forgotten.
const LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How far an upload is.
pub(super) enum Stage {
    Active,
    /// With the answer to the last chunk, which a query gets again.
    Final(Bytes),
    Cancelled,
}

impl Stage {
    /// The value of `x-goog-upload-status`.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Final(_) => "final",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What is known of a file before its bytes.
pub(super) struct Announced {
    pub(super) project: String,
    pub(super) target: Target,
    /// The JSON that came with the start.
    pub(super) metadata: Value,
    pub(super) mime_type: Option<String>,
    pub(super) size: Option<u64>,
}

pub(super) struct Session {
    pub(super) announced: Announced,
    pub(super) intake: Intake,
    pub(super) stage: Stage,
    /// Counts the chunks: one that has been given up must not go on writing.
    pub(super) turn: u64,
    started: Duration,
}

/// All sessions.
#[derive(Default)]
pub(crate) struct Uploads {
    ids: Ids,
    sessions: Mutex<HashMap<String, Arc<Mutex<Session>>>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Uploads {
    /// The `upload_id` of a new session.
    pub(super) fn start(&self, announced: Announced, now: Duration) -> String {
        let id = format!("A{}", self.ids.id(MIXED, 90));
        let session =
            Session { announced, intake: Intake::default(), stage: Stage::Active, turn: 0, started: now };
        let mut sessions = lock(&self.sessions);
        sessions.retain(|_, session| lock(session).started + LIFE > now);
        sessions.insert(id.clone(), Arc::new(Mutex::new(session)));
        id
    }

    pub(super) fn find(&self, id: &str, now: Duration) -> Option<Arc<Mutex<Session>>> {
        lock(&self.sessions).get(id).filter(|session| lock(session).started + LIFE > now).cloned()
    }
}
