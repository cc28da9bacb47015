//! Which models are told apart. Their names come from clients, who can make up any number of them.

use crate::labels::{NONE, OTHER};
use foldhash::HashSet;
use std::sync::Arc;

/// No model's name is longer.
const LONGEST: usize = 200;

/// The models that count by themselves: those that Google has answered for, up to a bound. See the module.
#[derive(Clone, Debug)]
pub struct ModelNames {
    known: HashSet<Arc<str>>,
    most: usize,
    other: Arc<str>,
    none: Arc<str>,
}

impl ModelNames {
    /// At most `most`, beginning with those known before.
    pub fn new(most: usize, known: impl IntoIterator<Item = Arc<str>>) -> Self {
        let known = known.into_iter().filter(|name| &**name != NONE && &**name != OTHER).take(most).collect();
        Self { known, most, other: OTHER.into(), none: NONE.into() }
    }

    /// The name under which a request for `model` counts; `answered` says that Google has answered it with success.
    pub fn name(&mut self, model: Option<&Arc<str>>, answered: bool) -> Arc<str> {
        let Some(model) = model else { return Arc::clone(&self.none) };
        if let Some(known) = self.known.get(model) {
            return Arc::clone(known);
        }
        if answered && self.known.len() < self.most && !model.is_empty() && model.len() <= LONGEST {
            self.known.insert(Arc::clone(model));
            return Arc::clone(model);
        }
        Arc::clone(&self.other)
    }

    /// Those that count by themselves.
    pub fn into_names(self) -> impl Iterator<Item = Arc<str>> {
        self.known.into_iter()
    }

    /// Those that count by themselves, in no order.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.known.iter()
    }

    /// How many count by themselves.
    pub fn count(&self) -> usize {
        self.known.len()
    }
}
