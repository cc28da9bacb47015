//! Upload sessions: what was said at the start, what has arrived, and whether it is over. Each belongs to its `upload_id`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::ids::{Ids, MIXED};
use super::intake::Intake;
use super::lock;
use crate::route::Target;

/// An upload that nobody finishes is forgotten.
const LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How far an upload is.
pub(crate) enum UploadStage {
    Active,
    /// With the answer to the last chunk, which a query gets again.
    Final(Bytes),
    Cancelled,
}

impl UploadStage {
    /// The value of `x-goog-upload-status`.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Final(_) => "final",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What is known of a file before its bytes.
pub(crate) struct Announced {
    pub(crate) project: String,
    pub(crate) target: Target,
    /// The JSON that came with the start.
    pub(crate) metadata: Value,
    pub(crate) mime_type: Option<String>,
    pub(crate) size: Option<u64>,
}

pub(crate) struct Session {
    pub(crate) announced: Announced,
    pub(crate) intake: Intake,
    pub(crate) stage: UploadStage,
    /// Counts the chunks: one that has been given up must not go on writing.
    pub(crate) turn: u64,
    started: Duration,
}

/// All sessions.
#[derive(Default)]
pub(crate) struct Uploads {
    ids: Ids,
    sessions: Mutex<HashMap<String, Arc<Mutex<Session>>>>,
}

impl Uploads {
    /// The `upload_id` of a new session.
    pub(crate) fn start(&self, announced: Announced, now: Duration) -> String {
        let id = format!("A{}", self.ids.id(MIXED, 90));
        let session = Session {
            announced,
            intake: Intake::default(),
            stage: UploadStage::Active,
            turn: 0,
            started: now,
        };
        let mut sessions = lock(&self.sessions);
        sessions.retain(|_, session| lock(session).started + LIFE > now);
        sessions.insert(id.clone(), Arc::new(Mutex::new(session)));
        id
    }

    pub(crate) fn find(&self, id: &str, now: Duration) -> Option<Arc<Mutex<Session>>> {
        lock(&self.sessions).get(id).filter(|session| lock(session).started + LIFE > now).cloned()
    }
}
