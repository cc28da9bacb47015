//! What must outlive a restart of the pool's owner, and of the process: one small record a subject, the newest counts.
//! Times are on the wall clock here and nowhere else.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use meter::Gauge;
use serde::{Deserialize, Serialize};

use crate::key::{KeyId, Project, ProjectNumber};
use crate::quota::NamedQuota;
use crate::reason::Reason;
use crate::tool::Tool;
use crate::totals::Usage;

/// What cools or is retired.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "subject", rename_all = "snake_case")]
pub enum Subject {
    /// A key by itself.
    Key {
        /// The key's id.
        key: KeyId,
    },
    /// All keys of a project.
    Project {
        /// The project, by label, number or its only key.
        project: Owner,
    },
    /// A model, for all keys of a project.
    Model {
        /// The project, by label, number or its only key.
        project: Owner,
        /// Which model; `None` stands for requests that name none.
        model: Option<Arc<str>>,
    },
    /// The limits and counts of a model, for all keys of a project.
    Limits {
        /// The project, by label, number or its only key.
        project: Owner,
        /// Which model; `None` stands for requests that name none.
        model: Option<Arc<str>>,
    },
    /// The totals of a key.
    Usage {
        /// The key's id.
        key: KeyId,
    },
    /// The totals of a model on a key.
    ModelUsage {
        /// The key's name.
        key: KeyId,
        /// Which model; `None` stands for requests that name none.
        model: Option<Arc<str>>,
    },
    /// A tool, for all keys of a project.
    Tool {
        /// The project, by label, number or its only key.
        project: Owner,
        /// The tool whose quota is spent.
        tool: Tool,
    },
    /// A model on all keys, which is given up where it fails everywhere. Told to other nodes only, and never kept.
    Breaker {
        /// The model's name.
        model: Arc<str>,
    },
}

/// A project, with or without a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The project with this label.
    Project(Project),
    /// The project with this number: labels no longer matter once Google has named it.
    Number(ProjectNumber),
    /// The unlabelled project of this one key.
    Key(KeyId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { key } => write!(f, "key {key}"),
            Self::Project { project } => write!(f, "{project}"),
            Self::Model { project, model: Some(model) } => write!(f, "model {model} on {project}"),
            Self::Limits { project, model } => {
                write!(
                    f,
                    "the limits of {} on {project}",
                    model.as_deref().unwrap_or("requests without a model")
                )
            }
            Self::Usage { key } => write!(f, "the totals of key {key}"),
            Self::ModelUsage { key, model } => {
                write!(
                    f,
                    "the totals of {} on key {key}",
                    model.as_deref().unwrap_or("requests without a model")
                )
            }
            Self::Breaker { model } => write!(f, "model {model} on all keys"),
            Self::Tool { project, tool } => write!(f, "{tool} on {project}"),
            Self::Model { project, model: None } => write!(f, "requests without a model on {project}"),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project(project) => write!(f, "project {project}"),
            Self::Number(number) => write!(f, "project number {number}"),
            Self::Key(key) => write!(f, "the project of key {key}"),
        }
    }
}

/// The durable state of one subject. It replaces any earlier record of the same subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What the state is of.
    #[serde(flatten)]
    pub subject: Subject,
    /// What is kept of it.
    #[serde(flatten)]
    pub state: CooldownState,
    /// Whether the operator disabled it; only keys can be.
    #[serde(default)]
    pub disabled: bool,
    /// Since when it stands so, where that is known; only keys and projects tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Since when the operator has disabled it, if that is so and known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_since: Option<DateTime<Utc>>,
    /// When the operator has reset it to this, where it tells others of that: it weighs by that moment, and is not kept.
    #[serde(skip)]
    pub reset_at: Option<DateTime<Utc>>,
    /// The number of its project, once Google has named it; only keys have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<ProjectNumber>,
    /// The quota for which it cools, where a refusal named it; only models have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Arc<NamedQuota>>,
    /// What is known of limits and used of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Box<LimitState>>,
    /// What became of a key's leases, or of those for a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Box<Usage>>,
}

impl Record {
    /// Makes the record of something with which nothing is wrong.
    pub fn clear(subject: Subject) -> Self {
        Self {
            subject,
            state: CooldownState::Open,
            disabled: false,
            since: None,
            disabled_since: None,
            reset_at: None,
            number: None,
            quota: None,
            limits: None,
            usage: None,
        }
    }

    /// Returns this record with the cooldown of another where that lasts longer: both are of what is one now.
    #[must_use]
    pub fn or_longer(self, other: Self) -> Self {
        let rank = |record: &Self| match &record.state {
            CooldownState::Open => (0, DateTime::UNIX_EPOCH),
            CooldownState::Cooling { until, .. } => (1, *until),
            CooldownState::Retired { .. } => (2, DateTime::UNIX_EPOCH),
        };
        if rank(&other) <= rank(&self) {
            return self;
        }
        let Self { state, since, quota, .. } = other;
        Self { state, since, quota, ..self }
    }

    /// Whether it says nothing: the store may forget the subject.
    pub fn is_clear(&self) -> bool {
        let Self { subject: _, state, disabled, number, limits, usage, .. } = self;
        *state == CooldownState::Open && !disabled && number.is_none() && limits.is_none() && usage.is_none()
    }
}

/// The limits that refusals taught, and the counts of what was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitState {
    /// What refusals taught.
    pub learnt: Vec<LearntLimit>,
    /// When the rest was written.
    pub counted_at: DateTime<Utc>,
    /// What was used in the minute before.
    pub minute: Vec<SecondUsed>,
    /// Requests of the day.
    pub day_requests: u64,
    /// When that day ends; `None` when there are none.
    pub day_ends: Option<DateTime<Utc>>,
}

/// A limit that Google named in a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearntLimit {
    /// What the limit bounds.
    pub gauge: Gauge,
    /// The limit, in what its gauge counts.
    pub limit: u64,
    /// When it is forgotten, unless Google names it again.
    pub until: DateTime<Utc>,
}

/// What was used in one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondUsed {
    /// How many seconds ago that was.
    pub ago_s: u64,
    /// Requests of that second.
    pub requests: u64,
    /// Input tokens of those.
    pub tokens: u64,
}

/// How a subject stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "snake_case")]
pub enum CooldownState {
    /// Nothing is wrong.
    Open,
    /// Cooling until then; when that is past, one probe goes first.
    Cooling {
        /// When it may be used again.
        until: DateTime<Utc>,
        /// Steps of the backoff so far.
        steps: u32,
        /// The fault that led to it.
        reason: Reason,
        /// Whether it ends because a day does.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        daily: bool,
    },
    /// Until the operator resets it.
    Retired {
        /// The fault that led to it.
        reason: Reason,
    },
}
