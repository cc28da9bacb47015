//! The names of what a Google project owns (files, caches, batches, interactions and the like): found in the bodies of
//! requests, which bind them to that project's keys, and learnt from the bodies of answers, which say what was made.
//! Bodies pass through one walk that builds no document and changes nothing; a text that only reads like a name, or a
//! caller's own data, is none.

mod answer;
mod form;
mod lines;
mod parts;
mod request;
mod walk;

use std::fmt;

pub use self::answer::{AnswerNames, Learnt};
pub use self::request::{Certainty, Mention, in_request};
use crate::operation::ResourceName;

/// The longest string of a body that is read as a name, in bytes as it is written. What it holds is no name otherwise.
pub const MAX_NAME_BYTES: usize = 4096;

/// The canonical name of what a project owns: collection and id, such as `files/abc`, whichever way it was written.
/// What lies under it goes by its name (`fileSearchStores/x` of a store's documents, operations and media); a model's
/// operation by its whole name, `models/m/operations/op`. What has a bare id on the wire is named like a resource:
/// `interactions/ID`, `environments/ID`, `videos/ID` of the OpenAI layer, `liveHandles/H` of a Live session's
/// resumption handle, `continuationTokens/T` of an interaction's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnedName(Box<str>);

impl OwnedName {
    /// What owns the resource of a path; `None` of a collection.
    pub fn of(resource: &ResourceName) -> Option<Self> {
        Self::parse(resource.owned()?)
    }

    /// Reads a name as [`OwnedName::as_str`] gives it, or a longer one of something under it. `None` of a collection
    /// and of a model.
    pub fn parse(name: &str) -> Option<Self> {
        let (collection, rest) = name.split_once('/')?;
        let id = match collection {
            "models" => match rest.split_once('/')?.1.split_once('/')? {
                ("operations", operation) if !operation.is_empty() => rest,
                _ => return None,
            },
            // Google's opaque strings: a slash is one more character of theirs.
            form::LIVE_HANDLES | form::CONTINUATION_TOKENS => rest,
            _ => rest.split('/').next().unwrap_or_default(),
        };
        (!collection.is_empty() && !id.is_empty()).then(|| Self(name[..=collection.len() + id.len()].into()))
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its first segment, such as `files`.
    pub fn collection(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(collection, _)| collection)
    }
}

impl fmt::Display for OwnedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
