//! What the upstream answered last of each model that failed: the honest answer while the pool leaves that model alone.
//! One worker's own; a model it has not seen fail has none.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

/// Enough for the models of a pool; beyond it the answer about some other model is forgotten.
const MAX_MODELS: usize = 64;
/// A longer answer is not Google's.
const MAX_BYTES: usize = 16 * 1024;

/// An error answer that can be kept for later requests.
pub(crate) trait ErrorAnswer: Clone {
    /// Returns how much memory it takes, about.
    fn bytes(&self) -> usize;

    /// Returns what it says, for people; it holds no key.
    fn words(&self) -> Option<String> {
        None
    }
}

/// The last error answer about each model.
pub(crate) struct LastAnswers<A> {
    answers: RefCell<HashMap<Arc<str>, A>>,
}

impl<A> Default for LastAnswers<A> {
    fn default() -> Self {
        Self { answers: RefCell::default() }
    }
}

impl<A: ErrorAnswer> LastAnswers<A> {
    pub(super) fn keep(&self, model: &Arc<str>, answer: &A) {
        if answer.bytes() > MAX_BYTES {
            return;
        }
        let mut answers = self.answers.borrow_mut();
        if answers.len() >= MAX_MODELS && !answers.contains_key(model) {
            let other = answers.keys().next().cloned();
            other.and_then(|other| answers.remove(&other));
        }
        answers.insert(Arc::clone(model), answer.clone());
    }

    pub(super) fn of(&self, model: &Arc<str>) -> Option<A> {
        self.answers.borrow().get(model).cloned()
    }
}
