//! How often the pool has left something alone, and why, since the process began. It lies outside the actor, so a life that
//! ends takes no count along. For meters only: the pool's rules do not look at it.

use keypool::{Event, Reason, Subject};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The counts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolEventCounts {
    /// Cooldowns that began, by what cools (`key`, `project`, `model`, `tool`) and the word of the reason.
    pub cooldowns: BTreeMap<(&'static str, &'static str), u64>,
    /// Retirements, by the word of the reason.
    pub retirements: BTreeMap<&'static str, u64>,
}

/// The counts as they grow.
#[derive(Debug)]
pub(super) struct EventCounts(Mutex<PoolEventCounts>);

impl Default for EventCounts {
    fn default() -> Self {
        // Reasons of retirements begin at 0, so that the first one is seen to be one more.
        let retirements = Reason::ALL.into_iter().map(|reason| (reason.word(), 0)).collect();
        Self(Mutex::new(PoolEventCounts { cooldowns: BTreeMap::new(), retirements }))
    }
}

impl EventCounts {
    pub(super) fn note(&self, event: &Event) {
        match event {
            Event::Cooling { subject, reason, .. } => {
                *self.lock().cooldowns.entry((scope(subject), reason.word())).or_default() += 1;
            }
            Event::Retired { reason, .. } => {
                *self.lock().retirements.entry(reason.word()).or_default() += 1;
            }
            _ => {}
        }
    }

    pub(super) fn read(&self) -> PoolEventCounts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, PoolEventCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn scope(subject: &Subject) -> &'static str {
    match subject {
        Subject::Key { .. } | Subject::Usage { .. } => "key",
        Subject::Project { .. } => "project",
        Subject::Tool { .. } => "tool",
        Subject::Model { .. }
        | Subject::Limits { .. }
        | Subject::ModelUsage { .. }
        | Subject::Breaker { .. } => "model",
    }
}
