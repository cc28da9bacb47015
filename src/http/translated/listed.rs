//! The names that Google lists. One that no rule maps and that does not look like Google's own passes as it is where it is among
//! them; so that this is known, Google is asked for its list where a request names what nobody knows, not often.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long it is not asked again.
const ASKED_ANEW: Duration = Duration::from_secs(60);
/// How many names are kept. Google lists about a hundred.
const MOST: usize = 5_000;

/// What is known of the list. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListedModels(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    names: HashSet<Box<str>>,
    asked: Option<Instant>,
}

impl ListedModels {
    /// Whether Google lists a name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.known().names.contains(name)
    }

    /// Whether to ask for the list now: then it counts as asked for.
    pub(super) fn ask_now(&self) -> bool {
        let mut known = self.known();
        let is_due = known.asked.is_none_or(|asked| asked.elapsed() >= ASKED_ANEW);
        if is_due {
            known.asked = Some(Instant::now());
        }
        is_due
    }

    /// Takes a list, which may be a part of it: what a caller may use.
    pub(super) fn learn<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let mut known = self.known();
        for name in names {
            if known.names.len() >= MOST {
                return;
            }
            if !known.names.contains(name) {
                known.names.insert(name.into());
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
