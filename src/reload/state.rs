//! What is known of reloads: which revision of the configuration is in use, what needs a restart, and how the last ones
//! went. For the operator's listener and the metrics.

use chrono::{DateTime, Utc};
use serde::Serialize;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is known of reloads. `ReloadState::report` reads it.
#[derive(Debug)]
pub(crate) struct ReloadState(Mutex<ReloadReport>);

/// A copy of what is known.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ReloadReport {
    /// Which configuration is in use: 1 at the start, and one more with each change.
    pub(crate) revision: u64,
    /// The settings that another process would take otherwise.
    pub(crate) restart_needed: Vec<String>,
    /// Reloads that changed something.
    pub(crate) applied: u64,
    /// Reloads that found everything as it was.
    pub(crate) unchanged: u64,
    /// Reloads that found something wrong, and changed nothing.
    pub(crate) refused: u64,
    /// Whether the last one was not refused; the start counts as one.
    pub(crate) last_successful: bool,
    /// When the last one was that was not refused.
    pub(crate) last_success: DateTime<Utc>,
    /// What was wrong at the last one, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl ReloadState {
    /// As of the start.
    pub(crate) fn new(now: DateTime<Utc>) -> Self {
        Self(Mutex::new(ReloadReport {
            revision: 1,
            restart_needed: Vec::new(),
            applied: 0,
            unchanged: 0,
            refused: 0,
            last_successful: true,
            last_success: now,
            error: None,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, ReloadReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns all that is known.
    pub(crate) fn report(&self) -> ReloadReport {
        self.lock().clone()
    }

    /// Returns which configuration is in use.
    pub(crate) fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// Another configuration is in use.
    pub(super) fn applied(&self, restart_needed: Vec<String>, now: DateTime<Utc>) {
        let mut report = self.lock();
        report.revision += 1;
        report.applied += 1;
        report.restart_needed = restart_needed;
        succeeded(&mut report, now);
    }

    /// Everything is as it was.
    pub(super) fn unchanged(&self, now: DateTime<Utc>) {
        let mut report = self.lock();
        report.unchanged += 1;
        succeeded(&mut report, now);
    }

    /// Something is wrong.
    pub(super) fn refused(&self, why: String) {
        let mut report = self.lock();
        report.refused += 1;
        report.last_successful = false;
        report.error = Some(why);
    }
}

fn succeeded(report: &mut ReloadReport, now: DateTime<Utc>) {
    report.last_successful = true;
    report.last_success = now;
    report.error = None;
}
