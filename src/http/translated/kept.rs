//! The responses that are kept for clients that go on from them by an id: each for its caller alone, for a time, and all
//! within a bound. What is in one is the format's business.

use super::now_s;
use crate::settings::{ResponsesState, ResponsesStore};
use gemini_balance_store::{Condition, ResponseBook, ResponseMemory, open_responses};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// See the module. Cheap to clone; all workers share one.
#[derive(Clone)]
pub(crate) struct KeptResponses(Option<KeptBook>);

#[derive(Clone)]
struct KeptBook {
    medium: BookMedium,
    state: Arc<Mutex<KeptState>>,
}

/// What a book is written on, which decides whether to wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BookMedium {
    /// Memory: nothing to wait for, and another thread would cost more than the work.
    Memory,
    Disk,
}

struct KeptState {
    book: Box<dyn ResponseBook>,
    /// Where its file is to be, if there is one.
    path: PathBuf,
    ttl: Duration,
    max_bytes: u64,
}

impl KeptBook {
    fn state(&self) -> MutexGuard<'_, KeptState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeptState {
    /// Opens the book anew where its file was removed or replaced.
    fn look(&mut self) {
        let Err(error) = self.book.check_place() else { return };
        // The former one is closed before another is opened.
        self.book = Box::new(ResponseMemory::default());
        match open_responses(&self.path) {
            Ok(opened) => {
                self.book = opened.store;
                log::error!(target: "formats", "{error}; responses are kept in the one that is there now");
            }
            Err(again) => {
                log::error!(target: "formats", "{error}; responses are kept in memory: {again}");
            }
        }
    }
}

impl KeptResponses {
    /// Begins with what `path` holds, where they are kept in a file. Where that cannot be used they are kept in memory, and
    /// the log says so.
    pub(crate) fn new(settings: &ResponsesState, path: &Path) -> Self {
        let in_memory = || -> (Box<dyn ResponseBook>, BookMedium) {
            (Box::new(ResponseMemory::default()), BookMedium::Memory)
        };
        let (book, medium) = match settings.store {
            ResponsesStore::Off => return Self(None),
            ResponsesStore::Memory => in_memory(),
            ResponsesStore::Sqlite => match open_responses(path) {
                Ok(opened) => {
                    if !matches!(opened.condition, Condition::Fresh | Condition::Intact) {
                        log::error!(target: "formats", "{}", opened.condition);
                    }
                    if let Some(mode) = opened.exposed_mode {
                        log::warn!(target: "formats", "{} may be read by others (mode {mode:o}): chmod 600 it", path.display());
                    }
                    (opened.store, BookMedium::Disk)
                }
                Err(error) => {
                    log::error!(target: "formats", "responses are kept in memory: {error}");
                    in_memory()
                }
            },
        };
        let (ttl, max_bytes) = (settings.ttl(), settings.max_bytes);
        let state = Arc::new(Mutex::new(KeptState { book, path: path.to_owned(), ttl, max_bytes }));
        Self(Some(KeptBook { medium, state }))
    }

    /// Keeps them for another time, and within another bound, from now on.
    pub(crate) fn revise(&self, settings: &ResponsesState) {
        if let Some(mut kept) = self.0.as_ref().map(KeptBook::state) {
            (kept.ttl, kept.max_bytes) = (settings.ttl(), settings.max_bytes);
        }
    }

    /// Whether any are kept.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Keeps one for its caller.
    pub(super) async fn keep(&self, owner: Arc<str>, id: String, body: Vec<u8>) {
        self.with(move |kept| {
            let now = now_s();
            let outcome = kept
                .book
                .prune(
                    now.saturating_sub(kept.ttl.as_secs()),
                    kept.max_bytes.saturating_sub(body.len() as u64),
                )
                .and_then(|()| {
                    if body.len() as u64 > kept.max_bytes {
                        Ok(())
                    } else {
                        kept.book.keep(&owner, &id, now, &body)
                    }
                });
            if let Err(error) = outcome {
                log::error!(target: "formats", "a response is not kept: {error}");
            }
        })
        .await;
    }

    /// Finds one of this caller's.
    pub(super) async fn find(&self, owner: Arc<str>, id: String) -> Option<Vec<u8>> {
        self.with(move |kept| {
            let since = now_s().saturating_sub(kept.ttl.as_secs());
            kept.book.find(&owner, &id, since).unwrap_or_else(|error| {
                log::error!(target: "formats", "responses cannot be read: {error}");
                None
            })
        })
        .await
        .flatten()
    }

    /// Forgets one of this caller's; whether there was one.
    pub(super) async fn forget(&self, owner: Arc<str>, id: String) -> bool {
        self.with(move |kept| kept.book.forget(&owner, &id).unwrap_or(false)).await.unwrap_or(false)
    }

    /// Works on them, on a thread that may wait for the disk if they are there.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut KeptState) -> T + Send + 'static,
    ) -> Option<T> {
        let kept = self.0.as_ref()?;
        match kept.medium {
            BookMedium::Memory => Some(work(&mut kept.state())),
            BookMedium::Disk => {
                let kept = kept.clone();
                let on_disk = move || {
                    let mut state = kept.state();
                    state.look();
                    work(&mut state)
                };
                actix_web::web::block(on_disk).await.ok()
            }
        }
    }
}
