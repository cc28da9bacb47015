//! What the upstream said last of each model that failed: the honest answer while the pool leaves that model alone. One
//! worker's own; a model it has not seen fail has none.

use crate::upstream::WholeAnswer;
use std::{cell::RefCell, collections::HashMap, sync::Arc};

/// Enough for the models of a pool; beyond it the words of some other model are forgotten.
const MAX_MODELS: usize = 64;
/// A longer answer is not Google's.
const MAX_BYTES: usize = 16 * 1024;

/// The last error answer about each model.
#[derive(Default)]
pub(super) struct LastWords {
    answers: RefCell<HashMap<Arc<str>, WholeAnswer>>,
}

impl LastWords {
    pub(super) fn keep(&self, model: &Arc<str>, answer: &WholeAnswer) {
        if answer.body.len() > MAX_BYTES {
            return;
        }
        let mut answers = self.answers.borrow_mut();
        if answers.len() >= MAX_MODELS && !answers.contains_key(model) {
            let other = answers.keys().next().cloned();
            other.and_then(|other| answers.remove(&other));
        }
        answers.insert(Arc::clone(model), answer.clone());
    }

    pub(super) fn of(&self, model: &Arc<str>) -> Option<WholeAnswer> {
        self.answers.borrow().get(model).cloned()
    }
}
