//! The state of the service's long-lived components: set by the supervisor, read by the health endpoints. Each change
//! is an event of its own and logged here, so that no component has to.

use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use tokio::sync::watch;

/// What a supervised component is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does all that it is there for.
    Up,
    /// Dead, and about to be started again.
    Restarting,
    /// Working less than it should; what is served does not depend on it.
    Degraded,
    /// Given up after too many restarts; the process is going to end.
    Failed,
}

/// One component's state and how often it was restarted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Component {
    /// What it is doing now.
    pub state: State,
    /// Restarts since the process began.
    pub restarts: u64,
    /// Why it died last, if it ever did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One change of one component.
#[derive(Clone, Debug)]
pub struct HealthChanged {
    /// Its name, such as `key_manager`.
    pub name: &'static str,
    /// What it became.
    pub component: Component,
}

/// The board on which every component's state stands.
#[derive(Debug)]
pub struct Health {
    components: Mutex<BTreeMap<&'static str, Component>>,
    changes: watch::Sender<Option<HealthChanged>>,
}

impl Default for Health {
    fn default() -> Self {
        Self { components: Mutex::default(), changes: watch::channel(None).0 }
    }
}

impl Health {
    /// Puts a component's new state on the board, logs it and tells the watchers.
    pub fn set(&self, name: &'static str, state: State, reason: Option<String>) {
        let component = {
            let mut components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = components.entry(name).or_insert(Component {
                state: State::Restarting,
                restarts: 0,
                reason: None,
            });
            if state == State::Restarting {
                entry.restarts += 1;
            }
            entry.state = state;
            if reason.is_some() {
                entry.reason = reason;
            }
            entry.clone()
        };
        let level = if state == State::Up { log::Level::Info } else { log::Level::Error };
        let why = component.reason.as_deref().filter(|_| state != State::Up).unwrap_or("");
        log::log!(target: "health", level, "{name} is {state:?} (restarts: {}){}{why}", component.restarts, if why.is_empty() { "" } else { ": " });
        self.changes.send_replace(Some(HealthChanged { name, component }));
    }

    /// Takes a component off the board that is not wanted any more.
    pub fn remove(&self, name: &'static str) {
        self.components.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Adds a remark to a component that is otherwise as it was.
    pub fn note(&self, name: &'static str, reason: String) {
        let mut components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(component) = components.get_mut(name) {
            component.reason = Some(reason);
        } else {
            components.insert(name, Component { state: State::Up, restarts: 0, reason: Some(reason) });
        }
    }

    /// Every component as it stands.
    pub fn components(&self) -> BTreeMap<&'static str, Component> {
        self.components.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether no component keeps requests from being served.
    pub fn all_up(&self) -> bool {
        let components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        components.values().all(|component| matches!(component.state, State::Up | State::Degraded))
    }

    /// Resolves with the first component that the supervisor has given up.
    pub async fn failed(&self) -> HealthChanged {
        let mut changes = self.changes.subscribe();
        loop {
            if let Some((name, component)) =
                self.components().into_iter().find(|(_, component)| component.state == State::Failed)
            {
                return HealthChanged { name, component };
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
