//! What the series of each family are told apart by. Names (`Arc<str>`) are made by clients and operators, all else is of
//! a closed set.

use super::bounded::SeriesLabels;
use crate::{labels::OTHER, sample::RequestOutcome};
use gemini::fault::Kind;
use std::sync::Arc;

fn other() -> Arc<str> {
    OTHER.into()
}

/// The labels of requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestLabels {
    /// What was asked for, of a closed set.
    pub operation: &'static str,
    /// The model, or `other` where it does not count by itself.
    pub model: Arc<str>,
    /// How it ended.
    pub outcome: RequestOutcome,
    /// The status that the client was answered with; 0 where there was none.
    pub code: u16,
}

impl SeriesLabels for RequestLabels {
    fn with_other(&self) -> Self {
        Self { model: other(), ..self.clone() }
    }

    fn least(&self) -> Self {
        Self { operation: OTHER, model: other(), outcome: self.outcome, code: 0 }
    }
}

/// Of requests' durations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DurationLabels {
    /// What was asked for, of a closed set.
    pub operation: &'static str,
    /// The model, or `other` where it does not count by itself.
    pub model: Arc<str>,
}

impl SeriesLabels for DurationLabels {
    fn with_other(&self) -> Self {
        Self { model: other(), ..self.clone() }
    }

    fn least(&self) -> Self {
        Self { operation: OTHER, model: other() }
    }
}

/// Of first events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FirstEventLabels {
    /// The model, or `other` where it does not count by itself.
    pub model: Arc<str>,
    /// Whether the answer streamed.
    pub streamed: bool,
}

impl SeriesLabels for FirstEventLabels {
    fn with_other(&self) -> Self {
        Self { model: other(), ..self.clone() }
    }
}

/// Of attempts, and of retries by what they followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FaultLabels {
    /// The model, or `other` where it does not count by itself.
    pub model: Arc<str>,
    /// The fault; `None` without one.
    pub fault: Option<Kind>,
}

impl SeriesLabels for FaultLabels {
    fn with_other(&self) -> Self {
        Self { model: other(), ..self.clone() }
    }
}

/// Of attempts by key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyLabels {
    /// The key's id.
    pub key: Arc<str>,
    /// The project that the key is of now.
    pub project: Arc<str>,
    /// The fault; `None` without one.
    pub fault: Option<Kind>,
}

impl SeriesLabels for KeyLabels {
    fn with_other(&self) -> Self {
        Self { key: other(), project: other(), fault: self.fault }
    }
}

/// A model or a caller alone.
impl SeriesLabels for Arc<str> {
    fn with_other(&self) -> Self {
        other()
    }
}
