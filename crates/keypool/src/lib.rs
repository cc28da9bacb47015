//! The rules of the key pool: which key may be used, which is left alone, for how long, and who waits for one. Pure:
//! time, and the seed of all randomness, are arguments; there is no socket, clock, thread or secret in here. One owner
//! calls [`Pool`]'s methods and carries out the [`Effect`]s they leave behind.
//!
//! Google counts quotas by project and model, so a cooldown belongs to a key, to a project, or to a model or tool in a
//! project, and a key may be leased for a request while none of them runs. When one is over, a single probe goes first.
//! Where a limit is known, what is handed out is counted in Google's windows, and a project that is full is passed over.
//! A model that fails on every key is left alone as a whole.

mod affinity;
mod answer;
mod breaker;
mod budget;
mod choice;
mod company;
mod cooldowns;
mod counters;
mod demand;
mod desk;
mod draw;
mod effect;
mod error;
mod fact;
mod habit;
mod heard;
mod ids;
mod journal;
mod key;
mod key_set;
mod lease;
mod lease_request;
mod limit;
mod losses;
mod members;
mod models;
mod moves;
mod outlook;
mod page;
mod pool;
mod projects;
mod quota;
mod reading;
mod reason;
mod reconcile;
mod record;
mod roster;
mod rotation;
mod route;
mod select;
mod settings;
mod sharing;
mod slice;
mod snapshot;
mod tool;
mod totals;
mod waiting;

pub use answer::{Answer, Refusal, Ticket};
pub use choice::{Choice, Obstacle, PassedKeys, PassedOver};
pub use company::Company;
pub use draw::{Draw, Drawn, ModelLoad, ModelWeight};
pub use effect::{Effect, Effects, Event};
pub use error::PoolError;
pub use key::{KeyId, KeySpec, Project, ProjectNumber, Tried};
pub use key_set::{KeySet, Reconciled};
pub use lease::{Grant, LeaseId, Outcome, Role, Settlement};
pub use lease_request::{Avoid, LeaseRequest, Reach, Retry};
pub use limit::Limit;
pub use meter::{Gauge, Now};
pub use page::{KeyColumn, KeyPage, KeyRank, PageRequest};
pub use pool::Pool;
pub use projects::ProjectView;
pub use quota::NamedQuota;
pub use reading::{PoolReading, QuotaReading};
pub use reason::Reason;
pub use record::{CooldownState, LearntLimit, LimitState, Owner, Record, SecondUsed, Subject};
pub use settings::{Settings, Strategy};
pub use slice::{Spend, Units};
pub use snapshot::{Counts, DownView, KeyState, KeyView, LimitView, ModelView, Overview, Snapshot, ToolView};
pub use tool::{Tool, Tools};
pub use totals::{FaultTotals, ModelUsage, Totals, Usage};
