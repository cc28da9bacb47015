//! Why a key was chosen, and which keys were passed over for a request and why: what an operator is told of a choice
//! afterwards. Values alone: the selector says what decided, and `roster::obstacles` what kept keys away.

use std::fmt;
use std::time::Duration;

use crate::key::KeyId;
use crate::reason::Reason;

/// What decided for a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// It was the model's next in turn.
    #[default]
    Turn,
    /// It was the least busy.
    LeastBusy,
    /// The key's weight gave it the turn.
    Weight,
    /// Its project has served the conversation, or is the one that its beginning falls to.
    Conversation,
    /// It reaches the resource that the request names.
    Bound,
    /// It was the only one left.
    OnlyOne,
}

impl Choice {
    /// Returns the word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::LeastBusy => "least_busy",
            Self::Weight => "weight",
            Self::Conversation => "conversation",
            Self::Bound => "bound",
            Self::OnlyOne => "only_one",
        }
    }
}

/// Why a key could not be given to a request, or was better not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The operator has disabled it.
    Disabled,
    /// Its caller may not be served by it.
    NotAllowed,
    /// It or its project is retired.
    Retired,
    /// The request has used it already.
    Tried,
    /// It or its project cools.
    Cooling,
    /// The request's model cools on its project.
    ModelCooling,
    /// A tool of the request's cools on its project.
    ToolCooling,
    /// It is back from a cooldown, and another request finds out whether it is well.
    Probed,
    /// The request alone is larger than its project's limit of input tokens.
    TooSmall,
    /// A known limit of its project is used up.
    Full,
    /// The attempt before failed on it.
    JustFailed,
    /// The request has tried another key of its project.
    ProjectTried,
}

impl Obstacle {
    /// Returns the word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::NotAllowed => "not_allowed",
            Self::Retired => "retired",
            Self::Tried => "tried",
            Self::Cooling => "cooling",
            Self::ModelCooling => "model_cooling",
            Self::ToolCooling => "tool_cooling",
            Self::Probed => "probed",
            Self::TooSmall => "too_small",
            Self::Full => "full",
            Self::JustFailed => "just_failed",
            Self::ProjectTried => "project_tried",
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Keys that the same obstacle kept away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedKeys {
    /// What kept them away.
    pub obstacle: Obstacle,
    /// How many they are.
    pub keys: u32,
    /// The one of them that is back first.
    pub first: KeyId,
    /// Why that one cools or is retired.
    pub reason: Option<Reason>,
    /// Until that one is back, where time helps.
    pub back_in: Option<Duration>,
}

/// The keys that were passed over: one entry an obstacle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassedOver {
    /// Those that were looked at.
    pub groups: Vec<PassedKeys>,
    /// How many more were not looked at one by one.
    pub more: u32,
}
