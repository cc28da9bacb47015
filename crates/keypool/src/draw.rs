//! What a pool in company asks of the store that gives out slices, and what it is answered: one bucket each, a model on a
//! project, by its name. Times are spans, since no two clocks agree.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::record::Owner;
use crate::slice::{Spend, Units};

/// What is told and asked of one bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The number of the call, the same for all that is drawn at once; goes into the [`Drawn`].
    pub call: u64,
    /// Whose bucket it is.
    pub project: Owner,
    /// Of which model; `None` stands for requests that name none.
    pub model: Option<Arc<str>>,
    /// Requests a minute, as far as this node knows the limit.
    pub rpm: Option<u64>,
    /// Input tokens a minute.
    pub tpm: Option<u64>,
    /// Requests a day.
    pub rpd: Option<u64>,
    /// What was spent since the last call that was answered.
    pub spent: Vec<Spend>,
    /// What this node holds still: in place of what the store believes.
    pub have: Units,
    /// What it wants in addition.
    pub want: Units,
    /// For how long Google refuses, if it has since the last call.
    pub full_for: Option<Duration>,
    /// How many requests this node knows to have spent today: for a store that has forgotten the day's count.
    pub today: u64,
    /// When the day ends, if it is limited.
    pub day_ends: Option<DateTime<Utc>>,
}

/// What was answered for one bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Of the [`Draw`].
    pub call: u64,
    /// Of the [`Draw`].
    pub project: Owner,
    /// Of the [`Draw`].
    pub model: Option<Arc<str>>,
    /// What this node has got.
    pub given: Units,
    /// What is left for anybody; as much as can be where there is no limit.
    pub left: Units,
    /// How long it is until there is something again; zero when there is.
    pub opens_in: Duration,
    /// For how long the bucket is closed, since Google refuses, or the store waits for reports; zero when it is not.
    pub closed_for: Duration,
}

/// How the load of one model is spread over the nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelWeight {
    /// The model; `None` stands for requests that name none.
    pub model: Option<Arc<str>>,
    /// This node's part of the load of all nodes, from 0 to 1.
    pub part: f64,
    /// How full the model's limits are by what all nodes say they used: 1 when they are spent.
    pub full: f64,
}

/// How much of one model a node is asked for: what it tells the others of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelLoad {
    /// The model; `None` stands for requests that name none.
    pub model: Option<Arc<str>>,
    /// Requests a second.
    pub per_second: f64,
    /// Requests of the last minute that this node has used.
    pub used: u64,
    /// How many requests a minute all limits of the model allow together, as far as they count requests.
    pub limit: u64,
}
