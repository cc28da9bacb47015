//! The ways in which hours and days are broken down, each of which counts every request once: what one book tells others of
//! its sums, and what answers a question about them.

use crate::{
    labels::{ANY_MODEL, Family, Labels},
    query::{Column, Query, QueryError},
};
use std::sync::Arc;

/// By what sums are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Breakdown {
    /// By model.
    Models,
    /// By caller and model.
    Callers,
    /// By key, its project and, where they are told apart, model.
    Keys,
}

impl Breakdown {
    /// Every breakdown.
    pub const ALL: [Self; 3] = [Self::Models, Self::Callers, Self::Keys];

    /// Returns the breakdown's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Callers => "callers",
            Self::Keys => "keys",
        }
    }

    /// Returns the one that answers a question about hours or days.
    pub fn of(query: &Query) -> Result<Self, QueryError> {
        let families = query.families()?;
        Ok(if families.contains(&Family::CallerModel) {
            Self::Callers
        } else if families.contains(&Family::KeyModel) {
            Self::Keys
        } else {
            Self::Models
        })
    }

    /// Returns the columns of a question whose rows are its cells.
    pub fn columns(self) -> Vec<Column> {
        match self {
            Self::Models => vec![Column::Model],
            Self::Callers => vec![Column::Caller, Column::Model],
            Self::Keys => vec![Column::Key, Column::Project, Column::Model],
        }
    }

    /// Returns the labels of a row of such a question.
    pub fn labels(self, row: &[Arc<str>]) -> Option<Labels> {
        match (self, row) {
            (Self::Models, [model]) => Some(Labels::model(Arc::clone(model))),
            (Self::Callers, [caller, model]) => {
                Some(Labels::caller(Arc::clone(caller)).and_model(Arc::clone(model)))
            }
            (Self::Keys, [key, project, model]) => {
                let labels = Labels::key(Arc::clone(key), Arc::clone(project));
                Some(if &**model == ANY_MODEL { labels } else { labels.and_model(Arc::clone(model)) })
            }
            _ => None,
        }
    }
}
