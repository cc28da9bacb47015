//! The names that Google lists. One that no rule maps and that does not look like Google's own passes as it is where it is among
//! them; so that this is known, Google is asked for its list where a request names what nobody knows, not often.

use std::{
    collections::HashSet,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Mutex as AsyncMutex;

/// How long it is not asked again.
const ASKED_ANEW: Duration = Duration::from_secs(60);
/// How many names are kept. Google lists about a hundred.
const MOST: usize = 5_000;

/// What is known of the list. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListedModels(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    names: Mutex<HashSet<Box<str>>>,
    /// When it was asked for last. Held by whoever asks, so that those who come meanwhile wait for what comes.
    asked: AsyncMutex<Option<Instant>>,
}

impl ListedModels {
    /// Whether Google lists a name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names().contains(name)
    }

    /// Has the list asked for, unless that was done a moment ago.
    pub(super) async fn refresh(&self, ask: impl Future<Output = ()>) {
        let mut asked = self.0.asked.lock().await;
        if asked.is_none_or(|asked| asked.elapsed() >= ASKED_ANEW) {
            ask.await;
            *asked = Some(Instant::now());
        }
    }

    /// Takes a list, which may be a part of it: what a caller may use.
    pub(super) fn learn<'a>(&self, listed: impl Iterator<Item = &'a str>) {
        let mut names = self.names();
        for name in listed {
            if names.len() >= MOST {
                return;
            }
            if !names.contains(name) {
                names.insert(name.into());
            }
        }
    }

    fn names(&self) -> MutexGuard<'_, HashSet<Box<str>>> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
