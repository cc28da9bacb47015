//! Under what a cell counts: caller, key with its project, model, as far as they are told apart.

use std::sync::Arc;

/// What stands for a model beyond the most that are told apart, or one that nobody has seen to exist.
pub const OTHER: &str = "other";
/// What stands for whatever a request had none of: no caller was let in, no key was tried, no model was asked for.
pub const NONE: &str = "";
/// What stands for the model where a key's models are not told apart.
pub const ANY_MODEL: &str = "*";

/// A cell's labels. `None` is what its family does not tell apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels {
    /// The name of the token that it came with; `None` for all callers together.
    pub caller: Option<Arc<str>>,
    /// The key's id.
    pub key: Option<Arc<str>>,
    /// That key's project at the time.
    pub project: Option<Arc<str>>,
    /// The model that was asked; `None` for all models together.
    pub model: Option<Arc<str>>,
}

/// Which labels a cell has. The numbers are how it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// None: all together.
    Total = 0,
    /// Each caller by itself, over all models and keys.
    Caller = 1,
    /// Each model by itself, over all callers and keys.
    Model = 2,
    /// The key, with its project.
    Key = 3,
    /// Caller and model.
    CallerModel = 4,
    /// Key and model.
    KeyModel = 5,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 6] =
        [Self::Total, Self::Caller, Self::Model, Self::Key, Self::CallerModel, Self::KeyModel];

    /// From its number.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|&family| family as i64 == number)
    }
}

impl Labels {
    /// Of all together.
    pub fn total() -> Self {
        Self::default()
    }

    /// Of a caller.
    pub fn caller(caller: Arc<str>) -> Self {
        Self { caller: Some(caller), ..Self::default() }
    }

    /// Of a model.
    pub fn model(model: Arc<str>) -> Self {
        Self { model: Some(model), ..Self::default() }
    }

    /// Of a key.
    pub fn key(key: Arc<str>, project: Arc<str>) -> Self {
        Self { key: Some(key), project: Some(project), ..Self::default() }
    }

    /// The same, of one model.
    #[must_use]
    pub fn and_model(self, model: Arc<str>) -> Self {
        Self { model: Some(model), ..self }
    }

    /// The same, of all models together.
    #[must_use]
    pub fn of_any_model(&self) -> Self {
        Self { model: None, ..self.clone() }
    }

    /// Which family they belong to.
    pub fn family(&self) -> Family {
        match (&self.caller, &self.key, &self.model) {
            (None, None, None) => Family::Total,
            (Some(_), _, None) => Family::Caller,
            (None, None, Some(_)) => Family::Model,
            (None, Some(_), None) => Family::Key,
            (Some(_), _, Some(_)) => Family::CallerModel,
            (None, Some(_), Some(_)) => Family::KeyModel,
        }
    }
}
